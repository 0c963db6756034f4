//! A sound in the window of a mixture: where it begins, how fast it runs.

use super::{Library, MixtureConfig};
use rand::RngExt;
use std::ops::Range;

pub(super) fn energy(x: &[f32]) -> f64 {
    x.iter().map(|v| f64::from(*v).powi(2)).sum()
}

pub(super) fn between(rng: &mut impl RngExt, [low, high]: [f64; 2]) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// A clip of `label` in a window of the right length: a part of a long one or its beginning, a short one anywhere; never silence,
/// for then what was asked for would not sound.
pub(super) fn placed(library: &Library, label: usize, config: &MixtureConfig, rng: &mut impl RngExt) -> Vec<f32> {
    let list = &library.of[label];
    let clip = &library.clips[list[rng.random_range(0..list.len())]];
    let speed = between(rng, config.speed);
    let sound = if speed == 1.0 { clip.samples.clone() } else { at_speed(&clip.samples, speed) };
    let length = config.length;
    let mut window = vec![0.0; length];
    let free = rng.random::<f64>();
    if sound.len() > length {
        // At least a quarter of the window is left for a sound that begins in it.
        let before = (free * (0.75 * length as f64)) as usize;
        // Nothing is drawn where the answer is known, so that mixtures of the time before `onset` stay what they were.
        let asked = config.onset > 0.0 && rng.random::<f64>() < config.onset;
        let begins = asked && loud_enough(&sound, 0..length - before);
        let (start, before) = if begins { (0, before) } else { (loud_start(&sound, length, free), 0) };
        window[before..].copy_from_slice(&sound[start..start + length - before]);
    } else {
        let start = (free * (length - sound.len() + 1) as f64) as usize;
        window[start..start + sound.len()].copy_from_slice(&sound);
    }
    window
}

/// Whether a part of a sound has a hundredth of the power of the whole.
fn loud_enough(sound: &[f32], part: Range<usize>) -> bool {
    let samples = part.len() as f64;
    energy(&sound[part]) / samples >= 0.01 * energy(sound) / sound.len() as f64
}

/// Where a window of `length` begins in a longer sound: at a share of the way, or where it is loudest if it is silent there.
fn loud_start(sound: &[f32], length: usize, share: f64) -> usize {
    let last = sound.len() - length;
    let start = ((share * (last + 1) as f64) as usize).min(last);
    if loud_enough(sound, start..start + length) {
        return start;
    }
    let loudest = (0..sound.len()).max_by(|a, b| sound[*a].abs().total_cmp(&sound[*b].abs())).unwrap_or(0);
    loudest.saturating_sub(length / 4).min(last) // with what comes before the loudest sample
}

/// `x` played faster or slower, its pitch with it: cubic interpolation between samples (Catmull and Rom).
fn at_speed(x: &[f32], speed: f64) -> Vec<f32> {
    let length = ((x.len() as f64 / speed) as usize).max(1);
    let at = |i: isize| x[i.clamp(0, x.len() as isize - 1) as usize];
    let value = |i: usize| {
        let place = i as f64 * speed;
        let (whole, t) = (place as isize, (place.fract()) as f32);
        let [a, b, c, d] = [at(whole - 1), at(whole), at(whole + 1), at(whole + 2)];
        b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)))
    };
    (0..length).map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_moves_pitch_and_length() {
        let x: Vec<f32> = (0..8000).map(|i| (i as f32 * 0.1).sin()).collect();
        let y = at_speed(&x, 1.25);
        assert_eq!(y.len(), 6400);
        let worst = (10..6380).map(|i| (y[i] - (i as f32 * 0.125).sin()).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-3, "{worst}");
    }
}
