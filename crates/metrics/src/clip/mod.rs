//! Clips: what only shows when frames are looked at one after another. Each figure is a file; all are means over the clips of a set, to be read
//! beside those of real clips.
//!
//! | figure | is | after |
//! |---|---|---|
//! | [`smoothness`] | how well a frame lies between its neighbours, of what moves | VBench's motion smoothness |
//! | [`flicker`] | how much the brightness of whole frames jumps | VBench's temporal flickering |
//! | [`subject`] | how alike what is bright stays, wherever it goes | VBench's subject consistency |
//! | [`dynamics`] | how much changes from frame to frame at all | VBench's dynamic degree |
//!
//! VBench (Huang et al., arXiv 2311.17982) asks networks that are not here (frame interpolation, DINO, optical flow); these are
//! formulas on pixels for the same questions, and their numbers are not VBench's.

pub mod defects;
pub mod dynamics;
pub mod flicker;
pub mod sensitivity;
pub mod smoothness;
pub mod subject;

use crate::MetricsError;
use base::Shape;
use serde::{Deserialize, Serialize};

/// VBench.
pub const PAPER: base::Paper = base::Paper::arxiv(
    "huang2024vbench",
    "Huang, Ziqi and He, Yinan and Yu, Jiashuo and others",
    "VBench: Comprehensive Benchmark Suite for Video Generative Models",
    (2024, "2311.17982"),
    "CVPR 2024",
);

/// Fewer frames have no neighbours on both sides.
const FEWEST: usize = 3;
/// Planes of an image at most: red, green, blue, transparency.
const PLANES: usize = 4;

/// What the numbers of a clip are, `[c f h w]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frames {
    /// Planes of a frame.
    pub planes: usize,
    /// Frames.
    pub frames: usize,
    /// Rows and columns of a frame.
    pub size: [usize; 2],
}

impl Frames {
    /// The frames of samples of `shape`: `[c f h w]`, or `[f h w]` of grey clips whose frames stand where an image has its planes, of which
    /// there are more than any image's. `None` for samples that are no clips.
    pub fn of(shape: Shape) -> Option<Self> {
        let (planes, frames, size) = match *shape.lengths() {
            [frames, h, w] if frames > PLANES => (1, frames, [h, w]),
            [planes, frames, h, w] => (planes, frames, [h, w]),
            _ => return None,
        };
        (frames >= FEWEST).then_some(Self { planes, frames, size })
    }

    /// Numbers of a clip.
    pub fn numel(&self) -> usize {
        self.planes * self.frames * self.area()
    }

    /// Numbers of a plane of a frame.
    fn area(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// All numbers of a frame of `clip`, plane after plane.
    fn frame<'a>(&self, clip: &'a [f32], frame: usize) -> impl Iterator<Item = f32> + Clone + use<'a> {
        let (area, all) = (self.area(), self.frames);
        (0..self.planes).flat_map(move |plane| &clip[(plane * all + frame) * area..][..area]).copied()
    }

    /// The numbers of each frame of `clip`.
    fn all(&self, clip: &[f32]) -> Vec<Vec<f32>> {
        (0..self.frames).map(|frame| self.frame(clip, frame).collect()).collect()
    }
}

/// What a difference of one in [-1, 1] is in levels of brightness.
const LEVELS: f64 = 127.5;

/// The figures of a set of clips.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClipFigures {
    /// 0 (every frame a jump) to 1 (every frame between its neighbours, or nothing moves).
    pub smoothness: f64,
    /// Levels of 255 by which a frame's brightness leaves the middle of its neighbours'; 0 is best.
    pub flicker: f64,
    /// Correlation of what is bright with the first and the previous frame, -1 to 1 (the same in all frames).
    pub consistency: f64,
    /// Levels of 255 by which a number changes from frame to frame; best where real clips are, 0 for a picture that stands still.
    pub dynamics: f64,
}

impl ClipFigures {
    /// Those of clips in [-1, 1], one after another.
    ///
    /// # Errors
    /// No clip; numbers that are not whole clips; one that is not finite.
    pub fn of(clips: &[f32], frames: Frames) -> Result<Self, MetricsError> {
        let (numel, what) = (frames.numel(), "clips");
        if clips.is_empty() || !clips.len().is_multiple_of(numel) {
            let message = format!("{} numbers are no clips of {numel}", clips.len());
            return Err(MetricsError::Shape { what, message });
        }
        if let Some(at) = clips.iter().position(|v| !v.is_finite()) {
            let value = f64::from(clips[at]);
            return Err(MetricsError::NotFinite { what, row: at / numel, column: at % numel, value });
        }
        let count = (clips.len() / numel) as f64;
        let mut sums = [0.0; 4];
        for clip in clips.chunks(numel) {
            let all = frames.all(clip);
            let centred = subject::subject(&all, frames);
            let each = [smoothness::smoothness(&all), flicker::flicker(&all), centred, dynamics::dynamics(&all)];
            sums.iter_mut().zip(each).for_each(|(sum, value)| *sum += value / count);
        }
        let [smoothness, flicker, consistency, dynamics] = sums;
        Ok(Self { smoothness, flicker, consistency, dynamics })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutant: three planes of a picture taken for frames.
    #[test]
    fn clips_are_told_from_pictures_by_their_shape() {
        let of = |lengths: &[usize]| Frames::of(Shape::new(lengths).unwrap());
        assert_eq!(of(&[8, 16, 12]), Some(Frames { planes: 1, frames: 8, size: [16, 12] }));
        assert_eq!(of(&[3, 5, 16, 12]), Some(Frames { planes: 3, frames: 5, size: [16, 12] }));
        for picture in [&[1, 28, 28][..], &[3, 8, 8], &[4, 8, 8], &[3, 2, 8, 8], &[100], &[8, 3]] {
            assert_eq!(of(picture), None, "{picture:?}");
        }
    }

    /// A clip of three planes has the figures of its planes together, and a set the mean over its clips.
    /// Mutants: frames taken plane by plane; a sum over clips in place of the mean.
    #[test]
    fn planes_belong_to_their_frames() {
        let frames = Frames { planes: 2, frames: 3, size: [1, 2] };
        let clip: Vec<f32> = (0..12).map(|i| i as f32 * 0.1 - 0.6).collect();
        assert_eq!(frames.all(&clip)[1], [clip[2], clip[3], clip[8], clip[9]]);
        let one = ClipFigures::of(&clip, frames).unwrap();
        let two = ClipFigures::of(&[clip.clone(), clip.clone()].concat(), frames).unwrap();
        assert!((one.dynamics - 0.2 * LEVELS).abs() < 1e-3 && (one.dynamics - two.dynamics).abs() < 1e-9);
        assert!(ClipFigures::of(&clip[1..], frames).is_err() && ClipFigures::of(&[], frames).is_err());
        let broken: Vec<f32> = clip.iter().map(|v| if *v > 0.45 { f32::NAN } else { *v }).collect();
        assert!(matches!(ClipFigures::of(&broken, frames), Err(MetricsError::NotFinite { row: 0, column: 11, .. })));
    }
}
