//! Exponential integrators: exact in the path's own curve, polynomial in the data estimate along `lambda`.
//!
//! DDIM (Song, Meng & Ermon 2020, arXiv 2010.02502) holds the estimates; DPM-Solver++(2M) (Lu et al. 2022, arXiv
//! 2211.01095, algorithm 2) extrapolates the data estimate from two steps. Written for any path
//! `x = alpha x0 + beta x1`: there `sigma = alpha`, `alpha = beta`, and `h` is the growth of `lambda = log(beta/alpha)`.
//! The stochastic forms move part of the source estimate to fresh noise: with `keep = e^(-eta h)` the step solves the
//! reverse diffusion whose `ε(t)` is `eta` times that of the noising process (the SDE form of DPM-Solver++), so the
//! marginals are kept for every `eta >= 0`.

use super::Noise;
use super::curve::{Node, frame_of};
use super::stepper::{Moved, Step};
use crate::{Field, FlowError, Schedule, rows};
use base::{Condition, Tensor, Times};

/// How much of the source estimate a step keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Keep {
    /// All of it: the ordinary differential equation.
    All,
    /// `1 - keep² = eta² (1 - e^-2h)`: DDIM's `eta`, 1 for ancestral sampling.
    Ancestral { eta: f64 },
    /// `keep = e^(-eta h)`: the reverse diffusion of strength `eta`.
    Diffuse { eta: f64 },
    /// None: all noise is fresh (multistep consistency sampling).
    Nothing,
}

impl Keep {
    /// The kept share, given `e^-h`.
    fn share(self, decay: f64) -> f64 {
        match self {
            Self::All => 1.0,
            Self::Nothing => 0.0,
            Self::Ancestral { eta } => (1.0 - eta * eta * (1.0 - decay * decay)).max(0.0).sqrt(),
            Self::Diffuse { eta: 0.0 } => 1.0,
            Self::Diffuse { eta } => decay.powf(eta),
        }
    }
}

/// What distinguishes the members of the family.
pub(super) struct Exponential {
    /// Name of the solver, for messages.
    pub name: &'static str,
    /// Whether the data estimate is extrapolated from the last step.
    pub second_order: bool,
    pub keep: Keep,
}

pub(super) fn steps<'a, const D: usize>(
    field: &'a dyn Field<D>,
    x: &Tensor<D>,
    condition: &'a Condition,
    method: Exponential,
    schedule: &Schedule,
    noise: Noise<'_>,
) -> Result<Step<'a, D>, FlowError> {
    let path = frame_of(field, method.name)?.path;
    let batch = x.dims()[0];
    let stochastic = method.keep != Keep::All;
    let mut increments = noise.start(stochastic, method.name, schedule, x)?;
    let mut last: Option<(f64, Tensor<D>)> = None;
    Ok(Box::new(move |leg, x| {
        last = last.take().filter(|_| !leg.replaced);
        let (from, to) = (Node::at(path, leg.from), Node::at(path, leg.to));
        let velocity = field.velocity(x.clone(), &Times::all(leg.from, batch), condition);
        let (decay, h) = (from.decay(&to), to.lambda - from.lambda);
        let keep = method.keep.share(decay);
        let mut next = from.step(x.clone(), velocity.clone(), &to, keep);
        if method.second_order {
            let data = from.data(&x, &velocity);
            if let Some((before, data_before)) = last.take() {
                // Half a step further along the line through the two estimates. At an end of the path h has no finite
                // length and the first-order step stands.
                let gain =
                    (to.c.beta - keep * to.c.alpha * from.c.beta / from.c.alpha) * h / (2.0 * (from.lambda - before));
                if gain.is_finite() {
                    next = next + (data.clone() - data_before) * gain;
                }
            }
            last = Some((from.lambda, data));
        }
        if let Some(increments) = increments.as_mut() {
            let fresh = increments.standard(leg, &next);
            next = next + fresh * (to.c.alpha * (1.0 - keep * keep).max(0.0).sqrt());
        }
        Ok(Moved { velocity, next, evaluations: 1 })
    }))
}

/// Overshooting (Hu et al. 2024, arXiv 2411.19415): a curved Euler step `1 + strength` times too long, then back to the
/// wanted time by rescaling and fresh noise.
///
/// Rescaling by `a = beta_to/beta_over` and adding noise of variance `alpha_to² - a² alpha_over²` turns a sample of the
/// later marginal into one of the wanted marginal exactly, for an independent normal source on any path.
pub(super) fn overshoot<'a, const D: usize>(
    field: &'a dyn Field<D>,
    x: &Tensor<D>,
    condition: &'a Condition,
    strength: f64,
    schedule: &Schedule,
    noise: Noise<'_>,
) -> Result<Step<'a, D>, FlowError> {
    const NAME: &str = "overshooting";
    let path = frame_of(field, NAME)?.path;
    let batch = x.dims()[0];
    let mut increments = noise.start(true, NAME, schedule, x)?;
    Ok(Box::new(move |leg, x| {
        let over = (leg.to + strength * leg.h()).min(1.0);
        let (from, over, to) = (Node::at(path, leg.from), Node::at(path, over), Node::at(path, leg.to));
        let velocity = field.velocity(x.clone(), &Times::all(leg.from, batch), condition);
        let a = to.c.beta / over.c.beta;
        let spread = (to.c.alpha * to.c.alpha - (a * over.c.alpha).powi(2)).max(0.0).sqrt();
        let mut next = rows::scale(from.step(x, velocity.clone(), &over, 1.0), vec![a; batch]);
        if let Some(increments) = increments.as_mut() {
            let fresh = increments.standard(leg, &next);
            next = next + fresh * spread;
        }
        Ok(Moved { velocity, next, evaluations: 1 })
    }))
}
