//! Attention features in files between two walks (RF-Edit, arXiv 2411.04746), where memory does not hold them: at 1024 x 1024 pixels an
//! interval of FLUX has two gigabytes of them.

use crate::{Error, host::host};
use base::{Device, Tensor, TensorData};
use methods::{
    Failure,
    edit::{Keep, Parcel, Place},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// Files in a folder of their own, gone with it.
pub(crate) struct Shelf {
    folder: TempDir,
    /// The shapes of what lies in a place's files.
    shapes: BTreeMap<Place, [Option<[usize; 3]>; 3]>,
}

impl Shelf {
    /// In a new folder inside `place`.
    ///
    /// # Errors
    /// A place that cannot be written to.
    pub fn new(place: &Path) -> Result<Self, Error> {
        let made =
            fs::create_dir_all(place).and_then(|()| tempfile::Builder::new().prefix("features").tempdir_in(place));
        let folder = made.map_err(|error| Error::Failure(format!("--features {}: {error}", place.display())))?;
        Ok(Self { folder, shapes: BTreeMap::new() })
    }

    fn file(&self, (step, evaluation, layer): Place, part: usize) -> PathBuf {
        self.folder.path().join(format!("{step}-{evaluation}-{layer}-{part}"))
    }
}

impl Keep for Shelf {
    fn put(&mut self, place: Place, parcel: Parcel) -> Result<(), Failure> {
        let mut shapes = [None; 3];
        for (part, x) in parcel.into_iter().enumerate() {
            let Some(x) = x else { continue };
            shapes[part] = Some(x.dims());
            let bytes: Vec<u8> = host(x)?.into_iter().flat_map(f32::to_le_bytes).collect();
            let file = self.file(place, part);
            fs::write(&file, bytes).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        self.shapes.insert(place, shapes);
        Ok(())
    }

    fn get(&self, place: Place, device: &Device) -> Result<Option<Parcel>, Failure> {
        let Some(shapes) = self.shapes.get(&place) else { return Ok(None) };
        let mut parcel = [const { None }; 3];
        for (part, shape) in shapes.iter().enumerate() {
            let Some(shape) = shape else { continue };
            let file = self.file(place, part);
            let bytes = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            let numbers: Vec<f32> = bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
            if numbers.len() != shape.iter().product::<usize>() {
                return Err(format!("{}: it is not as long as it was", file.display()).into());
            }
            parcel[part] = Some(Tensor::from_data(TensorData::new(numbers, *shape), device));
        }
        Ok(Some(parcel))
    }

    fn count(&self) -> usize {
        self.shapes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: a part in another part's file; a torn file that is taken.
    #[test]
    fn features_come_back_from_files_to_the_bit() {
        let place = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::new(&place.path().join("new")).unwrap();
        let device = Device::flex();
        let key = base::Key::new(3, base::Purpose::Probe);
        let draw = |i: u64| key.normal_tensor::<3>(&[i, i + 1], [0, 5, 3], &device);
        shelf.put((1, 0, 7), [Some(draw(0)), None, Some(draw(2))]).unwrap();
        shelf.put((1, 1, 7), [None, None, Some(draw(4))]).unwrap();
        let [query, none, value] = shelf.get((1, 0, 7), &device).unwrap().unwrap();
        assert_eq!(
            (query.unwrap().into_data(), value.unwrap().into_data()),
            (draw(0).into_data(), draw(2).into_data())
        );
        assert!(none.is_none() && shelf.count() == 2 && shelf.get((0, 0, 7), &device).unwrap().is_none());
        let file = shelf.file((1, 1, 7), 2);
        fs::write(&file, &fs::read(&file).unwrap()[..40]).unwrap();
        assert!(shelf.get((1, 1, 7), &device).unwrap_err().to_string().contains("not as long"));
        fs::remove_file(&file).unwrap();
        assert!(shelf.get((1, 1, 7), &device).unwrap_err().to_string().contains("1-1-7-2"));
        drop(shelf);
        assert_eq!(fs::read_dir(place.path().join("new")).unwrap().count(), 0, "nothing is left behind");
    }
}
