//! What to draw from a released model, and which of it the model can serve.

use super::{Family, Generator, Shown, SkipLayers};
use crate::Error;
use flow::Solver;
use kernels::Precision;
use std::path::PathBuf;

/// What to draw from a released model; what is not given is the model's own habit.
#[derive(Clone, Debug)]
pub struct ReleasedRequest {
    /// The model's folder or single file.
    pub folder: PathBuf,
    /// The folder that has what a single file lacks.
    pub parts: Option<PathBuf>,
    /// What to draw, in turn.
    pub prompts: Vec<String>,
    /// What not to draw, for guidance to lead away from.
    pub negative: Option<String>,
    /// Steps of the solver.
    pub steps: Option<usize>,
    /// Guidance: SD3's contrast with the negative prompt, the number FLUX dev is told.
    pub guidance: Option<f64>,
    /// FLUX: contrast with the negative prompt, on top of the number it is told.
    pub true_guidance: Option<f64>,
    /// Skip-layer guidance: blocks, scale, and the shares of the steps between which it acts.
    pub skip_layers: Option<(Vec<usize>, f64, (f64, f64))>,
    /// A schedule file in place of the model's own levels.
    pub schedule: Option<PathBuf>,
    /// The solver; Euler where absent, and a diffusion's own.
    pub solver: Option<Solver>,
    /// Operands of the network's products.
    pub precision: Precision,
    /// Pixels.
    pub height: Option<usize>,
    /// Pixels.
    pub width: Option<usize>,
    /// Of clips: how many frames.
    pub frames: Option<usize>,
    /// Of clips: frames a second, as the file says it.
    pub rate: Option<f64>,
    /// Seed of the noise.
    pub seed: u64,
    /// Who makes noise of it.
    pub generator: Generator,
    /// Pictures; one for each prompt where absent.
    pub count: Option<usize>,
    /// The latents to start from, `[n c h w]`, in place of seeded noise: `FILE.npy`, `FILE.safetensors`, or
    /// `FILE.safetensors:TENSOR`.
    pub noise: Option<String>,
    /// A picture to change, and how far: 1 is all the way from noise.
    pub init_image: Option<(Shown, f64)>,
    /// White where that picture may change.
    pub mask: Option<Shown>,
    /// Decode in tiles of so many pixels.
    pub tile: Option<usize>,
    /// Tokens that T5 reads.
    pub length: Option<usize>,
    /// Layers of CLIP passed over besides the last (SD3).
    pub clip_skip: Option<usize>,
    /// Whether SD3's lowest levels are shifted twice, as by diffusers.
    pub double_shift: bool,
    /// Files of corrections of low rank, and how often each counts.
    pub loras: Vec<(PathBuf, f64)>,
    /// `.png`, `.npy`, `.safetensors`, or a folder.
    pub output: PathBuf,
}

/// A request with the model's habits filled in.
pub(super) struct Settled {
    pub steps: usize,
    /// The number the network is told.
    pub told: f64,
    /// How far from the negative prompt, if at all.
    pub contrast: Option<f64>,
    pub length: usize,
    pub count: usize,
}

impl ReleasedRequest {
    /// What `prompt` says, from the model in `folder`, everything else its habit.
    pub fn new(folder: PathBuf, prompt: &str) -> Self {
        Self {
            folder,
            parts: None,
            prompts: vec![prompt.into()],
            negative: None,
            steps: None,
            schedule: None,
            guidance: None,
            true_guidance: None,
            skip_layers: None,
            solver: None,
            precision: Precision::default(),
            height: None,
            width: None,
            frames: None,
            rate: None,
            seed: 0,
            generator: Generator::default(),
            count: None,
            noise: None,
            init_image: None,
            mask: None,
            tile: None,
            length: None,
            clip_skip: None,
            double_shift: false,
            loras: Vec::new(),
            output: PathBuf::new(),
        }
    }

    /// The same for pictures of the model's own size.
    pub(super) fn of_own_size(&self) -> Self {
        Self { height: None, width: None, ..self.clone() }
    }

