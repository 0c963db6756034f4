//! Data sets of the hub: every image, array, tar, parquet and caption file of the repository. The folder here holds links to the hub's cache.

use super::{
    super::{Origin, Progress},
    HUB, api, failed, is_inside, link, network,
};
use crate::write::create_dir;
use crate::{DataError, Result};
use std::path::Path;

const ENDINGS: [&str; 15] = [
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".bmp",
    ".gif",
    ".txt",
    ".tar",
    ".parquet",
    ".npy",
    ".npz",
    "metadata.jsonl",
    "ubyte",
    "ubyte.gz",
    ".bin",
];

/// Fetches the repository of `name` into `dir`.
pub(in crate::fetch) fn get(
    name: &str,
    dir: &Path,
    origin: &Origin,
    progress: &mut dyn FnMut(&Progress),
) -> Result<()> {
    if *origin != Origin::Network {
        return Err(failed(name, "a local copy was given for a name of the hub", "open the copy as `path` instead"));
    }
    let network = |e: hf_hub::api::sync::ApiError| network(name, &e);
    let repository = api(name)?.dataset(name.trim_start_matches(HUB).to_string());
    let names = repository.info().map_err(network)?.siblings.into_iter().map(|sibling| sibling.rfilename);
    let wanted: Vec<String> = names.filter(|file| is_wanted(file)).collect();
    if wanted.is_empty() {
        let what = "no images, arrays, tars or parquet files among its files";
        return Err(failed(name, what, "convert it to a folder of images"));
    }
    for (done, file) in wanted.iter().enumerate() {
        progress(&Progress { stage: "downloading", what: file.clone(), done: done as u64, total: wanted.len() as u64 });
        let cached = repository.get(file).map_err(network)?;
        let path = dir.join(file);
        create_dir(path.parent().unwrap_or(dir))?;
        if !path.exists() {
            link(&cached, &path).map_err(|e| DataError::io(&path, "write", e))?;
        }
    }
    Ok(())
}

/// Whether a file belongs to the data, and stays inside the folder it will be put in.
fn is_wanted(file: &str) -> bool {
    let lower = file.to_lowercase();
    is_inside(file) && !lower.starts_with('.') && ENDINGS.iter().any(|ending| lower.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::is_wanted;

    #[test]
    fn names_from_the_network_cannot_leave_the_folder() {
        assert!(is_wanted("train/a.png") && is_wanted("data/0001.tar") && is_wanted("metadata.jsonl"));
        assert!(!is_wanted("../a.png") && !is_wanted("/etc/a.png") && !is_wanted("README.md"));
    }
}
