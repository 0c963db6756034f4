//! Pictures that shapes are drawn from: rendered ones beside a training set's samples, and those that a user gives.
//!
//! A picture travels as its patches, which are tokens of a condition: their null is none that is heard (the zeros that TripoSG,
//! arXiv:2502.06608, contrasts with), and batches, guidance and dropout carry them as they carry words. The network's eye
//! (`nets::shape::EyeConfig`) reads them, or a frozen encoder has read them before ([`Sight`]).

mod frozen;

pub use frozen::Sight;

use crate::{Context, Error, recipe::PictureConfig, shapes};
use base::{Condition, Device, Key, RandomStream};
use data::{DataConfig, Dataset, Values};
use media::shape::framed::Grey;
use std::{collections::HashMap, path::Path, sync::Arc};
use train::{Batch, Source, TrainError};

/// The largest picture that is read, in million pixels.
const MEGAPIXELS: u64 = 200;
/// What is darker than this counts as shown where a picture does not say what is transparent; white is 1.
const WHITE: f32 = 0.96;

/// A user's picture as a flow of `config` sees it, and what is worth knowing about it.
///
/// # Errors
/// A file that is no picture, or one that shows nothing.
pub fn read(file: &Path, config: &PictureConfig) -> Result<(Vec<f32>, Option<String>), Error> {
    let place = file.display();
    let bytes = std::fs::read(file).map_err(|error| Error::Failure(format!("--image {place}: {error}")))?;
    let (picture, note) =
        framed(&bytes, config, MEGAPIXELS).map_err(|error| Error::Failure(format!("--image {place}: {error}")))?;
    Ok((picture, note.map(|note| format!("{place} {note}"))))
}

/// The picture in `bytes`, `megapixels` large at most, as a flow of `config` sees it, and what is worth knowing about it.
///
/// # Errors
/// What is no picture, or one that shows nothing.
pub fn framed(bytes: &[u8], config: &PictureConfig, megapixels: u64) -> Result<(Vec<f32>, Option<String>), Error> {
    let seen = data::grey(bytes, megapixels)?;
    let opacity = seen.opacity.filter(|opacity| opacity.iter().any(|opaque| *opaque < 0.5));
    let covered: Vec<bool> = match &opacity {
        Some(opacity) => opacity.iter().map(|opaque| *opaque >= 0.5).collect(),
        None => seen.values.iter().map(|value| *value < WHITE).collect(),
    };
    let whole =
        opacity.is_none() && covered.iter().filter(|shown| **shown).count() as f64 > 0.95 * covered.len() as f64;
    let note = whole.then(|| {
        "is dark to its rims, so all of it is taken for the object: cut it out first, on white or transparent".into()
    });
    let framed = Grey { values: &seen.values, covered: &covered, width: seen.width }.framed(config.size);
    let none = || Error::Failure("it shows nothing: all of it is white or transparent".into());
    Ok((framed.ok_or_else(none)?, note))
}

/// The pictures of a data set's shapes.
pub struct Views {
    set: Arc<dyn Dataset>,
    /// Where each sample's pictures lie in the set.
    places: Vec<usize>,
    sight: Arc<Sight>,
    seed: u64,
}

impl Views {
    /// Those of the samples of `shapes`, which `data` describes, as `sight` sees them.
    ///
    /// # Errors
    /// Shapes that cannot be read; a sample without a picture.
    pub fn of(
        (data, shapes): (&DataConfig, &dyn Dataset),
        sight: &Arc<Sight>,
        seed: u64,
        context: &mut Context,
    ) -> Result<Self, Error> {
        // Pictures are the same whoever reads them, and an encoder cuts its own patches.
        let config = sight.config();
        let patch = if config.encoder.is_some() { 1 } else { config.patch };
        let set = shapes::open(data, PictureConfig { encoder: None, patch, ..config.clone() }, context)?;
        let known: HashMap<&str, usize> = (0..set.len()).filter_map(|i| Some((set.key(i)?, i))).collect();
        let place = |i: usize| {
            let name = shapes.key(i).unwrap_or_default();
            let none = || Error::Failure(format!("{}: there is no picture of {name}", set.name()));
            known.get(name).copied().ok_or_else(none)
        };
        let places = (0..shapes.len()).map(place).collect::<Result<_, _>>()?;
        Ok(Self { set, places, sight: sight.clone(), seed })
    }

