//! Couplings: which source point is paired with which data point.
//!
//! Independent pairing gives the first rectified flow; stored pairs are what reflow and distillation train on, annealed ones
//! (SlimFlow, arXiv 2407.12718) begin as the one and end as the other. Minibatch optimal transport (Pooladian et al., arXiv
//! 2304.14772; Tong et al., arXiv 2302.00482) shortens paths within a batch: exactly, with entropy, or with mass left out
//! (unbalanced: Eyring et al., arXiv 2311.15100). A data point and its condition are never parted.

mod annealing;
mod assignment;
mod conditions;
mod sinkhorn;

pub use annealing::{Annealing, SLIMFLOW};
pub use assignment::{assign, assign_matrix};
pub use sinkhorn::{Plan, SINKHORN, Sinkhorn, UNBALANCED};

use crate::{FlowError, error::require, rows};
use base::{Key, Paper, Purpose, Tensor};
use conditions::{groups, penalty};
use serde::{Deserialize, Serialize};

/// Multisample Flow Matching: Straightening Flows with Minibatch Couplings.
pub const OT_POOLADIAN: Paper = Paper::arxiv(
    "pooladian2023multisample",
    "Pooladian, Aram-Alexandre and Ben-Hamu, Heli and Domingo-Enrich, Carles and Amos, Brandon and Lipman, Yaron and Chen, Ricky T. Q.",
    "Multisample Flow Matching: Straightening Flows with Minibatch Couplings",
    (2023, "2304.14772"),
    "ICML 2023",
);
/// Improving and Generalizing Flow-Based Generative Models with Minibatch Optimal Transport.
pub const OT_TONG: Paper = Paper::arxiv(
    "tong2023improving",
    "Tong, Alexander and Fatras, Kilian and Malkin, Nikolay and others",
    "Improving and Generalizing Flow-Based Generative Models with Minibatch Optimal Transport",
    (2023, "2302.00482"),
    "TMLR 2024",
);

/// How source and data points of a batch are paired.
///
/// `within_class` and `condition_weight` make a pairing aware of conditions. A row of noise counts as drawn for the
/// condition of its own row of data. Without awareness the noise that a condition sees in training depends on the
/// condition, and samples drawn for it from all noise are biased (Cheng and Schwing, arXiv 2503.10636).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Coupling {
    /// As drawn: noise independent of data.
    Independent {},
    /// As stored: both ends of a teacher's trajectory. Never paired with fresh noise.
    Stored {},
    /// Stored pairs whose noise is blended with fresh noise, less and less of it.
    Annealed {
        /// How the share of fresh noise falls.
        schedule: Annealing,
    },
    /// The assignment within the batch that minimises the sum of squared distances, exactly.
    OptimalTransport {
        /// Assign within each class only; turn off only for unconditional networks.
        #[serde(default = "yes")]
        within_class: bool,
        /// Price of an exchange between unlike conditions, in mean squared distances of the batch; zero for none.
        #[serde(default)]
        condition_weight: f64,
    },
    /// Partners drawn from the entropic plan within the batch.
    Sinkhorn {
        /// Entropy `ε`, as a fraction of the batch's mean squared distance; 0 gives exact transport, infinity independence.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// If not, `ε` is a squared distance of the data itself: `4 ε` of a Schrödinger bridge with noise `√(2ε) dW`.
        #[serde(default = "yes")]
        relative: bool,
        /// Iterations at most.
        #[serde(default = "iterations")]
        iterations: usize,
        /// As for `optimal_transport`.
        #[serde(default = "yes")]
        within_class: bool,
        /// As for `optimal_transport`.
        #[serde(default)]
        condition_weight: f64,
    },
    /// Pairs drawn from an entropic plan that may leave out points far from every partner: for data with outliers, and
    /// for two domains of unlike shares. The learned data distribution is reweighted accordingly.
    Unbalanced {
        /// As for `sinkhorn`.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// Price `τ` of a unit of mass left out, in mean squared distances; infinity is `sinkhorn`.
        #[serde(default = "one")]
        relaxation: f64,
        /// Iterations at most.
        #[serde(default = "iterations")]
        iterations: usize,
        /// As for `optimal_transport`.
        #[serde(default = "yes")]
        within_class: bool,
        /// As for `optimal_transport`.
        #[serde(default)]
        condition_weight: f64,
    },
}

fn yes() -> bool {
    true
}

fn one() -> f64 {
    1.0
}

fn epsilon() -> f64 {
    0.05
}

fn iterations() -> usize {
    100
}

impl Default for Coupling {
    fn default() -> Self {
        Self::Independent {}
    }
}

/// Row `i` of a coupled batch is row `source[i]` of the source with row `data[i]` of the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairing {
    /// Rows of the source: a permutation, except that an entropic plan may draw a row twice.
    pub source: Vec<usize>,
    /// Rows of the data, with their conditions: every row once, except for unbalanced pairs.
    pub data: Vec<usize>,
}

