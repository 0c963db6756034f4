//! Z-Image's transformer (Z-Image Team, 2025, arXiv 2511.22699): one stream of text and image tokens through the same blocks, each first
//! read alone by blocks of its own.
//!
//! The network speaks this project's language by itself: its time is 0 at the noise and its answer points to the data. Sequences are
//! filled up to whole rows of [`ROW`] tokens by learned ones, which are read like any other. Tensor names are diffusers'.

mod block;
mod config;

pub use block::{ZImageAttention, ZImageBlock};
pub use config::ZImageConfig;

use crate::condition::{TIME_FEATURES, TimeEmbedding};
use crate::init::{Init, Weights};
use crate::layers::{Linear, RmsNorm, layer_norm, widened};
use crate::mmdit::Modulation;
use crate::rotary::{Rotation, rotation};
use base::{Bool, Device, Taps, Tensor, TensorData};
use block::Seats;
use burn::module::{Module, Param};

/// Z-Image.
pub const Z_IMAGE: base::Paper = base::Paper::arxiv(
    "zimage2025",
    "{Z-Image Team}",
    "Z-Image: An Efficient Image Generation Foundation Model with Single-Stream Diffusion Transformer",
    (2025, "2511.22699"),
    "arXiv",
);

/// Sequences are whole rows of so many tokens.
const ROW: usize = 32;
/// Hidden width of the time's embedding.
const TIME: usize = 1024;

/// The network of [`ZImageConfig`].
#[derive(Module, Debug)]
pub struct ZImage {
    /// Squares of pixels to features.
    pub x_embedder: Linear,
    /// Normalises text tokens.
    pub cap_norm: RmsNorm,
    /// Text tokens to features.
    pub cap_embedder: Linear,
    /// Of the time.
    pub t_embedder: TimeEmbedding,
    /// Blocks of the image alone.
    pub noise_refiner: Vec<ZImageBlock>,
    /// Blocks of the text alone, which are not told the time.
    pub context_refiner: Vec<ZImageBlock>,
    /// Blocks of both.
    pub layers: Vec<ZImageBlock>,
    /// What fills the image's last row, `[1 d]`.
    pub x_pad_token: Param<Tensor<2>>,
    /// What fills the text's last row, `[1 d]`.
    pub cap_pad_token: Param<Tensor<2>>,
    /// Scale before the last layer.
    pub norm_out: Modulation,
    /// Features to the pixels of a square: row, column, channel; channel fastest.
    pub proj_out: Linear,
    axes: [usize; 3],
    base: f64,
    pace: f64,
}

impl ZImage {
    pub(crate) fn new(config: &ZImageConfig, init: &Init) -> Self {
        let (d, numbers) = (config.dim, 4 * config.in_channels);
        let linear = |name: &str, input, output| Linear::new(&init.child(name), input, output, Weights::Xavier);
        let blocks = |name: &str, count: usize, told: bool| {
            (0..count).map(|i| ZImageBlock::new(&init.child(name).child(i), config, told)).collect()
        };
        let sizes = [TIME_FEATURES, TIME, config.embedding()];
        Self {
            x_embedder: linear("x_embedder", numbers, d),
            cap_norm: RmsNorm::new(&init.child("cap_norm"), config.cap_feat_dim).with_epsilon(config.norm_eps),
            cap_embedder: linear("cap_embedder", config.cap_feat_dim, d),
            t_embedder: TimeEmbedding::through(&init.child("t_embedder"), sizes, 1.0, [Weights::Normal(0.02); 2]),
            noise_refiner: blocks("noise_refiner", config.n_refiner_layers, true),
            context_refiner: blocks("context_refiner", config.n_refiner_layers, false),
            layers: blocks("layers", config.n_layers, true),
            x_pad_token: init.child("x_pad_token").normal([1, d], 0.02),
            cap_pad_token: init.child("cap_pad_token").normal([1, d], 0.02),
            norm_out: Modulation::between(&init.child("norm_out"), config.embedding(), d, 1),
            proj_out: linear("proj_out", d, numbers),
            axes: config.axes_dims,
            base: config.rope_theta,
            pace: config.t_scale,
        }
    }

