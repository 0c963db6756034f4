//! Flow-DPO as a training task: pairs of samples, a flow in training, and the same flow before training as its reference.

use crate::align::{Candidates, Prompts};
use base::{Condition, Device, Key, NULL_CLASS, Network, Pass, Purpose, Shape, Tensor, TensorData, Times};
use burn::module::Module;
use flow::Objective;
use methods::align::{DpoConfig, Duel, Verdict, dpo::DpoFigures};
use std::cell::RefCell;
use train::{Live, Samples, Source, Task, TrainError};

/// Pairs on the host, preferred samples beside the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Duels {
    /// Rows `[b n]` of the preferred and of the others.
    pub rows: [Vec<f32>; 2],
    /// What a row is.
    pub shape: Shape,
    /// The class both were asked for, or the number of their prompt.
    pub classes: Vec<i64>,
    /// Counter of each pair in the run.
    pub indices: Vec<u64>,
}

impl Samples for Duels {
    fn count(&self) -> usize {
        self.indices.len()
    }

    fn find_not_finite(&self) -> Option<String> {
        let at = self.rows.iter().find_map(|rows| rows.iter().position(|value| !value.is_finite()))?;
        Some(format!("a value of pair {} is no number", at / self.shape.numel().max(1)))
    }
}

/// Decided pairs of candidates, drawn at random with a counter.
#[derive(Clone, Debug)]
pub struct DuelSource {
    all: Duels,
    batch: usize,
    seed: u64,
    next: u64,
}

impl DuelSource {
    /// The pairs of `candidates` that `verdicts` decide; `None` where none is.
    pub fn new(candidates: &Candidates, verdicts: &[Verdict], batch: usize, seed: u64) -> Option<Self> {
        let shape = candidates.drawn.shape;
        let mut all = Duels { rows: Default::default(), shape, classes: Vec::new(), indices: Vec::new() };
        for (k, verdict) in verdicts.iter().enumerate() {
            let (winner, loser) = match verdict {
                Verdict::First => (2 * k, 2 * k + 1),
                Verdict::Second => (2 * k + 1, 2 * k),
                _ => continue,
            };
            all.rows[0].extend(candidates.row(winner));
            all.rows[1].extend(candidates.row(loser));
            all.classes.push(candidates.drawn.classes[winner]);
            all.indices.push(k as u64);
        }
        (!all.indices.is_empty()).then_some(Self { all, batch, seed, next: 0 })
    }

    /// Number of decided pairs.
    pub fn len(&self) -> usize {
        self.all.count()
    }

    /// Never: [`DuelSource::new`] gives none then.
    pub fn is_empty(&self) -> bool {
        false
    }
}

impl Source<Duels> for DuelSource {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.next = images;
        Ok(())
    }

    fn next(&mut self) -> Result<Duels, TrainError> {
        let indices: Vec<u64> = (self.next..self.next + self.batch as u64).collect();
        self.next += self.batch as u64;
        let (key, numbers) = (Key::new(self.seed, Purpose::Order), self.all.shape.numel());
        let places: Vec<usize> = indices.iter().map(|i| (key.uniform(*i) * self.len() as f64) as usize).collect();
        let take = |rows: &[f32]| places.iter().flat_map(|p| &rows[p * numbers..][..numbers]).copied().collect();
        let classes = places.iter().map(|place| self.all.classes[*place]).collect();
        Ok(Duels { rows: [take(&self.all.rows[0]), take(&self.all.rows[1])], shape: self.all.shape, classes, indices })
    }

    fn fingerprint(&self) -> String {
        let sum = |rows: &[f32]| rows.iter().fold(0u64, |sum, x| sum.rotate_left(5) ^ u64::from(x.to_bits()));
        format!("duels {} {:016x} {:016x}", self.len(), sum(&self.all.rows[0]), sum(&self.all.rows[1]))
    }
}

/// Flow-DPO.
pub struct DuelTask<N> {
    /// Its settings.
    pub config: DpoConfig,
    /// How the flow was trained.
    pub objective: Objective,
    /// The flow before; plain tensors, shared with the frozen weights beneath corrections.
    pub reference: N,
    /// Seed of times, noise and dropout.
    pub seed: u64,
    /// The prompts that classes stand for, of a model that reads some.
    pub prompts: Option<Prompts>,
    /// Figures since the last log: their sums and how many.
    pub seen: RefCell<Vec<DpoFigures>>,
    /// What ended the run, once something did.
    pub over: RefCell<Option<String>>,
}

