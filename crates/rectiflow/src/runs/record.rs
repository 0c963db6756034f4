//! What a run is told and keeps of its data: what it trains on, what is held out, and what was found and passed over.

use base::Shape;
use data::{Dataset, LeftOut, mixture::Library};
use serde::Serialize;

/// What a run is told and keeps of its data.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct DataRecord {
    /// What a sample is, in words.
    #[serde(skip)]
    pub kind: &'static str,
    /// Name or path.
    pub name: String,
    /// [`data::Dataset::fingerprint`].
    pub fingerprint: String,
    /// Of a sample; `None` where none was opened.
    pub shape: Option<Shape>,
    /// Training samples.
    pub samples: usize,
    /// Samples that are kept apart to judge with, where the run looks at them.
    pub held_out: usize,
    /// Classes and the training samples of each.
    pub classes: Vec<(String, usize)>,
    /// Training samples without a class.
    pub unlabelled: usize,
    /// What was found and not used.
    pub left_out: Vec<LeftOut>,
    /// Whether validation was asked for and there is nothing to validate with.
    #[serde(skip)]
    pub unwatched: bool,
}

/// Classes that a line names before it counts the rest.
const NAMED: usize = 5;

/// Recordings that are not mixed, each with its reason.
pub(crate) fn unheard(left_out: &[String]) -> Vec<LeftOut> {
    let first = left_out.iter().take(NAMED).cloned().collect();
    let why = "only recordings that sound are mixed: WAV, FLAC, Ogg Vorbis and MP3".to_string();
    let what = "files of other kinds, silent or unreadable".to_string();
    let left = LeftOut { what, count: left_out.len(), first, why };
    if left_out.is_empty() { Vec::new() } else { vec![left] }
}

impl DataRecord {
    /// Of the training part.
    pub fn of(dataset: &dyn Dataset) -> Self {
        let mut counts = vec![0; dataset.classes()];
        let mut unlabelled = 0;
        for index in 0..dataset.len() {
            match dataset.label(index).and_then(|label| counts.get_mut(label as usize)) {
                Some(count) => *count += 1,
                None => unlabelled += 1,
            }
        }
        Self {
            kind: "images",
            name: dataset.name().into(),
            fingerprint: dataset.fingerprint().into(),
            shape: Some(dataset.shape()),
            samples: dataset.len(),
            held_out: 0,
            classes: dataset.class_names().iter().cloned().zip(counts).collect(),
            unlabelled,
            left_out: dataset.left_out().to_vec(),
            unwatched: false,
        }
    }

    /// Of the recordings that mixtures are made of, their pictures of `shape`.
    pub fn of_sounds(name: &str, library: &Library, shape: Shape, left_out: &[String]) -> Self {
        let count = |label: usize| library.clips().iter().filter(|clip| clip.label == label).count();
        Self {
            kind: "recordings",
            name: name.into(),
            shape: Some(shape),
            samples: library.clips().len(),
            classes: library.labels().iter().cloned().enumerate().map(|(i, label)| (label, count(i))).collect(),
            left_out: unheard(left_out),
            ..Self::default()
        }
    }

    /// Adds what another part or set leaves out, as far as it is not told yet.
    pub fn not_used(&mut self, more: &[LeftOut]) {
        let new: Vec<LeftOut> = more.iter().filter(|kind| !self.left_out.contains(kind)).cloned().collect();
        self.left_out.extend(new);
    }

    /// For the start of a run: what it trains on and what it passes over.
    pub fn lines(&self) -> Vec<String> {
        let Self { kind, name, samples, held_out, classes, unlabelled, .. } = self;
        let held = if *held_out > 0 { format!(", {held_out} held out to validate") } else { String::new() };
        let all = if classes.is_empty() { String::new() } else { format!(" in {} classes", classes.len()) };
        let none = if classes.is_empty() || *unlabelled == 0 {
            String::new()
        } else {
            format!(", {unlabelled} without class")
        };
        let mut lines = vec![format!("data: {samples} {kind} of {name}{all}{none}{held}")];
        let empty: Vec<&str> = classes.iter().filter(|(_, count)| *count == 0).map(|(name, _)| &**name).collect();
        if !empty.is_empty() {
            let more = if empty.len() > NAMED { ", ..." } else { "" };
            let names = empty.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
            lines.push(format!("warning: {} classes have no sample to train on ({names}{more})", empty.len()));
        }
        if self.unwatched {
            lines.push("nothing is held out, so there is no validation loss".into());
        }
        lines.extend(self.left_out.iter().map(|kind| format!("not used: {kind}")));
        lines
    }

    /// As the run keeps it.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("names and numbers are always JSON") + "\n"
    }
}
