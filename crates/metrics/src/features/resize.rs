//! Bilinear resizing with half-pixel centres; when shrinking, the triangle widens to cover every source pixel
//! (antialiasing), as Pillow does it.

use base::{Tensor, TensorData};

/// Resizes images `[b c h w]` to `[b c height width]`; differentiable.
pub(super) fn resize_tensor(x: Tensor<4>, height: usize, width: usize) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    if (h, w) == (height, width) {
        return x;
    }
    let matrix = |from: usize, to: usize| {
        let mut values = vec![0.0f32; to * from];
        for (row, (first, taps)) in values.chunks_exact_mut(from).zip(weights(from, to)) {
            row[first..first + taps.len()].copy_from_slice(&taps);
        }
        Tensor::<2>::from_data(TensorData::new(values, [to, from]), &x.device())
    };
    let columns = x.clone().reshape([b * c * h, w]).matmul(matrix(w, width).transpose()); // [b c h, width]
    let turned = columns.reshape([b * c, h, width]).swap_dims(1, 2).reshape([b * c * width, h]);
    let rows = turned.matmul(matrix(h, height).transpose()); // [b c width, height]
    rows.reshape([b * c, width, height]).swap_dims(1, 2).reshape([b, c, height, width])
}

/// Resizes planes `[n h w]` to `[n height width]`.
pub fn resize(planes: &[f32], [n, h, w]: [usize; 3], height: usize, width: usize) -> Vec<f32> {
    if (h, w) == (height, width) {
        return planes.to_vec();
    }
    let (rows, columns) = (weights(h, height), weights(w, width));
    let mut out = Vec::with_capacity(n * height * width);
    let mut wide = vec![0.0; h * width];
    for plane in planes.chunks_exact(h * w) {
        for (row, target) in plane.chunks_exact(w).zip(wide.chunks_exact_mut(width)) {
            for (value, (first, taps)) in target.iter_mut().zip(&columns) {
                *value = taps.iter().zip(&row[*first..]).map(|(a, b)| a * b).sum();
            }
        }
        for (first, taps) in &rows {
            for x in 0..width {
                out.push(taps.iter().enumerate().map(|(k, a)| a * wide[(first + k) * width + x]).sum());
            }
        }
    }
    out
}

/// For each target pixel the first source pixel and the weights from there on, which add up to one.
fn weights(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    (0..to)
        .map(|i| {
            let centre = (i as f64 + 0.5) * scale;
            let first = (centre - reach + 0.5).floor().max(0.0) as usize;
            let last = ((centre + reach + 0.5).floor() as usize).min(from);
            let taps: Vec<f64> = (first..last.max(first + 1))
                .map(|j| (1.0 - ((j as f64 + 0.5 - centre) / reach).abs()).max(0.0))
                .collect();
            let total: f64 = taps.iter().sum();
            (first, taps.iter().map(|t| (t / total) as f32).collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twice the size: weights 3/4 and 1/4, edges clamped, as in the definition of half-pixel centres.
    #[test]
    fn doubling_mixes_neighbours_three_to_one() {
        let got = resize(&[0.0, 4.0], [1, 1, 2], 1, 4);
        assert_eq!(got, [0.0, 1.0, 3.0, 4.0]);
    }

    /// Half the size: the triangle spans four pixels with weights 1, 3, 3, 1 over 8 (edges renormalised over 7).
    /// Mutant: plain bilinear, which would give the mean of two.
    #[test]
    fn halving_sees_every_pixel() {
        let got = resize(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 8.0], [1, 1, 8], 1, 4);
        assert_eq!(got[1], 0.0);
        assert!((got[0] - 3.0 / 7.0).abs() < 1e-6 && (got[3] - 24.0 / 7.0).abs() < 1e-6, "{got:?}");
        let got = resize(&[0.0, 0.0, 0.0, 8.0, 0.0, 0.0], [1, 6, 1], 3, 1);
        assert!((got[1] - 3.0).abs() < 1e-6, "{got:?}");
    }

    #[test]
    fn tensors_are_resized_as_host_planes_are() {
        let planes: Vec<f32> = (0..2 * 3 * 5 * 7).map(|i| (i * i % 23) as f32).collect();
        let x = Tensor::<1>::from_floats(planes.as_slice(), &base::Device::flex()).reshape([2, 3, 5, 7]);
        for (height, width) in [(9, 20), (3, 4), (5, 7)] {
            let got: Vec<f32> = resize_tensor(x.clone(), height, width).into_data().iter::<f32>().collect();
            let expected = resize(&planes, [6, 5, 7], height, width);
            assert!(got.len() == expected.len() && got.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4));
        }
    }

    #[test]
    fn constants_stay_constant_and_rows_and_columns_are_not_confused() {
        for (h, w) in [(3, 5), (50, 2), (7, 7)] {
            assert!(resize(&vec![0.7; 60], [4, 3, 5], h, w).iter().all(|v| (v - 0.7).abs() < 1e-6));
        }
        let got = resize(&[0.0, 1.0, 0.0, 1.0], [1, 2, 2], 4, 2);
        assert_eq!(got, [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    }
}
