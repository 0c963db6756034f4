//! The speed of a training, from some steps of it.

use crate::{Context, Error, Recipe, taught, words::Words};
use ::train::{Batch, Origin, Setup, Source, Task, TrainConfig, TrainError};
use base::{Condition, Key, Purpose, Shape};
use kernels::Precision;
use nets::Net;
use std::time::Instant;

/// Steps until nothing new is allocated: threads find their areas one by one.
const STEPS: usize = 8;
/// Seconds of measuring, at least; and at most, where a step takes seconds.
const SECONDS: [f64; 2] = [1.5, 20.0];

/// Samples per second of `recipe`'s own objective on noise, without teacher or perceptual distance; where it learns from pairs, which
/// are not there yet, noise costs the same.
pub(crate) fn of_flow(recipe: &Recipe, shape: Shape, classes: usize, context: &Context) -> Result<f64, Error> {
    let mut plain = recipe.clone();
    plain.target = methods::Target::Path;
    if recipe.needs_pairs() {
        plain.coupling = flow::Coupling::Independent {};
    }
    let task = taught::task(&plain, classes, None, None, None, None);
    let mut source = Noise::of(&plain, shape, classes)?;
    Ok(speed(&plain, shape, classes, None, (&*task, &mut source), context)?.0)
}

/// Samples per second of `task` on `source` over a second or more, the first steps (allocation, page faults) not counted, and what
/// products round to. The network is `start`, or a fresh one.
pub(super) fn speed(
    recipe: &Recipe,
    shape: Shape,
    classes: usize,
    start: Option<Net>,
    (task, source): (&dyn Task<Net>, &mut dyn Source),
    context: &Context,
) -> Result<(f64, Precision), Error> {
    let device = &context.device.device;
    let net = match start {
        Some(net) => net,
        None => recipe.network.init(recipe.seed, shape, recipe.rows(classes), device)?,
    };
    let net = match &recipe.lora {
        None => nets::weights::whole(net),
        Some(lora) => lora.init(net, recipe.seed, device)?,
    };
    let config = TrainConfig {
        seconds: SECONDS[1],
        images: 0,
        validate_every: 0,
        sample_every: 0,
        log_every: 1,
        ..recipe.train.clone()
    };
    let (seed, stop) = (recipe.seed, context.stop.clone());
    let setup = Setup { seed, stop, ..Setup::new(&config, task, source) };
    let mut marks: Vec<(Instant, u64)> = Vec::new();
    let began = Instant::now();
    let mut observer = |event: &::train::Event<'_>| {
        if let ::train::Event::Log(log) = event {
            marks.push((Instant::now(), log.images));
        }
        let enough = marks.len() >= STEPS && began.elapsed().as_secs_f64() >= SECONDS[0];
        Ok(if enough { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) })
    };
    let outcome = ::train::train(net, setup, &mut observer)?;
    let skip = marks.len() / 4;
    let images_per_second = match (marks.get(skip), marks.last()) {
        (Some(first), Some(last)) if last.1 > first.1 => {
            (last.1 - first.1) as f64 / (last.0 - first.0).as_secs_f64().max(1e-9)
        }
        _ => outcome.state.images as f64 / outcome.state.seconds.max(1e-9),
    };
    Ok((images_per_second, outcome.precision))
}

/// Batches of noise in place of data.
pub(super) struct Noise {
    shape: Shape,
    classes: usize,
    condition: Condition,
    /// Whether flows start from a second data set.
    transfer: bool,
    batch: usize,
    next: u64,
}

impl Noise {
    /// In the form of what `recipe` learns from.
    pub fn of(recipe: &Recipe, shape: Shape, classes: usize) -> Result<Self, Error> {
        let batch = recipe.train.micro_batch();
        let condition = match Words::of(recipe)? {
            Some(words) => words.condition(&vec![Some("a picture"); batch], &base::Device::flex())?,
            None => Condition::none(),
        };
        let transfer = recipe.origin() == Origin::Data;
        Ok(Self { shape, classes, condition, transfer, batch, next: 0 })
    }
}

impl Source for Noise {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.next = images;
        Ok(())
    }

    fn next(&mut self) -> Result<Batch, TrainError> {
        let indices: Vec<u64> = (self.next..self.next + self.batch as u64).collect();
        self.next += self.batch as u64;
        let key = Key::new(0, Purpose::Probe);
        let x1: Vec<f32> =
            indices.iter().flat_map(|index| key.normals(*index, self.shape.numel()).map(|v| v * 0.5)).collect();
        let class = |index: &u64| (index % self.classes as u64) as i64;
        let classes = if self.classes == 0 { Vec::new() } else { indices.iter().map(class).collect() };
        let x0 = self.transfer.then(|| x1.iter().map(|v| -v).collect());
        let condition = self.condition.clone();
        Ok(Batch { x0, classes, condition, ..Batch::new(x1, self.shape, indices) })
    }

    fn fingerprint(&self) -> String {
        "noise".into()
    }
}

/// The same batch again and again, under new counters.
pub(super) struct Repeat {
    pub batch: Batch,
    pub next: u64,
}

impl Source for Repeat {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.next = images;
        Ok(())
    }

    fn next(&mut self) -> Result<Batch, TrainError> {
        let indices = (self.next..self.next + self.batch.len() as u64).collect();
        self.next += self.batch.len() as u64;
        Ok(Batch { indices, ..self.batch.clone() })
    }

    fn fingerprint(&self) -> String {
        "one batch".into()
    }
}
