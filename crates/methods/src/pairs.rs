//! Pairs from a teacher: noise and where the teacher's flow carries it.
//!
//! Rectified flow, arXiv 2209.03003, algorithm 1, step 2: simulate with an accurate solver and keep both ends exactly.
//! Pair `i` is a function of the seed and `i` alone, so any range can be made anywhere, in batches of any size, and a
//! stopped run goes on from the first index it has not stored.

use crate::MethodError;
use base::{Condition, Device, Key, NULL_CLASS, Purpose, Tensor};
use flow::{Brownian, Field, ScheduleConfig, Solver, solve_with};
use serde::{Deserialize, Serialize};
use std::ops::Range;

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

    fn check(&self) -> Result<(), MethodError> {
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

/// How pairs are generated.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct PairsConfig {
    /// Seed of noise and labels. Never the training seed: pairs must not repeat noise that training drew.
    pub seed: u64,
    /// Solver of the teacher's flow; accurate rather than fast. A stochastic one gives pairs whose ends are right but whose
    /// data end is not a function of the noise alone.
    pub solver: Solver,
    /// Layout of its steps.
    pub schedule: ScheduleConfig,
    /// Number of steps (an adaptive solver chooses its own).
    pub steps: usize,
    /// Pairs per batch; changes speed and memory, not the pairs.
    pub batch: usize,
}

impl Default for PairsConfig {
    // A seed nobody picks for training by hand, so that a teacher's recipe and these defaults go together.
    fn default() -> Self {
        Self { seed: 1_000_003, solver: Solver::Heun {}, schedule: ScheduleConfig::Uniform {}, steps: 20, batch: 64 }
    }
}

impl PairsConfig {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`MethodError`] naming the setting.
    pub fn check(&self) -> Result<(), MethodError> {
        self.solver.check()?;
        self.schedule.build(self.steps)?;
        match self.batch {
            0 => {
                Err(MethodError::Setting { setting: "pairs.batch", value: "0".into(), remedy: "it must be at least 1" })
            }
            _ => Ok(()),
        }
    }
}

/// Consecutive pairs.
#[derive(Clone, Debug)]
pub struct PairChunk<const D: usize> {
    /// Indices of the pairs; the noise of pair `i` is `Key::new(seed, Purpose::Noise)` at `i`.
    pub indices: Vec<u64>,
    /// Noise `[b ...]`.
    pub x0: Tensor<D>,
    /// Where the teacher carries it `[b ...]`.
    pub x1: Tensor<D>,
    /// Class of each pair; [`NULL_CLASS`] for none.
    pub labels: Vec<i64>,
    /// Batched evaluations of the field spent on this chunk.
    pub nfe: usize,
}

/// What receives pairs.
pub type Sink<'a, const D: usize> =
    dyn FnMut(PairChunk<D>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + 'a;

/// Generates the pairs of `range` with the teacher's `field` (guided or not) and hands them to `sink`, in order.
///
/// `shape` is that of a sample with any number in front (`[_, c, h, w]`).
///
/// ```
/// use methods::{Labels, PairsConfig, pairs};
/// use base::Device;
///
/// let teacher = flow::exact::Gaussian::new(flow::Path::Linear {}, vec![2.0, 2.0], vec![0.5, 0.5])?;
/// let mut stored = 0;
/// let mut sink = |chunk: methods::PairChunk<2>| {
///     stored += chunk.indices.len();
///     Ok(())
/// };
/// pairs::generate(&teacher, [0, 2], &Labels::None {}, &PairsConfig::default(), 0..100, &Device::flex(), &mut sink)?;
/// assert_eq!(stored, 100);
/// # Ok::<(), methods::MethodError>(())
/// ```
///
/// # Errors
/// [`MethodError::Flow`] if the solver stops (NaN, too many steps), [`MethodError::Sink`] if the sink does.
pub fn generate<const D: usize>(
    field: &dyn Field<D>,
    shape: [usize; D],
    labels: &Labels,
    config: &PairsConfig,
    range: Range<u64>,
    device: &Device,
    sink: &mut Sink<'_, D>,
) -> Result<(), MethodError> {
    config.check()?;
    labels.check()?;
    let schedule = config.schedule.build(config.steps)?;
    let noise = Key::new(config.seed, Purpose::Noise);
    let mut next = range.start;
    while next < range.end {
        let indices: Vec<u64> = (next..range.end.min(next + config.batch as u64)).collect();
        let classes: Vec<i64> = indices.iter().map(|&i| labels.label(config.seed, i)).collect();
        let x0 = noise.normal_tensor(&indices, shape, device);
        let condition = Labels::condition(&classes, device);
        let paths = Brownian::new(Key::new(config.seed, Purpose::Latent), &indices);
        let solution = solve_with(field, x0.clone(), &condition, &config.solver, &schedule, &paths, None)?;
        let index = next;
        next += indices.len() as u64;
        sink(PairChunk { indices, x0, x1: solution.x, labels: classes, nfe: solution.nfe })
            .map_err(|source| MethodError::Sink { index, source })?;
    }
    Ok(())
}
