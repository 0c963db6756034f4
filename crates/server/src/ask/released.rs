//! What somebody wants of a released model: drawn from nothing, or begun with a picture that came with the request.

use super::{
    All, How, Settings,
    settings::refused,
    work::{PICTURED, hole, needed, no_hole},
};
use crate::{fields::Fields, refusal::Refusal, shelf::Served};
use rectiflow::{
    released::{self, Prepared, ReleasedRequest, Shown},
    serving::{Asked, Makes},
};
use std::path::Path;

/// What is `done` by the model in a folder, which does what is `usual` where nobody asks otherwise; of a size, away from a negative prompt.
pub fn read(
    fields: &mut Fields,
    served: &Served,
    (folder, usual): (&Path, &Prepared),
    done: &str,
    (size, negative): (Option<(usize, usize)>, Option<String>),
    settings: Settings,
) -> Result<(How, All), Refusal> {
    if done != "sample" && served.makes() == Makes::Clips {
        return Err(Refusal::bad("model", "it changes no pictures: it can be asked to sample"));
    }
    let Settings { prompt, class, count, seed, overrides, .. } = settings;
    if class.is_some() {
        return Err(Refusal::bad("class", "this model reads text; ask with `prompt`"));
    }
    if prompt.trim().is_empty() {
        return Err(Refusal::bad("prompt", "say what to draw"));
    }
    let frames = match usual.length {
        Some(length) => fields.whole("frames", 1, length.frames as u64)?,
        None => None,
    };
    let (width, height) = size.unzip();
    let mut request = ReleasedRequest {
        negative,
        steps: overrides.steps,
        guidance: overrides.guidance,
        height,
        width,
        frames: frames.map(|frames| frames as usize),
        seed,
        count: Some(count),
        ..ReleasedRequest::new(folder.to_path_buf(), &prompt)
    };
    if done != "sample" {
        let size = [height.unwrap_or(usual.size[0]), width.unwrap_or(usual.size[1])];
        begin(fields, size, done, &mut request)?;
    }
    let prepared = released::prepare(&request, &mut |_| {}).map_err(|error| refused(served, "model", &error))?;
    prepared.check_memory().map_err(|error| refused(served, "size", &error))?;
    // It is in what was prepared, which lets go of it when the job ends.
    (request.init_image, request.mask) = (None, None);
    Ok((How::Released(Box::new((request, prepared))), All::One(Asked::Prompt(prompt))))
}

/// The picture that a released model begins with, `size` pixels, height first: drawn anew where something of it is missing, unless it is
/// edited, else changed as a whole.
fn begin(fields: &mut Fields, size: [usize; 2], done: &str, request: &mut ReleasedRequest) -> Result<(), Refusal> {
    let (shape, may) = ([3, size[0], size[1]], done != "edit");
    for key in ["method", "source"] {
        if fields.take(key).is_some() {
            let why = "released models have one way here, which asks nothing more; others have `rectiflow edit` and `rectiflow restore`";
            return Err(Refusal::bad(key, why));
        }
    }
    let task = if may { fields.word("task", &PICTURED)? } else { PICTURED[0] };
    if task != PICTURED[0] {
        return Err(Refusal::bad("task", "released models draw holes anew here (`inpaint`); use `rectiflow restore`"));
    }
    let given = needed(fields, "image", shape)?;
    let hole = if may { hole(fields, shape, &given)? } else { None };
    if hole.is_none() && done == "restore" {
        return Err(no_hole());
    }
    let usual = if hole.is_some() { 1.0 } else { 0.5 };
    let strength = fields.number("strength")?.unwrap_or(usual);
    if !(0.01..=1.0).contains(&strength) {
        return Err(Refusal::bad("strength", "it must be from 0.01, almost nothing, to 1, all anew"));
    }
    request.mask = match hole {
        None => None,
        Some(hole) => {
            let unknown = hole.unknown(size);
            let unknown = unknown.map_err(|error| Refusal::bad("mask", error.to_string().replace("--", "")))?;
            let values: Vec<f32> = unknown.iter().map(|unknown| if *unknown { 1.0 } else { -1.0 }).collect();
            Some(Shown::Values(values, size))
        }
    };
    request.init_image = Some((Shown::Values(given.values, size), strength));
    Ok(())
}
