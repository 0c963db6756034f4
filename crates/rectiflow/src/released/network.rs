//! The network of a released model: what its configuration says before its weights are read, and the flow they make.

use super::{Diffusion, Flow, Release, part::Part};
use crate::{
    Error,
    release::{Family, flow_solver, multistep, sizes, wan_scheduler},
    steerable::Layers,
};
use base::Device;
use flow::Solver;
use nets::{
    Flux2Config, FluxConfig, MmditConfig, NetsError, QwenImageConfig, TextUnetConfig, WanConfig, ZImageConfig,
    released::Sizes,
    weights::{Corrected, Corrections},
};

/// A released network, not opened yet.
#[derive(Clone, Debug)]
pub struct Network {
    part: Part,
    kind: Kind,
    /// Frames of a latent, and whether it is told whole training steps.
    frames: (usize, bool),
    /// What a flow of pictures is drawn with where nobody says.
    usual: Solver,
}

#[derive(Clone, Debug)]
enum Kind {
    Mmdit(MmditConfig),
    Flux(FluxConfig),
    Unet(Box<TextUnetConfig>, Option<Diffusion>),
    Wan(Box<WanConfig>, Solver),
    ZImage(Box<ZImageConfig>),
    QwenImage(Box<QwenImageConfig>),
    Flux2(Box<Flux2Config>),
}

impl Network {
    /// Reads the network's configuration.
    ///
    /// # Errors
    /// A part that is missing, of another class, or asks for what is not built here.
    pub fn of(model: &Release, note: &mut dyn FnMut(String)) -> Result<Self, Error> {
        let (frames, usual) = ((1, false), flow_solver(model));
        if model.family() == Family::Wan {
            let part = model.part("transformer", &["WanTransformer3DModel"])?;
            let kind = Kind::Wan(Box::new(part.config(note)?), wan_scheduler(model)?.0);
            return Ok(Self { part, kind, frames, usual });
        }
        if model.family() == Family::ZImage {
            let part = model.part("transformer", &["ZImageTransformer2DModel"])?;
            let kind = Kind::ZImage(Box::new(part.config(note)?));
            return Ok(Self { part, kind, frames, usual });
        }
        if model.family() == Family::QwenImage {
            let part = model.part("transformer", &["QwenImageTransformer2DModel"])?;
            let kind = Kind::QwenImage(Box::new(part.config(note)?));
            return Ok(Self { part, kind, frames, usual });
        }
        if matches!(model.family(), Family::Flux2 { .. }) {
            let part = model.part("transformer", &["Flux2Transformer2DModel"])?;
            let kind = Kind::Flux2(Box::new(part.config(note)?));
            return Ok(Self { part, kind, frames, usual });
        }
        let (part, sizes, diffusion) = sizes(model, note)?;
        let kind = match sizes {
            Sizes::Mmdit(config) => Kind::Mmdit(config),
            Sizes::Flux(config) => Kind::Flux(config),
            Sizes::Unet(config) => Kind::Unet(config, diffusion),
        };
        Ok(Self { part, kind, frames, usual })
    }

    /// The same for what `solver` draws: latents of so many frames, where they are clips' (`None` for pictures), told whole training steps where
    /// the family's scheduler does so.
    pub fn drawing(self, frames: Option<usize>, family: Family, solver: &Solver) -> Self {
        Self { frames: (frames.unwrap_or(1), multistep(family, solver)), ..self }
    }

    /// Pixels of a picture that its authors draw by habit, `factor` to one of the latent.
    pub(super) fn usual(&self, factor: usize) -> [usize; 2] {
        match &self.kind {
            Kind::Wan(..) => [480, 832],
            _ => [self.side() * factor; 2],
        }
    }

    /// Features inside its perceptrons, where they are not four to one outside.
    pub(super) fn hidden(&self) -> usize {
        match &self.kind {
            Kind::Wan(config, _) => config.ffn_dim,
            Kind::ZImage(config) => config.hidden(),
            Kind::Flux2(config) => config.hidden(),
            _ => 4 * self.width(),
        }
    }

