//! `data show` of shapes: how many there are and of which classes, what was left out, and a sheet of the views that a codec of planes
//! reads.

use crate::{Context, Error, output, pictures, shapes, stage::DataRecord};
use data::{
    DataConfig,
    fetch::registry::{self, Kind},
    gather,
};
use media::{
    Grid,
    shape::{Cameras, read},
};
use serde_json::{Value, json};
use std::path::Path;

/// Whether `what` is a named set of shapes, a mesh's folder, or a folder of such folders, without a picture among them.
pub fn are_at(what: &str) -> bool {
    let path = Path::new(what);
    if !path.exists() {
        return what == shapes::SOLIDS || registry::find(what).is_some_and(|set| set.kind == Kind::Shapes);
    }
    let (meshes, pictures) = counted(path, 2);
    meshes > 0 && pictures == 0
}

/// Files of meshes and of pictures in `folder`, `deep` folders down.
fn counted(folder: &Path, deep: usize) -> (usize, usize) {
    let Ok(entries) = std::fs::read_dir(folder) else { return (0, 0) };
    let mut found = (0, 0);
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && deep > 0 {
            let inner = counted(&path, deep - 1);
            found = (found.0 + inner.0, found.1 + inner.1);
            continue;
        }
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        found.0 += usize::from(read::ENDINGS.contains(&ending.as_str()));
        found.1 += usize::from(data::is_picture(&path));
    }
    found
}

/// Facts about the shapes of `config`; the views of the first `count`, `size` pixels to a side, go to `sheet`.
///
/// # Errors
/// Shapes that cannot be read; a sheet that cannot be written.
pub fn views(
    config: &DataConfig,
    sheet: &Path,
    count: usize,
    size: Option<usize>,
    context: &mut Context,
) -> Result<Value, Error> {
    output::file(sheet, &["png"])?;
    let cameras = Cameras { size: size.unwrap_or(Cameras::default().size), ..Cameras::default() };
    cameras.check().map_err(|reason| Error::Usage(format!("--{reason}")))?;
    let config = DataConfig { size: None, ..config.clone() };
    let all = shapes::count(&config)?;
    // Only those of the sheet are seen.
    let few = DataConfig { limit: Some(count.clamp(1, all.max(1))), ..config.clone() };
    let set = shapes::open(&few, cameras, context)?;
    let batch = gather(&*set, &(0..set.len()).collect::<Vec<_>>())?;
    let images = pictures::of(batch.rows, set.len(), set.shape())?;
    media::png::save(sheet, &Grid::default().sheet(&images), &[("parameters", set.name())])?;
    let DataRecord { left_out, .. } = DataRecord::of(&*set);
    Ok(json!({
        "kind": "shapes as views",
        "name": set.name(),
        "samples": all,
        "shape": set.shape(),
        "classes": set.class_names().join(", "),
        "left_out": left_out,
        "sheet": sheet.display().to_string(),
    }))
}
