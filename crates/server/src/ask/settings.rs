//! How a request's answers are made: steps, guidance, sizes, each refused by its own name.

use crate::{
    fields::Fields,
    options::Limits,
    refusal::Refusal,
    shelf::{Run, Served},
};
use rectiflow::{Error, overrides::SampleOverrides, recipe::SampleConfig, serving::Makes};

/// The command line's 128 cells to a side, as a power of two.
pub(super) const USUAL: u32 = 7;

/// What the library says to a command line, said to a client: without its options and without places.
pub(super) fn refused(served: &Served, param: &str, error: &Error) -> Refusal {
    let text = served.discreet(&error.to_string());
    let Some((option, reason)) = text.strip_prefix("--").and_then(|text| text.split_once(": ")) else {
        return Refusal::bad(param, text.replace("--", ""));
    };
    let param = match option.split([' ', ',']).next().unwrap_or_default() {
        "height" | "width" => "size",
        "negative-prompt" => "negative_prompt",
        "guidance-scale" => "guidance_scale",
        "steps" => "steps",
        "init-image" => "strength",
        "frames" => "frames",
        "query" => "query",
        "sound" => "sound",
        "box" => "box",
        "mask" => "mask",
        "method" => "method",
        "task" => "task",
        "scale" => "scale",
        "bicubic" => "bicubic",
        "taps" => "taps",
        "sigma" => "sigma",
        "motion" => "motion",
        "angle" => "angle",
        "bits" => "bits",
        "quality" => "quality",
        _ => param,
    };
    Refusal::bad(param, reason.replace("--guidance-scale", "guidance_scale").replace("--", ""))
}

/// The usual settings with those that were given, one at a time so that a refusal names the one.
pub(super) fn config(
    served: &Served,
    run: &Run,
    steps: Option<usize>,
    guidance: Option<f64>,
) -> Result<SampleConfig, Refusal> {
    let mut overrides = SampleOverrides { steps, ..SampleOverrides::default() };
    let config = match steps {
        None => run.usual.clone(),
        Some(_) => run.opened.config(&overrides).map_err(|error| refused(served, "steps", &error))?,
    };
    if guidance.is_none() {
        return Ok(config);
    }
    overrides.guidance = guidance;
    run.opened.config(&overrides).map_err(|error| refused(served, "guidance_scale", &error))
}

/// What `resolution` says.
pub(super) fn depth(fields: &mut Fields) -> Result<u32, Refusal> {
    let cells = fields.whole("resolution", 16, 256)?.unwrap_or(1 << USUAL);
    let wrong = || Refusal::bad("resolution", "it must be 16, 32, 64, 128 or 256 cells to a side");
    if cells.is_power_of_two() { Ok(cells.ilog2()) } else { Err(wrong()) }
}

/// Width and height of `512x768`; none for `auto`.
pub(super) fn size(text: Option<&str>, limits: &Limits) -> Result<Option<(usize, usize)>, Refusal> {
    let Some(text) = text.filter(|text| *text != "auto") else { return Ok(None) };
    let side = |text: &str| text.parse::<usize>().ok().filter(|side| (1..=limits.side).contains(side));
    let found = text.split_once('x').and_then(|(width, height)| Some((side(width)?, side(height)?)));
    let message = || format!("it must be WIDTHxHEIGHT, each 1 to {}, or auto", limits.side);
    found.map(Some).ok_or_else(|| Refusal::bad("size", message()))
}

/// A run's size is its own.
pub(super) fn own_size(run: &Run, size: Option<(usize, usize)>) -> Result<(), Refusal> {
    let [_, height, width] = run.opened.picture();
    if matches!(run.opened.makes(), Makes::Shapes | Makes::Sounds) && size.is_some() {
        return Err(Refusal::bad("size", "what this model makes has no pixels; leave it out"));
    }
    match size {
        Some(size) if size != (width, height) => {
            Err(Refusal::bad("size", format!("this model draws {width}x{height}, and nothing else")))
        }
        _ => Ok(()),
    }
}
