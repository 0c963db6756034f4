//! Decoding in tiles that overlap, for pictures whose decoding would not fit into memory.
//!
//! Memory is that of one tile, and of the picture. Tiles are decoded on their own: attention and normalisations see one tile and not the
//! picture, so that the result is not to the bit what decoding at once gives; where tiles overlap they are mixed, linearly.

use super::Autoencoder;
use crate::NetsError;
use base::{Tensor, TensorData};
use burn::tensor::DType;

/// How a latent is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// Side of a tile, in pixels of the latent.
    pub side: usize,
    /// Pixels of the latent that neighbours share, less than half of the side.
    pub overlap: usize,
}

impl Tiles {
    /// Tiles of `side` that share a quarter.
    ///
    /// # Errors
    /// [`NetsError::Config`] for tiles too small to share any.
    pub fn new(side: usize) -> Result<Self, NetsError> {
        if side < 4 {
            return Err(NetsError::config(format!(
                "tiles of {side} latent pixels are too small to overlap; use 4 or more"
            )));
        }
        Ok(Self { side, overlap: side / 4 })
    }

    /// Where tiles begin along an axis of `length`, the last one ending with it.
    fn starts(self, length: usize) -> Vec<usize> {
        if length <= self.side {
            return vec![0];
        }
        let last = length - self.side;
        let step = self.side - self.overlap;
        (0..last).step_by(step).chain([last]).collect()
    }
}

/// How much a tile of `length` pixels counts at each of them: rising over `shared` pixels from an edge that another tile lies behind.
fn ramp(length: usize, shared: usize, [first, last]: [bool; 2]) -> Vec<f32> {
    let rise = |from_edge: usize| ((from_edge as f32 + 0.5) / shared.max(1) as f32).min(1.0);
    let weight = |i: usize| {
        let left = if first { 1.0 } else { rise(i) };
        let right = if last { 1.0 } else { rise(length - 1 - i) };
        left * right
    };
    (0..length).map(weight).collect()
}

/// Latents `[b c h w]` to images `[b c' h*factor w*factor]`, tile by tile through `decode`.
fn in_tiles(latents: &Tensor<4>, tiles: Tiles, decode: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    let [b, _, h, w] = latents.dims();
    let (rows, columns) = (tiles.starts(h), tiles.starts(w));
    if rows.len() == 1 && columns.len() == 1 {
        return decode(latents.clone());
    }
    let (mut sums, mut weights, mut size) = (Vec::new(), Vec::new(), [0usize; 3]);
    for &y in &rows {
        for &x in &columns {
            let (tall, wide) = (tiles.side.min(h), tiles.side.min(w));
            let part = decode(latents.clone().narrow(2, y, tall).narrow(3, x, wide));
            let [_, c, ph, pw] = part.dims();
            let factor = ph / tall;
            if sums.is_empty() {
                size = [c, h * factor, w * factor];
                sums = vec![0f32; b * c * size[1] * size[2]];
                weights = vec![0f32; size[1] * size[2]];
            }
            let shared = tiles.overlap * factor;
            let down = ramp(ph, shared, [y == 0, y + tall == h]);
            let across = ramp(pw, shared, [x == 0, x + wide == w]);
            let values: Vec<f32> = part.cast(DType::F32).into_data().iter::<f32>().collect();
            for (plane, values) in values.chunks_exact(ph * pw).enumerate() {
                for (i, row) in values.chunks_exact(pw).enumerate() {
                    let start = (plane * size[1] + y * factor + i) * size[2] + x * factor;
                    for ((sum, value), share) in sums[start..start + pw].iter_mut().zip(row).zip(&across) {
                        *sum += value * share * down[i];
                    }
                }
            }
            for (i, down) in down.iter().enumerate() {
                let start = (y * factor + i) * size[2] + x * factor;
                for (weight, share) in weights[start..start + pw].iter_mut().zip(&across) {
                    *weight += share * down;
                }
            }
        }
    }
    let plane = weights.len();
    for sums in sums.chunks_exact_mut(plane) {
        sums.iter_mut().zip(&weights).for_each(|(sum, weight)| *sum /= weight);
    }
    Tensor::from_data(TensorData::new(sums, [b, size[0], size[1], size[2]]), &latents.device())
}

impl Autoencoder {
    /// [`decode`](Self::decode) in tiles.
    pub fn decode_in(&self, latents: &Tensor<4>, tiles: Tiles) -> Tensor<4> {
        in_tiles(latents, tiles, |part| self.decode(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Device;

    /// A decoder that sees one pixel at a time gives in tiles what it gives at once, whatever the sides.
    ///
    /// Mutants: weights not divided by their sum; the last tile begun a step on; a ramp at the picture's own edge.
    #[test]
    fn tiles_of_pixels_are_the_picture() {
        let device = Device::flex();
        let doubled = |x: Tensor<4>| {
            let [b, c, h, w] = x.dims();
            x.reshape([b, c, h, 1, w, 1]).expand([b, c, h, 2, w, 2]).reshape([b, c, 2 * h, 2 * w])
        };
        for ([h, w], side) in [([11, 23], 8), ([8, 8], 8), ([5, 40], 8), ([30, 9], 4)] {
            let values: Vec<f32> = (0..2 * 3 * h * w).map(|i| (i as f32 * 0.37).sin()).collect();
            let x = Tensor::<4>::from_data(TensorData::new(values, [2, 3, h, w]), &device);
            let tiles = Tiles::new(side).unwrap();
            let far = (in_tiles(&x, tiles, doubled) - doubled(x)).abs().max().into_scalar::<f32>();
            assert!(far < 1e-6, "{h}x{w} in {side}: {far}");
        }
        assert!(Tiles::new(3).is_err());
    }

    /// Neighbours pass into each other without a step: of two tiles of one value each the picture rises evenly.
    ///
    /// Mutant: each pixel taken from one tile.
    #[test]
    fn neighbours_are_mixed_linearly() {
        let device = Device::flex();
        let x = Tensor::<4>::from_data(TensorData::new((0..12).map(|i| i as f32).collect(), [1, 1, 1, 12]), &device);
        // Each tile all of its first value: 0 and 4.
        let flat = |x: Tensor<4>| x.clone().narrow(3, 0, 1).expand(x.dims());
        let tiles = Tiles { side: 8, overlap: 4 };
        let got: Vec<f32> = in_tiles(&x, tiles, flat).into_data().try_to_vec().unwrap();
        assert_eq!(got, [0.0, 0.0, 0.0, 0.0, 0.5, 1.5, 2.5, 3.5, 4.0, 4.0, 4.0, 4.0]);
    }
}
