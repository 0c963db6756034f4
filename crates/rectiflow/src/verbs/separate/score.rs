//! How well a model separates recordings that its training never heard, beside what masks can reach at most.
//!
//! Mixtures of the recordings kept apart, with their references in hand. Waveforms are compared after masking, where the phase is
//! the mixture's (Le Roux et al. 2019, arXiv:1811.02508). The oracles know what no model does: both references (ideal ratio mask),
//! or the target's own picture.

use super::{
    listener::Listener,
    ways::{Collected, IDEAL, MIXTURE, TARGET, Truth, Ways},
};
use crate::{
    Context, Error, Model,
    context::Event,
    model::which,
    output,
    overrides::SampleOverrides,
    separator::{Queries, Resynthesis, Separator},
    sound::libraries,
};
use base::{Key, RandomStream};
use data::mixture::{Library, Mixture, MixtureConfig, mix};
use media::audio::{LogMel, mask, picture};
use metrics::sound::{level_difference, log_mel_l1, lost_energy, si_sdr};
use serde::Serialize;
use std::{collections::BTreeSet, fmt, path::PathBuf, time::Instant};

/// What to measure.
#[derive(Clone, Debug)]
pub struct ScoreRequest {
    /// A run's folder or a checkpoint file.
    pub checkpoint: PathBuf,
    /// A decay, or `raw`.
    pub ema: Option<String>,
    /// How the flow is sampled.
    pub overrides: SampleOverrides,
    /// Seed of the noise; the mixtures are always the same.
    pub seed: u64,
    /// Mixtures, at least 1.
    pub count: usize,
    /// Sounds in each; as many as training had at most (two or more) where it is not said.
    pub sounds: Option<usize>,
    /// Least and most decibels of the target over the others; those of training where they are not said.
    pub snr: Option<[f64; 2]>,
    /// The folder of a vocoder to measure beside the other ways to sound.
    pub vocoder: Option<PathBuf>,
    /// The file of a classifier that listens; one is trained and kept there where there is none.
    pub judge: Option<PathBuf>,
    /// A sheet of the first mixtures: mixture, target, what was heard, what a wrong query heard.
    pub sheet: PathBuf,
}

/// A quantity over many mixtures.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Spread {
    /// Mean of the finite values.
    pub mean: f64,
    /// The value that a tenth lies below.
    pub tenth: f64,
    /// The middle value.
    pub median: f64,
    /// The value that nine tenths lie below.
    pub ninetieth: f64,
}

