//! What drawing shapes will need, before a weight is read.

use super::{
    ShapeRequest,
    draw::octree,
    open::{Opened, PARTS},
    picture::Preparation,
};
use crate::{
    Error,
    machine::Machine,
    released::plan::{PROGRAM, PartPlan, counted},
};
use nets::Dinov2Config;
use serde::Serialize;

/// What drawing will need.
#[derive(Clone, Debug, Serialize)]
pub struct ShapePlan {
    /// What the model is one of.
    pub family: &'static str,
    /// Its parts, in the order in which they work.
    pub parts: Vec<PartPlan>,
    /// Latent vectors of a shape.
    pub tokens: usize,
    /// Steps of the solver by habit.
    pub steps: usize,
    /// What surfaces take, while the autoencoder works.
    pub surfaces: Vec<SurfacePlan>,
    /// Bytes at the peak, an estimate: with the surface of the request's resolution at its least.
    pub peak: u64,
    /// The same without a surface.
    pub without_surface: u64,
    /// Bytes of this machine's memory; 0 where it does not say.
    pub memory: u64,
}

/// What a surface takes.
#[derive(Clone, Debug, Serialize)]
pub struct SurfacePlan {
    /// Cells to a side.
    pub resolution: usize,
    /// Bytes of a ball that fills the cube, whose field is beyond the band in which cells are divided at once; a field that leaves it slowly, as one
    /// that was smoothed, takes more.
    pub least: u64,
    /// Bytes of a field that is near zero everywhere.
    pub most: u64,
}

impl SurfacePlan {
    fn of(resolution: usize) -> Self {
        let plan = octree(resolution.max(1).ilog2());
        Self { resolution, least: plan.least().1, most: plan.most().1 }
    }
}

/// Points that the decoder is asked at once.
const POINTS: usize = 1 << 13;

/// Of the request's model. Weights are counted; what lives beside them is an estimate from the order of operations: streams, heads, the
/// perceptron's hidden features before and after their activation.
///
/// # Errors
/// A folder that cannot be read.
pub fn plan(request: &ShapeRequest, note: &mut dyn FnMut(String)) -> Result<ShapePlan, Error> {
    let opened = Opened::of(&request.folder)?;
    let (tokens, eye, side) =
        (request.tokens()?, opened.eye.config::<Dinov2Config>(note)?, Preparation::of(&opened)?.side());
    let mut parts = Vec::new();
    for (name, part, called) in opened.parts() {
        let weights = part.open(called)?;
        let source = weights.source()?;
        let (parameters, stored, widened) = counted(&*source);
        let width = |name: &str| source.shape(name).and_then(|shape| shape.first().copied()).unwrap_or(0);
        let floats = match name {
            "transformer" => {
                let d = width("proj_in.weight");
                // Skips of half the blocks; with and without the picture.
                let skips = source.names().iter().filter(|name| name.ends_with("skip_linear.weight")).count();
                2 * (tokens + 1) * d * (14 + skips)
            }
            "vae" => 14 * width("post_quant.weight") * tokens.max(POINTS),
            _ => 14 * eye.hidden_size * eye.tokens(side),
        };
        let (path, peak) = (weights.path().to_path_buf(), stored + widened + 4 * floats as u64);
        parts.push(PartPlan { name, path, parameters, stored, peak });
    }
    let surfaces: Vec<SurfacePlan> = [request.resolution, 256, 512].map(SurfacePlan::of).into();
    // The surface grows beside the last part.
    let beside = |part: &PartPlan| if part.name == PARTS[2].0 { surfaces[0].least } else { 0 };
    let largest = |beside: &dyn Fn(&PartPlan) -> u64| {
        PROGRAM + parts.iter().map(|part| part.peak + beside(part)).max().unwrap_or(0)
    };
    let (peak, without_surface) = (largest(&beside), largest(&|_| 0));
    let memory = (Machine::here("cpu").memory_gb * (1u64 << 30) as f64) as u64;
    Ok(ShapePlan { family: "TripoSG", parts, tokens, steps: super::STEPS, surfaces, peak, without_surface, memory })
}

impl std::fmt::Display for ShapePlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mb = |bytes: u64| format!("{:.0} MB", bytes as f64 / 1e6);
        writeln!(f, "model        {}, {} latent vectors, {} steps", self.family, self.tokens, self.steps)?;
        for PartPlan { name, parameters, stored, peak, .. } in &self.parts {
            writeln!(
                f,
                "{name:<20} {parameters:>12} parameters, {} stored, {} while it works",
                mb(*stored),
                mb(*peak)
            )?;
        }
        for SurfacePlan { resolution, least, most } in &self.surfaces {
            writeln!(
                f,
                "surface              at --resolution {resolution}: {} of a ball that fills the cube, {} where all is near",
                mb(*least),
                mb(*most)
            )?;
        }
        write!(f, "memory       about {} at the peak, parts opened one after another", mb(self.peak))?;
        if self.memory > 0 && self.peak > self.memory {
            // Where the parts fit, the surface is too much.
            let remedy = if self.without_surface <= self.memory { "a lower --resolution" } else { "fewer --tokens" };
            write!(f, "; this machine has {}: ask for {remedy}", mb(self.memory))?;
        }
        Ok(())
    }
}
