//! What is done with a file: read all the way. Each says whether it could; it must not do worse.

use rectiflow::data::{self, DataConfig, pairs::PairStore};
use rectiflow::nets::weights::{Stored, TensorSource};
use rectiflow::released::{self, Generator, ReleasedRequest};
use rectiflow::train::checkpoint::Checkpoint;
use rectiflow::{Context, Precision, media};
use std::fs;
use std::path::Path;

/// Megapixels, as by habit.
pub const MEGAPIXELS: u64 = 100;

/// Opens the folder of `path` as a data set, and every sample in it.
pub fn set(path: &Path) -> bool {
    let config = DataConfig { holdout: 0.0, ..DataConfig::at(path.parent().unwrap_or(path)) };
    opened(&config)
}

fn opened(config: &DataConfig) -> bool {
    let _ = data::sizes(config);
    let Ok(set) = data::open(config) else { return false };
    let _ = data::describe(&*set);
    (0..set.len()).all(|i| set.get(i).is_ok())
}

/// Every tensor of a file of weights.
pub fn weights(path: &Path) -> bool {
    let Ok(stored) = Stored::open(path) else { return false };
    stored.names().iter().all(|name| stored.data(name).is_ok() | stored.read(name).is_ok())
}

pub fn mesh(path: &Path) -> bool {
    media::shape::read::read(path).is_ok()
}

pub fn sound(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| media::audio::from_bytes(bytes, path).is_ok())
}

pub fn checkpoint(path: &Path) -> bool {
    let Ok(checkpoint) = Checkpoint::open(path) else { return false };
    let _ = checkpoint.checksum();
    checkpoint.infos("").iter().all(|info| checkpoint.stored(&info.name).is_ok())
}

pub fn pairs(path: &Path) -> bool {
    let Ok(store) = PairStore::open(path.parent().unwrap_or(path)) else { return false };
    (0..store.len()).all(|row| store.batch(&[row]).is_ok())
}

/// Draws with the released model of which `path` is a file.
pub fn drawn(path: &Path) -> bool {
    let Some(model) = path.ancestors().find(|folder| folder.join("vae").is_dir()) else { return false };
    let request = ReleasedRequest {
        folder: model.to_path_buf(),
        parts: None,
        prompts: vec!["a red heart".into()],
        negative: None,
        steps: Some(1),
        guidance: None,
        true_guidance: None,
        skip_layers: None,
        schedule: None,
        solver: None,
        precision: Precision::default(),
        height: Some(32),
        width: Some(32),
        seed: 0,
        generator: Generator::default(),
        count: None,
        noise: None,
        init_image: None,
        frames: None,
        rate: None,
        mask: None,
        tile: None,
        length: None,
        clip_skip: None,
        double_shift: false,
        loras: Vec::new(),
        output: model.with_file_name("drawn.npy"),
    };
    released::sample(&request, &mut Context::silent()).is_ok()
}
