//! How a model of mel pictures hears the surroundings of a gap, and how what it drew becomes sound there.
//!
//! Gaps of one length lie at one place of every window, so that one mask fits them all. A column of the picture is unknown where its
//! window of the transform sees any lost sample: half a window more than the gap on either side.

use super::Hole;
use crate::{Error, sound::Analysis};
use media::audio::{GriffinLim, LogMel, fill};
use std::ops::Range;

/// Magnitude below which no line is told from silence.
const QUIET: f64 = 1e-7;
/// Times that a line of the neighbours may become louder at most: where they are silent, rounding is all there is to scale.
const LOUDER: f32 = 1e3;

/// The window around gaps of one length.
pub(crate) struct Window {
    analysis: Analysis,
    /// Lost samples, from the window's first on.
    gap: Range<usize>,
    /// Columns that see them.
    columns: Range<usize>,
}

impl Window {
    /// Around gaps of `span` samples at the model's rate, in the middle of what it hears.
    ///
    /// # Errors
    /// [`Error::Usage`] for a gap that leaves the model no column.
    pub fn new(analysis: Analysis, span: usize) -> Result<Self, Error> {
        let (hop, frames) = (analysis.mel().config().hop, analysis.frames());
        let length = frames * hop;
        let start = length.saturating_sub(span) / 2 / hop * hop;
        let gap = start..start + span;
        let columns = analysis.mel().stft().seeing(&gap, length);
        let columns = columns.start..columns.end.min(frames);
        let seconds = |samples: usize| samples as f64 / f64::from(analysis.mel().config().rate);
        if gap.end > length || columns.start == 0 || columns.end == frames {
            return Err(Error::Usage(format!(
                "--gap: the model hears {:.2} s at a time, and a gap of {:.3} s with half a window of {:.3} s around it leaves nothing \
                 known on both sides; give a shorter one",
                seconds(length),
                seconds(span),
                seconds(analysis.mel().stft().window())
            )));
        }
        Ok(Self { analysis, gap, columns })
    }

    /// The hole in pictures.
    pub fn hole(&self) -> Hole {
        let bands = self.analysis.mel().config().bins;
        Hole::Box([self.columns.start, 0, self.columns.len(), bands])
    }

    /// Samples at the model's rate that it hears around the gap at `at` of `channel`, those of the gap as they are; silence outside.
    pub fn excerpt(&self, channel: &[f32], at: usize) -> Vec<f32> {
        let length = self.analysis.frames() * self.analysis.mel().config().hop;
        let sample = |i: usize| (at + i).checked_sub(self.gap.start).and_then(|place| channel.get(place)).copied();
        (0..length).map(|i| sample(i).unwrap_or(0.0)).collect()
    }

    /// The lost samples in an excerpt.
    pub fn gap(&self) -> Range<usize> {
        self.gap.clone()
    }

    /// What the network sees of an excerpt.
    ///
    /// # Errors
    /// None that excerpts have.
    pub fn row(&self, excerpt: &[f32]) -> Result<Vec<f32>, Error> {
        self.analysis.hear(excerpt)
    }

    /// A row whose unknown columns lie on the line between their neighbours: what needs no model.
    pub fn bridged(&self, row: &[f32]) -> Vec<f32> {
        let (bands, Range { start, end }) = (self.analysis.mel().config().bins, self.columns.clone());
        let mut row = row.to_vec();
        for column in start..end {
            let share = (column + 1 - start) as f32 / (end + 1 - start) as f32;
            for band in 0..bands {
                let (before, after) = (row[(start - 1) * bands + band], row[end * bands + band]);
                row[column * bands + band] = before + share * (after - before);
            }
        }
        row
    }

    /// `excerpt` with its gap filled with what the picture `row` shows there: between the last known frame's spectrum and the next one's, made as
    /// loud in every band as the picture says. A band's own loudness says nothing of the lines in it, which its neighbours have.
    ///
    /// # Errors
    /// None that rows of this model have.
    pub fn filled(&self, excerpt: &[f32], row: &[f32]) -> Result<Vec<f32>, Error> {
        let (mel, stft) = (self.analysis.mel(), self.analysis.mel().stft());
        let (bands, bins) = (mel.config().bins, stft.bins());
        let mut torn = excerpt.to_vec();
        torn[self.gap.clone()].fill(0.0);
        let mut lines = stft.forward(&torn);
        let Range { start, end } = self.columns.clone();
        for frame in start..end {
            let share = (frame + 1 - start) as f64 / (end + 1 - start) as f64;
            for bin in 0..bins {
                let size = |frame: usize| (lines.values[frame * bins + bin].norm() + QUIET).ln();
                let value = size(start - 1) * (1.0 - share) + size(end) * share;
                lines.values[frame * bins + bin] = value.exp().into();
            }
        }
        let mut wanted = self.analysis.columns(row);
        // The last column of the transform begins where the excerpt ends, and sees nothing of the gap.
        wanted.extend_from_within(wanted.len() - bands..);
        let wanted = mel.magnitude(&LogMel { frames: lines.frames, bins: bands, values: wanted });
        let heard = mel.magnitude(&mel.log_mel_of(&lines));
        let each = lines.magnitude().into_iter().zip(wanted).zip(heard);
        // Where nothing sounds on either side there are no lines to scale.
        let louder = |((line, wanted), heard): ((f32, f32), f32)| {
            if heard > 0.0 { line * (wanted / heard).min(LOUDER) } else { wanted }
        };
        Ok(fill(&stft, excerpt, &self.gap, &each.map(louder).collect::<Vec<_>>(), &GriffinLim::default())?)
    }

