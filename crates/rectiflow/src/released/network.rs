//! The network of a released model: what its configuration says before its weights are read, and the flow they make.

use super::{
    Family, Flow, Folder,
    folder::{config, weights},
};
use crate::Error;
use base::Device;
use nets::{FluxConfig, MmditConfig, NetsError};
use std::path::PathBuf;

/// A released network, not opened yet.
#[derive(Clone, Debug)]
pub struct Network {
    folder: PathBuf,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Mmdit(MmditConfig),
    Flux(FluxConfig),
}

impl Network {
    /// Reads the network's configuration.
    ///
    /// # Errors
    /// A part that is missing, of another class, or asks for what is not built here.
    pub fn of(folder: &Folder, family: Family, note: &mut dyn FnMut(String)) -> Result<Self, Error> {
        let class = match family {
            Family::Sd3 => "SD3Transformer2DModel",
            Family::Flux => "FluxTransformer2DModel",
        };
        let folder = folder.part("transformer", &[class])?;
        let kind = match family {
            Family::Sd3 => Kind::Mmdit(config(&folder, note)?),
            Family::Flux => Kind::Flux(config(&folder, note)?),
        };
        Ok(Self { folder, kind })
    }

    /// Whether it is told a guidance scale.
    pub fn told(&self) -> bool {
        matches!(&self.kind, Kind::Flux(config) if config.guidance_embeds)
    }

    /// Blocks that skip-layer guidance can pass over.
    pub fn blocks(&self) -> usize {
        match &self.kind {
            Kind::Mmdit(config) => config.num_layers,
            Kind::Flux(config) => config.num_layers,
        }
    }

    /// Channels of its latents.
    pub fn channels(&self) -> usize {
        match &self.kind {
            Kind::Mmdit(config) => config.in_channels,
            Kind::Flux(config) => config.in_channels / 4,
        }
    }

    /// Features of a text token.
    pub fn text_width(&self) -> usize {
        match &self.kind {
            Kind::Mmdit(config) => config.joint_attention_dim,
            Kind::Flux(config) => config.joint_attention_dim,
        }
    }

    /// Side of the latents it draws when it is not told a size.
    pub fn side(&self) -> usize {
        match &self.kind {
            Kind::Mmdit(config) => config.sample_size,
            Kind::Flux(_) => 128,
        }
    }

    /// Side of the square of latent pixels that is one token.
    pub fn patch(&self) -> usize {
        match &self.kind {
            Kind::Mmdit(config) => config.patch_size,
            Kind::Flux(_) => 2,
        }
    }

    /// Whether latents of this size can be drawn.
    ///
    /// # Errors
    /// With the sizes that can.
    pub fn check_size(&self, height: usize, width: usize) -> Result<(), NetsError> {
        match &self.kind {
            Kind::Mmdit(config) => config.check_size(height, width),
            Kind::Flux(config) => config.check_size(height, width),
        }
    }

    /// The flow, its weights mapped; `told` is the guidance scale that a network with an ear for it is told.
    ///
    /// # Errors
    /// Weights that cannot be read or do not fit, by name.
    pub fn open(&self, told: f64, device: &Device) -> Result<Flow, Error> {
        weights(&self.folder, "diffusion_pytorch_model", |stored| {
            Ok(match &self.kind {
                Kind::Mmdit(config) => Flow::mmdit(config.load(stored, device)?),
                Kind::Flux(config) => Flow::flux(config.load(stored, device)?, told),
            })
        })
    }
}
