//! Who listens to what was separated: a small classifier of single sounds, trained on the recordings that the separator was trained on,
//! alone and before anything is separated. Its classes say what a sound carries, its features how far two sets of sounds lie apart.

use crate::{
    Context, Error,
    classifier::{self, ClassifierConfig, Labelled},
    recipe::Separate,
    sound::Analysis,
};
use base::{Key, RandomStream};
use data::mixture::{Library, MixtureConfig, mix};
use media::audio::LogMel;
use metrics::{Extractor, Matrix, classifier::Classifier};
use std::path::Path;

/// Single sounds that it learns from, and others that it is tried on.
const SOUNDS: [usize; 2] = [1200, 200];

/// Natural logarithms from silence to white: 87 dB.
const RANGE: f32 = 10.0;

/// What a listener is called: what its pictures are of is in it, so that it is not asked about others.
fn name(config: &Separate) -> Result<String, Error> {
    let known = serde_json::to_string(&(&config.mel, config.mixture.length, config.held_out))
        .map_err(|error| Error::Failure(format!("the settings of mel pictures cannot be written: {error}")))?;
    let hash = known.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    Ok(format!("mel-cnn-{hash:08x}"))
}

/// The classifier, and how sounds become its pictures.
pub(super) struct Listener {
    classifier: Classifier,
    analysis: Analysis,
}

impl Listener {
    /// The one in `file`, or where there is none one trained on single sounds of `library` and kept there; it tells the labels of
    /// `library` apart.
    ///
    /// # Errors
    /// A file of another classifier; training that is interrupted.
    pub fn open(file: &Path, library: &Library, config: &Separate, context: &mut Context) -> Result<Self, Error> {
        let (analysis, device) = (Analysis::new(config)?, context.device.device.clone());
        let input = analysis.shape().image()?;
        if file.exists() {
            let classifier = Classifier::load(file, &device)?;
            let layout = classifier.layout();
            if layout.name != name(config)? {
                return Err(Error::Usage(format!(
                    "--judge {}: it was made of other pictures than this model's (`task.mel`, `task.mixture.length` or `task.held_out` \
                     differ); give another file, which is made where there is none",
                    file.display()
                )));
            }
            return match layout.classes == library.labels() && layout.input == input {
                true => Ok(Self { classifier, analysis }),
                false => Err(Error::Usage(format!(
                    "--judge {}: it tells {} apart in pictures of {:?}, and this model hears {} in pictures of {input:?}; give another \
                     file, which is made where there is none",
                    file.display(),
                    layout.classes.join(", "),
                    layout.input,
                    library.labels().join(", ")
                ))),
            };
        }
        let usual = ClassifierConfig {
            name: name(config)?,
            widths: [8, 16, 32],
            features: 32,
            epochs: 4,
            batch: 32,
            tell: 0.0,
            ..ClassifierConfig::default()
        };
        let sounds = singles(library, config, &analysis, SOUNDS[0], Key::of(0, RandomStream::ListenedSounds))?;
        context.note(format!("no classifier lies at {}: one is trained on single sounds", file.display()));
        let classifier = classifier::train(&usual, &sounds, None, context)?.classifier;
        classifier.save(file)?;
        Ok(Self { classifier, analysis })
    }

    /// Name and number of features, as figures carry them.
    pub fn label(&self) -> String {
        self.classifier.label()
    }

    /// Share of single sounds of `library` that it names rightly.
    ///
    /// # Errors
    /// A library of fewer labels than there are classes.
    pub fn accuracy(&self, library: &Library, config: &Separate) -> Result<f64, Error> {
        let key = Key::of(0, RandomStream::ListenedTrial);
        let sounds = singles(library, config, &self.analysis, SOUNDS[1], key)?;
        classifier::accuracy(&self.classifier, &sounds)
    }

    /// Its features of `pictures`, and the label that each carries most of.
    ///
    /// # Errors
    /// Pictures of no number.
    pub fn hear(&self, pictures: &[LogMel]) -> Result<(Matrix, Vec<usize>), Error> {
        let silence = self.analysis.mel().silence();
        let unit = |v: f32| f32::from(byte(v, silence)) / 127.5 - 1.0;
        let row = |picture: &LogMel| self.analysis.columns(&self.analysis.row(&picture.values));
        let images: Vec<f32> = pictures.iter().flat_map(|picture| row(picture).into_iter().map(unit)).collect();
        let [c, h, w] = self.analysis.shape().image()?;
        let (features, logits) = self.classifier.run(&images, [pictures.len(), c, h, w])?;
        let loudest = |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0);
        let labels = logits.data().chunks_exact(logits.columns()).map(loudest).collect();
        Ok((features, labels))
    }
}

/// A log-mel value as the classifier keeps it.
fn byte(value: f32, silence: f32) -> u8 {
    ((value - silence) / RANGE * 255.0).round().clamp(0.0, 255.0) as u8
}

/// `count` single sounds of `library`, as loud as in mixtures.
fn singles(
    library: &Library,
    config: &Separate,
    analysis: &Analysis,
    count: usize,
    key: Key,
) -> Result<Labelled, Error> {
    let alone = MixtureConfig { sources: [1, 1], absent: 0.0, ..config.mixture.clone() };
    let input = analysis.shape().image()?;
    let mut all = Labelled { input, classes: library.labels().to_vec(), ..Labelled::default() };
    let silence = analysis.mel().silence();
    for index in 0..count as u64 {
        let sound = mix(library, &alone, key, index)?;
        let picture = analysis.columns(&analysis.hear(&sound.target)?);
        all.pixels.extend(picture.into_iter().map(|v| byte(v, silence)));
        all.labels.push(sound.label as u32);
    }
    Ok(all)
}
