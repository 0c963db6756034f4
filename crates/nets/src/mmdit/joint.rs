//! The joint block of MMDiT (Esser et al., 2024, arXiv 2403.03206, fig. 2b), which FLUX's double block is as well: text and
//! image keep their own weights and meet in one attention.
//!
//! Tensor names are diffusers'. Tokens stand text first, which matters to rotary positions alone.

use crate::init::{Init, Weights};
use crate::layers::{FeedForward, Linear, RmsNorm, apart, layer_norm};
use crate::recompute;
use crate::rotary::Rotation;
use base::{Bool, Features, Pass, Taps, Tensor};
use burn::module::Module;

/// Sizes of a joint block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Features of a token.
    pub width: usize,
    /// Heads, which divide the features.
    pub heads: usize,
    /// Whether queries and keys are normalised.
    pub qk_norm: bool,
    /// Whether the image has a second attention to itself (SD3.5-medium, MMDiT-X).
    pub dual: bool,
    /// Whether the text is read for the last time: it gives keys and values and is dropped.
    pub last: bool,
    /// Whether a text that is dropped still asks, as in released files; nobody hears its answer.
    pub asks: bool,
    /// Whether its layers have biases; FLUX.2's have none.
    pub biased: bool,
}

/// What a joint attention is told beside its tokens.
#[derive(Clone, Copy, Default)]
pub(crate) struct Told<'a> {
    /// Where tokens stand, in networks that turn queries and keys by it.
    pub turn: Option<&'a Rotation>,
    /// Which text tokens are real, `[b m]`; all where absent.
    pub mask: Option<&'a Tensor<2, Bool>>,
    /// Who looks at the image's features, and the layer's number.
    pub taps: Option<(usize, &'a Taps)>,
}

/// A linear layer of the activated embedding, in `n` equal parts: shifts, scales and gates, `[b d]` each.
#[derive(Module, Debug)]
pub struct Modulation {
    /// Embedding to all of them, `[n*d e]`.
    pub linear: Linear,
}

impl Modulation {
    /// `parts` vectors of `width` features.
    pub fn new(init: &Init, width: usize, parts: usize) -> Self {
        Self::between(init, width, width, parts)
    }

    /// The same of an embedding of another width.
    pub(crate) fn between(init: &Init, embedding: usize, width: usize, parts: usize) -> Self {
        Self { linear: Linear::new(&init.child("linear"), embedding, parts * width, Weights::Zero) }
    }

    /// The same as [`new`](Self::new), without a bias.
    pub(crate) fn without_bias(init: &Init, width: usize, parts: usize) -> Self {
        Self { linear: Linear::without_bias(&init.child("linear"), width, parts * width, Weights::Zero) }
    }

    /// All parts for the activated embedding `[b e]`, `N` of them, `[b d]` each.
    pub fn parts<const N: usize>(&self, embedding: &Tensor<2>) -> [Tensor<2>; N] {
        let all = self.linear.forward(embedding.clone());
        let d = all.dims()[1] / N;
        std::array::from_fn(|i| all.clone().narrow(1, i * d, d))
    }
}

/// Queries, keys and values of one stream, and the layer its heads end in.
fn linear(init: &Init, name: &str, sizes: Sizes) -> Linear {
    let (init, d) = (init.child(name), sizes.width);
    if sizes.biased {
        Linear::new(&init, d, d, Weights::Xavier)
    } else {
        Linear::without_bias(&init, d, d, Weights::Xavier)
    }
}

fn norm(init: &Init, name: &str, sizes: Sizes) -> Option<RmsNorm> {
    sizes.qk_norm.then(|| RmsNorm::new(&init.child(name), sizes.width / sizes.heads))
}

/// `x` `[b n d]` through `linear`, in heads, normalised where there is a `norm`: `[b heads n d/heads]`.
pub(crate) fn head(x: &Tensor<3>, linear: &Linear, norm: Option<&RmsNorm>, heads: usize) -> Tensor<4> {
    in_heads(linear.forward(x.clone()), norm, heads)
}

pub(crate) fn in_heads(y: Tensor<3>, norm: Option<&RmsNorm>, heads: usize) -> Tensor<4> {
    let y = apart(y, heads);
    match norm {
        Some(norm) => norm.forward(y),
        None => y,
    }
}

/// Attention over text and image together.
#[derive(Module, Debug)]
pub struct JointAttention {
    /// Queries of the image.
    pub to_q: Linear,
    /// Keys of the image.
    pub to_k: Linear,
    /// Values of the image.
    pub to_v: Linear,
    /// Queries of the text, where it asks.
    pub add_q_proj: Option<Linear>,
    /// Keys of the text.
    pub add_k_proj: Linear,
    /// Values of the text.
    pub add_v_proj: Linear,
    /// Heads of the image back to features.
    pub to_out: Linear,
    /// Heads of the text back to features, unless it is dropped.
    pub to_add_out: Option<Linear>,
    /// Normalises queries of the image.
    pub norm_q: Option<RmsNorm>,
    /// Normalises keys of the image.
    pub norm_k: Option<RmsNorm>,
    /// Normalises queries of the text.
    pub norm_added_q: Option<RmsNorm>,
    /// Normalises keys of the text.
    pub norm_added_k: Option<RmsNorm>,
    heads: usize,
}

