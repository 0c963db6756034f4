//! Which released network, in what sizes: its authors' own configuration under one tag, so that a run's recipe says all of it.

use super::Released;
use crate::published::Published;
use crate::weights::TensorSource;
use crate::{ConditionConfig, Cost, FluxConfig, Init, MmditConfig, NetsError, TextUnetConfig, flux, mmdit, text_unet};
use base::{Device, Paper, paper::SD3};
use burn::module::Module;
use serde::{Deserialize, Serialize};

/// Configuration of a [`Released`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleasedConfig {
    /// FLUX-dev and U-Nets that are told one: the guidance scale where nobody says, in training and drawing.
    #[serde(default = "one")]
    pub guidance: f64,
    /// Training steps that a diffusion counts; none for a flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Widths of what it reads: of a text token, and of the pooled text.
    #[serde(default)]
    pub condition: ConditionConfig,
    /// The network under the names of its authors.
    pub sizes: Sizes,
}

fn one() -> f64 {
    1.0
}

/// The authors' configurations, told apart by what their library calls the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "class")]
pub enum Sizes {
    /// Stable Diffusion 3.
    #[serde(rename = "SD3Transformer2DModel")]
    Mmdit(MmditConfig),
    /// FLUX.1.
    #[serde(rename = "FluxTransformer2DModel")]
    Flux(FluxConfig),
    /// Stable Diffusion 1 and 2, InstaFlow.
    #[serde(rename = "UNet2DConditionModel")]
    Unet(Box<TextUnetConfig>),
}

impl Sizes {
    /// Widths of what it reads.
    fn condition(&self) -> ConditionConfig {
        let (tokens, vector) = match self {
            Self::Mmdit(config) => (config.joint_attention_dim, config.pooled_projection_dim),
            Self::Flux(config) => (config.joint_attention_dim, config.pooled_projection_dim),
            Self::Unet(config) => (config.cross_attention_dim, 0),
        };
        ConditionConfig { tokens, vector, ..ConditionConfig::default() }
    }

    /// Channels of its latents.
    fn channels(&self) -> usize {
        match self {
            Self::Mmdit(config) => config.in_channels,
            Self::Flux(config) => config.in_channels / 4,
            Self::Unet(config) => config.in_channels,
        }
    }
}

impl ReleasedConfig {
    /// Of a network in these sizes, which counts `steps` training steps where it is a diffusion.
    pub fn new(mut sizes: Sizes, steps: Option<usize>) -> Self {
        if let Sizes::Unet(config) = &mut sizes {
            // How its library writes "not this part"; a recipe leaves it out.
            config.others.retain(|_, value| !value.is_null());
        }
        Self { guidance: 1.0, steps, condition: sizes.condition(), sizes }
    }

    /// Blocks that can run again for the gradient, an estimate for U-Nets, whose blocks differ.
    pub fn blocks(&self) -> usize {
        match &self.sizes {
            Sizes::Mmdit(config) => config.num_layers,
            Sizes::Flux(config) => config.num_layers + config.num_single_layers,
            Sizes::Unet(config) => config.block_out_channels.len(),
        }
    }

    /// Ranges, and widths that are not those of the network.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> Result<(), NetsError> {
        match &self.sizes {
            Sizes::Mmdit(config) => config.check(),
            Sizes::Flux(config) => config.check(),
            Sizes::Unet(config) => config.check(),
        }?;
        if self.condition != self.sizes.condition() {
            let ConditionConfig { tokens, vector, .. } = self.sizes.condition();
            return Err(NetsError::config(format!(
                "network.condition is not what this released network reads: tokens = {tokens}, vector = {vector} and nothing else"
            )));
        }
        if !(self.guidance.is_finite() && self.guidance >= 0.0) {
            return Err(NetsError::config(format!("network.guidance is {}; use a number from 0 up", self.guidance)));
        }
        Ok(())
    }

    /// The papers it is from.
    pub(crate) fn papers(&self) -> Vec<Paper> {
        match &self.sizes {
            Sizes::Mmdit(_) => vec![SD3],
            Sizes::Flux(_) => vec![SD3, flux::FLUX],
            Sizes::Unet(_) => Vec::new(),
        }
    }

    /// Refuses latents that it does not read.
    fn check_shape(&self, [c, h, w]: [usize; 3]) -> Result<(), NetsError> {
        let channels = self.sizes.channels();
        if c != channels {
            return Err(NetsError::config(format!(
                "samples of {c} channels do not fit this released network, which reads latents of {channels}: set `task.codec` to its \
                 own autoencoder (`--from MODEL` does)"
            )));
        }
        match &self.sizes {
            Sizes::Mmdit(config) => config.check_size(h, w),
            Sizes::Flux(config) => config.check_size(h, w),
            Sizes::Unet(_) => Ok(()),
        }
    }

    pub(crate) fn build(&self, init: &Init, shape: [usize; 3]) -> Result<Released, NetsError> {
        self.check()?;
        self.check_shape(shape)?;
        Ok(match &self.sizes {
            Sizes::Mmdit(config) => Released::mmdit(mmdit::Mmdit::new(config, init)),
            Sizes::Flux(config) => Released::flux(flux::Flux::new(config, init), self.guidance),
            Sizes::Unet(config) => Released::unet(text_unet::TextUnet::new(config, init), self.steps, self.guidance),
        })
    }

    /// The network with the weights of `source`, under diffusers' names, for latents `[c h w]`.
    ///
    /// # Errors
    /// Latents that it does not read; tensors that are missing, unexpected or of another shape, each by name.
    pub fn load<S: TensorSource + ?Sized>(
        &self,
        source: &S,
        shape: [usize; 3],
        device: &Device,
    ) -> Result<Released, NetsError> {
        self.check()?;
        self.check_shape(shape)?;
        Ok(match &self.sizes {
            Sizes::Mmdit(config) => Released::mmdit(config.load(source, device)?),
            Sizes::Flux(config) => Released::flux(config.load(source, device)?, self.guidance),
            Sizes::Unet(config) => Released::unet(config.load(source, device)?, self.steps, self.guidance),
        })
    }

    /// Cost for latents `[c h w]`, with as many text tokens as its authors' pipelines give it by habit.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn cost(&self, shape: [usize; 3]) -> Result<Cost, NetsError> {
        let declared = self.build(&Init::declared(&Device::flex()), shape)?;
        let counted = super::cost::passes(&self.sizes, shape);
        let adapted = crate::lora::numbers(&declared, &[]);
        Ok(Cost { parameters: declared.num_params(), adapted, ..counted })
    }
}