impl Spread {
    pub(super) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: usize| sorted.get((sorted.len() * share / 100).min(sorted.len().saturating_sub(1)));
        let at = |share| at(share).copied().unwrap_or(f64::NAN);
        let finite: Vec<f64> = sorted.iter().copied().filter(|v| v.is_finite()).collect();
        let mean = finite.iter().sum::<f64>() / finite.len() as f64;
        Self { mean, tenth: at(10), median: at(50), ninetieth: at(90) }
    }
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Score {
    /// Mixtures.
    pub mixtures: usize,
    /// Sounds in each.
    pub sounds: usize,
    /// Least and most decibels of the target over the others.
    pub snr: [f64; 2],
    /// Recordings they were made of.
    pub recordings: usize,
    /// Evaluations of the network to a picture.
    pub steps: usize,
    /// SI-SDR of the mixtures themselves, dB.
    pub mixture: Spread,
    /// Improvement by the model's mask, dB.
    pub improvement: Spread,
    /// Share of mixtures that the model improved.
    pub improved: f64,
    /// Improvement by the ideal ratio mask, dB.
    pub ideal_mask: Spread,
    /// Improvement by the mask of the target's own picture, dB.
    pub own_picture: Spread,
    /// Improvement by the mask of what comes back of that picture from the model's codec; `None` without one.
    pub through_codec: Option<Spread>,
    /// Log-mel L1 between the model's picture and the target's, over that of the mixture's.
    pub log_mel: f64,
    /// The same where the model is given silence for the mixture: what it would draw of the query alone.
    pub deaf: f64,
    /// Share of the target's energy in cells that the mask left more than 20 dB below it.
    pub lost: f64,
    /// Share of outputs that are nearer to the sound asked for than to the other one.
    pub follows: f64,
    /// The same where the query names another of its sounds, which is then looked for in all but the first.
    pub follows_swapped: f64,
    /// Energy of the answer to a query for what does not sound, over the mixture's, dB; no numbers where every label sounds in every
    /// mixture.
    pub absent: Spread,
    /// Share of those answers at least 10 dB below the mixture.
    pub absent_quiet: f64,
    /// The ways from its pictures to sound, beside the references and the mixture.
    pub ways: Ways,
    /// Seconds to a second of sound.
    pub real_time_factor: f64,
    /// The sheet.
    pub sheet: PathBuf,
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mixtures, sounds, recordings, steps, snr: [low, high], .. } = self;
        writeln!(
            f,
            "{mixtures} mixtures of {sounds} of {recordings} recordings kept apart at {low} to {high} dB, {steps} steps"
        )?;
        writeln!(f, "{:<54} {:>8} {:>8} {:>8} {:>8}", "", "mean", "tenth", "median", "ninetieth")?;
        let rows = [
            ("SI-SDR of the mixture, dB", self.mixture),
            ("improvement by the model, dB", self.improvement),
            ("improvement by the mask of the target's picture, dB", self.own_picture),
            ("improvement by the ideal ratio mask, dB", self.ideal_mask),
            ("level of the answer to an absent query, dB", self.absent),
        ];
        let codec = self.through_codec.map(|spread| ("... as the codec brings it back, dB", spread));
        for (name, Spread { mean, tenth, median, ninetieth }) in
            rows[..3].iter().copied().chain(codec).chain(rows[3..].iter().copied())
        {
            if mean.is_nan() {
                continue; // there was nothing to ask for in vain
            }
            writeln!(f, "{name:<54} {mean:8.2} {tenth:8.2} {median:8.2} {ninetieth:8.2}")?;
        }
        let shares = [
            ("mixtures improved", self.improved),
            ("outputs nearer to the sound asked for", self.follows),
            ("... when the other sound is asked for", self.follows_swapped),
            ("absent queries at least 10 dB below the mixture", self.absent_quiet),
            ("log-mel L1, share of the mixture's", self.log_mel),
            ("... when silence is heard in its place", self.deaf),
            ("target energy lost by more than 20 dB", self.lost),
        ];
        let mut known = shares.iter().filter(|(_, share)| !share.is_nan());
        known.try_for_each(|(name, share)| writeln!(f, "{name:<54} {:7.1}%", 100.0 * share))?;
        write!(f, "{}", self.ways)?;
        writeln!(f, "{:.3} of real time; {}", self.real_time_factor, self.sheet.display())
    }
}

/// Mixtures on the sheet.
const SHOWN: usize = 6;

