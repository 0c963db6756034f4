//! What drawing from a released model will need, before a weight is read: parameters, bytes on disk, and the peak of memory.
//!
//! Parts are opened one after another, so the peak is that of the hungriest: its weights as they are stored (mapped, each page once), the
//! widest layer in f32 where they are stored shorter, and what lives at the widest place of the forward pass. Weights are counted;
//! what lives is an estimate from the order of operations here.

use super::{Family, Network, Release, ReleasedRequest, codec::Codec, single::network_of};
use crate::{Error, machine::Machine, release::weighty};
use nets::weights::TensorSource;
use serde::Serialize;
use std::path::PathBuf;

/// A part's weights.
#[derive(Clone, Debug, Serialize)]
pub struct PartPlan {
    /// Its name.
    pub name: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// Numbers in it.
    pub parameters: u64,
    /// Bytes of its weights as they are stored.
    pub stored: u64,
    /// Bytes in memory while it works.
    pub peak: u64,
}

/// What drawing will need.
#[derive(Clone, Debug, Serialize)]
pub struct ReleasedPlan {
    /// What the model is one of.
    pub family: &'static str,
    /// Its parts, in the order in which they work.
    pub parts: Vec<PartPlan>,
    /// Pixels of a picture, height first.
    pub size: [usize; 2],
    /// Frames of a clip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<usize>,
    /// Steps of the solver by habit.
    pub steps: usize,
    /// Bytes at the peak.
    pub peak: u64,
    /// Bytes that RF-Edit keeps of one shared interval, two evaluations of the layers that share by habit, beside the peak.
    pub features: u64,
    /// Bytes that a gradient through the decoder takes, beside the peak: `restore` of what is no hole.
    pub tape: u64,
    /// Bytes of this machine's memory; 0 where it does not say.
    pub memory: u64,
}

/// Widened at a time of weights in blocks.
const PANEL: u64 = 16 << 20;
/// The program, its threads and its tables.
pub(super) const PROGRAM: u64 = 60 << 20;

/// Of the request's model at the request's size.
///
/// # Errors
/// Those of [`prepare`](super::prepare) as far as they concern files and sizes.
pub fn plan(request: &ReleasedRequest, note: &mut dyn FnMut(String)) -> Result<ReleasedPlan, Error> {
    let prepared = super::prepare(request, note)?;
    let model = Release::open(&request.folder, request.parts.as_deref())?;
    let size = prepared.size;
    let mut parts = Vec::new();
    for (name, classes, called) in weighty(model.family()) {
        if !model.has(name) {
            continue;
        }
        let part = model.part(name, classes)?;
        let weights = part.open(called)?;
        let source = weights.source()?;
        let (parameters, stored, widened) = counted(&*source);
        let network = name == network_of(model.family());
        let alive = match name {
            _ if network => prepared.network_bytes(),
            "vae" => {
                let shown = prepared.length.map_or(0, |length| length.frames);
                decoding(&prepared.codec, prepared.decoded, shown)
            }
            // A few megabytes of tokens, whatever the encoder.
            _ => 16 << 20,
        };
        parts.push(PartPlan {
            name,
            path: weights.path().to_path_buf(),
            parameters,
            stored,
            peak: stored + widened + alive,
        });
    }
    // Encoders, network, autoencoder.
    let turn = |part: &PartPlan| match part.name {
        "vae" => 2,
        name if name.starts_with("text") => 0,
        _ => 1,
    };
    parts.sort_by_key(turn);
    let peak = PROGRAM + parts.iter().map(|part| part.peak).max().unwrap_or(0);
    let memory = (Machine::here("cpu").memory_gb * (1u64 << 30) as f64) as u64;
    let latent = prepared.latent();
    let features = 2 * 4 * prepared.network.shared(latent, prepared.settled.length) as u64;
    let tape = prepared.codec.tape_bytes(size);
    let (family, steps) = (model.family().name(), prepared.steps());
    let frames = prepared.length.map(|length| length.frames);
    Ok(ReleasedPlan { family, parts, size, frames, steps, peak, features, tape, memory })
}

