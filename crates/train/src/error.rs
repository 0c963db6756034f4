//! What can stop a training run, each with what was seen and what to do about it.

use crate::checkpoint::CheckpointError;
use std::path::PathBuf;

/// Why a run did not start or did not finish.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A configuration value is out of range.
    #[error("training configuration: {0}")]
    Config(String),
    /// The loss, a gradient or a data value is NaN or infinite.
    #[error("{0}")]
    NotFinite(Box<NotFinite>),
    /// Reading or writing a checkpoint failed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The source of training samples failed.
    #[error("training data: {0}")]
    Source(String),
    /// The objective, coupling or path refused the batch.
    #[error("training objective: {0}")]
    Objective(String),
    /// A file of the run could not be written.
    #[error("cannot {action} {}: {error}; check that the folder exists, is writable and has free space", path.display())]
    Io {
        /// What was being done, for instance "write".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system answered.
        error: std::io::Error,
    },
    /// Somebody who is told the numbers of a run does not take them.
    #[error("{name} at {place}: {what}; every number is in stats.jsonl")]
    Tracker {
        /// Who.
        name: &'static str,
        /// Where: an address, a folder.
        place: String,
        /// What went wrong.
        what: String,
    },
    /// A rank of a run of several is gone.
    #[error("{lost}; {}", after(checkpoint.as_deref()))]
    Lost {
        /// Which, and what was seen of it.
        lost: ranks::Lost,
        /// What rank 0 saved.
        checkpoint: Option<PathBuf>,
    },
    /// Another process trains in this run directory.
    #[error("{} is in use by another process{}; wait for it, stop it, or choose another run name", path.display(),
        holder.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Locked {
        /// The run directory.
        path: PathBuf,
        /// The process that holds it, if it said so.
        holder: Option<u32>,
    },
}

/// How to go on without a rank.
fn after(checkpoint: Option<&std::path::Path>) -> String {
    match checkpoint {
        Some(file) => format!(
            "all ranks end here, and what was trained is in {}: continue it with --resume latest, on as many ranks as you like",
            file.display()
        ),
        None => "this rank ends here".into(),
    }
}

/// What the guard saw when it stopped a run.
#[derive(Clone, Debug, PartialEq)]
pub struct NotFinite {
    /// Optimiser step that was refused, counted from 1.
    pub step: u64,
    /// Samples seen before that step.
    pub images: u64,
    /// The loss of that step.
    pub loss: f32,
    /// First parameter whose gradient is not finite.
    pub parameter: Option<String>,
    /// How many parameters have such a gradient, of how many.
    pub affected: (usize, usize),
    /// Where a not finite input value was found: its sample counter and the place in the data set, if known.
    pub input: Option<String>,
    /// The last checkpoint written before, which is untouched.
    pub checkpoint: Option<PathBuf>,
}

impl std::fmt::Display for NotFinite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "step {} (after {} samples) is not finite: loss {}", self.step, self.images, self.loss)?;
        if let Some(parameter) = &self.parameter {
            let (affected, all) = self.affected;
            write!(f, ", gradient of `{parameter}` first ({affected} of {all} parameters)")?;
        }
        match &self.input {
            Some(input) => write!(f, "; the cause is in the data: {input}; remove or repair that sample")?,
            None => write!(f, "; the data are finite, so lower optim.lr, lengthen optim.warmup or clip harder")?,
        }
        match &self.checkpoint {
            Some(path) => write!(f, "; nothing was overwritten, the last good checkpoint is {}", path.display()),
            None => write!(f, "; no checkpoint had been written yet"),
        }
    }
}

impl TrainError {
    /// Wraps a system error with what was being done to which path.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { action, path, error }
    }
}