/// Measures.
///
/// # Errors
/// A model that was trained on something else, recordings that are not here any more.
pub fn score(request: &ScoreRequest, context: &mut Context) -> Result<Score, Error> {
    output::file(&request.sheet, &["png"])?;
    if let Some(file) = request.judge.as_ref().filter(|file| !file.exists()) {
        output::file(file, &["safetensors"])?; // it is made there, after minutes of training
    }
    let model = Model::of_any(&request.checkpoint, which(request.ema.as_deref())?, &context.device)?;
    let config = request.overrides.apply(&model.recipe.sample)?;
    let steps = config.steps;
    let sound = model.recipe.task.separate()?.clone();
    let separator = Separator::new(&model, config, request.seed)?;
    let separator = match &request.vocoder {
        Some(folder) => separator.with_vocoder(folder, context)?,
        None => separator,
    };
    let (trained, library, _) = libraries(&model.recipe.data, &sound)?;
    let listener = match &request.judge {
        Some(file) => {
            let listener = Listener::open(file, &trained, &sound, context)?;
            let accuracy = listener.accuracy(&library, &sound)?;
            Some((listener, accuracy))
        }
        None => None,
    };
    // As many sounds as training had at most, all of them there, so that their ratio is defined.
    let sounds = request.sounds.unwrap_or(sound.mixture.sources[1].max(2));
    let snr = request.snr.unwrap_or(sound.mixture.snr);
    let present = MixtureConfig { absent: 0.0, sources: [sounds, sounds], snr, ..sound.mixture.clone() };
    let absent = MixtureConfig { absent: 1.0, ..present.clone() };
    let labels = library.clips().iter().map(|clip| clip.label).collect::<BTreeSet<_>>().len();
    if request.sounds.is_some() || request.snr.is_some() {
        present.check(labels).map_err(|error| match error {
            data::DataError::Config { what, .. } => Error::Usage(format!("--sounds, --snr: {what}")),
            other => other.into(),
        })?;
    }
    // As many labels as sounds leave none to ask for in vain.
    let in_vain = labels > sounds;
    let key = Key::of(0, RandomStream::ScoredMixtures);
    // One bar for all of them, not one for each.
    let mut silent = Context::new(context.device.clone(), context.stop.clone(), |_| ());
    let collected = Collected::default();
    let mut bench = Bench { separator: &separator, model: &model, library: &library, context: &mut silent, collected };
    context.tell(Event::Begin { what: "mixtures", total: request.count as u64 });
    let (mut rows, mut quiet, mut pictures) = (Vec::new(), Vec::new(), Vec::new());
    let mut seconds = 0.0;
    for index in 0..request.count as u64 {
        context.go_on()?;
        let (row, shown) = bench.row(&mix(&library, &present, key, index)?)?;
        rows.push(row);
        if pictures.len() < SHOWN {
            pictures.push(shown);
        }
        seconds += row.seconds;
        if in_vain {
            let silent = mix(&library, &absent, key.fold(1), index)?;
            let (answer, took) = bench.heard(&silent.mixture, &[silent.label])?;
            seconds += took;
            quiet.push(level_difference(&answer[0].0, &silent.mixture)?);
        }
        context.tell(Event::Advance { done: index + 1 });
    }
    context.tell(Event::End);
    let ways = bench.collected.measured(listener.as_ref().map(|(listener, accuracy)| (listener, *accuracy)))?;
    media::png::save(&request.sheet, &sheet(&pictures), &[("parameters", "mixture, target, heard, other query")])?;
    let column = |of: fn(&Row) -> f64| rows.iter().map(of).collect::<Vec<f64>>();
    let share = |of: fn(&Row) -> bool| rows.iter().filter(|row| of(row)).count() as f64 / rows.len() as f64;
    let mean = |of: fn(&Row) -> f64| column(of).iter().sum::<f64>() / rows.len() as f64;
    let heard = (2 * rows.len() + quiet.len()) as f64;
    let sound_seconds = heard * sound.mixture.length as f64 / f64::from(sound.mel.rate);
    Ok(Score {
        mixtures: rows.len(),
        sounds,
        snr,
        recordings: library.clips().len(),
        steps,
        mixture: Spread::of(&column(|r| r.mixture)),
        improvement: Spread::of(&column(|r| r.improvement)),
        improved: share(|r| r.improvement > 0.0),
        ideal_mask: Spread::of(&column(|r| r.ideal)),
        own_picture: Spread::of(&column(|r| r.own)),
        through_codec: model.codec.as_ref().map(|_| Spread::of(&column(|r| r.coded))),
        log_mel: mean(|r| r.log_mel[0]) / mean(|r| r.log_mel[1]),
        deaf: mean(|r| r.log_mel[2]) / mean(|r| r.log_mel[1]),
        lost: mean(|r| r.lost),
        follows: share(|r| r.follows[0]),
        follows_swapped: share(|r| r.follows[1]),
        absent_quiet: quiet.iter().filter(|d| **d <= -10.0).count() as f64 / quiet.len() as f64,
        absent: Spread::of(&quiet),
        ways,
        real_time_factor: seconds / sound_seconds,
        sheet: request.sheet.clone(),
    })
}

#[derive(Clone, Copy)]
struct Row {
    mixture: f64,
    improvement: f64,
    ideal: f64,
    own: f64,
    /// The same as the codec brings it back; not a number without one.
    coded: f64,
    /// Of the model's picture, of the mixture's, and of the model's that heard silence.
    log_mel: [f64; 3],
    lost: f64,
    /// Asked for the one and for the other.
    follows: [bool; 2],
    seconds: f64,
}

/// What was heard, as sound and as a picture.
type Answer = (Vec<f32>, LogMel);

struct Bench<'a, 'c, 'd> {
    separator: &'a Separator<'a>,
    model: &'a Model,
    library: &'a Library,
    context: &'c mut Context<'d>,
    collected: Collected,
}

