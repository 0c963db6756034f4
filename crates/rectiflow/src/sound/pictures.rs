//! Mel pictures as a data set of fixed length: sounds and the mixtures that they are heard in, in turn. What a codec of sound learns from.

use super::{Analysis, Part, source};
use crate::{Error, recipe::Separate, runs::unheard};
use base::{Key, Purpose, Shape};
use data::{
    Dataset, LeftOut, Sample, Values,
    mixture::{Library, MixtureConfig, mix},
};

/// Pictures `2 i` and `2 i + 1`: what mixture `i` asks for, and the mixture.
pub struct MelPictures {
    library: Library,
    config: MixtureConfig,
    analysis: Analysis,
    key: Key,
    count: usize,
    name: String,
    fingerprint: String,
    left_out: Vec<LeftOut>,
}

impl MelPictures {
    /// `count` pictures of the sounds of `library`, which is `part` of the recordings at `what`; `left_out` of those are not used.
    ///
    /// # Errors
    /// More sounds to a mixture than there are labels.
    pub fn new(
        library: Library,
        config: &Separate,
        (what, part): (&str, Part),
        count: usize,
        left_out: &[String],
    ) -> Result<Self, Error> {
        // Other mixtures than those of any separation, trained on or measured.
        let key = Key::new(0, Purpose::Augment).fold(u64::from(part == Part::Test));
        let mixture = config.mixture.clone();
        mix(&library, &mixture, key, 0)?;
        let analysis = Analysis::new(config)?;
        let identity = format!("{}, {count} of {config:?}", source::fingerprint(&library, &mixture, key));
        let digest =
            identity.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let (name, fingerprint) = (format!("mel pictures of {what}"), format!("{digest:016x}"));
        Ok(Self { library, config: mixture, analysis, key, count, name, fingerprint, left_out: unheard(left_out) })
    }
}

impl Dataset for MelPictures {
    fn len(&self) -> usize {
        self.count
    }

    fn get(&self, index: usize) -> data::Result<Sample> {
        let mixture = mix(&self.library, &self.config, self.key, index as u64 / 2)?;
        let wave = if index.is_multiple_of(2) { mixture.target } else { mixture.mixture };
        let row = self.analysis.hear(&wave).map_err(|error| data::DataError::Malformed {
            path: self.name.clone().into(),
            what: error.to_string(),
            remedy: "make mixtures longer than a column".into(),
        })?;
        Ok(Sample { values: Values::Numbers(row), shape: self.analysis.shape(), label: None, caption: None })
    }

    fn label(&self, _: usize) -> Option<u32> {
        None
    }

    fn class_names(&self) -> &[String] {
        &[]
    }

    fn shape(&self) -> Shape {
        self.analysis.shape()
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn in_memory(&self) -> bool {
        false
    }

    fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::mixture::Clip;

    /// Mutants: sound and mixture exchanged; the same pictures in both parts; one mixture for all pictures.
    #[test]
    fn sounds_and_mixtures_come_in_turn() {
        let clip = |label: usize| Clip {
            samples: (0..6000).map(|i| 0.5 * (i as f32 * 0.03 * (label + 1) as f32).sin()).collect(),
            label,
            name: label.to_string(),
        };
        let labels = ["low", "middle", "high"].map(str::to_owned).to_vec();
        let library = Library::new("tones".as_ref(), labels, (0..3).map(clip).collect()).unwrap();
        let config = Separate::default();
        let of = |part, count| MelPictures::new(library.clone(), &config, ("tones", part), count, &[]).unwrap();
        let (set, test) = (of(Part::Train, 10), of(Part::Test, 10));
        let row = |set: &MelPictures, i: usize| match set.get(i).unwrap().values {
            Values::Numbers(row) => row,
            Values::Pixels(_) => Vec::new(),
        };
        let analysis = Analysis::new(&config).unwrap();
        for i in 0..3 {
            let mixture = mix(&library, &config.mixture, set.key, i).unwrap();
            assert_eq!(row(&set, 2 * i as usize), analysis.hear(&mixture.target).unwrap());
            assert_eq!(row(&set, 2 * i as usize + 1), analysis.hear(&mixture.mixture).unwrap());
        }
        assert_ne!(row(&set, 1), row(&test, 1));
        assert_ne!(set.fingerprint(), test.fingerprint());
        assert_ne!(set.fingerprint(), of(Part::Train, 12).fingerprint());
        assert_eq!((set.len(), set.fingerprint().len(), set.shape()), (10, 16, analysis.shape()));
    }
}
