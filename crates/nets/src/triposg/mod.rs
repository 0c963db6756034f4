//! TripoSG's released networks (Li et al. 2025, arXiv:2502.06608): the flow's transformer and the autoencoder, under the names and in the order
//! of operations of `VAST-AI/TripoSG`. Written from the paper and from facts about the release; its program was not read.
//!
//! What differs from [`shape`](crate::shape), which is the same idea trained here: the time is an MLP's token, perceptrons have the exact GELU,
//! and queries, keys and values stand head by head in what three matrices say together ([`blocks`]).
//!
//! Sizes are those of the tensors. Where the facts leave something open, this is read: blocks of the autoencoder are called as those of the
//! transformer (`norm1`, `attn1` within; `norm2`, `attn2` across; `norm3`, `ff`), the encoder's first and the decoder's last look across,
//! and its attention splits heads in the same way.

pub mod blocks;
mod sizes;
#[cfg(test)]
mod tests;
mod transformer;
mod vae;

pub use sizes::{TripoSgConfig, TripoSgVaeConfig};
pub use transformer::TripoSg;
pub use vae::{TripoSgDecoder, TripoSgEncoder};

use crate::weights::Part;

/// This project's name of a stored tensor: two lists of layers as fields.
fn ours(theirs: &str) -> Vec<(String, Part)> {
    let mut name = theirs.to_owned();
    for (old, new) in [(".to_out.0.", ".to_out."), (".ff.net.0.proj.", ".ff.fc1."), (".ff.net.2.", ".ff.fc2.")] {
        name = name.replace(old, new);
    }
    vec![(name, Part::Whole)]
}
