//! The grid that JPEG rounds cosines to (ITU-T T.81, annex K.1, the table of brightness), scaled by quality as the Independent JPEG Group's
//! programs scale it.

use crate::MethodError;

/// Side of a square.
pub(super) const BLOCK: usize = 8;

/// Steps of the cosines of a square at quality 50, slow waves first.
#[rustfmt::skip]
const STEPS: [[u32; 8]; 8] = [
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
];

/// Where each cosine's grid begins, and its step, for images `[c h w]` in [-1, 1].
pub(super) fn grid([c, h, w]: [usize; 3], quality: u32) -> Result<[Vec<f32>; 2], MethodError> {
    if !(1..=100).contains(&quality) {
        let remedy = "it must be from 1 to 100";
        return Err(MethodError::Setting { setting: "quality", value: quality.to_string(), remedy });
    }
    let scale = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    // A torn square's wave `k` of `length` is as fast as wave `8 k/length` of a whole one.
    let wave = |at: usize, n: usize| {
        let (first, length) = (at / BLOCK * BLOCK, BLOCK.min(n - at / BLOCK * BLOCK));
        ((at - first) * BLOCK / length, length)
    };
    let (mut starts, mut steps) = (Vec::with_capacity(c * h * w), Vec::with_capacity(c * h * w));
    for place in 0..c * h * w {
        let ((row, tall), (column, wide)) = (wave(place / w % h, h), wave(place % w, w));
        let step = ((STEPS[row][column] * scale + 50) / 100).clamp(1, 255);
        steps.push(step as f32 / 127.5);
        // Bytes stand about 128 and not 127.5: half a grey, which is all in the mean.
        let shift = if row == 0 && column == 0 { 0.5 * ((tall * wide) as f32).sqrt() } else { 0.0 };
        starts.push(shift / 127.5);
    }
    Ok([starts, steps])
}
