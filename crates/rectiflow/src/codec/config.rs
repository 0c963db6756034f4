//! What a codec is made from: its kind, its data and its training.

use super::{Kind, KlConfig, MelCodecConfig, ShapeConfig, TriplaneConfig, VocoderConfig};
use crate::{
    Context, Error,
    recipe::{Separate, document},
};
use base::Shape;
use data::{DataConfig, Dataset, LoaderConfig, TestPart};
use serde::{Deserialize, Serialize};
use std::{path::Path, sync::Arc};
use train::TrainConfig;

/// Everything a codec is made from: what `rectiflow codec` reads and keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CodecRecipe {
    /// The run's name: its folder under `runs/`.
    pub name: String,
    /// Seed of all randomness.
    pub seed: u64,
    /// What to train on.
    pub data: DataConfig,
    /// Which codec.
    pub codec: CodecConfig,
    /// How its latents are brought to the width of the noise that flows start from.
    pub whitening: Whitening,
    /// How long and how to train.
    pub train: TrainConfig,
}

impl Default for CodecRecipe {
    fn default() -> Self {
        // Sheets draw with a network and times belong to flows: neither has a meaning here.
        let train =
            TrainConfig { condition_dropout: 0.0, validate_every: 0, sample_every: 0, ..TrainConfig::default() };
        Self {
            name: "codec".into(),
            seed: 0,
            data: DataConfig::default(),
            codec: CodecConfig::default(),
            whitening: Whitening::default(),
            train,
        }
    }
}

/// How latents are brought to the width of noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whitening {
    /// They stay as they are.
    None,
    /// Each channel by its mean and deviation.
    #[default]
    Channels,
    /// All channels together, so that they are also uncorrelated: `E D^(-1/2) E^T` (TriFlow, arXiv:2501.00651).
    Zca,
}

/// A codec by configuration: `type = "autoencoder" | "mel" | "shape" | "triplane" | "vocoder"` and that codec's keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CodecConfig {
    /// KL autoencoder over pictures `[c h w]`.
    Autoencoder(KlConfig),
    /// The same over mel pictures of sounds and their mixtures.
    Mel(MelCodecConfig),
    /// Vector sets of signed distances, over shapes.
    Shape(ShapeConfig),
    /// Planes of features reconstructed from views, over shapes.
    Triplane(TriplaneConfig),
    /// From mel pictures to their sounds, over segments of recordings: the way back alone.
    Vocoder(VocoderConfig),
}

impl CodecConfig {
    /// What its kind does with it.
    pub(crate) fn kind(&self) -> &dyn Kind {
        match self {
            Self::Autoencoder(config) => config,
            Self::Mel(config) => config,
            Self::Shape(config) => config,
            Self::Triplane(config) => config,
            Self::Vocoder(config) => config,
        }
    }

    /// The shape of what a sample becomes.
    ///
    /// # Errors
    /// [`Error::Usage`] for samples that it does not read.
    pub fn latent(&self, sample: Shape) -> Result<Shape, Error> {
        self.kind().latent(sample)
    }

    /// How its samples are heard, where they are pictures of sound: the keys it shares with task `separate`.
    pub fn heard(&self) -> Option<Separate> {
        self.kind().heard()
    }

    /// `data` as this codec reads them.
    ///
    /// # Errors
    /// Data that cannot be read, or are none for it.
    pub fn open(&self, data: &DataConfig, context: &mut Context) -> Result<Arc<dyn Dataset>, Error> {
        self.kind().open(data, context)
    }

    /// The part of `data` that is kept apart, as this codec reads it.
    ///
    /// # Errors
    /// Those of [`CodecConfig::open`].
    pub fn open_test(&self, data: &DataConfig, context: &mut Context) -> Result<Option<TestPart>, Error> {
        self.kind().open_test(data, context)
    }
}

impl Default for CodecConfig {
    fn default() -> Self {
        Self::Autoencoder(KlConfig::default())
    }
}

impl CodecRecipe {
    /// The house defaults under the recipe in `file`, and that under assignments `a.b=c`.
    ///
    /// # Errors
    /// A file that cannot be read, a key that does not exist, a value out of range.
    pub fn read(file: Option<&Path>, set: &[String]) -> Result<Self, Error> {
        let mut table = toml::Table::try_from(Self::default()).map_err(|error| Error::Usage(error.to_string()))?;
        if let Some(file) = file {
            let unreadable = |error| Error::Usage(format!("cannot read the recipe {}: {error}", file.display()));
            let text = std::fs::read_to_string(file).map_err(unreadable)?;
            document::overlay(&mut table, document::parse::<Self>(&text, &file.display().to_string())?);
        }
        for assignment in set {
            document::set(&mut table, assignment)?;
        }
        let recipe: Self = document::build(table, "recipe")?;
        recipe.check()?;
        Ok(recipe)
    }

    /// From the text a run keeps, called `name` in messages.
    ///
    /// # Errors
    /// [`Error::Recipe`].
    pub fn parse(text: &str, name: &str) -> Result<Self, Error> {
        Ok(document::build(document::parse::<Self>(text, name)?, name)?)
    }

    /// As TOML, complete: what its run keeps.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a recipe holds only strings, numbers, lists and tables")
    }

    /// How samples are read for training.
    pub(crate) fn loader(&self) -> LoaderConfig {
        let (batch, flip) = (self.train.micro_batch(), self.data.flip);
        LoaderConfig { batch, flip, seed: self.seed, ..LoaderConfig::default() }
    }

    /// Refuses values out of range.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the key.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |reason: String| Err(Error::Usage(format!("recipe `{}`: {reason}", self.name)));
        if self.name.is_empty() || self.name.contains(['/', '\\', '\0']) || self.name.starts_with('.') {
            return wrong("`name` becomes a folder: use letters, digits, `-` and `_`".into());
        }
        self.data.check()?;
        self.train.check().or_else(wrong)?;
        if self.train.sample_every > 0 || self.train.condition_dropout > 0.0 {
            return wrong("train.sample_every and train.condition_dropout are for flows; leave them at 0".into());
        }
        self.codec.kind().check().or_else(wrong)
    }
}
