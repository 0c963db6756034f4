//! The solvers a recipe can name and their settings. What each is, needs and costs, a file of its own says ([`Method`]).
//!
//! A new solver is its file, and here a variant, its line in `each!` and its line in [`Solver::all`].

use super::sde::{Scheme, Sde, Stochastic};
use super::{
    Embedded, Tableau, adaptive, anchored, exponential, fireflow, fixed, multistep, overshooting, plms, rf_solver,
    stepper::{Plan, Run},
    unipc,
};
use crate::FlowError;
use base::Paper;
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

/// What a method says of itself.
pub(super) trait Method {
    /// Name as in a recipe.
    fn name(&self) -> &'static str;

    /// See [`Solver::order`].
    fn order(&self) -> Option<f64>;

    /// The papers it is from; none for what every textbook has.
    fn papers(&self) -> Vec<Paper>;

    /// Evaluations of the field over `steps` steps, at least one; `None` when it chooses its own.
    fn evaluations(&self, steps: usize) -> Option<usize> {
        Some(steps)
    }

    /// Whether it draws noise on its way.
    fn is_stochastic(&self) -> bool {
        false
    }

    /// Whether it follows the curve of the path.
    fn follows_path(&self) -> bool {
        false
    }

    /// Whether it is for rectified flows alone.
    fn needs_rectified(&self) -> bool {
        false
    }

    /// Refuses settings out of range.
    fn check(&self) -> Result<(), FlowError> {
        Ok(())
    }

    /// The tableau, of a fixed-step Runge–Kutta method.
    fn tableau(&self) -> Option<&'static Tableau> {
        None
    }

    /// The pair and what its steps are held to, of an adaptive method.
    fn adaptive(&self) -> Option<(&'static Embedded, adaptive::Control)> {
        None
    }

    /// What it does on its grid.
    fn plan<'a, const D: usize>(&self, run: Run<'a, '_, D>) -> Result<Plan<'a, D>, FlowError>;
}

/// The method of each solver, one after another: `$said` of the one that `$solver` is.
macro_rules! each {
    ($solver:expr, $method:ident => $said:expr) => {{
        macro_rules! of {
            ($made:expr) => {{
                let $method = $made;
                $said
            }};
        }
        match $solver {
            Solver::Euler {} => of!(fixed::EULER),
            Solver::Midpoint {} => of!(fixed::MIDPOINT),
            Solver::Heun {} => of!(fixed::HEUN),
            Solver::Rk4 {} => of!(fixed::RK4),
            Solver::RfSolver { order } => of!(rf_solver::RfSolver { order: *order }),
            Solver::Fireflow {} => of!(fireflow::Fireflow),
            Solver::AdamsBashforth { order } => of!(multistep::AdamsBashforth { order: *order }),
            Solver::DormandPrince { rtol, atol, max_steps } => of!(adaptive::dormand_prince(*rtol, *atol, *max_steps)),
            Solver::BogackiShampine { rtol, atol, max_steps } => {
                of!(adaptive::bogacki_shampine(*rtol, *atol, *max_steps))
            }
            Solver::Ddim { eta } => of!(exponential::ddim(*eta)),
            Solver::DpmSolver {} => of!(exponential::dpm_solver()),
            Solver::Plms {} => of!(plms::Plms),
            Solver::Unipc { order } => of!(unipc::Unipc { order: *order }),
            Solver::Anchored { corrected } => of!(anchored::Anchored { corrected: *corrected }),
            Solver::Consistency {} => of!(exponential::consistency()),
            Solver::EulerMaruyama(sde) => of!(Stochastic(Scheme::EulerMaruyama, sde)),
            Solver::SdeHeun(sde) => of!(Stochastic(Scheme::Heun, sde)),
            Solver::StochasticRk(sde) => of!(Stochastic(Scheme::RungeKutta, sde)),
            Solver::DpmSolverSde { eta } => of!(exponential::dpm_solver_sde(*eta)),
            Solver::NoiseRefresh { rate } => of!(exponential::noise_refresh(*rate)),
            Solver::Overshooting { strength } => of!(overshooting::Overshooting { strength: *strength }),
        }
    }};
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
        each!(self, method => method.name())
    }

    /// Power of the step with which the error of one trajectory falls (strong order for stochastic methods); of the
    /// tolerated error for adaptive ones. `None` for methods that do not come nearer to a flow as steps shrink.
    pub fn order(&self) -> Option<f64> {
        each!(self, method => method.order())
    }

    /// Evaluations of the field over `steps` steps; `None` when it chooses its own.
    pub fn evaluations(&self, steps: usize) -> Option<usize> {
        if steps == 0 { Some(0) } else { each!(self, method => method.evaluations(steps)) }
    }

    /// Whether it chooses its own steps, for every sample by itself.
    pub fn is_adaptive(&self) -> bool {
        self.embedded().is_some()
    }

    /// Whether it draws noise on its way, so that a run needs Brownian paths ([`solve_with`](super::solve_with)) and a field
    /// whose score is known.
    pub fn is_stochastic(&self) -> bool {
        each!(self, method => method.is_stochastic())
    }

    /// Whether it follows the curve of the path, so that the field must know a path of two points, without a latent.
    pub fn follows_path(&self) -> bool {
        each!(self, method => method.follows_path())
    }

    /// Whether it is for rectified flows alone: networks trained on a teacher's pairs.
    pub fn needs_rectified(&self) -> bool {
        each!(self, method => method.needs_rectified())
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), FlowError> {
        each!(self, method => method.check())
    }

    /// The papers it is from.
    pub fn papers(&self) -> Vec<Paper> {
        each!(self, method => method.papers())
    }

    /// The tableau of a fixed-step Runge–Kutta method.
    pub fn tableau(&self) -> Option<&'static Tableau> {
        each!(self, method => method.tableau())
    }

    /// The pair of an adaptive method.
    pub fn embedded(&self) -> Option<&'static Embedded> {
        self.adaptive().map(|(pair, _)| pair)
    }

    /// The pair of an adaptive method, and what its steps are held to.
    pub(super) fn adaptive(&self) -> Option<(&'static Embedded, adaptive::Control)> {
        each!(self, method => method.adaptive())
    }

    /// What it does on its grid, in `run`.
    pub(super) fn plan<'a, const D: usize>(&self, run: Run<'a, '_, D>) -> Result<Plan<'a, D>, FlowError> {
        each!(self, method => method.plan(run))
    }
}
