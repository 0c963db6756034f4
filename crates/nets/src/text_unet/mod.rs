//! Stable Diffusion's U-Net (Rombach et al., 2022, arXiv 2112.10752), which InstaFlow's models are as well: residual blocks that
//! hear the time, transformers that read the text, skips from the way down to the way up.
//!
//! The network speaks its authors' language: `timestep` runs to 1000 at the noise. What its answer means (noise, or a velocity) is
//! the model's affair. Tensor names are diffusers' `UNet2DConditionModel`.

mod config;
mod reader;

pub use config::{PerLevel, TextUnetConfig};
pub use reader::{GatedForward, Reader, ReaderBlock, Reading};

use crate::autoencoder::{PlainBlock, Sampler};
use crate::condition::TimeEmbedding;
use crate::init::{Init, Weights};
use crate::layers::{Conv2d, GroupNorm};
use crate::recompute;
use base::{Int, Pass, Taps, Tensor, TensorData};
use burn::module::Module;
use reader::Sizes;

/// Added to variances in residual blocks.
const EPSILON: f64 = 1e-5;

/// The blocks of one resolution.
#[derive(Module, Debug)]
pub struct TextLevel {
    /// Residual blocks.
    pub resnets: Vec<PlainBlock>,
    /// One after each residual block (but the last in the middle), or none; or two, the first of pixels alone.
    pub attentions: Vec<Reader>,
    /// To half the resolution.
    pub downsamplers: Vec<Sampler>,
    /// To the next finer level's resolution.
    pub upsamplers: Vec<Sampler>,
    /// Readers after a residual block.
    together: usize,
}

impl TextLevel {
    /// Block `i`; `beside` are the text, the number of the next attention of pixels to pixels, and who is shown it.
    fn forward(&self, i: usize, x: Tensor<4>, embedding: &Tensor<2>, beside: &mut Beside) -> Tensor<4> {
        let hear = |block: &PlainBlock, x, embedding, _: &Pass| block.forward(x, Some(&embedding));
        let x = recompute::run(&self.resnets[i], x, embedding, beside.pass, hear);
        let readers = self.attentions.iter().skip(i * self.together).take(self.together).enumerate();
        readers.fold(x, |x, (k, reader)| {
            let first = beside.next;
            beside.next += reader.transformer_blocks.len();
            let text = (k + 1 == self.together).then_some(beside.text);
            if !beside.pass.recomputes() {
                return reader.forward(x, text, first, beside.pass.taps());
            }
            let text = text.cloned();
            let read = move |reader: &Reader, x: Tensor<4>| {
                let text = text.as_ref().map(|text| recompute::on(text, &x));
                reader.forward(x, text.as_ref(), first, None)
            };
            recompute::alone(reader, x, beside.pass, read)
        })
    }
}

/// What a pass hears beside its pixels.
struct Beside<'a> {
    text: &'a Tensor<3>,
    /// Number of the next attention of pixels to pixels.
    next: usize,
    pass: &'a Pass,
}

/// The network of [`TextUnetConfig`].
#[derive(Module, Debug)]
pub struct TextUnet {
    /// Latent to channels.
    pub conv_in: Conv2d,
    /// Of the timestep.
    pub time_embedding: TimeEmbedding,
    /// From fine to coarse.
    pub down_blocks: Vec<TextLevel>,
    /// At the coarsest resolution.
    pub mid_block: TextLevel,
    /// From coarse to fine.
    pub up_blocks: Vec<TextLevel>,
    /// Before the last convolution.
    pub conv_norm_out: GroupNorm,
    /// Channels to the answer.
    pub conv_out: Conv2d,
}

