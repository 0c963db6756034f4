//! What can be wrong with a real clip, as values: what figures of clips have to notice.

use super::Frames;
use base::Key;
use serde::{Deserialize, Serialize};

/// What is wrong with a set of otherwise real clips.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClipDefect {
    /// The frames of every clip stand in an order of chance.
    Shuffled {},
    /// Every clip is its first frame over and over.
    Frozen {},
    /// Every second frame is darker.
    Flickering {
        /// By so many levels of 255, not below black.
        levels: f64,
    },
    /// One frame of every clip is the same frame of the next clip.
    Replaced {},
}

/// The defects of the table.
pub const CLIP_DEFECTS: &[ClipDefect] = &[
    ClipDefect::Shuffled {},
    ClipDefect::Frozen {},
    ClipDefect::Flickering { levels: 8.0 },
    ClipDefect::Flickering { levels: 32.0 },
    ClipDefect::Replaced {},
];

impl ClipDefect {
    /// Clips in [-1, 1] as the defect leaves them.
    pub fn change(&self, clips: &[f32], frames: Frames, key: Key) -> Vec<f32> {
        let numel = frames.numel();
        let count = clips.len() / numel.max(1);
        let mut out = Vec::with_capacity(clips.len());
        for (i, clip) in clips.chunks(numel).enumerate() {
            let own = |frame: usize| (i, frame);
            let from: Vec<(usize, usize)> = match self {
                Self::Shuffled {} => {
                    let mut order: Vec<usize> = (0..frames.frames).collect();
                    let key = key.fold(i as u64);
                    order.sort_by_key(|frame| key.bits(*frame as u64));
                    order.into_iter().map(own).collect()
                }
                Self::Frozen {} => vec![own(0); frames.frames],
                Self::Flickering { .. } => (0..frames.frames).map(own).collect(),
                Self::Replaced {} => {
                    let at = 1 + (key.uniform(i as u64) * (frames.frames - 2) as f64) as usize;
                    (0..frames.frames).map(|f| if f == at { ((i + 1) % count, f) } else { own(f) }).collect()
                }
            };
            let area = frames.size[0] * frames.size[1];
            for plane in 0..frames.planes {
                for (frame, (of, at)) in from.iter().enumerate() {
                    let source = if *of == i { clip } else { &clips[of * numel..][..numel] };
                    let values = &source[(plane * frames.frames + at) * area..][..area];
                    let darker = match self {
                        Self::Flickering { levels } if frame % 2 == 1 => (levels * 2.0 / 255.0) as f32,
                        _ => 0.0,
                    };
                    out.extend(values.iter().map(|v| if darker > 0.0 { (v - darker).max(-1.0) } else { *v }));
                }
            }
        }
        out
    }
}

impl std::fmt::Display for ClipDefect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shuffled {} => write!(f, "frames shuffled"),
            Self::Frozen {} => write!(f, "first frame repeated"),
            Self::Flickering { levels } => write!(f, "every second frame darker by {levels}/255"),
            Self::Replaced {} => write!(f, "one frame of another clip"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Purpose;

    /// Mutants: planes shuffled apart from each other; the frame of the same clip put in.
    #[test]
    fn each_change_is_what_its_name_says() {
        let frames = Frames { planes: 2, frames: 4, size: [1, 1] };
        // Number 10 plane + frame, the second clip a hundred further, in hundredths.
        let clips: Vec<f32> = (0..16).map(|i| (i / 8 * 50 + i / 4 % 2 * 10 + i % 4) as f32 * 0.01).collect();
        let of = |defect: ClipDefect| {
            let out = defect.change(&clips, frames, Key::new(1, Purpose::Probe));
            out.iter().map(|v| (v * 100.0).round() as i64).collect::<Vec<_>>()
        };
        assert_eq!(of(ClipDefect::Frozen {}), [0, 0, 0, 0, 10, 10, 10, 10, 50, 50, 50, 50, 60, 60, 60, 60]);
        let shuffled = of(ClipDefect::Shuffled {});
        assert!((0..4).all(|f| shuffled[f] + 10 == shuffled[4 + f]), "{shuffled:?}");
        assert!(shuffled[..4] != [0, 1, 2, 3] || shuffled[8..12] != [50, 51, 52, 53], "{shuffled:?}");
        let replaced = of(ClipDefect::Replaced {});
        let strange: Vec<i64> = replaced[..8].iter().filter(|v| **v >= 50).copied().collect();
        assert!(strange.len() == 2 && strange[0] + 10 == strange[1] && replaced[0] == 0, "{replaced:?}");
        let flickers = of(ClipDefect::Flickering { levels: 12.75 });
        assert_eq!(flickers[..4], [0, -9, 2, -7]);
    }
}
