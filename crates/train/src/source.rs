//! Where training samples come from, seen from the engine: a stream that can continue at any sample counter.

use crate::TrainError;
use crate::task::Samples;
use base::{Condition, Device, Shape, Tensor, TensorData};

/// Where flows start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Standard normal noise.
    #[default]
    Noise,
    /// Samples of a second data set.
    Data,
}

/// A part of a training batch, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Data points, rows `[b n]`.
    pub x1: Vec<f32>,
    /// Source points, rows as well: the stored partners of the data points, or samples of a second data set drawn beside
    /// them ([`Origin`]). Without them noise is drawn by counter.
    pub x0: Option<Vec<f32>>,
    /// What the `n` numbers of a row are.
    pub shape: Shape,
    /// Class of each sample, `-1` for none; empty for data without classes.
    pub classes: Vec<i64>,
    /// What each sample is said to show; empty for data without captions.
    pub captions: Vec<Option<String>>,
    /// What the samples are conditioned on besides their classes: encoded captions, maps beside them.
    pub condition: Condition,
    /// Sample counter of each sample, `[b]`: counts samples seen since the start of the run, so a sample seen again in a
    /// later epoch has another counter, and with it other noise and another time.
    pub indices: Vec<u64>,
    /// Where each sample lies in the data set, for messages.
    pub places: Vec<u64>,
    /// Times `[from, to]` between which each stored pair lies, where pairs are pieces of trajectories; empty for whole ones.
    pub spans: Vec<[f64; 2]>,
}

impl Batch {
    /// Data points `x1`, rows of `shape`, with these counters and nothing else.
    pub fn new(x1: Vec<f32>, shape: Shape, indices: Vec<u64>) -> Self {
        let (classes, captions, condition) = (Vec::new(), Vec::new(), Condition::none());
        let places = indices.clone();
        Self { x1, x0: None, shape, classes, captions, condition, indices, places, spans: Vec::new() }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Values of this batch (`x0` or `x1`) as rows `[b n]` on `device`.
    pub fn rows(&self, values: &[f32], device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), [self.len(), self.shape.numel()]), device)
    }
}

impl Samples for Batch {
    fn count(&self) -> usize {
        self.len()
    }

    fn first(&self) -> Option<u64> {
        self.indices.first().copied()
    }

    fn find_not_finite(&self) -> Option<String> {
        let size = self.shape.numel().max(1);
        let parts = [("data", Some(&self.x1)), ("source", self.x0.as_ref())];
        parts.into_iter().find_map(|(what, values)| {
            let at = values?.iter().position(|v| !v.is_finite())?;
            let (row, value) = (at / size, values?[at]);
            let place = self.places.get(row).map(|p| format!(", row {p} of the data set")).unwrap_or_default();
            let index = self.indices.get(row).copied().unwrap_or_default();
            Some(format!("{what} value {value} in sample {index} of the run{place}"))
        })
    }
}

/// A stream of training batches. The order is a function of the sample counter alone.
pub trait Source<B = Batch> {
    /// Continues so that the next sample has the counter `images`.
    fn seek(&mut self, images: u64) -> Result<(), TrainError>;

    /// The next part of a batch, always of the same size.
    fn next(&mut self) -> Result<B, TrainError>;

    /// What identifies the data and their order; a run resumes only on the same.
    fn fingerprint(&self) -> String;
}
