//! FLUX.2's transformer (Black Forest Labs, 2025): FLUX's double and single stream without biases, one modulation for all blocks of a kind,
//! rotary positions along four axes, no pooled text.
//!
//! The network speaks its authors' language: `sigma` is the noise fraction, and the answer points from data to noise. A pixel of its latent
//! is a token: its autoencoder lays squares of pixels side by side in channels. Tensor names are diffusers', fused ones cut.

mod block;
mod config;

pub use block::{Flux2Double, Flux2Single, ParallelAttention};
pub use config::Flux2Config;

use crate::condition::{TIME_FEATURES, TimeEmbedding};
use crate::init::{Init, Weights};
use crate::layers::{Linear, layer_norm};
use crate::mmdit::Modulation;
use crate::mmdit::joint::Told;
use crate::rotary::rotation;
use base::{Taps, Tensor};
use burn::module::Module;

/// FLUX.2.
pub const FLUX2: base::Paper = base::Paper::printed(
    "flux2klein2025",
    "{Black Forest Labs}",
    "FLUX.2",
    2025,
    "https://github.com/black-forest-labs/flux2",
);

/// The network of [`Flux2Config`].
#[derive(Module, Debug)]
pub struct Flux2 {
    /// Pixels to features.
    pub x_embedder: Linear,
    /// Text tokens to features.
    pub context_embedder: Linear,
    /// Noise fraction.
    pub time_embedder: TimeEmbedding,
    /// Shifts, scales and gates of the image in every block of two streams.
    pub double_stream_modulation_img: Modulation,
    /// The same of the text.
    pub double_stream_modulation_txt: Modulation,
    /// The same of every block of one stream.
    pub single_stream_modulation: Modulation,
    /// Blocks of two streams.
    pub transformer_blocks: Vec<Flux2Double>,
    /// Blocks of one stream.
    pub single_transformer_blocks: Vec<Flux2Single>,
    /// Scale and shift, in this order, before the last layer.
    pub norm_out: Modulation,
    /// Features to pixels.
    pub proj_out: Linear,
    axes: [usize; 4],
    base: f64,
}

impl Flux2 {
    pub(crate) fn new(config: &Flux2Config, init: &Init) -> Self {
        let d = config.width();
        let sizes = [d, config.num_attention_heads, config.hidden()];
        let linear =
            |name: &str, input, output| Linear::without_bias(&init.child(name), input, output, Weights::Xavier);
        let modulation = |name: &str, parts| Modulation::without_bias(&init.child(name), d, parts);
        let double = |i: usize| Flux2Double::new(&init.child("transformer_blocks").child(i), sizes);
        let single = |i: usize| Flux2Single::new(&init.child("single_transformer_blocks").child(i), sizes);
        let how = [Weights::Normal(0.02); 2];
        Self {
            x_embedder: linear("x_embedder", config.in_channels, d),
            context_embedder: linear("context_embedder", config.joint_attention_dim, d),
            time_embedder: TimeEmbedding::new(&init.child("time_embedder"), TIME_FEATURES, d, 1.0, how).unbiased(),
            double_stream_modulation_img: modulation("double_stream_modulation_img", 6),
            double_stream_modulation_txt: modulation("double_stream_modulation_txt", 6),
            single_stream_modulation: modulation("single_stream_modulation", 3),
            transformer_blocks: (0..config.num_layers).map(double).collect(),
            single_transformer_blocks: (0..config.num_single_layers).map(single).collect(),
            norm_out: modulation("norm_out", 2),
            proj_out: linear("proj_out", d, config.in_channels),
            axes: config.axes_dims_rope,
            base: config.rope_theta,
        }
    }

    /// Latents `[b c h w]` at noise fractions `sigma` `[b]` and text tokens `[b m e]` to noise minus data, `[b c h w]`. `taps` are shown the
    /// image's features in every block of two streams, and then all tokens' in every block of one, text first.
    pub fn forward(&self, x: Tensor<4>, sigma: Tensor<1>, tokens: Tensor<3>, taps: Option<&Taps>) -> Tensor<4> {
        let ([b, c, h, w], m, device) = (x.dims(), tokens.dims()[1], x.device());
        let turn = rotation(places(m, [h, w]), self.axes, self.base, &device);
        let embedding = kernels::silu(self.time_embedder.forward(sigma * 1000.0));
        let [of_image, of_text] =
            [&self.double_stream_modulation_img, &self.double_stream_modulation_txt].map(|told| told.parts(&embedding));
        let modulated = [of_image, of_text];
        let pixels: Tensor<3> = x.reshape([b, c, h * w]).swap_dims(1, 2); // [b h*w c]
        let mut streams = [self.x_embedder.forward(pixels), self.context_embedder.forward(tokens)];
        let shown = |number: usize| taps.map(|taps| (number, taps));
        for (i, block) in self.transformer_blocks.iter().enumerate() {
            let told = Told { turn: Some(&turn), mask: None, taps: shown(i) };
            streams = block.forward(streams, &modulated, told);
        }
        let [image, text] = streams;
        let mut both = Tensor::cat(vec![text, image], 1);
        let (first, of_both) = (self.transformer_blocks.len(), self.single_stream_modulation.parts(&embedding));
        for (i, block) in self.single_transformer_blocks.iter().enumerate() {
            both = block.forward(both, &of_both, &turn, shown(first + i));
        }
        let [scale, shift] = self.norm_out.parts(&embedding);
        let y = self.proj_out.forward(layer_norm(both.narrow(1, m, h * w), scale, shift));
        y.swap_dims(1, 2).reshape([b, c, h, w])
    }
}

/// Places of `text` tokens, one after another along the last axis, and of the image's at (0, row, column, 0).
fn places(text: usize, [rows, columns]: [usize; 2]) -> impl Iterator<Item = [f64; 4]> {
    let words = (0..text).map(|i| [0.0, 0.0, 0.0, i as f64]);
    let image = (0..rows).flat_map(move |row| (0..columns).map(move |column| [0.0, row as f64, column as f64, 0.0]));
    words.chain(image)
}
