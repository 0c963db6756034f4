//! PLMS, the pseudo linear multistep method of PNDM (Liu, Ren, Lin & Zhao 2022, arXiv 2202.09778, eq. 9, 12 and 23): DDIM's step with
//! the source estimate extrapolated by the weights of Adams and Bashforth for even steps. Stable Diffusion's own sampler.
//!
//! The first step has no past: it is made twice, the second time with the mean of the estimates at both its ends.

use super::curve::{Node, frame_of};
use super::method::Method;
use super::stepper::{Leg, Moved, Plan, Run};
use crate::FlowError;
use base::{Paper, Tensor, Times};

const PAPER: Paper = Paper::arxiv(
    "liu2022pseudo",
    "Liu, Luping and Ren, Yi and Lin, Zhijie and Zhao, Zhou",
    "Pseudo Numerical Methods for Diffusion Models on Manifolds",
    (2022, "2202.09778"),
    "ICLR 2022",
);

/// Weights of the estimates, newest first.
const WEIGHTS: [&[f64]; 4] = [
    &[1.0],
    &[3.0 / 2.0, -1.0 / 2.0],
    &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
    &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
];

/// PLMS.
pub(super) struct Plms;

impl Method for Plms {
    fn name(&self) -> &'static str {
        "plms"
    }

    fn order(&self) -> Option<f64> {
        Some(2.0)
    }

    fn papers(&self) -> Vec<Paper> {
        vec![PAPER]
    }

    fn evaluations(&self, steps: usize) -> Option<usize> {
        Some(steps + 1)
    }

    fn follows_path(&self) -> bool {
        true
    }

    fn plan<'a, const D: usize>(&self, run: Run<'a, '_, D>) -> Result<Plan<'a, D>, FlowError> {
        steps(run)
    }
}

fn steps<'a, const D: usize>(run: Run<'a, '_, D>) -> Result<Plan<'a, D>, FlowError> {
    let Run { field, condition, .. } = run;
    let path = frame_of(field, "plms")?.path;
    let mut past: Vec<Tensor<D>> = Vec::new();
    Ok(run.on_grid(Box::new(move |leg: &Leg, x: Tensor<D>| {
        if leg.replaced {
            past.clear();
        }
        let batch = x.dims()[0];
        let (from, to) = (Node::at(path, leg.from), Node::at(path, leg.to));
        let at = |x: &Tensor<D>, t: f64| field.velocity(x.clone(), &Times::all(t, batch), condition);
        let velocity = at(&x, leg.from);
        let here = from.source(&x, &velocity);
        let held = from.step(x.clone(), velocity.clone(), &to, 1.0);
        past.insert(0, here.clone());
        past.truncate(WEIGHTS.len());
        let (estimate, evaluations) = match past.len() {
            1 => ((to.source(&held, &at(&held, leg.to)) + here.clone()) * 0.5, 2),
            known => {
                let terms = past.iter().zip(WEIGHTS[known - 1]).map(|(estimate, weight)| estimate.clone() * *weight);
                (terms.reduce(|sum, term| sum + term).unwrap_or_else(|| here.clone()), 1)
            }
        };
        // The step with another source estimate. From pure noise, where the data estimate hangs on it alone, it is held.
        let gain = to.c.alpha - from.c.alpha * to.c.beta / from.c.beta;
        let next = if gain.is_finite() { held + (estimate - here) * gain } else { held };
        Ok(Moved { velocity, next, evaluations })
    })))
}
