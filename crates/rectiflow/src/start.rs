//! Where flows start: noise by counter, or the samples of a second data set.
//!
//! Every verb that follows a flow asks here for its first points, so that a flow between two data sets is sampled,
//! straightened, distilled and measured by the same code as one from noise.

use crate::{Error, Recipe};
use base::{Device, Key, Shape, Tensor, TensorData};
use data::{DataConfig, Dataset, Split};
use nets::weights::{Stored, TensorSource};
use std::{path::Path, sync::Arc};

/// The law of `x0`.
#[derive(Clone)]
pub enum Start {
    /// Standard normal noise, as wide as the path asks (VE, EDM).
    Noise {
        /// Of a sample.
        shape: Shape,
    },
    /// Samples of a data set: point `i` is sample `i`, and after the last the first again, mirrored on every second round
    /// where the set is mirrored in training.
    Data {
        /// The samples.
        dataset: Arc<dyn Dataset>,
        /// Whether there are mirrored rounds.
        flip: bool,
    },
    /// Points of a file, such as `rectiflow invert` writes: taken as they are, in turn.
    Given {
        /// Rows `[n ...]`.
        rows: Arc<Vec<f32>>,
        /// Of a sample.
        shape: Shape,
    },
}

impl Start {
    /// What `recipe` starts from, for samples of `shape`: noise, or the part `split` of its second data set.
    ///
    /// # Errors
    /// A data set that cannot be read or has another shape.
    pub fn of(recipe: &Recipe, shape: impl Into<Shape>, split: Split) -> Result<Self, Error> {
        match recipe.task.source() {
            None => Ok(Self::Noise { shape: shape.into() }),
            Some(source) => Self::samples(&source.with_split(split), shape),
        }
    }

    /// As [`Start::of`] with samples that training did not start from, where some are kept apart.
    ///
    /// # Errors
    /// Those of [`Start::of`].
    pub fn held_out(recipe: &Recipe, shape: impl Into<Shape>) -> Result<Self, Error> {
        let all = recipe.task.source().is_some_and(|source| source.holdout == 0.0);
        Self::of(recipe, shape, if all { Split::Train } else { Split::Test })
    }

    /// The samples of `config`, which must be of `shape`.
    ///
    /// # Errors
    /// A data set that cannot be read or has another shape.
    pub fn samples(config: &DataConfig, shape: impl Into<Shape>) -> Result<Self, Error> {
        let (dataset, shape) = (data::open(config)?, shape.into());
        if dataset.shape() != shape {
            return Err(Error::Usage(format!(
                "the source {} has samples of shape {}, the data of {shape}: set `task.source.size` and `task.source.channels` \
                 (and `data.size`, `data.channels`) to the same",
                dataset.name(),
                dataset.shape()
            )));
        }
        Ok(Self::Data { dataset, flip: config.flip })
    }

    /// How many different points there are; `None` without end.
    pub fn count(&self) -> Option<u64> {
        match self {
            Self::Noise { .. } => None,
            Self::Data { dataset, flip } => Some(dataset.len() as u64 * if *flip { 2 } else { 1 }),
            Self::Given { rows, shape } => Some((rows.len() / shape.numel().max(1)) as u64),
        }
    }

    /// The data set, where there is one.
    pub fn dataset(&self) -> Option<&Arc<dyn Dataset>> {
        match self {
            Self::Noise { .. } | Self::Given { .. } => None,
            Self::Data { dataset, .. } => Some(dataset),
        }
    }

    /// What a pair store says of it: `noise`, or the fingerprint of the data set.
    pub fn identity(&self) -> String {
        match self {
            Self::Noise { .. } => "noise".into(),
            Self::Data { dataset, .. } => dataset.fingerprint().into(),
            Self::Given { rows, .. } => {
                let sum = rows.iter().fold(0u64, |sum, x| sum.rotate_left(5) ^ u64::from(x.to_bits()));
                format!("given {sum:016x}")
            }
        }
    }

    /// The points, rows `[b n]`, with these numbers, on `path`: noise of `key`, or samples.
    ///
    /// # Errors
    /// A sample that cannot be read.
    pub fn points(&self, key: Key, numbers: &[u64], path: &flow::Path, device: &Device) -> Result<Tensor<2>, Error> {
        match self {
            Self::Noise { shape } => Ok(widened(path, key.normal_tensor(numbers, [0, shape.numel()], device))),
            Self::Data { dataset, flip } => rows(dataset, *flip, numbers, device),
            Self::Given { rows, shape } => {
                let (size, count) = (shape.numel(), (rows.len() / shape.numel().max(1)).max(1));
                let row = |number: &u64| &rows[(*number as usize % count) * size..][..size];
                let values: Vec<f32> = numbers.iter().flat_map(row).copied().collect();
                Ok(Tensor::from_data(TensorData::new(values, [numbers.len(), size]), device))
            }
        }
    }

