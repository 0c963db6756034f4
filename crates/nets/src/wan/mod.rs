//! Wan 2.1's transformer for clips from text (Wan Team, 2025, arXiv 2503.20314, sec. 4.2): tokens of patches in space and time, turned by
//! frame, row and column; each block attends to all of them, then to the text.
//!
//! The time is one embedding for all blocks; each adds a table of its own to it and takes shifts, scales and gates from the sum. The
//! network speaks its authors' language: `timestep` is 1000 times the noise fraction, and the answer points from data to noise.
//! Tensor names are diffusers'.

mod block;
mod config;

pub use block::{WanAttention, WanBlock};
pub use config::WanConfig;

use crate::condition::TimeEmbedding;
use crate::init::{Init, Weights};
use crate::layers::{Conv3d, Linear, layer_norm, widened};
use crate::rotary::rotation;
use base::Tensor;
use burn::module::{Module, Param};

/// Wan.
pub const WAN: base::Paper = base::Paper::arxiv(
    "wan2025",
    "{Wan Team}",
    "Wan: Open and Advanced Large-Scale Video Generative Models",
    (2025, "2503.20314"),
    "arXiv",
);

/// A text token through two layers with GELU between.
#[derive(Module, Debug)]
pub struct TextEmbedding {
    /// Token to width.
    pub linear_1: Linear,
    /// Width to width.
    pub linear_2: Linear,
}

/// Time and text to what blocks read.
#[derive(Module, Debug)]
pub struct WanCondition {
    /// Of the timestep.
    pub time_embedder: TimeEmbedding,
    /// The activated embedding to the parts that blocks share, `[6 d]`.
    pub time_proj: Linear,
    /// Of text tokens.
    pub text_embedder: TextEmbedding,
}

/// The network of [`WanConfig`].
#[derive(Module, Debug)]
pub struct Wan {
    /// Patches to features.
    pub patch_embedding: Conv3d,
    /// Time and text.
    pub condition_embedder: WanCondition,
    /// The blocks.
    pub blocks: Vec<WanBlock>,
    /// What is added to the time's embedding for shift and scale before the last layer, `[1 2 d]`.
    pub scale_shift_table: Param<Tensor<3>>,
    /// Features to the numbers of a patch: frame, row, column, channel; channel fastest.
    pub proj_out: Linear,
    patch: [usize; 3],
    axes: [usize; 3],
}

impl Wan {
    pub(crate) fn new(config: &WanConfig, init: &Init) -> Self {
        let d = config.width();
        let [frames, side, _] = config.patch_size;
        let numbers = frames * side * side;
        let place = init.child("condition_embedder");
        let linear = |init: &Init, name: &str, i, o| Linear::new(&init.child(name), i, o, Weights::Xavier);
        let text = place.child("text_embedder");
        Self {
            patch_embedding: Conv3d::new(
                &init.child("patch_embedding"),
                [config.in_channels, d],
                [frames, side],
                [frames, side],
                Weights::Xavier,
            ),
            condition_embedder: WanCondition {
                time_embedder: TimeEmbedding::new(
                    &place.child("time_embedder"),
                    config.freq_dim,
                    d,
                    1.0,
                    [Weights::Normal(0.02); 2],
                ),
                time_proj: linear(&place, "time_proj", d, 6 * d),
                text_embedder: TextEmbedding {
                    linear_1: linear(&text, "linear_1", config.text_dim, d),
                    linear_2: linear(&text, "linear_2", d, d),
                },
            },
            blocks: (0..config.num_layers).map(|i| WanBlock::new(config, &init.child("blocks").child(i))).collect(),
            scale_shift_table: init.child("scale_shift_table").normal([1, 2, d], (d as f64).powf(-0.5)),
            proj_out: linear(init, "proj_out", d, numbers * config.out_channels),
            patch: config.patch_size,
            axes: config.axes(),
        }
    }

    /// Latents `[b c f h w]` at `timestep` `[b]` (1000 times the noise fraction) and text tokens `[b m e]` to noise minus data,
    /// `[b c f h w]`.
    pub fn forward(&self, x: Tensor<5>, timestep: Tensor<1>, tokens: Tensor<3>) -> Tensor<5> {
        let patches = self.patch_embedding.forward(x); // [b d f' h' w']
        let [b, d, f, h, w] = patches.dims();
        let turn = rotation(places([f, h, w]), self.axes, 10_000.0, &patches.device());
        let mut x: Tensor<3> = patches.reshape([b, d, f * h * w]).swap_dims(1, 2); // [b n d]
        let condition = &self.condition_embedder;
        let time = condition.time_embedder.forward(timestep); // [b d]
        let shared = condition.time_proj.forward(kernels::silu(time.clone())).reshape([b, 6, d]);
        let words = &condition.text_embedder;
        let text = words.linear_2.forward(words.linear_1.activated(tokens, kernels::Activation::Gelu));
        for block in &self.blocks {
            x = block.forward(x, &text, &shared, &turn);
        }
        let [shift, scale] = parts(widened(&self.scale_shift_table) + time.reshape([b, 1, d]));
        let y = self.proj_out.forward(layer_norm(x, scale, shift)); // [b n pf*p*p*c]
        let [pf, ph, pw] = self.patch;
        let c = y.dims()[2] / (pf * ph * pw);
        let y: Tensor<8> = y.reshape([b, f, h, w, pf, ph, pw, c]).permute([0, 7, 1, 4, 2, 5, 3, 6]);
        y.reshape([b, c, f * pf, h * ph, w * pw])
    }
}

/// The rows of `[b N d]`, `[b d]` each.
fn parts<const N: usize>(x: Tensor<3>) -> [Tensor<2>; N] {
    let [b, _, d] = x.dims();
    std::array::from_fn(|i| x.clone().narrow(1, i, 1).reshape([b, d]))
}

/// Places of tokens: frame, row, column.
fn places([frames, rows, columns]: [usize; 3]) -> impl Iterator<Item = [f64; 3]> {
    let place = move |token: usize| [token / (rows * columns), token / columns % rows, token % columns];
    (0..frames * rows * columns).map(move |token| place(token).map(|at| at as f64))
}
