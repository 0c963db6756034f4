//! Checkpoints: one safetensors file per moment of a run, complete, checksummed and never half written.
//!
//! `checkpoints/000000012800.safetensors` (named by samples seen) holds the tensors `raw.<name>`, `ema.<decay>.<name>`,
//! `adam.m.<name>` and `adam.v.<name>`; the metadata hold the resolved recipe, the cursor and what the network was
//! trained as. A CRC-32C in the metadata covers every byte of the file, the header included.
//!
//! | file | what |
//! |---|---|
//! | `format` | bytes of a file: encoding, decoding, checksum |
//! | `folder` | files of a run: atomic writing, `keep_last`, the newest readable one |
//! | `weights` | from a file to a network, refusing other networks by name |
//! | `frozen` | weights beneath corrections of low rank, once for a run |

mod folder;
mod format;
mod frozen;
mod weights;

pub use folder::{CheckpointConfig, Folder, Found};
pub use format::{Blob, Checkpoint, FORMAT, Meta, encode};
pub use frozen::{BENEATH, FROZEN, PREFIX as FROZEN_PREFIX, beneath};
pub(crate) use frozen::{is_older, restore_frozen};
pub(crate) use weights::ema_prefix;
pub use weights::{Which, load_weights, restore};

use std::path::PathBuf;

/// Why a checkpoint cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The system refused.
    #[error("cannot {action} checkpoint {}: {error}{}", path.display(), remedy(error))]
    Io {
        /// "read", "write" ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system answered.
        error: std::io::Error,
    },
    /// The file ends too early.
    #[error("checkpoint {} is truncated: {found} bytes of {expected}; use an earlier checkpoint", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes it should have (a lower bound when the header itself is cut).
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// Not a safetensors file, or not one of ours.
    #[error("{} is not a Rectiflow checkpoint: {reason}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        reason: String,
    },
    /// The checksum does not agree with the content.
    #[error(
        "checkpoint {} is damaged: its checksum is {found:08x} but it says {expected:08x}; use an earlier checkpoint",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Checksum the file states.
        expected: u32,
        /// Checksum of its bytes.
        found: u32,
    },
    /// The tensors are those of another network.
    #[error("checkpoint {} belongs to another network: {differences}; it was trained with this recipe:\n{recipe}", path.display())]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// Missing, additional and misshapen tensors by name.
        differences: String,
        /// The recipe stored in the checkpoint.
        recipe: String,
    },
    /// The network was trained as something else than what is asked for.
    #[error(
        "checkpoint {} was trained with {what} {found}, but {expected} is asked for; \
         use the same {what}, or start a new run from its weights",
        path.display()
    )]
    OtherTraining {
        /// The file.
        path: PathBuf,
        /// "path", "parameterization", "data", "seed" ...
        what: &'static str,
        /// What the checkpoint says.
        found: String,
        /// What the run says.
        expected: String,
    },
    /// The weights beneath corrections are not there.
    #[error(
        "checkpoint {} holds corrections of the weights in {FROZEN} beside it: {reason}; keep the two files in one folder, or \
         make one of both with `rectiflow slim`",
        path.display()
    )]
    Frozen {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Corrections from before they lived inside the layers.
    #[error(
        "checkpoint {} was written when corrections of low rank stood beside the network: it can be sampled and taught from, but \
         not continued; start a new run with the same recipe",
        path.display()
    )]
    Older {
        /// The checkpoint.
        path: PathBuf,
    },
    /// An average or state that the checkpoint does not hold is asked for.
    #[error("checkpoint {} has no {what}; it has {available}", path.display())]
    Absent {
        /// The file.
        path: PathBuf,
        /// What is asked for.
        what: String,
        /// What there is.
        available: String,
    },
}

fn remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "; earlier checkpoints are intact: free some space and continue with --resume latest"
        }
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            "; choose a folder you may write to"
        }
        std::io::ErrorKind::NotFound => "; check the path",
        _ => "",
    }
}
