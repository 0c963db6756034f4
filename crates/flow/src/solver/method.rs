//! The solvers a recipe can name, their settings, and what each needs and costs.

use super::sde::{Scheme, Sde};
use super::{Embedded, Tableau, multistep, tableau};
use crate::{FlowError, error::require};
use serde::{Deserialize, Serialize};

/// A method of integration.
///
/// The first block follows the velocity alone, the second reads the path as well, the third is stochastic.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Solver {
    /// Order 1, one evaluation per step.
    Euler {},
    /// Order 2, two evaluations per step.
    Midpoint {},
    /// Order 2 (explicit trapezoid), two evaluations per step.
    Heun {},
    /// The classical method of order 4, four evaluations per step.
    Rk4 {},
    /// RF-Solver (arXiv 2411.04746): the Taylor step of order 2 is the explicit midpoint rule, which is how it is computed
    /// (the published form divides a difference of velocities by the step and loses digits in low precision); order 3
    /// takes four evaluations.
    RfSolver {
        /// 2 or 3.
        #[serde(default = "second")]
        order: u8,
    },
    /// FireFlow (arXiv 2412.07517): the midpoint rule with the last midpoint velocity as predictor. Order 2, one
    /// evaluation per step and one more for the first.
    Fireflow {},
    /// Adams–Bashforth on the schedule's own grid, started by a Runge–Kutta method of the same order: one evaluation per
    /// step after `order - 1` steps.
    AdamsBashforth {
        /// 2, 3 or 4.
        #[serde(default = "second")]
        order: u8,
    },
    /// Dormand–Prince 5(4): steps chosen per sample from an error estimate. Visits only the ends of the schedule.
    DormandPrince {
        /// Relative tolerance, positive.
        #[serde(default = "tolerance")]
        rtol: f64,
        /// Absolute tolerance, positive.
        #[serde(default = "tolerance")]
        atol: f64,
        /// Steps (accepted or not) after which a sample is given up, at least 1.
        #[serde(default = "max_steps")]
        max_steps: usize,
    },
    /// Bogacki–Shampine 3(2): as Dormand–Prince, cheaper where the tolerance is loose.
    BogackiShampine {
        /// Relative tolerance, positive.
        #[serde(default = "loose")]
        rtol: f64,
        /// Absolute tolerance, positive.
        #[serde(default = "loose")]
        atol: f64,
        /// Steps (accepted or not) after which a sample is given up, at least 1.
        #[serde(default = "max_steps")]
        max_steps: usize,
    },
    /// DDIM, also called curved Euler and denoising integrator: source and data estimates held over the step. Order 1,
    /// exact where they are constant, one evaluation per step. Euler itself on the linear path.
    #[serde(alias = "curved_euler", alias = "denoising")]
    Ddim {
        /// Share of the ancestral noise, in [0, 1]; 0 is deterministic, above it needs an independent normal source.
        #[serde(default)]
        eta: f64,
    },
    /// DPM-Solver++(2M): the data estimate extrapolated along the log signal-to-noise ratio. Order 2 (a first-order step
    /// from pure noise and to pure data), one evaluation per step.
    #[serde(alias = "dpmpp_2m")]
    DpmSolver {},
    /// PLMS (PNDM without its Runge–Kutta start): DDIM's step with the source estimate extrapolated from up to four steps, by
    /// weights for even steps. Order 2, one evaluation per step and one more for the first; what Stable Diffusion is drawn with.
    #[serde(alias = "pndm")]
    Plms {},
    /// UniPC with `B(h) = e^h - 1`: predictor of this order, raised by one by the corrector; order 3 after published
    /// lower-order first steps. One evaluation per step.
    #[serde(alias = "uni_pc")]
    Unipc {
        /// 2 or 3, of the predictor.
        #[serde(default = "second")]
        order: u8,
    },
    /// The update of 2-rectified flow++ (arXiv 2405.20320, §5.3): data estimate and the noise the sample **started from**,
    /// mixed anew at every step. For rectified flows only; others are refused. One evaluation per step, `2N - 1` corrected.
    Anchored {
        /// Averages the velocities of both ends of each step but the last (the paper's Heun variant); linear path only.
        #[serde(default)]
        corrected: bool,
    },
    /// Multistep consistency sampling (arXiv 2303.01469, algorithm 1): the data estimate, then entirely fresh noise at every
    /// step. For consistency models, whose estimate is the flow's end; one evaluation per step.
    Consistency {},
    /// Euler–Maruyama: strong and weak order 1, one evaluation per step.
    EulerMaruyama(Sde),
    /// Noise first, then Heun's method on the drift: order 1, two evaluations per step.
    SdeHeun(Sde),
    /// Rößler's SRA1: strong order 1.5, weak order 2, two evaluations per step.
    StochasticRk(Sde),
    /// DPM-Solver++(2M) SDE: the reverse diffusion of strength `eta`, exact in its linear part. Weak order 1 (2 in the data
    /// estimate), one evaluation per step.
    #[serde(alias = "dpmpp_2m_sde")]
    DpmSolverSde {
        /// Strength of the noise against that of the noising process; 0 is DPM-Solver++(2M).
        #[serde(default = "unit")]
        eta: f64,
    },
    /// Curved Euler with part of the source estimate replaced by fresh noise, as much as the reverse diffusion of strength
    /// `rate` replaces over the step, so that marginals are kept as steps shrink. (A share that does not depend on the step,
    /// as in rectified flow's library, loses variance at every step.) One evaluation per step.
    NoiseRefresh {
        /// Zero or more; 1 refreshes as ancestral sampling does.
        #[serde(default = "unit")]
        rate: f64,
    },
    /// A curved Euler step `1 + strength` times too long, then back with fresh noise (arXiv 2411.19415). One evaluation per
    /// step.
    Overshooting {
        /// Zero (curved Euler) or more.
        #[serde(default = "unit")]
        strength: f64,
    },
}

