//! Pairs from a teacher: source points and where the teacher's flow carries them, or data points and where it carries them
//! back.
//!
//! Rectified flow, arXiv 2209.03003, algorithm 1, step 2: simulate with an accurate solver and keep both ends exactly. Of
//! the pairs a share may be inverted: `x1` is real and `x0` its image under the backward flow (Lee, Lin and Fanti, arXiv
//! 2405.20320, §4.4, for noise; the inverse transfer of 2209.03003 between two data sets).
//! Pair `i` is a function of the seed and `i` alone, so any range can be made anywhere, in batches of any size, and a
//! stopped run goes on from the first index it has not stored.

use crate::{MethodError, error::Failure};
use base::{Condition, Device, Key, NULL_CLASS, Purpose, Tensor};
use flow::{Brownian, Field, Schedule, ScheduleConfig, Solver, rows, solve, solve_with};
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
    /// Share of the pairs, in [0, 1], whose data end is real and whose source end the backward flow finds; spread evenly.
    pub inverted: f64,
    /// Pairs per batch; changes speed and memory, not the pairs.
    pub batch: usize,
    /// Times, rising within (0, 1), at which every trajectory is cut: its pieces become pairs of their own, each between its
    /// own two times. None by default: a pair is a whole trajectory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<f64>,
}

impl Default for PairsConfig {
    // A seed nobody picks for training by hand, so that a teacher's recipe and these defaults go together.
    fn default() -> Self {
        let (solver, schedule) = (Solver::Heun {}, ScheduleConfig::Uniform {});
        Self { seed: 1_000_003, solver, schedule, steps: 20, inverted: 0.0, batch: 64, cuts: Vec::new() }
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
        if !self.cuts.is_empty() {
            let times = self.times();
            let rising = times.windows(2).all(|w| w[0] < w[1]) && times.iter().all(|t| (0.0..=1.0).contains(t));
            if !rising {
                let (value, remedy) = (format!("{:?}", self.cuts), "they must rise and lie strictly between 0 and 1");
                return Err(MethodError::Setting { setting: "pairs.generate.cuts", value, remedy });
            }
            if self.schedule != (ScheduleConfig::Uniform {}) {
                let (value, remedy) =
                    (format!("{:?}", self.schedule), "with cuts the steps between them are equal; use uniform");
                return Err(MethodError::Setting { setting: "pairs.generate.schedule", value, remedy });
            }
            if self.inverted > 0.0 {
                let (value, remedy) =
                    (self.inverted.to_string(), "with cuts every trajectory runs forwards; set it to 0");
                return Err(MethodError::Setting { setting: "pairs.generate.inverted", value, remedy });
            }
        }
        if !(0.0..=1.0).contains(&self.inverted) {
            let (setting, value) = ("pairs.generate.inverted", self.inverted.to_string());
            return Err(MethodError::Setting { setting, value, remedy: "it is a share, from 0 (none) to 1 (all)" });
        }
        if self.inverted > 0.0 && self.solver.is_stochastic() {
            let (setting, value) = ("pairs.generate.solver with inverted pairs", self.solver.name().into());
            let remedy = "a stochastic solver has no way back; set a deterministic one, for instance heun";
            return Err(MethodError::Setting { setting, value, remedy });
        }
        match self.batch {
            0 => {
                Err(MethodError::Setting { setting: "pairs.batch", value: "0".into(), remedy: "it must be at least 1" })
            }
            _ => Ok(()),
        }
    }
}

impl PairsConfig {
    /// Where pairs begin and end: 0, the cuts, 1. Pair `i` is piece `i % n` of trajectory `i / n`, `n` the number of pieces.
    pub fn times(&self) -> Vec<f64> {
        [&[0.0], self.cuts.as_slice(), &[1.0]].concat()
    }

    /// Pieces per trajectory.
    pub fn pieces(&self) -> usize {
        self.cuts.len() + 1
    }

    /// The times of all steps, with every end of a piece among them: `steps` in all, shared out in proportion, at least one
    /// per piece. Cuts on the grid of equal steps change no step.
    fn grid(&self) -> Result<Vec<Schedule>, MethodError> {
        if self.cuts.is_empty() {
            return Ok(vec![self.schedule.build(self.steps)?]);
        }
        let of = |w: &[f64]| {
            let steps = ((w[1] - w[0]) * self.steps as f64).round().max(1.0) as usize;
            Ok(self.schedule.between(w[0], w[1], steps)?)
        };
        self.times().windows(2).map(of).collect()
    }

    /// How many of the first `count` pairs are inverted.
    pub fn inverted_of(&self, count: u64) -> u64 {
        // A tenth of ten is one, whatever a tenth is in binary.
        (count as f64 * self.inverted + 1e-6).floor() as u64
    }

