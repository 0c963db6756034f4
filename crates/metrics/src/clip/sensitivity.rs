//! What the figures of clips see: their values for real clips, and for real clips with something known wrong.

use super::{
    ClipFigures, Frames,
    defects::{CLIP_DEFECTS, ClipDefect},
};
use crate::{Extractor, Gaussian, MetricsError, frechet_distance_to};
use base::{Key, RandomStream};
use serde::{Deserialize, Serialize};

/// The figures of one set of clips.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeenClips {
    /// What is wrong; `None` for the floor.
    pub defect: Option<ClipDefect>,
    /// Fréchet distance to the reference.
    pub frechet: f64,
    /// The others.
    #[serde(flatten)]
    pub figures: ClipFigures,
}

/// The floor, and every defect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClipSensitivity {
    /// Whose features the Fréchet distance is in.
    pub extractor: String,
    /// Clips behind each row.
    pub clips: usize,
    /// Clips behind the reference.
    pub reference: usize,
    /// The floor first.
    pub seen: Vec<SeenClips>,
}

/// Measures every defect on real `clips` that `reference`, of the same extractor, does not hold.
///
/// # Errors
/// Clips that the extractor does not accept; fewer than two.
pub fn clip_sensitivity(
    extractor: &dyn Extractor,
    reference: &Gaussian,
    clips: &[f32],
    frames: Frames,
) -> Result<ClipSensitivity, MetricsError> {
    let count = clips.len() / frames.numel().max(1);
    let [h, w] = frames.size;
    let of = |defect: Option<ClipDefect>, clips: &[f32]| -> Result<SeenClips, MetricsError> {
        let features = extractor.features(clips, [count, frames.planes * frames.frames, h, w])?;
        let frechet = frechet_distance_to(reference, &features)?;
        Ok(SeenClips { defect, frechet, figures: ClipFigures::of(clips, frames)? })
    };
    let key = Key::of(0, RandomStream::Spoiled);
    let mut seen: Vec<SeenClips> = vec![of(None, clips)?];
    for defect in CLIP_DEFECTS {
        seen.push(of(Some(*defect), &defect.change(clips, frames, key))?);
    }
    Ok(ClipSensitivity { extractor: extractor.label(), clips: count, reference: reference.count, seen })
}

impl ClipSensitivity {
    /// The row of a defect, where it was measured.
    pub fn of(&self, defect: Option<ClipDefect>) -> Option<&SeenClips> {
        self.seen.iter().find(|seen| seen.defect == defect)
    }

    /// The table as plain text, Markdown's kind.
    pub fn table(&self) -> String {
        let mut out = format!(
            "| {} real clips with this defect | FD ({}) | smoothness | flicker | consistency | dynamics |\n|---|---|---|---|---|---|\n",
            self.clips, self.extractor
        );
        for SeenClips { defect, frechet, figures } in &self.seen {
            let name = defect.map_or("none (the floor)".to_string(), |defect| defect.to_string());
            let ClipFigures { smoothness, flicker, consistency, dynamics } = figures;
            out += &format!(
                "| {name} | {frechet:.3} | {smoothness:.3} | {flicker:.2} | {consistency:.3} | {dynamics:.2} |\n"
            );
        }
        out
    }
}
