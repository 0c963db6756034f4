//! The anchored update of 2-rectified flow++: every step mixes the data estimate with the noise the sample started from.
//!
//! Improving the training of rectified flows, arXiv 2405.20320, §5.3: Euler's step keeps the *estimated* source,
//! `x' = beta' E[x1|x] + alpha' E[x0|x]`; here the source is the true one, which is known. The same on an exactly straight
//! flow and in one step. **Not a consistent integrator elsewhere**: on a first flow its error grows without bound as steps
//! shrink (the test holds the numbers), so fields from independent pairs are refused. Written for any path of two ends, but for
//! the corrected form, which averages velocities.

use super::curve::{Node, frame_of};
use super::method::Method;
use super::stepper::{Moved, Plan, Run};
use crate::{FlowError, Path, loss::IMPROVED_RF};
use base::{Paper, Tensor, Times};

const NAME: &str = "anchored";

/// The update of 2-rectified flow++.
pub(super) struct Anchored {
    /// Averages the velocities of both ends of each step but the last.
    pub corrected: bool,
}

impl Method for Anchored {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Of a straight flow, where it is exact; elsewhere it has none.
    fn order(&self) -> Option<f64> {
        None
    }

    fn papers(&self) -> Vec<Paper> {
        vec![IMPROVED_RF]
    }

    fn evaluations(&self, steps: usize) -> Option<usize> {
        Some(if self.corrected { 2 * steps - 1 } else { steps })
    }

    fn follows_path(&self) -> bool {
        true
    }

    fn needs_rectified(&self) -> bool {
        true
    }

    fn plan<'a, const D: usize>(&self, run: Run<'a, '_, D>) -> Result<Plan<'a, D>, FlowError> {
        steps(self.corrected, run)
    }
}

fn steps<'a, const D: usize>(corrected: bool, run: Run<'a, '_, D>) -> Result<Plan<'a, D>, FlowError> {
    let Run { field, x, condition, schedule, .. } = run;
    let frame = frame_of(field, NAME)?;
    let needs = |what, remedy| Err(FlowError::Needs { solver: NAME, what, remedy });
    if frame.independent {
        return needs(
            "a rectified flow, trained on its teacher's pairs",
            "on a flow from independent pairs it diverges as steps shrink; reflow first, or use euler or heun",
        );
    }
    if corrected && *frame.path != (Path::Linear {}) {
        return needs(
            "the linear path for its corrected form",
            "it averages velocities, which turn on a curve; set corrected = false",
        );
    }
    let (path, batch) = (frame.path, x.dims()[0]);
    let (first, last) = schedule.ends();
    let start = Node::at(path, first);
    if last < first || start.c.beta > 0.1 * start.c.alpha {
        return needs(
            "a schedule that starts at the noise",
            "it mixes in the noise a sample started from; elsewhere, and for inversion, use euler or heun",
        );
    }
    let noise = x.clone() / start.c.alpha;
    let steps = schedule.steps();
    Ok(run.on_grid(Box::new(move |leg, x: Tensor<D>| {
        let (from, to) = (Node::at(path, leg.from), Node::at(path, leg.to));
        let rule = |velocity: &Tensor<D>| from.data(&x, velocity) * to.c.beta + noise.clone() * to.c.alpha;
        let velocity = field.velocity(x.clone(), &Times::all(leg.from, batch), condition);
        let mut next = rule(&velocity);
        if corrected && leg.step + 1 < steps {
            let second = field.velocity(next, &Times::all(leg.to, batch), condition);
            next = rule(&((velocity.clone() + second) * 0.5));
            return Ok(Moved { velocity, next, evaluations: 2 });
        }
        Ok(Moved { velocity, next, evaluations: 1 })
    })))
}