fn tolerance() -> f64 {
    1e-5
}

fn loose() -> f64 {
    1e-3
}

fn max_steps() -> usize {
    1000
}

fn second() -> u8 {
    2
}

fn unit() -> f64 {
    1.0
}

impl Default for Solver {
    fn default() -> Self {
        Self::Euler {}
    }
}

impl Solver {
    /// Dormand–Prince with tolerances 1e-5, as 2209.03003 uses it.
    pub fn dormand_prince() -> Self {
        Self::DormandPrince { rtol: tolerance(), atol: tolerance(), max_steps: max_steps() }
    }

    /// Bogacki–Shampine with tolerances 1e-3, where it is worth its while.
    pub fn bogacki_shampine() -> Self {
        Self::BogackiShampine { rtol: loose(), atol: loose(), max_steps: max_steps() }
    }

    /// One of each, with its usual settings.
    pub fn all() -> Vec<Self> {
        vec![
            Self::Euler {},
            Self::Midpoint {},
            Self::Heun {},
            Self::Rk4 {},
            Self::RfSolver { order: 2 },
            Self::Fireflow {},
            Self::AdamsBashforth { order: 2 },
            Self::dormand_prince(),
            Self::bogacki_shampine(),
            Self::Ddim { eta: 0.0 },
            Self::DpmSolver {},
            Self::Plms {},
            Self::Unipc { order: 2 },
            Self::Anchored { corrected: false },
            Self::Consistency {},
            Self::EulerMaruyama(Sde::default()),
            Self::SdeHeun(Sde::default()),
            Self::StochasticRk(Sde::default()),
            Self::DpmSolverSde { eta: 1.0 },
            Self::NoiseRefresh { rate: 1.0 },
            Self::Overshooting { strength: 1.0 },
        ]
    }

