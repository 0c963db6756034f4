//! The walk over a fixed grid that every non-adaptive solver shares: one closure per step, checks and observation here.

use super::{Observation, Observer};
use crate::{FlowError, Schedule, rows};
use base::{Tensor, Times};

/// One step of the grid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leg {
    /// Number of the step, from 0.
    pub step: usize,
    /// Time before.
    pub from: f64,
    /// Time after.
    pub to: f64,
}

impl Leg {
    /// Signed length of the step: negative backwards in time.
    pub fn h(&self) -> f64 {
        self.to - self.from
    }
}

/// What a step found: the velocity where it began and the point where it ended.
pub(super) struct Moved<const D: usize> {
    pub velocity: Tensor<D>,
    pub next: Tensor<D>,
}

/// Carries `x` over `schedule` with `step`; refuses a state that is not finite and shows every step to `observe`.
pub(super) fn march<const D: usize>(
    mut x: Tensor<D>,
    schedule: &Schedule,
    mut observe: Observer<'_, D>,
    mut step: impl FnMut(&Leg, Tensor<D>) -> Result<Moved<D>, FlowError>,
) -> Result<Tensor<D>, FlowError> {
    let batch = x.dims()[0];
    for (number, pair) in schedule.times().windows(2).enumerate() {
        let leg = Leg { step: number, from: pair[0], to: pair[1] };
        let Moved { velocity, next } = step(&leg, x.clone())?;
        rows::check_finite(&next, &Times::all(leg.from, batch), "the state after the step")?;
        if let Some(observe) = observe.as_deref_mut() {
            observe(Observation {
                step: leg.step,
                rows: (0..batch).collect(),
                t: Times::all(leg.from, batch),
                dt: vec![leg.h(); batch],
                x,
                velocity,
                next: next.clone(),
            });
        }
        x = next;
    }
    Ok(x)
}
