//! The flow's network over three planes of features: TriFlow (Wizadwongsa et al. 2024, arXiv:2501.00651, fig. 2).
//!
//! Three streams: the planes' tokens, a fixed number of latent ones, and the text with the class. Planes attend to nothing of their
//! own kind: latents read them, think, and write back, so that the work grows linearly with the planes and quadratically with the
//! latents alone. In the first stages latents and text think jointly with weights of their own (MM-DiT), in the later ones as one
//! stream. Every write starts at zero; the planes' own perceptron is part of it, so that detail need not pass through the latents.
//!
//! The figure leaves sizes, the number of latents, positions and the blocks' insides open; they are ours, as is the class as a token
//! of the text's stream.

mod config;
mod fuse;

pub use config::TriflowConfig;
pub use fuse::Fuse;

use crate::condition::Conditioner;
use crate::condition::TIME_FEATURES;
use crate::dit::{FinalLayer, patches, places};
use crate::init::{Init, Weights};
use crate::layers::Linear;
use crate::mmdit::joint::{JointBlock, Sizes, Told};
use base::{Bool, Condition, Tensor};
use burn::module::{Module, Param};

/// How many planes there are.
const PLANES: usize = 3;

/// Latents read the planes, think together with the text, and write back.
#[derive(Module, Debug)]
pub struct JointStage {
    /// Latents ask planes.
    pub read: Fuse,
    /// Latents and text in one attention, with weights of their own.
    pub blocks: Vec<JointBlock>,
    /// Planes ask latents.
    pub write: Fuse,
}

/// The same where latents and text are one stream.
#[derive(Module, Debug)]
pub struct Stage {
    /// Latents and text ask planes.
    pub read: Fuse,
    /// They ask one another.
    pub blocks: Vec<Fuse>,
    /// Planes ask them.
    pub write: Fuse,
}

/// Taming Feed-forward Reconstruction Models as Latent Encoders for 3D Generative Models.
pub const TRIFLOW: base::Paper = base::Paper::arxiv(
    "wizadwongsa2024taming",
    "Wizadwongsa, Suttisak and Zhou, Jinfan and Li, Edward and Park, Jeong Joon",
    "Taming Feed-forward Reconstruction Models as Latent Encoders for 3D Generative Models",
    (2024, "2501.00651"),
    "arXiv",
);

/// The network of [`TriflowConfig`].
#[derive(Module, Debug)]
pub struct Triflow {
    /// Time, class and pooled text.
    pub conditioner: Conditioner,
    /// The numbers of a plane's patch to features.
    pub x_embedder: Linear,
    /// One vector for each plane, `[3 d]`.
    pub plane_embed: Param<Tensor<2>>,
    /// Where latents start, `[k d]`.
    pub latents: Param<Tensor<2>>,
    /// Time and class to the first token of the text's stream.
    pub class_embedder: Linear,
    /// Text tokens to features, where there are any.
    pub context_embedder: Option<Linear>,
    /// Stages with two streams beside the planes.
    pub joint: Vec<JointStage>,
    /// Stages with one.
    pub stages: Vec<Stage>,
    /// Features to patches.
    pub final_layer: FinalLayer,
    patch: usize,
}

