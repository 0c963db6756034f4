//! What a released model is asked beside the pictures that it restores, inverts or edits.

use super::is_released;
use crate::Error;
use kernels::Precision;
use std::path::{Path, PathBuf};

/// What only released models are asked beside a picture.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// The folder that has what a single file lacks.
    pub parts: Option<PathBuf>,
    /// What pictures should not show, for guidance to lead away from.
    pub negative: Option<String>,
    /// FLUX: contrast with the negative prompt, on top of the number it is told.
    pub true_guidance: Option<f64>,
    /// Files of corrections of low rank, and how often each counts.
    pub loras: Vec<(PathBuf, f64)>,
    /// Decode in tiles of so many pixels.
    pub tile: Option<usize>,
    /// Tokens that T5 reads.
    pub length: Option<usize>,
}

impl Beside {
    /// Whether `model` is a released one.
    pub fn is_for(&self, model: &Path) -> bool {
        self.parts.is_some() || is_released(model)
    }

    /// Refuses what is given for a model that is none.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the option.
    pub fn refuse(&self, model: &Path) -> Result<(), Error> {
        let given = [
            ("--negative-prompt", self.negative.is_some()),
            ("--true-cfg-scale", self.true_guidance.is_some()),
            ("--lora", !self.loras.is_empty()),
            ("--decode-tile", self.tile.is_some()),
            ("--max-sequence-length", self.length.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((option, _)) => Err(Error::Usage(format!(
                "{option}: {} is no released model; that is a folder with model_index.json, or a single file of its network",
                model.display()
            ))),
        }
    }
}

/// How a released model is asked to change pictures.
#[derive(Clone, Debug)]
pub(crate) struct Change<'a> {
    /// Its folder or single file.
    pub model: &'a Path,
    /// What only such models read.
    pub beside: &'a Beside,
    /// Pixels of the pictures, height first; the model's own where absent.
    pub size: Option<[usize; 2]>,
    /// Steps in place of its habit.
    pub steps: Option<usize>,
    /// Guidance in place of its habit.
    pub guidance: Option<f64>,
    /// Operands of products.
    pub precision: Precision,
}
