//! What somebody wants done to a picture or a recording that came with the request.

use super::{All, How, Settings, asked, refused};
use crate::{
    fields::Fields,
    refusal::Refusal,
    shelf::{Run, Served},
};
use rectiflow::{
    data, editing,
    restoring::{self, Hole, Task, TaskOptions},
    separator::Resynthesis,
    serving::{Asked, Edit, Given, Pictured, Restore, Separate, Work},
};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Millions of pixels that a picture may have before it is brought to the model's size.
const MEGAPIXELS: u64 = 32;
/// Tasks that leave a picture, which can be sent.
pub(super) const PICTURED: [&str; 6] = ["inpaint", "super", "deblur", "colour", "dequantise", "jpeg"];
/// Files that are decoded at a time: few bytes may be hundreds of megabytes for a moment.
const DECODED: usize = 2;

/// A turn to decode a file, until it is dropped.
struct Turn;

static TURNS: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

impl Turn {
    fn wait() -> Self {
        let taken = TURNS.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = TURNS.1.wait_while(taken, |taken| *taken == DECODED);
        *free.unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut taken: MutexGuard<'_, usize> = TURNS.0.lock().unwrap_or_else(PoisonError::into_inner);
        *taken -= 1;
        TURNS.1.notify_one();
    }
}

/// What is done to a picture under OpenAI's and A1111's interfaces: what is missing of it is restored, or it is edited as a whole.
pub fn change(fields: &mut Fields, served: &Served, run: &Run, settings: Settings) -> Result<(How, All), Refusal> {
    let shape = shape(served, run)?;
    let given = needed(fields, "image", shape)?;
    match hole(fields, shape, &given)? {
        Some(hole) => restoring(fields, served, run, settings, Task::Inpaint(hole), given),
        None => editing(fields, served, run, settings, given),
    }
}

/// The picture that samples are to look like, and what is worth knowing about it.
pub fn pictured(fields: &mut Fields, served: &Served, run: &Run) -> Result<(Pictured, Option<String>), Refusal> {
    let bytes = sent(fields, "image")?;
    let _turn = Turn::wait();
    let framed = run.opened.framed(&bytes, MEGAPIXELS).map_err(|error| refused(served, "image", &error))?;
    Ok((framed.0, framed.1.map(|note| format!("the picture {note}"))))
}

/// `"do": "restore"`.
pub fn restore(fields: &mut Fields, served: &Served, run: &Run, settings: Settings) -> Result<(How, All), Refusal> {
    let shape = shape(served, run)?;
    let name = fields.word("task", &PICTURED)?;
    let mut whole = |key, least, most| fields.whole(key, least, most);
    let (scale, taps) = (whole("scale", 2, 16)?, whole("taps", 1, 99)?);
    let (bits, quality) = (whole("bits", 1, 7)?, whole("quality", 1, 100)?);
    let options = TaskOptions {
        // Where a hole is stands in the pictures themselves.
        hole: (name == "inpaint").then(|| "1".into()),
        scale: scale.map(|scale| scale as usize),
        bicubic: fields.flag("bicubic")?.unwrap_or(false),
        taps: taps.map(|taps| taps as usize),
        sigma: fields.number("sigma")?,
        motion: fields.number("motion")?,
        angle: fields.number("angle")?,
        bits: bits.map(|bits| bits as u32),
        quality: quality.map(|quality| quality as u32),
        ..TaskOptions::default()
    };
    let task = Task::named(name, &options).map_err(|error| refused(served, "task", &error))?;
    if name == "inpaint" {
        let given = needed(fields, "image", shape)?;
        let hole = hole(fields, shape, &given)?;
        return restoring(fields, served, run, settings, Task::Inpaint(hole.ok_or_else(no_hole)?), given);
    }
    task.sensor(shape).map_err(|error| refused(served, "task", &error))?;
    let known = || Refusal::bad("task", format!("{name} leaves no picture that could be sent"));
    let known = task.measured(shape).ok_or_else(known)?;
    task.check_given(shape, false).map_err(|error| refused(served, "task", &error))?;
    let bytes = sent(fields, "image")?;
    if task.is_rounding() {
        uncut(&bytes, name, known)?;
    }
    let given = seen("image", &bytes, known)?;
    restoring(fields, served, run, settings, task, given)
}

/// `"do": "edit"`.
pub fn edit(fields: &mut Fields, served: &Served, run: &Run, settings: Settings) -> Result<(How, All), Refusal> {
    let shape = shape(served, run)?;
    let given = needed(fields, "image", shape)?;
    editing(fields, served, run, settings, given)
}

