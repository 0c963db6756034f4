//! `plan`: parameters, work, memory and time of a recipe before its first step.
//!
//! Parameters, work and what must fit are computed from the configuration; time and memory come from real steps: on noise, and for
//! a student on a batch of its teacher's own pairs, which tells what the pairs cost too.

mod encoding;
mod measure;
mod student;

pub use encoding::EncodingPlan;
pub(crate) use measure::of_flow;
pub use student::plan_student;

use crate::{
    Error, Recipe,
    codec::{Codec, Renderer},
    context::Context,
    memory::Need,
    perceptual,
    release::beneath,
    report::words::duration,
    stage::task::{self, Survey},
    symmetry, taught,
};
use ::train::memory::Memory;
use base::Shape;
use kernels::Precision;
use serde::Serialize;

/// What a recipe will cost.
#[derive(Clone, Debug, Serialize)]
pub struct PlanReport {
    /// Training samples: of the data set, or stored pairs.
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
    /// Bytes kept for the backward pass of one part of a batch, rendered windows included, an estimate.
    pub activation_bytes: u64,
    /// Largest memory of this process over the measured steps, in bytes, data and program included: what the run itself will
    /// reach, unless its validation batch or sample sheets are larger than its training batch. Zero where the system
    /// does not say, or the device is not the CPU.
    pub peak_bytes: u64,
    /// Operands of products in training, as they will be here: f32 where this machine has no others.
    pub precision: Precision,
    /// Training samples per second, measured here.
    pub images_per_second: f64,
    /// Training samples the run will see.
    pub images: u64,
    /// Seconds the run will train.
    pub seconds: f64,
    /// What is encoded once, where samples or captions are and are not kept yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<EncodingPlan>,
    /// The pairs that are made before, where a student learns from them.
    pub pairs: Option<PairsPlan>,
    /// Passes over the data.
    pub epochs: f64,
}

/// What a student's pairs will cost.
#[derive(Clone, Debug, Serialize)]
pub struct PairsPlan {
    /// How many.
    pub count: u64,
    /// Seconds to make them.
    pub seconds: f64,
    /// Bytes on disk.
    pub bytes: u64,
}

/// Computes and measures.
///
/// # Errors
/// Whatever would stop the run itself before its first step.
pub fn plan(recipe: &Recipe, context: &mut Context) -> Result<PlanReport, Error> {
    recipe.check()?;
    let Survey { samples, shape, classes, pictures } = task::of(&recipe.task).survey(recipe, context)?;
    let cost = recipe.network.cost(shape, classes)?;
    let need = Need::of(recipe, shape, classes)?;
    let need = match recipe.task.latents().and_then(|latents| latents.render.as_ref()) {
        None => need,
        Some(_) => {
            let codec = Codec::of(recipe, None, &context.device)?;
            let renderer = Renderer::of(recipe, codec.as_ref(), &context.device)?;
            need.rendering(recipe, renderer.map_or(0, |renderer| renderer.tape_bytes()))
        }
    };
    let beneath = beneath(recipe, shape, &context.device.device)?;
    let need = beneath.as_ref().map_or(need, |beneath| need.beneath(recipe, beneath.bytes));
    if context.device.name == "cpu" {
        need.check()?;
    }
    if let Some(pictures) = &pictures {
        symmetry::warn(recipe, &**pictures, context)?;
    }
    let encoding = match &pictures {
        None => None,
        Some(pictures) => encoding::of(recipe, &**pictures, context)?,
    };
    context.note("measuring some training steps on noise, a second or more");
    if recipe.task.latents().is_some_and(|latents| latents.w_bg < 1.0) {
        context.note("`task.latents.w_bg` costs passes of the codec, which are not in the speed");
    }
    if recipe.task.latents().is_some_and(|latents| latents.render.is_some()) {
        context.note(
            "`task.latents.render` renders a window of most samples, which is not in the speed nor in the memory",
        );
    }
    let premetric = perceptual::of(recipe, shape, &context.device)?;
    let task = taught::task(recipe, classes, None, premetric, None, None);
    let mut source = measure::Noise::of(recipe, shape, classes)?;
    let speed =
        measure::speed(recipe, shape, classes, beneath.map(|beneath| beneath.net), (&*task, &mut source), context)?;
    let (found, cost) = ((samples, shape, classes), (&need, cost.forward_flops_per_sample));
    Ok(PlanReport { encoding, ..PlanReport::of(recipe, found, cost, speed, context) })
}

impl PlanReport {
    /// What follows from the speed, and what this process holds now that it has taken some steps.
    fn of(
        recipe: &Recipe,
        (samples, shape, classes): (usize, Shape, usize),
        (need, forward_flops): (&Need, u64),
        (images_per_second, precision): (f64, Precision),
        context: &Context,
    ) -> Self {
        let config = &recipe.train;
        let by_images = config.total_images().map(|images| images as f64 / images_per_second);
        let by_time = (config.seconds > 0.0).then_some(config.seconds);
        let seconds = [by_images, by_time].into_iter().flatten().fold(f64::INFINITY, f64::min);
        let images = (seconds * images_per_second).round() as u64;
        let images = config.total_images().map_or(images, |total| total.min(images));
        Self {
            samples,
            shape,
            classes,
            parameters: need.parameters,
            forward_flops,
            state_bytes: need.state,
            activation_bytes: need.activations.saturating_add(need.rendering),
            peak_bytes: if context.device.name == "cpu" { Memory::now().peak } else { 0 },
            precision: match precision.is_native_on(&context.device.device) {
                true => precision,
                false => Precision::F32,
            },
            images_per_second,
            images,
            seconds,
            encoding: None,
            pairs: None,
            epochs: images as f64 / samples.max(1) as f64,
        }
    }
}

impl std::fmt::Display for PlanReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mb = |bytes: u64| format!("{:.0} MB", bytes as f64 / 1e6);
        let sides: Vec<String> = self.shape.lengths().iter().map(usize::to_string).collect();
        let what = if self.pairs.is_some() { "pairs" } else { "samples" };
        writeln!(f, "data         {} {what} of {}, {} classes", self.samples, sides.join("x"), self.classes)?;
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
        let speed = match self.images_per_second {
            fast if fast >= 10.0 => format!("{fast:.0} images/s"),
            some if some >= 1.0 => format!("{some:.1} images/s"),
            slow => format!("{:.1} s an image", 1.0 / slow.max(1e-9)),
        };
        writeln!(f, "speed        {speed} here in {}", self.precision.name())?;
        if let Some(EncodingPlan { samples, captions, seconds }) = &self.encoding {
            let time = duration(*seconds);
            writeln!(f, "encoding     {samples} samples and {captions} captions, about {time}, kept for later runs")?;
        }
        if let Some(pairs) = &self.pairs {
            let (time, disk) = (duration(pairs.seconds), mb(pairs.bytes));
            writeln!(f, "pairs        {}, about {time}, {disk} on disk", pairs.count)?;
        }
        write!(f, "training     {} images, {:.1} passes, about {}", self.images, self.epochs, duration(self.seconds))?;
        let before = self.pairs.as_ref().map_or(0.0, |pairs| pairs.seconds)
            + self.encoding.as_ref().map_or(0.0, |encoding| encoding.seconds);
        match self.pairs.is_some() || self.encoding.is_some() {
            true => write!(f, "\nin all       about {}", duration(before + self.seconds)),
            false => Ok(()),
        }
    }
}