    /// The picture of sample `place` that the step at `index` sees: one view or another.
    ///
    /// # Errors
    /// A row that cannot be read.
    pub fn one(&self, place: usize, index: u64) -> Result<Vec<f32>, Error> {
        let none = || Error::Failure(format!("{}: there is no sample {place}", self.set.name()));
        let row = self.set.get(*self.places.get(place).ok_or_else(none)?)?;
        let Values::Numbers(row) = row.values else { return Err(none()) };
        let config = self.sight.config();
        let view = Key::of(self.seed, RandomStream::SeenViews).uniform(index) * config.views as f64;
        Ok(row[(view as usize).min(config.views - 1) * config.numbers()..][..config.numbers()].to_vec())
    }

    /// The pictures that samples are drawn from by number: of the set's shapes in turn, each time from another side.
    ///
    /// # Errors
    /// Those of [`Views::one`].
    pub fn at(&self, numbers: &[u64]) -> Result<Condition, Error> {
        let count = self.places.len().max(1) as u64;
        self.seen(numbers.iter().map(|number| ((number % count) as usize, *number)))
    }

    /// `batch` with a picture of each sample in place of its class.
    ///
    /// # Errors
    /// Those of [`Views::one`].
    pub fn beside(&self, batch: Batch) -> Result<Batch, Error> {
        let places = batch.places.iter().map(|place| *place as usize);
        let seen = self.seen(places.zip(batch.indices.iter().copied()))?;
        Ok(told(batch, seen))
    }

    fn seen(&self, all: impl Iterator<Item = (usize, u64)>) -> Result<Condition, Error> {
        let mut pictures = Vec::new();
        for (place, index) in all {
            pictures.extend(self.one(place, index)?);
        }
        self.sight.condition(&pictures, &Device::flex())
    }
}

/// `batch` conditioned on what is `seen`, and on no class.
fn told(batch: Batch, seen: Condition) -> Batch {
    let condition = Condition { tokens: seen.tokens, ..batch.condition };
    Batch { condition, classes: Vec::new(), ..batch }
}

/// A stream of samples with a picture beside each.
pub struct Pictured {
    /// The samples.
    pub source: Box<dyn Source>,
    /// Their pictures.
    pub views: Views,
    /// Where the samples are stored pairs, so many to a trajectory, which are drawn from pictures by number.
    pub pieces: Option<u64>,
}