impl TextUnet {
    pub(crate) fn new(config: &TextUnetConfig, init: &Init) -> Self {
        let widths = &config.block_out_channels;
        let (first, last, groups) = (widths[0], widths.len() - 1, config.norm_num_groups);
        let embedding = 4 * first;
        let conv = |init: &Init, name: &str, input, output, stride| {
            Conv2d::new(&init.child(name), input, output, 3, stride, Weights::Torch)
        };
        let block = |place: &Init, i: usize, input, output| {
            PlainBlock::new(&place.child("resnets").child(i), [input, output], groups, EPSILON, Some(embedding))
        };
        let together = if config.extra_self_attention { 2 } else { 1 };
        // What stands after residual block `i`.
        let readers = |place: &Init, i: usize, level: usize| -> Vec<Reader> {
            let reader = |k: usize| {
                let sizes = Sizes {
                    heads: config.attention_head_dim.at(level),
                    text: (k + 1 == together).then_some(config.cross_attention_dim),
                    groups,
                    blocks: config.transformer_layers_per_block,
                };
                Reader::new(&place.child("attentions").child(i * together + k), widths[level], sizes)
            };
            (0..together).map(reader).collect()
        };
        let empty =
            || TextLevel { resnets: vec![], attentions: vec![], downsamplers: vec![], upsamplers: vec![], together };

        let mut skips = vec![first];
        let mut width = first;
        let mut down_blocks = Vec::new();
        for (i, &next) in widths.iter().enumerate() {
            let place = init.child("down_blocks").child(i);
            let mut level = empty();
            for j in 0..config.layers_per_block {
                level.resnets.push(block(&place, j, width, next));
                width = next;
                if config.down_block_types[i].starts_with("CrossAttn") {
                    level.attentions.extend(readers(&place, j, i));
                }
                skips.push(width);
            }
            if i < last {
                let sampler = conv(&place.child("downsamplers").child(0), "conv", width, width, 2);
                level.downsamplers.push(Sampler { conv: sampler });
                skips.push(width);
            }
            down_blocks.push(level);
        }
        let place = init.child("mid_block");
        let mid_block = TextLevel {
            resnets: (0..2).map(|j| block(&place, j, width, width)).collect(),
            attentions: readers(&place, 0, last),
            ..empty()
        };
        let mut up_blocks = Vec::new();
        for i in 0..widths.len() {
            let place = init.child("up_blocks").child(i);
            let mut level = empty();
            for j in 0..=config.layers_per_block {
                let skip = skips.pop().unwrap_or(first);
                level.resnets.push(block(&place, j, width + skip, widths[last - i]));
                width = widths[last - i];
                if config.up_block_types[i].starts_with("CrossAttn") {
                    level.attentions.extend(readers(&place, j, last - i));
                }
            }
            if i < last {
                let sampler = conv(&place.child("upsamplers").child(0), "conv", width, width, 1);
                level.upsamplers.push(Sampler { conv: sampler });
            }
            up_blocks.push(level);
        }
        let place = init.child("time_embedding");
        let time_embedding = TimeEmbedding::new(&place, first, embedding, 1.0, [Weights::Torch; 2]);
        Self {
            conv_in: conv(init, "conv_in", config.in_channels, first, 1),
            time_embedding: match config.time_cond_proj_dim {
                Some(features) => time_embedding.told(&place, features),
                None => time_embedding,
            },
            down_blocks,
            mid_block,
            up_blocks,
            conv_norm_out: GroupNorm::new(&init.child("conv_norm_out"), first, groups).with_epsilon(EPSILON),
            conv_out: conv(init, "conv_out", first, config.out_channels, 1),
        }
    }

    /// Features of a text token.
    pub fn text_width(&self) -> usize {
        self.mid_block.attentions[self.mid_block.together - 1].transformer_blocks[0].attn2.to_k.weight.lazy_shape()[1]
    }

    /// Latents `[b c h w]` at `timestep` `[b]` (1000 at the noise, fractions welcome) and text tokens `[b m e]` to the answer,
    /// `[b c h w]`. `taps` are shown every attention of pixels to pixels.
    pub fn forward(&self, x: Tensor<4>, timestep: Tensor<1>, text: Tensor<3>, taps: Option<&Taps>) -> Tensor<4> {
        let pass = taps.map_or(Pass::Infer, |taps| Pass::Tapped(taps.clone()));
        self.pass(x, (timestep, None), text, &pass)
    }

    /// Whether the network is told a guidance scale.
    pub fn guided(&self) -> bool {
        self.time_embedding.cond_proj.is_some()
    }

