//! Sample sheets while a run trains: fixed noise and classes (or held-out samples of the source, each beside what it becomes), drawn as
//! `sample` draws.

use crate::{
    Error, Recipe, Start,
    codec::Codec,
    pictures,
    pipeline::{Piece, Pipeline, along},
    runs::{DrawnSheet, Sheet},
    sampling::Classes,
    words::Words,
};
use ::train::{RunDir, TrainError};
use base::{Network, Shape};
use flow::Guided;
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
        let pipeline = pipeline.decoded(self.codec.as_deref());
        let indices: Vec<u64> = (0..self.starts.count().unwrap_or(SHEET).min(SHEET)).collect();
        let condition = self.asked.condition(self.words.as_ref(), &indices, &self.device)?;
        let Piece { x0, mut rows, .. } = pipeline.draw(seed, &indices, &condition)?;
        let mut count = indices.len();
        if self.starts.dataset().is_some() {
            let (from, size) = (crate::sampling::host(x0)?, self.shape.numel());
            let both = from.chunks(size).zip(rows.chunks(size)).take(count / 2);
            rows = both.flat_map(|(from, to)| from.iter().chain(to).copied()).collect();
            count = rows.len() / size;
        }
        let drawn = self.codec.as_ref().map_or(self.shape, |codec| codec.drawn());
        let sheet = pictures::of(rows, count, drawn)?;
        let path = self.run.samples().join(format!("{images:012}.png"));
        let (steps, solver) = (config.steps, config.solver.name());
        let text = format!("Steps: {steps}, Sampler: {solver}, Seed: {seed}, Images: {images}");
        let classes: Vec<i64> = indices.iter().map(|index| self.asked.of(*index)).collect();
        let sheet = pictures::sheet(&sheet, 0, &classes, &self.names);
        let png = media::png::encode(&sheet, &[("parameters", &text)])?;
        media::atomic::write(&path, &png)?;
        Ok(DrawnSheet { png, size: [sheet.width, sheet.height] })
    }
}
