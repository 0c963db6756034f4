//! The hand-over from Brownian paths to solver steps.

use super::{curve, stepper::Leg};
use crate::{Brownian, Field, FlowError, Schedule, stochastic::Walk};
use base::{Tensor, TensorData};

pub(super) const SCORE: &str = "a field whose score is known";
pub(super) const SCORE_REMEDY: &str = "that is a field from independent pairs with a standard normal source; after reflow, \
                                       distillation or optimal-transport coupling use a deterministic solver, for instance heun";

/// Brownian paths, where the caller gave any.
#[derive(Clone, Copy)]
pub(super) struct Noise<'a>(pub Option<&'a Brownian>);

impl Noise<'_> {
    /// The increments of a run over `schedule` from `x` `[b ...]`; `None` where none are `needed`.
    pub fn start<const D: usize>(
        self,
        needed: bool,
        solver: &'static str,
        schedule: &Schedule,
        x: &Tensor<D>,
    ) -> Result<Option<Increments>, FlowError> {
        if !needed {
            return Ok(None);
        }
        let remedy = "call solve_with and give it the samples' Brownian paths, or use a deterministic solver here, for \
                      instance heun";
        let brownian = self.0.ok_or(FlowError::Needs { solver, what: "Brownian paths", remedy })?;
        let dims = x.dims();
        if brownian.len() != dims[0] {
            let (left_shape, right_shape) = (dims.to_vec(), vec![brownian.len()]);
            return Err(FlowError::Shape { left: "x", left_shape, right: "the Brownian paths", right_shape });
        }
        let walk = brownian.walk(schedule, dims[1..].iter().product())?;
        Ok(Some(Increments { walk }))
    }
}

/// Increments as tensors, one per step of the schedule.
pub(super) struct Increments {
    walk: Walk,
}

impl Increments {
    /// `W(to) - W(from)` and its area over the next step, shaped like `like`.
    pub fn next<const D: usize>(&mut self, like: &Tensor<D>) -> (Tensor<D>, Tensor<D>) {
        let step = self.walk.next().expect("a walk has as many steps as its schedule");
        (tensor(step.dw, like), tensor(step.area, like))
    }

    /// `W(to) - W(from)` over the next step.
    pub fn change<const D: usize>(&mut self, like: &Tensor<D>) -> Tensor<D> {
        tensor(self.walk.next().expect("a walk has as many steps as its schedule").dw, like)
    }

    /// A standard normal draw for the next step: its increment over the root of its length.
    pub fn standard<const D: usize>(&mut self, leg: &Leg, like: &Tensor<D>) -> Tensor<D> {
        self.change(like) / leg.h().abs().sqrt()
    }
}

fn tensor<const D: usize>(values: Vec<f32>, like: &Tensor<D>) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, like.dims()), (&like.device(), like.dtype()))
}

/// Solvers that replace part of the noise need one that is normal and independent of the data, and go towards the data.
pub(super) fn check_refreshing<const D: usize>(
    field: &dyn Field<D>,
    solver: &'static str,
    schedule: &Schedule,
) -> Result<(), FlowError> {
    if !curve::frame_of(field, solver)?.independent {
        return Err(FlowError::Needs { solver, what: SCORE, remedy: SCORE_REMEDY });
    }
    let (from, to) = schedule.ends();
    if to < from {
        let remedy = "for the backward stochastic equation use euler_maruyama, sde_heun or stochastic_rk";
        return Err(FlowError::Needs { solver, what: "a schedule towards the data", remedy });
    }
    Ok(())
}
