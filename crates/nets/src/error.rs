//! What can go wrong with a network: an impossible configuration, or weights that do not fit.

use std::fmt::Write;

/// An error of this crate; each message says what, where and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum NetsError {
    /// A configuration value out of its range, or one that does not fit the data.
    #[error("network configuration: {0}")]
    Config(String),
    /// Stored tensors that do not match the module's.
    #[error("{0}")]
    Weights(Box<Mismatch>),
    /// A stored tensor that cannot be read.
    #[error("tensor `{name}`: {problem}")]
    Tensor {
        /// Name of the tensor.
        name: String,
        /// What is wrong with it, and the remedy.
        problem: String,
    },
    /// A file of weights, a configuration or a vocabulary that cannot be read.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it, and the remedy.
        problem: String,
    },
}

impl NetsError {
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::Config(message.into())
    }

    pub(crate) fn file(path: &std::path::Path, problem: impl Into<String>) -> Self {
        Self::File { path: path.to_path_buf(), problem: problem.into() }
    }
}

/// How stored tensors differ from what a module expects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// Tensors the module has and the store lacks.
    pub missing: Vec<String>,
    /// Tensors the store has and the module lacks.
    pub unexpected: Vec<String>,
    /// Tensors of another shape: name, expected, found.
    pub shapes: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl Mismatch {
    /// Whether everything fits.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.shapes.is_empty()
    }
}

/// How many names of each kind a message lists before it only counts.
const LISTED: usize = 5;

fn list(out: &mut String, what: &str, names: &[String]) {
    if names.is_empty() {
        return;
    }
    let shown = names.iter().take(LISTED).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let more = if names.len() > LISTED { ", ..." } else { "" };
    // Writing to a String cannot fail.
    let _ = write!(out, "; {} {what}: {shown}{more}", names.len());
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = String::new();
        list(&mut out, "missing", &self.missing);
        list(&mut out, "unexpected", &self.unexpected);
        let shapes: Vec<String> =
            self.shapes.iter().map(|(name, want, got)| format!("{name}: expected {want:?}, found {got:?}")).collect();
        list(&mut out, "of another shape", &shapes);
        write!(
            f,
            "the stored weights belong to another network{out}; \
             use the configuration saved beside them, or the checkpoint this network was trained into"
        )
    }
}
