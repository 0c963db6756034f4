//! Diffusion transformer (Peebles and Xie, 2023): patches as tokens, adaLN-zero blocks, patches back to pixels.
//!
//! Class and vector conditions enter through the modulation together with the time. Token conditions enter through
//! a cross-attention in every block; a sample whose tokens are all masked passes it unchanged. Tensor names follow the
//! published DiT with `modulation` for `adaLN_modulation.1`.

mod block;
pub(crate) mod config;

pub use block::{Attention, Block, CrossAttention};
pub use config::{DIT, DitConfig, Positions};

use crate::condition::{Conditioner, TIME_FEATURES};
use crate::init::{Init, Weights};
use crate::layers::{Linear, layer_norm};
use crate::unet::{fold, unfold};
use base::{Condition, Device, Network, Pass, Tensor, TensorData};
use burn::module::{Module, Param};

/// Last modulation and projection.
#[derive(Module, Debug)]
pub struct FinalLayer {
    /// Embedding to shift and scale, `[2d d]`; starts at zero.
    pub modulation: Linear,
    /// Features to the pixels of a patch; starts at zero.
    pub linear: Linear,
}

impl FinalLayer {
    pub(crate) fn new(init: &Init, d: usize, pixels: usize) -> Self {
        Self {
            modulation: Linear::new(&init.child("modulation"), d, 2 * d, Weights::Zero),
            linear: Linear::new(&init.child("linear"), d, pixels, Weights::Zero),
        }
    }

    /// Tokens `[b n d]` of a grid and the activated embedding `[b d]` to `[b c h w]`.
    pub(crate) fn forward(
        &self,
        x: Tensor<3>,
        embedding: Tensor<2>,
        [rows, columns]: [usize; 2],
        patch: usize,
    ) -> Tensor<4> {
        let [b, _, d] = x.dims();
        let both = self.modulation.forward(embedding); // [b 2d]
        let (shift, scale) = (both.clone().narrow(1, 0, d), both.narrow(1, d, d));
        let y = self.linear.forward(layer_norm(x, scale, shift)); // [b n c*p*p]
        let pixels = y.dims()[2];
        unfold(y.swap_dims(1, 2).reshape([b, pixels, rows, columns]), patch)
    }
}

/// Images `[b c h w]` as tokens `[b n c*p*p]`, row by row, and the rows and columns of their grid.
pub(crate) fn patches(x: Tensor<4>, patch: usize) -> (Tensor<3>, [usize; 2]) {
    let folded = fold(x, patch); // [b c*p*p rows columns]
    let [b, pixels, rows, columns] = folded.dims();
    (folded.reshape([b, pixels, rows * columns]).swap_dims(1, 2), [rows, columns])
}

/// The network of [`DitConfig`].
#[derive(Module, Debug)]
pub struct Dit {
    /// Time, class and vector.
    pub conditioner: Conditioner,
    /// The pixels of a patch (channel, row, column; column fastest) to features.
    pub x_embedder: Linear,
    /// Learned positions `[n d]`; absent with fixed ones.
    pub pos_embed: Option<Param<Tensor<2>>>,
    /// The blocks.
    pub blocks: Vec<Block>,
    /// Features to patches.
    pub final_layer: FinalLayer,
    /// Fixed positions, row by row; empty with learned ones. Not a parameter: it is recomputed from the configuration.
    fixed: Vec<f32>,
    columns: usize,
    patch: usize,
}

impl Dit {
    pub(crate) fn new(
        config: &DitConfig,
        init: &Init,
        image: usize,
        [rows, columns]: [usize; 2],
        classes: usize,
    ) -> Self {
        let d = config.width;
        let pixels = image * config.patch * config.patch;
        let (pos_embed, fixed) = match config.positions {
            Positions::Learned {} => (Some(init.child("pos_embed").normal([rows * columns, d], 0.02)), vec![]),
            Positions::SinCos {} => (None, sin_cos(rows, columns, d)),
        };
        Self {
            conditioner: Conditioner::new(init, &config.condition, TIME_FEATURES, d, classes, Weights::Normal(0.02)),
            x_embedder: Linear::new(&init.child("x_embedder"), pixels, d, Weights::Xavier),
            pos_embed,
            blocks: (0..config.depth).map(|i| Block::new(&init.child("blocks").child(i), config, i)).collect(),
            final_layer: FinalLayer::new(&init.child("final_layer"), d, pixels),
            fixed,
            columns,
            patch: config.patch,
        }
    }
}

impl Network<4> for Dit {
    fn predict(&self, x: Tensor<4>, t: Tensor<1>, condition: &Condition, pass: &Pass) -> Tensor<4> {
        let embedding = kernels::silu(self.conditioner.forward(t, condition)); // [b d]
        let (patches, grid) = patches(x, self.patch);
        let h = self.x_embedder.forward(patches); // [b n d]
        let d = h.dims()[2];
        let positions = match &self.pos_embed {
            Some(learned) => learned.val().unsqueeze::<3>(),
            // Fixed positions exist for any grid; the one of the configuration is at hand.
            None if self.fixed.len() == grid[0] * grid[1] * d && grid[1] == self.columns => {
                table(self.fixed.clone(), d, &h.device())
            }
            None => places(grid, d, &h.device()),
        };
        let mut h = h + positions;
        let reads = self.blocks.iter().any(|block| block.cross_attn.is_some());
        let tokens = condition.tokens.as_ref().filter(|_| reads);
        for block in &self.blocks {
            h = block.forward(h, &embedding, tokens, pass);
        }
        self.final_layer.forward(h, embedding, grid, self.patch)
    }
}

/// The positions of a grid, `[1 rows*columns d]`.
pub(crate) fn places([rows, columns]: [usize; 2], features: usize, device: &Device) -> Tensor<3> {
    table(sin_cos(rows, columns, features), features, device)
}

fn table(values: Vec<f32>, features: usize, device: &Device) -> Tensor<3> {
    let n = values.len() / features;
    Tensor::from_data(TensorData::new(values, [1, n, features]), device)
}

/// Sinusoids of the row in the first half of `features` and of the column in the second, each sines before cosines;
/// pair `i` of `n` turns with angular frequency `10000^(-i / n)`. Row-major `[rows * columns, features]`.
fn sin_cos(rows: usize, columns: usize, features: usize) -> Vec<f32> {
    let pairs = features / 4;
    let mut out = Vec::with_capacity(rows * columns * features);
    for row in 0..rows {
        for column in 0..columns {
            for place in [row, column] {
                let angle = |i: usize| place as f64 * 10_000f64.powf(-(i as f64) / pairs as f64);
                out.extend((0..pairs).map(|i| angle(i).sin() as f32));
                out.extend((0..pairs).map(|i| angle(i).cos() as f32));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_positions_tell_rows_from_columns() {
        let table = sin_cos(2, 3, 8);
        assert_eq!(table.len(), 6 * 8);
        // Row 0, column 2: rows' half is sin 0, cos 0; columns' half is sin 2, sin 0.02, cos 2, cos 0.02.
        let want = [0.0, 0.0, 1.0, 1.0, 2f64.sin(), 0.02f64.sin(), 2f64.cos(), 0.02f64.cos()].map(|v| v as f32);
        assert_eq!(table[16..24], want);
    }
}