    /// Name as in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Euler {} => "euler",
            Self::Midpoint {} => "midpoint",
            Self::Heun {} => "heun",
            Self::Rk4 {} => "rk4",
            Self::RfSolver { .. } => "rf_solver",
            Self::Fireflow {} => "fireflow",
            Self::AdamsBashforth { .. } => "adams_bashforth",
            Self::DormandPrince { .. } => "dormand_prince",
            Self::BogackiShampine { .. } => "bogacki_shampine",
            Self::Ddim { .. } => "ddim",
            Self::DpmSolver {} => "dpm_solver",
            Self::Plms {} => "plms",
            Self::Unipc { .. } => "unipc",
            Self::Anchored { .. } => "anchored",
            Self::Consistency {} => "consistency",
            Self::EulerMaruyama(_) => "euler_maruyama",
            Self::SdeHeun(_) => "sde_heun",
            Self::StochasticRk(_) => "stochastic_rk",
            Self::DpmSolverSde { .. } => "dpm_solver_sde",
            Self::NoiseRefresh { .. } => "noise_refresh",
            Self::Overshooting { .. } => "overshooting",
        }
    }

    /// Power of the step with which the error of one trajectory falls (strong order for stochastic methods); of the
    /// tolerated error for adaptive ones.
    pub fn order(&self) -> f64 {
        match self {
            Self::Euler {} | Self::Ddim { .. } => 1.0,
            // Of a straight flow, where it is exact; elsewhere it has none. Nor has one jump after another.
            Self::Anchored { .. } | Self::Consistency {} => 0.0,
            Self::EulerMaruyama(_) | Self::SdeHeun(_) => 1.0,
            Self::DpmSolverSde { .. } | Self::NoiseRefresh { .. } | Self::Overshooting { .. } => 1.0,
            Self::StochasticRk(_) => 1.5,
            Self::Midpoint {} | Self::Heun {} | Self::Fireflow {} | Self::DpmSolver {} | Self::Plms {} => 2.0,
            Self::RfSolver { order } | Self::AdamsBashforth { order } => f64::from(*order),
            Self::Unipc { .. } | Self::BogackiShampine { .. } => 3.0,
            Self::Rk4 {} => 4.0,
            Self::DormandPrince { .. } => 5.0,
        }
    }

    /// Evaluations of the field over `steps` steps; `None` when it chooses its own.
    pub fn evaluations(&self, steps: usize) -> Option<usize> {
        if steps == 0 {
            return Some(0);
        }
        if let Some(tableau) = self.tableau() {
            return Some(steps * tableau.b.len());
        }
        if let Some((scheme, sde)) = self.sde() {
            return Some(sde.evaluations(scheme, steps));
        }
        match self {
            Self::Fireflow {} | Self::Plms {} => Some(steps + 1),
            Self::Anchored { corrected: true } => Some(2 * steps - 1),
            Self::AdamsBashforth { order } => {
                let first = steps.min(usize::from(*order).saturating_sub(1));
                Some(first * multistep::starter(*order).b.len() + steps - first)
            }
            _ if self.embedded().is_some() => None,
            _ => Some(steps),
        }
    }

    /// Whether it chooses its own steps, for every sample by itself.
    pub fn is_adaptive(&self) -> bool {
        self.embedded().is_some()
    }

    /// Whether it draws noise on its way, so that a run needs Brownian paths ([`solve_with`](super::solve_with)) and a field
    /// whose score is known.
    pub fn is_stochastic(&self) -> bool {
        match self {
            Self::EulerMaruyama(_) | Self::SdeHeun(_) | Self::StochasticRk(_) => true,
            Self::Ddim { eta } | Self::DpmSolverSde { eta } => *eta > 0.0,
            Self::NoiseRefresh { rate } => *rate > 0.0,
            Self::Overshooting { strength } => *strength > 0.0,
            Self::Consistency {} => true,
            _ => false,
        }
    }

    /// Whether it follows the curve of the path, so that the field must know a path of two points, without a latent.
    pub fn follows_path(&self) -> bool {
        matches!(
            self,
            Self::Ddim { .. }
                | Self::DpmSolver {}
                | Self::Plms {}
                | Self::Unipc { .. }
                | Self::Anchored { .. }
                | Self::Consistency {}
                | Self::DpmSolverSde { .. }
                | Self::NoiseRefresh { .. }
                | Self::Overshooting { .. }
        )
    }

    /// Whether it is for rectified flows alone: networks trained on a teacher's pairs.
    pub fn needs_rectified(&self) -> bool {
        matches!(self, Self::Anchored { .. })
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), FlowError> {
        let order = |order: u8, last: u8, remedy| require((2..=last).contains(&order), "solver.order", order, remedy);
        let more = |setting, v: f64| require(v.is_finite() && v >= 0.0, setting, v, "it must be zero or more");
        match self {
            Self::DormandPrince { rtol, atol, max_steps } | Self::BogackiShampine { rtol, atol, max_steps } => {
                let fine = |v: f64| v.is_finite() && v > 0.0;
                require(fine(*rtol), "solver.rtol", rtol, "it must be positive; 1e-5 is customary")?;
                require(fine(*atol), "solver.atol", atol, "it must be positive; 1e-5 is customary")?;
                require(*max_steps > 0, "solver.max_steps", max_steps, "it must be at least 1; 1000 is customary")
            }
            Self::RfSolver { order: n } | Self::Unipc { order: n } => order(*n, 3, "it must be 2 or 3"),
            Self::AdamsBashforth { order: n } => order(*n, 4, "it must be 2, 3 or 4"),
            Self::Ddim { eta } => {
                require((0.0..=1.0).contains(eta), "solver.eta", eta, "it must lie in [0, 1]; 0 is deterministic")
            }
            Self::DpmSolverSde { eta } => more("solver.eta", *eta),
            Self::NoiseRefresh { rate } => more("solver.rate", *rate),
            Self::Overshooting { strength } => more("solver.strength", *strength),
            Self::EulerMaruyama(sde) | Self::SdeHeun(sde) | Self::StochasticRk(sde) => sde.check(),
            _ => Ok(()),
        }
    }

    /// The tableau of a fixed-step Runge–Kutta method.
    pub fn tableau(&self) -> Option<&'static Tableau> {
        match self {
            Self::Euler {} => Some(&tableau::EULER),
            Self::Midpoint {} => Some(&tableau::MIDPOINT),
            Self::Heun {} => Some(&tableau::HEUN),
            Self::Rk4 {} => Some(&tableau::RK4),
            Self::RfSolver { order: 3 } => Some(&tableau::RF_SOLVER_3),
            Self::RfSolver { .. } => Some(&tableau::MIDPOINT),
            _ => None,
        }
    }

    /// The pair of an adaptive method.
    pub fn embedded(&self) -> Option<&'static Embedded> {
        match self {
            Self::DormandPrince { .. } => Some(&tableau::DORMAND_PRINCE),
            Self::BogackiShampine { .. } => Some(&tableau::BOGACKI_SHAMPINE),
            _ => None,
        }
    }

    /// The scheme and settings of a method for stochastic differential equations.
    pub(super) fn sde(&self) -> Option<(Scheme, &Sde)> {
        match self {
            Self::EulerMaruyama(sde) => Some((Scheme::EulerMaruyama, sde)),
            Self::SdeHeun(sde) => Some((Scheme::Heun, sde)),
            Self::StochasticRk(sde) => Some((Scheme::RungeKutta, sde)),
            _ => None,
        }
    }
}