    /// Fills in what the family's pipelines do by default and refuses what the model cannot serve. `told` is whether the
    /// network is told a guidance scale, `blocks` how many it has.
    ///
    /// # Errors
    /// [`Error::Usage`] with the reason.
    pub(super) fn settle(&self, family: Family, told: bool, blocks: usize, solver: &Solver) -> Result<Settled, Error> {
        let refuse = |why: String| Err(Error::Usage(why));
        if self.prompts.is_empty() {
            return refuse("--prompt is missing: say what to draw".into());
        }
        let count = self.count.unwrap_or(self.prompts.len());
        if count == 0 {
            return refuse("--num 0: ask for at least one picture".into());
        }
        for (name, value) in [("--guidance-scale", self.guidance), ("--true-cfg-scale", self.true_guidance)] {
            if let Some(value) = value.filter(|value| !(value.is_finite() && *value >= 0.0)) {
                return refuse(format!("{name} {value}: it must be zero or more; 1 means none"));
            }
        }
        if self.generator == Generator::TorchCpu && self.init_image.is_some() {
            return refuse(
                "--rng torch-cpu with --init-image: diffusers takes numbers of the same sequence for the picture first"
                    .into(),
            );
        }
        let shifts = matches!(family, Family::Sd3 | Family::Wan);
        if self.double_shift && (!shifts || self.schedule.is_some()) {
            return refuse(
                "--double-shift: it is for the levels of Stable Diffusion 3's and Wan's own schedulers".into(),
            );
        }
        let lasts = [("--frames", self.frames.is_some()), ("--fps", self.rate.is_some())];
        if let Some((name, _)) = lasts.iter().find(|(_, given)| *given && family != Family::Wan) {
            return refuse(format!("{name}: {} draws pictures; clips are Wan's", family.name()));
        }
        if let Some((file, scale)) = self.loras.iter().find(|(_, scale)| !scale.is_finite()) {
            return refuse(format!("--lora {}:{scale}: its scale must be a number, 1 by default", file.display()));
        }
        if let Some(length) = self.length.filter(|length| !(2..=512).contains(length)) {
            return refuse(format!("--max-sequence-length {length}: use 2 to 512 tokens"));
        }
        // A consistency model has the guidance inside and needs few steps.
        let consistent = *solver == (Solver::Consistency {});
        let settled = match family {
            Family::Sd3 => {
                if self.true_guidance.is_some() {
                    return refuse("--true-cfg-scale: for SD3 that is --guidance-scale".into());
                }
                let scale = self.guidance.unwrap_or(if consistent { 1.0 } else { 7.0 });
                // As the reference: guidance up to one asks for the prompt alone.
                let contrast = (scale > 1.0).then_some(scale);
                Settled {
                    steps: self.steps.unwrap_or(if consistent { 4 } else { 28 }),
                    told: 0.0,
                    contrast,
                    length: self.length.unwrap_or(256),
                    count,
                }
            }
            Family::Flux => {
                if self.skip_layers.is_some() {
                    return refuse(
                        "--skip-layers: FLUX was not trained for skip-layer guidance; it is SD3.5-medium's".into(),
                    );
                }
                if self.clip_skip.is_some() {
                    return refuse("--clip-skip: FLUX reads CLIP's pooled vector alone, which skips nothing".into());
                }
                let scale = self.guidance.unwrap_or(3.5);
                if !told && self.guidance.is_some_and(|scale| scale != 0.0 && scale != 1.0) {
                    return refuse(format!(
                        "--guidance-scale {scale}: this network is told none (it is distilled without, like schnell); leave it \
                         out, or contrast with a negative prompt by --true-cfg-scale"
                    ));
                }
                let contrast = self.true_guidance.filter(|scale| *scale > 1.0);
                let (steps, length) = if told { (if consistent { 4 } else { 28 }, 512) } else { (4, 256) };
                let (steps, length) = (self.steps.unwrap_or(steps), self.length.unwrap_or(length));
                Settled { steps, told: scale, contrast, length, count }
            }
            Family::InstaFlow | Family::StableDiffusion => {
                let given = [
                    ("--true-cfg-scale", self.true_guidance.is_some()),
                    ("--skip-layers", self.skip_layers.is_some()),
                    ("--max-sequence-length", self.length.is_some()),
                    ("--clip-skip", self.clip_skip.is_some()),
                ];
                if let Some((name, _)) = given.iter().find(|(_, given)| *given) {
                    return refuse(format!("{name}: this model's U-Net and single CLIP encoder have no use for it"));
                }
                // InstaFlow's reflow and a consistency model have the guidance inside; what is left is the prompt alone.
                let (steps, scale) = match family {
                    Family::InstaFlow => (1, 1.0),
                    _ if consistent => (4, 1.0),
                    _ => (50, 7.5),
                };
                // What a network is told was distilled into it: the habit of its pipeline, in place of a contrast.
                let scale = self.guidance.unwrap_or(if told { 8.5 } else { scale });
                let contrast = Some(scale).filter(|scale| *scale > 1.0 && !told);
                let told = if told { scale } else { 1.0 };
                Settled { steps: self.steps.unwrap_or(steps), told, contrast, length: 77, count }
            }
            Family::ZImage => {
                let given = [
                    ("--true-cfg-scale", self.true_guidance.is_some(), "for Z-Image that is --guidance-scale"),
                    ("--skip-layers", self.skip_layers.is_some(), "Z-Image was not trained for skip-layer guidance"),
                    ("--clip-skip", self.clip_skip.is_some(), "Z-Image reads prompts by Qwen3 alone"),
                ];
                if let Some((name, _, why)) = given.iter().find(|(_, given, _)| *given) {
                    return refuse(format!("{name}: {why}"));
                }
                // Turbo's habits: the guidance is distilled into it.
                let contrast = self.guidance.filter(|scale| *scale > 1.0);
                let (steps, length) = (self.steps.unwrap_or(8), self.length.unwrap_or(512));
                Settled { steps, told: 1.0, contrast, length, count }
            }
            Family::Flux2 { distilled } => {
                let given = [
                    ("--true-cfg-scale", self.true_guidance.is_some(), "for FLUX.2 that is --guidance-scale"),
                    ("--skip-layers", self.skip_layers.is_some(), "FLUX.2 was not trained for skip-layer guidance"),
                    ("--clip-skip", self.clip_skip.is_some(), "FLUX.2-klein reads prompts by Qwen3 alone"),
                    (
                        "--guidance-scale above 1",
                        distilled && self.guidance.is_some_and(|scale| scale > 1.0),
                        "the guidance is distilled into this network (`is_distilled` in its model_index.json); leave it out, or take \
                         the base model",
                    ),
                    (
                        "--negative-prompt",
                        distilled && self.negative.is_some(),
                        "nothing leads away from it: the guidance is distilled into this network; the base model has its own",
                    ),
                ];
                if let Some((name, _, why)) = given.iter().find(|(_, given, _)| *given) {
                    return refuse(format!("{name}: {why}"));
                }
                let (steps, scale) = if distilled || consistent { (4, 1.0) } else { (50, 4.0) };
                let contrast = Some(self.guidance.unwrap_or(scale)).filter(|scale| *scale > 1.0);
                let (steps, length) = (self.steps.unwrap_or(steps), self.length.unwrap_or(512));
                Settled { steps, told: 1.0, contrast, length, count }
            }
            Family::QwenImage => {
                let given = [
                    ("--true-cfg-scale", self.true_guidance.is_some(), "for Qwen-Image that is --guidance-scale"),
                    ("--skip-layers", self.skip_layers.is_some(), "Qwen-Image was not trained for skip-layer guidance"),
                    ("--clip-skip", self.clip_skip.is_some(), "Qwen-Image reads prompts by Qwen2.5 alone"),
                    (
                        "--decode-tile",
                        self.tile.is_some(),
                        "its autoencoder, one of clips, is not decoded in tiles here",
                    ),
                ];
                if let Some((name, _, why)) = given.iter().find(|(_, given, _)| *given) {
                    return refuse(format!("{name}: {why}"));
                }
                let (steps, scale) = if consistent { (4, 1.0) } else { (50, 4.0) };
                let contrast = Some(self.guidance.unwrap_or(scale)).filter(|scale| *scale > 1.0);
                let (steps, length) = (self.steps.unwrap_or(steps), self.length.unwrap_or(512));
                Settled { steps, told: 1.0, contrast, length, count }
            }
            Family::Wan => {
                let given = [
                    ("--true-cfg-scale", self.true_guidance.is_some(), "for Wan that is --guidance-scale"),
                    ("--skip-layers", self.skip_layers.is_some(), "Wan was not trained for skip-layer guidance"),
                    ("--clip-skip", self.clip_skip.is_some(), "Wan reads prompts by UMT5 alone"),
                    ("--init-image", self.init_image.is_some(), "clips begin at noise; image to clip is not here yet"),
                    ("--decode-tile", self.tile.is_some(), "clips are decoded a few frames at a time as it is"),
                ];
                if let Some((name, _, why)) = given.iter().find(|(_, given, _)| *given) {
                    return refuse(format!("{name}: {why}"));
                }
                let contrast = Some(self.guidance.unwrap_or(5.0)).filter(|scale| *scale > 1.0);
                let (steps, length) = (self.steps.unwrap_or(50), self.length.unwrap_or(512));
                Settled { steps, told: 1.0, contrast, length, count }
            }
        };
        if self.negative.is_some() && settled.contrast.is_none() {
            let how = match family {
                Family::Flux => "--true-cfg-scale above 1",
                Family::StableDiffusion | Family::InstaFlow if told => {
                    return refuse(
                        "--negative-prompt: this network is told its guidance, which was distilled into it; nothing leads away from anything"
                            .into(),
                    );
                }
                _ => "--guidance-scale above 1",
            };
            return refuse(format!("--negative-prompt: nothing leads away from it without {how}"));
        }
        if let Some((layers, scale, (from, to))) = &self.skip_layers {
            if let Some(layer) = layers.iter().find(|layer| **layer >= blocks) {
                return refuse(format!(
                    "--skip-layers: there is no block {layer}; the network has {blocks}, counted from 0"
                ));
            }
            if layers.is_empty() || !scale.is_finite() || !(0.0 <= *from && from < to && *to <= 1.0) {
                return refuse(
                    "--skip-layers: give blocks, a scale, and shares of the steps in 0..1, first before last".into(),
                );
            }
        }
        Ok(settled)
    }

    /// Skip-layer guidance along `times`, where any step has it.
    pub(super) fn skip(&self, times: &[f64]) -> Option<SkipLayers> {
        let (layers, scale, (from, to)) = self.skip_layers.clone()?;
        let interval = super::field::steps_between(times, from, to)?;
        Some(SkipLayers { layers, scale, interval })
    }
}
