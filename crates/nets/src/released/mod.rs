//! The network of a released model in this project's frame: a [`Network`] like any other, so that it can be trained, adapted and taught
//! from.
//!
//! Stable Diffusion 3 (Esser et al., 2024, arXiv 2403.03206) and FLUX.1 count the noise and point away from the data; InstaFlow (Liu et
//! al., 2023, arXiv 2309.06380) counts the noise and points to the data; Stable Diffusion (Rombach et al., 2022, arXiv 2112.10752) counts
//! training steps and says what its own parameterization calls it. Wan (Wan Team, 2025, arXiv 2503.20314) counts the noise and points away
//! from the data; Z-Image (Z-Image Team, 2025, arXiv 2511.22699) counts and points like this project, Qwen-Image (Wu
//! et al., 2025, arXiv 2508.02324) and FLUX.2 like FLUX. Here their times and signs end, for training and drawing alike.

mod config;
mod cost;

pub use config::{ReleasedConfig, Sizes};

use crate::{Flux, Flux2, Mmdit, TextUnet, Wan, ZImage};
use base::{Bool, Condition, Network, Pass, Tensor};
use burn::module::Module;

/// The network of [`ReleasedConfig`].
#[derive(Module, Debug)]
pub struct Released {
    kind: Kind,
    /// Training steps that a diffusion counts.
    #[module(skip)]
    steps: Option<usize>,
    /// What it is told in place of guidance where its condition does not say.
    guidance: f64,
    /// Of clips: frames of a latent, which stand one below another.
    frames: usize,
}

/// The networks under their authors' names.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // one per program
enum Kind {
    Mmdit(Mmdit),
    Flux(Flux),
    Unet(TextUnet),
    Wan(Wan),
    ZImage(ZImage),
    QwenImage(Flux),
    Flux2(Flux2),
}

impl Released {
    /// Stable Diffusion 3.
    pub fn mmdit(net: Mmdit) -> Self {
        Self { kind: Kind::Mmdit(net), steps: None, guidance: 1.0, frames: 1 }
    }

    /// FLUX, told the guidance scale that its training distilled, where it has an ear for it.
    pub fn flux(net: Flux, guidance: f64) -> Self {
        Self { kind: Kind::Flux(net), steps: None, guidance, frames: 1 }
    }

    /// Stable Diffusion's U-Net: a diffusion of so many training steps, or InstaFlow's flow; told a guidance scale, where it has an ear for it.
    pub fn unet(net: TextUnet, steps: Option<usize>, guidance: f64) -> Self {
        Self { kind: Kind::Unet(net), steps, guidance, frames: 1 }
    }

    /// Wan, for latents of so many frames, `[c f h w]` as `[c f*h w]`.
    pub fn wan(net: Wan, frames: usize) -> Self {
        Self { kind: Kind::Wan(net), steps: None, guidance: 1.0, frames }
    }

    /// Z-Image.
    pub fn z_image(net: ZImage) -> Self {
        Self { kind: Kind::ZImage(net), steps: None, guidance: 1.0, frames: 1 }
    }

    /// Qwen-Image.
    pub fn qwen_image(net: Flux) -> Self {
        Self { kind: Kind::QwenImage(net), steps: None, guidance: 1.0, frames: 1 }
    }

    /// FLUX.2.
    pub fn flux2(net: Flux2) -> Self {
        Self { kind: Kind::Flux2(net), steps: None, guidance: 1.0, frames: 1 }
    }

