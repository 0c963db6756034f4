//! `score`: the figures of `eval` for images somebody else made: a folder, an npy or npz file.
//!
//! One judge for all comers: another program's samples are measured with the same features against the same images.

use crate::{
    Context, Error,
    judge::{Judge, JudgeConfig, SPOILED},
    report::Figures,
    sampling::Drawn,
};
use data::{DataConfig, Split};
use metrics::{clip::sensitivity::ClipSensitivity, sensitivity::Sensitivity};
use serde::Serialize;
use std::path::PathBuf;

/// What to measure, and against what.
#[derive(Clone, Debug)]
pub struct ScoreRequest {
    /// A folder of images, an `.npy` file (labels in `NAME_labels.npy`) or an `.npz` file (`images`, `labels`).
    pub samples: PathBuf,
    /// The images to compare with. A size that is set holds for the samples as well.
    pub data: DataConfig,
    /// How many of them.
    pub reference: usize,
    /// Who judges.
    pub judge: JudgeConfig,
    /// Whether to say which defects of real images the judges see.
    pub explain: bool,
}

/// What the judges said.
#[derive(Clone, Debug, Serialize)]
pub struct ScoreReport {
    /// Of the samples.
    #[serde(flatten)]
    pub figures: Figures,
    /// Whose features.
    pub evaluator: String,
    /// Of as many real images that the reference does not hold, where the data have a test part.
    pub real: Option<Figures>,
    /// Which defects the judges see, where it was asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sensitivity: Vec<Sensitivity>,
    /// What the figures of clips see, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_sensitivity: Option<ClipSensitivity>,
}

/// Measures the samples, and real images beside them.
///
/// # Errors
/// Samples or data that cannot be read, or that differ in shape.
pub fn score(request: &ScoreRequest, context: &mut Context) -> Result<ScoreReport, Error> {
    let dataset = data::open(&request.data)?;
    let judge = Judge::new(&dataset, request.reference, &request.judge, &context.device)?;
    // All of them: nothing is held out of a set that is only measured.
    let DataConfig { size, channels, .. } = request.data;
    let own = DataConfig { holdout: 0.0, size, channels, ..DataConfig::at(&request.samples) };
    let samples = data::open(&own.with_split(Split::Train))?;
    for (set, left_out) in [(&dataset, dataset.left_out()), (&samples, samples.left_out())] {
        left_out.iter().for_each(|kind| context.note(format!("{}: not used: {kind}", set.name())));
    }
    if samples.shape() != dataset.shape() {
        return Err(Error::Usage(format!(
            "{} holds images of {} [c h w], {} of {}; measure against data of the same shape, or convert the samples",
            request.samples.display(),
            samples.shape(),
            dataset.name(),
            dataset.shape()
        )));
    }
    let rows: Vec<usize> = (0..samples.len()).collect();
    let batch = data::gather(&*samples, &rows)?;
    let drawn = Drawn::given(batch.rows, samples.shape(), batch.labels);
    let figures = judge.figures(&drawn)?;
    let real = judge.floor(&request.data, rows.len())?;
    let (mut sensitivity, mut clip_sensitivity) = (Vec::new(), None);
    if request.explain {
        context.note("spoiling real images in known ways, to say what these judges see");
        sensitivity = judge.sensitivity(&request.data, SPOILED)?;
        clip_sensitivity = judge.clip_sensitivity(&request.data, SPOILED)?;
    }
    Ok(ScoreReport { figures, evaluator: judge.label(), real, sensitivity, clip_sensitivity })
}
