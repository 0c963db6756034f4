//! What was heard of the same mixtures in several ways, side by side: each way from a picture to sound, beside what knows the references and
//! beside the mixture itself.

use super::{listener::Listener, score::Spread};
use crate::Error;
use media::audio::{LogMel, Mel};
use metrics::{
    Extractor, Matrix, frechet_distance_of,
    sound::{MelMoments, log_mel_l1, lost_energy, lost_under, si_sdr},
};
use serde::Serialize;
use std::fmt;

/// One way, over all mixtures.
#[derive(Clone, Debug, Serialize)]
pub struct Way {
    /// What it is.
    pub name: String,
    /// SI-SDR over the mixture's, dB; the mean of finite values.
    pub improvement: f64,
    /// Log-mel L1 between the sound's own picture and the target's, over that of the mixture's.
    pub log_mel: f64,
    /// Share of the targets' energy in cells of time and frequency that the sound leaves more than 20 dB below.
    pub lost: f64,
    /// The same among the cells where the others are at least as loud as the target.
    pub lost_under: f64,
    /// Fréchet distance between its sounds and the targets in moments of mel bands ([`MelMoments`]), which need no training; `None` for
    /// one sound.
    pub moments: Option<f64>,
    /// Share of sounds that carry the label asked for more than any other; `None` where nobody listened.
    pub carries: Option<f64>,
    /// Fréchet distance between its sounds and the targets in the listener's features.
    pub frechet: Option<f64>,
}

/// All ways, and who listened.
#[derive(Clone, Debug, Serialize)]
pub struct Ways {
    /// Name and size of the classifier that listened.
    pub listener: Option<String>,
    /// Share of single held-out sounds that it names rightly.
    pub accuracy: Option<f64>,
    /// Share of masked sounds that carry another label of the mixture when that one is asked for.
    pub carries_swapped: Option<f64>,
    /// One after another.
    pub ways: Vec<Way>,
}

/// Sounds of one way as they come.
#[derive(Default)]
struct Sounds {
    improvement: Vec<f64>,
    lost: Vec<f64>,
    lost_under: Vec<f64>,
    /// Of the sound's picture and of the mixture's.
    log_mel: Vec<[f64; 2]>,
    pictures: Vec<LogMel>,
}

/// The sounds of all ways, and the labels that were asked for.
#[derive(Default)]
pub(super) struct Collected {
    names: Vec<String>,
    sounds: Vec<Sounds>,
    asked: Vec<usize>,
    swapped: Vec<LogMel>,
    asked_swapped: Vec<usize>,
}

/// What the sounds of one mixture are compared with.
pub(super) struct Truth<'a> {
    /// What was heard.
    pub mixture: &'a [f32],
    /// What was asked for.
    pub target: &'a [f32],
    /// Everything else.
    pub rest: &'a [f32],
    /// The label of the target.
    pub label: usize,
}

/// Names of the rows that are no way of the model.
pub(super) const TARGET: &str = "the target itself";
pub(super) const IDEAL: &str = "ideal ratio mask";
pub(super) const MIXTURE: &str = "the mixture";

impl Collected {
    /// The sounds made of one mixture.
    ///
    /// # Errors
    /// Sounds of other lengths.
    pub fn add(&mut self, truth: &Truth, sounds: Vec<(String, Vec<f32>)>, mel: &Mel) -> Result<(), Error> {
        let stft = mel.stft();
        let [mixed, own, others] = [truth.mixture, truth.target, truth.rest].map(|wave| stft.forward(wave));
        let (mixed, own_picture) = (mel.log_mel_of(&mixed), mel.log_mel_of(&own));
        let (own, others) = (own.magnitude(), others.magnitude());
        let before = si_sdr(truth.mixture, truth.target)?;
        let worst = log_mel_l1(&mixed.values, &own_picture.values)?;
        self.asked.push(truth.label);
        if self.names.is_empty() {
            self.names = sounds.iter().map(|(name, _)| name.clone()).collect();
            self.sounds.resize_with(sounds.len(), Sounds::default);
        }
        for ((_, wave), kept) in sounds.into_iter().zip(&mut self.sounds) {
            let spectrum = stft.forward(&wave);
            let (picture, magnitude) = (mel.log_mel_of(&spectrum), spectrum.magnitude());
            // Silence has no direction: it is near to nothing.
            kept.improvement.push(si_sdr(&wave, truth.target).unwrap_or(f64::NEG_INFINITY) - before);
            kept.log_mel.push([log_mel_l1(&picture.values, &own_picture.values)?, worst]);
            kept.lost.push(lost_energy(&magnitude, &own)?);
            kept.lost_under.extend(lost_under(&magnitude, &own, &others)?);
            kept.pictures.push(picture);
        }
        Ok(())
    }

