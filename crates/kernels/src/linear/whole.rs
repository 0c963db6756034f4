//! Linear maps of rows in f32: matrix products.
//!
//! The terms of a sum are taken in blocks of at most [`DEPTH`], each block one chain, and the blocks added in order. A product of
//! few rows would take other ways through the library, so more are added to them. So a row's result does not depend on the
//! number of rows, nor on threads.

use super::through;
use crate::activation::Activation;
use crate::conv::tile::parts;
use crate::host::Scratch;
use crate::product::{Matrix, product};
use rayon::prelude::*;

/// Terms per block: what the library itself takes at a time.
const DEPTH: usize = 512;
/// Results up to which the library sums in another order.
const FEW: usize = 16 * 16;
/// Rows below which it may.
const LEAST: usize = 16;
/// Rows whose outputs the activation finds in a near cache.
const ROWS: usize = 2048;
/// Multiplications below which the work takes no longer than handing it out.
const SMALL: usize = 1 << 16;

/// `y = x weight + bias`: `x` `[rows, depth]`, `weight` `[depth, channels]` in any layout, `y` `[rows, channels]`.
#[derive(Clone, Copy)]
pub(super) struct RowMap<'a> {
    pub x: &'a [f32],
    pub depth: usize,
    pub weight: Matrix<'a>,
    pub channels: usize,
    pub bias: Option<&'a [f32]>,
}

impl RowMap<'_> {
    /// `y` from the map, through `activation` where there is one; what goes into that is kept in `before` where asked.
    pub fn run(self, y: &mut [f32], activation: Option<Activation>, before: Option<&mut [f32]>) {
        if y.is_empty() {
            return;
        }
        assert!(y.len() / self.channels * self.depth == self.x.len());
        // Without an activation nothing comes back to the outputs, and the library had better see all rows.
        let rows = if activation.is_some() { ROWS } else { y.len() / self.channels };
        let x = |i: usize, y: &[f32]| &self.x[i * rows * self.depth..][..y.len() / self.channels * self.depth];
        // The library shares out the rows of each part.
        through(y, before, activation, rows * self.channels, false, |i, y| self.sums(x(i, y), y));
    }

    /// The map of the rows of `x`, before any activation.
    fn sums(&self, x: &[f32], y: &mut [f32]) {
        let (depth, channels) = (self.depth, self.channels);
        let rows = y.len() / channels;
        let least = LEAST.max(FEW / channels + 1);
        if rows >= least {
            return self.blocks(x, y);
        }
        let (mut more, mut out) = (Scratch::take(least * depth), Scratch::take(least * channels));
        let (more, out) = (&mut more[..least * depth], &mut out[..least * channels]);
        more[..x.len()].copy_from_slice(x);
        more[x.len()..].fill(0.0);
        self.blocks(more, out);
        y.copy_from_slice(&out[..y.len()]);
    }

    /// Block of terms by block of terms.
    fn blocks(&self, x: &[f32], y: &mut [f32]) {
        let (depth, channels) = (self.depth, self.channels);
        let rows = y.len() / channels;
        match self.bias {
            Some(bias) => y
                .par_chunks_mut(LEAST * channels)
                .for_each(|y| y.chunks_exact_mut(channels).for_each(|y| y.copy_from_slice(bias))),
            None if depth == 0 => y.fill(0.0),
            None => {}
        }
        let parallel = rows * depth * channels >= SMALL;
        for (k, terms) in parts(depth, DEPTH) {
            let x = Matrix { data: &x[k..], row: depth, column: 1 };
            let weight = Matrix { data: &self.weight.data[k * self.weight.row..], ..self.weight };
            product((rows, channels, terms), 1.0, x, weight, y, k > 0 || self.bias.is_some(), parallel);
        }
    }
}
