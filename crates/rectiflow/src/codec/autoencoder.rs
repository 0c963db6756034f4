//! The codec of pictures: its sizes and losses, how it is trained, and pictures to latents and back.

use super::{AutoencoderTask, CodecRecipe, Coder, Kind, Learned};
use crate::{
    Context, Error,
    runs::{Stage, TrainReport},
};
use base::{Device, Shape, Tensor};
use burn::module::Module;
use data::{DataConfig, Dataset, Loader, TestPart};
use nets::{Autoencoder, AutoencoderConfig, Init, published, weights::Stored};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use train::{
    SampleSource,
    checkpoint::{Checkpoint, Which, load_weights},
};

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
    /// A 1x1 convolution on either side of the latents, as released ones have.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub quant: bool,
    /// A folder of diffusers' `AutoencoderKL` whose weights training begins with; the sizes above must be its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<PathBuf>,
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
            quant: false,
            start: None,
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
            use_quant_conv: self.quant,
            use_post_quant_conv: self.quant,
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

    /// Refuses, before anything is written, a `start` that is not of these sizes for samples of `shape`.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the keys.
    pub(crate) fn check_start(&self, shape: Shape) -> Result<(), Error> {
        self.start.as_ref().map_or(Ok(()), |folder| check_sizes(&self.published(shape.image()?[0]), folder))
    }

    /// The network that training begins with: weights drawn from `seed`, or those of `start`.
    ///
    /// # Errors
    /// Those of [`KlConfig::network`]; a folder that is none, or whose sizes are others.
    pub(crate) fn first(&self, shape: Shape, seed: u64, device: &Device) -> Result<Autoencoder, Error> {
        let Some(folder) = &self.start else { return self.network(shape, Some(seed), device) };
        self.latent(shape)?;
        let config = self.published(shape.image()?[0]);
        check_sizes(&config, folder)?;
        let source = Stored::open(&folder.join("diffusion_pytorch_model.safetensors"))?;
        Ok(config.load(&source, device)?)
    }
}

/// Refuses a released autoencoder in `folder` of other sizes than `ours`, each by its key.
fn check_sizes(ours: &AutoencoderConfig, folder: &Path) -> Result<(), Error> {
    let file = folder.join("config.json");
    let wrong = |what: String| Error::Usage(format!("codec.start {}: {what}", file.display()));
    let text = std::fs::read(&file).map_err(|error| {
        wrong(format!(
            "{error}; give the folder of an AutoencoderKL, with config.json and diffusion_pytorch_model.safetensors"
        ))
    })?;
    let (theirs, _) = published::read::<AutoencoderConfig>(&text).map_err(|error| wrong(error.to_string()))?;
    let say = |config: &AutoencoderConfig| {
        let quant = config.use_quant_conv && config.use_post_quant_conv;
        [
            ("channels", format!("{:?}", config.block_out_channels)),
            ("blocks", config.layers_per_block.to_string()),
            ("groups", config.norm_num_groups.to_string()),
            ("attention", config.mid_block_add_attention.to_string()),
            ("latent_channels", config.latent_channels.to_string()),
            ("quant", quant.to_string()),
            ("(channels of a sample)", format!("{} to {}", config.in_channels, config.out_channels)),
        ]
    };
    let other: Vec<String> = say(&theirs)
        .into_iter()
        .zip(say(ours))
        .filter(|(a, b)| a != b)
        .map(|((key, value), _)| format!("{key} = {value}"))
        .collect();
    match other.is_empty() {
        true => Ok(()),
        false => Err(wrong(format!("its network has other sizes: set {}", other.join(", ")))),
    }
}

impl Kind for KlConfig {
    fn check(&self) -> Result<(), String> {
        for (key, value) in [("codec.kl", self.kl), ("codec.perceptual", self.perceptual)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(format!("{key} = {value}; give a number from 0"));
            }
        }
        Ok(())
    }

    fn latent(&self, sample: Shape) -> Result<Shape, Error> {
        self.latent(sample)
    }

    fn open(&self, data: &DataConfig, _: &mut Context) -> Result<Arc<dyn Dataset>, Error> {
        Ok(data::open(data)?)
    }

    fn open_test(&self, data: &DataConfig, _: &mut Context) -> Result<Option<TestPart>, Error> {
        Ok(data::open_test(data)?)
    }

    fn rehearse(&self, recipe: &CodecRecipe) -> Result<(), Error> {
        let dataset = data::open(&recipe.data)?;
        self.network(dataset.shape(), None, &Device::flex())?;
        self.check_start(dataset.shape())?;
        Loader::new(dataset, &recipe.loader(), 0)?;
        Ok(())
    }

    fn train(
        &self,
        stage: Stage<'_>,
        sample: Shape,
        source: &mut SampleSource,
        context: &mut Context,
    ) -> Result<TrainReport, Error> {
        let perceptual = match self.perceptual {
            0.0 => None,
            _ => Some(crate::perceptual::lpips(sample, &context.device)?),
        };
        let task = Learned(AutoencoderTask { config: self.clone(), perceptual, seed: stage.seed });
        let net = self.first(sample, stage.seed, &context.device.device)?;
        stage.run(net, &task, source, context)
    }

    fn load(&self, sample: Shape, checkpoint: &Checkpoint, device: &Device) -> Result<Box<dyn Coder>, Error> {
        // Frozen: who differentiates through it wants no gradient of its weights.
        self.around(load_weights(self.network(sample, None, device)?, checkpoint, Which::Best)?, sample)
    }
}

impl KlConfig {
    /// A network of these sizes that has its weights.
    pub(super) fn around(&self, net: Autoencoder, sample: Shape) -> Result<Box<dyn Coder>, Error> {
        let picture = sample.image()?;
        let bytes = self.published(picture[0]).tape_bytes([picture[1], picture[2]]);
        Ok(Box::new(Pictures { net: net.no_grad(), sample, picture, latent: self.latent(sample)?.image()?, bytes }))
    }
}

/// A trained autoencoder and the shapes on both its sides.
struct Pictures {
    net: Autoencoder,
    sample: Shape,
    picture: [usize; 3],
    latent: [usize; 3],
    /// What decoding one leaves on a tape.
    bytes: u64,
}

impl Coder for Pictures {
    fn encode(&self, rows: Tensor<2>) -> Result<Tensor<2>, Error> {
        let (b, [c, h, w]) = (rows.dims()[0], self.picture);
        // Of a released network: shifted and scaled as flows see it.
        let mean = self.net.encode(rows.reshape([b, c, h, w])).mean;
        Ok(self.net.scaled(mean).reshape([b, self.latent.iter().product()]))
    }

    fn decode(&self, latents: Tensor<2>) -> Tensor<2> {
        let (b, [c, h, w]) = (latents.dims()[0], self.latent);
        self.net.decode(latents.reshape([b, c, h, w])).reshape([b, self.sample.numel()])
    }

    fn drawn(&self) -> Shape {
        self.sample
    }

    fn tape_bytes(&self) -> u64 {
        self.bytes
    }
}
