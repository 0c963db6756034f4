//! MMDiT, the transformer of Stable Diffusion 3 (Esser et al., 2024, arXiv 2403.03206) with the variants of SD3.5.
//!
//! The network speaks its authors' language: `timestep` is 1000 times the noise fraction, and the answer points from data to
//! noise. Adapters outside turn both into this project's frame. Tensor names are diffusers', so a released file fills it.
//!
//! [`JointDit`] is what is trained here: the same blocks between the ends of our [`Dit`](crate::Dit), in this project's frame.

mod config;
pub(crate) mod joint;
mod trained;
mod trained_config;

pub use config::MmditConfig;
pub use joint::{ImageAttention, JointAttention, JointBlock, Modulation};
pub use trained::JointDit;
pub use trained_config::JointDitConfig;

use crate::condition::{TIME_FEATURES, TimeEmbedding};
use crate::init::{Init, Weights};
use crate::layers::{Conv2d, Linear, layer_norm};
use base::{Pass, Taps, Tensor};
use burn::module::{Module, Param};
use joint::{Sizes, Told};

/// A vector through two layers with SiLU between.
#[derive(Module, Debug)]
pub struct VectorEmbedding {
    /// Vector to width.
    pub linear_1: Linear,
    /// Width to width.
    pub linear_2: Linear,
}

impl VectorEmbedding {
    pub(crate) fn new(init: &Init, features: usize, width: usize) -> Self {
        Self {
            linear_1: Linear::new(&init.child("linear_1"), features, width, Weights::Normal(0.02)),
            linear_2: Linear::new(&init.child("linear_2"), width, width, Weights::Normal(0.02)),
        }
    }

    /// `[b features]` to `[b width]`.
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.linear_2.forward(kernels::silu(self.linear_1.forward(x)))
    }
}

/// Timestep, guidance where the network is told it (FLUX), and pooled text in one embedding.
#[derive(Module, Debug)]
pub struct TimeText {
    /// Of the timestep.
    pub timestep_embedder: TimeEmbedding,
    /// Of the guidance scale that was distilled into the network.
    pub guidance_embedder: Option<TimeEmbedding>,
    /// Of the pooled text, where the network reads one.
    pub text_embedder: Option<VectorEmbedding>,
}

impl TimeText {
    /// A pooled text of 0 features is none.
    pub(crate) fn new(init: &Init, pooled: usize, width: usize, guided: bool) -> Self {
        let text = || VectorEmbedding::new(&init.child("text_embedder"), pooled, width);
        let times = |name| TimeEmbedding::new(&init.child(name), TIME_FEATURES, width, 1.0, [Weights::Normal(0.02); 2]);
        Self {
            timestep_embedder: times("timestep_embedder"),
            guidance_embedder: guided.then(|| times("guidance_embedder")),
            text_embedder: (pooled > 0).then(text),
        }
    }

    /// Features of the pooled text; 0 where there is none.
    pub(crate) fn pooled(&self) -> usize {
        self.text_embedder.as_ref().map_or(0, |embedder| embedder.linear_1.weight.lazy_shape()[1])
    }

    /// The sum of what is told `[b width]`, activated as every modulation reads it; parts that the network does not read are passed over.
    pub(crate) fn told(&self, time: Tensor<1>, guidance: Option<Tensor<1>>, pooled: Tensor<2>) -> Tensor<2> {
        let mut all = self.timestep_embedder.forward(time);
        if let Some(embedder) = &self.text_embedder {
            all = all + embedder.forward(pooled);
        }
        if let (Some(embedder), Some(guidance)) = (&self.guidance_embedder, guidance) {
            all = all + embedder.forward(guidance);
        }
        kernels::silu(all)
    }
}

/// Patches and the table of positions.
#[derive(Module, Debug)]
pub struct PatchEmbedding {
    /// `[1 side*side d]`, row by row; never recomputed, because released tables are not what their formula gives.
    pub pos_embed: Param<Tensor<3>>,
    /// Patch to features.
    pub proj: Conv2d,
}

/// The network of [`MmditConfig`].
#[derive(Module, Debug)]
pub struct Mmdit {
    /// Patches at their places.
    pub pos_embed: PatchEmbedding,
    /// Timestep and pooled text.
    pub time_text_embed: TimeText,
    /// Text tokens to features.
    pub context_embedder: Linear,
    /// The blocks.
    pub transformer_blocks: Vec<JointBlock>,
    /// Scale and shift, in this order, before the last layer.
    pub norm_out: Modulation,
    /// Features to the pixels of a patch: row, column, channel; channel fastest.
    pub proj_out: Linear,
    patch: usize,
    side: usize,
}

