//! Features of a clip from those of its frames: what is seen in them on average, how far that moves from frame to frame, and how much its way
//! bends.
//!
//! `[mean e_i, mean |e_{i+1} - e_i|, mean |e_{i+1} - 2 e_i + e_{i-1}|]` over the frames' features `e`. No network was trained on
//! clips for it, so its Fréchet distance is not FVD (Unterthiner et al., arXiv 1812.01717) and is not called so.

use crate::extractor::check_images;
use crate::{Extractor, Matrix, MetricsError};

/// Features of grey clips `[n f h w]`, each of whose frames `frame` sees as a picture `[1 h w]`.
pub struct FramesOf {
    frame: Box<dyn Extractor>,
    name: String,
}

impl FramesOf {
    /// By the features of single frames.
    pub fn new(frame: Box<dyn Extractor>) -> Self {
        let name = format!("frames of {}", frame.name());
        Self { frame, name }
    }
}

impl Extractor for FramesOf {
    fn features(&self, clips: &[f32], shape: [usize; 4]) -> Result<Matrix, MetricsError> {
        check_images("frames", clips, shape)?;
        let [n, f, h, w] = shape;
        if f < 3 {
            let message = format!("clips of {f} frames; at least three are needed");
            return Err(MetricsError::Shape { what: "frames", message });
        }
        let seen = self.frame.features(clips, [n * f, 1, h, w])?;
        let dim = self.frame.dim();
        let mut rows = vec![0f32; n * 3 * dim];
        for (clip, row) in seen.data().chunks(f * dim).zip(rows.chunks_mut(3 * dim)) {
            let at = |frame: usize, k: usize| clip[frame * dim + k];
            for k in 0..dim {
                let steps = (1..f).map(|i| (at(i, k) - at(i - 1, k)).abs()).sum::<f32>();
                let bends = (2..f).map(|i| (at(i, k) - 2.0 * at(i - 1, k) + at(i - 2, k)).abs()).sum::<f32>();
                row[k] = (0..f).map(|i| at(i, k)).sum::<f32>() / f as f32;
                row[dim + k] = steps / (f - 1) as f32;
                row[2 * dim + k] = bends / (f - 2) as f32;
            }
        }
        Matrix::new(rows, n, 3 * dim)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn dim(&self) -> usize {
        3 * self.frame.dim()
    }

    fn fingerprint(&self) -> String {
        format!("frames of {}", self.frame.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pixels;

    /// Mutants: differences that cancel; bends from the wrong three frames; the clips' frames mixed.
    #[test]
    fn a_clip_is_its_mean_its_steps_and_its_bends() {
        let frames = FramesOf::new(Box::new(Pixels::new(1)));
        let got = frames.features(&[0.0, 0.5, 0.0, 0.5, /**/ 0.0, 0.2, 0.4, 0.6], [2, 4, 1, 1]).unwrap();
        let wanted = [0.25, 0.5, 1.0, /**/ 0.3, 0.2, 0.0];
        assert!(got.data().iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", got.data());
        assert_eq!(frames.label(), "frames of pixels, 3-d");
        assert!(frames.features(&[0.0; 4], [2, 2, 1, 1]).is_err());
    }
}
