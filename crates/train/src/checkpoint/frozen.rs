//! Weights beneath corrections of low rank: written once for a run, in `frozen.safetensors` beside its checkpoints.
//!
//! A checkpoint of corrections holds what learns and names the other file by its checksum. `slim` puts both in one. Files from
//! before corrections lived inside the layers hold everything (`base.<name>`, `factors.<layer>.a`) and are still read.

use super::{Blob, Checkpoint, CheckpointError, Folder, Meta, restore};
use crate::params::{self, Info};
use base::{Device, Tensor};
use burn::module::Module;

/// The file's name.
pub const FROZEN: &str = "frozen.safetensors";
/// A key of a checkpoint's further metadata: who has the weights beneath corrections in place of the run, a released model by the
/// fingerprint of its weights. Nothing is written of them, and whoever opens the checkpoint brings them along.
pub const BENEATH: &str = "beneath";
/// What the names of its tensors begin with.
pub const PREFIX: &str = "frozen.";

impl Folder {
    /// Writes the frozen parameters of `module`, if it has any and they are not there yet; their checksum.
    ///
    /// # Errors
    /// Those of writing a checkpoint.
    pub fn save_frozen<M: Module>(&self, module: &M, known: Option<&str>) -> Result<Option<String>, CheckpointError> {
        let infos = params::frozen_infos(module);
        if infos.is_empty() {
            return Ok(None);
        }
        let path = self.path().join(FROZEN);
        if let Some(known) = known
            && Checkpoint::open(&path).is_ok_and(|there| there.checksum() == known)
        {
            return Ok(Some(known.to_string()));
        }
        let named = |info: Info| Info { name: format!("{PREFIX}{}", info.name), ..info };
        let values = infos.into_iter().zip(params::frozen_values(module));
        let blobs: Vec<Blob> = values.map(|(i, v)| Blob { info: named(i), data: v.into_data() }).collect();
        // Nothing of the run in it: the same weights are the same bytes.
        self.write(&path, &Meta { data: "frozen weights of a run".into(), ..Meta::default() }, &blobs)?;
        Ok(Some(Checkpoint::open(&path)?.checksum()))
    }
}

/// The file beside `checkpoint` with the weights it corrects; `None` where it corrects none.
///
/// # Errors
/// A file that is not there, or another run's.
pub fn beneath(checkpoint: &Checkpoint) -> Result<Option<Checkpoint>, CheckpointError> {
    let Some(expected) = &checkpoint.meta().frozen else { return Ok(None) };
    let path = checkpoint.path().with_file_name(FROZEN);
    let lost = |reason: String| CheckpointError::Frozen { path: checkpoint.path().to_path_buf(), reason };
    let file = Checkpoint::open(&path).map_err(|error| lost(error.to_string()))?;
    if file.checksum() != *expected {
        let found = file.checksum();
        return Err(lost(format!("{} has the checksum {found}, not {expected}", path.display())));
    }
    Ok(Some(file))
}

/// The frozen parameters `infos` beneath `checkpoint`, from its own tensors (`slim`) or from the file beside it; `None` where somebody
/// else keeps them and the module has them.
pub(crate) fn restore_frozen(
    checkpoint: &Checkpoint,
    infos: &[Info],
    device: &Device,
) -> Result<Option<Vec<Tensor<1>>>, CheckpointError> {
    if infos.is_empty() || checkpoint.meta().extra.contains_key(BENEATH) {
        return Ok(None);
    }
    match beneath(checkpoint)? {
        Some(file) => restore(&file, PREFIX, infos, device),
        None => restore(checkpoint, PREFIX, infos, device),
    }
    .map(Some)
}

/// Whether the corrections in `checkpoint` are laid out as they were outside the layers.
pub(crate) fn is_older(checkpoint: &Checkpoint, prefix: &str) -> bool {
    checkpoint.infos(prefix).iter().any(|info| info.name == "factors.0.a")
}

/// The names of that layout: trained parameters are the factors of one layer after another.
pub(crate) fn older_names(trained: &[Info], frozen: &[Info]) -> Vec<Info> {
    let factor = |(k, info): (usize, &Info)| {
        let which = if k.is_multiple_of(2) { "a" } else { "b" };
        Info { name: format!("factors.{}.{which}", k / 2), ..info.clone() }
    };
    let base = |info: &Info| Info { name: format!("base.{}", info.name), ..info.clone() };
    trained.iter().enumerate().map(factor).chain(frozen.iter().map(base)).collect()
}
