//! Dynamics: how much changes from frame to frame at all. Neither more nor less is better: it is to be that of real clips, and says that a
//! smooth and steady set has not bought that by standing still.

use super::LEVELS;

/// Of a clip's frames: the mean size of a number's step, in levels of 255.
pub fn dynamics(frames: &[Vec<f32>]) -> f64 {
    let step = |two: &[Vec<f32>]| {
        let sum: f64 = two[0].iter().zip(&two[1]).map(|(a, b)| f64::from(b - a).abs()).sum();
        LEVELS * sum / two[0].len().max(1) as f64
    };
    frames.windows(2).map(step).sum::<f64>() / frames.len().saturating_sub(1).max(1) as f64
}

#[cfg(test)]
mod tests {
    /// Mutant: differences that cancel.
    #[test]
    fn what_stands_still_has_none() {
        let of = |values: &[f32]| super::dynamics(&values.iter().map(|v| vec![*v, -*v]).collect::<Vec<_>>());
        assert_eq!(of(&[0.5; 4]), 0.0);
        assert!((of(&[0.0, 0.4, 0.0]) - 0.4 * 127.5).abs() < 1e-4);
    }
}