impl Mmdit {
    pub(crate) fn new(config: &MmditConfig, init: &Init) -> Self {
        let (d, p) = (config.width(), config.patch_size);
        let place = init.child("pos_embed");
        let block = |i: usize| {
            let sizes = Sizes {
                width: d,
                heads: config.num_attention_heads,
                qk_norm: config.qk_norm.is_some(),
                dual: config.dual_attention_layers.contains(&i),
                last: i + 1 == config.num_layers,
                asks: true,
                biased: true,
            };
            JointBlock::new(&init.child("transformer_blocks").child(i), sizes)
        };
        let linear = |name: &str, input, output| Linear::new(&init.child(name), input, output, Weights::Xavier);
        let side = config.pos_embed_max_size;
        Self {
            pos_embed: PatchEmbedding {
                pos_embed: place.child("pos_embed").constant([1, side * side, d], 0.0),
                proj: Conv2d::new(&place.child("proj"), config.in_channels, d, p, p, Weights::Xavier).unpadded(),
            },
            time_text_embed: TimeText::new(&init.child("time_text_embed"), config.pooled_projection_dim, d, false),
            context_embedder: linear("context_embedder", config.joint_attention_dim, d),
            transformer_blocks: (0..config.num_layers).map(block).collect(),
            norm_out: Modulation::new(&init.child("norm_out"), d, 2),
            proj_out: linear("proj_out", d, p * p * config.out_channels),
            patch: p,
            side,
        }
    }

    /// Latents `[b c h w]` at `timestep` `[b]` (1000 times the noise fraction), pooled text `[b p]` and text tokens `[b m e]` to
    /// noise minus data, `[b c h w]`. Blocks in `skip` are passed over (skip-layer guidance); `taps` are shown the image's features in
    /// every block's joint attention.
    pub fn forward(
        &self,
        x: Tensor<4>,
        timestep: Tensor<1>,
        pooled: Tensor<2>,
        tokens: Tensor<3>,
        skip: &[usize],
        taps: Option<&Taps>,
    ) -> Tensor<4> {
        let pass = taps.map_or(Pass::Infer, |taps| Pass::Tapped(taps.clone()));
        self.pass(x, timestep, pooled, tokens, skip, &pass)
    }

    /// The same in any pass; a training one may have its blocks run again for the gradient, none of them passed over then.
    pub(crate) fn pass(
        &self,
        x: Tensor<4>,
        timestep: Tensor<1>,
        pooled: Tensor<2>,
        tokens: Tensor<3>,
        skip: &[usize],
        pass: &Pass,
    ) -> Tensor<4> {
        let patches = self.pos_embed.proj.forward(x); // [b d rows columns]
        let [b, d, rows, columns] = patches.dims();
        let mut image = patches.reshape([b, d, rows * columns]).swap_dims(1, 2) + self.positions(rows, columns);
        let embedding = self.time_text_embed.told(timestep, None, pooled);
        let mut text = self.context_embedder.forward(tokens);
        for (i, block) in self.transformer_blocks.iter().enumerate() {
            if pass.recomputes() {
                (image, text) = joint::again(block, image, text, &embedding, pass, None);
            } else if !skip.contains(&i) {
                let told = Told { taps: pass.taps().map(|taps| (i, taps)), ..Told::default() };
                (image, text) = block.forward(image, text, &embedding, told);
            }
        }
        let [scale, shift] = self.norm_out.parts(&embedding);
        let y = self.proj_out.forward(layer_norm(image, scale, shift)); // [b n p*p*c]
        let (p, c) = (self.patch, y.dims()[2] / (self.patch * self.patch));
        let y: Tensor<6> = y.reshape([b, rows, columns, p, p, c]).permute([0, 5, 1, 3, 2, 4]); // [b c rows p columns p]
        y.reshape([b, c, rows * p, columns * p])
    }

    /// The middle of the table, `[1 rows*columns d]`.
    fn positions(&self, rows: usize, columns: usize) -> Tensor<3> {
        let side = self.side;
        let table = self.pos_embed.pos_embed.val();
        let d = table.dims()[2];
        let middle =
            table.reshape([side, side, d]).narrow(0, (side - rows) / 2, rows).narrow(1, (side - columns) / 2, columns);
        middle.cast(burn::tensor::DType::F32).reshape([1, rows * columns, d])
    }
}
