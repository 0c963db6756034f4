//! Arguments of the verb that hears sounds in mixtures.

use super::{ModelArgs, SolverArgs};
use clap::{Args, ValueHint};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Separate {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The recording, or a folder of them: WAV, FLAC, Ogg Vorbis or MP3, any rate, length and number of channels.
    #[arg(long, value_hint = ValueHint::AnyPath, required_unless_present = "held_out")]
    pub input: Option<PathBuf>,
    /// What should be heard (repeatable): --query violin --query "a flute".
    #[arg(long, value_name = "TEXT")]
    pub query: Vec<String>,
    /// From the picture to sound: the mixture made quieter cell by cell (mask, the default), a phase looked for (griffinlim), or the vocoder
    /// in FlowSep's checkpoint (vocoder).
    #[arg(long, value_parser = ["mask", "griffinlim", "vocoder"])]
    pub resynth: Option<String>,
    /// From the picture to sound by a released vocoder: the folder of a SpeechT5HifiGan or BigVGAN, weights in safetensors. With
    /// --held-out it is measured beside the other ways.
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath, value_parser = super::place(), conflicts_with = "resynth")]
    pub vocoder: Option<PathBuf>,
    /// Separate nothing: measure so many mixtures of the recordings that training kept apart, beside what masks reach at most.
    #[arg(long, value_name = "MIXTURES", conflicts_with_all = ["input", "query", "resynth"], value_parser = clap::value_parser!(u32).range(1..))]
    pub held_out: Option<u32>,
    /// With --held-out: a classifier in FILE says what separated sounds carry, and its features how far they lie from the targets. Where
    /// there is none, one is trained on single sounds of the training recordings and kept there.
    #[arg(long, value_name = "FILE", requires = "held_out", conflicts_with = "input", value_hint = ValueHint::FilePath)]
    pub judge: Option<PathBuf>,
    /// With --held-out: sounds in a mixture; as many as in training at most, if not said.
    #[arg(long, value_name = "COUNT", requires = "held_out", conflicts_with = "input", value_parser = clap::value_parser!(u32).range(2..))]
    pub sounds: Option<u32>,
    /// With --held-out: least and most decibels of the sound asked for over the others, --snr=-15,15; those of training, if not said.
    #[arg(long, value_name = "LOW,HIGH", requires = "held_out", conflicts_with = "input", value_parser = decibels, allow_hyphen_values = true)]
    pub snr: Option<[f64; 2]>,
    #[command(flatten)]
    pub solver: SolverArgs,
    /// Folder for the sounds and their spectrograms; with --held-out the sheet, held-out.png by default.
    #[arg(long, short, visible_alias = "output-dir", value_hint = ValueHint::AnyPath)]
    pub output: Option<PathBuf>,
}

fn decibels(text: &str) -> Result<[f64; 2], String> {
    let number = |part: &str| part.trim().parse::<f64>().ok().filter(|v| v.is_finite());
    let both = text.split_once(',').and_then(|(low, high)| Some([number(low)?, number(high)?]));
    both.filter(|[low, high]| low <= high).ok_or_else(|| "two numbers, the least first: -15,15".into())
}
