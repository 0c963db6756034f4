//! What was drawn from a released model, written: one file for all, or a folder with one for each, with a line that says how.

use super::{
    Generator, ReleasedRequest, clips,
    codec::Length,
    draw::{Drawn, Prepared},
};
use crate::{Error, output};
use media::{Bitmap, Grid, Images};
use std::{collections::HashMap, path::Path};

const KINDS: [&str; 3] = ["png", "npy", "safetensors"];

fn extension(output: &Path) -> Option<String> {
    output.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase)
}

/// Refuses a kind of file that cannot be written, and a place that cannot, before the work.
pub(super) fn check_output(output: &Path, clips: bool) -> Result<(), Error> {
    match extension(output) {
        Some(kind) if clips && kind == "y4m" => output::file(output, &[]),
        Some(other) if !KINDS.contains(&other.as_str()) => Err(Error::Usage(format!(
            "--output {}: cannot write `.{other}`; use {}.npy, .safetensors, or a folder for single {}",
            output.display(),
            if clips { ".png (animated), .y4m, " } else { ".png, " },
            if clips { "clips" } else { "images" }
        ))),
        Some(_) => output::file(output, &[]),
        None => output::folder(output),
    }
}

/// The line that image viewers of the field read; the model is `called` so.
fn line(request: &ReleasedRequest, prepared: &Prepared, called: &str, prompts: &[&str]) -> String {
    let negative = request.negative.as_ref().map_or(String::new(), |text| format!("Negative prompt: {text}\n"));
    let (steps, solver, scale, [h, w]) =
        (prepared.asked_steps(), prepared.solver(), prepared.guidance(), prepared.size);
    let loras: Vec<String> =
        request.loras.iter().map(|(file, scale)| format!(", Lora: {}:{scale}", file.display())).collect();
    let generator = match request.generator {
        Generator::Own => "",
        Generator::TorchCpu => ", RNG: CPU",
    };
    let frames =
        prepared.length.map_or(String::new(), |Length { frames, rate, .. }| format!(", Frames: {frames}, FPS: {rate}"));
    let strength =
        prepared.begins().map_or(String::new(), |begins| format!(", Denoising strength: {}", begins.strength));
    format!(
        "{}\n{negative}Steps: {steps}, Sampler: {solver}, CFG scale: {scale}, Seed: {}{generator}, Size: {w}x{h}{frames}{strength}, Model: {called}{}",
        prompts.join("\n"),
        request.seed,
        loras.concat()
    )
}

/// Picture or clip `i` of `drawn` as a PNG that says how it was made; the model is `called` so there.
///
/// # Errors
/// Pictures that cannot be written as PNG.
pub fn png(
    request: &ReleasedRequest,
    prepared: &Prepared,
    drawn: &Drawn,
    i: usize,
    called: &str,
) -> Result<Vec<u8>, Error> {
    let prompt = request.prompts[i % request.prompts.len()].as_str();
    let line = line(request, prepared, called, &[prompt]);
    match prepared.length {
        Some(length) => clips::png(&clips::film(&drawn.images, i, length), length, &line),
        None => Ok(media::png::encode(&drawn.images.bitmap(i), &[("parameters", &line)])?),
    }
}

/// Writes what was drawn, of the kind that its place's ending says.
pub(super) fn write(request: &ReleasedRequest, images: &Images, prepared: &Prepared) -> Result<(), Error> {
    let [c, h, w] = images.shape();
    let axes = [images.len(), c, h, w];
    let called = request.folder.display().to_string();
    let line = |prompts: &[&str]| line(request, prepared, &called, prompts);
    let prompt = |i: usize| request.prompts[i % request.prompts.len()].as_str();
    let all: Vec<&str> = request.prompts.iter().map(String::as_str).collect();
    let save = |path: &Path, bitmap: &Bitmap, line: String| media::png::save(path, bitmap, &[("parameters", &line)]);
    if let Some(length) = prepared.length {
        match extension(&request.output).as_deref() {
            Some("y4m") => media::y4m::save(&request.output, &clips::moments(images, length)?, length.rate)?,
            Some(kind @ ("npy" | "safetensors")) => {
                let (axes, values) = clips::by_channel(images, length);
                if kind == "npy" {
                    media::arrays::save_npy(&request.output, &axes, &values)?;
                } else {
                    let metadata = HashMap::from([("parameters".to_string(), line(&all))]);
                    media::arrays::save_safetensors(&request.output, &axes, &values, None, metadata)?;
                }
            }
            Some(_) => {
                let bytes = clips::png(&clips::moments(images, length)?, length, &line(&all))?;
                media::atomic::write(&request.output, &bytes)?;
            }
            None => {
                for i in 0..prepared.settled.count {
                    let bytes = clips::png(&clips::film(images, i, length), length, &line(&[prompt(i)]))?;
                    media::atomic::write(&request.output.join(format!("{i:06}.png")), &bytes)?;
                }
            }
        }
        return Ok(());
    }
    match extension(&request.output).as_deref() {
        Some("npy") => media::arrays::save_npy(&request.output, &axes, images.values())?,
        Some("safetensors") => {
            let metadata = HashMap::from([("parameters".to_string(), line(&all))]);
            media::arrays::save_safetensors(&request.output, &axes, images.values(), None, metadata)?;
        }
        Some(_) if images.len() == 1 => save(&request.output, &images.bitmap(0), line(&all[..1]))?,
        Some(_) => save(&request.output, &Grid { upscale: 1, ..Grid::default() }.draw(images), line(&all))?,
        None => {
            for i in 0..images.len() {
                save(&request.output.join(format!("{i:06}.png")), &images.bitmap(i), line(&[prompt(i)]))?;
            }
        }
    }
    Ok(())
}
