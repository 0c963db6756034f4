//! RF-Edit: the sample is walked back to its noise, and forth again under another condition with values of its own attention.
//!
//! Wang et al., "Taming rectified flow for inversion and editing", arXiv 2411.04746, §3.3. Features of the first `inject`
//! intervals from the noise on are shared, all evaluations of each. As in the published program, evaluation `n` of an interval
//! on the way forth meets evaluation `n` on the way back: with the midpoint rule the second of both is at the same time, the
//! first at the interval's two ends. The way back has no guidance.

use super::{Bus, Parts};
use crate::MethodError;
use base::{Condition, Tensor};
use flow::{Field, Schedule, Solver, Stepper};
use serde::{Deserialize, Serialize};

/// Settings of RF-Edit.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct RfEdit {
    /// Intervals, from the noise on, whose features are shared; 0 is inversion alone.
    pub inject: usize,
    /// The solver of both ways, deterministic and on a fixed grid; Euler's for inversion as it was.
    pub solver: Solver,
    /// What is shared: values alone, as published, or queries and keys as well.
    pub share: Parts,
}

impl Default for RfEdit {
    fn default() -> Self {
        Self { inject: 3, solver: Solver::RfSolver { order: 2 }, share: Parts::default() }
    }
}

/// An edited sample.
#[derive(Clone, Debug)]
pub struct Edited<const D: usize> {
    /// The sample, `[b ...]`.
    pub x: Tensor<D>,
    /// Evaluations per sample, both ways together.
    pub nfe: usize,
    /// Bytes of features that were kept.
    pub bytes: usize,
}

impl RfEdit {
    /// The noise that leads to `x` `[b ...]`, features of the first [`RfEdit::inject`] intervals left on the bus, and the
    /// evaluations made.
    ///
    /// # Errors
    /// [`MethodError::Setting`] for more intervals than there are; what the solver says.
    pub fn invert<const D: usize>(
        &self,
        field: &dyn Field<D>,
        bus: &Bus,
        x: Tensor<D>,
        condition: &Condition,
        schedule: &Schedule,
    ) -> Result<(Tensor<D>, usize), MethodError> {
        let steps = schedule.steps();
        if self.inject > steps {
            let (value, remedy) =
                (self.inject.to_string(), "there are not so many steps; 2 to 8 of 15 to 30 are customary");
            return Err(MethodError::Setting { setting: "inject", value, remedy });
        }
        let mut stepper = Stepper::new(field, x, condition, &self.solver, &schedule.reversed(), None)?;
        loop {
            // The interval's number on the way forth.
            match (steps - stepper.done()).checked_sub(1) {
                Some(interval) if interval < self.inject => bus.store(interval),
                _ => bus.pass(),
            }
            if stepper.advance()?.is_none() {
                break;
            }
            kept(bus)?;
        }
        bus.pass();
        let solution = stepper.solution();
        Ok((solution.x, solution.nfe))
    }

    /// The sample that `noise` leads to under `condition`, with what is on the bus.
    ///
    /// # Errors
    /// [`MethodError::Steering`] where features are missing (the two ways differ in solver, steps or shapes); what the solver
    /// says.
    pub fn regenerate<const D: usize>(
        &self,
        field: &dyn Field<D>,
        bus: &Bus,
        noise: Tensor<D>,
        condition: &Condition,
        schedule: &Schedule,
    ) -> Result<(Tensor<D>, usize), MethodError> {
        let mut stepper = Stepper::new(field, noise, condition, &self.solver, schedule, None)?;
        loop {
            if stepper.done() < self.inject {
                bus.replace(stepper.done());
            } else {
                bus.pass();
            }
            if stepper.advance()?.is_none() {
                break;
            }
            kept(bus)?;
            if let Some((step, evaluation, layer)) = bus.missed() {
                bus.pass();
                return Err(MethodError::Steering(format!(
                    "the features of step {step}, evaluation {evaluation}, attention layer {layer} are not there or of another \
                     shape: both ways must have the same solver, steps, samples and number of tokens"
                )));
            }
        }
        bus.pass();
        let solution = stepper.solution();
        Ok((solution.x, solution.nfe))
    }

    /// `x` `[b ...]`, known as `source`, as it is under `target`. Both fields are [`Heard`](super::Heard) by `bus` and tapped
    /// by it; the first is without guidance.
    ///
    /// # Errors
    /// Those of both ways.
    pub fn run<const D: usize>(
        &self,
        [back, forth]: [&dyn Field<D>; 2],
        bus: &Bus,
        x: Tensor<D>,
        [source, target]: [&Condition; 2],
        schedule: &Schedule,
    ) -> Result<Edited<D>, MethodError> {
        let (noise, before) = self.invert(back, bus, x, source, schedule)?;
        let bytes = bus.bytes();
        let (x, after) = self.regenerate(forth, bus, noise, target, schedule)?;
        Ok(Edited { x, nfe: before + after, bytes })
    }
}

/// Stops a walk whose features could not be kept or given back.
fn kept(bus: &Bus) -> Result<(), MethodError> {
    match bus.failed() {
        None => Ok(()),
        Some(why) => {
            bus.pass();
            Err(MethodError::Features(why))
        }
    }
}
