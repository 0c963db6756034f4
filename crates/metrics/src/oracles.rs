//! Oracles: numbers computed from a sample itself, that stand in for a person's preference and say so.
//!
//! No human preference can be had here, so rewards are trained on these and claims name them: how bright a clip or an image is, how
//! smoothly and how far something moves in a clip, how surely a frozen classifier sees the class asked for. A clip's frames stand
//! where an image's channels do, `[f h w]`; values are in [-1, 1], black at -1.

/// Contrast: the mean of the brightest tenth of all values, in [0, 1].
pub fn contrast(values: &[f32]) -> f64 {
    let mut sorted: Vec<f32> = values.iter().map(|v| (v.clamp(-1.0, 1.0) + 1.0) * 0.5).collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let count = sorted.len().div_ceil(10);
    sorted[..count].iter().map(|v| f64::from(*v)).sum::<f64>() / count.max(1) as f64
}

/// Motion of a clip `[f h w]`: far and smooth is high. The centre of brightness of each frame makes a track; what counts is the
/// distance between its ends, up to a quarter of the frame's side, less `ln(1 + mean squared acceleration)`, in pixels.
pub fn motion(values: &[f32], [frames, height, width]: [usize; 3]) -> f64 {
    let track: Vec<[f64; 2]> = values.chunks(height * width).take(frames).map(|frame| centre(frame, width)).collect();
    let (Some(first), Some(last)) = (track.first(), track.last()) else { return 0.0 };
    let far = 0.25 * height.min(width) as f64;
    let distance = (last[0] - first[0]).hypot(last[1] - first[1]).min(far) / far;
    let bends = track.windows(3).map(|w| (0..2).map(|a| (w[2][a] - 2.0 * w[1][a] + w[0][a]).powi(2)).sum::<f64>());
    let mean = bends.sum::<f64>() / frames.saturating_sub(2).max(1) as f64;
    distance - mean.ln_1p()
}

/// Centre of brightness of a frame, row and column; its middle where it is black.
fn centre(frame: &[f32], width: usize) -> [f64; 2] {
    let (mut weight, mut sum) = (0.0, [0.0; 2]);
    for (i, value) in frame.iter().enumerate() {
        let w = f64::from((value.clamp(-1.0, 1.0) + 1.0) * 0.5);
        weight += w;
        sum[0] += w * (i / width) as f64;
        sum[1] += w * (i % width) as f64;
    }
    match weight > 1e-6 {
        true => sum.map(|s| s / weight),
        false => [(frame.len() / width.max(1)) as f64 * 0.5 - 0.5, width as f64 * 0.5 - 0.5],
    }
}

/// Brightness in [0, 1] of a frame at a point between its pixels; black outside.
fn between(frame: &[f32], [height, width]: [usize; 2], [y, x]: [f64; 2]) -> f64 {
    let at = |y: i64, x: i64| -> f64 {
        let inside = (0..height as i64).contains(&y) && (0..width as i64).contains(&x);
        if inside { f64::from((frame[y as usize * width + x as usize].clamp(-1.0, 1.0) + 1.0) * 0.5) } else { 0.0 }
    };
    let (y0, x0) = (y.floor(), x.floor());
    let (dy, dx, y0, x0) = (y - y0, x - x0, y0 as i64, x0 as i64);
    (1.0 - dy) * ((1.0 - dx) * at(y0, x0) + dx * at(y0, x0 + 1))
        + dy * ((1.0 - dx) * at(y0 + 1, x0) + dx * at(y0 + 1, x0 + 1))
}

/// A frame `[h w]` with its centre of brightness in its middle, brightness in [0, 1].
pub fn centred(frame: &[f32], size: [usize; 2]) -> Vec<f64> {
    let [height, width] = size;
    let [row, column] = centre(frame, width);
    let from = |k: usize, length: usize, middle: f64| middle + k as f64 - 0.5 * (length as f64 - 1.0);
    let at = |i: usize| between(frame, size, [from(i / width, height, row), from(i % width, width, column)]);
    (0..height * width).map(at).collect()
}

