//! UniPC: a multistep predictor on the data estimate, corrected by the evaluation that the next step makes anyway.
//!
//! Zhao et al. 2023, arXiv 2302.04867, algorithms 5 and 6 in data-prediction form with `B(h) = e^h - 1` ("bh2"). The first
//! steps have lower order, as published; a step from or to an end of the path, where `lambda` is infinite, is a curved
//! Euler step. One evaluation per step.

use super::curve::{Node, frame_of};
use super::method::Method;
use super::multistep::solve_linear;
use super::stepper::{Moved, Plan, Run};
use crate::{FlowError, error::require};
use base::{Paper, Tensor, Times};

const PAPER: Paper = Paper::arxiv(
    "zhao2023unipc",
    "Zhao, Wenliang and Bai, Lujia and Rao, Yongming and Zhou, Jie and Lu, Jiwen",
    "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models",
    (2023, "2302.04867"),
    "NeurIPS 2023",
);

/// The longest past that the third-order method reads.
const LONGEST: usize = 3;

/// A data estimate and the `lambda` where it was made.
#[derive(Clone)]
struct Estimate<const D: usize> {
    lambda: f64,
    data: Tensor<D>,
}

/// A predicted step, kept until its evaluation corrects it.
struct Predicted<const D: usize> {
    /// The curved Euler step from corrected point and newest estimate.
    base: Tensor<D>,
    /// `beta_to - alpha_to beta/alpha`: factor of the data estimate.
    gain: f64,
    /// Growth of `lambda`.
    h: f64,
    order: usize,
}

/// The path behind the present point: estimates, newest first, and the step that led here.
struct Past<const D: usize> {
    estimates: Vec<Estimate<D>>,
    predicted: Option<Predicted<D>>,
}

/// UniPC.
pub(super) struct Unipc {
    /// 2 or 3, of the predictor.
    pub order: u8,
}

impl Method for Unipc {
    fn name(&self) -> &'static str {
        "unipc"
    }

    fn order(&self) -> Option<f64> {
        Some(3.0)
    }

    fn papers(&self) -> Vec<Paper> {
        vec![PAPER]
    }

    fn follows_path(&self) -> bool {
        true
    }

    fn check(&self) -> Result<(), FlowError> {
        require((2..=3).contains(&self.order), "solver.order", self.order, "it must be 2 or 3")
    }

    fn plan<'a, const D: usize>(&self, run: Run<'a, '_, D>) -> Result<Plan<'a, D>, FlowError> {
        steps(self.order, run)
    }
}

fn steps<'a, const D: usize>(order: u8, run: Run<'a, '_, D>) -> Result<Plan<'a, D>, FlowError> {
    let Run { field, condition, .. } = run;
    let path = frame_of(field, "unipc")?.path;
    let mut past = Past { estimates: Vec::new(), predicted: None };
    Ok(run.on_grid(Box::new(move |leg, x: Tensor<D>| {
        let batch = x.dims()[0];
        if leg.replaced {
            past = Past { estimates: Vec::new(), predicted: None };
        }
        let (from, to) = (Node::at(path, leg.from), Node::at(path, leg.to));
        let velocity = field.velocity(x.clone(), &Times::all(leg.from, batch), condition);
        let newest = Estimate { lambda: from.lambda, data: from.data(&x, &velocity) };
        let Past { mut estimates, predicted } =
            std::mem::replace(&mut past, Past { estimates: Vec::new(), predicted: None });
        let corrected = predicted.map(|step| correct(step, &estimates, &newest));
        if from.lambda.is_finite() {
            estimates.insert(0, newest);
            estimates.truncate(LONGEST);
        } else {
            estimates.clear();
        }
        let (h, gain) = (to.lambda - from.lambda, to.c.beta - to.c.alpha * from.c.beta / from.c.alpha);
        let (next, predicted) = if h.is_finite() && !estimates.is_empty() {
            let ratio = to.c.alpha / from.c.alpha;
            let base = corrected.unwrap_or(x) * ratio + estimates[0].data.clone() * gain;
            let step = Predicted { base, gain, h, order: usize::from(order).min(estimates.len()) };
            (predict(&step, &estimates), Some(step))
        } else if from.c.alpha == 0.0 {
            (from.step(x, velocity.clone(), &to, 1.0), None)
        } else {
            // To pure data, or from pure noise: the estimate alone decides.
            let data = from.data(&x, &velocity);
            (corrected.unwrap_or(x) * (to.c.alpha / from.c.alpha) + data * gain, None)
        };
        past = Past { estimates, predicted };
        Ok(Moved { velocity, next, evaluations: 1 })
    })))
}

