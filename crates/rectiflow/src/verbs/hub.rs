//! Released models by their names on the Hugging Face hub: fetched once, found again wherever a model's place is asked for.

use super::data::told;
use crate::{Context, Error, context::Event};
use data::fetch::hub::models::{self, Fetched};
use std::path::PathBuf;

/// Fetches the model `hf:owner/name`, or one of its files, into the hub's cache.
///
/// # Errors
/// A name that is none or that the hub does not know; no network; damaged files.
pub fn get(name: &str, context: &mut Context) -> Result<Fetched, Error> {
    let fetched = models::get(name, &mut told(context))?;
    context.tell(Event::End);
    if !fetched.left.is_empty() {
        let bytes: u64 = fetched.left.iter().map(|(_, size)| size).sum();
        let first: Vec<&str> = fetched.left.iter().take(5).map(|(file, _)| file.as_str()).collect();
        let more = if fetched.left.len() > first.len() { ", ..." } else { "" };
        context.note(format!(
            "not fetched: {} files of {:.1} MB that nothing here reads, or that come in another form too ({}{more})",
            fetched.left.len(),
            bytes as f64 / 1e6,
            first.join(", ")
        ));
    }
    Ok(fetched)
}

/// A path as it is, and where a name of the hub was fetched to.
///
/// # Errors
/// A name by which nothing was fetched, with the command that does.
pub fn place(path: PathBuf) -> Result<PathBuf, Error> {
    if models::is_name(&path) { Ok(models::find(&path.to_string_lossy())?) } else { Ok(path) }
}
