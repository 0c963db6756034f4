//! Couplings: which source point is paired with which data point.
//!
//! Independent pairing gives the first rectified flow; stored pairs are what reflow and distillation train on; minibatch
//! optimal transport (Pooladian et al., arXiv 2304.14772; Tong et al., arXiv 2302.00482) shortens paths within a batch.
//! A pairing permutes the **source** rows, so a data point and its condition are never parted.

mod assignment;

pub use assignment::assign;

use crate::{FlowError, rows};
use base::Tensor;
use serde::{Deserialize, Serialize};

/// How source and data points of a batch are paired.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Coupling {
    /// As drawn: noise independent of data.
    Independent {},
    /// As stored: both ends of a teacher's trajectory. Never paired with fresh noise.
    Stored {},
    /// The assignment within the batch that minimises the sum of squared distances, exactly.
    OptimalTransport {
        /// Assign within each class only. Without it the noise that a class sees in training depends on the class, and
        /// conditional samples drawn from all noise are biased; turn off only for unconditional networks.
        #[serde(default = "yes")]
        within_class: bool,
    },
}

fn yes() -> bool {
    true
}

impl Default for Coupling {
    fn default() -> Self {
        Self::Independent {}
    }
}

/// Row `i` of the data is paired with row `source[i]` of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairing {
    /// A permutation of the rows.
    pub source: Vec<usize>,
}

impl Pairing {
    /// Whether every row keeps its partner.
    pub fn is_identity(&self) -> bool {
        self.source.iter().enumerate().all(|(i, &s)| i == s)
    }

    /// The source points in the order of their data points.
    pub fn apply<const D: usize>(&self, x0: Tensor<D>) -> Tensor<D> {
        if self.is_identity() { x0 } else { rows::select(x0, &self.source) }
    }
}

impl Coupling {
    /// Pairs a batch; `x0` and `x1` are `[b ...]`, `classes` the class of each data point where there is one.
    ///
    /// # Errors
    /// [`FlowError::Shape`] if the batches differ in shape or `classes` in length.
    pub fn pair<const D: usize>(
        &self,
        x0: &Tensor<D>,
        x1: &Tensor<D>,
        classes: Option<&[i64]>,
    ) -> Result<Pairing, FlowError> {
        rows::same_shape("x0", x0, "x1", x1)?;
        let batch = x0.dims()[0];
        let Self::OptimalTransport { within_class } = *self else {
            return Ok(Pairing { source: (0..batch).collect() });
        };
        let classes = classes.filter(|_| within_class);
        if let Some(classes) = classes
            && classes.len() != batch
        {
            let (left_shape, right_shape) = (x1.dims().to_vec(), vec![classes.len()]);
            return Err(FlowError::Shape { left: "x1", left_shape, right: "classes", right_shape });
        }
        // |x0 - x1|² = |x0|² + |x1|² - 2 x0·x1, and a permutation changes only the last term.
        let products = rows::flatten(x1.clone().detach()).matmul(rows::flatten(x0.clone().detach()).transpose());
        let products = rows::host(products)?; // [b (data) b (source)]
        let mut source: Vec<usize> = (0..batch).collect();
        for group in groups(classes, batch) {
            let chosen = assign(group.len(), |row, column| -products[group[row] * batch + group[column]])?;
            for (row, column) in chosen.into_iter().enumerate() {
                source[group[row]] = group[column];
            }
        }
        Ok(Pairing { source })
    }
}

/// Rows that may exchange partners: one group per class, or a single one.
fn groups(classes: Option<&[i64]>, batch: usize) -> Vec<Vec<usize>> {
    let Some(classes) = classes else { return vec![(0..batch).collect()] };
    let mut groups = std::collections::BTreeMap::<i64, Vec<usize>>::new();
    for (row, &class) in classes.iter().enumerate() {
        groups.entry(class).or_default().push(row);
    }
    groups.into_values().collect()
}
