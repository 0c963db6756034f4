//! What can go wrong while measuring: every message names the figure or file, the place and the remedy.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// Shapes that do not belong together.
    #[error("{what}: {message}")]
    Shape {
        /// The figure or network that refused.
        what: &'static str,
        /// What did not fit, and what would.
        message: String,
    },
    /// Too few samples for a figure to be defined.
    #[error("{what} needs at least {needed} samples, got {got}; draw more samples")]
    TooFew {
        /// The figure.
        what: &'static str,
        /// Least number of samples.
        needed: usize,
        /// Number of samples given.
        got: usize,
    },
    /// A value that is not a number, or infinite.
    #[error("{what}: row {row}, column {column} is {value}; features and samples must be finite")]
    NotFinite {
        /// The figure.
        what: &'static str,
        /// Row of the first bad value.
        row: usize,
        /// Column of the first bad value.
        column: usize,
        /// The value.
        value: f64,
    },
    /// A parameter outside its range.
    #[error("{name} = {value} is outside its range: {range}")]
    Range {
        /// Name of the parameter.
        name: &'static str,
        /// The value given.
        value: String,
        /// The values allowed.
        range: &'static str,
    },
    /// A linear-algebra routine that did not converge.
    #[error("{what}: the eigenvalue iteration did not converge; check the features for extreme values")]
    NoConvergence {
        /// The figure.
        what: &'static str,
    },
    /// A file that could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file whose bytes are not what they should be.
    #[error("{path}: at byte {offset}: {message}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the reader stopped.
        offset: usize,
        /// What it found, and what to do.
        message: String,
    },
    /// A tensor that a network needs and the file lacks, or has with another shape, or one too many.
    #[error("{network}: tensor `{name}`: {message}")]
    Tensor {
        /// The network.
        network: String,
        /// Name of the tensor.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// A file whose tensors are not the network's.
    #[error("{path}: {source}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// What differs.
        source: nets::NetsError,
    },
}

impl MetricsError {
    /// Wraps a system error with the file it concerns.
    pub fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }
}