    /// Latents `[b c h w]` at times `[b]`, 0 at the noise, and text tokens `[b m e]`, of which the first `real[i]` of sample `i` are
    /// real, to data minus noise, `[b c h w]`. `taps` are shown the image's features, those that fill its last row
    /// among them, in every block of both.
    pub fn forward(
        &self,
        x: Tensor<4>,
        time: Tensor<1>,
        tokens: Tensor<3>,
        real: &[usize],
        taps: Option<&Taps>,
    ) -> Tensor<4> {
        let ([b, c, h, w], device) = (x.dims(), x.device());
        let (grid, n) = ([h / 2, w / 2], h * w / 4);
        let embedding = self.t_embedder.forward(time * self.pace);
        let image = filled(self.x_embedder.forward(squares(x)), n.next_multiple_of(ROW), &[n], &self.x_pad_token);
        let all = image.dims()[1];
        // Whole rows of text, at least one; as many as the longest has, and nobody hears those that a text does not have.
        let lengths: Vec<usize> = real.iter().map(|real| real.next_multiple_of(ROW).max(ROW)).collect();
        let most = lengths.iter().copied().max().unwrap_or(ROW);
        let text = self.cap_embedder.forward(self.cap_norm.forward(tokens));
        let text = filled(text, most, real, &self.cap_pad_token);
        let seats = Places { axes: self.axes, base: self.base, grid, image: all, text: most, device: &device };
        let uneven = lengths.iter().any(|length| *length != most);
        let lengths = if uneven { &lengths[..] } else { &lengths[..1.min(lengths.len())] };
        let turns: Vec<Rotation> = lengths.iter().map(|length| seats.both(*length)).collect();
        let [of_image, of_text] = [&(0..all), &(all..all + most)].map(|range| {
            let part = |turn: &Rotation| {
                let cut = |angles: &Tensor<2>| angles.clone().narrow(0, range.start, range.len());
                (cut(&turn.0), cut(&turn.1))
            };
            turns.iter().map(part).collect::<Vec<Rotation>>()
        });
        let masks = uneven.then(|| [present(0, most, lengths, &device), present(all, most, lengths, &device)]);
        let mask = |which: usize| masks.as_ref().map(|masks| &masks[which]);
        let mut image = image;
        for block in &self.noise_refiner {
            image = block.forward(image, &embedding, Seats { turns: &of_image, mask: None, image: all }, None);
        }
        let mut text = text;
        for block in &self.context_refiner {
            text = block.forward(text, &embedding, Seats { turns: &of_text, mask: mask(0), image: 0 }, None);
        }
        let mut both = Tensor::cat(vec![image, text], 1);
        for (i, block) in self.layers.iter().enumerate() {
            let seats = Seats { turns: &turns, mask: mask(1), image: all };
            both = block.forward(both, &embedding, seats, taps.map(|taps| (i, taps)));
        }
        let [scale] = self.norm_out.parts(&kernels::silu(embedding));
        let shift = scale.zeros_like();
        let y = self.proj_out.forward(layer_norm(both.narrow(1, 0, n), scale, shift)); // [b n 4c]
        let y: Tensor<6> = y.reshape([b, grid[0], grid[1], 2, 2, c]).permute([0, 5, 1, 3, 2, 4]);
        y.reshape([b, c, h, w])
    }
}

/// Latents `[b c h w]` as tokens `[b h/2*w/2 4c]`: row, column, channel; channel fastest.
fn squares(x: Tensor<4>) -> Tensor<3> {
    let [b, c, h, w] = x.dims();
    let x: Tensor<6> = x.reshape([b, c, h / 2, 2, w / 2, 2]).permute([0, 2, 4, 3, 5, 1]);
    x.reshape([b, h * w / 4, 4 * c])
}

/// Tokens `[b n d]` as `[b length d]`, `pad` in place of all after the first `real[i]` of sample `i` (of all samples where one number is
/// given).
fn filled(x: Tensor<3>, length: usize, real: &[usize], pad: &Param<Tensor<2>>) -> Tensor<3> {
    let ([b, n, d], device) = (x.dims(), x.device());
    let pad = widened(pad).unsqueeze_dim::<3>(0); // [1 1 d]
    let x = match length.checked_sub(n) {
        Some(0) => x,
        Some(more) => Tensor::cat(vec![x, pad.clone().expand([b, more, d])], 1),
        None => x.narrow(1, 0, length),
    };
    if real.iter().all(|real| *real >= n.min(length)) {
        return x; // what there is is real
    }
    let each = |i: usize| real[i.min(real.len() - 1)];
    let there = (0..b).flat_map(|i| (0..length).map(move |j| if j < each(i) { 1f32 } else { 0.0 })).collect();
    let there: Tensor<3> = Tensor::from_data(TensorData::new::<f32, _>(there, [b, length, 1]), &device);
    x * there.clone() + pad * (there.neg() + 1.0)
}

/// Which tokens are there, `[b before+most]`: all of those before the text, and of the text of sample `i` the first `lengths[i]`.
fn present(before: usize, most: usize, lengths: &[usize], device: &Device) -> Tensor<2, Bool> {
    let row = |length: &usize| {
        let length = before + *length;
        (0..before + most).map(move |i| i < length)
    };
    let there: Vec<bool> = lengths.iter().flat_map(row).collect();
    Tensor::from_data(TensorData::new(there, [lengths.len(), before + most]), device)
}

/// Where tokens stand.
struct Places<'a> {
    axes: [usize; 3],
    base: f64,
    grid: [usize; 2],
    /// Tokens of the image, those that fill its last row among them.
    image: usize,
    /// Tokens of the longest text.
    text: usize,
    device: &'a Device,
}

impl Places<'_> {
    /// Angles of an image beside a text of `length`: text tokens at (1, 0, 0) and on, the image behind them at (length + 1, row, column),
    /// what fills its last row at (0, 0, 0).
    fn both(&self, length: usize) -> Rotation {
        let [rows, columns] = self.grid;
        let first = (length + 1) as f64;
        let image = (0..rows).flat_map(|row| (0..columns).map(move |column| [first, row as f64, column as f64]));
        let filling = std::iter::repeat_n([0.0; 3], self.image - rows * columns);
        let text = (0..self.text).map(|i| [(i + 1) as f64, 0.0, 0.0]);
        rotation(image.chain(filling).chain(text), self.axes, self.base, self.device)
    }
}
