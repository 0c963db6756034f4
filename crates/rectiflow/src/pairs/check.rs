//! Whether a store's pairs are of a teacher's kind, and what a store says of itself.

use crate::{Error, Model, Start};
use data::Split;
use data::pairs::PairStore;
use serde_json::{Value, json};
use std::path::Path;

/// Refuses a store whose pairs are not this teacher's kind, or do not look like (noise, data).
///
/// # Errors
/// Shape, classes, path or parameterization that differ; swapped or shuffled ends.
pub fn check(store: &PairStore, teacher: &Model) -> Result<(), Error> {
    let meta = store.meta();
    let differ = |what: &str, theirs: &dyn std::fmt::Debug, ours: &dyn std::fmt::Debug| {
        let folder = store.dir().display();
        Err(Error::Failure(format!(
            "the pairs in {folder} have {what} {theirs:?} but the teacher {ours:?}: make pairs with this teacher"
        )))
    };
    let recipe = &teacher.recipe;
    if meta.shape != teacher.subject.shape {
        return differ("shape", &meta.shape, &teacher.subject.shape);
    }
    // Pairs of the time when captions were classes, of a teacher of that time.
    let named = teacher.named_captions().len();
    let of_old = !meta.captions && named > 0 && meta.classes == named;
    if meta.classes != teacher.classes() && !of_old {
        return differ("number of classes", &meta.classes, &teacher.classes());
    }
    if meta.captions != teacher.words.is_some() && !of_old {
        return differ("captions:", &meta.captions, &teacher.words.is_some());
    }
    let start = Start::of(recipe, meta.shape, Split::Train)?;
    if meta.start != start.identity() {
        return differ("start", &meta.start, &start.identity());
    }
    if meta.path != recipe.path.name() {
        return differ("path", &meta.path, &recipe.path.name());
    }
    if meta.parameterization != recipe.parameterization.name() {
        return differ("parameterization", &meta.parameterization, &recipe.parameterization.name());
    }
    // Only pairs that start at the noise can be told from their ends.
    let starts = |row: &usize| store.index(*row).is_some_and(|index| meta.span(index)[0] == 0.0);
    let rows: Vec<usize> = (0..store.len()).filter(starts).take(512).collect();
    let batch = store.batch(&rows)?;
    let device = base::Device::flex();
    let size = [rows.len(), batch.shape.numel()];
    let tensor = |values: Vec<f32>| base::Tensor::<2>::from_data(base::TensorData::new(values, size), &device);
    let (x0, x1) = (tensor(batch.x0), tensor(batch.x1));
    if start.dataset().is_none() {
        // Where the backward flow ended is near noise only.
        let drawn: Vec<usize> = (0..rows.len()).filter(|&row| !is_inverted(meta.inverted, batch.index[row])).collect();
        if !drawn.is_empty() {
            let (x0, x1) = (flow::rows::select(x0.clone(), &drawn), flow::rows::select(x1.clone(), &drawn));
            methods::checks::check_orientation(&x0, &x1)?;
        }
    }
    // What a mixture holds, or a picture shows, may decide the end whatever the noise was.
    if recipe.task.separate().is_err() && recipe.task.picture().is_none() {
        methods::checks::check_coupled(&x0, &x1)?;
    }
    Ok(())
}

fn is_inverted(share: f64, index: u64) -> bool {
    methods::PairsConfig { inverted: share, ..Default::default() }.is_inverted(index)
}

/// Facts about the pair store at `path`; `None` where there is none.
///
/// # Errors
/// A store that is there but damaged.
pub fn describe(path: &Path) -> Result<Option<Value>, Error> {
    let is_shard = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("pairs-");
    let here = path.is_dir() && std::fs::read_dir(path).is_ok_and(|mut all| all.any(|e| e.is_ok_and(is_shard)));
    if !here {
        return Ok(None);
    }
    let store = PairStore::open(path)?;
    let facts = json!({
        "kind": "pairs",
        "folder": path.display().to_string(),
        "pairs": store.len(),
        "checksums": "ok",
        "fingerprint": store.fingerprint(),
        "made": store.meta(),
    });
    Ok(Some(facts))
}
