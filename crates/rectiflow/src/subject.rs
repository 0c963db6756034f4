//! What a checkpoint says about the data its network was trained on.

use crate::{Error, Recipe, Start};
use base::Shape;
use std::{collections::BTreeMap, path::Path};

/// What a checkpoint says about the data its network was trained on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// "base", "reflow" or "distill".
    pub stage: String,
    /// The shape of a sample.
    pub shape: Shape,
    /// Names of the classes; empty for networks that are told none: unconditional ones and those that read text or pictures.
    pub classes: Vec<String>,
    /// What the data are called.
    pub data: String,
    /// [`crate::codec::Codec::identity`] of the codec whose latents it learned.
    pub codec: Option<String>,
    /// What tells the frozen encoder of its pictures (`task.picture.encoder`) from others: names, shapes, first and last bytes of its tensors, and
    /// the settings that change its answers; runs of before it was kept have none.
    pub encoder: Option<String>,
}

impl Subject {
    /// A first stage on `dataset`, its latents under the codec of that identity where there is one. Between two data sets the network has no
    /// classes: a sample keeps what it shows.
    pub fn base(recipe: &Recipe, dataset: &dyn data::Dataset, start: &Start, codec: Option<&str>) -> Self {
        let codec = codec.map(str::to_string);
        let (shape, classes, name) = (dataset.shape(), dataset.class_names().to_vec(), dataset.name().to_string());
        let told = recipe.task.text().is_some() || recipe.task.picture().is_some();
        let classes = if told { Vec::new() } else { classes };
        let stage = "base".to_string();
        match start.dataset() {
            None => Self { stage, shape, classes, data: name, codec, encoder: None },
            Some(from) => {
                let (classes, data) = (Vec::new(), format!("{} → {name}", from.name()));
                Self { stage, shape, classes, data, codec, encoder: None }
            }
        }
    }

    /// As checkpoint metadata.
    pub fn to_extra(&self) -> BTreeMap<String, String> {
        let lengths: Vec<String> = self.shape.lengths().iter().map(usize::to_string).collect();
        let classes = serde_json::to_string(&self.classes).expect("names are JSON strings");
        let mut extra = BTreeMap::from([
            ("stage".into(), self.stage.clone()),
            ("shape".into(), lengths.join(",")),
            ("classes".into(), classes),
            ("data_name".into(), self.data.clone()),
        ]);
        extra.extend(self.codec.clone().map(|identity| ("codec".into(), identity)));
        extra.extend(self.encoder.clone().map(|identity| ("picture.encoder".into(), identity)));
        extra
    }

    /// Refuses an encoder of pictures whose fingerprint is `now`, where `file` was trained under another.
    ///
    /// # Errors
    /// [`Error::Failure`] with both.
    pub(crate) fn check_encoder(&self, now: Option<&str>, file: &Path) -> Result<(), Error> {
        match (&self.encoder, now) {
            (Some(known), Some(now)) if known != now => Err(Error::Failure(format!(
                "{}: its pictures were read by an encoder of the fingerprint {known}, and that of `task.picture.encoder` is {now} now; give it \
                 back that encoder, or train anew",
                file.display()
            ))),
            _ => Ok(()),
        }
    }

    /// From checkpoint metadata.
    pub(crate) fn from_extra(extra: &BTreeMap<String, String>, file: &Path) -> Result<Self, Error> {
        let missing =
            |key: &str| Error::Failure(format!("checkpoint {}: `{key}` is missing or unreadable", file.display()));
        let text = |key: &str| extra.get(key).ok_or_else(|| missing(key));
        let shape: Result<Vec<usize>, _> = text("shape")?.split(',').map(str::parse).collect();
        let shape = shape.ok().and_then(|v| Shape::stored(&v).ok()).ok_or_else(|| missing("shape"))?;
        let classes = serde_json::from_str(text("classes")?).map_err(|_| missing("classes"))?;
        let [codec, encoder] = ["codec", "picture.encoder"].map(|key| extra.get(key).cloned());
        Ok(Self { stage: text("stage")?.clone(), shape, classes, data: text("data_name")?.clone(), codec, encoder })
    }
}