impl Pairing {
    /// Every row with its own partner.
    pub fn identity(batch: usize) -> Self {
        Self { source: (0..batch).collect(), data: (0..batch).collect() }
    }

    /// Whether every row keeps its partner and its place.
    pub fn is_identity(&self) -> bool {
        is_identity(&self.source) && is_identity(&self.data)
    }

    /// The source points in their new order.
    pub fn apply<const D: usize>(&self, x0: Tensor<D>) -> Tensor<D> {
        if is_identity(&self.source) { x0 } else { rows::select(x0, &self.source) }
    }

    /// The data points in their new order.
    pub fn apply_data<const D: usize>(&self, x1: Tensor<D>) -> Tensor<D> {
        if is_identity(&self.data) { x1 } else { rows::select(x1, &self.data) }
    }
}

fn is_identity(rows: &[usize]) -> bool {
    rows.iter().enumerate().all(|(i, &row)| i == row)
}

/// What a pairing may know of a batch besides its points.
#[derive(Clone, Debug)]
pub struct Draw<'a> {
    /// Randomness of entropic plans.
    pub key: Key,
    /// Counter of each row; rows that do not exist are counted from zero.
    pub indices: &'a [u64],
    /// Class of each data point, where there is one.
    pub classes: Option<&'a [i64]>,
    /// Vector condition of each data point `[b d]`, where there is one.
    pub vectors: Option<Tensor<2>>,
}

impl<'a> Draw<'a> {
    /// A draw for the rows with counters `indices` under `seed`, without conditions.
    pub fn new(seed: u64, indices: &'a [u64]) -> Self {
        Self { key: Key::new(seed, Purpose::Coupling), indices, classes: None, vectors: None }
    }

    /// With the class of each data point.
    pub fn with_classes(self, classes: Option<&'a [i64]>) -> Self {
        Self { classes, ..self }
    }

    /// With a vector condition of each data point `[b d]`.
    pub fn with_vectors(self, vectors: Tensor<2>) -> Self {
        Self { vectors: Some(vectors), ..self }
    }
}

impl Coupling {
    /// Exact transport within each class.
    pub fn optimal_transport() -> Self {
        Self::OptimalTransport { within_class: true, condition_weight: 0.0 }
    }

