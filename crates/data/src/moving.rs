//! Moving garments: short clips made of the embedded Fashion-MNIST, their motion, brightness and class known.
//!
//! A clip is eight frames of 16x16 grey pixels with one garment of 12x12 in it. The set is made to be improved on: half of the
//! clips are dim, half of them tremble where the others glide in a straight line, and a quarter are labelled with another class.
//! Until records carry `[c f h w]`, the frames stand where the channels of an image stand: `[f h w]`.

use crate::{DataError, Dataset, InMemory, Result, Sample, Values};
use base::{Key, Purpose};

/// Its name.
pub const MOVING: &str = "moving-garments";
/// Frames, rows and columns of a clip.
pub const CLIP: [usize; 3] = [8, 16, 16];
/// Side of a garment.
const SIDE: usize = 12;
/// How bright a dim clip is.
const DIM: f32 = 0.45;

/// The clips of the garments in `source` (28x28, grey), one each.
///
/// # Errors
/// A garment that cannot be read, or images of another shape.
pub(crate) fn clips(name: &str, source: &dyn Dataset) -> Result<InMemory> {
    if source.shape() != [1, 28, 28].into() {
        let what = format!("{MOVING} is made of 28x28 grey images, and these are {}", source.shape());
        return Err(DataError::config("name", what, "leave the other keys of `data` out"));
    }
    let classes = source.classes() as u64;
    let clip = |index: usize| -> Result<Sample> {
        let sample = source.get(index)?;
        let draw = Key::new(12, Purpose::Augment).fold(index as u64);
        let label = sample.label.map(|label| match draw.uniform(0) < 0.25 && classes > 1 {
            true => ((u64::from(label) + 1 + (draw.uniform(1) * (classes - 1) as f64) as u64) % classes) as u32,
            false => label,
        });
        let pixels = film(&shrunk(sample.pixels()), draw);
        Ok(Sample { values: Values::Pixels(pixels), shape: CLIP.into(), label, caption: None })
    };
    let samples: Result<Vec<Sample>> = (0..source.len()).map(clip).collect();
    InMemory::new(name, CLIP, source.class_names().to_vec(), samples?)
}

/// 28x28 bytes to `SIDE` x `SIDE` values in [0, 1], each the mean of what it covers.
fn shrunk(pixels: &[u8]) -> Vec<f32> {
    let scale = 28.0 / SIDE as f32;
    let share = |to: usize, from: usize| {
        let (first, last) = (to as f32 * scale, (to + 1) as f32 * scale);
        (last.min(from as f32 + 1.0) - first.max(from as f32)).max(0.0) / scale
    };
    let value = |(y, x): (usize, usize)| {
        let covered = (0..28).flat_map(|v| (0..28).map(move |u| (v, u)));
        covered.map(|(v, u)| share(y, v) * share(x, u) * f32::from(pixels[28 * v + u])).sum::<f32>() / 255.0
    };
    (0..SIDE * SIDE).map(|i| value((i / SIDE, i % SIDE))).collect()
}

/// The frames `[h w f]` (frames innermost, as [`Sample`] keeps channels) of a garment on its way.
fn film(garment: &[f32], draw: Key) -> Vec<u8> {
    let [frames, height, width] = CLIP;
    let bright = if draw.uniform(2) < 0.5 { DIM } else { 1.0 };
    let trembles = draw.uniform(3) < 0.5;
    let room = (height - SIDE) as f64; // the corner lies within [0, room]
    let angle = draw.uniform(4) * std::f64::consts::TAU;
    let speed = room / (frames - 1) as f64;
    let place = |frame: usize, axis: u64| -> f64 {
        let middle = 0.5 * room;
        match trembles {
            true => room * draw.uniform(16 + 2 * frame as u64 + axis),
            false => {
                let direction = if axis == 0 { angle.sin() } else { angle.cos() };
                (middle + direction * speed * (frame as f64 - 0.5 * (frames - 1) as f64)).clamp(0.0, room)
            }
        }
    };
    let mut pixels = vec![0u8; frames * height * width];
    for frame in 0..frames {
        let (top, left) = (place(frame, 0) as f32, place(frame, 1) as f32);
        for (y, row) in (0..height).map(|y| (y as f32 - top, y)) {
            for (x, column) in (0..width).map(|x| (x as f32 - left, x)) {
                let value = bright * between(garment, y, x);
                pixels[(row * width + column) * frames + frame] = (value * 255.0).round().clamp(0.0, 255.0) as u8;
            }
        }
    }
    pixels
}