/// `base + gain Σ rho_i (m_i - m_0)/r_i` over the earlier estimates.
fn predict<const D: usize>(step: &Predicted<D>, estimates: &[Estimate<D>]) -> Tensor<D> {
    let ratios = ratios(step, estimates);
    let weights = match step.order {
        1 => vec![],
        2 => vec![0.5], // as published: exact to the order either way
        _ => weights(&ratios, step.h),
    };
    let slopes = slopes(&ratios, estimates);
    slopes.into_iter().zip(weights).fold(step.base.clone(), |x, (slope, rho)| x + slope * (rho * step.gain))
}

/// The same with the estimate at the step's end, found since.
fn correct<const D: usize>(step: Predicted<D>, estimates: &[Estimate<D>], newest: &Estimate<D>) -> Tensor<D> {
    let mut ratios = ratios(&step, estimates);
    let mut slopes = slopes(&ratios, estimates);
    ratios.push(1.0);
    slopes.push(newest.data.clone() - estimates[0].data.clone());
    let weights = if step.order == 1 { vec![0.5] } else { weights(&ratios, step.h) };
    slopes.into_iter().zip(weights).fold(step.base, |x, (slope, rho)| x + slope * (rho * step.gain))
}

/// `(lambda_i - lambda_0)/h` of the earlier estimates that a method of this order reads.
fn ratios<const D: usize>(step: &Predicted<D>, estimates: &[Estimate<D>]) -> Vec<f64> {
    let newest = estimates[0].lambda;
    estimates[1..step.order].iter().map(|e| (e.lambda - newest) / step.h).collect()
}

fn slopes<const D: usize>(ratios: &[f64], estimates: &[Estimate<D>]) -> Vec<Tensor<D>> {
    let newest = &estimates[0].data;
    estimates[1..].iter().zip(ratios).map(|(e, r)| (e.data.clone() - newest.clone()) / *r).collect()
}

/// Solves `Σ_j r_j^(k-1) rho_j = k! φ_{k+1}(-h)/φ_1(-h)`, `k = 1..n`: eq. 8 of the paper for `B(h) = e^h - 1`.
fn weights(ratios: &[f64], h: f64) -> Vec<f64> {
    let n = ratios.len();
    let rows = (0..n).map(|k| ratios.iter().map(|r| r.powi(k as i32)).collect()).collect();
    let mut factorial = 1.0;
    let right = (1..=n).map(|k| {
        factorial *= k as f64;
        factorial * phi(k + 1, -h) / phi(1, -h)
    });
    let right = right.collect();
    solve_linear(rows, right)
}

/// `φ_k(z) = Σ_j z^j/(j+k)!`: the integrals of exponential integrators, without cancellation for small `z`.
fn phi(k: usize, z: f64) -> f64 {
    let factorial = |n: usize| (1..=n).map(|i| i as f64).product::<f64>();
    if z.abs() > 2.0 {
        // φ_k = (φ_{k-1} - 1/(k-1)!)/z from φ_0 = e^z.
        return (1..=k).fold(z.exp(), |phi, j| (phi - 1.0 / factorial(j - 1)) / z);
    }
    let mut term = 1.0 / factorial(k);
    let mut sum = term;
    for j in 1..40 {
        term *= z / (j + k) as f64;
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phi_is_the_same_by_series_and_by_recursion() {
        for z in [-2.5_f64, -2.0, -1.0, 1.5, 3.0] {
            let one = z.exp_m1() / z;
            let two = (one - 1.0) / z;
            assert!((phi(1, z) - one).abs() < 1e-13 && (phi(2, z) - two).abs() < 1e-13, "{z}");
        }
        assert!((phi(3, -1e-6) - 1.0 / 6.0).abs() < 1e-7);
    }
}
