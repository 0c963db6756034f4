//! Temporal flicker: how much the brightness of whole frames jumps. What moves within a frame leaves its mean as it is, and a slow fade
//! goes on evenly; what is left is `|m_i - (m_{i-1} + m_{i+1})/2|` of the frames' means `m`.

use super::LEVELS;

/// Of a clip's frames, in levels of 255.
pub fn flicker(frames: &[Vec<f32>]) -> f64 {
    let mean = |frame: &Vec<f32>| frame.iter().map(|v| f64::from(*v)).sum::<f64>() / frame.len().max(1) as f64;
    let means: Vec<f64> = frames.iter().map(mean).collect();
    let jumps: Vec<f64> = means.windows(3).map(|m| (m[1] - 0.5 * (m[0] + m[2])).abs() * LEVELS).collect();
    jumps.iter().sum::<f64>() / jumps.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: jumps of single numbers in place of means; a fade counted.
    #[test]
    fn neither_motion_nor_a_fade_flickers() {
        let moving: Vec<Vec<f32>> = (0..4).map(|i| (0..4).map(|k| if k == i { 1.0 } else { -1.0 }).collect()).collect();
        assert!(flicker(&moving).abs() < 1e-6);
        let fade: Vec<Vec<f32>> = (0..5).map(|i| vec![0.1 * i as f32; 3]).collect();
        assert!(flicker(&fade) < 1e-4);
        let lamp: Vec<Vec<f32>> = (0..6).map(|i| vec![if i % 2 == 0 { 0.0 } else { 0.2 }; 3]).collect();
        assert!((flicker(&lamp) - 0.2 * LEVELS).abs() < 1e-4, "{}", flicker(&lamp));
    }
}
