//! Facts about data sets, for a reader.

use crate::Error;
use data::{DataConfig, Dataset};
use serde_json::{Value, json};
use std::sync::Arc;

/// Facts about a data set.
///
/// # Errors
/// What opening it may say.
pub fn dataset(config: &DataConfig) -> Result<Value, Error> {
    surveyed(config).map(|(facts, _)| facts)
}

/// Side to which images of several sizes are brought to be looked at, where none is asked for.
const LOOK: usize = 64;

/// Facts about a data set, held-out samples counted with the others, and its training part. Images of several sizes are counted by
/// size and brought to one.
///
/// # Errors
/// What opening it may say.
pub(crate) fn surveyed(config: &DataConfig) -> Result<(Value, Arc<dyn Dataset>), Error> {
    let sizes = match (&config.path, config.size) {
        (Some(_), None) => data::sizes(&DataConfig { holdout: 0.0, ..config.clone() })?,
        _ => Vec::new(),
    };
    let mixed = sizes.len() > 1;
    let config = DataConfig { size: if mixed { Some(LOOK) } else { config.size }, ..config.clone() };
    let set = data::open(&config)?;
    let mut summary = data::describe(&*set)?;
    let mut test_samples = None;
    let mut held_out = 0;
    match data::open_test(&config)? {
        Some(test) if test.is_own => test_samples = Some(test.set.len()),
        Some(test) => {
            let apart = data::describe(&*test.set)?;
            held_out = apart.samples;
            summary.samples += apart.samples;
            summary.unlabelled += apart.unlabelled;
            summary.captioned += apart.captioned;
            summary.classes.iter_mut().zip(&apart.classes).for_each(|(all, apart)| all.1 += apart.1);
            let new = apart.left_out.into_iter().filter(|kind| !summary.left_out.contains(kind)).collect::<Vec<_>>();
            summary.left_out.extend(new);
        }
        None => {}
    }
    let mut facts = serde_json::to_value(summary).expect("figures and names are always JSON");
    facts["kind"] = "data".into();
    match test_samples {
        Some(count) => facts["test_samples"] = count.into(),
        None => facts["held_out"] = held_out.into(),
    }
    if mixed {
        let one = |([h, w], count): &([usize; 2], usize)| json!({ "size": format!("{w}x{h}"), "count": count });
        facts["sizes"] = sizes.iter().map(one).collect::<Vec<_>>().into();
        let hint = format!("{LOOK}x{LOOK}, as these images have {} sizes; set data.size, or --size here", sizes.len());
        facts["shown_at"] = hint.into();
    }
    Ok((facts, set))
}
