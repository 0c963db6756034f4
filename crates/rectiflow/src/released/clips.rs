//! Drawn clips as files: animated PNG, y4m, arrays; several of them as sheets that move.

use super::codec::Length;
use crate::Error;
use media::{Bitmap, Grid, Images};

/// The picture of every moment: of one clip its frames, of several a sheet. `frames` are all clips' frames, one clip after another.
pub(super) fn moments(frames: &Images, length: Length) -> Result<Vec<Bitmap>, Error> {
    let count = frames.len() / length.frames;
    if count == 1 {
        return Ok((0..length.frames).map(|i| frames.bitmap(i)).collect());
    }
    let moment = |i: usize| {
        let all = (0..count).flat_map(|clip| frames.image(clip * length.frames + i)).copied().collect();
        let grid = Grid { upscale: 1, ..Grid::default() };
        Ok(grid.draw(&Images::new(all, count, frames.shape())?))
    };
    (0..length.frames).map(moment).collect()
}

/// The frames of clip `i`; `frames` are all clips' frames, one clip after another.
pub(super) fn film(frames: &Images, i: usize, length: Length) -> Vec<Bitmap> {
    (0..length.frames).map(|frame| frames.bitmap(i * length.frames + frame)).collect()
}

/// An animated PNG, `text` beside it.
pub(super) fn png(moments: &[Bitmap], length: Length, text: &str) -> Result<Vec<u8>, Error> {
    let delay = media::animation::Delay::of_rate(length.rate);
    Ok(media::animation::encode_with(moments, delay, delay, &[("parameters", text)])?)
}

/// Numbers `[n c f h w]` of frames `[n f c h w]`.
pub(super) fn by_channel(frames: &Images, length: Length) -> (Vec<usize>, Vec<f32>) {
    let [c, h, w] = frames.shape();
    let count = frames.len() / length.frames;
    let mut values = Vec::with_capacity(frames.values().len());
    for clip in 0..count {
        for channel in 0..c {
            for i in 0..length.frames {
                values.extend(&frames.image(clip * length.frames + i)[channel * h * w..(channel + 1) * h * w]);
            }
        }
    }
    (vec![count, c, length.frames, h, w], values)
}