    /// Whether it is told a guidance scale.
    pub fn told(&self) -> bool {
        match &self.kind {
            Kind::Flux(config) => config.guidance_embeds,
            Kind::Unet(config, _) => config.time_cond_proj_dim.is_some(),
            _ => false,
        }
    }

    /// Blocks that skip-layer guidance can pass over.
    pub fn blocks(&self) -> usize {
        match &self.kind {
            Kind::Mmdit(config) => config.num_layers,
            Kind::Flux(config) => config.num_layers,
            Kind::Unet(..) | Kind::Wan(..) | Kind::ZImage(_) | Kind::QwenImage(_) | Kind::Flux2(_) => 0,
        }
    }

    /// Features of a token, or channels of the finest level.
    pub fn width(&self) -> usize {
        match &self.kind {
            Kind::Mmdit(config) => config.width(),
            Kind::Flux(config) => config.width(),
            Kind::Unet(config, _) => config.block_out_channels.first().copied().unwrap_or(0),
            Kind::Wan(config, _) => config.width(),
            Kind::ZImage(config) => config.dim,
            Kind::QwenImage(config) => config.width(),
            Kind::Flux2(config) => config.width(),
        }
    }

    /// Channels of its latents.
    pub fn channels(&self) -> usize {
        match &self.kind {
            Kind::Mmdit(config) => config.in_channels,
            Kind::Flux(config) => config.in_channels / 4,
            Kind::Unet(config, _) => config.in_channels,
            Kind::Wan(config, _) => config.in_channels,
            Kind::ZImage(config) => config.in_channels,
            Kind::QwenImage(config) => config.in_channels / 4,
            Kind::Flux2(config) => config.in_channels,
        }
    }

    /// Features of a text token.
    pub fn text_width(&self) -> usize {
        match &self.kind {
            Kind::Mmdit(config) => config.joint_attention_dim,
            Kind::Flux(config) => config.joint_attention_dim,
            Kind::Unet(config, _) => config.cross_attention_dim,
            Kind::Wan(config, _) => config.text_dim,
            Kind::ZImage(config) => config.cap_feat_dim,
            Kind::QwenImage(config) => config.joint_attention_dim,
            Kind::Flux2(config) => config.joint_attention_dim,
        }
    }

    /// Side of the latents it draws when it is not told a size.
    pub fn side(&self) -> usize {
        match &self.kind {
            Kind::Mmdit(config) => config.sample_size,
            Kind::Flux(_) | Kind::ZImage(_) | Kind::QwenImage(_) => 128,
            Kind::Flux2(_) => 64,
            Kind::Unet(config, _) => config.sample_size,
            Kind::Wan(..) => 0, // see `usual`
        }
    }

    /// Side of the square of latent pixels that is one token.
    pub fn patch(&self) -> usize {
        match &self.kind {
            Kind::Mmdit(config) => config.patch_size,
            Kind::Flux(_) | Kind::ZImage(_) | Kind::QwenImage(_) => 2,
            Kind::Unet(..) | Kind::Flux2(_) => 1,
            Kind::Wan(config, _) => config.patch_size[1],
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
            Kind::Unet(..) | Kind::Flux2(_) => Ok(()), // any
            Kind::Wan(config, _) => config.check_size([self.frames.0, height, width]),
            Kind::ZImage(config) => config.check_size(height, width),
            Kind::QwenImage(config) => config.check_size(height, width),
        }
    }