/// `"do": "separate"`.
pub fn separate(fields: &mut Fields, served: &Served, run: &Run, settings: Settings) -> Result<(How, All), Refusal> {
    if settings.count != 1 || !settings.prompt.is_empty() || settings.class.is_some() {
        return Err(Refusal::bad("query", "say what should be heard in `query`, one answer to each"));
    }
    let missing = || Refusal::bad("sound", "send a recording: WAV, FLAC, Ogg or MP3, in base64 or as a form's file");
    let bytes = fields.file("sound")?.ok_or_else(missing)?;
    let queries = fields.texts("query")?;
    if queries.iter().any(|query| query.chars().count() > settings.letters) {
        return Err(Refusal::bad("query", format!("each may have {} characters", settings.letters)));
    }
    if queries.len() > settings.most {
        return Err(Refusal::bad("query", format!("it may name {} sounds", settings.most)));
    }
    let resynthesis = match fields.word("resynthesis", &["mask", "griffinlim"])? {
        "mask" => Resynthesis::Mask,
        _ => Resynthesis::GriffinLim,
    };
    let Settings { overrides, seed, .. } = settings;
    let shown = queries.iter().cloned().map(Asked::Prompt).collect();
    let work = Work::Separate(Separate { bytes: bytes.into(), queries, resynthesis, overrides, seed });
    checked(served, run, work).map(|how| (how, All::Each(shown)))
}

fn restoring(
    fields: &mut Fields,
    served: &Served,
    run: &Run,
    settings: Settings,
    task: Task,
    given: Given,
) -> Result<(How, All), Refusal> {
    let name = named(fields, "flowchef")?;
    let found = restoring::methods(&name).map_err(|error| refused(served, "method", &error))?;
    let [method] = <[_; 1]>::try_from(found).map_err(|_| Refusal::bad("method", "name one"))?;
    let (steering, steps) = method;
    let steps = steps.map(|steps| steps.min(settings.steps));
    let asked = told(run, &settings)?.unwrap_or(Asked::Nothing);
    let Settings { overrides, seed, count, .. } = settings;
    let method = (steering, steps);
    let work = Restore { task, measured: given.values.into(), method, asked: asked.clone(), overrides, seed, count };
    checked(served, run, Work::Restore(work)).map(|how| (how, All::One(asked)))
}

fn editing(
    fields: &mut Fields,
    served: &Served,
    run: &Run,
    settings: Settings,
    given: Given,
) -> Result<(How, All), Refusal> {
    let name = named(fields, "sd-edit")?;
    let found = editing::methods(&name, None).map_err(|error| refused(served, "method", &error))?;
    let [mut method] = <[_; 1]>::try_from(found).map_err(|_| Refusal::bad("method", "name one"))?;
    let strength = fields.number("strength")?;
    match (method.start(), strength) {
        (_, None) => {}
        (Some(start), Some(strength)) if (0.01..=1.0).contains(&strength) => *start = 1.0 - strength,
        (Some(_), Some(_)) => {
            return Err(Refusal::bad("strength", "it must be from 0.01, almost nothing, to 1, all anew"));
        }
        (None, Some(_)) => return Err(Refusal::bad("strength", format!("{name} has none; use sd-edit or flow-edit"))),
    }
    let source = fields.text("source")?;
    if source.as_ref().is_some_and(|source| source.chars().count() > settings.letters) {
        return Err(Refusal::bad("source", format!("it may have {} characters", settings.letters)));
    }
    let needs = name != "sd-edit";
    let said = source.as_deref().map_or("", str::trim);
    if !needs && !matches!(said, "" | "none") {
        return Err(Refusal::bad("source", "sd-edit does not ask what the picture shows; leave it out"));
    }
    let source = match source.as_deref().map(str::trim) {
        None | Some("") if needs => {
            let message = format!("{name} must know what the picture shows: a class or a text, or none");
            return Err(Refusal::bad("source", message));
        }
        None | Some("" | "none") => Asked::Nothing,
        Some(text) => match asked(run, text, None).map_err(|refusal| refusal.about("prompt", "source"))? {
            All::One(asked) => asked,
            _ => Asked::Nothing,
        },
    };
    let target = told(run, &settings)?.ok_or_else(|| Refusal::bad("prompt", "say what the picture should show"))?;
    let Settings { overrides, seed, count, .. } = settings;
    let work = Edit { pixels: given.values.into(), method, source, target: target.clone(), overrides, seed, count };
    checked(served, run, Work::Edit(work)).map(|how| (how, All::One(target)))
}