    /// The same of a network that is told a guidance scale, `[b]`; 1 is none.
    pub fn forward_told(&self, x: Tensor<4>, timestep: Tensor<1>, guidance: Tensor<1>, text: Tensor<3>) -> Tensor<4> {
        self.pass(x, (timestep, Some(guidance)), text, &Pass::Infer)
    }

    /// How many attentions of pixels to pixels it has.
    pub(crate) fn attentions(&self) -> usize {
        let levels = self.down_blocks.iter().chain([&self.mid_block]).chain(&self.up_blocks);
        levels.flat_map(|level| &level.attentions).map(|reader| reader.transformer_blocks.len()).sum()
    }

    /// The same in any pass; a training one may have its blocks run again for the gradient.
    pub(crate) fn pass(
        &self,
        x: Tensor<4>,
        (timestep, guidance): (Tensor<1>, Option<Tensor<1>>),
        text: Tensor<3>,
        pass: &Pass,
    ) -> Tensor<4> {
        let beside = &mut Beside { text: &text, next: 0, pass };
        let ear = self.time_embedding.cond_proj.as_ref();
        let told = ear.zip(guidance).map(|(ear, scale)| guidance_sinusoids(scale, ear.weight.lazy_shape()[1]));
        let embedding = kernels::silu(self.time_embedding.beside(timestep, told)); // every block reads it through SiLU
        let mut h = self.conv_in.forward(x);
        let mut skips = vec![h.clone()];
        for level in &self.down_blocks {
            for i in 0..level.resnets.len() {
                h = level.forward(i, h, &embedding, beside);
                skips.push(h.clone());
            }
            for sampler in &level.downsamplers {
                h = sampler.conv.forward(h);
                skips.push(h.clone());
            }
        }
        for i in 0..self.mid_block.resnets.len() {
            h = self.mid_block.forward(i, h, &embedding, beside);
        }
        for level in &self.up_blocks {
            for i in 0..level.resnets.len() {
                if let Some(skip) = skips.pop() {
                    h = Tensor::cat(vec![h, skip], 1);
                }
                h = level.forward(i, h, &embedding, beside);
            }
            for sampler in &level.upsamplers {
                // Sides that two did not divide on the way down come back as they were.
                let [_, _, rows, columns] = skips.last().map_or(h.dims(), Tensor::dims);
                h = match h.dims() {
                    [_, _, r, c] if [2 * r, 2 * c] == [rows, columns] => sampler.conv.forward_upsampled(h),
                    _ => sampler.conv.forward(nearest(h, [rows, columns])),
                };
            }
        }
        self.conv_out.forward(self.conv_norm_out.forward(h, None, true))
    }
}

/// Sinusoids of a guidance scale `[b]`, counted in thousandths from 1, which is none: `[b features]`, sines before cosines, and nothing for the
/// last of an odd number (Luo et al., 2023, arXiv 2310.04378, app. E; frequencies as in its teachers' code, from 1 down to 1e-4).
fn guidance_sinusoids(scale: Tensor<1>, features: usize) -> Tensor<2> {
    let (half, device) = (features / 2, scale.device());
    // In f32 as the reference has it: of thousands of radians its rounding is a digit that counts.
    let step = 10_000f32.ln() / (half as f32 - 1.0);
    let frequencies: Vec<f32> = (0..half).map(|i| (i as f32 * -step).exp()).collect();
    let frequencies = Tensor::<2>::from_data(TensorData::new(frequencies, [1, half]), &device);
    let angle = ((scale - 1.0) * 1000.0).unsqueeze_dim::<2>(1) * frequencies; // [b half]
    let b = angle.dims()[0];
    let odd = Tensor::zeros([b, features - 2 * half], &device);
    match features - 2 * half {
        0 => Tensor::cat(vec![angle.clone().sin(), angle.cos()], 1),
        _ => Tensor::cat(vec![angle.clone().sin(), angle.cos(), odd], 1),
    }
}

/// Nearest neighbours: `[b c h w]` to `[b c rows columns]`.
fn nearest(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    (2..4).fold(x, |x, axis| {
        let (from, to) = (x.dims()[axis], size[axis - 2]);
        let places: Vec<i64> = (0..to).map(|i| (i * from / to) as i64).collect();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [to]), &x.device());
        x.select(axis, places)
    })
}
