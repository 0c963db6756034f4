//! Taps: what attention layers show of themselves in a pass, and what may be put in its place.
//!
//! Every attention layer of a network has a number, in the order of a forward pass, and offers its queries, keys and values
//! to the pass's [`Tap`]. Editing methods store those of one pass and put them into another (RF-Edit, arXiv 2411.04746, §3.3).
//! A pass without a tap costs nothing.

use burn::tensor::Tensor;
use std::{fmt, sync::Arc};

/// What an attention layer computes of its tokens before it attends, `[b n d]` each, heads side by side.
#[derive(Clone, Debug)]
pub struct Features {
    /// Queries.
    pub query: Tensor<3>,
    /// Keys.
    pub key: Tensor<3>,
    /// Values.
    pub value: Tensor<3>,
}

/// Somebody who reads or replaces features.
pub trait Tap: Send + Sync {
    /// Whether it wants those of attention layer `block`; the others are not taken apart for it.
    fn wants(&self, block: usize) -> bool;

    /// The features of layer `block` to go on with: those given, or others of the same shape.
    fn attend(&self, block: usize, features: Features) -> Features;
}

/// A shared tap.
#[derive(Clone)]
pub struct Taps(pub Arc<dyn Tap>);

impl fmt::Debug for Taps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Taps")
    }
}

impl Taps {
    /// Queries, keys and values in one, `[b n 3d]`, as layer `block` should go on with them.
    pub fn through(&self, block: usize, qkv: Tensor<3>) -> Tensor<3> {
        if !self.0.wants(block) {
            return qkv;
        }
        let d = qkv.dims()[2] / 3;
        let [query, key, value] = [0, 1, 2].map(|part| qkv.clone().narrow(2, part * d, d));
        let Features { query, key, value } = self.0.attend(block, Features { query, key, value });
        Tensor::cat(vec![query, key, value], 2)
    }
}