/// What the pictures are asked to show; none where nothing is said.
fn told(run: &Run, settings: &Settings) -> Result<Option<Asked>, Refusal> {
    if settings.prompt.trim().is_empty() && settings.class.is_none() {
        return Ok(None);
    }
    match asked(run, &settings.prompt, settings.class.clone())? {
        All::One(asked) => Ok(Some(asked)),
        _ => Ok(None),
    }
}

fn checked(served: &Served, run: &Run, work: Work) -> Result<How, Refusal> {
    let _turn = matches!(work, Work::Separate(_)).then(Turn::wait); // a recording is decoded here
    run.opened.check(&work).map_err(|error| refused(served, "model", &error))?;
    Ok(How::Work(Box::new(work)))
}

/// A method by its name alone: spelled out it could ask for any amount of work.
fn named(fields: &mut Fields, usual: &str) -> Result<String, Refusal> {
    let name = fields.text("method")?.unwrap_or_else(|| usual.into()).replace('_', "-");
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':');
    if name.is_empty() || !name.chars().all(plain) {
        return Err(Refusal::bad("method", "it must be the name of a method"));
    }
    Ok(name)
}

/// `[c h w]` of the model's pictures, which must be what it moves.
fn shape(served: &Served, run: &Run) -> Result<[usize; 3], Refusal> {
    if !served.does().contains(&"restore") {
        let does = served.does().join(", ");
        return Err(Refusal::bad("model", format!("it changes no pictures: it can be asked to {does}")));
    }
    run.opened.changes().map_err(|error| refused(served, "model", &error))
}

pub(super) fn needed(fields: &mut Fields, key: &str, shape: [usize; 3]) -> Result<Given, Refusal> {
    let bytes = sent(fields, key)?;
    seen(key, &bytes, shape)
}

pub(super) fn no_hole() -> Refusal {
    Refusal::bad("mask", "say what is missing: with `mask`, `box`, or a picture that is transparent there")
}

fn sent(fields: &mut Fields, key: &str) -> Result<Vec<u8>, Refusal> {
    let missing = || Refusal::bad(key, "send a picture: PNG, JPEG or WebP, in base64 or as a form's file");
    fields.file(key)?.ok_or_else(missing)
}

/// Refuses a picture of another size where what is known is the grid of its values, which resizing would destroy.
fn uncut(bytes: &[u8], task: &str, [_, h, w]: [usize; 3]) -> Result<(), Refusal> {
    let _turn = Turn::wait();
    let found = data::grey(bytes, MEGAPIXELS).map_err(|error| Refusal::bad("image", error.to_string()))?;
    if (found.values.len(), found.width) == (h * w, w) {
        return Ok(());
    }
    let why = format!("{task} knows the grid of its values, which resizing destroys: send it at {w} x {h} pixels");
    Err(Refusal::bad("image", why))
}

fn seen(key: &str, bytes: &[u8], shape: [usize; 3]) -> Result<Given, Refusal> {
    let _turn = Turn::wait();
    data::given(bytes, shape, MEGAPIXELS).map_err(|error| Refusal::bad(key, error.to_string()))
}

/// Where the picture is missing: white in a mask, or transparent in one that knows transparency; a box; transparent in the picture.
pub(super) fn hole(fields: &mut Fields, [_, h, w]: [usize; 3], given: &Given) -> Result<Option<Hole>, Refusal> {
    let mask = fields.file("mask")?.map(|bytes| seen("mask", &bytes, [1, h, w])).transpose()?;
    let (mask, boxed) = (mask, fields.text("box")?);
    let unknown = match (mask, boxed) {
        (Some(_), Some(_)) => return Err(Refusal::bad("box", "say it in `mask` or in `box`, not in both")),
        (None, Some(text)) => {
            return Hole::parse(&text)
                .map(Some)
                .map_err(|error| Refusal::bad("box", error.to_string().replace("--", "")));
        }
        (Some(mask), None) => match mask.clear {
            Some(clear) => clear,
            None => mask.values.iter().map(|value| *value >= 0.0).collect(),
        },
        (None, None) => match &given.clear {
            Some(clear) => clear.clone(),
            None => return Ok(None),
        },
    };
    match unknown.contains(&true) {
        true => Ok(Some(Hole::Pixels(unknown))),
        false => Err(Refusal::bad("mask", "it marks nothing: what is to be drawn anew is white, or transparent")),
    }
}
