//! What `restore` leaves in its folder, and what it must not write over.

use super::{RestoreReport, RestoreRequest, unknown};
use crate::{
    Error, pictures as images,
    restoring::{Blur, Hole, Inputs, Task, Toward, page::Page, sensed},
};
use media::Images;
use std::path::{Path, PathBuf};

/// What came in.
pub(super) const DEGRADED: &str = "degraded";
/// Of recordings: a straight line from column to column.
pub(super) const BRIDGE: &str = "bridge";
/// Of recordings: the original's own picture in the gap.
pub(super) const OWN_PICTURE: &str = "own_picture";

/// The rows of the report, from what was asked alone.
fn rows(request: &RestoreRequest) -> Vec<&'static str> {
    let gap = matches!(request.task, Task::Gap(_));
    let known = request.degrade || request.originals.is_some();
    let mut rows = vec![DEGRADED];
    rows.extend(gap.then_some(BRIDGE));
    rows.extend(request.methods.iter().map(|(steering, _)| steering.name()));
    rows.extend((gap && known).then_some(OWN_PICTURE));
    rows
}

/// A folder to a row: two settings of one method lie side by side.
pub(super) fn folders(request: &RestoreRequest) -> Vec<String> {
    let mut seen: Vec<&str> = Vec::new();
    let each = rows(request).into_iter().map(|row| {
        seen.push(row);
        match seen.iter().filter(|name| **name == row).count() {
            1 => row.to_owned(),
            again => format!("{row}-{again}"),
        }
    });
    each.collect()
}

/// Files beside the folders, and whether this restoration writes them.
fn files(request: &RestoreRequest) -> [(&'static str, bool); 6] {
    // A mask that was drawn into this folder and is given back stays: it is not drawn again.
    let drawn = matches!(&request.task, Task::Inpaint(hole) if hole.is_drawn());
    let numbers = matches!(request.task, Task::Sense { .. } | Task::Phase);
    let sensed = matches!(request.task, Task::Sense { .. });
    [
        ("mask.png", drawn),
        ("measured.npy", numbers),
        ("measured.json", sensed),
        ("index.html", !matches!(request.task, Task::Gap(_))),
        ("sheet.png", true),
        ("metrics.json", true),
    ]
}

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

/// `place` without links, as far as it is there.
fn resolved(place: &Path) -> PathBuf {
    let place = std::path::absolute(place).unwrap_or_else(|_| place.to_path_buf());
    let found = place.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    match found.and_then(|(above, there)| Some((there, place.strip_prefix(above).ok()?))) {
        Some((there, rest)) if rest.as_os_str().is_empty() => there,
        Some((there, rest)) => there.join(rest),
        None => place,
    }
}

/// Refuses an output folder in which anything that is written is, holds or lies in something that was given.
///
/// # Errors
/// [`Error::Usage`] naming both.
pub(super) fn check_apart(request: &RestoreRequest) -> Result<(), Error> {
    let out = &request.output;
    let files = files(request).into_iter().filter(|(_, written)| *written).map(|(name, _)| name.to_owned());
    let written: Vec<PathBuf> = folders(request).into_iter().chain(files).map(|name| out.join(name)).collect();
    for (option, place) in given(request) {
        let Ok(found) = place.canonicalize() else { continue }; // whoever reads it says so
        let meets = |file: &&PathBuf| {
            let file = resolved(file);
            file.starts_with(&found) || found.starts_with(&file)
        };
        if let Some(file) = written.iter().find(meets) {
            return Err(Error::Usage(format!(
                "{option} {}: with --output {} it would be written over or into, as {}; give another folder",
                place.display(),
                out.display(),
                file.display()
            )));
        }
    }
    Ok(())
}

/// Removes the files that an earlier run into the same folder left and this one does not write, unless this one was given them.
pub(super) fn clear(request: &RestoreRequest) -> Result<(), Error> {
    let out = &request.output;
    if !out.join("metrics.json").is_file() {
        return Ok(()); // no run was here
    }
    let given: Vec<PathBuf> = given(request).iter().filter_map(|(_, file)| file.canonicalize().ok()).collect();
    for (name, written) in files(request) {
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
    clear(request)?;
    let save = |folder: &Path, values: &[f32], shape: [usize; 3]| -> Result<(), Error> {
        let images = Images::new(values.to_vec(), inputs.names.len(), shape)?;
        for (i, name) in inputs.names.iter().enumerate() {
            let file = folder.join(format!("{name}.png"));
            images::save(&file, &images, i, &about)?;
        }
        Ok(())
    };
    match request.task.measured(shape) {
        Some(shape) => save(&out.join(DEGRADED), &inputs.measured, shape)?,
        None => {
            // What is known is no picture: its numbers, and something to look at.
            let (count, all) = (inputs.names.len(), inputs.measured.len());
            save(&out.join(DEGRADED), &columns[0], shape)?;
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
    let mut names = folders(request);
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

/// The figures, for scripts.
pub(super) fn figures(report: &RestoreReport) -> Result<(), Error> {
    let json = serde_json::to_vec_pretty(report);
    let json = json.map_err(|error| Error::Failure(format!("cannot write JSON: {error}")))?;
    Ok(media::atomic::write(&report.output.join("metrics.json"), &json)?)
}
