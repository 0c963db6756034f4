//! The codec of pictures: its sizes and losses, how it is trained, and pictures to latents and back.

use super::{AutoencoderTask, CodecRecipe, Coder, Kind, Learned};
use crate::{
    Context, Error,
    runs::{Stage, TrainReport},
};
use base::{Device, Shape, Tensor};
use data::{DataConfig, Dataset, Loader, TestPart};
use nets::{Autoencoder, AutoencoderConfig, Init};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use train::{
    ImageSource,
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
        Loader::new(dataset, &recipe.loader(), 0)?;
        Ok(())
    }

    fn train(
        &self,
        stage: Stage<'_>,
        sample: Shape,
        source: &mut ImageSource,
        context: &mut Context,
    ) -> Result<TrainReport, Error> {
        let perceptual = match self.perceptual {
            0.0 => None,
            _ => Some(crate::perceptual::lpips(sample, &context.device)?),
        };
        let task = Learned(AutoencoderTask { config: self.clone(), perceptual, seed: stage.seed });
        let net = self.network(sample, Some(stage.seed), &context.device.device)?;
        stage.run(net, &task, source, context)
    }

    fn load(&self, sample: Shape, checkpoint: &Checkpoint, device: &Device) -> Result<Box<dyn Coder>, Error> {
        let net = load_weights(self.network(sample, None, device)?, checkpoint, Which::Best)?;
        Ok(Box::new(Pictures { net, sample, picture: sample.image()?, latent: self.latent(sample)?.image()? }))
    }
}

/// A trained autoencoder and the shapes on both its sides.
struct Pictures {
    net: Autoencoder,
    sample: Shape,
    picture: [usize; 3],
    latent: [usize; 3],
}

impl Coder for Pictures {
    fn encode(&self, rows: Tensor<2>) -> Result<Tensor<2>, Error> {
        let (b, [c, h, w]) = (rows.dims()[0], self.picture);
        Ok(self.net.encode(rows.reshape([b, c, h, w])).mean.reshape([b, self.latent.iter().product()]))
    }

    fn decode(&self, latents: Tensor<2>) -> Tensor<2> {
        let (b, [c, h, w]) = (latents.dims()[0], self.latent);
        self.net.decode(latents.reshape([b, c, h, w])).reshape([b, self.sample.numel()])
    }

    fn drawn(&self) -> Shape {
        self.sample
    }
}
