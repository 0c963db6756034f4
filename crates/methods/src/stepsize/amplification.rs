//! How much an error made at time `t` has grown when the data are reached.
//!
//! The additive cost of arXiv 2312.16414 sums local defects as if the flow carried them along unchanged; it does not, and a
//! schedule that is best by it can lose end to end (`crates/methods/tests/all/stepsize.rs` keeps such a case). Weighting each
//! defect by the measured growth of a small push in a defect's own direction makes the sum an estimate of the end error.

use crate::MethodError;
use base::{Condition, Tensor};
use flow::{Field, FlowError, Schedule, Solver, rows, solve};

/// Size of the push, in standard deviations of a unit normal value: far above rounding, well inside the linear range.
const PUSH: f64 = 1e-2;

/// Squared growth of errors from a few times to the end, log-linear between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Amplification {
    times: Vec<f64>,
    log_growth: Vec<f64>,
}

impl Amplification {
    /// Measures on trajectories along `anchors` from `x0` at about `points` anchors (at least two).
    ///
    /// At each, the state is pushed along the change of velocity over the cells before it, which is the direction of a
    /// defect that ends there, and both are carried to the end. Evaluations: about `points` times half the anchors.
    ///
    /// # Errors
    /// Those of [`solve`].
    pub fn measure<const D: usize>(
        field: &dyn Field<D>,
        anchors: &Schedule,
        x0: Tensor<D>,
        condition: &Condition,
        points: usize,
    ) -> Result<Self, MethodError> {
        let cells = anchors.steps();
        let mut states = vec![x0.clone()];
        let mut velocities = Vec::with_capacity(cells);
        let mut observe = |o: flow::Observation<D>| {
            velocities.push(o.velocity);
            states.push(o.next);
        };
        let end = solve(field, x0, condition, &Solver::Euler {}, anchors, Some(&mut observe))?.x;
        let points = points.clamp(2, cells.max(2));
        let (mut times, mut log_growth) = (Vec::new(), Vec::new());
        for i in 0..points {
            let k = (1 + i * (cells - 1) / (points - 1)).min(cells);
            if times.last() == Some(&anchors.times()[k]) {
                continue;
            }
            times.push(anchors.times()[k]);
            if k == cells {
                log_growth.push(0.0);
                continue;
            }
            let back = (cells / 10).clamp(1, k);
            let direction = unit(velocities[k].clone() - velocities[k - back].clone())? * PUSH;
            let rest = Schedule::new(anchors.times()[k..].to_vec())?;
            let pushed =
                solve(field, states[k].clone() + direction.clone(), condition, &Solver::Euler {}, &rest, None)?;
            let (grown, put) = (square(pushed.x - end.clone())?, square(direction)?);
            log_growth.push(if grown > 0.0 && put > 0.0 { (grown / put).ln() } else { 0.0 });
        }
        Ok(Self { times, log_growth })
    }

    /// Squared growth of an error from `t` to the end.
    pub fn at(&self, t: f64) -> f64 {
        let after = self.times.partition_point(|&s| s < t);
        let log = match (after.checked_sub(1), self.times.get(after)) {
            (Some(i), Some(&b)) => {
                let (a, share) = (self.times[i], (t - self.times[i]) / (b - self.times[i]));
                debug_assert!(a < b);
                self.log_growth[i] * (1.0 - share) + self.log_growth[after] * share
            }
            (None, _) => self.log_growth[0],
            (Some(i), None) => self.log_growth[i],
        };
        log.exp()
    }
}

/// Each row scaled to root-mean-square one; a row of zeros stays.
fn unit<const D: usize>(x: Tensor<D>) -> Result<Tensor<D>, FlowError> {
    let norms = rows::host(rows::mean(x.clone().square()))?;
    Ok(rows::scale(x, norms.iter().map(|n| if *n > 0.0 { n.sqrt().recip() } else { 0.0 }).collect()))
}

fn square<const D: usize>(x: Tensor<D>) -> Result<f64, FlowError> {
    Ok(rows::host(rows::sum(x.square()))?.iter().sum())
}