impl JointAttention {
    pub(crate) fn new(init: &Init, sizes: Sizes) -> Self {
        let asks = !sizes.last || sizes.asks;
        Self {
            to_q: linear(init, "to_q", sizes),
            to_k: linear(init, "to_k", sizes),
            to_v: linear(init, "to_v", sizes),
            add_q_proj: asks.then(|| linear(init, "add_q_proj", sizes)),
            add_k_proj: linear(init, "add_k_proj", sizes),
            add_v_proj: linear(init, "add_v_proj", sizes),
            to_out: linear(init, "to_out", sizes),
            to_add_out: (!sizes.last).then(|| linear(init, "to_add_out", sizes)),
            norm_q: norm(init, "norm_q", sizes),
            norm_k: norm(init, "norm_k", sizes),
            norm_added_q: if asks { norm(init, "norm_added_q", sizes) } else { None },
            norm_added_k: norm(init, "norm_added_k", sizes),
            heads: sizes.heads,
        }
    }

    /// Image `[b n d]` and text `[b m d]` to what each is told; nothing for a text that is dropped.
    pub(crate) fn forward(&self, image: Tensor<3>, text: Tensor<3>, told: Told) -> (Tensor<3>, Option<Tensor<3>>) {
        let ([b, n, _], m) = (image.dims(), text.dims()[1]);
        let both = |text: Tensor<4>, image: Tensor<4>| Tensor::cat(vec![text, image], 2); // [b heads m+n size]
        let (h, norm) = (self.heads, Option::as_ref);
        let of_image = [&self.to_q, &self.to_k, &self.to_v].map(|layer| layer.forward(image.clone()));
        let [q, k, v] = shown(of_image, told.taps); // [b n d] each
        let q = in_heads(q, norm(&self.norm_q), h);
        let q = match &self.add_q_proj {
            Some(layer) => both(head(&text, layer, norm(&self.norm_added_q), h), q),
            None => q,
        };
        let k = both(head(&text, &self.add_k_proj, norm(&self.norm_added_k), h), in_heads(k, norm(&self.norm_k), h));
        let v = both(head(&text, &self.add_v_proj, None, h), in_heads(v, None, h));
        let mask = told.mask.map(|real| {
            let image = Tensor::<2>::ones([b, n], &real.device()).greater_elem(0.5);
            Tensor::cat(vec![real.clone(), image], 1) // [b m+n]
        });
        let y = kernels::join_heads(kernels::attention(turned(q, told.turn), turned(k, told.turn), v, mask));
        let asked = y.dims()[1]; // m+n, or n where the text does not ask
        let image = self.to_out.forward(y.clone().narrow(1, asked - n, n));
        let text = self.to_add_out.as_ref().map(|layer| layer.forward(y.narrow(1, 0, m)));
        (image, text)
    }
}

/// Queries, keys and values, or what somebody who looks puts in their place.
pub(crate) fn shown([query, key, value]: [Tensor<3>; 3], taps: Option<(usize, &Taps)>) -> [Tensor<3>; 3] {
    match taps {
        Some((number, taps)) if taps.0.wants(number) => {
            let Features { query, key, value } = taps.0.attend(number, Features { query, key, value });
            [query, key, value]
        }
        _ => [query, key, value],
    }
}

/// [`JointBlock::forward`] of a released network, run again for the gradient: text and image travel in one, text first.
pub(crate) fn again(
    block: &JointBlock,
    image: Tensor<3>,
    text: Tensor<3>,
    embedding: &Tensor<2>,
    pass: &Pass,
    turn: Option<&Rotation>,
) -> (Tensor<3>, Tensor<3>) {
    let (n, m) = (image.dims()[1], text.dims()[1]);
    let turn = turn.cloned();
    let both = Tensor::cat(vec![text, image], 1); // [b m+n d]
    let both = recompute::run(block, both, embedding, pass, move |block, both, embedding, _| {
        let turn = turn.as_ref().map(|(cosines, sines)| (recompute::on(cosines, &both), recompute::on(sines, &both)));
        let (text, image) = (both.clone().narrow(1, 0, m), both.narrow(1, m, n));
        let (image, text) = block.forward(image, text, &embedding, Told { turn: turn.as_ref(), ..Told::default() });
        Tensor::cat(vec![text, image], 1)
    });
    (both.clone().narrow(1, m, n), both.narrow(1, 0, m))
}