fn failed(error: impl std::fmt::Display) -> TrainError {
    TrainError::Objective(error.to_string())
}

impl<N: Network<2>> DuelTask<N> {
    /// The pairs at `times`; the noise is the sampler's own kind, of a stream that training alone draws.
    fn duel(&self, batch: &Duels, times: Times, fold: u64, device: &Device) -> Result<Duel<2>, TrainError> {
        let device = device.clone().without_autodiff();
        let dims = [batch.count(), batch.shape.numel()];
        let rows = |which: usize| Tensor::from_data(TensorData::new(batch.rows[which].clone(), dims), &device);
        let noise = Key::new(self.seed, Purpose::Noise).fold(fold).normal_tensor(&batch.indices, dims, &device);
        let asked = batch.classes.iter().any(|class| *class != NULL_CLASS);
        let condition = match &self.prompts {
            Some(prompts) => prompts.condition(&batch.classes, &device).map_err(failed)?,
            None if asked => Condition::classes(&batch.classes, &device),
            None => Condition::none(),
        };
        Ok(Duel { winner: rows(0), loser: rows(1), noise, times, condition })
    }
}

impl<M: Module + Network<2>, N: Network<2>> Task<M, Duels> for DuelTask<N> {
    fn loss(&self, live: &Live<'_, M>, batch: &Duels, device: &Device) -> Result<Tensor<1>, TrainError> {
        let times = self.objective.times(Key::new(self.seed, Purpose::Time), &batch.indices);
        let dropout = Key::new(self.seed, Purpose::Dropout);
        let pass = Pass::train(dropout, batch.indices.clone());
        let duel = self.duel(batch, times, 0, device)?;
        let errors = duel.errors(&self.objective, (live, &pass, device), &self.reference).map_err(failed)?;
        let figures = self.config.figures(&errors, &duel.times).map_err(failed)?;
        self.seen.borrow_mut().push(figures);
        Ok(self.config.loss(&errors, &duel.times))
    }

    fn loss_at(
        &self,
        live: &Live<'_, M>,
        batch: &Duels,
        times: &Times,
        device: &Device,
    ) -> Result<Tensor<1>, TrainError> {
        let duel = self.duel(batch, times.clone(), 1, device)?;
        let errors = duel.errors(&self.objective, (live, &Pass::Infer, device), &self.reference).map_err(failed)?;
        Ok(self.config.loss(&errors, &duel.times))
    }

    fn identity(&self) -> (String, String) {
        let json = |value: Result<String, serde_json::Error>| value.unwrap_or_else(|e| format!("unknown ({e})"));
        (
            json(serde_json::to_string(&self.objective.path)),
            json(serde_json::to_string(&self.objective.parameterization)),
        )
    }

    fn remembers(&self) -> bool {
        true
    }

    fn figures(&self) -> Vec<(String, f64)> {
        let seen = self.seen.take();
        let count = seen.len().max(1) as f64;
        let mean = |of: &dyn Fn(&DpoFigures) -> f64| seen.iter().map(of).sum::<f64>() / count;
        let errors = [0, 1, 2, 3].map(|i| mean(&|f| f.errors[i]));
        let all = DpoFigures { errors, accuracy: mean(&|f| f.accuracy), margin: mean(&|f| f.margin) };
        if self.config.has_gone_too_far(&all) {
            let [winner, _, reference, _] = errors;
            *self.over.borrow_mut() = Some(format!(
                "the preferred samples' own error has risen from {reference:.4} to {winner:.4}, beyond dpo.stop_ratio = {}: \
                 training stops here; raise dpo.beta or lower train.optim.lr",
                self.config.stop_ratio
            ));
        }
        let names = ["error_winner", "error_loser", "reference_winner", "reference_loser"];
        let mut figures: Vec<(String, f64)> = names.iter().zip(errors).map(|(n, e)| (n.to_string(), e)).collect();
        figures.extend([("implicit_accuracy".to_string(), all.accuracy), ("margin".to_string(), all.margin)]);
        figures
    }

    fn enough(&self) -> Option<String> {
        self.over.borrow().clone()
    }
}
