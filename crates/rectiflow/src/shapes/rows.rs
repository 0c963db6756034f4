//! Rows of points, views or pictures, made once by all threads and kept in files of a few dozen: whoever stops on the way continues there.

use super::{
    DEPTH, FILL, Form,
    list::{Item, List, Origin, hash},
};
use crate::{
    Error,
    context::{Context, Event},
    recipe::PictureConfig,
};
use data::fetch;
use media::shape::{
    Cameras, Collection, Mesh, Octree, Point, View, colour, extract, framed, record, record::Counts, repair,
    sample::uniform,
};
use rayon::prelude::*;
use std::{
    convert::Infallible,
    path::{Path, PathBuf},
};

/// What is written changes with this number.
const FORMAT: u32 = 1;
/// Shapes of a file.
const SHARD: usize = 64;
/// What stands in place of a number where a shape could not be read; its reason stands beside the file.
const NOTHING: f32 = f32::NAN;
/// The random numbers that say from where pictures are taken.
const LOOKS: u64 = 49;

/// A row for each item, or why there is none.
pub(super) struct Made {
    pub rows: Vec<Result<Vec<f32>, String>>,
    pub fingerprint: String,
}

pub(super) fn of(list: &List, form: &Form, context: &mut Context) -> Result<Made, Error> {
    form.check().map_err(Error::Usage)?;
    let fingerprint = fingerprint(list, form);
    let numbers = form.shape().numel();
    // Few are made anew as quickly as they are read.
    let worth = list.items.len() >= SHARD;
    let folder = fetch::cache_dir().ok().filter(|_| worth).map(|cache| cache.join("shapes").join(&fingerprint));
    let mut rows = Vec::with_capacity(list.items.len());
    let mut begun = false;
    for (number, items) in list.items.chunks(SHARD).enumerate() {
        context.go_on()?;
        let file = folder.as_ref().map(|folder| folder.join(format!("{number:05}.npy")));
        if let Some(known) = file.as_deref().and_then(|file| read(file, items.len(), numbers)) {
            rows.extend(known);
            continue;
        }
        if !begun {
            begun = true;
            context.tell(Event::Begin { what: "shapes", total: list.items.len() as u64 });
        }
        let made: Vec<Result<Vec<f32>, String>> =
            items.par_iter().map(|item| one(item, list.collection.as_ref(), form)).collect();
        if let Some(file) = &file {
            keep(file, &made, numbers);
        }
        rows.extend(made);
        context.tell(Event::Advance { done: rows.len() as u64 });
    }
    if begun {
        context.tell(Event::End);
    }
    Ok(Made { rows, fingerprint })
}

fn one(item: &Item, collection: Option<&Collection>, form: &Form) -> Result<Vec<f32>, String> {
    match form {
        Form::Points(counts) => points(item, collection, *counts),
        Form::Views(cameras) => views(item, collection, cameras),
        Form::Pictures(config) => pictures(item, collection, config),
    }
}

/// What the cameras see of an item; files have no colours here.
fn views(item: &Item, collection: Option<&Collection>, cameras: &Cameras) -> Result<Vec<f32>, String> {
    // Cells as small as pixels are enough.
    let depth = cameras.size.next_power_of_two().ilog2().clamp(5, 8);
    let mesh = mesh(item, collection, depth)?;
    let colours = match item.origin {
        Origin::Solid(kind, seed, index) => colour::of_solid(&kind.draw(seed, index), &mesh, kind, seed, index),
        Origin::Entry(_) => vec![colour::PLAIN; mesh.faces.len()],
    };
    let row = cameras.see(&mesh, &colours);
    let sound = row.iter().all(|value| value.is_finite());
    sound.then_some(row).ok_or_else(|| "it has points that are no numbers".into())
}

/// What `item` looks like from several sides, the azimuths spread evenly but for a share of chance.
fn pictures(item: &Item, collection: Option<&Collection>, config: &PictureConfig) -> Result<Vec<f32>, String> {
    let depth = config.size.next_power_of_two().ilog2().clamp(5, 8);
    let mesh = mesh(item, collection, depth)?;
    let (seed, views) = (hash(&item.name), config.views);
    let between = |[low, high]: [f64; 2], share: f64| low + (high - low) * share;
    let one = |k: usize| {
        let azimuth = between(config.azimuth, (k as f64 + uniform(seed, LOOKS, k as u64, 0)) / views as f64);
        let elevation = between(config.elevation, uniform(seed, LOOKS, k as u64, 1));
        framed::seen(&mesh, View { azimuth, elevation }, config.size)
    };
    let row: Vec<f32> = (0..views).flat_map(one).collect();
    let sound = row.iter().all(|value| value.is_finite());
    sound.then_some(row).ok_or_else(|| "it has points that are no numbers".into())
}

