//! What was drawn when numbers were sensed, kept beside them: only those who know the transform can undo it.
//!
//! `measured.json` beside `measured.npy` has the share, the transform's seed and the pictures' shape. So the seed of a later run draws its own
//! starting noise alone, and is another sample of the same measurement.

use super::Task;
use crate::Error;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Of the numbers of one file.
#[derive(Serialize, Deserialize, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
struct Sensed {
    share: f64,
    seed: u64,
    /// `[c h w]`.
    picture: [usize; 3],
}

/// Where it stands.
pub(crate) fn place(numbers: &Path) -> PathBuf {
    numbers.with_extension("json")
}

/// Writes it beside `numbers`, where `task` senses any of pictures `[c h w]`.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn keep(numbers: &Path, task: &Task, picture: [usize; 3]) -> Result<(), Error> {
    let Task::Sense { share, seed } = *task else { return Ok(()) };
    let json = serde_json::to_vec(&Sensed { share, seed, picture });
    let json = json.map_err(|error| Error::Failure(format!("cannot write JSON: {error}")))?;
    Ok(media::atomic::write(&place(numbers), &json)?)
}

/// The task by which the numbers at `input` were sensed: `task` under the seed of its transform. Any other task as it is.
///
/// # Errors
/// [`Error::Usage`] where nothing says how they were sensed, or where that is not what is asked.
pub(crate) fn recalled(input: &str, task: &Task, picture: [usize; 3]) -> Result<Task, Error> {
    let (numbers, Task::Sense { share, .. }) = (Path::new(input), task) else { return Ok(task.clone()) };
    if !super::inputs::is_numbers(numbers) {
        return Ok(task.clone());
    }
    let file = place(numbers);
    let usage = |why: String| Error::Usage(format!("--input {input}: {why}"));
    let text = std::fs::read(&file).map_err(|error| {
        usage(format!(
            "{} beside it says by which transform it was sensed, and cannot be read ({error}); `restore --degrade --task sense` writes both",
            file.display()
        ))
    })?;
    let kept: Sensed = serde_json::from_slice(&text)
        .map_err(|error| usage(format!("{} does not say how it was sensed: {error}", file.display())))?;
    if (kept.share - share).abs() > 1e-9 {
        return Err(usage(format!("a share of {} was sensed, not {share}; give --share {}", kept.share, kept.share)));
    }
    if kept.picture != picture {
        return Err(usage(format!(
            "pictures of {:?} [c h w] were sensed, and the model's are {picture:?}; take a model of that size",
            kept.picture
        )));
    }
    Ok(Task::Sense { share: kept.share, seed: kept.seed })
}
