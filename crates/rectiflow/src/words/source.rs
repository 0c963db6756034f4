//! A stream of samples whose captions are encoded as they come.

use super::Words;
use base::{Condition, Device};
use std::sync::Arc;
use train::{Batch, Source, TrainError};

/// A source with words.
pub struct Captioned {
    source: Box<dyn Source>,
    words: Arc<Words>,
    /// What its classes stand for, in pairs of the time when captions were classes; else empty.
    names: Vec<String>,
}

impl Captioned {
    /// `source`, its captions read by `words` where there are any.
    #[allow(clippy::new_ret_no_self)] // the source itself where nobody reads
    pub fn new(source: Box<dyn Source>, words: Option<&Arc<Words>>) -> Box<dyn Source> {
        Self::named(source, words, Vec::new())
    }

    /// `source`, its captions read by `words` where there are any. Where a batch has none, class `i` is the caption `names[i]`.
    pub fn named(source: Box<dyn Source>, words: Option<&Arc<Words>>, names: Vec<String>) -> Box<dyn Source> {
        match words {
            Some(words) => Box::new(Self { source, words: words.clone(), names }),
            None => source,
        }
    }

    /// A batch with its captions read.
    ///
    /// # Errors
    /// What the encoder may say.
    pub fn read(batch: Batch, words: Option<&Arc<Words>>) -> Result<Batch, crate::Error> {
        let Some(words) = words else { return Ok(batch) };
        let texts: Vec<Option<&str>> = match batch.captions.is_empty() {
            true => vec![None; batch.len()],
            false => batch.captions.iter().map(Option::as_deref).collect(),
        };
        let condition = words.condition(&texts, &Device::flex())?;
        // What stands beside the samples stays.
        Ok(Batch { condition: Condition { dense: batch.condition.dense.clone(), ..condition }, ..batch })
    }
}

impl Source for Captioned {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.source.seek(images)
    }

    fn next(&mut self) -> Result<Batch, TrainError> {
        let batch = in_words(self.source.next()?, &self.names);
        Self::read(batch, Some(&self.words)).map_err(|error| TrainError::Source(error.to_string()))
    }

    fn fingerprint(&self) -> String {
        self.source.fingerprint()
    }
}

/// A batch whose classes stand for captions, told in these.
fn in_words(batch: Batch, names: &[String]) -> Batch {
    if names.is_empty() || !batch.captions.is_empty() {
        return batch;
    }
    let name = |class: &i64| usize::try_from(*class).ok().and_then(|class| names.get(class)).cloned();
    let captions = batch.classes.iter().map(name).collect();
    Batch { captions, classes: Vec::new(), ..batch }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: classes left in, which no network of captions has; a place taken from the other end.
    #[test]
    fn classes_that_stand_for_captions_become_captions() {
        let names = ["a", "b"].map(String::from);
        let batch = || Batch { classes: vec![1, -1, 0], ..Batch::new(vec![0.0; 3], [1].into(), vec![7, 8, 9]) };
        let told = in_words(batch(), &names);
        assert_eq!(told.captions, [Some("b"), None, Some("a")].map(|text| text.map(str::to_string)));
        assert!(told.classes.is_empty() && told.indices == [7, 8, 9]);
        assert!(in_words(batch(), &[]).captions.is_empty());
        let own = Batch { captions: vec![None; 3], ..batch() };
        assert_eq!(in_words(own, &names).captions, [None, None, None]);
    }
}