    /// What a mask left of the mixture when another of its sounds, `label`, was asked for.
    ///
    /// # Errors
    /// No samples.
    pub fn add_swapped(&mut self, wave: &[f32], label: usize, mel: &Mel) -> Result<(), Error> {
        self.swapped.push(mel.log_mel(wave)?);
        self.asked_swapped.push(label);
        Ok(())
    }

    /// All of them measured, by `listener` too where there is one and how often it is right of single sounds.
    ///
    /// # Errors
    /// Features that are no numbers.
    pub fn measured(self, listener: Option<(&Listener, f64)>) -> Result<Ways, Error> {
        let heard = |pictures: &[LogMel]| listener.map(|(listener, _)| listener.hear(pictures)).transpose();
        let right = |labels: &[usize], asked: &[usize]| {
            labels.iter().zip(asked).filter(|(a, b)| a == b).count() as f64 / labels.len().max(1) as f64
        };
        let carries_swapped = heard(&self.swapped)?.map(|(_, labels)| right(&labels, &self.asked_swapped));
        let targets = self.names.iter().position(|name| name == TARGET).map(|at| &self.sounds[at].pictures);
        let (truth, true_moments) = match targets {
            Some(pictures) => (heard(pictures)?.map(|(features, _)| features), Some(moments(pictures)?)),
            None => (None, None),
        };
        // One sound has no spread.
        let distance = |features: Option<&Matrix>, truth: Option<&Matrix>| match (features, truth) {
            (Some(features), Some(truth)) if features.rows() > 1 => frechet_distance_of(features, truth).map(Some),
            _ => Ok(None),
        };
        let mut ways = Vec::new();
        for (name, sounds) in self.names.iter().zip(&self.sounds) {
            let found = heard(&sounds.pictures)?;
            let carries = found.as_ref().map(|(_, labels)| right(labels, &self.asked));
            let frechet = distance(found.as_ref().map(|(features, _)| features), truth.as_ref())?;
            let moments = distance(Some(&moments(&sounds.pictures)?), true_moments.as_ref())?;
            let sum = |which: usize| sounds.log_mel.iter().map(|pair| pair[which]).sum::<f64>();
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            let (improvement, log_mel) = (Spread::of(&sounds.improvement).mean, sum(0) / sum(1));
            let (lost, lost_under) = (mean(&sounds.lost), mean(&sounds.lost_under));
            ways.push(Way { name: name.clone(), improvement, log_mel, lost, lost_under, moments, carries, frechet });
        }
        let (label, accuracy) = listener.map(|(listener, accuracy)| (listener.label(), accuracy)).unzip();
        Ok(Ways { listener: label, accuracy, carries_swapped, ways })
    }
}

/// [`MelMoments`] of pictures of one size.
fn moments(pictures: &[LogMel]) -> Result<Matrix, Error> {
    let (frames, bins) = pictures.first().map_or((0, 0), |picture| (picture.frames, picture.bins));
    let values: Vec<f32> = pictures.iter().flat_map(|picture| picture.values.iter().copied()).collect();
    Ok(MelMoments::new(bins).features(&values, [pictures.len(), 1, frames, bins])?)
}

impl fmt::Display for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, name: &str, cells: [String; 7]| {
            write!(f, "{name:<26}")?;
            cells.iter().try_for_each(|cell| write!(f, " {cell:>11}"))?;
            writeln!(f)
        };
        let titles = ["SI-SDRi, dB", "log-mel L1", "lost", "lost under", "moments", "carries", "FD"];
        line(f, "", titles.map(String::from))?;
        for way in &self.ways {
            let finite = |v: f64, digits: usize| if v.is_finite() { format!("{v:.digits$}") } else { "-".into() };
            let share = |v: f64| format!("{:.1}%", 100.0 * v + 0.0); // no negative zeros
            let or = |v: Option<f64>, shown: &dyn Fn(f64) -> String| v.map_or("-".into(), shown);
            let cells = [
                finite(way.improvement, 2),
                share(way.log_mel),
                share(way.lost),
                share(way.lost_under),
                or(way.moments, &|v| finite(v, 2)),
                or(way.carries, &share),
                or(way.frechet, &|v| finite(v, 3)),
            ];
            line(f, &way.name, cells)?;
        }
        writeln!(
            f,
            "lost: target energy more than 20 dB down; lost under: where the others are as loud; moments: Fréchet distance by mel-moments"
        )?;
        if let (Some(listener), Some(accuracy), Some(swapped)) = (&self.listener, self.accuracy, self.carries_swapped) {
            let [accuracy, swapped] = [accuracy, swapped].map(|share| 100.0 * share);
            writeln!(f, "asked for another of its sounds, {swapped:.1}% of masks carry that one")?;
            writeln!(
                f,
                "carries, FD: by {listener}, trained on single sounds here; it names {accuracy:.1}% of held-out ones rightly"
            )?;
        }
        Ok(())
    }
}
