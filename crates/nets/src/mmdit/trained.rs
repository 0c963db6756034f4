//! The MMDiT that is trained here (Esser et al., 2024, arXiv 2403.03206, sec. 4): joint blocks between the ends of our DiT.
//!
//! Class and pooled text enter with the time, text tokens through the joint attention. Unlike its authors' networks it is told
//! which tokens are real, so that a short caption and its padding are one thing, and no caption is the same as an empty one.

use super::joint::{JointBlock, Sizes, Told};
use super::trained_config::JointDitConfig;
use crate::condition::{Conditioner, TIME_FEATURES};
use crate::dit::{FinalLayer, patches, places};
use crate::init::{Init, Weights};
use crate::layers::Linear;
use crate::recompute;
use base::{Bool, Condition, Network, Pass, Taps, Tensor, Tokens};
use burn::module::Module;

/// The network of [`JointDitConfig`].
#[derive(Module, Debug)]
pub struct JointDit {
    /// Time, class and pooled text.
    pub conditioner: Conditioner,
    /// The pixels of a patch (channel, row, column; column fastest) to features.
    pub x_embedder: Linear,
    /// Text tokens to features.
    pub context_embedder: Linear,
    /// The blocks; the last one drops the text.
    pub blocks: Vec<JointBlock>,
    /// Features to patches.
    pub final_layer: FinalLayer,
    patch: usize,
    /// Features of a text token.
    text: usize,
}

impl JointDit {
    pub(super) fn new(config: &JointDitConfig, init: &Init, image: usize, classes: usize) -> Self {
        let (d, text) = (config.width, config.condition.tokens);
        let pixels = image * config.patch * config.patch;
        let block = |i: usize| {
            let sizes = Sizes {
                width: d,
                heads: config.heads,
                qk_norm: config.qk_norm,
                dual: false,
                last: i + 1 == config.depth,
                asks: false,
                biased: true,
            };
            JointBlock::new(&init.child("blocks").child(i), sizes)
        };
        let linear = |name: &str, input| Linear::new(&init.child(name), input, d, Weights::Xavier);
        let how = Weights::Normal(0.02);
        Self {
            conditioner: Conditioner::new(init, &config.condition, TIME_FEATURES, d, classes, how),
            x_embedder: linear("x_embedder", pixels),
            context_embedder: linear("context_embedder", text),
            blocks: (0..config.depth).map(block).collect(),
            final_layer: FinalLayer::new(&init.child("final_layer"), d, pixels),
            patch: config.patch,
            text,
        }
    }
}

impl Network<4> for JointDit {
    fn predict(&self, x: Tensor<4>, t: Tensor<1>, condition: &Condition, pass: &Pass) -> Tensor<4> {
        let embedding = kernels::silu(self.conditioner.forward(t, condition)); // [b d]
        let (patches, grid) = patches(x, self.patch);
        let (b, device) = (patches.dims()[0], patches.device());
        let image = self.x_embedder.forward(patches); // [b n d]
        let image = image.clone() + places(grid, image.dims()[2], &device);
        // Nothing said is one token that nobody looks at.
        let silent = || Tokens {
            embedding: Tensor::zeros([b, 1, self.text], &device),
            mask: Tensor::<2>::zeros([b, 1], &device).greater_elem(0.5),
        };
        let Tokens { embedding: tokens, mask } = condition.tokens.clone().unwrap_or_else(silent);
        let text = self.context_embedder.forward(tokens); // [b m d]
        let image = match pass.recomputes() {
            true => self.again(image, text, &embedding, &mask, pass),
            false => self.once(image, text, &embedding, &mask, pass.taps()),
        };
        self.final_layer.forward(image, embedding, grid, self.patch)
    }
}

impl JointDit {
    fn once(
        &self,
        mut image: Tensor<3>,
        mut text: Tensor<3>,
        embedding: &Tensor<2>,
        mask: &Tensor<2, Bool>,
        taps: Option<&Taps>,
    ) -> Tensor<3> {
        for (number, block) in self.blocks.iter().enumerate() {
            let told = Told { turn: None, mask: Some(mask), taps: taps.map(|taps| (number, taps)) };
            (image, text) = block.forward(image, text, embedding, told);
        }
        image
    }

    /// [`once`](Self::once), each block run again for the gradient: text and image travel in one, text first.
    fn again(
        &self,
        image: Tensor<3>,
        text: Tensor<3>,
        embedding: &Tensor<2>,
        mask: &Tensor<2, Bool>,
        pass: &Pass,
    ) -> Tensor<3> {
        let (n, m) = (image.dims()[1], text.dims()[1]);
        let mut both = Tensor::cat(vec![text, image], 1); // [b m+n d]
        for block in &self.blocks {
            let mask = mask.clone();
            both = recompute::run(block, both, embedding, pass, move |block, both, embedding, _| {
                let (text, image) = (both.clone().narrow(1, 0, m), both.narrow(1, m, n));
                let told = Told { mask: Some(&mask), ..Told::default() };
                let (image, text) = block.forward(image, text, &embedding, told);
                Tensor::cat(vec![text, image], 1)
            });
        }
        both.narrow(1, m, n)
    }
}
