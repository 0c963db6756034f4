//! A released model written in another layout or with other numbers: diffusers' folder to a single file under its authors' names, and
//! back.
//!
//! All is planned before a byte is written: names that have no place in the other layout, parts that are missing, numbers that a half
//! cannot hold. Without other numbers tensors are copied byte by byte. What bears the asked name is whole: files and folders are written
//! beside their place and renamed.

mod plan;
mod tensors;
mod trained;
mod write;

pub use plan::Layout;

use super::Release;
use crate::{Context, Error, output};
use base::TensorData;
use burn::tensor::DType;
use plan::Plan;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The type of numbers in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Numbers {
    /// 32 bits.
    F32,
    /// 16 bits with the range of 32.
    Bf16,
    /// 16 bits up to 65 504.
    F16,
}

impl Numbers {
    /// By name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "f32" => Some(Self::F32),
            "bf16" => Some(Self::Bf16),
            "f16" => Some(Self::F16),
            _ => None,
        }
    }

    /// In memory.
    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }

    /// `data` in these numbers.
    ///
    /// # Errors
    /// What is wrong with it: a number that is too large for them.
    pub(crate) fn turn(self, data: TensorData) -> Result<TensorData, String> {
        if self == Self::F16 && data.dtype() != DType::F16 {
            // Half of the step behind the largest half rounds to infinity.
            if let Some(value) = data.iter::<f32>().find(|value| value.is_finite() && value.abs() >= 65_520.0) {
                return Err(format!("holds {value}, which is too large for f16; use --dtype bf16"));
            }
        }
        Ok(data.convert_dtype(self.dtype()))
    }
}

/// What to convert.
#[derive(Clone, Debug)]
pub struct ConvertRequest {
    /// A folder or a single file; or a run that was trained from a released folder, which lends the other parts.
    pub from: PathBuf,
    /// For a single file: the folder that has what it lacks.
    pub parts: Option<PathBuf>,
    /// The folder or file to write, which must not be there yet.
    pub to: PathBuf,
    /// How.
    pub layout: Layout,
    /// Numbers to write; as they are stored where absent.
    pub numbers: Option<Numbers>,
    /// Whether a single file holds the network alone, bare.
    pub network_only: bool,
}

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct Converted {
    /// The folder or file.
    pub output: PathBuf,
    /// Its parts.
    pub parts: Vec<String>,
    /// Tensors in them.
    pub tensors: usize,
    /// Bytes of the tensors.
    pub bytes: u64,
}

impl std::fmt::Display for Converted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { output, parts, tensors, bytes } = self;
        let mb = *bytes as f64 / 1e6;
        writeln!(f, "{tensors} tensors of {}, {mb:.1} MB: {}", parts.join(", "), output.display())
    }
}

/// Converts.
///
/// # Errors
/// A model that cannot be read or has no place in the layout, an output that is there already, all before anything is written;
/// numbers that a half cannot hold; a place that cannot be written.
pub fn convert(request: &ConvertRequest, context: &mut Context) -> Result<Converted, Error> {
    let to = &request.to;
    if to.symlink_metadata().is_ok() {
        return Err(Error::Usage(format!("{}: it is there already; choose another place", to.display())));
    }
    let (release, trained) = match trained::of(&request.from, context)? {
        Some((release, weights)) => (release, Some(weights)),
        None => (Release::open(&request.from, request.parts.as_deref())?, None),
    };
    match request.layout {
        Layout::Single => output::file(to, &["safetensors"])?,
        Layout::Diffusers => output::folder(to)?,
    }
    if request.network_only && request.layout != Layout::Single {
        return Err(Error::Usage("--network-only: a folder in diffusers' layout has all parts".into()));
    }
    let plan = Plan::of(&release, trained, request, &mut |line| context.note(line))?;
    let place = Place::beside(to)?;
    let bytes = plan.write(&place.part, request.numbers, context)?;
    place.rename(to)?;
    Ok(Converted { output: to.clone(), parts: plan.names(), tensors: plan.tensors(), bytes })
}

/// A name beside the output's, removed unless it was renamed.
struct Place {
    folder: tempfile::TempDir,
    /// What is written.
    part: PathBuf,
}

impl Place {
    fn beside(to: &Path) -> Result<Self, Error> {
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let failed = |error: std::io::Error| Error::Failure(format!("cannot write into {}: {error}", parent.display()));
        std::fs::create_dir_all(parent).map_err(failed)?;
        let folder = tempfile::Builder::new().prefix(".convert-").tempdir_in(parent).map_err(failed)?;
        let part = folder.path().join("part");
        Ok(Self { folder, part })
    }

    fn rename(self, to: &Path) -> Result<(), Error> {
        let failed = |error: std::io::Error| Error::Failure(format!("cannot write {}: {error}", to.display()));
        if to.symlink_metadata().is_ok() {
            return Err(Error::Failure(format!(
                "{}: it came into being meanwhile; choose another place",
                to.display()
            )));
        }
        std::fs::rename(&self.part, to).map_err(failed)?;
        drop(self.folder);
        Ok(())
    }
}
