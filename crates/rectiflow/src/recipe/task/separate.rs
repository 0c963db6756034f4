//! From a mixture of sounds to the one that is asked for (FlowSep, arXiv 2409.07614): recordings mixed on the fly.

use super::{Keys, Recipe, TextConfig};
use data::{DataConfig, mixture::MixtureConfig};
use media::audio::{Mel, MelConfig};
use methods::Target;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// FlowSep: Language-Queried Sound Separation with Rectified Flow Matching.
pub const FLOW_SEP: base::Paper = base::Paper::arxiv(
    "yuan2024flowsep",
    "Yuan, Yi and Liu, Xubo and Liu, Haohe and Plumbley, Mark D. and Wang, Wenwu",
    "FlowSep: Language-Queried Sound Separation with Rectified Flow Matching",
    (2024, "2409.07614"),
    "ICASSP 2025",
);

/// Hears one sound in mixtures of the recordings of `data` (verb `separate`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Separate {
    /// One recording in this many of a label is kept apart to judge with.
    pub held_out: usize,
    /// What networks see of a log-mel value `v` is `(v - centre) / spread`.
    pub centre: f32,
    /// See `centre`.
    pub spread: f32,
    /// How sound becomes a mel picture.
    pub mel: MelConfig,
    /// What mixtures are like. Their length over the picture's hop is the number of its columns.
    pub mixture: MixtureConfig,
    /// The run of a codec (verb `codec`, `type = "mel"`): the flow learns its latents of pictures, and what it hears is decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codec: Option<PathBuf>,
    /// Reads what is asked for as words, by a frozen encoder, in place of the labels' numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<TextConfig>,
}

impl Default for Separate {
    fn default() -> Self {
        let (mel, mixture) = (MelConfig::default(), MixtureConfig::default());
        Self { held_out: 4, centre: -5.0, spread: 3.0, mel, mixture, codec: None, text: None }
    }
}

impl Separate {
    /// Columns of a mixture's picture.
    ///
    /// # Errors
    /// A mixture that is no whole number of columns.
    pub fn frames(&self) -> Result<usize, String> {
        let (length, hop) = (self.mixture.length, self.mel.hop);
        if length == 0 || hop == 0 || !length.is_multiple_of(hop) {
            return Err(format!(
                "task.mixture.length is {length} samples, which is no whole number of columns of task.mel.hop = {hop}"
            ));
        }
        Ok(length / hop)
    }

    /// Ranges of its own keys.
    pub(crate) fn ranges(&self) -> Result<(), String> {
        if self.held_out < 2 {
            return Err(format!("task.held_out is {}; keep apart one recording in 2 or more", self.held_out));
        }
        if !(self.centre.is_finite() && self.spread > 0.0 && self.spread.is_finite()) {
            let Self { centre, spread, .. } = self;
            return Err(format!("task.centre = {centre} and task.spread = {spread}; the spread must be above 0"));
        }
        Mel::new(&self.mel).map_err(|error| error.to_string())?;
        self.frames()?;
        // How many labels there are is known when they are read; of its own ranges it can be asked at once.
        self.mixture.check(usize::MAX).map_err(|error| error.to_string())
    }
}

/// Refuses keys of `data` that mean nothing for sounds.
///
/// # Errors
/// The reason.
pub(crate) fn check_recordings(data: &DataConfig) -> Result<(), String> {
    let meant = DataConfig { name: data.name.clone(), path: data.path.clone(), ..DataConfig::default() };
    if *data != (DataConfig { classes: data.classes.clone(), ..meant }) {
        return Err("for sounds the table `[data]` says name or path and classes; its other keys are of images".into());
    }
    if data.name.is_none() && data.path.is_none() {
        return Err(
            "there are no recordings: set data.name (`rectiflow data list`) or data.path, or give --data".into()
        );
    }
    Ok(())
}

impl Keys for Separate {
    fn name(&self) -> &'static str {
        "separate"
    }

    fn text(&self) -> Option<&TextConfig> {
        self.text.as_ref()
    }

    fn codec(&self) -> Option<&Path> {
        self.codec.as_deref()
    }

    fn maps(&self, reads: usize) -> usize {
        // The mixture; how many channels a latent has is known when its codec is opened.
        if self.codec.is_some() { reads.max(1) } else { 1 }
    }

    fn papers(&self) -> Vec<base::Paper> {
        vec![FLOW_SEP]
    }

    fn alone(&self) -> Result<(), &'static str> {
        Err("hears sounds in mixtures, and draws nothing without one; use `rectiflow separate`")
    }

    fn check(&self, recipe: &Recipe) -> Result<(), String> {
        check_recordings(&recipe.data)?;
        self.ranges()?;
        let alone = recipe.lora.is_none() && recipe.perceptual.is_none();
        match alone && recipe.target == Target::Path {
            true => Ok(()),
            false => Err("task `separate` trains a flow from noise on mixtures made on the fly, or on pairs heard in them; leave \
                          `lora`, `perceptual` and `target` out"
                .into()),
        }
    }
}
