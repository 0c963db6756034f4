//! The classes that pairs are generated for.

use crate::MethodError;
use base::{Condition, Device, Key, NULL_CLASS, Purpose};
use serde::{Deserialize, Serialize};

/// Which class pair `i` is generated for.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Labels {
    /// Unconditional.
    None {},
    /// Every class equally often: `i` modulo the number of classes.
    Balanced {
        /// Number of classes, at least 1.
        classes: usize,
    },
    /// Drawn in proportion to weights (for instance the class counts of the data).
    Weighted {
        /// One positive or zero weight per class, not all zero.
        weights: Vec<f64>,
    },
}

impl Default for Labels {
    fn default() -> Self {
        Self::None {}
    }
}

impl Labels {
    /// The class of sample `index` under `seed`; [`NULL_CLASS`] for none.
    pub fn label(&self, seed: u64, index: u64) -> i64 {
        match self {
            Self::None {} => NULL_CLASS,
            Self::Balanced { classes } => (index % (*classes).max(1) as u64) as i64,
            Self::Weighted { weights } => {
                let mut u = Key::new(seed, Purpose::Class).uniform(index) * weights.iter().sum::<f64>();
                let last = weights.iter().rposition(|w| *w > 0.0).unwrap_or(0);
                for (class, weight) in weights.iter().enumerate() {
                    if u < *weight || class == last {
                        return class as i64;
                    }
                    u -= weight;
                }
                last as i64
            }
        }
    }

    /// The condition of a batch with these labels.
    pub fn condition(labels: &[i64], device: &Device) -> Condition {
        match labels.iter().all(|l| *l == NULL_CLASS) {
            true => Condition::none(),
            false => Condition::classes(labels, device),
        }
    }

    pub(super) fn check(&self) -> Result<(), MethodError> {
        let refuse = |setting, value: String, remedy| Err(MethodError::Setting { setting, value, remedy });
        match self {
            Self::Balanced { classes: 0 } => refuse("labels.classes", "0".into(), "it must be at least 1"),
            Self::Weighted { weights }
                if weights.iter().any(|w| !(w.is_finite() && *w >= 0.0)) || weights.iter().all(|w| *w == 0.0) =>
            {
                refuse("labels.weights", format!("{weights:?}"), "they must be zero or more, and not all zero")
            }
            _ => Ok(()),
        }
    }
}
