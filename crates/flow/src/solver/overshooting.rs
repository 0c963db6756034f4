//! Overshooting (Hu et al. 2024, arXiv 2411.19415): a curved Euler step `1 + strength` times too long, then back to the
//! wanted time by rescaling and fresh noise.
//!
//! Rescaling by `a = beta_to/beta_over` and adding noise of variance `alpha_to² - a² alpha_over²` turns a sample of the
//! later marginal into one of the wanted marginal exactly, for an independent normal source on any path.

use super::curve::{Node, frame_of};
use super::exponential;
use super::method::Method;
use super::noise::check_refreshing;
use super::stepper::{Moved, Plan, Run};
use crate::{FlowError, error::require, rows};
use base::{Paper, Tensor, Times};

const PAPER: Paper = Paper::arxiv(
    "hu2024amo",
    "Hu, Xixi and Xu, Keyang and Liu, Bo and Liu, Qiang and Fei, Hongliang",
    "AMO Sampler: Enhancing Text Rendering with Overshooting",
    (2024, "2411.19415"),
    "CVPR 2025",
);

const NAME: &str = "overshooting";

/// Overshooting.
pub(super) struct Overshooting {
    /// Zero (curved Euler) or more.
    pub strength: f64,
}

impl Method for Overshooting {
    fn name(&self) -> &'static str {
        NAME
    }

    fn order(&self) -> Option<f64> {
        Some(1.0)
    }

    fn papers(&self) -> Vec<Paper> {
        vec![PAPER]
    }

    fn is_stochastic(&self) -> bool {
        self.strength > 0.0
    }

    fn follows_path(&self) -> bool {
        true
    }

    fn check(&self) -> Result<(), FlowError> {
        let fine = self.strength.is_finite() && self.strength >= 0.0;
        require(fine, "solver.strength", self.strength, "it must be zero or more")
    }

    fn plan<'a, const D: usize>(&self, run: Run<'a, '_, D>) -> Result<Plan<'a, D>, FlowError> {
        if self.strength == 0.0 {
            return exponential::ddim(0.0).called(NAME).plan(run);
        }
        check_refreshing(run.field, NAME, run.schedule)?;
        steps(self.strength, run)
    }
}

fn steps<'a, const D: usize>(strength: f64, run: Run<'a, '_, D>) -> Result<Plan<'a, D>, FlowError> {
    let Run { field, x, condition, schedule, noise } = run;
    let path = frame_of(field, NAME)?.path;
    let batch = x.dims()[0];
    let mut increments = noise.start(true, NAME, schedule, x)?;
    Ok(run.on_grid(Box::new(move |leg, x: Tensor<D>| {
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
    })))
}
