//! Sample sheets while a run trains: fixed noise and classes (or held-out samples of the source, each beside what it becomes), drawn as
//! `sample` draws. Of shapes some meshes are left beside the sheet, which shows pictures of meshes where their latents cannot be looked at.

use crate::{
    Error, Recipe, Start,
    codec::Codec,
    pictures,
    pipeline::{End, Piece, Pipeline, along},
    runs::{DrawnSheet, Sheet},
    sampling::Classes,
    shapes::sheet::picture,
    words::Words,
};
use ::train::{RunDir, TrainError};
use base::{Condition, Network, Shape};
use flow::Guided;
use media::{
    Images,
    shape::{Mesh, write},
};
use nets::Precise;
use std::sync::Arc;

/// What sheets are drawn with; the network is the one in training.
pub(crate) struct Sheets<'a> {
    pub recipe: &'a Recipe,
    /// What the network moves.
    pub shape: Shape,
    pub starts: Start,
    pub words: Option<Arc<Words>>,
    pub codec: Option<Arc<Codec>>,
    pub asked: Classes,
    /// What its classes are called.
    pub names: Vec<String>,
    pub run: RunDir,
    pub device: base::Device,
}

/// Samples of a sheet.
pub(crate) const SHEET: u64 = 64;
/// Meshes beside a sheet of shapes.
const MESHES: usize = 4;
/// Shapes on a sheet that shows their meshes.
const SHAPES: u64 = 8;
/// Pixels of each.
const SIZE: usize = 96;
/// Surfaces are taken from a lattice of `2^DEPTH` cells to a side.
const DEPTH: u32 = 6;

impl Sheet for Sheets<'_> {
    fn draw(&self, images: u64, network: &dyn Network<2>) -> Result<DrawnSheet, TrainError> {
        self.drawn(images, network).map_err(|error| TrainError::Objective(format!("sample sheet: {error}")))
    }
}

impl Sheets<'_> {
    fn drawn(&self, images: u64, network: &dyn Network<2>) -> Result<DrawnSheet, Error> {
        let config = &self.recipe.sample;
        let network = Precise { network, precision: config.precision };
        let field = Guided::new(self.recipe.field(&network), config.guidance.scale, config.guidance.interval)?;
        let (path, seed) = (&self.recipe.path, self.recipe.seed);
        let field = along(field, path, config.path.as_ref())?;
        let pipeline = Pipeline::new(field, path, config, &self.starts, self.shape, &self.device)?;
        let codec = self.codec.as_deref();
        let (pipeline, meshes) = match codec.filter(|codec| codec.has_surface()) {
            None => (pipeline, Vec::new()),
            Some(codec) => {
                let pipeline = pipeline.ending(End::Latent(codec));
                let meshes = self.meshes(&pipeline, codec, images)?;
                (pipeline, meshes)
            }
        };
        if codec.is_some_and(|codec| !codec.is_seen()) {
            let rows: Vec<f32> = meshes.iter().flat_map(|mesh| picture(mesh, SIZE)).collect();
            return self.written(images, meshes.len(), Images::new(rows, meshes.len(), [3, SIZE, SIZE])?);
        }
        let pipeline = pipeline.decoded(codec);
        let (indices, condition) = self.asked(SHEET)?;
        let Piece { x0, mut rows, .. } = pipeline.draw(seed, &indices, &condition)?;
        let mut count = indices.len();
        if self.starts.dataset().is_some() {
            let (from, size) = (crate::sampling::host(x0)?, self.shape.numel());
            let both = from.chunks(size).zip(rows.chunks(size)).take(count / 2);
            rows = both.flat_map(|(from, to)| from.iter().chain(to).copied()).collect();
            count = rows.len() / size;
        }
        let drawn = self.codec.as_ref().map_or(self.shape, |codec| codec.drawn());
        self.written(images, indices.len(), pictures::of(rows, count, drawn)?)
    }

    /// The first samples, `most` at most, and what they are conditioned on.
    fn asked(&self, most: u64) -> Result<(Vec<u64>, Condition), Error> {
        let indices: Vec<u64> = (0..self.starts.count().unwrap_or(most).min(most)).collect();
        let condition = self.asked.condition(self.words.as_ref(), &indices, &self.device)?;
        Ok((indices, condition))
    }

    /// The first samples as meshes, of which some are left beside the sheet after `images`; as many as a sheet shows where nothing else shows them.
    fn meshes(&self, pipeline: &Pipeline<'_>, codec: &Codec, images: u64) -> Result<Vec<Mesh>, Error> {
        let (indices, condition) = self.asked(if codec.is_seen() { MESHES as u64 } else { SHAPES })?;
        let latents = pipeline.draw(self.recipe.seed, &indices, &condition)?.rows;
        let surface = |latent: &[f32]| Ok(codec.surface(latent, DEPTH, &self.device)?.mesh);
        let meshes: Vec<Mesh> =
            latents.chunks_exact(codec.latent.numel()).map(surface).collect::<Result<_, Error>>()?;
        leave(&self.run, &format!("{images:012}"), &meshes)?;
        Ok(meshes)
    }

    /// The sheet of the first `asked` samples after `images`, written.
    fn written(&self, images: u64, asked: usize, samples: Images) -> Result<DrawnSheet, Error> {
        let (config, seed) = (&self.recipe.sample, self.recipe.seed);
        let path = self.run.samples().join(format!("{images:012}.png"));
        let (steps, solver) = (config.steps, config.solver.name());
        let text = format!("Steps: {steps}, Sampler: {solver}, Seed: {seed}, Images: {images}");
        let classes: Vec<i64> = (0..asked as u64).map(|index| self.asked.of(index)).collect();
        let sheet = pictures::sheet(&samples, 0, &classes, &self.names);
        let png = media::png::encode(&sheet, &[("parameters", &text)])?;
        media::atomic::write(&path, &png)?;
        Ok(DrawnSheet { png, size: [sheet.width, sheet.height] })
    }
}

/// Leaves the first of `meshes` that have a surface among the samples of `run`, called `name` and their number: the run's page shows them.
///
/// # Errors
/// A place that cannot be written.
pub(crate) fn leave(run: &RunDir, name: &str, meshes: &[Mesh]) -> Result<(), Error> {
    for (i, mesh) in meshes.iter().take(MESHES).enumerate() {
        let file = run.samples().join(format!("{name}-{i}.glb"));
        match mesh.faces.is_empty() {
            false => write::write(&file, mesh)?,
            true => drop(std::fs::remove_file(&file)), // one of a training before
        }
    }
    Ok(())
}
