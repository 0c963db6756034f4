//! `shape show`: counts, size, soundness, what was left out, and a sheet of rendered views.

use super::{FILL, load, place};
use crate::{
    Context, Error,
    context::Event,
    error,
    shapes::sheet::{coloured, save},
};
use media::shape::{Collection, Mesh, View, read, repair};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What to look at.
#[derive(Clone, Debug)]
pub struct ShowRequest {
    /// A mesh, a folder of meshes, an LDraw library, a catalogue of furniture, or a named set.
    pub what: String,
    /// Where the sheet goes.
    pub sheet: PathBuf,
    /// Of a collection: how many shapes the sheet shows, spread evenly over it.
    pub num: usize,
    /// Of a collection: only shapes whose caption has these words.
    pub find: Option<String>,
    /// Pixels of each picture to a side.
    pub size: usize,
}

/// Facts about a mesh or a collection; pictures of it go to the sheet.
///
/// # Errors
/// Nothing there that can be read; a sheet that cannot be written; words that no caption has.
pub fn show(request: &ShowRequest, context: &mut Context) -> Result<Value, Error> {
    error::within("--size", request.size, 16..=2048)?;
    let path = place(&request.what)?;
    let is_mesh = |ending: &str| path.extension().is_some_and(|e| e.to_string_lossy().eq_ignore_ascii_case(ending));
    if path.is_file() && read::ENDINGS.iter().any(|ending| is_mesh(ending)) {
        if request.find.is_some() {
            return Err(Error::Usage(format!("--find chooses from a collection; {} is one mesh", path.display())));
        }
        return one(&path, request);
    }
    many(&path, request, context)
}

fn one(path: &Path, request: &ShowRequest) -> Result<Value, Error> {
    let placed = load(path)?;
    let mut pictures = Vec::new();
    let small = shrunk(&placed.fitted.mesh);
    for turn in 0..8 {
        pictures.push(coloured(
            View { azimuth: f64::from(turn) * 45.0 + 30.0, elevation: 25.0 }.picture(&small, request.size),
        ));
    }
    for elevation in [90.0, -90.0] {
        pictures.push(coloured(View { azimuth: 0.0, elevation }.picture(&small, request.size)));
    }
    let seen = View { azimuth: 30.0, elevation: 25.0 }.look(&small, request.size);
    pictures.push(seen.normal_map());
    pictures.push(coloured(seen.depth_map()));
    save(&request.sheet, pictures, request.size, 4)?;
    let mut facts = json!({ "file": path.display().to_string() });
    if let Some(caption) = &placed.loaded.caption {
        facts["caption"] = json!(caption);
    }
    let condition = repair::condition(&placed.loaded.mesh);
    merge(&mut facts, serde_json::to_value(condition).map_err(|error| Error::Failure(error.to_string()))?);
    facts["notes"] = json!(placed.loaded.notes);
    facts["sheet"] = json!(request.sheet.display().to_string());
    Ok(facts)
}

fn many(path: &Path, request: &ShowRequest, context: &mut Context) -> Result<Value, Error> {
    error::within("--num", request.num, 1..=4096)?;
    let set = Collection::open(path)?;
    let wanted = request.find.as_deref().map(str::to_lowercase);
    let fits = |i: &usize| wanted.as_ref().is_none_or(|words| set.entries()[*i].caption.to_lowercase().contains(words));
    let chosen: Vec<usize> = (0..set.entries().len()).filter(fits).collect();
    if chosen.is_empty() {
        let words = request.find.as_deref().unwrap_or_default();
        return Err(Error::Failure(format!("no caption in {} has the words `{words}`", path.display())));
    }
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    chosen.iter().for_each(|&i| *classes.entry(&set.entries()[i].class).or_default() += 1);
    let mut largest: Vec<_> = classes.iter().map(|(class, count)| (*count, *class)).collect();
    largest.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let mut families: Vec<&str> = chosen.iter().map(|&i| set.entries()[i].family.as_str()).collect();
    families.sort_unstable();
    families.dedup();

    let count = request.num.min(chosen.len());
    let (mut pictures, mut shown, mut notes) = (Vec::new(), Vec::new(), set.notes().to_vec());
    context.tell(Event::Begin { what: "shapes", total: count as u64 });
    for k in 0..count {
        context.go_on()?;
        let i = chosen[k * chosen.len() / count];
        let entry = &set.entries()[i];
        match set.load(i).map(|loaded| repair::fit(&loaded.mesh, FILL)) {
            Ok(Some(fitted)) => {
                let view = View { azimuth: 30.0, elevation: 25.0 };
                pictures.push(coloured(view.picture(&shrunk(&fitted.mesh), request.size)));
                shown.push(json!({ "name": entry.name, "caption": entry.caption, "class": entry.class }));
            }
            Ok(None) => notes.push(format!("{}: no extent", entry.name)),
            Err(error) => notes.push(format!("{}: {error}", entry.name)),
        }
        context.tell(Event::Advance { done: k as u64 + 1 });
    }
    context.tell(Event::End);
    save(&request.sheet, pictures, request.size, 0)?;
    let top: Vec<String> = largest.iter().take(12).map(|(count, class)| format!("{class} {count}")).collect();
    Ok(json!({
        "collection": path.display().to_string(),
        "shapes": chosen.len(),
        "families": families.len(),
        "classes": classes.len(),
        "largest classes": top.join(", "),
        "notes": notes,
        "shown": shown,
        "sheet": request.sheet.display().to_string(),
    }))
}

/// A mesh that fills the cube to [`FILL`], small enough to stay in the picture from any direction.
fn shrunk(mesh: &Mesh) -> Mesh {
    let reach = mesh.points.iter().map(|&p| media::shape::vector::norm(p)).fold(1e-9, f64::max);
    let points = mesh.points.iter().map(|p| p.map(|v| v * 0.95 / reach)).collect();
    Mesh { points, faces: mesh.faces.clone() }
}

/// Adds the keys of one object to another.
fn merge(facts: &mut Value, more: Value) {
    if let (Value::Object(facts), Value::Object(more)) = (facts, more) {
        facts.extend(more);
    }
}
