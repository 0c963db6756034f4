//! Subject consistency: whether what is bright stays the same thing, wherever it goes.
//!
//! Each frame is laid at its centre of brightness (`oracles::centred`, as a classifier is shown it) and correlated with the first frame and with
//! the one before, as VBench compares frames (eq. of its subject consistency) in a network's features. It follows one bright thing on a dark
//! ground; of a scene that is bright everywhere it says how steady the picture is.

use super::Frames;
use crate::oracles::centred;

/// Of a clip's frames: the mean over all frames but the first of both correlations, in [-1, 1].
pub fn subject(all: &[Vec<f32>], Frames { planes, size, .. }: Frames) -> f64 {
    let [height, width] = size;
    let laid = |frame: &Vec<f32>| {
        let grey: Vec<f32> = (0..height * width)
            .map(|i| frame.iter().skip(i).step_by(height * width).sum::<f32>() / planes as f32)
            .collect();
        centred(&grey, [height, width])
    };
    let laid: Vec<Vec<f64>> = all.iter().map(laid).collect();
    let pairs = laid.windows(2).map(|two| 0.5 * (correlation(&two[1], &laid[0]) + correlation(&two[1], &two[0])));
    pairs.sum::<f64>() / laid.len().saturating_sub(1).max(1) as f64
}

/// Of two pictures; 1 where both are flat, 0 where one is.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len().max(1) as f64;
    let (ma, mb) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        ab += (x - ma) * (y - mb);
        aa += (x - ma).powi(2);
        bb += (y - mb).powi(2);
    }
    let flat = 1e-12 * a.len() as f64;
    match (aa <= flat, bb <= flat) {
        (true, true) => 1.0,
        (false, false) => ab / (aa * bb).sqrt(),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: Frames = Frames { planes: 1, frames: 4, size: [12, 12] };

    /// A bar that is `tall` x `wide` at (y, x), on black.
    fn bar(y: usize, x: usize, tall: usize, wide: usize) -> Vec<f32> {
        let inside = |i: usize| (y..y + tall).contains(&(i / 12)) && (x..x + wide).contains(&(i % 12));
        (0..144).map(|i| if inside(i) { 0.8 } else { -1.0 }).collect()
    }

    /// Mutants: frames compared where they stand; the first frame left out; black taken for bright.
    #[test]
    fn a_thing_that_goes_is_the_same_thing_and_another_is_not() {
        let goes: Vec<Vec<f32>> = (0..4).map(|i| bar(4, 2 + i, 2, 4)).collect();
        assert!(subject(&goes, FRAMES) > 0.999, "{}", subject(&goes, FRAMES));
        let mut replaced = goes.clone();
        replaced[2] = bar(3, 5, 4, 2);
        assert!(subject(&replaced, FRAMES) < 0.8, "{}", subject(&replaced, FRAMES));
        // What turns slowly is like the frame before, and not like the first.
        let turned: Vec<Vec<f32>> = (0..4).map(|i| if i < 2 { bar(4, 4, 2, 4) } else { bar(4, 4, 4, 2) }).collect();
        let found = subject(&turned, FRAMES);
        assert!(
            found < 0.8
                && found > subject(&[goes[0].clone(), bar(4, 4, 4, 2), goes[0].clone(), bar(4, 4, 4, 2)], FRAMES)
        );
        assert_eq!(subject(&vec![vec![-1.0; 144]; 4], FRAMES), 1.0);
    }
}