    /// Name as in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Independent {} => "independent",
            Self::Stored {} => "stored",
            Self::Annealed { .. } => "annealed",
            Self::OptimalTransport { .. } => "optimal_transport",
            Self::Sinkhorn { .. } => "sinkhorn",
            Self::Unbalanced { .. } => "unbalanced",
        }
    }

    /// The papers it is from.
    pub fn papers(&self) -> Vec<Paper> {
        match self {
            Self::Independent {} | Self::Stored {} => Vec::new(),
            Self::Annealed { .. } => vec![SLIMFLOW],
            Self::OptimalTransport { .. } => vec![OT_POOLADIAN, OT_TONG],
            Self::Sinkhorn { .. } => vec![OT_POOLADIAN, OT_TONG, SINKHORN],
            Self::Unbalanced { .. } => vec![OT_TONG, SINKHORN, UNBALANCED],
        }
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), FlowError> {
        if let Some(sinkhorn) = self.entropic(1.0) {
            sinkhorn.check()?;
        }
        match *self {
            Self::Independent {} | Self::Stored {} => Ok(()),
            Self::Annealed { schedule } => schedule.check(),
            Self::OptimalTransport { condition_weight, .. }
            | Self::Sinkhorn { condition_weight, .. }
            | Self::Unbalanced { condition_weight, .. } => {
                let holds = condition_weight.is_finite() && condition_weight >= 0.0;
                require(holds, "coupling.condition_weight", condition_weight, "it must be zero or positive")
            }
        }
    }

    /// Whether it trains on the stored pairs of a teacher.
    pub fn needs_pairs(&self) -> bool {
        matches!(self, Self::Stored {} | Self::Annealed { .. })
    }

    /// The source points of stored pairs `[b ...]` with the share of fresh noise that the schedule gives to each counter;
    /// unchanged for every other coupling. Only where the source is standard normal does the blend keep its law.
    pub fn blend<const D: usize>(&self, x0: Tensor<D>, noise: Key, indices: &[u64]) -> Tensor<D> {
        let Self::Annealed { schedule } = self else { return x0 };
        let betas: Vec<f64> = indices.iter().map(|&index| schedule.beta(index)).collect();
        if betas.iter().all(|b| *b == 0.0) {
            return x0;
        }
        let fresh = noise.normal_tensor(indices, x0.dims(), &x0.device()).cast(x0.dtype());
        let kept = betas.iter().map(|b| (1.0 - b * b).sqrt()).collect();
        rows::scale(x0, kept) + rows::scale(fresh, betas)
    }

    /// Iteration settings for a batch whose mean squared distance is `unit`.
    fn entropic(&self, unit: f64) -> Option<Sinkhorn> {
        match *self {
            Self::Sinkhorn { epsilon, relative, iterations, .. } => {
                let unit = if relative { unit } else { 1.0 };
                Some(Sinkhorn { epsilon: epsilon * unit, relaxation: None, iterations, tolerance: 1e-3 })
            }
            Self::Unbalanced { epsilon, relaxation, iterations, .. } => {
                let relaxation = Some(relaxation * unit);
                Some(Sinkhorn { epsilon: epsilon * unit, relaxation, iterations, tolerance: 1e-3 })
            }
            _ => None,
        }
    }

    /// `within_class` and `condition_weight`; `None` where nothing is exchanged.
    fn awareness(&self) -> Option<(bool, f64)> {
        match *self {
            Self::OptimalTransport { within_class, condition_weight }
            | Self::Sinkhorn { within_class, condition_weight, .. }
            | Self::Unbalanced { within_class, condition_weight, .. } => Some((within_class, condition_weight)),
            _ => None,
        }
    }

    /// Pairs a batch; `x0` and `x1` are `[b ...]`.
    ///
    /// # Errors
    /// [`FlowError::Shape`] if the batches differ in shape or the conditions in length, [`FlowError::Setting`] for
    /// settings out of range, [`FlowError::NotFinite`] for a point that is not a number.
    pub fn pair<const D: usize>(&self, x0: &Tensor<D>, x1: &Tensor<D>, draw: &Draw) -> Result<Pairing, FlowError> {
        rows::same_shape("x0", x0, "x1", x1)?;
        self.check()?;
        let batch = x0.dims()[0];
        let mut pairing = Pairing::identity(batch);
        let Some((within_class, weight)) = self.awareness() else { return Ok(pairing) };
        if let Some(classes) = draw.classes
            && classes.len() != batch
        {
            let (left_shape, right_shape) = (x1.dims().to_vec(), vec![classes.len()]);
            return Err(FlowError::Shape { left: "x1", left_shape, right: "classes", right_shape });
        }
        // Otherwise a price that was asked for would silently do nothing.
        let known = weight == 0.0 || draw.classes.is_some() || draw.vectors.is_some();
        let remedy =
            "the batch has no conditions to compare (data sets bring classes or nothing in training); set it to 0";
        require(known, "coupling.condition_weight", weight, remedy)?;
        let (mut costs, unit) = squared_distances(x1, x0)?; // [b (data) b (source)]
        if weight > 0.0 {
            penalty(&mut costs, weight * unit, draw, batch)?;
        }
        for group in groups(draw.classes.filter(|_| within_class), batch) {
            let n = group.len();
            let part: Vec<f64> = match n == batch {
                true => std::mem::take(&mut costs),
                false => group
                    .iter()
                    .flat_map(|&i| group.iter().map(|&j| costs[i * batch + j]).collect::<Vec<_>>())
                    .collect(),
            };
            let Some(sinkhorn) = self.entropic(if unit > 0.0 { unit } else { 1.0 }) else {
                for (row, column) in assign_matrix(n, &part)?.into_iter().enumerate() {
                    pairing.source[group[row]] = group[column];
                }
                continue;
            };
            let plan = sinkhorn.solve(n, n, &part)?;
            let counter = |row: usize| draw.indices.get(row).copied().unwrap_or(row as u64);
            let counters: Vec<u64> = group.iter().map(|&row| counter(row)).collect();
            let chosen = match sinkhorn.relaxation {
                None => (0..n).collect(),
                Some(_) => plan.draw_rows(draw.key.fold(1), &counters),
            };
            for ((&place, &counter), row) in group.iter().zip(&counters).zip(chosen) {
                pairing.data[place] = group[row];
                pairing.source[place] = group[plan.draw_column(row, draw.key.uniform(counter))];
            }
        }
        Ok(pairing)
    }
}

/// `|a_i - b_j|²` of all rows, `[b b]`, and their mean.
fn squared_distances<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> Result<(Vec<f64>, f64), FlowError> {
    let (a, b) = (rows::flatten(a.clone().detach()), rows::flatten(b.clone().detach()));
    let norms = |x: &Tensor<2>| rows::host(rows::sum(x.clone().square()));
    let (left, right) = (norms(&a)?, norms(&b)?);
    let mut costs = rows::host(a.matmul(b.transpose()))?;
    let columns = right.len().max(1);
    for (row, left) in costs.chunks_mut(columns).zip(left) {
        row.iter_mut().zip(&right).for_each(|(cost, right)| *cost = left + right - 2.0 * *cost);
    }
    let unit = costs.iter().sum::<f64>() / costs.len().max(1) as f64;
    Ok((costs, unit))
}