    /// What the network says at latents `[b c h w]`: a velocity towards the data, or a diffusion's own output. `noise(s, o)` are the noise
    /// fractions `1 - t` of its rows times `s` plus `o`, not below zero, `[b]`; whoever knows the times in f64 rounds them there. Nothing
    /// said is zeros. Blocks in `skip` are passed over (Stable Diffusion 3).
    pub fn ask(
        &self,
        x: Tensor<4>,
        noise: impl Fn(f64, f64) -> Tensor<1>,
        condition: &Condition,
        skip: &[usize],
        pass: &Pass,
    ) -> Tensor<4> {
        let (b, device) = (x.dims()[0], x.device());
        let real = condition.tokens.as_ref();
        let (vector, tokens) = (condition.vector.clone(), condition.tokens.clone().map(|tokens| tokens.embedding));
        let vector = |width: usize| vector.unwrap_or_else(|| Tensor::zeros([b, width], &device));
        let tokens = |width: usize| tokens.unwrap_or_else(|| Tensor::zeros([b, 1, width], &device));
        let told = || condition.guidance.clone().unwrap_or_else(|| Tensor::full([b], self.guidance, &device));
        match &self.kind {
            Kind::Mmdit(net) => {
                let vector = vector(net.time_text_embed.pooled());
                net.pass(x, noise(1000.0, 0.0), vector, tokens(width_of(&net.context_embedder)), skip, pass).neg()
            }
            Kind::Flux(net) => {
                let vector = vector(net.time_text_embed.pooled());
                let guidance = net.guided().then(told);
                net.pass(x, noise(1.0, 0.0), guidance, vector, (tokens(width_of(&net.context_embedder)), None), pass)
                    .neg()
            }
            Kind::Unet(net) => {
                let tokens = tokens(net.text_width());
                // Training steps are counted from 0 next to the data; there is none nearer.
                let time = match self.steps {
                    None => noise(1000.0, 0.0),
                    Some(steps) => noise(steps as f64, -1.0),
                };
                net.pass(x, (time, net.guided().then(told)), tokens, pass)
            }
            Kind::QwenImage(net) => {
                let tokens = tokens(width_of(&net.context_embedder));
                let heard = real.map(|tokens| tokens.mask.clone());
                // Where all are real nobody need be asked who is.
                let heard = heard.filter(|mask| lengths(mask).iter().any(|length| *length != tokens.dims()[1]));
                net.pass(x, noise(1.0, 0.0), None, vector(1), (tokens, heard), pass).neg() // no vector is read
            }
            Kind::Flux2(net) => {
                net.forward(x, noise(1.0, 0.0), tokens(width_of(&net.context_embedder)), pass.taps()).neg()
            }
            Kind::ZImage(net) => {
                let real = real.map_or_else(|| vec![0; b], |tokens| lengths(&tokens.mask));
                // It counts like this project.
                net.forward(x, noise(-1.0, 1.0), tokens(width_of(&net.cap_embedder)), &real, pass.taps())
            }
            Kind::Wan(net) => {
                let ([b, c, h, w], f) = (x.dims(), self.frames);
                let tokens = tokens(width_of(&net.condition_embedder.text_embedder.linear_1));
                net.forward(x.reshape([b, c, f, h / f, w]), noise(1000.0, 0.0), tokens).neg().reshape([b, c, h, w])
            }
        }
    }

    /// How many attention layers it shows to [`base::Taps`].
    pub fn attentions(&self) -> usize {
        match &self.kind {
            Kind::Mmdit(net) => net.transformer_blocks.len(),
            Kind::Flux(net) => net.transformer_blocks.len() + net.single_transformer_blocks.len(),
            Kind::Unet(net) => net.attentions(),
            Kind::QwenImage(net) => net.transformer_blocks.len(),
            Kind::Flux2(net) => net.transformer_blocks.len() + net.single_transformer_blocks.len(),
            Kind::ZImage(net) => net.layers.len(),
            Kind::Wan(_) => 0, // nobody looks at them yet
        }
    }
}

impl Network<4> for Released {
    fn predict(&self, x: Tensor<4>, t: Tensor<1>, condition: &Condition, pass: &Pass) -> Tensor<4> {
        let noise = |scale: f64, offset: f64| ((t.clone().neg() + 1.0) * scale + offset).clamp_min(0.0);
        self.ask(x, noise, condition, &[], pass)
    }
}

/// A tensor's name in diffusers under ours.
pub fn our_name(theirs: &str) -> String {
    crate::names::ours(theirs)
}

/// How many tokens of each row are real.
fn lengths(mask: &Tensor<2, Bool>) -> Vec<usize> {
    let counted: Tensor<1> = mask.clone().float().sum_dim(1).squeeze_dim(1);
    let counted: Vec<f32> = counted.into_data().try_to_vec().unwrap_or_default();
    counted.into_iter().map(|count| count as usize).collect()
}

/// Features that a layer reads.
fn width_of(linear: &crate::layers::Linear) -> usize {
    linear.weight.lazy_shape()[1]
}
