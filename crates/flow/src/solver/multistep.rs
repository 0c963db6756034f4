//! Multistep methods: one evaluation per step, the rest from what earlier steps found.
//!
//! Adams–Bashforth on uneven grids (Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I*, III.5). The past is a
//! value handed from step to step.

use super::method::Method;
use super::stepper::{Leg, Moved, Plan, Run};
use super::tableau::{KUTTA3, MIDPOINT, RK4};
use super::{Tableau, fixed};
use crate::{FlowError, error::require};
use base::{Paper, Tensor, Times};

/// The Runge–Kutta method of the same order that makes the first `order - 1` steps.
fn starter(order: u8) -> &'static Tableau {
    match order {
        2 => &MIDPOINT,
        3 => &KUTTA3,
        _ => &RK4,
    }
}

/// Velocities already found, newest first, with their times.
struct Past<const D: usize> {
    times: Vec<f64>,
    velocities: Vec<Tensor<D>>,
}

impl<const D: usize> Default for Past<D> {
    fn default() -> Self {
        Self { times: Vec::new(), velocities: Vec::new() }
    }
}

impl<const D: usize> Past<D> {
    /// The past with one more velocity, no longer than `order`.
    fn with(mut self, t: f64, velocity: Tensor<D>, order: usize) -> Self {
        self.times.insert(0, t);
        self.velocities.insert(0, velocity);
        self.times.truncate(order);
        self.velocities.truncate(order);
        self
    }
}

/// Adams–Bashforth.
pub(super) struct AdamsBashforth {
    /// 2, 3 or 4.
    pub order: u8,
}

impl Method for AdamsBashforth {
    fn name(&self) -> &'static str {
        "adams_bashforth"
    }

    fn order(&self) -> Option<f64> {
        Some(f64::from(self.order))
    }

    fn papers(&self) -> Vec<Paper> {
        Vec::new()
    }

    fn evaluations(&self, steps: usize) -> Option<usize> {
        let first = steps.min(usize::from(self.order).saturating_sub(1));
        Some(first * starter(self.order).b.len() + steps - first)
    }

    fn check(&self) -> Result<(), FlowError> {
        require((2..=4).contains(&self.order), "solver.order", self.order, "it must be 2, 3 or 4")
    }

    fn plan<'a, const D: usize>(&self, run: Run<'a, '_, D>) -> Result<Plan<'a, D>, FlowError> {
        Ok(adams_bashforth(self.order, run))
    }
}

fn adams_bashforth<'a, const D: usize>(order: u8, run: Run<'a, '_, D>) -> Plan<'a, D> {
    let Run { field, condition, .. } = run;
    let length = usize::from(order);
    let mut past = Past::default();
    run.on_grid(Box::new(move |leg, x| {
        if leg.replaced {
            past = Past::default();
        }
        if past.times.len() + 1 < length {
            let moved = fixed::step(field, x, condition, starter(order), leg);
            past = std::mem::take(&mut past).with(leg.from, moved.velocity.clone(), length);
            return Ok(moved);
        }
        let velocity = field.velocity(x.clone(), &Times::all(leg.from, x.dims()[0]), condition);
        past = std::mem::take(&mut past).with(leg.from, velocity.clone(), length);
        let weights = weights(&past.times, leg);
        let next = fixed::combine(x, &past.velocities, &weights, leg.h());
        Ok(Moved { velocity, next, evaluations: 1 })
    }))
}

/// Weights `w` with `∫ p = h Σ w_j p(times_j)` over the step for every polynomial `p` of degree below their number.
fn weights(times: &[f64], leg: &Leg) -> Vec<f64> {
    // With s = (t - from)/h the moments are ∫ s^m ds = 1/(m+1).
    let nodes: Vec<f64> = times.iter().map(|t| (t - leg.from) / leg.h()).collect();
    let rows = (0..nodes.len()).map(|m| nodes.iter().map(|s| s.powi(m as i32)).collect()).collect();
    solve_linear(rows, (0..nodes.len()).map(|m| 1.0 / (m as f64 + 1.0)).collect())
}

/// Gaussian elimination with partial pivoting for the few unknowns of a multistep method.
pub(super) fn solve_linear(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for i in 0..n {
        let pivot = (i..n).max_by(|p, q| a[*p][i].abs().total_cmp(&a[*q][i].abs())).unwrap_or(i);
        a.swap(i, pivot);
        b.swap(i, pivot);
        for j in i + 1..n {
            let factor = a[j][i] / a[i][i];
            for k in i..n {
                a[j][k] -= factor * a[i][k];
            }
            b[j] -= factor * b[i];
        }
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|k| a[i][k] * b[k]).sum();
        b[i] = (b[i] - known) / a[i][i];
    }
    b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_grids_give_the_classical_weights() {
        let leg = Leg { step: 3, from: 0.3, to: 0.4, replaced: false };
        let classical: [&[f64]; 3] = [
            &[1.5, -0.5],
            &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
            &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
        ];
        for known in classical {
            let times: Vec<f64> = (0..known.len()).map(|j| 0.3 - 0.1 * j as f64).collect();
            for (w, known) in weights(&times, &leg).iter().zip(known) {
                assert!((w - known).abs() < 1e-12, "{w} is not {known}");
            }
        }
    }

    #[test]
    fn uneven_grids_integrate_cubics_exactly() {
        let (times, leg) = ([0.5, 0.37, 0.3, 0.05], Leg { step: 3, from: 0.5, to: 0.82, replaced: false });
        let p = |t: f64| 1.0 - 2.0 * t + 3.0 * t * t - 4.0 * t * t * t;
        let integral = |t: f64| t - t * t + t.powi(3) - t.powi(4);
        let sum: f64 = weights(&times, &leg).iter().zip(times).map(|(w, t)| w * p(t)).sum();
        assert!((leg.h() * sum - (integral(0.82) - integral(0.5))).abs() < 1e-13);
    }
}
