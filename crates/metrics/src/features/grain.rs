//! The grain of an image: how rough it is at two scales, whether it shows a grid of 2 x 2 patches, how its corners are. A judge by hand
//! for what networks trained to name things are blind to: faint noise, slight blur, a background that is nearly right.
//!
//! Roughness is told by quantiles of second differences, not by their mean, which a few edges rule. All in levels `l` of 1/255 of
//! the range, as `log2(1 + l)`.

use super::resize;
use crate::extractor::check_images;
use crate::{Extractor, Matrix, MetricsError};

/// Quantiles of the second differences, in hundredths.
const QUANTILES: [usize; 4] = [25, 50, 75, 90];
/// Quantiles in two directions at two scales, the grid in two directions, the corners.
const DIM: usize = QUANTILES.len() * 4 + 3;

/// The extractor; images of at least 8 x 8.
#[derive(Clone, Copy, Debug, Default)]
pub struct Grain;

/// A length in [-1, 1] as a logarithm of levels.
fn log(value: f32) -> f32 {
    (1.0 + value.abs() * 127.5).log2()
}

/// One plane and its size; `down` planes are read along their columns.
#[derive(Clone, Copy)]
struct Plane<'a> {
    values: &'a [f32],
    size: [usize; 2],
    down: bool,
}

impl Plane<'_> {
    /// Values along the direction, line by line.
    fn lines(self) -> impl Iterator<Item = Vec<f32>> {
        let [h, w] = self.size;
        let (lines, length) = if self.down { (w, h) } else { (h, w) };
        (0..lines).map(move |i| {
            (0..length).map(|j| if self.down { self.values[j * w + i] } else { self.values[i * w + j] }).collect()
        })
    }

    /// Sizes of the second differences.
    fn rough(self) -> impl Iterator<Item = f32> {
        self.lines().flat_map(|line| line.windows(3).map(|v| (v[0] - 2.0 * v[1] + v[2]).abs()).collect::<Vec<_>>())
    }

    /// Mean step between the pixels of a pair and between pairs.
    fn steps(self) -> [f32; 2] {
        let (mut sums, mut counts) = ([0.0f32; 2], [0usize; 2]);
        for line in self.lines() {
            for (i, v) in line.windows(2).enumerate() {
                sums[i % 2] += (v[0] - v[1]).abs();
                counts[i % 2] += 1;
            }
        }
        [sums[0] / counts[0].max(1) as f32, sums[1] / counts[1].max(1) as f32]
    }
}

fn grain(image: &[f32], [c, h, w]: [usize; 3]) -> Vec<f32> {
    let mut out = Vec::with_capacity(DIM);
    let half = [h / 2, w / 2];
    let shrunk = resize(image, [c, h, w], half[0], half[1]);
    for (values, size) in [(image, [h, w]), (&shrunk[..], half)] {
        for down in [false, true] {
            let planes = values.chunks(size[0] * size[1]).map(|values| Plane { values, size, down });
            let mut rough: Vec<f32> = planes.flat_map(Plane::rough).collect();
            rough.sort_unstable_by(f32::total_cmp);
            out.extend(QUANTILES.map(|q| log(rough[(rough.len() - 1) * q / 100])));
        }
    }
    for down in [false, true] {
        let of = |values| Plane { values, size: [h, w], down }.steps();
        let steps = image.chunks(h * w).map(of).fold([0.0; 2], |sum, s| [sum[0] + s[0], sum[1] + s[1]]);
        out.push(log(steps[1] / c as f32) - log(steps[0] / c as f32));
    }
    // How far the corners are from black or white.
    let corner =
        |plane: &[f32]| [0, w - 1, (h - 1) * w, h * w - 1].map(|i| 1.0 - plane[i].abs()).iter().sum::<f32>() / 4.0;
    out.push(log(image.chunks(h * w).map(corner).sum::<f32>() / c as f32));
    out
}

impl Extractor for Grain {
    fn features(&self, images: &[f32], shape: [usize; 4]) -> Result<Matrix, MetricsError> {
        check_images("grain", images, shape)?;
        let [n, c, h, w] = shape;
        if h < 8 || w < 8 {
            let message = format!("images of {h} x {w} are too small; 8 x 8 at least");
            return Err(MetricsError::Shape { what: "grain", message });
        }
        Matrix::new(images.chunks(c * h * w).flat_map(|image| grain(image, [c, h, w])).collect(), n, DIM)
    }

    fn name(&self) -> &str {
        "grain"
    }

    fn dim(&self) -> usize {
        DIM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pixel: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        let image: Vec<f32> = (0..64).map(|i| pixel(i / 8, i % 8)).collect();
        Grain.features(&image, [1, 1, 8, 8]).unwrap().row(0).to_vec()
    }

    /// Closed forms. Mutants: rows and columns exchanged, the grid's phase turned, a mean in place of a quantile.
    #[test]
    fn each_number_is_what_its_name_says() {
        let black = of(|_, _| -1.0);
        assert!(black.iter().all(|v| *v == 0.0), "{black:?}");
        // Stripes from left to right one level high: second differences of two levels there, none downwards.
        let stripes = of(|_, x| -1.0 + (x % 2) as f32 / 127.5);
        assert!(stripes[..4].iter().all(|v| (v - 3f32.log2()).abs() < 1e-3), "{stripes:?}");
        assert!(stripes[4..8].iter().all(|v| *v == 0.0));
        // Pairs of equal columns, every pair three levels above the last: no step within pairs, three between them.
        let pairs = of(|_, x| -1.0 + 3.0 * (x / 2) as f32 / 127.5);
        assert!((pairs[16] - 2.0).abs() < 1e-3 && pairs[17] == 0.0, "{pairs:?}");
        // One edge is not roughness.
        let edge = of(|_, x| if x < 4 { -1.0 } else { 1.0 });
        assert!(edge[0] == 0.0 && edge[1] == 0.0 && edge[3] > 6.0, "{edge:?}");
        // Three levels from black at every corner, and one from white on average of four.
        assert!((of(|_, _| -1.0 + 3.0 / 127.5)[18] - 2.0).abs() < 1e-3);
        let one = of(|y, x| if (y, x) == (0, 0) { 1.0 - 4.0 / 127.5 } else { 1.0 });
        assert!((one[18] - 1.0).abs() < 1e-3, "{one:?}");
    }

    #[test]
    fn small_and_bad_images_are_refused() {
        assert!(Grain.features(&[0.0; 49], [1, 1, 7, 7]).is_err());
        assert!(Grain.features(&[f32::NAN; 64], [1, 1, 8, 8]).is_err());
        assert_eq!(Grain.features(&[0.5; 384], [2, 3, 8, 8]).unwrap().columns(), 19);
    }
}
