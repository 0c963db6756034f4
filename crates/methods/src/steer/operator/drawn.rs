//! Masks drawn by counter: scattered pixels, and strokes of a brush (the free-form masks of Yu et al., "Free-form image inpainting with
//! gated convolution", arXiv 1806.03589, algorithm 1). The same key draws the same mask.

use super::Mask;
use crate::MethodError;
use base::Key;
use std::f32::consts::PI;

/// Strokes at most: a brush that has gone over a picture so often has covered all that it can.
const STROKES: u64 = 1000;
/// Straight pieces of a stroke.
const PIECES: usize = 6;

/// Refuses a share that hides nothing, or everything.
fn check(share: f64) -> Result<(), MethodError> {
    if share > 0.0 && share < 1.0 {
        return Ok(());
    }
    let remedy = "it must lie between 0 and 1: the part of the picture that is hidden";
    Err(MethodError::Setting { setting: "share", value: share.to_string(), remedy })
}

impl Mask {
    /// Of images `[c h w]`: every pixel hidden with the chance `share`, all channels together.
    ///
    /// # Errors
    /// [`MethodError::Setting`] for a share out of range, and as [`Mask::new`].
    pub fn scattered([c, h, w]: [usize; 3], share: f64, key: Key) -> Result<Self, MethodError> {
        check(share)?;
        let one: Vec<bool> = key.uniforms(0, h * w).map(|u| f64::from(u) >= share).collect();
        Self::new(one.repeat(c))
    }

    /// Of images `[c h w]`: hidden under strokes of a brush, one after another until a `share` of the pixels is covered.
    ///
    /// # Errors
    /// As [`Mask::scattered`].
    pub fn strokes([c, h, w]: [usize; 3], share: f64, key: Key) -> Result<Self, MethodError> {
        check(share)?;
        let side = h.min(w) as f32;
        let (mut one, mut covered) = (vec![true; h * w], 0);
        for stroke in 0..STROKES {
            if covered as f64 >= share * (h * w) as f64 {
                break;
            }
            let mut draws = key.uniforms(stroke, 4 + 2 * PIECES);
            let mut draw = || draws.next().unwrap_or(0.5);
            let (mut y, mut x) = (draw() * h as f32, draw() * w as f32);
            let (mut angle, radius) = (2.0 * PI * draw(), side * (0.02 + 0.04 * draw()));
            for _ in 0..PIECES {
                let length = side * (0.05 + 0.15 * draw());
                angle += PI * (draw() - 0.5);
                let pace = length.ceil().max(1.0) * 2.0;
                for _ in 0..pace as usize {
                    (y, x) = (y + angle.sin() * length / pace, x + angle.cos() * length / pace);
                    covered += dab(&mut one, [h, w], [y, x], radius);
                }
            }
        }
        Self::new(one.repeat(c))
    }
}

/// Hides the pixels of a disc, and the one that its middle lies in; how many were not hidden before.
fn dab(known: &mut [bool], [h, w]: [usize; 2], [y, x]: [f32; 2], radius: f32) -> usize {
    let rows = |middle: f32, n: usize| {
        let low = (middle - radius - 1.0).max(0.0) as usize;
        low..((middle + radius + 1.0).max(0.0) as usize + 1).min(n)
    };
    let mut new = 0;
    for i in rows(y, h) {
        for j in rows(x, w) {
            let (dy, dx) = (i as f32 + 0.5 - y, j as f32 + 0.5 - x);
            let inside = dy * dy + dx * dx <= radius * radius || (dy.abs() <= 0.5 && dx.abs() <= 0.5);
            if inside && std::mem::replace(&mut known[i * w + j], false) {
                new += 1;
            }
        }
    }
    new
}
