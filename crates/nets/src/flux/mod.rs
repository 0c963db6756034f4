//! FLUX.1's transformer (Black Forest Labs, 2024): joint blocks as in MMDiT, then blocks of one stream, rotary positions.
//!
//! The network speaks its authors' language: `sigma` is the noise fraction itself, and the answer points from data to noise.
//! Tensor names are diffusers'.

mod config;
mod qwen_image;
mod single;

pub use config::FluxConfig;
pub use qwen_image::{QWEN_IMAGE, QwenImageConfig};
pub use single::{SingleAttention, SingleBlock};

use crate::init::{Init, Weights};
use crate::layers::{Linear, RmsNorm, layer_norm};
use crate::mmdit::joint::{Sizes, Told, again};
use crate::mmdit::{JointBlock, Modulation, TimeText};
use crate::rotary::rotation;
use base::{Bool, Pass, Taps, Tensor};
use burn::module::Module;

/// FLUX.
pub const FLUX: base::Paper =
    base::Paper::printed("flux2024", "{Black Forest Labs}", "FLUX", 2024, "https://github.com/black-forest-labs/flux");

/// The network of [`FluxConfig`].
#[derive(Module, Debug)]
pub struct Flux {
    /// Packed pixels to features.
    pub x_embedder: Linear,
    /// Normalises text tokens (Qwen-Image).
    pub txt_norm: Option<RmsNorm>,
    /// Text tokens to features.
    pub context_embedder: Linear,
    /// Noise fraction, guidance and pooled text.
    pub time_text_embed: TimeText,
    /// Blocks of two streams.
    pub transformer_blocks: Vec<JointBlock>,
    /// Blocks of one stream.
    pub single_transformer_blocks: Vec<SingleBlock>,
    /// Scale and shift, in this order, before the last layer.
    pub norm_out: Modulation,
    /// Features to packed pixels.
    pub proj_out: Linear,
    axes: [usize; 3],
    /// Whether places are counted from the image's middle, and those of text from its side (Qwen-Image).
    centred: bool,
}

impl Flux {
    pub(crate) fn new(config: &FluxConfig, init: &Init) -> Self {
        let d = config.width();
        let heads = config.num_attention_heads;
        let linear = |name: &str, input, output| Linear::new(&init.child(name), input, output, Weights::Xavier);
        let double = Sizes { width: d, heads, qk_norm: true, dual: false, last: false, asks: true, biased: true };
        let joint = |i: usize| JointBlock::new(&init.child("transformer_blocks").child(i), double);
        let single = |i: usize| SingleBlock::new(&init.child("single_transformer_blocks").child(i), d, heads);
        let (pooled, guided) = (config.pooled_projection_dim, config.guidance_embeds);
        Self {
            x_embedder: linear("x_embedder", config.in_channels, d),
            txt_norm: None,
            context_embedder: linear("context_embedder", config.joint_attention_dim, d),
            time_text_embed: TimeText::new(&init.child("time_text_embed"), pooled, d, guided),
            transformer_blocks: (0..config.num_layers).map(joint).collect(),
            single_transformer_blocks: (0..config.num_single_layers).map(single).collect(),
            norm_out: Modulation::new(&init.child("norm_out"), d, 2),
            proj_out: linear("proj_out", d, config.in_channels),
            axes: config.axes_dims_rope,
            centred: false,
        }
    }

    /// Whether the network is told a guidance scale.
    pub fn guided(&self) -> bool {
        self.time_text_embed.guidance_embedder.is_some()
    }

    /// Latents `[b c h w]` at noise fractions `sigma` `[b]`, the guidance scale `[b]` where the network is told one, pooled text
    /// `[b p]` and text tokens `[b m e]` to noise minus data, `[b c h w]`. `taps` are shown the image's features in every block of two
    /// streams, and then all tokens' in every block of one, text first.
    pub fn forward(
        &self,
        x: Tensor<4>,
        sigma: Tensor<1>,
        guidance: Option<Tensor<1>>,
        pooled: Tensor<2>,
        tokens: Tensor<3>,
        taps: Option<&Taps>,
    ) -> Tensor<4> {
        let pass = taps.map_or(Pass::Infer, |taps| Pass::Tapped(taps.clone()));
        self.pass(x, sigma, guidance, pooled, (tokens, None), &pass)
    }

