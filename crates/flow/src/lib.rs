//! The mathematics of flow models: paths, parameterizations, couplings, time laws, losses, fields, solvers and oracles.
//!
//! One frame throughout: **t = 0 is the source (noise), t = 1 the data, and velocity points towards the data**.
//! Training reads `coupling → time law → path → parameterization → loss` and meets in [`Objective`];
//! sampling reads `network → PathField → Guided → solve` and sees nothing but a [`Field`].
//! Nothing here names a file format, a concrete network or a device.
//!
//! ```
//! use flow::{Field, ScheduleConfig, Solver, exact, solve};
//! use base::{Condition, Device, Key, Purpose};
//!
//! // The exact rectified flow from N(0, I) to N(3, 0.5²) in two dimensions.
//! let field = exact::Gaussian::new(flow::Path::Linear {}, vec![3.0, 3.0], vec![0.5, 0.5])?;
//! let noise = Key::new(0, Purpose::Noise).normal_tensor::<2>(&[0, 1, 2], [0, 2], &Device::flex());
//! let schedule = ScheduleConfig::Uniform {}.build(20)?;
//! let solution = solve(&field, noise, &Condition::none(), &Solver::Rk4 {}, &schedule, None)?;
//! assert_eq!(solution.nfe, 80);
//! # Ok::<(), flow::FlowError>(())
//! ```

pub mod bridge;
pub mod coupling;
pub mod diagnostics;
pub mod error;
pub mod exact;
pub mod exercise;
pub mod field;
pub mod guidance;
pub mod joint;
pub mod kl;
pub mod likelihood;
pub mod loss;
pub mod native;
pub mod objective;
pub mod parameterization;
pub mod path;
pub mod rows;
pub mod schedule;
pub mod score;
pub mod solver;
pub mod stochastic;
pub mod time;

pub use coupling::{Coupling, Pairing};
pub use error::FlowError;
pub use exercise::{Beside, Exercise, Gauge, Onlooker, Premetric};
pub use field::{Field, Frame, PathField};
pub use guidance::Guided;
pub use joint::JointField;
pub use likelihood::{Divergence, Divergent, Likelihood};
pub use loss::{Loss, Perceptual, Weighting};
pub use native::Native;
pub use objective::Objective;
pub use parameterization::{Affine, Parameterization};
pub use path::{Coefficients, Curve, Ends, Gamma, Path, Point};
pub use schedule::{Schedule, ScheduleConfig};
pub use score::ScoreField;
pub use solver::{LastStep, Observation, Sde, Solution, Solver, Stepper, solve, solve_with};
pub use stochastic::{Brownian, Diffusion};
pub use time::{TimeConfig, TimeLaw};

/// Every paper that a path, an output, a coupling, a time law, a loss or a solver here is from.
pub fn papers() -> Vec<base::Paper> {
    let first = [objective::RECTIFIED_FLOW, objective::FLOW_MATCHING];
    let paths = [path::INTERPOLANTS, path::SCORE_SDE, path::IMPROVED_DDPM, path::EDM, parameterization::PROGRESSIVE];
    let couplings =
        [coupling::OT_POOLADIAN, coupling::OT_TONG, coupling::SINKHORN, coupling::UNBALANCED, coupling::SLIMFLOW];
    let losses = [loss::IMPROVED_RF, loss::LPIPS, loss::MIN_SNR, guidance::GUIDANCE, guidance::INTERVAL];
    let solvers = Solver::all().into_iter().flat_map(|solver| solver.papers());
    first.into_iter().chain(paths).chain(couplings).chain(losses).chain(solvers).collect()
}
