//! Sound: from recordings with labels to networks that hear one of them in a mixture (FlowSep, arXiv:2409.07614).
//!
//! A recipe's `[sound]` table turns the recordings of `[data]` into mixtures made on the fly ([`MixtureSource`]). The data point
//! is the mel picture of the sound asked for, the map beside it ([`base::Condition::dense`]) that of the mixture, the class or
//! caption the query. Everything else, from couplings to solvers, is that of any flow. [`Separator`] is the way back to sound.

mod analysis;
mod instruments;
mod separator;
mod source;
mod stage;

pub use analysis::Analysis;
pub use separator::{Queries, Resynthesis, Separator};
pub use source::{MixtureSource, held_out, libraries};
pub(crate) use stage::{of as stage_of, stage};

use crate::Error;
use data::{DataConfig, mixture::MixtureConfig};
use media::audio::MelConfig;
use serde::{Deserialize, Serialize};

/// How recordings become training samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoundConfig {
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
}

impl Default for SoundConfig {
    fn default() -> Self {
        Self { held_out: 4, centre: -5.0, spread: 3.0, mel: MelConfig::default(), mixture: MixtureConfig::default() }
    }
}

impl SoundConfig {
    /// Ranges, and keys of `data` that mean nothing for sounds.
    ///
    /// # Errors
    /// The key, and what to do.
    pub(crate) fn check(&self, data: &DataConfig) -> Result<(), String> {
        let meant = DataConfig { name: data.name.clone(), path: data.path.clone(), ..DataConfig::default() };
        if *data != (DataConfig { classes: data.classes.clone(), ..meant }) {
            return Err(
                "with `[sound]` the table `[data]` says name or path and classes; its other keys are of images".into(),
            );
        }
        if data.name.is_none() && data.path.is_none() {
            return Err(
                "`[sound]` needs recordings: set data.name (`rectiflow data list`) or data.path, or give --data".into(),
            );
        }
        if self.held_out < 2 {
            return Err(format!("sound.held_out is {}; keep apart one recording in 2 or more", self.held_out));
        }
        if !(self.centre.is_finite() && self.spread > 0.0 && self.spread.is_finite()) {
            let Self { centre, spread, .. } = self;
            return Err(format!("sound.centre = {centre} and sound.spread = {spread}; the spread must be above 0"));
        }
        Analysis::new(self).map_err(|error| error.to_string())?;
        // How many labels there are is known when they are read; of its own ranges it can be asked at once.
        self.mixture.check(usize::MAX).map_err(|error| error.to_string())
    }

    /// The recordings of `data`, for the errors that name them.
    fn place(data: &DataConfig) -> Result<String, Error> {
        let path = data.path.as_ref().map(|path| path.to_string_lossy().into_owned());
        path.or_else(|| data.name.clone()).ok_or_else(|| Error::Usage("no recordings are named: give --data".into()))
    }
}
