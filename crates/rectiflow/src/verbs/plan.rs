//! `plan`: parameters, work, memory and time of a recipe before its first step.
//!
//! Parameters, work and what must fit are computed from the configuration; time and memory come from real steps on noise.

use crate::{
    Error, Recipe,
    context::Context,
    memory::Need,
    report::words::duration,
    stage::task::{self, Survey},
    symmetry,
    words::Words,
};
use ::train::{Batch, Origin, Setup, Source, TrainConfig, TrainError, memory::Memory};
use base::{Condition, Key, Purpose, Shape};
use kernels::Precision;
use serde::Serialize;
use std::time::Instant;

/// What a recipe will cost.
#[derive(Clone, Debug, Serialize)]
pub struct PlanReport {
    /// Training samples in the data set.
    pub samples: usize,
    /// Shape of a sample.
    pub shape: Shape,
    /// Number of classes.
    pub classes: usize,
    /// Numbers in the network.
    pub parameters: u64,
    /// Floating-point operations of one forward pass of one sample.
    pub forward_flops: u64,
    /// Bytes of weights, gradients, moments and averages.
    pub state_bytes: u64,
    /// Bytes kept for the backward pass of one part of a batch, an estimate.
    pub activation_bytes: u64,
    /// Largest memory of this process over the measured steps, in bytes, data and program included: what the run itself will
    /// reach, unless its validation batch or sample sheets are larger than its training batch. Zero where the system
    /// does not say, or the device is not the CPU.
    pub peak_bytes: u64,
    /// Operands of products in training, as they will be here: f32 where this machine has no others.
    pub precision: Precision,
    /// Training images per second, measured here.
    pub images_per_second: f64,
    /// Training images the run will see.
    pub images: u64,
    /// Seconds the run will train.
    pub seconds: f64,
    /// Passes over the data.
    pub epochs: f64,
}

/// Computes and measures.
///
/// # Errors
/// Whatever would stop the run itself before its first step.
pub fn plan(recipe: &Recipe, context: &mut Context) -> Result<PlanReport, Error> {
    recipe.check()?;
    let config = &recipe.train;
    let Survey { samples, shape, classes, pictures } = task::of(&recipe.task).survey(recipe, context)?;
    let cost = recipe.network.cost(shape, classes)?;
    let need = Need::of(recipe, shape, classes)?;
    if context.device.name == "cpu" {
        need.check()?;
    }
    if let Some(pictures) = &pictures {
        symmetry::warn(recipe, &**pictures, context)?;
    }
    context.note("measuring some training steps on noise, a second or more");
    let weighs = recipe.task.latents().is_some_and(|latents| latents.w_bg < 1.0);
    if recipe.perceptual.is_some() || recipe.target != methods::Target::Path || weighs {
        context
            .note("`target`, `perceptual` and `task.latents.w_bg` cost extra passes of this and other networks, which are not in the speed");
    }
    let images_per_second = measure(recipe, shape, classes, context)?;
    let peak_bytes = if context.device.name == "cpu" { Memory::now().peak } else { 0 };
    let by_images = config.total_images().map(|images| images as f64 / images_per_second);
    let by_time = (config.seconds > 0.0).then_some(config.seconds);
    let seconds = [by_images, by_time].into_iter().flatten().fold(f64::INFINITY, f64::min);
    let images = (seconds * images_per_second).round() as u64;
    let images = config.total_images().map_or(images, |total| total.min(images));
    Ok(PlanReport {
        samples,
        shape,
        classes,
        parameters: need.parameters,
        forward_flops: cost.forward_flops_per_sample,
        state_bytes: need.state,
        activation_bytes: need.activations,
        peak_bytes,
        precision: match config.precision.is_native_on(&context.device.device) {
            true => config.precision,
            false => Precision::F32,
        },
        images_per_second,
        images,
        seconds,
        epochs: images as f64 / samples.max(1) as f64,
    })
}

/// Steps until nothing new is allocated: threads find their areas one by one.
const STEPS: usize = 8;
/// Seconds of measuring, at least; and at most, where a step takes seconds.
const SECONDS: [f64; 2] = [1.5, 20.0];

/// Images per second over a second or more, the first steps (allocation, page faults) not counted.
pub(crate) fn measure(recipe: &Recipe, shape: Shape, classes: usize, context: &Context) -> Result<f64, Error> {
    let device = &context.device.device;
    let net = recipe.network.init(recipe.seed, shape, recipe.rows(classes), device)?;
    let net = match &recipe.lora {
        None => net,
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
    let mut flow = recipe.flow_task(classes);
    if recipe.needs_pairs() {
        flow.coupling = flow::Coupling::Independent {}; // the pairs are not there yet; noise costs the same
    }
    let (batch, transfer) = (config.micro_batch(), recipe.origin() == Origin::Data);
    let condition = match Words::of(recipe)? {
        Some(words) => words.condition(&vec![Some("a picture"); batch], &base::Device::flex())?,
        None => Condition::none(),
    };
    let mut source = Noise { shape, classes, condition, transfer, batch, next: 0 };
    let (seed, stop) = (recipe.seed, context.stop.clone());
    let setup = Setup { seed, stop, ..Setup::new(&config, &flow, &mut source) };
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
    match (marks.get(skip), marks.last()) {
        (Some(first), Some(last)) if last.1 > first.1 => {
            Ok((last.1 - first.1) as f64 / (last.0 - first.0).as_secs_f64().max(1e-9))
        }
        _ => Ok(outcome.state.images as f64 / outcome.state.seconds.max(1e-9)),
    }
}

/// Batches of noise in place of data.
struct Noise {
    shape: Shape,
    classes: usize,
    condition: Condition,
    /// Whether flows start from a second data set.
    transfer: bool,
    batch: usize,
    next: u64,
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

impl std::fmt::Display for PlanReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mb = |bytes: u64| format!("{:.0} MB", bytes as f64 / 1e6);
        let sides: Vec<String> = self.shape.lengths().iter().map(usize::to_string).collect();
        writeln!(f, "data         {} samples of {}, {} classes", self.samples, sides.join("x"), self.classes)?;
        writeln!(
            f,
            "network      {} parameters, {:.1} MFLOP forward per sample",
            self.parameters,
            self.forward_flops as f64 / 1e6
        )?;
        let peak = if self.peak_bytes > 0 { format!("{} at the peak: ", mb(self.peak_bytes)) } else { String::new() };
        let (state, activations) = (mb(self.state_bytes), mb(self.activation_bytes));
        writeln!(
            f,
            "memory       {peak}{state} weights and optimiser, about {activations} activations, data and program"
        )?;
        writeln!(f, "speed        {:.0} images/s here in {}", self.images_per_second, self.precision.name())?;
        write!(f, "training     {} images, {:.1} passes, about {}", self.images, self.epochs, duration(self.seconds))
    }
}