impl Triflow {
    fn new(config: &TriflowConfig, init: &Init, channels: usize, classes: usize) -> Self {
        let (d, heads, tokens) = (config.width, config.heads, config.condition.tokens);
        let pixels = channels * config.patch * config.patch;
        let sizes = Sizes { width: d, heads, qk_norm: true, dual: false, last: false, asks: true, biased: true };
        let linear = |name: &str, from| Linear::new(&init.child(name), from, d, Weights::Xavier);
        let fuse = |at: &Init, name: &str| Fuse::new(&at.child(name), d, heads);
        let joint = |i: usize| {
            let at = init.child("joint").child(i);
            let block = |j: usize| JointBlock::new(&at.child("blocks").child(j), sizes);
            let blocks = (0..config.blocks).map(block).collect();
            JointStage { read: fuse(&at, "read"), blocks, write: fuse(&at, "write") }
        };
        let stage = |i: usize| {
            let at = init.child("stages").child(i);
            let block = |j: usize| Fuse::new(&at.child("blocks").child(j), d, heads);
            let blocks = (0..config.blocks).map(block).collect();
            Stage { read: fuse(&at, "read"), blocks, write: fuse(&at, "write") }
        };
        let how = Weights::Normal(0.02);
        Self {
            conditioner: Conditioner::new(init, &config.condition, TIME_FEATURES, d, classes, how),
            x_embedder: linear("x_embedder", pixels),
            plane_embed: init.child("plane_embed").normal([PLANES, d], 0.02),
            latents: init.child("latents").normal([config.latents, d], 1.0),
            class_embedder: linear("class_embedder", d),
            context_embedder: (tokens > 0).then(|| linear("context_embedder", tokens)),
            joint: (0..config.joint).map(joint).collect(),
            stages: (0..config.stages).map(stage).collect(),
            final_layer: FinalLayer::new(&init.child("final_layer"), d, pixels),
            patch: config.patch,
        }
    }

    /// The text's stream `[b m d]` and which of its tokens are real, `[b m]`: time and class first, which always are.
    fn text(&self, embedding: &Tensor<2>, condition: &Condition) -> (Tensor<3>, Tensor<2, Bool>) {
        let (b, device) = (embedding.dims()[0], embedding.device());
        let first = self.class_embedder.forward(embedding.clone()).unsqueeze_dim::<3>(1);
        let real = Tensor::<2>::ones([b, 1], &device).greater_elem(0.5);
        match (&self.context_embedder, &condition.tokens) {
            (Some(embedder), Some(tokens)) => (
                Tensor::cat(vec![first, embedder.forward(tokens.embedding.clone())], 1),
                Tensor::cat(vec![real, tokens.mask.clone()], 1),
            ),
            _ => (first, real),
        }
    }

    /// What the network says of the planes `x` `[b 3 c h w]` at times `t` `[b]`: the same shape, 0 before training.
    pub fn forward(&self, x: Tensor<5>, t: Tensor<1>, condition: &Condition) -> Tensor<5> {
        let [b, _, c, h, w] = x.dims();
        let embedding = kernels::silu(self.conditioner.forward(t, condition)); // [b d]
        let device = embedding.device();
        let (folded, grid) = patches(x.reshape([b * PLANES, c, h, w]), self.patch);
        let planes = self.x_embedder.forward(folded); // [3b n d]
        let [_, n, d] = planes.dims();
        let own = self.plane_embed.val().reshape([1, PLANES, 1, d]);
        let place: Tensor<4> = places(grid, d, &device).unsqueeze_dim::<4>(0); // [1 1 n d]
        let mut planes = (planes.reshape([b, PLANES, n, d]) + own + place).reshape([b, PLANES * n, d]);

        let (mut text, real) = self.text(&embedding, condition);
        let k = self.latents.val().dims()[0];
        let mut latents = self.latents.val().unsqueeze::<3>().expand([b, k, d]);
        for stage in &self.joint {
            latents = stage.read.forward(latents, planes.clone(), None, &embedding);
            for block in &stage.blocks {
                let told = Told { mask: Some(&real), ..Told::default() };
                (latents, text) = block.forward(latents, text, &embedding, told);
            }
            planes = stage.write.forward(planes, latents.clone(), None, &embedding);
        }
        let mut both = Tensor::cat(vec![latents, text], 1); // [b k+m d]
        let mask = Tensor::cat(vec![Tensor::<2>::ones([b, k], &device).greater_elem(0.5), real], 1);
        for stage in &self.stages {
            both = stage.read.forward(both, planes.clone(), None, &embedding);
            for block in &stage.blocks {
                both = block.within(both, Some(&mask), &embedding);
            }
            planes = stage.write.forward(planes, both.clone(), Some(&mask), &embedding);
        }
        let embedding = embedding.unsqueeze_dim::<3>(1).expand([b, PLANES, d]).reshape([b * PLANES, d]);
        let said = self.final_layer.forward(planes.reshape([b * PLANES, n, d]), embedding, grid, self.patch);
        said.reshape([b, PLANES, c, h, w])
    }
}

#[cfg(test)]
mod tests;
