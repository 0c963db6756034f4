//! One block of Z-Image (Z-Image Team, 2025, arXiv 2511.22699, sec. 3): attention and a gated perceptron, each normalised before and after
//! by root mean squares; the time scales what is read and gates what is added.

use super::ZImageConfig;
use crate::init::{Init, Weights};
use crate::layers::{Linear, RmsNorm, SwiGlu};
use crate::mmdit::Modulation;
use crate::mmdit::joint::{in_heads, shown, turned};
use crate::rotary::Rotation;
use base::{Bool, Taps, Tensor};
use burn::module::Module;

/// Added to the mean squares of queries and keys, whatever the other normalisations add.
const HEADS: f64 = 1e-5;

/// Tokens' places and who of them is real.
#[derive(Clone, Copy)]
pub(super) struct Seats<'a> {
    /// Angles of all samples, or of each.
    pub turns: &'a [Rotation],
    /// Which tokens are there, `[b n]`; all where absent.
    pub mask: Option<&'a Tensor<2, Bool>>,
    /// How many of them are the image's, which stand first.
    pub image: usize,
}

/// Attention of all tokens to all, without biases.
#[derive(Module, Debug)]
pub struct ZImageAttention {
    /// Queries.
    pub to_q: Linear,
    /// Keys.
    pub to_k: Linear,
    /// Values.
    pub to_v: Linear,
    /// Heads back to features.
    pub to_out: Linear,
    /// Normalises queries.
    pub norm_q: RmsNorm,
    /// Normalises keys.
    pub norm_k: RmsNorm,
    heads: usize,
}

impl ZImageAttention {
    fn new(init: &Init, d: usize, heads: usize) -> Self {
        let linear = |name: &str| Linear::without_bias(&init.child(name), d, d, Weights::Xavier);
        let norm = |name: &str| RmsNorm::new(&init.child(name), d / heads).with_epsilon(HEADS);
        Self {
            to_q: linear("to_q"),
            to_k: linear("to_k"),
            to_v: linear("to_v"),
            to_out: linear("to_out"),
            norm_q: norm("norm_q"),
            norm_k: norm("norm_k"),
            heads,
        }
    }

    fn forward(&self, x: Tensor<3>, seats: Seats, taps: Option<(usize, &Taps)>) -> Tensor<3> {
        let of_tokens = [&self.to_q, &self.to_k, &self.to_v].map(|layer| layer.forward(x.clone()));
        let [q, k, v] = match taps {
            None => of_tokens,
            Some(taps) => image_shown(of_tokens, seats.image, taps),
        };
        let at_place = |x: Tensor<4>| match seats.turns {
            [one] => turned(x, Some(one)),
            each => {
                let of_one = |(i, turn)| turned(x.clone().narrow(0, i, 1), Some(turn));
                Tensor::cat(each.iter().enumerate().map(of_one).collect(), 0)
            }
        };
        let q = at_place(in_heads(q, Some(&self.norm_q), self.heads));
        let k = at_place(in_heads(k, Some(&self.norm_k), self.heads));
        let v = in_heads(v, None, self.heads);
        self.to_out.forward(kernels::join_heads(kernels::attention(q, k, v, seats.mask.cloned())))
    }
}

/// Features of all tokens of which those of the image, the first so many, are shown: texts that are laid beside each other have other numbers
/// of tokens.
fn image_shown(of_tokens: [Tensor<3>; 3], image: usize, taps: (usize, &Taps)) -> [Tensor<3>; 3] {
    let all = of_tokens[0].dims()[1];
    let of_text = of_tokens.each_ref().map(|x| x.clone().narrow(1, image, all - image));
    let [q, k, v] = shown(of_tokens.map(|x| x.narrow(1, 0, image)), Some(taps));
    let [text_q, text_k, text_v] = of_text;
    [(q, text_q), (k, text_k), (v, text_v)].map(|(image, text)| Tensor::cat(vec![image, text], 1))
}

/// One block.
#[derive(Module, Debug)]
pub struct ZImageBlock {
    /// Attention.
    pub attention: ZImageAttention,
    /// Perceptron.
    pub feed_forward: SwiGlu,
    /// Before the attention.
    pub attention_norm1: RmsNorm,
    /// After it.
    pub attention_norm2: RmsNorm,
    /// Before the perceptron.
    pub ffn_norm1: RmsNorm,
    /// After it.
    pub ffn_norm2: RmsNorm,
    /// Scale and gate of the attention, then of the perceptron; none where the text is read alone.
    pub modulation: Option<Modulation>,
}

impl ZImageBlock {
    pub(super) fn new(init: &Init, config: &ZImageConfig, told: bool) -> Self {
        let d = config.dim;
        let norm = |name: &str| RmsNorm::new(&init.child(name), d).with_epsilon(config.norm_eps);
        Self {
            attention: ZImageAttention::new(&init.child("attention"), d, config.n_heads),
            feed_forward: SwiGlu::new(&init.child("feed_forward"), d, config.hidden()),
            attention_norm1: norm("attention_norm1"),
            attention_norm2: norm("attention_norm2"),
            ffn_norm1: norm("ffn_norm1"),
            ffn_norm2: norm("ffn_norm2"),
            modulation: told.then(|| Modulation::between(&init.child("modulation"), config.embedding(), d, 4)),
        }
    }

    /// Tokens `[b n d]` at their seats, told the time's embedding `[b e]` where the block has an ear for it.
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        embedding: &Tensor<2>,
        seats: Seats,
        taps: Option<(usize, &Taps)>,
    ) -> Tensor<3> {
        let told = self.modulation.as_ref().map(|modulation| modulation.parts::<4>(embedding));
        let [scale, gate, scale2, gate2] = told.map_or([const { None }; 4], |parts| parts.map(Some));
        let y = self.attention.forward(scaled(self.attention_norm1.forward(x.clone()), scale), seats, taps);
        let x = added(x, self.attention_norm2.forward(y), gate);
        let y = self.feed_forward.forward(scaled(self.ffn_norm1.forward(x.clone()), scale2));
        added(x, self.ffn_norm2.forward(y), gate2)
    }
}

/// `(1 + scale) x`, where there is a scale.
fn scaled(x: Tensor<3>, scale: Option<Tensor<2>>) -> Tensor<3> {
    match scale {
        Some(scale) => x * (scale + 1.0).unsqueeze_dim(1),
        None => x,
    }
}

/// `x + tanh(gate) y`, or their sum.
fn added(x: Tensor<3>, y: Tensor<3>, gate: Option<Tensor<2>>) -> Tensor<3> {
    match gate {
        Some(gate) => kernels::gated(x, y, gate.tanh()),
        None => x + y,
    }
}
