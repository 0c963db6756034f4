//! From chosen samples to a data set: their one form, and whether they are decoded now or when they are asked for.

use crate::decode::{Form, Raw};
use crate::lazy::Lazy;
use crate::memory::InMemory;
use crate::read::{Ask, Entry, Pixels, Source};
use crate::{DataConfig, DataError, Dataset, Result, Split};
use rayon::prelude::*;
use std::sync::Arc;

/// `source` as a data set.
pub(crate) fn finish(name: &str, mut source: Source, config: &DataConfig) -> Result<Arc<dyn Dataset>> {
    let limits = Ask::of(config).limits;
    let files = source.entries.iter().any(|entry| !matches!(entry.pixels, Pixels::Row { .. }));
    let (form, shape) = form(name, &source, config)?;
    let bytes = source.entries.len().saturating_mul(shape.iter().product());
    let large = bytes > config.memory_mib.saturating_mul(1 << 20);
    if large {
        if files && config.skip_unreadable {
            let readable = source.entries.par_iter().map(|entry| entry.pixels.decode(limits).map(drop)).collect();
            let _: Vec<()> = keep_readable(name, config, &mut source, readable)?;
        }
        return Ok(Arc::new(Lazy::new(name, shape, form, source)));
    }
    // Every image is decoded once, and at once brought to its form, which is small.
    let decode =
        |entry: &Entry| -> Result<Result<Raw>> { Ok(form.apply(entry.pixels.decode(limits)?, &entry.pixels.path())) };
    let decoded: Vec<Result<Result<Raw>>> = source.entries.par_iter().map(decode).collect();
    let formed: Vec<Result<Raw>> = if files && config.skip_unreadable {
        keep_readable(name, config, &mut source, decoded)?
    } else {
        // Told in name order and with their number, whichever thread met the first.
        all_readable(&source.entries, decoded)?
    };
    let (mut samples, mut keys) = (Vec::with_capacity(formed.len()), Vec::with_capacity(formed.len()));
    for (entry, raw) in source.entries.into_iter().zip(formed) {
        keys.push(entry.pixels.key().map(String::from));
        samples.push(entry.into_sample(raw?, shape)?);
    }
    let set = InMemory::new(name, shape, source.class_names, samples)?.with_keys(keys);
    Ok(Arc::new(set.with_left_out(source.found.into_list())))
}

/// The form that the images of `source` are brought to, and the shape `[c h w]` this gives them.
fn form(name: &str, source: &Source, config: &DataConfig) -> Result<(Form, [usize; 3])> {
    let limits = Ask::of(config).limits;
    let step = source.entries.len().div_ceil(64).max(1);
    let probes: Vec<_> = source.entries.iter().step_by(step).collect();
    let probes: Vec<_> = probes.par_iter().filter_map(|entry| entry.pixels.header(limits).ok()).collect();
    let Some(first) = probes.first() else {
        let empty = nothing(name, source, config);
        if config.skip_unreadable && !source.entries.is_empty() {
            return Err(empty);
        }
        let decoded = source.entries.par_iter().map(|entry| entry.pixels.decode(limits)).collect();
        return Err(all_readable(&source.entries, decoded).err().unwrap_or(empty));
    };
    // Grey only if all of these are grey: a folder whose first picture is grey must not lose its colours.
    let colours = probes.iter().map(|header| header.channels).max().unwrap_or(1);
    let form = Form { channels: config.channels.unwrap_or(colours), size: config.size, fit: config.fit, limits };
    let shape = [form.channels, form.size.unwrap_or(first.height), form.size.unwrap_or(first.width)];
    Ok((form, shape))
}

/// Why a part has no sample, and what to do where unreadable files have been passed over already.
fn nothing(name: &str, source: &Source, config: &DataConfig) -> DataError {
    if config.split == Split::Test && !source.own_split && config.skip_unreadable {
        let what = format!("{name}: none of the images held out can be read{}", source.found.told());
        let remedy = "remove the files that cannot be read, so that others are held out, or set `data.holdout = 0` to train \
                      without validation";
        return DataError::config("holdout", what, remedy);
    }
    let what = format!("{name} has no samples{}", source.found.told());
    let remedy = match config.skip_unreadable {
        true => "choose another set, part or class; no file of this one could be read",
        false => "choose another set, part or class",
    };
    DataError::config("path", what, remedy)
}

/// What was decoded of the entries that could be; the others leave `source` and are counted as left out.
fn keep_readable<T>(name: &str, config: &DataConfig, source: &mut Source, decoded: Vec<Result<T>>) -> Result<Vec<T>> {
    let mut kept = Vec::with_capacity(decoded.len());
    let mut entries = Vec::with_capacity(decoded.len());
    for (entry, decoded) in std::mem::take(&mut source.entries).into_iter().zip(decoded) {
        match decoded {
            Ok(decoded) => {
                kept.push(decoded);
                entries.push(entry);
            }
            Err(error) => {
                let path = entry.pixels.path();
                let why = match error {
                    DataError::Malformed { what, .. } => what,
                    other => other.to_string(),
                };
                source.found.note("images that cannot be read", path.display().to_string(), &why);
            }
        }
    }
    if entries.is_empty() {
        return Err(nothing(name, source, config));
    }
    source.entries = entries;
    Ok(kept)
}

/// What was decoded of all `entries`, or the error for those that could not be.
fn all_readable<T>(entries: &[Entry], decoded: Vec<Result<T>>) -> Result<Vec<T>> {
    let count = decoded.iter().filter(|decoded| decoded.is_err()).count();
    let first = decoded.iter().position(|decoded| decoded.is_err());
    decoded.into_iter().collect::<Result<Vec<T>>>().map_err(|error| {
        let Some(first) = first.and_then(|first| entries.get(first)) else { return error };
        match error {
            DataError::Malformed { what, .. } if !matches!(first.pixels, Pixels::Row { .. }) => {
                DataError::Unreadable { first: first.pixels.path(), reason: what, count, total: entries.len() }
            }
            other => other,
        }
    })
}
