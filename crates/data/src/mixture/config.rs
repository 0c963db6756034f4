//! What mixtures are like.

use crate::{DataError, Result};
use serde::{Deserialize, Serialize};

/// What mixtures are like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MixtureConfig {
    /// Samples of a mixture.
    pub length: usize,
    /// Fewest and most sounds in one.
    pub sources: [usize; 2],
    /// Least and most decibels of the target over all others together.
    pub snr: [f64; 2],
    /// Least and most speed at which a sound runs; 1 is its own.
    pub speed: [f64; 2],
    /// Share of the sounds longer than a mixture that begin within it; the others are cut from their middle. What never hears a sound
    /// begin takes its beginning for another sound.
    pub onset: f64,
    /// Share of the mixtures whose query names a label that does not sound: the target is silence.
    pub absent: f64,
    /// Least and most decibels by which a mixture is then made quieter, references with it: recordings are as loud as they are.
    pub level: [f64; 2],
    /// Largest magnitude of a mixture: louder ones are brought there, mixture and references by one gain.
    pub peak: f32,
    /// How the query is worded: `{}` stands for the label's name. One is drawn for each mixture.
    pub queries: Vec<String>,
}

impl Default for MixtureConfig {
    /// One second at 16 kHz and a little more, which makes 96 columns of 10 ms and fits three halvings.
    fn default() -> Self {
        Self {
            length: 15_360,
            sources: [2, 2],
            snr: [-5.0, 5.0],
            speed: [1.0, 1.0],
            onset: 0.4,
            absent: 0.05,
            level: [0.0, 0.0],
            peak: 0.9,
            queries: ["{}", "a {}", "the sound of a {}", "only the {}"].map(str::to_owned).into(),
        }
    }
}

impl MixtureConfig {
    /// Ranges, and whether `labels` labels are enough.
    ///
    /// # Errors
    /// [`DataError::Config`] naming the key.
    pub fn check(&self, labels: usize) -> Result<()> {
        let [least, most] = self.sources;
        let needed = most + usize::from(self.absent > 0.0);
        if least < 1 || most < least || needed > labels {
            let what = format!("from {least} to {most} sounds of different labels out of {labels}");
            return Err(DataError::config(
                "mixture.sources",
                what,
                "use at least 1, and a label more than sounds, or set mixture.absent = 0 so that every query sounds",
            ));
        }
        let ordered = |[low, high]: [f64; 2]| low.is_finite() && high.is_finite() && low <= high;
        if !ordered(self.snr) || self.snr.iter().any(|v| v.abs() > 120.0) {
            return Err(DataError::config("mixture.snr", format!("{:?}", self.snr), "use [least, most] decibels"));
        }
        if !ordered(self.speed) || self.speed[0] < 0.1 || self.speed[1] > 10.0 {
            return Err(DataError::config(
                "mixture.speed",
                format!("{:?}", self.speed),
                "use [least, most] in 0.1 to 10",
            ));
        }
        if !ordered(self.level) || self.level[0] < -120.0 || self.level[1] > 0.0 {
            let remedy = "use [least, most] decibels, none above 0";
            return Err(DataError::config("mixture.level", format!("{:?}", self.level), remedy));
        }
        for (key, share) in [("mixture.absent", self.absent), ("mixture.onset", self.onset)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(DataError::config(key, share.to_string(), "use a share from 0 to 1"));
            }
        }
        if self.length == 0 || !(self.peak > 0.0 && self.peak <= 1.0) {
            let what = format!("length {} and peak {}", self.length, self.peak);
            return Err(DataError::config("mixture.peak", what, "use a length above 0 and a peak in (0, 1]"));
        }
        if self.queries.is_empty() || self.queries.iter().any(|q| q.trim().is_empty()) {
            return Err(DataError::config("mixture.queries", "empty", "write at least one, with {} for the name"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_are_named() {
        let refuse = |change: fn(&mut MixtureConfig), key: &str| {
            let mut config = MixtureConfig::default();
            change(&mut config);
            let said = config.check(4).unwrap_err().to_string();
            assert!(said.contains(key), "{said}");
        };
        refuse(|c| c.sources = [2, 4], "mixture.sources");
        refuse(|c| c.sources = [0, 1], "mixture.sources");
        refuse(|c| c.snr = [5.0, -5.0], "mixture.snr");
        refuse(|c| c.speed = [0.0, 1.0], "mixture.speed");
        refuse(|c| c.level = [-3.0, 1.0], "mixture.level");
        refuse(|c| c.absent = f64::NAN, "mixture.absent");
        refuse(|c| c.onset = 1.5, "mixture.onset");
        refuse(|c| c.queries = vec![], "mixture.queries");
        refuse(|c| c.peak = 0.0, "mixture.peak");
        assert!(serde_json::from_str::<MixtureConfig>(r#"{"lenght": 3}"#).is_err());
    }
}
