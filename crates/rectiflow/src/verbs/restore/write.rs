//! What `restore` leaves in its folder, and what it must not write over.

use super::{RestoreReport, RestoreRequest, unknown};
use crate::{
    Error, pictures as images,
    restoring::{Blur, Figures, Hole, Inputs, Task, Toward, page::Page, sensed},
};
use media::Images;
use std::path::{Path, PathBuf};

/// Files and folders that a restoration may write, besides a folder to a method.
const WRITTEN: [&str; 7] =
    ["degraded", "measured.npy", "measured.json", "mask.png", "sheet.png", "index.html", "metrics.json"];

/// The files and folders that were given.
fn given(request: &RestoreRequest) -> Vec<(&'static str, PathBuf)> {
    let mut given = vec![("--input", PathBuf::from(&request.input))];
    given.extend(request.originals.as_ref().map(|place| ("--originals", place.into())));
    match &request.task {
        Task::Inpaint(Hole::Mask(file)) => given.push(("--mask", file.clone())),
        Task::Deblur(Blur::Kernel(file)) => given.push(("--kernel", file.clone())),
        _ => {}
    }
    for toward in &request.toward {
        if let Toward::Picture(picture) = toward {
            given.push(("--toward", picture.file.clone()));
            given.extend(picture.mask.clone().map(|mask| ("--toward", mask)));
        }
    }
    given
}

/// Refuses an output folder in which something that was given would be written over.
///
/// # Errors
/// [`Error::Usage`] naming it.
pub(super) fn check_apart(request: &RestoreRequest) -> Result<(), Error> {
    let Ok(out) = request.output.canonicalize() else { return Ok(()) }; // there is none yet
    // A mask that was drawn into this folder and is given back stays: it is not drawn again.
    let drawn = matches!(&request.task, Task::Inpaint(hole) if hole.is_drawn());
    let written = |name: &str| {
        let method = name.split('-').next().unwrap_or(name);
        (WRITTEN.contains(&name) && (drawn || name != "mask.png"))
            || request.methods.iter().any(|(steering, _)| steering.name() == method)
    };
    for (option, place) in given(request) {
        let Ok(found) = place.canonicalize() else { continue }; // whoever reads it says so
        let inside = found.strip_prefix(&out).ok().and_then(|rest| rest.components().next());
        if inside.is_some_and(|first| written(&first.as_os_str().to_string_lossy())) {
            return Err(Error::Usage(format!(
                "{option} {}: it lies in --output {}, where it would be written over; give another folder",
                place.display(),
                request.output.display()
            )));
        }
    }
    Ok(())
}

/// Removes what an earlier run into the same folder left and this one does not write, unless this one was given it.
pub(super) fn clear(request: &RestoreRequest, shape: [usize; 3]) -> Result<(), Error> {
    let out = &request.output;
    if !out.join("metrics.json").is_file() {
        return Ok(()); // no run was here
    }
    let given: Vec<PathBuf> = given(request).iter().filter_map(|(_, file)| file.canonicalize().ok()).collect();
    let drawn = matches!(&request.task, Task::Inpaint(hole) if hole.is_drawn());
    let numbers = request.task.measured(shape).is_none();
    let sensed = matches!(request.task, Task::Sense { .. });
    for (name, written) in [("mask.png", drawn), ("measured.npy", numbers), ("measured.json", sensed)] {
        let file = out.join(name);
        if !written && file.canonicalize().is_ok_and(|file| !given.contains(&file)) {
            std::fs::remove_file(&file)
                .map_err(|error| Error::Failure(format!("cannot remove {}: {error}", file.display())))?;
        }
    }
    Ok(())
}

/// Pictures in a folder per method, the sheet, the figures and the page.
pub(super) fn pictures(
    request: &RestoreRequest,
    report: &RestoreReport,
    inputs: &Inputs,
    mut columns: Vec<Vec<f32>>,
    shape: [usize; 3],
) -> Result<(), Error> {
    let out = &request.output;
    let about = format!("{}, {}", report.task, report.checkpoint);
    clear(request, shape)?;
    let save = |folder: &Path, values: &[f32], shape: [usize; 3]| -> Result<(), Error> {
        let images = Images::new(values.to_vec(), inputs.names.len(), shape)?;
        for (i, name) in inputs.names.iter().enumerate() {
            let file = folder.join(format!("{name}.png"));
            images::save(&file, &images, i, &about)?;
        }
        Ok(())
    };
    match request.task.measured(shape) {
        Some(shape) => save(&out.join("degraded"), &inputs.measured, shape)?,
        None => {
            // What is known is no picture: its numbers, and something to look at.
            let (count, all) = (inputs.names.len(), inputs.measured.len());
            save(&out.join("degraded"), &columns[0], shape)?;
            let numbers = out.join("measured.npy");
            media::arrays::save_npy(&numbers, &[count, all / count.max(1)], &inputs.measured)?;
            sensed::keep(&numbers, &request.task, shape)?;
        }
    }
    if let Task::Inpaint(hole) = &request.task
        && hole.is_drawn()
    {
        let [_, h, w] = shape;
        let hidden = unknown(&request.task.sensor(shape)?)?;
        let white = hidden[..h * w].iter().map(|hidden| if *hidden { 1.0 } else { -1.0 }).collect();
        media::png::save(&out.join("mask.png"), &Images::new(white, 1, [1, h, w])?.bitmap(0), &[])?;
    }
    let mut names = folders(&report.rows);
    for (name, column) in names.iter().zip(&columns).skip(1) {
        save(&out.join(name), column, shape)?;
    }
    if let Some(originals) = &inputs.originals {
        columns.push(originals.clone());
        names.push("original".into());
    }
    let sheet = out.join("sheet.png");
    images::columns(&sheet, &columns, shape, request.rows, &format!("{about}: {}", names.join(", ")))?;
    let read = |error: std::io::Error| Error::Failure(format!("cannot read {}: {error}", sheet.display()));
    let page = Page {
        task: &report.task,
        model: &report.checkpoint,
        pictures: (&report.data, report.pictures),
        columns: &names,
        sheet: &std::fs::read(&sheet).map_err(read)?,
        rows: &report.rows,
        distance: report.distance.as_deref(),
        command: &report.command,
    };
    media::atomic::write(&out.join("index.html"), page.html().as_bytes())?;
    figures(report)
}

/// A folder to a row: two settings of one method lie side by side.
pub(super) fn folders(rows: &[Figures]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for row in rows {
        let again = names.iter().filter(|name| name.split('-').next() == Some(&row.method)).count();
        names.push(if again == 0 { row.method.clone() } else { format!("{}-{}", row.method, again + 1) });
    }
    names
}

/// The figures, for scripts.
pub(super) fn figures(report: &RestoreReport) -> Result<(), Error> {
    let json = serde_json::to_vec_pretty(report);
    let json = json.map_err(|error| Error::Failure(format!("cannot write JSON: {error}")))?;
    Ok(media::atomic::write(&report.output.join("metrics.json"), &json)?)
}
