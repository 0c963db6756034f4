//! Exponential integrators: exact in the path's own curve, polynomial in the data estimate along `lambda`.
//!
//! DDIM (Song, Meng & Ermon 2020, arXiv 2010.02502) holds the estimates; DPM-Solver++(2M) (Lu et al. 2022, arXiv
//! 2211.01095, algorithm 2) extrapolates the data estimate from two steps. Written for any path
//! `x = alpha x0 + beta x1`: there `sigma = alpha`, `alpha = beta`, and `h` is the growth of `lambda = log(beta/alpha)`.
//! The stochastic forms move part of the source estimate to fresh noise: with `keep = e^(-eta h)` the step solves the
//! reverse diffusion whose `ε(t)` is `eta` times that of the noising process (the SDE form of DPM-Solver++), so the
//! marginals are kept for every `eta >= 0`.

use super::curve::{Node, frame_of};
use super::method::Method;
use super::noise::check_refreshing;
use super::stepper::{Moved, Plan, Run};
use crate::{FlowError, error::require};
use base::{Paper, Tensor, Times};

const DDIM: Paper = Paper::arxiv(
    "song2020denoising",
    "Song, Jiaming and Meng, Chenlin and Ermon, Stefano",
    "Denoising Diffusion Implicit Models",
    (2020, "2010.02502"),
    "ICLR 2021",
);
const DPM_SOLVER: Paper = Paper::arxiv(
    "lu2022dpm",
    "Lu, Cheng and Zhou, Yuhao and Bao, Fan and Chen, Jianfei and Li, Chongxuan and Zhu, Jun",
    "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models",
    (2022, "2211.01095"),
    "Machine Intelligence Research 2025",
);
/// Consistency models.
pub const CONSISTENCY: Paper = Paper::arxiv(
    "song2023consistency",
    "Song, Yang and Dhariwal, Prafulla and Chen, Mark and Sutskever, Ilya",
    "Consistency Models",
    (2023, "2303.01469"),
    "ICML 2023",
);

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
    name: &'static str,
    /// Whether the data estimate is extrapolated from the last step.
    second_order: bool,
    keep: Keep,
    order: Option<f64>,
    /// A setting, its value, and whether it may not be more than 1.
    strength: Option<(&'static str, f64, bool)>,
    paper: Paper,
}

/// DDIM: the estimates held over the step. Its `eta` is the share of the ancestral noise.
pub(super) fn ddim(eta: f64) -> Exponential {
    let keep = if eta == 0.0 { Keep::All } else { Keep::Ancestral { eta } };
    let strength = Some(("solver.eta", eta, true));
    Exponential { name: "ddim", second_order: false, keep, order: Some(1.0), strength, paper: DDIM }
}

impl Exponential {
    /// The same, called `name` in messages.
    pub fn called(self, name: &'static str) -> Self {
        Self { name, ..self }
    }
}

/// DPM-Solver++(2M).
pub(super) fn dpm_solver() -> Exponential {
    let (keep, paper) = (Keep::All, DPM_SOLVER);
    Exponential { name: "dpm_solver", second_order: true, keep, order: Some(2.0), strength: None, paper }
}

/// Its stochastic form, of strength `eta`.
pub(super) fn dpm_solver_sde(eta: f64) -> Exponential {
    let keep = if eta == 0.0 { Keep::All } else { Keep::Diffuse { eta } };
    let strength = Some(("solver.eta", eta, false));
    Exponential { name: "dpm_solver_sde", second_order: true, keep, order: Some(1.0), strength, paper: DPM_SOLVER }
}

/// Curved Euler with part of the source estimate replaced, as much as the reverse diffusion of strength `rate` does.
pub(super) fn noise_refresh(rate: f64) -> Exponential {
    let keep = if rate == 0.0 { Keep::All } else { Keep::Diffuse { eta: rate } };
    let strength = Some(("solver.rate", rate, false));
    Exponential { name: "noise_refresh", second_order: false, keep, order: Some(1.0), strength, paper: DPM_SOLVER }
}

/// Multistep consistency sampling: one jump after another, which has no order.
pub(super) fn consistency() -> Exponential {
    let (keep, paper) = (Keep::Nothing, CONSISTENCY);
    Exponential { name: "consistency", second_order: false, keep, order: None, strength: None, paper }
}

impl Method for Exponential {
    fn name(&self) -> &'static str {
        self.name
    }

    fn order(&self) -> Option<f64> {
        self.order
    }

    fn papers(&self) -> Vec<Paper> {
        vec![self.paper]
    }

    fn is_stochastic(&self) -> bool {
        self.keep != Keep::All
    }

    fn follows_path(&self) -> bool {
        true
    }

    fn check(&self) -> Result<(), FlowError> {
        match self.strength {
            None => Ok(()),
            Some((setting, value, true)) => {
                require((0.0..=1.0).contains(&value), setting, value, "it must lie in [0, 1]; 0 is deterministic")
            }
            Some((setting, value, false)) => {
                require(value.is_finite() && value >= 0.0, setting, value, "it must be zero or more")
            }
        }
    }

    fn plan<'a, const D: usize>(&self, run: Run<'a, '_, D>) -> Result<Plan<'a, D>, FlowError> {
        if self.is_stochastic() {
            check_refreshing(run.field, self.name, run.schedule)?;
        }
        steps((self.name, self.second_order, self.keep), run)
    }
}

fn steps<'a, const D: usize>(
    (name, second_order, keep): (&'static str, bool, Keep),
    run: Run<'a, '_, D>,
) -> Result<Plan<'a, D>, FlowError> {
    let Run { field, x, condition, schedule, noise } = run;
    let path = frame_of(field, name)?.path;
    let batch = x.dims()[0];
    let mut increments = noise.start(keep != Keep::All, name, schedule, x)?;
    let mut last: Option<(f64, Tensor<D>)> = None;
    Ok(run.on_grid(Box::new(move |leg, x: Tensor<D>| {
        last = last.take().filter(|_| !leg.replaced);
        let (from, to) = (Node::at(path, leg.from), Node::at(path, leg.to));
        let velocity = field.velocity(x.clone(), &Times::all(leg.from, batch), condition);
        let (decay, h) = (from.decay(&to), to.lambda - from.lambda);
        let keep = keep.share(decay);
        let mut next = from.step(x.clone(), velocity.clone(), &to, keep);
        if second_order {
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
    })))
}