/// The garment at a point between its pixels; black outside.
fn between(garment: &[f32], y: f32, x: f32) -> f32 {
    let (y0, x0) = (y.floor(), x.floor());
    let (dy, dx) = (y - y0, x - x0);
    let at = |y: f32, x: f32| {
        let inside = (0.0..SIDE as f32).contains(&y) && (0.0..SIDE as f32).contains(&x);
        if inside { garment[y as usize * SIDE + x as usize] } else { 0.0 }
    };
    (1.0 - dy) * ((1.0 - dx) * at(y0, x0) + dx * at(y0, x0 + 1.0))
        + dy * ((1.0 - dx) * at(y0 + 1.0, x0) + dx * at(y0 + 1.0, x0 + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataConfig, open};

    #[test]
    fn half_are_dim_half_tremble_and_a_quarter_are_mislabelled() {
        let plain = open(&DataConfig { limit: Some(2000), ..DataConfig::default() }).unwrap();
        let moving = open(&DataConfig { limit: Some(2000), ..DataConfig::named(MOVING) }).unwrap();
        assert_eq!((moving.len(), moving.shape(), moving.classes()), (2000, CLIP.into(), 10));
        let wrong = (0..2000).filter(|i| plain.label(*i) != moving.label(*i)).count();
        // 500 expected, standard deviation 19.
        assert!((400..600).contains(&wrong), "{wrong}");
        let (mut dim, mut trembling) = (0, 0);
        for i in 0..200 {
            let (mut values, mut still) = (Vec::new(), Vec::new());
            moving.get(i).unwrap().normalize_into(false, &mut values);
            plain.get(i).unwrap().normalize_into(false, &mut still);
            let brightest = |v: &[f32]| v.iter().fold(-1.0f32, |m, v| m.max(*v)) * 0.5 + 0.5;
            dim += usize::from(brightest(&values) < 0.6 * brightest(&still));
            // The garment's weight has a place in each frame; where it glides, three places lie on a line.
            let centre = |frame: &[f32]| {
                let weight: f32 = frame.iter().map(|v| v + 1.0).sum();
                let along = |f: &dyn Fn(usize) -> usize| {
                    frame.iter().enumerate().map(|(k, v)| (v + 1.0) * f(k) as f32).sum::<f32>() / weight
                };
                [along(&|k| k / 16), along(&|k| k % 16)]
            };
            let places: Vec<[f32; 2]> = values.chunks(256).map(centre).collect();
            let bend = |w: &[[f32; 2]]| (0..2).map(|a| (w[2][a] - 2.0 * w[1][a] + w[0][a]).powi(2)).sum::<f32>();
            let bends: f32 = places.windows(3).map(bend).sum::<f32>() / 6.0;
            trembling += usize::from(bends > 1.0);
            assert!(!(0.1..=1.0).contains(&bends), "clip {i}: {bends}");
        }
        // 100 expected each, standard deviation 7.
        assert!((70..130).contains(&dim) && (70..130).contains(&trembling), "{dim} {trembling}");
    }

    #[test]
    fn keys_that_would_change_the_clips_are_refused() {
        let sized = DataConfig { size: Some(32), ..DataConfig::named(MOVING) };
        assert!(open(&sized).err().unwrap().to_string().contains(MOVING));
    }
}
