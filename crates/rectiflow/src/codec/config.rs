//! What a codec is made from: its kind, its data and its training.

use super::ShapeConfig;
use crate::{Context, Error, recipe::document, shapes};
use base::{Device, Shape};
use data::{DataConfig, Dataset, TestPart};
use nets::{Autoencoder, AutoencoderConfig, Init};
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

/// A codec by configuration: `type = "autoencoder" | "shape"` and that codec's keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CodecConfig {
    /// KL autoencoder over pictures `[c h w]`, spectrograms among them.
    Autoencoder(KlConfig),
    /// Vector sets of signed distances, over shapes.
    Shape(ShapeConfig),
}

impl CodecConfig {
    /// The shape of what a sample becomes.
    ///
    /// # Errors
    /// [`Error::Usage`] for samples that it does not read.
    pub fn latent(&self, sample: Shape) -> Result<Shape, Error> {
        match self {
            Self::Autoencoder(kl) => kl.latent(sample),
            Self::Shape(shape) if sample == shape.sample() => Ok(shape.latent()),
            Self::Shape(shape) => {
                Err(Error::Usage(format!("samples of shape {sample} are not rows of {} numbers", shape.sample())))
            }
        }
    }

    /// `data` as this codec reads them.
    ///
    /// # Errors
    /// Data that cannot be read, or are none for it.
    pub fn open(&self, data: &DataConfig, context: &mut Context) -> Result<Arc<dyn Dataset>, Error> {
        match self {
            Self::Autoencoder(_) => Ok(data::open(data)?),
            Self::Shape(shape) => shapes::open(data, shape.points, context),
        }
    }

    /// The part of `data` that is kept apart, as this codec reads it.
    ///
    /// # Errors
    /// Those of [`CodecConfig::open`].
    pub fn open_test(&self, data: &DataConfig, context: &mut Context) -> Result<Option<TestPart>, Error> {
        match self {
            Self::Autoencoder(_) => Ok(data::open_test(data)?),
            Self::Shape(shape) => shapes::open_test(data, shape.points, context),
        }
    }
}

impl Default for CodecConfig {
    fn default() -> Self {
        Self::Autoencoder(KlConfig::default())
    }
}

/// The KL autoencoder of latent diffusion (Rombach et al., 2022, arXiv 2112.10752, sec. 3.1 and app. G): sizes and losses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KlConfig {
    /// Channels of each level, fine to coarse; each further level halves both sides of the picture.
    pub channels: Vec<usize>,
    /// Residual blocks of a level; the decoder has one more.
    pub blocks: usize,
    /// Groups of a normalisation; must divide each of `channels`.
    pub groups: usize,
    /// Whether the coarsest level attends.
    pub attention: bool,
    /// Channels of a latent.
    pub latent_channels: usize,
    /// Weight of the divergence from the standard normal law, beside the mean absolute error: both are sums over a sample's
    /// numbers, divided by how many those are.
    pub kl: f64,
    /// Weight of LPIPS beside the mean absolute error; above 0 it needs pictures and the weights `lpips-vgg`.
    pub perceptual: f64,
}

impl Default for KlConfig {
    fn default() -> Self {
        Self {
            channels: vec![32, 64, 64],
            blocks: 1,
            groups: 8,
            attention: false,
            latent_channels: 4,
            kl: 1e-6,
            perceptual: 0.0,
        }
    }
}

impl KlConfig {
    /// The same network under the names of its published layout.
    fn published(&self, channels: usize) -> AutoencoderConfig {
        AutoencoderConfig {
            in_channels: channels,
            out_channels: channels,
            latent_channels: self.latent_channels,
            block_out_channels: self.channels.clone(),
            layers_per_block: self.blocks,
            norm_num_groups: self.groups,
            scaling_factor: 1.0,
            use_quant_conv: false,
            use_post_quant_conv: false,
            mid_block_add_attention: self.attention,
            ..AutoencoderConfig::default()
        }
    }

    /// `[c h w]` of the latent of a picture of `shape`.
    ///
    /// # Errors
    /// [`Error::Usage`] for samples that are no pictures, or whose sides cannot be halved so often.
    pub fn latent(&self, shape: Shape) -> Result<Shape, Error> {
        let [c, h, w] = shape.image()?;
        let factor = self.published(c).factor();
        if !h.is_multiple_of(factor) || !w.is_multiple_of(factor) {
            return Err(Error::Usage(format!(
                "codec: pictures of {h} x {w} cannot be halved {} times (codec.channels has {} levels); set data.size to a \
                 multiple of {factor}, or give fewer channels",
                self.channels.len() - 1,
                self.channels.len()
            )));
        }
        Ok([self.latent_channels, h / factor, w / factor].into())
    }

    /// The network for samples of `shape`, its weights drawn from `seed`, or declared only without one.
    ///
    /// # Errors
    /// Those of [`KlConfig::latent`]; sizes that cannot be built.
    pub fn network(&self, shape: Shape, seed: Option<u64>, device: &Device) -> Result<Autoencoder, Error> {
        self.latent(shape)?;
        let config = self.published(shape.image()?[0]);
        let init = seed.map_or_else(|| Init::declared(device), |seed| Init::new(seed, device));
        Ok(config.build(&init)?)
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
        let kl = match &self.codec {
            CodecConfig::Autoencoder(kl) => kl,
            CodecConfig::Shape(shape) => return shape.check().or_else(wrong),
        };
        for (key, value) in [("codec.kl", kl.kl), ("codec.perceptual", kl.perceptual)] {
            if !(value.is_finite() && value >= 0.0) {
                return wrong(format!("{key} = {value}; give a number from 0"));
            }
        }
        Ok(())
    }
}