    /// Its attention layers and those that share what they know where nobody says: of FLUX the single blocks after the twentieth of
    /// thirty-eight, as RF-Edit's program has them (arXiv 2411.04746), else the second half.
    pub(crate) fn layers(&self) -> Layers {
        let named = |kind: &str, count: usize| (0..count).map(|i| format!("{kind}.{i}")).collect::<Vec<_>>();
        let streams = |double: usize, single: usize| {
            let first = (single / 2 + 1).min(single.saturating_sub(1));
            let names = [named("double", double), named("single", single)].concat();
            Layers { names, usual: double + first..double + single }
        };
        match &self.kind {
            Kind::Mmdit(config) => {
                let count = config.num_layers;
                Layers { names: named("joint", count), usual: count / 2..count }
            }
            Kind::Flux(config) => streams(config.num_layers, config.num_single_layers),
            Kind::Flux2(config) => streams(config.num_layers, config.num_single_layers),
            Kind::Unet(config, _) => {
                let count = config.attended([1, 1]).len();
                Layers { names: named("self", count), usual: count / 2..count }
            }
            Kind::ZImage(config) => {
                let count = config.n_layers;
                Layers { names: named("layer", count), usual: count / 2..count }
            }
            Kind::Wan(..) | Kind::QwenImage(_) => Layers { names: Vec::new(), usual: 0..0 },
        }
    }

    /// Numbers in the values of the layers that share by habit, of a latent of `[h w]` pixels beside `text` tokens.
    pub(crate) fn shared(&self, [h, w]: [usize; 2], text: usize) -> usize {
        let usual = self.layers().usual;
        let tokens = h * w / (self.patch() * self.patch());
        match &self.kind {
            // What the joint attention shows are the image's.
            Kind::Mmdit(config) => usual.len() * tokens * config.width(),
            Kind::Flux(config) => usual.len() * (tokens + text) * config.width(),
            Kind::Flux2(config) => usual.len() * (tokens + text) * config.width(),
            Kind::ZImage(config) => usual.len() * tokens.next_multiple_of(32) * config.dim,
            Kind::Unet(config, _) => config.attended([h, w])[usual].iter().sum(),
            Kind::Wan(..) | Kind::QwenImage(_) => 0,
        }
    }

    /// The path that its flow moves along.
    pub(crate) fn path(&self) -> flow::Path {
        match &self.kind {
            Kind::Unet(_, Some(diffusion)) => flow::Path::Ddpm(diffusion.path.clone()),
            _ => flow::Path::Linear {},
        }
    }

    /// What it is drawn with where nobody says.
    pub fn solver(&self) -> Solver {
        match &self.kind {
            Kind::Unet(_, Some(diffusion)) => diffusion.solver.clone(),
            Kind::Wan(_, solver) => solver.clone(),
            _ => self.usual.clone(),
        }
    }

    /// Refuses corrections that were made for another model, before any work.
    ///
    /// # Errors
    /// With the file and the layer.
    pub fn check_corrections(&self, corrections: &[Corrections]) -> Result<(), Error> {
        self.part.weights("diffusion_pytorch_model", |stored| Corrected::new(stored, corrections).map(drop))
    }

    /// The flow, its weights mapped but for those that `corrections` change; `told` is the guidance scale that a network with an
    /// ear for it is told. What of the corrections has a place and what has none is told to `note`.
    ///
    /// # Errors
    /// Weights that cannot be read or do not fit, by name; corrections made for another model.
    pub fn open(
        &self,
        told: f64,
        corrections: &[Corrections],
        device: &Device,
        note: &mut dyn FnMut(String),
    ) -> Result<Flow, Error> {
        self.part.weights("diffusion_pytorch_model", |stored| {
            let corrected = Corrected::new(stored, corrections)?;
            corrected.lines().into_iter().for_each(note);
            Ok(match &self.kind {
                Kind::Mmdit(config) => Flow::mmdit(config.load(&corrected, device)?),
                Kind::Flux(config) => Flow::flux(config.load(&corrected, device)?, told),
                Kind::Unet(config, None) => Flow::instaflow(config.load(&corrected, device)?, told),
                Kind::Flux2(config) => Flow::flux2(config.load(&corrected, device)?),
                Kind::QwenImage(config) => Flow::qwen_image(config.load(&corrected, device)?),
                Kind::ZImage(config) => Flow::z_image(config.load(&corrected, device)?),
                Kind::Wan(config, _) => Flow::wan(config.load(&corrected, device)?, self.frames.0, self.frames.1),
                Kind::Unet(config, Some(diffusion)) => {
                    let net = config.load(&corrected, device)?;
                    Flow::diffusion(net, diffusion.path.clone(), diffusion.output, told)
                }
            })
        })
    }
}
