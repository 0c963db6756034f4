//! What a file of samples says about its making: the line that image viewers of the field read, and all of it as JSON.

use crate::{Model, recipe::SampleConfig, sampling::Classes};
use std::ops::Range;

/// What a file of samples says about its making.
pub(crate) struct Note<'a> {
    pub model: &'a Model,
    /// What the model is called: its file, or the name under which others may ask for it.
    pub called: &'a str,
    pub config: &'a SampleConfig,
    pub classes: &'a Classes,
    pub seed: u64,
}

impl Note<'_> {
    /// The line that image viewers of the field read.
    pub fn line(&self) -> String {
        let SampleConfig { steps, solver, guidance, .. } = self.config;
        let (solver, scale, shape) = (solver.name(), guidance.scale, self.model.drawn());
        let size = match shape.image() {
            Ok([_, h, w]) => format!("{w}x{h}"),
            Err(_) => shape.to_string(),
        };
        format!(
            "Steps: {steps}, Sampler: {solver}, CFG scale: {scale}, Seed: {}, Size: {size}, Model: {}",
            self.seed, self.called
        )
    }

    /// What samples `range` were asked for in words, where the model reads them.
    fn prompts(&self, range: Range<u64>) -> Option<Vec<&str>> {
        self.model.words.as_ref()?;
        Some(range.map(|index| self.classes.prompt(index).unwrap_or_default()).collect())
    }

    /// What the classes are called, where the model has some.
    fn names(&self, classes: &[i64]) -> Option<Vec<&str>> {
        let names = &self.model.subject.classes;
        let name = |class: &i64| usize::try_from(*class).ok().and_then(|class| names.get(class));
        (!names.is_empty()).then(|| classes.iter().map(|class| name(class).map_or("", String::as_str)).collect())
    }

    /// Of the samples from `first` on, asked for these classes.
    pub fn json(&self, first: usize, classes: &[i64]) -> String {
        let range = first as u64..(first + classes.len()) as u64;
        let note = serde_json::json!({
            "program": concat!("rectiflow ", env!("CARGO_PKG_VERSION")),
            "checkpoint": self.called,
            "stage": self.model.subject.stage,
            "images_seen": self.model.images,
            "seed": self.seed,
            "first": first,
            "sample": self.config,
            "classes": classes,
            "class_names": self.names(classes),
            "prompts": self.prompts(range),
        });
        note.to_string()
    }
}