/// A still picture of a clip `[f h w]` for a classifier of `side` x `side` images: its frames laid over each other at their centres
/// of brightness, `shown` pixels of the clip across the picture, brightest value brought to 1.
pub fn still(values: &[f32], [frames, height, width]: [usize; 3], shown: f64, side: usize) -> Vec<f32> {
    let mut picture = vec![0f64; side * side];
    let step = shown / side as f64;
    for frame in values.chunks(height * width).take(frames) {
        let [row, column] = centre(frame, width);
        for (i, place) in picture.iter_mut().enumerate() {
            let from = |k: usize, middle: f64| middle + (k as f64 + 0.5) * step - 0.5 * shown;
            *place += between(frame, [height, width], [from(i / side, row), from(i % side, column)]);
        }
    }
    let largest = picture.iter().copied().fold(1e-6, f64::max);
    picture.into_iter().map(|v| (2.0 * v / largest - 1.0) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight frames of 16x16, black but for a square of 3x3 whose corner is at each place.
    fn clip(places: &[[usize; 2]; 8], bright: f32) -> Vec<f32> {
        let mut values = vec![-1.0; 8 * 256];
        for (frame, [y, x]) in places.iter().enumerate() {
            for (dy, dx) in (0..9).map(|k| (k / 3, k % 3)) {
                values[frame * 256 + (y + dy) * 16 + x + dx] = bright;
            }
        }
        values
    }

    const SHAPE: [usize; 3] = [8, 16, 16];

    #[test]
    fn far_and_smooth_moves_best_and_swapped_axes_are_seen() {
        let glide = clip(&std::array::from_fn(|i| [4, 2 + i]), 1.0);
        let rest = clip(&[[4, 4]; 8], 1.0);
        let tremble = clip(&[[4, 4], [8, 2], [2, 9], [9, 9], [1, 1], [5, 9], [9, 1], [2, 2]], 1.0);
        let of = |values: &[f32]| motion(values, SHAPE);
        // Seven pixels are beyond a quarter of sixteen: full distance, no bend.
        assert!((of(&glide) - 1.0).abs() < 1e-9, "{}", of(&glide));
        assert!(of(&rest).abs() < 1e-9 && of(&tremble) < -2.0, "{} {}", of(&rest), of(&tremble));
        // Brightness does not matter to it.
        assert!((of(&clip(&std::array::from_fn(|i| [4, 2 + i]), 0.0)) - 1.0).abs() < 1e-9);
        // A reader that took frames for rows would find another track.
        let swapped: Vec<f32> =
            (0..2048).map(|i| glide[(i / 16 % 16) / 2 * 256 + (i / 256 * 2 + i / 16 % 2) * 16 + i % 16]).collect();
        assert!((of(&swapped) - 1.0).abs() > 0.05, "{}", of(&swapped));
        assert!(motion(&vec![-1.0; 2048], SHAPE).abs() < 1e-9);
    }

    #[test]
    fn contrast_is_the_brightest_tenth() {
        let mut values = vec![-1.0f32; 90];
        values.extend([0.0; 10]);
        assert!((contrast(&values) - 0.5).abs() < 1e-6);
        assert!((contrast(&[9.0; 4]) - 1.0).abs() < 1e-6, "beyond white is white");
    }

    #[test]
    fn a_still_follows_what_moves() {
        let one = still(&clip(&[[4, 4]; 8], 0.0), SHAPE, 12.0, 28);
        let other = still(&clip(&std::array::from_fn(|i| [4, 2 + i]), 1.0), SHAPE, 12.0, 28);
        // The same square in the middle whatever its way and its brightness.
        for (a, b) in one.iter().zip(&other) {
            assert!((a - b).abs() < 1e-3, "{a} {b}");
        }
        assert!(one[14 * 28 + 14] > 0.9 && one[0] == -1.0);
    }
}
