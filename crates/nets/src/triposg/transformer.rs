//! The released flow: a transformer over latent vectors that looks at a picture's tokens.
//!
//! The time is a token before the others, dropped at the end. What the first half of the blocks say is joined to what the second half hears, last
//! to first: the earlier answer first, the norm after the linear layer. Its frame is that of noise levels, which this one's door turns
//! round: it is told `1000 (1 - t)`, and what it says, data minus noise, is the velocity as it is.

use super::blocks::{Block, EPSILON, Looks};
use super::ours;
use super::sizes::{TripoSgConfig, count, divides, matrix};
use crate::NetsError;
use crate::init::{Init, Weights};
use crate::layers::{LayerNorm, Linear};
use crate::published::Published;
use crate::weights::{Renamed, Strict, TensorSource, load};
use base::{Device, Tensor, TensorData, Times};
use burn::module::Module;
use burn::tensor::activation;

/// Times of the released frame between noise and data.
const LEVELS: f64 = 1000.0;
/// The longest period of the time's sinusoids, over 2 pi.
const PERIOD: f64 = 1e4;

/// Two layers that make a token of a time.
#[derive(Module, Debug)]
pub struct TimeToken {
    /// Sinusoids to hidden.
    pub linear_1: Linear,
    /// Hidden to features.
    pub linear_2: Linear,
}

/// The released transformer.
#[derive(Module, Debug)]
pub struct TripoSg {
    /// Numbers of a latent vector to features.
    pub proj_in: Linear,
    /// The time.
    pub time_proj: TimeToken,
    /// An odd number.
    pub blocks: Vec<Block>,
    /// After the last.
    pub norm_out: LayerNorm,
    /// Features to numbers of a latent vector.
    pub proj_out: Linear,
}

/// Lengths that the tensors say.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    channels: usize,
    width: usize,
    blocks: usize,
    heads: usize,
    heard: usize,
}

impl Sizes {
    fn of<S: TensorSource + ?Sized>(config: &TripoSgConfig, source: &S) -> Result<Self, NetsError> {
        let [width, channels] = matrix(source, "proj_in.weight")?;
        if !width.is_multiple_of(2) {
            let what = format!(
                "proj_in.weight makes {width} features; an even number is read, as many sines as cosines of the time"
            );
            return Err(NetsError::config(what));
        }
        let [_, heard] = matrix(source, "blocks.0.attn2.to_k.weight")?;
        let blocks = count(source, "blocks.");
        if blocks.is_multiple_of(2) {
            return Err(NetsError::config(format!(
                "it has {blocks} blocks; a middle one and as many on either side are read"
            )));
        }
        let norm = "blocks.0.attn1.norm_q.weight";
        let size = source.shape(norm).and_then(|shape| shape.first().copied()).filter(|size| *size > 0);
        let size = size.ok_or_else(|| NetsError::Tensor {
            name: norm.into(),
            problem: "is missing; the released transformer normalises queries".into(),
        })?;
        let heads = width / size;
        match config.num_attention_heads {
            _ if heads * size != width => divides(size, width).map(|_| ())?,
            Some(told) if told != heads => {
                let what = format!("num_attention_heads is {told}, and the norms of queries are for {heads}");
                return Err(NetsError::config(what));
            }
            _ => {}
        }
        Ok(Self { channels, width, blocks, heads, heard })
    }
}

impl TripoSgConfig {
    /// The transformer with the weights of `source`, in the types they are stored in.
    ///
    /// # Errors
    /// Tensors that are missing, unexpected or of another shape, each by name.
    pub fn load<S: TensorSource + ?Sized>(&self, source: &S, device: &Device) -> Result<TripoSg, NetsError> {
        self.check()?;
        let sizes = Sizes::of(self, source)?;
        let renamed = Renamed::new(source, ours)?;
        load(TripoSg::new(sizes, &Init::declared(device)), &renamed, Strict::Exact)
    }
}

impl TripoSg {
    fn new(sizes: Sizes, init: &Init) -> Self {
        let Sizes { channels, width, blocks, heads, heard } = sizes;
        let linear =
            |init: &Init, name: &str, input, output| Linear::new(&init.child(name), input, output, Weights::Xavier);
        let looks = |context| Some(Looks { width, context, heads, normed: true, norm_cross: false });
        let (time, list) = (init.child("time_proj"), init.child("blocks"));
        let block = |i: usize| Block::new(&list.child(i), looks(width), looks(heard), width, i > blocks / 2);
        Self {
            proj_in: linear(init, "proj_in", channels, width),
            time_proj: TimeToken {
                linear_1: linear(&time, "linear_1", width, 4 * width),
                linear_2: linear(&time, "linear_2", 4 * width, width),
            },
            blocks: (0..blocks).map(block).collect(),
            norm_out: LayerNorm::new(&init.child("norm_out"), width, EPSILON),
            proj_out: linear(init, "proj_out", width, channels),
        }
    }

    /// Numbers of a latent vector.
    pub fn channels(&self) -> usize {
        self.proj_in.weight.dims()[1]
    }

    /// Features of a token.
    pub fn width(&self) -> usize {
        self.proj_in.weight.dims()[0]
    }

    /// Numbers of a picture's token.
    pub fn heard(&self) -> usize {
        self.blocks[0].attn2.as_ref().map_or(0, |attention| attention.to_k.weight.dims()[1])
    }

    /// The velocity of latent vectors `x` `[b m channels]` at times `t` (0 at the noise), where `heard` `[b n c]` is what the picture says:
    /// `[b m channels]`.
    pub fn velocity(&self, x: Tensor<3>, t: &Times, heard: Tensor<3>) -> Tensor<3> {
        let ([_, m, _], device) = (x.dims(), x.device());
        let mut h = Tensor::cat(vec![self.time(t, &device), self.proj_in.forward(x)], 1); // [b 1+m d]
        let half = self.blocks.len() / 2;
        let mut skips = Vec::with_capacity(half);
        for (i, block) in self.blocks.iter().enumerate() {
            let skip = if i > half { skips.pop() } else { None };
            h = block.forward(h, skip, block.seen(heard.clone()));
            if i < half {
                skips.push(h.clone());
            }
        }
        self.proj_out.forward(self.norm_out.forward(h).narrow(1, 1, m))
    }

    /// A token of each time, `[b 1 d]`: sines, then cosines, through two layers.
    fn time(&self, t: &Times, device: &Device) -> Tensor<3> {
        let width = self.width();
        let half = width / 2;
        let rate = |i: usize| (-PERIOD.ln() * i as f64 / half as f64).exp();
        let waves = t.values().iter().flat_map(|t| {
            let angle = move |i: usize| LEVELS * (1.0 - t) * rate(i);
            let sines = (0..half).map(move |i| angle(i).sin() as f32);
            sines.chain((0..half).map(move |i| angle(i).cos() as f32))
        });
        let waves = Tensor::from_data(TensorData::new(waves.collect::<Vec<f32>>(), [t.len(), 1, 2 * half]), device);
        let TimeToken { linear_1, linear_2 } = &self.time_proj;
        linear_2.forward(activation::gelu(linear_1.forward(waves)))
    }
}
