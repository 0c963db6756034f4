//! Why conditions cannot be put together.

use std::fmt;

/// Conditions that cannot be put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConditionError {
    /// One of two has a part that the other lacks.
    Missing {
        /// The part.
        part: &'static str,
    },
    /// The rows of two parts differ in size.
    Width {
        /// The part.
        part: &'static str,
        /// Sizes of a row.
        rows: [usize; 2],
    },
    /// A null that is neither one row nor one for each sample.
    Count {
        /// Its rows.
        found: usize,
        /// Samples.
        samples: usize,
    },
}

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { part } => {
                write!(f, "one of two conditions has {part} and the other has none; give it to both, or its null")
            }
            Self::Width { part, rows: [a, b] } => {
                write!(f, "two conditions have {part} of {a} and {b} numbers a row; take both from one encoder")
            }
            Self::Count { found, samples } => {
                write!(f, "the null has {found} rows for {samples} samples; give one row, or one for each sample")
            }
        }
    }
}

impl std::error::Error for ConditionError {}
