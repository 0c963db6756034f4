//! `pairs`, `reflow` and `distill`: from a teacher to its pairs, from its pairs to a student.

use super::train::{Job, Resume, TrainReport};
use crate::{
    Error, Model, Recipe,
    context::Context,
    model::Subject,
    pairs::{self, PairsReport},
    recipe::Layers,
};
use data::{
    LoaderConfig,
    pairs::{PairLoader, PairStore},
};
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a student learns from its teacher's pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The whole straightened flow.
    Reflow,
    /// The first step (or the first few) alone.
    Distill,
}

impl Method {
    /// Name of verb, stage and recipe table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reflow => "reflow",
            Self::Distill => "distill",
        }
    }

    /// The student's complete recipe: the teacher's, under `layers`.
    ///
    /// # Errors
    /// Keys a student cannot choose; a teacher that this method cannot use.
    pub fn recipe(
        self,
        teacher: &Model,
        layers: impl FnOnce(Layers) -> Result<Layers, Error>,
    ) -> Result<Recipe, Error> {
        let layers = layers(Layers::new().recipe(&teacher.recipe))?;
        let recipe = layers.student_of(self.name())?.build()?;
        let objective = teacher.recipe.objective();
        let stage = match self {
            Self::Reflow => recipe.reflow.stage(&objective),
            Self::Distill => recipe.distill.stage(&objective),
        };
        let stage = stage.map_err(|error| Error::Usage(error.to_string()))?;
        let mut recipe = recipe.with_stage(&stage);
        recipe.data.flip = self == Self::Reflow && recipe.reflow.flip;
        if recipe.data.flip && !teacher.recipe.data.flip {
            return Err(Error::Usage(
                "reflow.flip = true: the teacher was trained with data.flip = false, so a mirrored pair is not one it \
                 could have made; leave it out"
                    .into(),
            ));
        }
        recipe.check()?;
        Ok(recipe)
    }
}

/// What a student's making came to.
#[derive(Clone, Debug, Serialize)]
pub struct StudentReport {
    /// The pairs, where they were made by this call.
    pub pairs: Option<PairsReport>,
    /// Pairs trained on.
    pub pair_count: u64,
    /// The training.
    pub train: TrainReport,
}

/// Makes pairs with `teacher` (or takes those of `existing`) and trains a student on them from the teacher's weights.
///
/// # Errors
/// Those of making pairs and of training; pairs that are not this teacher's kind.
pub fn student(
    method: Method,
    recipe: &Recipe,
    teacher: Model,
    existing: Option<&Path>,
    folder: &Path,
    resume: Option<Resume>,
    context: &mut Context,
) -> Result<StudentReport, Error> {
    recipe.check()?;
    let (made, store) = match existing {
        Some(folder) => (None, folder.to_path_buf()),
        None => {
            let store = folder.join("pairs");
            (Some(pairs::make(&teacher, &recipe.pairs, &store, context)?), store)
        }
    };
    let store = Arc::new(PairStore::open(&store)?);
    pairs::check(&store, &teacher)?;
    let (batch, flip) = (recipe.train.micro_batch(), recipe.data.flip);
    let loader = LoaderConfig { batch, flip, seed: recipe.seed, ..LoaderConfig::default() };
    PairLoader::new(store.clone(), &loader, 0)?; // refuses a batch larger than the store before anything is written
    let mut source = train::PairSource::new(store.clone(), loader);
    let validation = match recipe.train.validate_every {
        0 => None,
        _ => pairs::held_out(&teacher, &recipe.pairs, recipe.train.validation_samples, context)?,
    };
    let subject = Subject { stage: method.name().into(), ..teacher.subject.clone() };
    // Weights of another shape cannot be continued: such a student starts fresh, from the same seed as any first stage.
    let same = recipe.network == teacher.recipe.network;
    let guide = match (method, &recipe.distill.guide) {
        (Method::Distill, Some(guide)) => Some((guide.clone(), teacher.net.clone())),
        _ => None,
    };
    let start = same.then_some(teacher.net);
    if start.is_none() {
        let size = |recipe: &Recipe| -> Result<String, Error> {
            let cost = recipe.network.cost(subject.shape, subject.classes.len())?;
            let mflop = cost.forward_flops_per_sample as f64 / 1e6;
            Ok(format!("{} parameters, {mflop:.1} MFLOP a sample", cost.parameters))
        };
        let (student, teacher) = (size(recipe)?, size(&teacher.recipe)?);
        context.note(format!("the student starts fresh: {student}; its teacher: {teacher}"));
    }
    let job = Job { recipe, subject, source: &mut source, validation, start, guide, folder, resume };
    let train = job.run(context)?;
    Ok(StudentReport { pairs: made, pair_count: store.len() as u64, train })
}

/// The folder a run goes to when none is given.
pub fn default_folder(recipe: &Recipe) -> PathBuf {
    Path::new("runs").join(&recipe.name)
}