    /// Whether pair `index` is made backwards, from real data.
    pub fn is_inverted(&self, index: u64) -> bool {
        self.inverted_of(index + 1) > self.inverted_of(index)
    }
}

/// What pairs begin at. Points are numbered from 0 without gaps, source points and data points apart; point `n` must be a
/// function of `n` alone.
pub trait Supply<const D: usize> {
    /// Source points `[b ...]` of these numbers, where forward pairs begin. Where the path starts wider than its source (VE,
    /// EDM) these are the narrow ones: noise of variance one.
    ///
    /// # Errors
    /// Whatever keeps it from having them.
    fn source(&mut self, numbers: &[u64]) -> Result<Tensor<D>, Failure>;

    /// Data points `[b ...]` of these numbers with their classes, where inverted pairs begin.
    ///
    /// # Errors
    /// Whatever keeps it from having them.
    fn data(&mut self, numbers: &[u64]) -> Result<(Tensor<D>, Vec<i64>), Failure>;
}

/// Standard normal noise by counter, and no data.
struct Noise<'a, const D: usize> {
    key: Key,
    shape: [usize; D],
    device: &'a Device,
}

impl<const D: usize> Supply<D> for Noise<'_, D> {
    fn source(&mut self, numbers: &[u64]) -> Result<Tensor<D>, Failure> {
        Ok(self.key.normal_tensor(numbers, self.shape, self.device))
    }

    fn data(&mut self, _: &[u64]) -> Result<(Tensor<D>, Vec<i64>), Failure> {
        Err("inverted pairs begin at data, and there are none".into())
    }
}

/// Consecutive pairs.
#[derive(Clone, Debug)]
pub struct PairChunk<const D: usize> {
    /// Indices of the pairs; the noise of trajectory `i` is `Key::new(seed, Purpose::Noise)` at `i`.
    pub indices: Vec<u64>,
    /// Where the pair begins `[b ...]`: a source point, or where its piece of a trajectory does.
    pub x0: Tensor<D>,
    /// Where the teacher carries them `[b ...]`, or, for inverted pairs, what it carries back to them.
    pub x1: Tensor<D>,
    /// Class of each pair; [`NULL_CLASS`] for none.
    pub labels: Vec<i64>,
    /// Batched evaluations of the field spent on this chunk.
    pub nfe: usize,
}

/// What receives pairs.
pub type Sink<'a, const D: usize> = dyn FnMut(PairChunk<D>) -> Result<(), Failure> + 'a;

/// Generates the pairs of `range` from noise with the teacher's `field` (guided or not) and hands them to `sink`, in order.
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
    let mut noise = Noise { key: Key::new(config.seed, Purpose::Noise), shape, device };
    generate_from(field, &mut noise, labels, config, range, device, sink)
}

/// As [`generate`], with pairs that begin at the points of `supply`: noise or another data set forwards, data backwards.
///
/// # Errors
/// Those of [`generate`], and [`MethodError::Supply`].
pub fn generate_from<const D: usize>(
    field: &dyn Field<D>,
    supply: &mut dyn Supply<D>,
    labels: &Labels,
    config: &PairsConfig,
    range: Range<u64>,
    device: &Device,
    sink: &mut Sink<'_, D>,
) -> Result<(), MethodError> {
    config.check()?;
    labels.check()?;
    let maker = Maker { field, labels, config, device, scale: field.frame().map_or(1.0, |f| f.path.start_scale()) };
    let grid = config.grid()?;
    let mut next = range.start;
    while next < range.end {
        let indices: Vec<u64> = (next..range.end.min(next + config.batch as u64)).collect();
        let index = next;
        next += indices.len() as u64;
        let made = match grid.as_slice() {
            [schedule] => maker.whole(supply, &indices, schedule),
            pieces => maker.pieces(supply, &indices, pieces),
        };
        let Made { x0, x1, labels, nfe } = made?;
        sink(PairChunk { indices, x0, x1, labels, nfe }).map_err(|source| MethodError::Sink { index, source })?;
    }
    Ok(())
}

/// What one batch of pairs came to.
struct Made<const D: usize> {
    x0: Tensor<D>,
    x1: Tensor<D>,
    labels: Vec<i64>,
    nfe: usize,
}

/// How a batch of pairs is made.
struct Maker<'a, const D: usize> {
    field: &'a dyn Field<D>,
    labels: &'a Labels,
    config: &'a PairsConfig,
    device: &'a Device,
    /// How much wider than its source points the path starts; pairs keep the narrow ones.
    scale: f64,
}

