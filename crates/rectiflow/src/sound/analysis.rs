//! Between sound and the rows that networks see: mel pictures `[1 frames bands]`, centred and scaled.

use crate::{Error, recipe::Separate};
use base::Shape;
use media::audio::{LogMel, Mel};

/// Both ways between a mel picture and a row.
#[derive(Clone, Debug)]
pub struct Analysis {
    mel: Mel,
    frames: usize,
    centre: f32,
    spread: f32,
}

impl Analysis {
    /// That of `config`.
    ///
    /// # Errors
    /// A mel picture that cannot be; a mixture that is no whole number of columns.
    pub fn new(config: &Separate) -> Result<Self, Error> {
        let mel = Mel::new(&config.mel)?;
        let frames = config.frames().map_err(Error::Usage)?;
        Ok(Self { mel, frames, centre: config.centre, spread: config.spread })
    }

    /// The transform.
    pub fn mel(&self) -> &Mel {
        &self.mel
    }

    /// Columns of a picture.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Of a row: time and bands are the axes of an image.
    pub fn shape(&self) -> Shape {
        [1, self.frames, self.mel.config().bins].into()
    }

    /// What a network sees of columns of a picture `[at most frames, bands]`; silence behind them.
    pub fn row(&self, columns: &[f32]) -> Vec<f32> {
        let missing = self.shape().numel().saturating_sub(columns.len());
        let silence = std::iter::repeat_n(self.mel.silence(), missing);
        let all = columns.iter().take(self.shape().numel()).copied().chain(silence);
        all.map(|v| (v - self.centre) / self.spread).collect()
    }

    /// The row of `samples`, as long as a mixture. The last column, which begins where they end, is left away, as by FlowSep.
    ///
    /// # Errors
    /// No samples.
    pub fn hear(&self, samples: &[f32]) -> Result<Vec<f32>, Error> {
        Ok(self.row(&self.mel.log_mel(samples)?.values))
    }

    /// The columns that a network's answer stands for, never below silence.
    pub fn columns(&self, row: &[f32]) -> Vec<f32> {
        row.iter().map(|v| (v * self.spread + self.centre).max(self.mel.silence())).collect()
    }

    /// The same as a picture.
    pub fn picture(&self, row: &[f32]) -> LogMel {
        LogMel { frames: self.frames, bins: self.mel.config().bins, values: self.columns(row) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: padding with 0 (loud), the row not scaled back, the first column left away in place of the last.
    #[test]
    fn rows_are_pictures_and_silence_is_silent() {
        let analysis = Analysis::new(&Separate::default()).unwrap();
        assert_eq!(analysis.shape(), Shape::from([1, 96, 64]));
        let tone: Vec<f32> = (0..15_360).map(|i| 0.4 * (i as f32 * 0.3).sin()).collect();
        let (row, whole) = (analysis.hear(&tone).unwrap(), analysis.mel().log_mel(&tone).unwrap());
        assert_eq!((row.len(), whole.frames), (96 * 64, 97));
        let back = analysis.picture(&row);
        let worst = back.values.iter().zip(&whole.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{worst}");
        let short = analysis.columns(&analysis.row(&whole.values[..64 * 10]));
        assert!(short[640..].iter().all(|v| (v - 1e-5f32.ln()).abs() < 1e-5));
        assert!(analysis.columns(&[-100.0])[0] >= analysis.mel().silence());
    }

    #[test]
    fn half_a_column_is_refused() {
        let mut config = Separate::default();
        config.mixture.length += 1;
        assert!(Analysis::new(&config).unwrap_err().to_string().contains("task.mixture.length is 15361"));
    }
}