/// Queries or keys at their places.
pub(crate) fn turned(x: Tensor<4>, turn: Option<&Rotation>) -> Tensor<4> {
    match turn {
        Some((cosines, sines)) => kernels::rotary(x, cosines.clone(), sines.clone()),
        None => x,
    }
}

/// Attention of the image to itself, beside the joint one (MMDiT-X).
#[derive(Module, Debug)]
pub struct ImageAttention {
    /// Queries.
    pub to_q: Linear,
    /// Keys.
    pub to_k: Linear,
    /// Values.
    pub to_v: Linear,
    /// Heads back to features.
    pub to_out: Linear,
    /// Normalises queries.
    pub norm_q: Option<RmsNorm>,
    /// Normalises keys.
    pub norm_k: Option<RmsNorm>,
    heads: usize,
}

impl ImageAttention {
    fn new(init: &Init, sizes: Sizes) -> Self {
        Self {
            to_q: linear(init, "to_q", sizes),
            to_k: linear(init, "to_k", sizes),
            to_v: linear(init, "to_v", sizes),
            to_out: linear(init, "to_out", sizes),
            norm_q: norm(init, "norm_q", sizes),
            norm_k: norm(init, "norm_k", sizes),
            heads: sizes.heads,
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let q = head(&x, &self.to_q, self.norm_q.as_ref(), self.heads);
        let k = head(&x, &self.to_k, self.norm_k.as_ref(), self.heads);
        let v = head(&x, &self.to_v, None, self.heads);
        self.to_out.forward(kernels::join_heads(kernels::attention(q, k, v, None)))
    }
}

/// One joint block.
#[derive(Module, Debug)]
pub struct JointBlock {
    /// Shift, scale and gate of the attention, of the perceptron, and of the second attention where there is one.
    pub norm1: Modulation,
    /// The same of the text; scale and shift alone (in this order) where it is dropped.
    pub norm1_context: Modulation,
    /// Attention over both.
    pub attn: JointAttention,
    /// Attention of the image to itself.
    pub attn2: Option<ImageAttention>,
    /// Perceptron of the image.
    pub ff: FeedForward,
    /// Perceptron of the text, unless it is dropped.
    pub ff_context: Option<FeedForward>,
}

impl JointBlock {
    pub(crate) fn new(init: &Init, sizes: Sizes) -> Self {
        let d = sizes.width;
        let perceptron = |name: &str| FeedForward::new(&init.child(name), d, 4 * d);
        Self {
            norm1: Modulation::new(&init.child("norm1"), d, if sizes.dual { 9 } else { 6 }),
            norm1_context: Modulation::new(&init.child("norm1_context"), d, if sizes.last { 2 } else { 6 }),
            attn: JointAttention::new(&init.child("attn"), sizes),
            attn2: sizes.dual.then(|| ImageAttention::new(&init.child("attn2"), sizes)),
            ff: perceptron("ff"),
            ff_context: (!sizes.last).then(|| perceptron("ff_context")),
        }
    }

    /// Image `[b n d]`, text `[b m d]` and the activated embedding `[b d]` to image and text; a dropped text comes back as
    /// it was.
    pub(crate) fn forward(
        &self,
        image: Tensor<3>,
        text: Tensor<3>,
        embedding: &Tensor<2>,
        beside: Told,
    ) -> (Tensor<3>, Tensor<3>) {
        let ([shift, scale, gate, shift2, scale2, gate2], second) = match &self.attn2 {
            None => (self.norm1.parts(embedding), None),
            Some(attention) => {
                let [a, b, c, d, e, f, shift, scale, gate] = self.norm1.parts(embedding);
                ([a, b, c, d, e, f], Some((attention, layer_norm(image.clone(), scale, shift), gate)))
            }
        };
        let read = layer_norm(image.clone(), scale, shift);
        // The second attention reads the block's own input, whatever the first one says.
        let after = |told: Tensor<3>| {
            let mut x = kernels::gated(image, told, gate);
            if let Some((attention, read, gate)) = second {
                x = kernels::gated(x, attention.forward(read), gate);
            }
            let told = self.ff.forward(layer_norm(x.clone(), scale2, shift2));
            kernels::gated(x, told, gate2)
        };
        let Some(ff_context) = &self.ff_context else {
            let [scale, shift] = self.norm1_context.parts(embedding);
            let (told, _) = self.attn.forward(read, layer_norm(text.clone(), scale, shift), beside);
            return (after(told), text);
        };
        let [shift, scale, gate, shift2, scale2, gate2] = self.norm1_context.parts(embedding);
        let (told, text_told) = self.attn.forward(read, layer_norm(text.clone(), scale, shift), beside);
        let text = match text_told {
            Some(told) => kernels::gated(text, told, gate),
            None => text,
        };
        let text_told = ff_context.forward(layer_norm(text.clone(), scale2, shift2));
        (after(told), kernels::gated(text, text_told, gate2))
    }
}
