//! Fixed-step integration with any explicit tableau: all rows share the schedule's times.

use super::{Observation, Solution, Tableau};
use crate::{Field, FlowError, Schedule, rows};
use base::{Condition, Tensor, Times};

pub(super) fn solve<const D: usize>(
    field: &dyn Field<D>,
    mut x: Tensor<D>,
    condition: &Condition,
    tableau: &Tableau,
    schedule: &Schedule,
    mut observe: Option<&mut dyn FnMut(Observation<D>)>,
) -> Result<Solution<D>, FlowError> {
    let batch = x.dims()[0];
    for (step, pair) in schedule.times().windows(2).enumerate() {
        let (t, h) = (pair[0], pair[1] - pair[0]);
        let mut stages: Vec<Tensor<D>> = Vec::with_capacity(tableau.b.len());
        for (a, c) in tableau.a.iter().zip(tableau.c) {
            // The last stage of a step is at the schedule's own time, not at t + h with its rounding.
            let time = if *c == 1.0 { pair[1] } else { t + c * h };
            let point = combine(x.clone(), &stages, a, h);
            stages.push(field.velocity(point, &Times::all(time, batch), condition));
        }
        let next = combine(x.clone(), &stages, tableau.b, h);
        rows::check_finite(&next, &Times::all(t, batch), "the state after the step")?;
        if let Some(observe) = observe.as_deref_mut() {
            observe(Observation {
                step,
                rows: (0..batch).collect(),
                t: Times::all(t, batch),
                dt: vec![h; batch],
                x,
                velocity: stages.swap_remove(0),
                next: next.clone(),
            });
        }
        x = next;
    }
    let nfe = schedule.steps() * tableau.b.len();
    Ok(Solution { x, nfe, nfe_per_sample: vec![nfe; batch] })
}

/// `x + h Σ weights_j stages_j`, skipping zeros.
fn combine<const D: usize>(x: Tensor<D>, stages: &[Tensor<D>], weights: &[f64], h: f64) -> Tensor<D> {
    stages.iter().zip(weights).filter(|(_, w)| **w != 0.0).fold(x, |x, (k, w)| x + k.clone() * (w * h))
}
