//! Segments of recordings as a data set of waveforms of fixed length: what a vocoder learns from.

use super::{Analysis, Part, source};
use crate::{Error, recipe::Separate, runs::unheard};
use base::{Key, Purpose, Shape};
use data::{
    Dataset, LeftOut, Sample, Values,
    mixture::{Library, MixtureConfig, mix},
};

/// Segment `i` is mixture `i` of a library: one sound, where its mixtures are of one.
pub struct Segments {
    library: Library,
    config: MixtureConfig,
    key: Key,
    count: usize,
    name: String,
    fingerprint: String,
    left_out: Vec<LeftOut>,
}

impl Segments {
    /// `count` segments of `library`, which is `part` of the recordings at `what`; `left_out` of those are not used.
    ///
    /// # Errors
    /// More sounds to a segment than there are labels; no whole number of columns.
    pub fn new(
        library: Library,
        config: &Separate,
        (what, part): (&str, Part),
        count: usize,
        left_out: &[String],
    ) -> Result<Self, Error> {
        // As of the pictures that a codec of sound learns from, which no run sees beside these.
        let key = Key::new(0, Purpose::Augment).fold(u64::from(part == Part::Test));
        let mixture = config.mixture.clone();
        mix(&library, &mixture, key, 0)?;
        Analysis::new(config)?;
        let identity = format!("{}, {count} segments", source::fingerprint(&library, &mixture, key));
        let digest =
            identity.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let (name, fingerprint) = (format!("segments of {what}"), format!("{digest:016x}"));
        Ok(Self { library, config: mixture, key, count, name, fingerprint, left_out: unheard(left_out) })
    }
}

impl Dataset for Segments {
    fn len(&self) -> usize {
        self.count
    }

    fn get(&self, index: usize) -> data::Result<Sample> {
        let wave = mix(&self.library, &self.config, self.key, index as u64)?.mixture;
        Ok(Sample { values: Values::Numbers(wave), shape: self.shape(), label: None, caption: None })
    }

    fn label(&self, _: usize) -> Option<u32> {
        None
    }

    fn class_names(&self) -> &[String] {
        &[]
    }

    fn shape(&self) -> Shape {
        [1, self.config.length].into()
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

    /// Of mixtures of one sound a segment is that sound, at its own place and level. Mutants: the same segments in both parts; one for all.
    #[test]
    fn segments_are_single_sounds() {
        let clip = |label: usize| Clip {
            samples: (0..6000).map(|i| 0.5 * (i as f32 * 0.03 * (label + 1) as f32).sin()).collect(),
            label,
            name: label.to_string(),
        };
        let labels = ["low", "middle", "high"].map(str::to_owned).to_vec();
        let library = Library::new("tones".as_ref(), labels, (0..3).map(clip).collect()).unwrap();
        let mut config = Separate::default();
        (config.mixture.length, config.mixture.sources, config.mixture.absent) = (3200, [1, 1], 0.0);
        let of = |part, count| Segments::new(library.clone(), &config, ("tones", part), count, &[]).unwrap();
        let (set, test) = (of(Part::Train, 10), of(Part::Test, 10));
        let row = |set: &Segments, i: usize| match set.get(i).unwrap().values {
            Values::Numbers(row) => row,
            Values::Pixels(_) => Vec::new(),
        };
        for i in 0..4 {
            let mixture = mix(&library, &config.mixture, set.key, i).unwrap();
            assert_eq!(row(&set, i as usize), mixture.target);
            assert!(mixture.present && mixture.others.is_empty());
        }
        assert_ne!(row(&set, 0), row(&set, 1));
        assert_ne!(row(&set, 0), row(&test, 0));
        assert_ne!(set.fingerprint(), of(Part::Train, 12).fingerprint());
        assert_eq!((set.len(), set.shape()), (10, [1, 3200].into()));
    }
}