    /// The same in any pass; a training one may have its blocks run again for the gradient, all text tokens real. Text tokens are those that
    /// `real` `[b m]` has, all without.
    pub(crate) fn pass(
        &self,
        x: Tensor<4>,
        sigma: Tensor<1>,
        guidance: Option<Tensor<1>>,
        pooled: Tensor<2>,
        (tokens, real): (Tensor<3>, Option<Tensor<2, Bool>>),
        pass: &Pass,
    ) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        let device = x.device();
        let packed = pack(x);
        let (n, m) = (packed.dims()[1], tokens.dims()[1]);
        // Multiplied before the sinusoids' frequencies, as the reference does: at 3500 rad the order is a digit of f32.
        let guidance = guidance.map(|guidance| guidance * 1000.0);
        let embedding = self.time_text_embed.told(sigma * 1000.0, guidance, pooled);
        let turn = match self.centred {
            false => rotation(places(m, [h / 2, w / 2]), self.axes, 10_000.0, &device),
            true => rotation(qwen_image::places(m, [h / 2, w / 2]), self.axes, 10_000.0, &device),
        };
        let mut image = self.x_embedder.forward(packed);
        let tokens = match &self.txt_norm {
            Some(norm) => norm.forward(tokens),
            None => tokens,
        };
        let mut text = self.context_embedder.forward(tokens);
        let shown = |number: usize| pass.taps().map(|taps| (number, taps));
        for (i, block) in self.transformer_blocks.iter().enumerate() {
            if pass.recomputes() {
                (image, text) = again(block, image, text, &embedding, pass, Some(&turn));
                continue;
            }
            let told = Told { turn: Some(&turn), mask: real.as_ref(), taps: shown(i) };
            (image, text) = block.forward(image, text, &embedding, told);
        }
        let mut both = Tensor::cat(vec![text, image], 1);
        let first = self.transformer_blocks.len();
        for (i, block) in self.single_transformer_blocks.iter().enumerate() {
            both = block.pass(both, &embedding, &turn, pass, shown(first + i));
        }
        let [scale, shift] = self.norm_out.parts(&embedding);
        let y = self.proj_out.forward(layer_norm(both.narrow(1, m, n), scale, shift));
        unpack(y, h, w)
    }
}

/// Latents `[b c h w]` as tokens `[b h/2*w/2 c*4]`: channel, row, column; column fastest.
pub fn pack(x: Tensor<4>) -> Tensor<3> {
    let [b, c, h, w] = x.dims();
    let x: Tensor<6> = x.reshape([b, c, h / 2, 2, w / 2, 2]).permute([0, 2, 4, 1, 3, 5]); // [b h/2 w/2 c 2 2]
    x.reshape([b, (h / 2) * (w / 2), c * 4])
}

/// [`pack`] undone, to latents of `h` x `w`.
pub fn unpack(x: Tensor<3>, h: usize, w: usize) -> Tensor<4> {
    let [b, _, numbers] = x.dims();
    let x: Tensor<6> = x.reshape([b, h / 2, w / 2, numbers / 4, 2, 2]).permute([0, 3, 1, 4, 2, 5]); // [b c h/2 2 w/2 2]
    x.reshape([b, numbers / 4, h, w])
}

/// Places of `text` tokens, which stand at (0, 0, 0), and of image tokens at (0, row, column).
fn places(text: usize, [rows, columns]: [usize; 2]) -> impl Iterator<Item = [f64; 3]> {
    let image = (0..rows).flat_map(move |row| (0..columns).map(move |column| [0.0, row as f64, column as f64]));
    std::iter::repeat_n([0.0; 3], text).chain(image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Device;

    #[test]
    fn tokens_hold_the_pixels_of_a_square_channel_by_channel() {
        let x = Tensor::<1, base::Int>::arange(0..2 * 2 * 4, &Device::flex()).float().reshape([1, 2, 2, 4]);
        let packed = pack(x.clone());
        let values: Vec<f32> = packed.clone().into_data().try_to_vec().unwrap();
        // Second token: columns 2 and 3 of both rows, of channel 0 and then of channel 1.
        assert_eq!(values[8..], [2.0, 3.0, 6.0, 7.0, 10.0, 11.0, 14.0, 15.0]);
        assert_eq!(unpack(packed, 2, 4).into_data(), x.into_data());
    }
}