fn points(item: &Item, collection: Option<&Collection>, counts: Counts) -> Result<Vec<f32>, String> {
    let seed = hash(&item.name);
    match (item.origin, collection) {
        (Origin::Solid(kind, seed, index), _) => {
            Ok(record::of_solid(&kind.draw(seed, index), counts, hash(&item.name).wrapping_add(seed)))
        }
        (Origin::Entry(_), collection) => {
            let row = record::of_mesh(&mesh(item, collection, DEPTH)?, counts, seed).ok_or("it encloses nothing")?;
            let sound = row.iter().all(|value| value.is_finite());
            sound.then_some(row).ok_or_else(|| "it has points that are no numbers".into())
        }
    }
}

/// The surface of an item: of a solid at `2^depth` cells to a side of the cube, of a file fitted into it.
pub(super) fn mesh(item: &Item, collection: Option<&Collection>, depth: u32) -> Result<Mesh, String> {
    match (item.origin, collection) {
        (Origin::Solid(kind, seed, index), _) => {
            let solid = kind.draw(seed, index);
            let mut field = |points: &[Point]| -> Result<Vec<f64>, Infallible> {
                Ok(points.iter().map(|p| solid.distance(*p)).collect())
            };
            let found = extract::octree([[-1.0; 3], [1.0; 3]], Octree::new(4, depth), &mut field);
            found.map(|found| found.mesh).map_err(|error| error.to_string())
        }
        (Origin::Entry(i), Some(collection)) => {
            let loaded = collection.load(i).map_err(|error| error.to_string())?;
            Ok(repair::fit(&loaded.mesh, FILL).ok_or("it has no extent")?.mesh)
        }
        (Origin::Entry(_), None) => Err("it is no longer there".into()),
    }
}

/// The same for the same shapes in the same order, kept in the same form.
fn fingerprint(list: &List, form: &Form) -> String {
    let contents = list.collection.as_ref().map_or(0, Collection::fingerprint);
    let pictures = matches!(form, Form::Pictures(_));
    let form = match form {
        Form::Points(counts) => format!("{counts:?}"),
        Form::Views(cameras) => format!("{cameras:?}"),
        // Without who reads them, which changes no picture.
        Form::Pictures(config) => format!("{config:?}").replace(", encoder: None", ""),
    };
    // Pictures of the first kind were cut off where a shape reached past the cube's faces.
    let kind = if pictures { " whole" } else { "" };
    let mut text = format!("{FORMAT} {form}{kind} {FILL} {contents:016x}");
    for item in &list.items {
        text.push_str(&format!("\n{} {} {}", item.name, item.class, item.caption));
        if let Origin::Solid(_, seed, index) = item.origin {
            text.push_str(&format!(" {seed} {index}"));
        }
    }
    format!("{:016x}", hash(&text))
}

/// The rows of a file, if it is whole.
fn read(file: &Path, count: usize, numbers: usize) -> Option<Vec<Result<Vec<f32>, String>>> {
    let (shape, values) = media::arrays::read_npy(file).ok()?;
    if shape != [count, numbers] {
        return None;
    }
    let reasons: Vec<String> = serde_json::from_slice(&std::fs::read(beside(file)).ok()?).ok()?;
    let mut reasons = reasons.into_iter();
    let row = |row: &[f32]| match row.first().is_some_and(|value| value.is_nan()) {
        true => Err(reasons.next().unwrap_or_default()),
        false => Ok(row.to_vec()),
    };
    Some(values.chunks_exact(numbers).map(row).collect())
}

/// Where the reasons stand of a file's shapes that could not be read.
fn beside(file: &Path) -> PathBuf {
    file.with_extension("json")
}

/// Keeps rows in `file`; a cache that cannot be written is no reason not to train.
fn keep(file: &Path, made: &[Result<Vec<f32>, String>], numbers: usize) {
    let values: Vec<f32> =
        made.iter().flat_map(|row| row.as_ref().map_or_else(|_| vec![NOTHING; numbers], Vec::clone)).collect();
    let reasons: Vec<&String> = made.iter().filter_map(|row| row.as_ref().err()).collect();
    let write = || -> Option<()> {
        std::fs::create_dir_all(file.parent()?).ok()?;
        // The reasons first: a file of rows is whole only with them.
        media::atomic::write(&beside(file), &serde_json::to_vec(&reasons).ok()?).ok()?;
        media::arrays::save_npy(file, &[made.len(), numbers], &values).ok()
    };
    let _ = write();
}