impl Source for Pictured {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.source.seek(images)
    }

    fn next(&mut self) -> Result<Batch, TrainError> {
        let batch = self.source.next()?;
        let pictured = match self.pieces {
            None => self.views.beside(batch),
            Some(pieces) => {
                let numbers: Vec<u64> = batch.places.iter().map(|pair| pair / pieces.max(1)).collect();
                self.views.at(&numbers).map(|seen| told(batch, seen))
            }
        };
        pictured.map_err(|error| TrainError::Source(error.to_string()))
    }

    fn fingerprint(&self) -> String {
        format!("{} seen in {}", self.source.fingerprint(), self.views.set.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::host;

    /// Mutants: columns of patches before rows; a patch read column by column.
    #[test]
    fn patches_stand_row_by_row() {
        let config = PictureConfig { size: 8, patch: 4, ..PictureConfig::default() };
        let pictures: Vec<f32> = (0..128).map(|i| i as f32).collect();
        let sight = Sight::open(&config, 16, &mut |_| ()).unwrap();
        let tokens = sight.condition(&pictures, &Device::flex()).unwrap().tokens.unwrap();
        assert_eq!(tokens.embedding.dims(), [2, 4, 16]);
        let rows = host(tokens.embedding.reshape([8, 16])).unwrap();
        // The second patch begins at column 4, the third at row 4.
        assert_eq!(rows[..5], [0.0, 1.0, 2.0, 3.0, 8.0]);
        assert_eq!((rows[16], rows[32], rows[64]), (4.0, 32.0, 64.0));
    }

    /// Each sample has a picture of its own shape beside it, whatever the order. Mutants: the place in the batch, or the step's counter, in
    /// place of the shape's; a class that is left in.
    #[test]
    fn pictures_are_those_of_the_samples_they_stand_beside() {
        let data = DataConfig { limit: Some(4), ..DataConfig::named(shapes::SOLIDS) };
        let config = PictureConfig { size: 16, patch: 8, views: 2, ..PictureConfig::default() };
        let context = &mut Context::silent();
        let set =
            shapes::open(&data, media::shape::record::Counts { surface: 16, near: 16, volume: 16 }, context).unwrap();
        let sight = Arc::new(Sight::open(&config, 64, &mut |_| ()).unwrap());
        let views = Views::of((&data, &*set), &sight, 3, context).unwrap();
        let seen = |place: usize, index: u64| {
            let tokens = sight.condition(&views.one(place, index).unwrap(), &Device::flex()).unwrap().tokens.unwrap();
            host(tokens.embedding.reshape([256])).unwrap()
        };
        let batch =
            Batch { places: vec![3, 0], classes: vec![3, 0], ..Batch::new(vec![0.0; 2], [1].into(), vec![40, 41]) };
        let told = views.beside(batch).unwrap();
        let numbers = |condition: Condition| host(condition.tokens.unwrap().embedding.reshape([512])).unwrap();
        assert!(told.classes.is_empty());
        assert_eq!(numbers(told.condition), [seen(3, 40), seen(0, 41)].concat());
        assert_ne!(seen(3, 40), seen(0, 40));
        // By number the shapes come in turn.
        assert_eq!(numbers(views.at(&[5, 6]).unwrap()), [seen(1, 5), seen(2, 6)].concat());
        // Both views come up.
        assert!((0..32).any(|index| seen(1, index) != seen(1, 0)));
        assert!(views.one(4, 0).is_err());
    }

    /// Mutants: what is clear taken for white that is shown; a picture of nothing let through.
    #[test]
    fn a_users_picture_is_cut_out_and_one_of_nothing_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = PictureConfig { size: 20, patch: 10, ..PictureConfig::default() };
        let save = |name: &str, values: Vec<f32>, side: usize| {
            let images = media::Images::new(values, 1, [1, side, side]).unwrap();
            let grid = media::Grid { padding: 0, upscale: 1, ..media::Grid::default() };
            media::png::save(&folder.path().join(name), &grid.sheet(&images), &[]).unwrap();
            folder.path().join(name)
        };
        let at = |i: usize, side: usize, low: usize, high: usize| {
            (low..high).contains(&(i / side)) && (low..high).contains(&(i % side))
        };
        let small = save("small.png", (0..400).map(|i| if at(i, 20, 2, 6) { -1.0 } else { 1.0 }).collect(), 20);
        let large = save("large.png", (0..6400).map(|i| if at(i, 80, 30, 70) { -1.0 } else { 1.0 }).collect(), 80);
        let ((a, note), (b, _)) = (read(&small, &config).unwrap(), read(&large, &config).unwrap());
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 0.3) && a[10 * 20 + 10] == -1.0, "{a:?}");
        assert_eq!(note, None);
        let dark = save("dark.png", vec![-0.5; 64], 8);
        assert!(read(&dark, &config).unwrap().1.unwrap().contains("cut it out"));
        let white = save("white.png", vec![1.0; 64], 8);
        assert!(read(&white, &config).unwrap_err().to_string().contains("shows nothing"));
        assert!(read(&folder.path().join("gone.png"), &config).unwrap_err().to_string().contains("gone.png"));
    }
}
