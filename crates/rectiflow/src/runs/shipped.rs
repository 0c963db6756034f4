//! The model that is part of the program, so that there is one before anything was trained: the demo's, distilled, as
//! `assets/README.md` says it was made.

use crate::Error;
use std::path::Path;
use train::checkpoint::Checkpoint;

/// What it is called where the place of a model is asked for.
pub const NAME: &str = "demo";

/// The file, at an address that a tensor may begin at.
static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!("../../assets/demo.safetensors"));

#[repr(align(16))]
struct Aligned<T: ?Sized>(T);

/// Whether `path` means it: what lies there under its name goes first.
pub fn is_named(path: &Path) -> bool {
    path == Path::new(NAME) && !path.exists()
}

/// Its checkpoint.
///
/// # Errors
/// None, unless the program itself was damaged.
pub(super) fn checkpoint() -> Result<Checkpoint, Error> {
    Ok(Checkpoint::inside(NAME, &FILE.0)?)
}