impl<const D: usize> Maker<'_, D> {
    fn classes(&self, trajectories: &[u64]) -> Vec<i64> {
        trajectories.iter().map(|&i| self.labels.label(self.config.seed, i)).collect()
    }

    fn scaled(&self, x: Tensor<D>, scale: f64) -> Tensor<D> {
        if scale == 1.0 { x } else { x * scale }
    }

    /// Whole trajectories: forwards from source points, and the inverted ones backwards from data.
    fn whole(&self, supply: &mut dyn Supply<D>, indices: &[u64], steps: &Schedule) -> Result<Made<D>, MethodError> {
        let (config, lost) = (self.config, lost(indices));
        let (backward, forward): (Vec<u64>, Vec<u64>) = indices.iter().partition(|&&i| config.is_inverted(i));
        let (mut ends, mut nfe) = (Vec::new(), 0);
        if !forward.is_empty() {
            let numbers: Vec<u64> = forward.iter().map(|&i| i - config.inverted_of(i)).collect();
            let x0 = supply.source(&numbers).map_err(&lost)?;
            let classes = self.classes(&forward);
            let condition = Labels::condition(&classes, self.device);
            let paths = Brownian::new(Key::new(config.seed, Purpose::Latent), &forward);
            let from = self.scaled(x0.clone(), self.scale);
            let end = solve_with(self.field, from, &condition, &config.solver, steps, &paths, None)?;
            nfe += end.nfe;
            ends.push((x0, end.x, classes));
        }
        if !backward.is_empty() {
            let numbers: Vec<u64> = backward.iter().map(|&i| config.inverted_of(i)).collect();
            let (x1, classes) = supply.data(&numbers).map_err(&lost)?;
            let condition = Labels::condition(&classes, self.device);
            let start = solve(self.field, x1.clone(), &condition, &config.solver, &steps.reversed(), None)?;
            nfe += start.nfe;
            ends.push((self.scaled(start.x, 1.0 / self.scale), x1, classes));
        }
        // Back in the order of their indices.
        let made = [forward, backward].concat();
        let places: Vec<usize> = indices.iter().filter_map(|i| made.iter().position(|m| m == i)).collect();
        let whole = ends.len() == 1;
        let (mut x0, mut x1, mut classes) = (Vec::new(), Vec::new(), Vec::new());
        for (start, end, class) in ends {
            x0.push(start);
            x1.push(end);
            classes.extend(class);
        }
        let joined = |parts: Vec<Tensor<D>>| {
            let all = Tensor::cat(parts, 0);
            if whole { all } else { rows::select(all, &places) }
        };
        let (x0, x1) = (joined(x0), joined(x1));
        Ok(Made { x0, x1, labels: places.iter().map(|&place| classes[place]).collect(), nfe })
    }

    /// Pieces of trajectories, each from where the one before it ended.
    fn pieces(&self, supply: &mut dyn Supply<D>, indices: &[u64], grid: &[Schedule]) -> Result<Made<D>, MethodError> {
        let (config, pieces) = (self.config, grid.len() as u64);
        // The trajectories that these pairs are pieces of.
        let first = indices.first().map_or(0, |i| i / pieces);
        let end = indices.last().map_or(0, |i| i / pieces + 1);
        let trajectories: Vec<u64> = (first..end).collect();
        let classes = self.classes(&trajectories);
        let condition = Labels::condition(&classes, self.device);
        let source = supply.source(&trajectories).map_err(lost(indices))?;
        let (mut ends, mut nfe) = (vec![self.scaled(source, self.scale)], 0);
        for (piece, steps) in grid.iter().enumerate() {
            let key = Key::new(config.seed, Purpose::Latent);
            let key = if piece == 0 { key } else { key.fold(piece as u64) };
            let paths = Brownian::new(key, &trajectories);
            let solution =
                solve_with(self.field, ends[piece].clone(), &condition, &config.solver, steps, &paths, None)?;
            nfe += solution.nfe;
            ends.push(solution.x);
        }
        // Row `piece * trajectories + trajectory` of all states one after another.
        let count = trajectories.len();
        let row = |i: &u64, later: u64| ((i % pieces + later) as usize) * count + (i / pieces - first) as usize;
        let all = Tensor::cat(ends, 0);
        let of = |later| rows::select(all.clone(), &indices.iter().map(|i| row(i, later)).collect::<Vec<_>>());
        let labels = indices.iter().map(|i| classes[(i / pieces - first) as usize]).collect();
        Ok(Made { x0: of(0), x1: of(1), labels, nfe })
    }
}

/// The error for points that were not to be had for these pairs.
fn lost(indices: &[u64]) -> impl Fn(Failure) -> MethodError + use<> {
    let index = indices.first().copied().unwrap_or(0);
    move |source| MethodError::Supply { index, source }
}
