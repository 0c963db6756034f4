//! A job that has ended, as its record on the disk has it and as its clients are told.

use crate::shelf::join;
use rectiflow::serving::Medium;
use serde_json::{Value, json};

/// What had not ended when the server did.
pub(super) const INTERRUPTED: &str = "interrupted";
/// What a record may say of its job.
const STATES: [&str; 6] = ["queued", "running", "done", "failed", "cancelled", INTERRUPTED];

/// A job that has ended and lies on the disk.
pub struct Past {
    /// What does not change, as its clients were told.
    pub facts: Value,
    /// How it ended, in a word.
    pub status: String,
    /// Why there is nothing.
    pub(super) error: Value,
    /// Its files.
    pub(super) files: Vec<Option<Lying>>,
}

/// A file on the disk.
pub(super) struct Lying {
    pub medium: Medium,
    pub bytes: u64,
    pub digest: String,
}

impl Past {
    /// The media of its files.
    pub fn media(&self) -> impl Iterator<Item = (usize, Medium)> {
        self.files.iter().enumerate().filter_map(|(at, file)| Some((at, file.as_ref()?.medium)))
    }

    /// How far it came, beside its facts.
    pub fn end(&self) -> Value {
        let (done, all) = (self.media().count(), self.files.len().max(1));
        let steps = &self.facts["steps"];
        json!({
            "status": self.status, "done": done, "step": 0, "of": steps, "progress": done as f64 / all as f64, "error": self.error,
        })
    }

    pub(super) fn value(&self) -> Value {
        let file = |file: &Option<Lying>| {
            let file = file.as_ref()?;
            Some(json!({ "type": file.medium.ending(), "bytes": file.bytes, "sha256": file.digest }))
        };
        let files: Vec<Option<Value>> = self.files.iter().map(file).collect();
        json!({ "status": self.status, "error": self.error, "files": files, "facts": self.facts })
    }

    /// What a record says; `None` for one that this program did not write.
    pub(super) fn read(record: &Value) -> Option<Self> {
        let medium = |ending: &str| [Medium::Png, Medium::Wav, Medium::Glb].into_iter().find(|m| m.ending() == ending);
        let file = |file: &Value| -> Option<Option<Lying>> {
            if file.is_null() {
                return Some(None);
            }
            let (bytes, digest) = (file["bytes"].as_u64()?, file["sha256"].as_str()?.to_string());
            Some(Some(Lying { medium: medium(file["type"].as_str()?)?, bytes, digest }))
        };
        let files = record["files"].as_array()?.iter().map(file).collect::<Option<_>>()?;
        let facts = record["facts"].as_object()?.clone().into();
        let status = record["status"].as_str().filter(|status| STATES.contains(status))?;
        Some(Self { facts, status: status.to_string(), error: record["error"].clone(), files })
    }
}

impl Past {
    /// As its clients are told.
    pub fn told(&self, results: Vec<Value>) -> Value {
        let mut value = self.facts.clone();
        join(&mut value, self.end());
        join(&mut value, json!({ "results": results }));
        value
    }
}
