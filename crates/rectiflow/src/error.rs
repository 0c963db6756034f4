//! What can go wrong in a verb, each with the exit code its face should give.

/// Why a recipe is not usable. The text names the file (or the option), the line, the key and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DocumentError(pub String);

/// Why a verb did not finish.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself makes no sense: a recipe key, an option, a combination. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The request is sound but cannot be met here: a file, a device. Exit code 1.
    #[error("{0}")]
    Failure(String),
    /// Somebody asked to stop. Exit code 130.
    #[error("stopped")]
    Interrupted,
    /// A recipe that cannot be read. Exit code 2.
    #[error(transparent)]
    Recipe(#[from] DocumentError),
    /// A file of samples or a report.
    #[error(transparent)]
    Media(#[from] media::MediaError),
    /// A data set, a loader or a pair store.
    #[error(transparent)]
    Data(#[from] data::DataError),
    /// A network or its weights.
    #[error(transparent)]
    Nets(#[from] nets::NetsError),
    /// The mathematics refused or a number ran away.
    #[error(transparent)]
    Flow(#[from] flow::FlowError),
    /// A procedure: pairs, reflow, distillation.
    #[error(transparent)]
    Methods(methods::MethodError),
    /// Training.
    #[error(transparent)]
    Train(#[from] train::TrainError),
    /// A measurement.
    #[error(transparent)]
    Metrics(#[from] metrics::MetricsError),
}

impl From<train::checkpoint::CheckpointError> for Error {
    fn from(error: train::checkpoint::CheckpointError) -> Self {
        Self::Train(error.into())
    }
}

impl From<methods::MethodError> for Error {
    fn from(error: methods::MethodError) -> Self {
        match error {
            methods::MethodError::Stopped => Self::Interrupted,
            error => Self::Methods(error),
        }
    }
}

impl From<base::ShapeError> for Error {
    fn from(error: base::ShapeError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl Error {
    /// The process's exit code: 2 for a request that makes no sense, 130 when asked to stop, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Recipe(_) => 2,
            Self::Interrupted => 130,
            _ => 1,
        }
    }
}

/// Refuses a number outside its range, in the words of its option.
pub(crate) fn within(option: &str, value: usize, range: std::ops::RangeInclusive<usize>) -> Result<(), Error> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Error::Usage(format!("{option} {value}: from {} to {}", range.start(), range.end())))
}
