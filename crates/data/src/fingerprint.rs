//! Identity of a data set's content, kept in recipes and checkpoints so that a run cannot silently continue on other data.

use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::{DataError, Result};
use base::Shape;

/// Hash over shape, classes and samples, in order.
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    pub(crate) fn new(shape: impl Into<Shape>, class_names: &[String]) -> Self {
        let mut this = Self(Sha256::new());
        let mut sides = shape.into().lengths().to_vec();
        // Three at least: points in the plane were once images of one pixel, and are still the same points.
        sides.resize(sides.len().max(3), 1);
        for side in sides {
            this.0.update((side as u64).to_le_bytes());
        }
        this.0.update((class_names.len() as u64).to_le_bytes());
        for name in class_names {
            this.text(name.as_bytes());
        }
        this
    }

    /// One sample; `content` is its pixels, or what stands for them.
    pub(crate) fn add(&mut self, label: Option<u32>, caption: Option<&str>, content: &[u8]) {
        self.0.update(label.map_or(-1, i64::from).to_le_bytes());
        self.text(caption.unwrap_or_default().as_bytes());
        self.text(content);
    }

    // Length first, so that two neighbouring texts cannot exchange letters.
    fn text(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> String {
        hex(&self.0.finalize()[..8])
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// sha256 of a file, in hexadecimal.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(|e| DataError::io(path, "read", e))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(|e| DataError::io(path, "read", e))?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}