    /// Its picture.
    ///
    /// # Errors
    /// None that excerpts have.
    pub fn picture(&self, excerpt: &[f32]) -> Result<LogMel, Error> {
        Ok(self.analysis.mel().log_mel(excerpt)?)
    }

    /// Magnitudes of the frames in the middle of whose windows something is lost, `[frames bins]`, and their number of bins.
    pub fn spectrum(&self, excerpt: &[f32]) -> (Vec<f32>, usize) {
        let stft = self.analysis.mel().stft();
        let (all, bins, frames) = (stft.forward(excerpt).magnitude(), stft.bins(), self.middle());
        (all[frames.start * bins..frames.end * bins].to_vec(), bins)
    }

    /// The columns of its picture in the gap.
    ///
    /// # Errors
    /// None that excerpts have.
    pub fn inside(&self, excerpt: &[f32]) -> Result<Vec<f32>, Error> {
        let (LogMel { values, bins, .. }, frames) = (self.picture(excerpt)?, self.middle());
        Ok(values[frames.start * bins..frames.end * bins].to_vec())
    }

    /// Frames whose windows have their middle in the gap.
    fn middle(&self) -> Range<usize> {
        let hop = self.analysis.mel().config().hop;
        let first = self.gap.start.div_ceil(hop);
        first..self.gap.end.div_ceil(hop).max(first + 1)
    }

    /// The quietest magnitude of a band that the model tells from silence.
    pub fn floor(&self) -> f64 {
        self.analysis.mel().config().floor
    }

    /// Samples to a second of what the model hears.
    pub fn rate(&self) -> u32 {
        self.analysis.mel().config().rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Separate;

    /// Mutants, named and not run: columns of the gap alone (the window's half forgotten); an excerpt one sample off; a line from column to column
    /// that does not meet its ends.
    #[test]
    fn a_window_has_its_gap_in_the_middle() {
        let analysis = || Analysis::new(&Separate::default()).unwrap(); // 96 columns of 160 samples, windows of 1024
        let window = Window::new(analysis(), 1600).unwrap();
        assert_eq!(window.gap(), 6880..8480);
        assert_eq!(window.hole(), Hole::Box([40, 0, 17, 64]));
        let channel: Vec<f32> = (0..20_000).map(|i| i as f32).collect();
        let excerpt = window.excerpt(&channel, 7000);
        assert_eq!((excerpt.len(), excerpt[6880], excerpt[0]), (15_360, 7000.0, 120.0));
        let early = window.excerpt(&channel, 10);
        assert_eq!((early[6880], early[6870], early[6869]), (10.0, 0.0, 0.0));
        assert_eq!(window.excerpt(&channel, 19_999)[6881], 0.0);
        let row: Vec<f32> = (0..96 * 64).map(|i| (i / 64) as f32 * 0.1 + (i % 64) as f32).collect();
        let torn: Vec<f32> =
            row.iter().enumerate().map(|(i, v)| if (40..57).contains(&(i / 64)) { 9e9 } else { *v }).collect();
        let far = window.bridged(&torn).iter().zip(&row).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 1e-4, "{far}");
        for span in [15_000, 20_000, usize::MAX / 2] {
            let error = Window::new(analysis(), span).err().unwrap();
            assert!(error.exit_code() == 2 && error.to_string().contains("hears 0.96 s"), "{error}");
        }
    }

    /// A tone goes on through the gap by its own picture, nearer than silence by far, half as loud by a picture that says so; outside nothing moves.
    ///
    /// Mutants, named and not run: loudness of the neighbours in place of the picture's; the pictures' bands spread over their lines (the tone
    /// becomes noise); what stands in the gap heard.
    #[test]
    fn a_picture_becomes_sound_in_the_gap_alone() {
        let window = Window::new(Analysis::new(&Separate::default()).unwrap(), 800).unwrap();
        let channel: Vec<f32> = (0..15_360).map(|i| 0.3 * (i as f32 * 0.2).sin()).collect();
        let excerpt = window.excerpt(&channel, window.gap().start);
        let mut torn = excerpt.clone();
        torn[window.gap()].fill(0.7);
        let row = window.row(&excerpt).unwrap();
        let filled = window.filled(&torn, &row).unwrap();
        let ratio = metrics::sound::si_sdr(&filled[window.gap()], &excerpt[window.gap()]).unwrap();
        assert!(ratio > 10.0, "{ratio}");
        assert!((0..15_360).all(|i| window.gap().contains(&i) || filled[i] == excerpt[i]));
        let energy = |x: &[f32]| x[window.gap()][200..600].iter().map(|v| v * v).sum::<f32>();
        let lower: Vec<f32> = row.iter().map(|v| v - 1.4 / 3.0).collect(); // a quarter of the magnitude, spread 3
        let soft = window.filled(&torn, &lower).unwrap();
        assert!(energy(&soft) < 0.5 * energy(&filled), "{} {}", energy(&soft), energy(&filled));
    }
}