impl Bench<'_, '_, '_> {
    /// What the model hears of each label, as sound and as a picture; and the seconds it took.
    fn heard(&mut self, mixture: &[f32], labels: &[usize]) -> Result<(Vec<Answer>, f64), Error> {
        let names: Vec<String> = labels.iter().map(|label| self.library.labels()[*label].clone()).collect();
        let queries = Queries::parse(&names, self.model)?;
        let began = Instant::now();
        let heard = self.separator.analysis().mel().log_mel(mixture)?;
        let pictures = self.separator.pictures(&heard, &queries, 0, self.context)?;
        let sound =
            |picture: LogMel| Ok::<_, Error>((self.separator.sound(mixture, &picture, Resynthesis::Mask)?, picture));
        let made = pictures.into_iter().map(sound).collect::<Result<_, _>>()?;
        Ok((made, began.elapsed().as_secs_f64()))
    }

    fn row(&mut self, mixture: &Mixture) -> Result<(Row, [LogMel; 4]), Error> {
        let Mixture { mixture: mixed, target, rest, label, others, .. } = mixture;
        let (mut heard, seconds) = self.heard(mixed, &[*label, others[0]])?;
        let mel = self.separator.analysis().mel();
        let stft = mel.stft();
        let spectra = [mixed, target, rest].map(|wave| stft.forward(wave));
        let ideal = stft.inverse(&mask::ideal_ratio(&spectra[0], &spectra[1], &spectra[2])?, mixed.len())?;
        let (picture, own) = (mel.log_mel_of(&spectra[0]), mel.log_mel_of(&spectra[1]));
        let silence = LogMel { values: vec![mel.silence(); picture.values.len()], ..picture.clone() };
        let asked = Queries::parse(&[self.library.labels()[*label].clone()], self.model)?;
        let deaf = self.separator.pictures(&silence, &asked, 0, self.context)?.swap_remove(0);
        let masked = mask::resynthesise(mel, mixed, &own)?;
        let coded = self
            .separator
            .round_trip(&own, self.context)?
            .map(|back| mask::resynthesise(mel, mixed, &back))
            .transpose()?;
        // Silence has no direction: it is near to nothing.
        let near = |x: &[f32], s: &[f32]| si_sdr(x, s).unwrap_or(f64::NEG_INFINITY);
        let (swapped, swapped_picture) = heard.swap_remove(1);
        let (answer, answered) = heard.swap_remove(0);
        let mut sounds = vec![(TARGET.to_owned(), target.clone()), (IDEAL.to_owned(), ideal.clone())];
        for how in self.separator.ways() {
            let wave = match how {
                Resynthesis::Mask => answer.clone(),
                other => self.separator.sound(mixed, &answered, other)?,
            };
            sounds.push((format!("the model, {}", how.name()), wave));
        }
        sounds.push((MIXTURE.to_owned(), mixed.clone()));
        let truth = Truth { mixture: mixed, target, rest, label: *label };
        self.collected.add(&truth, sounds, mel)?;
        self.collected.add_swapped(&swapped, others[0], mel)?;
        let row = Row {
            mixture: si_sdr(mixed, target)?,
            improvement: near(&answer, target) - si_sdr(mixed, target)?,
            ideal: near(&ideal, target) - si_sdr(mixed, target)?,
            own: near(&masked, target) - si_sdr(mixed, target)?,
            coded: coded.map_or(f64::NAN, |coded| near(&coded, target)) - si_sdr(mixed, target)?,
            log_mel: [
                log_mel_l1(&answered.values, &own.values)?,
                log_mel_l1(&picture.values, &own.values)?,
                log_mel_l1(&deaf.values, &own.values)?,
            ],
            lost: lost_energy(&stft.forward(&answer).magnitude(), &spectra[1].magnitude())?,
            follows: [near(&answer, target) > near(&answer, rest), near(&swapped, rest) > near(&swapped, target)],
            seconds,
        };
        Ok((row, [picture, own, answered, swapped_picture]))
    }
}

/// A column to a mixture, rows from the top: mixture, target, heard, the other query.
fn sheet(columns: &[[LogMel; 4]]) -> media::Bitmap {
    let frames = columns.iter().map(|c| c[0].frames).max().unwrap_or(1);
    let row = |k: usize| columns.iter().map(move |column| column[k].clone());
    let all: Vec<LogMel> = (0..4).flat_map(row).collect();
    picture::sheet(&all, frames, columns.len(), 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_passes_over_what_is_infinite_in_its_mean_alone() {
        let values: Vec<f64> = (0..10).map(f64::from).chain([f64::NEG_INFINITY]).collect();
        let spread = Spread::of(&values);
        assert_eq!((spread.mean, spread.tenth, spread.median, spread.ninetieth), (4.5, 0.0, 4.0, 8.0));
    }
}
