//! Motion smoothness: whether a frame lies between its neighbours.
//!
//! `1 - Σ|x_i - (x_{i-1} + x_{i+1})/2| / Σ(|x_i - x_{i-1}| + |x_{i+1} - x_i|)/2` over all numbers of all inner frames: what does not go on,
//! as a share of what moves. VBench asks a network for the frame between; this asks for the mean of the two, which is that frame
//! for motion that is small beside what moves. A clip that stands still is smooth: [`dynamics`](super::dynamics) tells it.

/// Of a clip's frames, in [0, 1].
pub fn smoothness(frames: &[Vec<f32>]) -> f64 {
    let (mut bends, mut steps) = (0.0, 0.0);
    for three in frames.windows(3) {
        for ((a, b), c) in three[0].iter().zip(&three[1]).zip(&three[2]) {
            let [a, b, c] = [a, b, c].map(|v| f64::from(*v));
            bends += (b - 0.5 * (a + c)).abs();
            steps += 0.5 * ((b - a).abs() + (c - b).abs());
        }
    }
    if steps > 0.0 { 1.0 - bends / steps } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::smoothness;

    /// Mutants: the steps left out of the quotient; the frame itself for one of its neighbours.
    #[test]
    fn a_ramp_is_smooth_and_a_jump_is_not() {
        let of = |values: &[f32]| smoothness(&values.iter().map(|v| vec![*v]).collect::<Vec<_>>());
        assert!((of(&[0.0, 0.1, 0.2, 0.3, 0.4]) - 1.0).abs() < 1e-6);
        assert!(of(&[0.0, 1.0, 0.0, 1.0]).abs() < 1e-9, "back and forth");
        assert_eq!(of(&[0.5; 6]), 1.0);
        // A step halfway: each of the two frames beside it is off by half of what changes there.
        assert!(of(&[0.0, 0.0, 1.0, 1.0]).abs() < 1e-9);
        // The same motion, larger.
        assert!((of(&[0.0, 0.1, 0.3, 0.4]) - of(&[0.0, 0.2, 0.6, 0.8])).abs() < 1e-6);
    }
}
