//! `classifier train`: the network that judges samples, trained on real images only.

use crate::{
    Context, Error,
    classifier::{self, ClassifierConfig, Labelled, Trained},
};
use data::{DataConfig, Dataset, Loader, LoaderConfig, Split, denormalize};
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct ClassifierReport {
    /// The weights.
    pub file: PathBuf,
    /// Share of test images it classifies rightly.
    pub accuracy: Option<f64>,
    /// Seconds of training.
    pub seconds: f64,
}

/// Trains a classifier on `data`'s training part, for `epochs` (the usual number without), and writes it to `file`.
///
/// # Errors
/// Data without classes; a file that cannot be written; [`Error::Interrupted`].
pub fn train(
    epochs: Option<usize>,
    seed: u64,
    data: &DataConfig,
    file: &Path,
    context: &mut Context,
) -> Result<ClassifierReport, Error> {
    let dataset = data::open(data)?;
    let usual = ClassifierConfig::default();
    // Figures are reported under this name: it says whose features they are measured in.
    let name = format!("{}-cnn", dataset.name());
    let config = &ClassifierConfig { name, epochs: epochs.unwrap_or(usual.epochs), seed, ..usual };
    if dataset.classes() < 2 {
        return Err(Error::Usage(format!("{} has no classes to tell apart", dataset.name())));
    }
    let (train_set, test_set) = (labelled(&dataset)?, labelled(&data::open(&data.with_split(Split::Test))?)?);
    let test = (!test_set.labels.is_empty()).then_some(&test_set);
    let Trained { classifier, accuracy, seconds } = classifier::train(config, &train_set, test, context)?;
    classifier.save(file)?;
    Ok(ClassifierReport { file: file.into(), accuracy, seconds })
}

fn labelled(dataset: &Arc<dyn Dataset>) -> Result<Labelled, Error> {
    let mut all =
        Labelled { input: dataset.shape().image()?, classes: dataset.class_names().to_vec(), ..Labelled::default() };
    if dataset.is_empty() {
        return Ok(all);
    }
    for batch in Loader::new(dataset.clone(), &LoaderConfig::once(512), 0)? {
        let batch = batch?;
        let size = dataset.shape().numel();
        for (image, label) in batch.rows.chunks_exact(size).zip(&batch.labels) {
            // A class nobody gave cannot be learned.
            if let Ok(label) = u32::try_from(*label) {
                all.pixels.extend(image.iter().map(|value| denormalize(*value)));
                all.labels.push(label);
            }
        }
    }
    Ok(all)
}
