//! What a recipe says about its data: which set, which part of it, and how its images are brought to one shape.

use crate::{DataError, Result, fetch::registry::FASHION_MNIST};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The embedded data set.
pub const EMBEDDED: &str = "fashion-mnist-mini";

/// Which part of a data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// To train on.
    #[default]
    Train,
    /// To judge with: the set's own test part, or what [`DataConfig::holdout`] keeps apart.
    Test,
}

/// What told the samples of a set apart when captions were classes with long names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// The set's classes.
    Class,
    /// Their captions.
    Caption,
}

/// How an image of another form is brought to a square.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// The largest square in the middle, resized.
    #[default]
    Crop,
    /// The whole image, squeezed.
    Stretch,
}

/// The `[data]` table of a recipe. The default is the embedded [`EMBEDDED`] set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// A named set (`rectiflow data list`); not together with `path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A file or folder: images in class folders or flat, idx, CIFAR batches, npy, npz, webdataset tars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Training or test part.
    pub split: Split,
    /// Side of the square images, in pixels; `None` keeps their size, which must then be the same for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// 1 (grey) or 3 (RGB); `None` is grey where all images are. Transparent parts become white.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
    /// How images that are not square become so when `size` is given.
    pub fit: Fit,
    /// Whether training mirrors images left to right at random.
    pub flip: bool,
    /// Only the first so many samples (after `classes`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Of recipes that earlier versions wrote. Captions travel with their samples now, and `task.text` reads them.
    #[serde(skip_serializing)]
    pub label: Option<Label>,
    /// Only these classes, by name or number; they are numbered anew in this order. Empty: all.
    pub classes: Vec<String>,
    /// Fraction in [0, 0.5] kept apart as the test part when the set has none of its own.
    pub holdout: f64,
    /// Whether images that cannot be read, samples without their image and images beside class folders are passed over (and
    /// counted) instead of refused.
    pub skip_unreadable: bool,
    /// Images of more million pixels are refused: small files can unpack to more than a machine has.
    pub max_megapixels: usize,
    /// Files that take more MiB, packed or unpacked, are refused.
    pub max_file_mib: usize,
    /// Sets that take at most so many MiB as bytes are decoded once and kept in memory.
    pub memory_mib: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            name: None,
            path: None,
            split: Split::Train,
            size: None,
            channels: None,
            fit: Fit::Crop,
            flip: false,
            limit: None,
            label: None,
            classes: Vec::new(),
            holdout: 0.05,
            skip_unreadable: false,
            max_megapixels: 200,
            max_file_mib: 4096,
            memory_mib: 1024,
        }
    }
}

impl DataConfig {
    /// A named set.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// A file or folder.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), ..Self::default() }
    }

    /// A named set, or a file or folder: a word with a separator in it, or one that lies here.
    pub fn of(name_or_path: &str) -> Self {
        let is_path = name_or_path.contains(['/', '\\']) || Path::new(name_or_path).exists();
        if is_path { Self::at(name_or_path) } else { Self::named(name_or_path) }
    }

    /// The papers of the set that it names, where they are known here.
    pub fn papers(&self) -> Vec<base::Paper> {
        let fashion = self.path.is_none() && self.name.as_deref().is_none_or(|name| name.starts_with("fashion"));
        if fashion { vec![FASHION_MNIST] } else { Vec::new() }
    }

    /// The same set's other part.
    pub fn with_split(&self, split: Split) -> Self {
        Self { split, ..self.clone() }
    }

    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// The first key that does not, with its range.
    pub fn check(&self) -> Result<()> {
        if let (Some(name), Some(path)) = (&self.name, &self.path) {
            let what = format!("`name = \"{name}\"` and `path = \"{}\"` are both given", path.display());
            return Err(DataError::config("name", what, "give one of them"));
        }
        if let Some(size) = self.size.filter(|size| !(1..=8192).contains(size)) {
            return Err(DataError::config("size", format!("is {size}"), "give 1 to 8192 pixels"));
        }
        if let Some(channels) = self.channels.filter(|&channels| channels != 1 && channels != 3) {
            return Err(DataError::config("channels", format!("is {channels}"), "give 1 (grey) or 3 (RGB)"));
        }
        for (key, value) in [("max_megapixels", self.max_megapixels), ("max_file_mib", self.max_file_mib)] {
            if value == 0 {
                return Err(DataError::config(key, "is 0", "give at least 1"));
            }
        }
        if self.limit == Some(0) {
            return Err(DataError::config("limit", "is 0", "give at least 1, or leave it out"));
        }
        if !(0.0..=0.5).contains(&self.holdout) {
            return Err(DataError::config("holdout", format!("is {}", self.holdout), "give a fraction from 0 to 0.5"));
        }
        Ok(())
    }
}
