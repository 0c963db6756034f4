//! What separation by masking can reach at most: mixtures of held-out recordings with their references in hand.
//! `cargo run --release --example separation [-- sonic-pi MIXTURES PICTURE.png]`
//!
//! Two oracles: the ideal ratio mask, which knows target and rest, and the mask that the target's own mel picture gives, which
//! is what a perfect model of such pictures would reach. Without arguments: eight one-shots made by formula, 20 mixtures.

use rectiflow::base::{Key, Purpose};
use rectiflow::data::mixture::{Clip, Library, Mixture, MixtureConfig, mix};
use rectiflow::media;
use rectiflow::media::audio::{GriffinLim, LogMel, Mel, MelConfig, griffin_lim, mask, picture};
use rectiflow::metrics::sound::{log_mel_l1, lost_energy, si_sdr, si_sdr_improvement};
use rectiflow::verbs::sounds::{LibraryConfig, Part, library};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const LABELS: [&str; 8] = ["kick drum", "snare drum", "cymbal", "tom", "tabla", "bell", "bass", "electronic blip"];

/// Decaying tones and noises, one of each label: for a machine without the recordings.
fn one_shots() -> Result<Library, Failure> {
    let make = |(label, name): (usize, &&str)| {
        let noise: Vec<f32> = Key::new(label as u64, Purpose::Noise).normals(0, 6000).collect();
        let wave = |i: usize| {
            let t = i as f32 / 16_000.0;
            let tone = (std::f32::consts::TAU * t * 110.0 * 1.7f32.powi(label as i32)).sin();
            let share = if label % 3 == 1 { 0.9 } else { 0.05 };
            (-t * (8.0 + 3.0 * label as f32)).exp() * ((1.0 - share) * tone + share * 0.3 * noise[i])
        };
        Clip { samples: (0..6000).map(wave).collect(), label, name: name.to_string() }
    };
    let clips = LABELS.iter().enumerate().map(make).collect();
    Ok(Library::new("one-shots".as_ref(), LABELS.map(String::from).to_vec(), clips)?)
}

/// Mixture, target, the target as its own picture masks it out, and as Griffin-Lim makes it sound.
fn row(mel: &Mel, mixture: &Mixture) -> Result<([f64; 6], [LogMel; 4]), Failure> {
    let stft = mel.stft();
    let spectra = [&mixture.mixture, &mixture.target, &mixture.rest].map(|wave| stft.forward(wave));
    let ideal = stft.inverse(&mask::ideal_ratio(&spectra[0], &spectra[1], &spectra[2])?, mixture.mixture.len())?;
    let target = mel.log_mel_of(&spectra[1]);
    let masked = mask::resynthesise(mel, &mixture.mixture, &target)?;
    let phases: Vec<f32> = Key::new(1, Purpose::Noise).normals(0, spectra[1].values.len()).collect();
    let length = mixture.mixture.len();
    let heard = griffin_lim(&stft, &mel.magnitude(&target), length, &phases, &GriffinLim::default())?;
    let [mixed, again, masked_picture] =
        [&mixture.mixture, &heard, &masked].map(|wave| mel.log_mel(wave).unwrap_or_else(|_| target.clone()));
    let numbers = [
        si_sdr(&mixture.mixture, &mixture.target)?,
        si_sdr_improvement(&ideal, &mixture.mixture, &mixture.target)?,
        si_sdr_improvement(&masked, &mixture.mixture, &mixture.target)?,
        si_sdr(&heard, &mixture.target)?,
        log_mel_l1(&again.values, &target.values)? / log_mel_l1(&mixed.values, &target.values)?,
        100.0 * lost_energy(&stft.forward(&masked).magnitude(), &spectra[1].magnitude())?,
    ];
    Ok((numbers, [mixed, target, masked_picture, again]))
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let count: u64 = args.get(1).map_or(Ok(20), |count| count.parse())?;
    if count == 0 {
        return Err("at least one mixture is needed".into());
    }
    let labels = LABELS.map(String::from);
    let library = match args.first() {
        None => one_shots()?,
        Some(what) => library(&LibraryConfig { what, rate: 16_000, labels: &labels, held_out: 4, part: Part::Test })?.0,
    };
    let mel = Mel::new(&MelConfig::default())?;
    let config = MixtureConfig { absent: 0.0, ..MixtureConfig::default() };
    let mut rows = Vec::new();
    for index in 0..count {
        let mixture = mix(&library, &config, Key::new(0, Purpose::Probe), index)?;
        let (numbers, pictures) = row(&mel, &mixture)?;
        if let (0, Some(file)) = (index, args.get(2)) {
            println!("{file}: mixture, {}, masked, Griffin-Lim, from the top", mixture.query);
            media::png::save(file.as_ref(), &picture::stack(&pictures, 4), &[("parameters", &mixture.query)])?;
        }
        rows.push(numbers);
    }
    let names = [
        "SI-SDR of the mixture, dB",
        "improvement by the ideal ratio mask, dB",
        "improvement by the mask of the target's picture, dB",
        "SI-SDR by Griffin-Lim (its phase is invented), dB",
        "log-mel L1 by Griffin-Lim, share of the mixture's",
        "target energy lost by that mask, %",
    ];
    println!("{count} mixtures of {} recordings", library.clips().len());
    println!("{:<54} {:>8} {:>8} {:>8}", "", "tenth", "median", "ninetieth");
    for (k, name) in names.iter().enumerate() {
        let mut sorted: Vec<f64> = rows.iter().map(|row| row[k]).collect();
        sorted.sort_by(f64::total_cmp);
        let [low, middle, high] = [10, 50, 90].map(|share| sorted[share * sorted.len() / 100]);
        println!("{name:<54} {low:8.3} {middle:8.3} {high:8.3}");
    }
    Ok(())
}
