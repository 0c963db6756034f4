//! Features of a clip from those of its frames: what is seen in them on average, how far that moves from frame to frame, and how much its way
//! bends.
//!
//! `[mean e_i, mean |e_{i+1} - e_i|, mean |e_{i+1} - 2 e_i + e_{i-1}|]` over the frames' features `e`. No network was trained on
//! clips for it, so its Fréchet distance is not FVD (Unterthiner et al., arXiv 1812.01717) and is not called so.

use crate::extractor::check_images;
use crate::{Extractor, Matrix, MetricsError};

/// Features of clips `[n c*f h w]`, plane after plane, each of whose frames `frame` sees as a picture `[c h w]`.
pub struct FramesOf {
    frame: Box<dyn Extractor>,
    planes: usize,
    name: String,
}

impl FramesOf {
    /// By the features of single frames of `planes`, at least one.
    pub fn new(frame: Box<dyn Extractor>, planes: usize) -> Self {
        let name = format!("frames of {}", frame.name());
        Self { frame, planes: planes.max(1), name }
    }
}

impl Extractor for FramesOf {
    fn features(&self, clips: &[f32], shape: [usize; 4]) -> Result<Matrix, MetricsError> {
        check_images("frames", clips, shape)?;
        let [n, all, h, w] = shape;
        let (c, f, area) = (self.planes, all / self.planes, h * w);
        if f < 3 || f * c != all {
            let message = format!("{all} planes are no clips of three frames or more, of {c} planes each");
            return Err(MetricsError::Shape { what: "frames", message });
        }
        // A clip has its planes outside its frames, a picture its own together.
        let frames: Vec<f32> = match c {
            1 => Vec::new(),
            _ => {
                let plane =
                    |clip: usize, frame: usize, plane: usize| &clips[((clip * c + plane) * f + frame) * area..][..area];
                let of = |clip: usize| (0..f).flat_map(move |frame| (0..c).flat_map(move |at| plane(clip, frame, at)));
                (0..n).flat_map(of).copied().collect()
            }
        };
        let seen = self.frame.features(if c == 1 { clips } else { &frames }, [n * f, c, h, w])?;
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

    fn sees_frames(&self) -> bool {
        true
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
        let frames = FramesOf::new(Box::new(Pixels::new(1)), 1);
        let got = frames.features(&[0.0, 0.5, 0.0, 0.5, /**/ 0.0, 0.2, 0.4, 0.6], [2, 4, 1, 1]).unwrap();
        let wanted = [0.25, 0.5, 1.0, /**/ 0.3, 0.2, 0.0];
        assert!(got.data().iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", got.data());
        assert_eq!(frames.label(), "frames of pixels, 3-d");
        assert!(frames.features(&[0.0; 4], [2, 2, 1, 1]).is_err());
    }
    /// A clip of two planes: the steps are those of each plane, and none goes from one plane to the other.
    /// Mutant: planes taken for further frames.
    #[test]
    fn planes_of_a_frame_are_seen_together() {
        let frames = FramesOf::new(Box::new(Pixels::new(2)), 2);
        let got = frames.features(&[0.0, 0.5, 0.0, /**/ 0.9, 0.9, 0.9], [1, 6, 1, 1]).unwrap();
        let wanted = [0.5 / 3.0, 0.9, /**/ 0.5, 0.0, /**/ 1.0, 0.0];
        assert!(got.data().iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", got.data());
        assert!(frames.features(&[0.0; 7], [1, 7, 1, 1]).is_err());
    }
}
