//! FireFlow (Deng et al. 2024, arXiv 2412.07517): the midpoint rule with the last midpoint velocity as predictor. Order 2, one
//! evaluation per step and one more for the first.

use super::method::Method;
use super::stepper::{Moved, Plan, Run};
use crate::FlowError;
use base::{Paper, Tensor, Times};

const PAPER: Paper = Paper::arxiv(
    "deng2024fireflow",
    "Deng, Yingying and He, Xiangyu and Mei, Changwang and Wang, Peisong and Tang, Fan",
    "FireFlow: Fast Inversion of Rectified Flow for Image Semantic Editing",
    (2024, "2412.07517"),
    "ICML 2025",
);

/// FireFlow.
pub(super) struct Fireflow;

impl Method for Fireflow {
    fn name(&self) -> &'static str {
        "fireflow"
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

    fn plan<'a, const D: usize>(&self, run: Run<'a, '_, D>) -> Result<Plan<'a, D>, FlowError> {
        let Run { field, condition, .. } = run;
        let mut last: Option<Tensor<D>> = None;
        Ok(run.on_grid(Box::new(move |leg, x: Tensor<D>| {
            let batch = x.dims()[0];
            let known = last.take().filter(|_| !leg.replaced);
            let evaluations = if known.is_some() { 1 } else { 2 };
            let at = |x: Tensor<D>, t: f64| field.velocity(x, &Times::all(t, batch), condition);
            let velocity = known.unwrap_or_else(|| at(x.clone(), leg.from));
            let middle = at(x.clone() + velocity.clone() * (leg.h() / 2.0), leg.from + leg.h() / 2.0);
            last = Some(middle.clone());
            Ok(Moved { velocity, next: x + middle * leg.h(), evaluations })
        })))
    }
}
