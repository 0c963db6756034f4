//! What was heard of the same mixtures in several ways, side by side: each way from a picture to sound, beside what knows the references and
//! beside the mixture itself.

use super::{listener::Listener, score::Spread};
use crate::Error;
use media::audio::{LogMel, Mel};
use metrics::{
    Matrix, frechet_distance_of,
    sound::{log_mel_l1, si_sdr},
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
    /// One after another.
    pub ways: Vec<Way>,
}

/// Sounds of one way as they come.
#[derive(Default)]
struct Sounds {
    improvement: Vec<f64>,
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
}

/// Names of the rows that are no way of the model.
pub(super) const TARGET: &str = "the target itself";
pub(super) const IDEAL: &str = "ideal ratio mask";
pub(super) const MIXTURE: &str = "the mixture";

impl Collected {
    /// The sounds made of one mixture of `target` and others, `label` asked for.
    ///
    /// # Errors
    /// Sounds of other lengths.
    pub fn add(
        &mut self,
        (mixture, target, label): (&[f32], &[f32], usize),
        sounds: Vec<(String, Vec<f32>)>,
        mel: &Mel,
    ) -> Result<(), Error> {
        let (own, mixed, before) = (mel.log_mel(target)?, mel.log_mel(mixture)?, si_sdr(mixture, target)?);
        let worst = log_mel_l1(&mixed.values, &own.values)?;
        self.asked.push(label);
        if self.names.is_empty() {
            self.names = sounds.iter().map(|(name, _)| name.clone()).collect();
            self.sounds.resize_with(sounds.len(), Sounds::default);
        }
        for ((_, wave), kept) in sounds.into_iter().zip(&mut self.sounds) {
            let picture = mel.log_mel(&wave)?;
            // Silence has no direction: it is near to nothing.
            kept.improvement.push(si_sdr(&wave, target).unwrap_or(f64::NEG_INFINITY) - before);
            kept.log_mel.push([log_mel_l1(&picture.values, &own.values)?, worst]);
            kept.pictures.push(picture);
        }
        Ok(())
    }

    /// All of them measured, by `listener` too where there is one and how often it is right of single sounds.
    ///
    /// # Errors
    /// Features that are no numbers.
    pub fn measured(self, listener: Option<(&Listener, f64)>) -> Result<Ways, Error> {
        let heard = |pictures: &[LogMel]| listener.map(|(listener, _)| listener.hear(pictures)).transpose();
        let at = self.names.iter().position(|name| name == TARGET);
        let truth: Option<Matrix> = match at {
            Some(at) => heard(&self.sounds[at].pictures)?.map(|(features, _)| features),
            None => None,
        };
        let mut ways = Vec::new();
        for (name, sounds) in self.names.into_iter().zip(&self.sounds) {
            let found = heard(&sounds.pictures)?;
            let right = |labels: &[usize]| labels.iter().zip(&self.asked).filter(|(a, b)| a == b).count();
            let carries = found.as_ref().map(|(_, labels)| right(labels) as f64 / labels.len().max(1) as f64);
            // Fewer sounds than numbers have no spread in every direction.
            let enough = |features: &&Matrix| features.rows() > 1;
            let frechet = match (found.as_ref().map(|(features, _)| features).filter(enough), &truth) {
                (Some(features), Some(truth)) => Some(frechet_distance_of(features, truth)?),
                _ => None,
            };
            let sum = |which: usize| sounds.log_mel.iter().map(|pair| pair[which]).sum::<f64>();
            let improvement = Spread::of(&sounds.improvement).mean;
            ways.push(Way { name, improvement, log_mel: sum(0) / sum(1), carries, frechet });
        }
        let (label, accuracy) = listener.map(|(listener, accuracy)| (listener.label(), accuracy)).unzip();
        Ok(Ways { listener: label, accuracy, ways })
    }
}

impl fmt::Display for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = ["SI-SDRi, dB", "log-mel L1", "carries", "FD"];
        writeln!(f, "{:<30} {:>12} {:>11} {:>9} {:>8}", "", titles[0], titles[1], titles[2], titles[3])?;
        for Way { name, improvement, log_mel, carries, frechet } in &self.ways {
            let finite = |v: f64, digits: usize| if v.is_finite() { format!("{v:.digits$}") } else { "-".into() };
            let share = |v: f64| format!("{:.1}%", 100.0 * v);
            let (carries, frechet) = (carries.map_or("-".into(), share), frechet.map_or("-".into(), |v| finite(v, 3)));
            writeln!(
                f,
                "{name:<30} {:>12} {:>11} {carries:>9} {frechet:>8}",
                finite(*improvement, 2),
                share(*log_mel)
            )?;
        }
        if let (Some(listener), Some(accuracy)) = (&self.listener, self.accuracy) {
            writeln!(
                f,
                "carries, FD: by {listener}, trained on single sounds here; it names {:.1}% of held-out ones rightly",
                100.0 * accuracy
            )?;
        }
        Ok(())
    }
}
