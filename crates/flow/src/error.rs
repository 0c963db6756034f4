//! What can go wrong in the mathematics, each with its remedy.

use thiserror::Error;

/// Why a computation of this crate was refused or stopped.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum FlowError {
    /// A setting is outside its range.
    #[error("{setting} = {value} is out of range: {remedy}")]
    Setting {
        /// Name of the setting, as in a recipe.
        setting: &'static str,
        /// The value given.
        value: String,
        /// What is allowed.
        remedy: &'static str,
    },
    /// An expression is not a smooth function of time.
    #[error("{name} = \"{text}\" is not usable: {why}; write a smooth function of t, for instance \"1 - t^2\"")]
    Expression {
        /// Name of the setting, as in a recipe.
        name: &'static str,
        /// The expression given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// An output does not say what is wanted of it on this path.
    #[error("a `{output}` network on the path `{path}` says nothing about the {wanted}: {remedy}")]
    Unreadable {
        /// The network's parameterization.
        output: &'static str,
        /// The path.
        path: &'static str,
        /// What was to be read off.
        wanted: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
    /// A schedule is not a monotone grid in [0, 1].
    #[error("the schedule is not usable: {0}")]
    Schedule(String),
    /// A state or velocity became NaN or infinite.
    #[error(
        "{what} is not finite at t = {t:.6} (sample {sample} of the batch): check the network's weights and inputs for \
         NaN, or end the schedule before a time at which the field is singular (for instance t = 0.999)"
    )]
    NotFinite {
        /// "the state" or "the velocity".
        what: &'static str,
        /// Time at which it was seen.
        t: f64,
        /// Row of the batch.
        sample: usize,
    },
    /// The adaptive solver ran out of steps.
    #[error(
        "the adaptive solver stopped at t = {t:.6} (sample {sample} of the batch) after max_steps = {max_steps} steps without \
         reaching t = {end}: raise max_steps, loosen rtol or atol, or end the schedule earlier (the velocity of discrete \
         data is not Lipschitz at t = 1; t = 0.999 is customary)"
    )]
    TooManySteps {
        /// Time reached.
        t: f64,
        /// Time wanted.
        end: f64,
        /// Row of the batch.
        sample: usize,
        /// The limit.
        max_steps: usize,
    },
    /// A solver was given a field, or a start, that lacks what the solver needs.
    #[error("the solver {solver} needs {what}: {remedy}")]
    Needs {
        /// Name of the solver, as in a recipe.
        solver: &'static str,
        /// What is missing.
        what: &'static str,
        /// How to get it, or what to use instead.
        remedy: &'static str,
    },
    /// The diffusion of a stochastic solver has no finite value.
    #[error("the diffusion `{form}` is {value} at t = {t:.6}: {remedy}")]
    Diffusion {
        /// Name of the form, as in a recipe.
        form: &'static str,
        /// Its value there.
        value: f64,
        /// Time at which it was asked for.
        t: f64,
        /// How to mend it.
        remedy: &'static str,
    },
    /// A stochastic step would overshoot the density it should follow.
    #[error(
        "the diffusion {epsilon:.4} is too large for a step of {step:.6} at t = {t:.6} (sample {sample} of the batch): take \
         more steps, scale the diffusion down, or choose one that falls towards that end (sigma, linear, decreasing)"
    )]
    StepTooLong {
        /// The diffusion there.
        epsilon: f64,
        /// Length of the step.
        step: f64,
        /// Time before the step.
        t: f64,
        /// Row of the batch.
        sample: usize,
    },
    /// A step could not be undone by iteration.
    #[error(
        "the step of {step:.6} from t = {t:.6} could not be undone: after {iterations} iterations sample {sample} of the batch \
         still moves by {change:.2e} (tolerance {tolerance:.2e}); take more steps, so that each is shorter, allow more \
         iterations, or invert to the solver's order by solving the reversed schedule"
    )]
    NotConverged {
        /// Time before the step.
        t: f64,
        /// Length of the step.
        step: f64,
        /// Row of the batch.
        sample: usize,
        /// Iterations made.
        iterations: usize,
        /// Its last change, root mean square over the sample's values.
        change: f64,
        /// What that had to fall below.
        tolerance: f64,
    },
    /// Two batches that belong together have different shapes.
    #[error("{left} has shape {left_shape:?} but {right} has {right_shape:?}: they must agree")]
    Shape {
        /// Name of the first.
        left: &'static str,
        /// Its shape.
        left_shape: Vec<usize>,
        /// Name of the second.
        right: &'static str,
        /// Its shape.
        right_shape: Vec<usize>,
    },
    /// Reading a tensor back from its device failed.
    #[error("a tensor could not be read back from its device: {0}")]
    Device(String),
}

/// `Ok` when `holds`, else a [`FlowError::Setting`].
pub(crate) fn require(
    holds: bool,
    setting: &'static str,
    value: impl ToString,
    remedy: &'static str,
) -> Result<(), FlowError> {
    if holds { Ok(()) } else { Err(FlowError::Setting { setting, value: value.to_string(), remedy }) }
}
