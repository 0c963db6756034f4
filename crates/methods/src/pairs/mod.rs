//! Pairs from a teacher: source points and where the teacher's flow carries them, or data points and where it carries them
//! back.
//!
//! Rectified flow, arXiv 2209.03003, algorithm 1, step 2: simulate with an accurate solver and keep both ends exactly. Of
//! the pairs a share may be inverted: `x1` is real and `x0` its image under the backward flow (Lee, Lin and Fanti, arXiv
//! 2405.20320, §4.4, for noise; the inverse transfer of 2209.03003 between two data sets).
//! Pair `i` is a function of the seed and `i` alone, so any range can be made anywhere, in batches of any size, and a
//! stopped run goes on from the first index it has not stored.

mod config;
mod labels;
mod maker;

pub use config::PairsConfig;
pub use labels::Labels;

use crate::{MethodError, error::Failure};
use base::{Condition, Device, Key, Purpose, Tensor};
use flow::Field;
use maker::{Made, Maker};
use std::ops::Range;

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

    /// What the trajectories of these numbers, with these labels, are conditioned on: classes, unless labels are numbers of something
    /// else (captions) or something stands beside each trajectory.
    ///
    /// # Errors
    /// Whatever keeps it from having them.
    fn condition(&mut self, labels: &[i64], trajectories: &[u64], device: &Device) -> Result<Condition, Failure> {
        let _ = trajectories;
        Ok(Labels::condition(labels, device))
    }

    /// The labels of the trajectories of these numbers, where what stands beside them decides; `None` leaves them to [`Labels`].
    ///
    /// # Errors
    /// Whatever keeps it from knowing them.
    fn labels(&mut self, trajectories: &[u64]) -> Result<Option<Vec<i64>>, Failure> {
        let _ = trajectories;
        Ok(None)
    }
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
    /// Class of each pair; [`NULL_CLASS`](base::NULL_CLASS) for none.
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
