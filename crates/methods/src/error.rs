//! What can go wrong in a procedure, each with its remedy.

use thiserror::Error;

/// Why a procedure was refused or stopped.
#[derive(Debug, Error)]
pub enum MethodError {
    /// The mathematics refused.
    #[error(transparent)]
    Flow(#[from] flow::FlowError),
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
    /// A cost, a measurement and a way of steering do not go together.
    #[error("{0}")]
    Steering(String),
    /// Somebody asked to stop between two evaluations.
    #[error("stopped")]
    Stopped,
    /// The teacher cannot be used for this stage.
    #[error("{0}")]
    Teacher(String),
    /// The stored pairs were made under other rules than the stage's.
    #[error(
        "the pairs were generated with {what} `{found}` but this stage needs `{expected}`: generate pairs from the \
         checkpoint being trained further"
    )]
    Provenance {
        /// "path" or "parameterization".
        what: &'static str,
        /// That of the pairs.
        found: String,
        /// That of the stage.
        expected: String,
    },
    /// The stored pairs do not look like (noise, data).
    #[error("{0}")]
    Pairs(String),
    /// The points that pairs begin at could not be had.
    #[error("pair {index} has no beginning: {source}")]
    Supply {
        /// Index of the first pair of the chunk.
        index: u64,
        /// What the supply said.
        source: Failure,
    },
    /// Attention features could not be kept between two walks, or not be had back.
    #[error("shared attention features: {0}")]
    Features(Failure),
    /// The receiver of the pairs failed.
    #[error("pair {index} could not be stored: {source}")]
    Sink {
        /// Index of the first pair of the chunk.
        index: u64,
        /// What the receiver said.
        source: Failure,
    },
}

impl MethodError {
    /// `method` was given a cost that is not the misfit to a linear measurement.
    pub(crate) fn not_linear(method: &str) -> Self {
        Self::Steering(format!(
            "{method} needs a linear measurement (a mask, pooling, blur or grey); for any other cost use flowchef or dps"
        ))
    }
}

/// What somebody else's code may say.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
