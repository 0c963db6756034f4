//! Flow-RWR and supervised fine-tuning as training tasks: flow matching on a model's own samples, weighted or chosen.

use crate::align::Candidates;
use base::{Device, Key, Network, Purpose, Shape, Tensor, TensorData, Times};
use burn::module::Module;
use train::{Batch, FlowTask, Live, Samples, Source, Task, TrainError};

/// Samples of candidates, drawn at random with a counter.
#[derive(Clone, Debug)]
pub struct Chosen {
    rows: Vec<f32>,
    shape: Shape,
    classes: Vec<i64>,
    batch: usize,
    seed: u64,
    next: u64,
}

impl Chosen {
    /// The samples `which` of `candidates`; `None` where there is none.
    pub fn new(candidates: &Candidates, which: &[usize], batch: usize, seed: u64) -> Option<Self> {
        let rows = which.iter().flat_map(|i| candidates.row(*i)).copied().collect();
        let classes = which.iter().map(|i| candidates.drawn.classes[*i]).collect();
        let shape = candidates.drawn.shape;
        (!which.is_empty()).then_some(Self { rows, shape, classes, batch, seed, next: 0 })
    }
}

impl Source for Chosen {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.next = images;
        Ok(())
    }

    fn next(&mut self) -> Result<Batch, TrainError> {
        let indices: Vec<u64> = (self.next..self.next + self.batch as u64).collect();
        self.next += self.batch as u64;
        let (key, numbers) = (Key::new(self.seed, Purpose::Order), self.shape.numel());
        let place = |i: &u64| (key.uniform(*i) * self.classes.len() as f64) as u64;
        let places: Vec<u64> = indices.iter().map(place).collect();
        let x1 = places.iter().flat_map(|p| &self.rows[*p as usize * numbers..][..numbers]).copied().collect();
        let classes = places.iter().map(|p| self.classes[*p as usize]).collect();
        Ok(Batch { classes, places, ..Batch::new(x1, self.shape, indices) })
    }

    fn fingerprint(&self) -> String {
        let sum = self.rows.iter().fold(0u64, |sum, x| sum.rotate_left(5) ^ u64::from(x.to_bits()));
        format!("chosen {} {sum:016x}", self.classes.len())
    }
}

/// A part of a batch whose samples count differently.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighed {
    /// The samples.
    pub batch: Batch,
    /// What each counts, `[b]`.
    pub weights: Vec<f32>,
}

impl Samples for Weighed {
    fn count(&self) -> usize {
        self.batch.count()
    }

    fn find_not_finite(&self) -> Option<String> {
        self.batch.find_not_finite()
    }
}

/// Samples of a source with what each counts.
pub struct WeighedSource {
    /// The samples.
    pub source: Box<dyn Source>,
    /// A weight for each sample of the source, by its place.
    pub weights: Vec<f64>,
}

impl Source<Weighed> for WeighedSource {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.source.seek(images)
    }

    fn next(&mut self) -> Result<Weighed, TrainError> {
        let batch = self.source.next()?;
        let weights = batch.places.iter().map(|place| self.weights[*place as usize] as f32).collect();
        Ok(Weighed { batch, weights })
    }

    fn fingerprint(&self) -> String {
        self.source.fingerprint()
    }
}

/// Flow matching in which samples count differently.
pub struct WeightedTask {
    /// The flow.
    pub flow: FlowTask,
}

impl WeightedTask {
    fn of(losses: Tensor<1>, batch: &Weighed) -> Tensor<1> {
        let weights = TensorData::new(batch.weights.clone(), [batch.count()]);
        let weights = Tensor::<1>::from_data(weights, &losses.device());
        losses * weights
    }
}

impl<M: Module + Network<2>> Task<M, Weighed> for WeightedTask {
    fn loss(&self, live: &Live<'_, M>, batch: &Weighed, device: &Device) -> Result<Tensor<1>, TrainError> {
        Ok(Self::of(self.flow.loss(live, &batch.batch, device)?, batch))
    }

    fn loss_at(
        &self,
        live: &Live<'_, M>,
        batch: &Weighed,
        times: &Times,
        device: &Device,
    ) -> Result<Tensor<1>, TrainError> {
        Ok(Self::of(self.flow.loss_at(live, &batch.batch, times, device)?, batch))
    }

    fn identity(&self) -> (String, String) {
        self.flow.names()
    }
}