/// Numbers of all tensors of a part, their bytes as they are stored, and the most that one of them takes when it is widened.
pub(super) fn counted(source: &dyn TensorSource) -> (u64, u64, u64) {
    source.names().iter().fold((0, 0, 0), |(parameters, stored, widened), tensor| {
        let numbers = source.shape(tensor).unwrap_or_default().iter().product::<usize>() as u64;
        let (bytes, wide) = stored_as(source, tensor, numbers);
        (parameters + numbers, stored + bytes, widened.max(wide))
    })
}

/// Bytes of a tensor on disk, and of its f32 while its layer works, where that is another.
fn stored_as(source: &dyn TensorSource, name: &str, numbers: u64) -> (u64, u64) {
    if let Some(blocks) = source.blocks(name) {
        return (blocks.bytes() as u64, PANEL.min(4 * numbers));
    }
    match source.data(name) {
        Ok(data) => {
            let bytes = data.as_bytes().len() as u64;
            (bytes, if bytes < 4 * numbers { 4 * numbers } else { 0 })
        }
        Err(_) => (8 * numbers, 0), // whole numbers, which are not read
    }
}

/// Bytes of a decoder at its widest: what goes into the finest level's first block, that normalised, and what comes out of it.
pub(super) fn decoding(codec: &Codec, [height, width]: [usize; 2], frames: usize) -> u64 {
    let [finest, before] = codec.finest();
    let each = match codec {
        Codec::Picture(_) => 2 * before + finest,
        // A convolution in time copies its input for each frame that it sees, beside what is normalised and kept for the shortcut; then
        // the frames themselves, as they come and as they are written. Measured (docs/released-models.md).
        Codec::Clip(_) | Codec::Still(_) => 17 * finest + 2 * codec.out_channels() * frames,
    };
    (4 * height as u64).saturating_mul(width as u64).saturating_mul(each as u64)
}

/// Bytes of a network at its widest, for a batch of `rows` latents of `side` pixels and `text` tokens.
pub(super) fn forward(network: &Network, family: Family, rows: usize, latent: [usize; 2], text: usize) -> u64 {
    let pixels = latent[0] * latent[1];
    let width = network.width();
    let tokens = pixels / (network.patch() * network.patch());
    let floats = match family {
        // Stream, normalised stream, queries, keys and values, the same of text and image together, what was heard.
        Family::Sd3 | Family::QwenImage => 9 * (tokens + text) * width,
        // A block of one stream holds both, what was heard, the perceptron's hidden features and the two together.
        Family::Flux => 13 * (tokens + text) * width,
        // Both streams, what is read of them and heard, then the perceptron's gates, what they gate and the gated.
        Family::Flux2 { .. } => 3 * (tokens + text) * (width + network.hidden()),
        // The skips of the finest level and a residual block there, twice as wide on the way up.
        Family::InstaFlow | Family::StableDiffusion => 12 * pixels * width,
        // Stream and what is read of it, then the perceptron's gates, what they gate and the gated.
        Family::ZImage => (tokens + text) * (2 * width + 3 * network.hidden()),
        // Stream and what is read of it, then queries, keys, values and turned copies, or the perceptron's hidden features.
        Family::Wan => tokens * (3 * width + (5 * width).max(network.hidden())) + 4 * text * width,
    };
    (4 * rows * floats) as u64
}

impl std::fmt::Display for ReleasedPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mb = |bytes: u64| format!("{:.0} MB", bytes as f64 / 1e6);
        let [height, width] = self.size;
        let frames = self.frames.map_or(String::new(), |frames| format!("{frames} frames of "));
        writeln!(f, "model        {}, {frames}{width}x{height} pixels, {} steps", self.family, self.steps)?;
        for PartPlan { name, parameters, stored, peak, .. } in &self.parts {
            writeln!(
                f,
                "{name:<16} {parameters:>12} parameters, {} stored, {} while it works",
                mb(*stored),
                mb(*peak)
            )?;
        }
        if self.features > 0 {
            writeln!(f, "edit         {} more for each interval that rf-edit shares", mb(self.features))?;
        }
        if self.tape > 0 {
            writeln!(f, "restore      {} more where the decoder is differentiated (all but holes)", mb(self.tape))?;
        }
        write!(f, "memory       {} at the peak, parts opened one after another", mb(self.peak))?;
        if self.memory > 0 && self.peak > self.memory {
            write!(
                f,
                "; this machine has {}: take shorter numbers (`convert --dtype bf16`, GGUF) or a smaller picture",
                mb(self.memory)
            )?;
        }
        Ok(())
    }
}
