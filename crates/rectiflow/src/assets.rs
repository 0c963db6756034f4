//! Weights that `rectiflow data get` brought, by the name of their set.

use crate::Error;
use base::Device;
use data::fetch::{self, registry};
use metrics::{Lpips, LpipsConfig};
use std::path::{Path, PathBuf};

/// The perceptual distance on the weights that `rectiflow data get` brought.
///
/// # Errors
/// Weights that are not here; settings out of range.
pub(crate) fn lpips(config: &LpipsConfig, device: &Device) -> Result<Lpips, Error> {
    let folder = fetched("lpips-vgg")?.parent().map(Path::to_path_buf).unwrap_or_default();
    Ok(Lpips::open(&folder.join(config.net.file()), config, device)?)
}

/// The weights that `rectiflow data get` brought.
pub(crate) fn fetched(set: &str) -> Result<PathBuf, Error> {
    let missing =
        || Error::Failure(format!("the weights `{set}` are not here; fetch them with `rectiflow data get {set}`"));
    let cache = fetch::cache_dir()?;
    let known = registry::find(set).filter(|found| fetch::is_fetched(found, &cache)).ok_or_else(missing)?;
    let first = known.contents.first().ok_or_else(missing)?;
    Ok(registry::folder(set, &cache)?.join(first.file))
}