    /// Points in `file` for samples of `shape`, with the classes that the file names: FILE.npy, FILE.safetensors as
    /// `rectiflow invert` or `sample` writes it, or FILE.safetensors:TENSOR.
    ///
    /// # Errors
    /// [`Error::Usage`] for points of another shape; a file that cannot be read, or holds numbers that are not finite.
    pub fn given(file: &str, shape: Shape) -> Result<(Self, Option<Vec<i64>>), Error> {
        let (axes, rows, labels) = match file.to_ascii_lowercase().ends_with(".safetensors") {
            true => media::arrays::read_safetensors(Path::new(file))?,
            false => {
                let (axes, rows) = read_points(file)?;
                (axes, rows, None)
            }
        };
        let count = rows.len() / shape.numel().max(1);
        if count == 0 || axes != shape.batch(count) {
            return Err(Error::Usage(format!(
                "--noise {file}: it is {axes:?}, and this model starts from points of {shape}, so [n, ...] of those"
            )));
        }
        if let Some(at) = rows.iter().position(|value| !value.is_finite()) {
            let (point, value) = (at / shape.numel(), rows[at]);
            return Err(Error::Failure(format!("--noise {file}: point {point} holds {value}; a start must be finite")));
        }
        Ok((Self::Given { rows: Arc::new(rows), shape }, labels))
    }
}

/// Standard normal noise as wide as the first point of `path`.
pub(crate) fn widened(path: &flow::Path, noise: Tensor<2>) -> Tensor<2> {
    match path.start_scale() {
        1.0 => noise,
        scale => noise * scale,
    }
}

/// Samples with these numbers, see [`Start::Data`].
pub(crate) fn rows(
    dataset: &Arc<dyn Dataset>,
    flip: bool,
    numbers: &[u64],
    device: &Device,
) -> Result<Tensor<2>, Error> {
    let len = dataset.len() as u64;
    let size = dataset.shape().numel();
    let mut values = Vec::with_capacity(numbers.len() * size);
    for &number in numbers {
        dataset.get((number % len) as usize)?.normalize_into(flip && (number / len) % 2 == 1, &mut values);
    }
    Ok(Tensor::from_data(TensorData::new(values, [numbers.len(), size]), device))
}

/// Shape and numbers of `FILE.npy`, `FILE.safetensors` with one tensor, or `FILE.safetensors:TENSOR`.
pub(crate) fn read_points(given: &str) -> Result<(Vec<usize>, Vec<f32>), Error> {
    if given.to_ascii_lowercase().ends_with(".npy") {
        return Ok(media::arrays::read_npy(Path::new(given))?);
    }
    let (file, name) = match given.rsplit_once(".safetensors:") {
        Some((stem, name)) => (format!("{stem}.safetensors"), Some(name)),
        None => (given.to_owned(), None),
    };
    if !file.to_ascii_lowercase().ends_with(".safetensors") {
        return Err(Error::Usage(format!("--noise {given}: give an .npy or a .safetensors file")));
    }
    let stored = Stored::open(Path::new(&file))?;
    let names = stored.names();
    let name = match (name, names.as_slice()) {
        (Some(name), _) if names.iter().any(|known| known == name) => name,
        (None, [only]) => only,
        _ => {
            let known = names.iter().take(12).cloned().collect::<Vec<_>>().join(", ");
            return Err(Error::Usage(format!(
                "--noise {given}: name one of its tensors, FILE.safetensors:NAME ({known})"
            )));
        }
    };
    Ok((stored.shape(name).unwrap_or_default(), stored.read(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_come_in_order_and_mirrored_on_the_second_round() {
        let config = DataConfig { limit: Some(3), ..DataConfig::default() };
        let device = Device::flex();
        let values = |flip: bool, number: u64| {
            let start = Start::samples(&DataConfig { flip, ..config.clone() }, [1, 28, 28]).unwrap();
            assert_eq!(start.count(), Some(if flip { 6 } else { 3 }));
            let key = Key::new(0, base::Purpose::Noise);
            let points = start.points(key, &[number], &flow::Path::Linear {}, &device).unwrap();
            points.into_data().try_to_vec::<f32>().unwrap()
        };
        assert_eq!(values(false, 4), values(false, 1));
        assert_ne!(values(false, 0), values(false, 1));
        let mirrored: Vec<f32> = values(true, 1).chunks(28).flat_map(|row| row.iter().rev().copied()).collect();
        assert_eq!(values(true, 4), mirrored);
        assert_eq!(values(true, 7), values(true, 1));
        let error = Start::samples(&config, [3, 32, 32]).err().unwrap().to_string();
        assert!(error.contains("task.source.size"), "{error}");
    }
}
