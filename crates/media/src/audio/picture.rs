//! Pictures of sound: time to the right, frequency up, loud is bright.

use super::LogMel;
use crate::Bitmap;
use crate::canvas::{Canvas, Color, ramp, screen};

/// How far below the loudest cell the darkest colour lies, in natural logarithms: 60 dB.
const RANGE: f32 = 6.9;

/// Dark blue to yellow through violet and orange: lightness rises all the way.
const STOPS: [[u8; 3]; 6] = [[0, 0, 12], [48, 12, 96], [130, 32, 108], [204, 70, 64], [246, 150, 32], [252, 252, 180]];

/// One picture with `scale` x `scale` pixels to a cell; the loudest cell of this picture is the brightest.
pub fn spectrogram(picture: &LogMel, scale: usize) -> Bitmap {
    let loudest = picture.values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    panel(picture, scale, loudest).bitmap()
}

/// Pictures under each other with one scale of loudness, so that they can be compared; a line parts them.
pub fn stack(pictures: &[LogMel], scale: usize) -> Bitmap {
    let scale = scale.max(1);
    let loudest = pictures.iter().flat_map(|p| p.values.iter().copied()).fold(f32::NEG_INFINITY, f32::max);
    let width = pictures.iter().map(|p| p.frames * scale).max().unwrap_or(1);
    let height = pictures.iter().map(|p| p.bins * scale + 2).sum::<usize>().saturating_sub(2).max(1);
    let mut canvas = Canvas::new(width, height, [1.0; 3]);
    let mut y = 0;
    for picture in pictures {
        canvas.place(&panel(picture, scale, loudest), [0, y]);
        y += picture.bins * scale + 2;
    }
    canvas.bitmap()
}

/// Pictures side by side in rows of `columns`, each cut or filled with silence to `frames`, each with its own loudness.
pub fn sheet(pictures: &[LogMel], frames: usize, columns: usize, scale: usize) -> Bitmap {
    let (scale, columns, gap) = (scale.max(1), columns.max(1), 2);
    let bins = pictures.iter().map(|p| p.bins).max().unwrap_or(1);
    let (wide, high) = (frames.max(1) * scale + gap, bins * scale + gap);
    let rows = pictures.len().div_ceil(columns).max(1);
    let mut canvas = Canvas::new(columns.min(pictures.len().max(1)) * wide + gap, rows * high + gap, [0.02; 3]);
    for (i, picture) in pictures.iter().enumerate() {
        let loudest = picture.values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let cut = picture.clone().with_frames(frames.max(1), 1e-30);
        canvas.place(&panel(&cut, scale, loudest), [gap + i % columns * wide, gap + i / columns * high]);
    }
    canvas.bitmap()
}

fn panel(picture: &LogMel, scale: usize, loudest: f32) -> Canvas {
    let scale = scale.max(1);
    let stops: Vec<Color> = STOPS.map(screen).into();
    let mut canvas = Canvas::new((picture.frames * scale).max(1), (picture.bins * scale).max(1), [0.0; 3]);
    canvas.fill(|x, y| {
        let (frame, band) = (x as usize / scale, picture.bins.saturating_sub(1 + y as usize / scale));
        let value = picture.values.get(frame * picture.bins + band).copied().unwrap_or(f32::NEG_INFINITY);
        // A cell that is no number shows as the darkest, not as a hole in the picture.
        ramp(&stops, if value.is_finite() { 1.0 + (value - loudest) / RANGE } else { 0.0 })
    });
    canvas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_has_a_place_for_each() {
        let picture = |frames: usize| LogMel { frames, bins: 3, values: vec![0.0; 3 * frames] };
        let bitmap = sheet(&[picture(4), picture(9), picture(1)], 5, 2, 1);
        assert_eq!((bitmap.width, bitmap.height), (2 * 7 + 2, 2 * 5 + 2));
        let bright = |x: usize, y: usize| bitmap.pixels[3 * (y * 16 + x)] > 200;
        // The short one is bright in its one column, dark after it; the fourth place is empty.
        assert!(bright(2, 7) && !bright(3, 7) && bright(13, 2) && !bright(14, 2) && !bright(10, 8));
    }

    /// Mutants: time and frequency exchanged, frequency downwards.
    #[test]
    fn time_runs_right_and_frequency_up() {
        let mut values = vec![-11.5; 4 * 3];
        values[3] = 0.0; // frame 1, lowest band
        let bitmap = spectrogram(&LogMel { frames: 4, bins: 3, values }, 2);
        assert_eq!((bitmap.width, bitmap.height, bitmap.channels), (8, 6, 3));
        let bright = |x: usize, y: usize| bitmap.pixels[3 * (y * 8 + x)] > 200;
        let found: Vec<_> = (0..48).filter(|i| bright(i % 8, i / 8)).map(|i| (i % 8, i / 8)).collect();
        assert_eq!(found, [(2, 4), (3, 4), (2, 5), (3, 5)]);
    }
}
