//! A store of weights under weight normalisation (Salimans and Kingma, 2016, arXiv:1602.07868) as plain weights: `g v / |v|`, the norm over all axes
//! but the first, under the names that PyTorch gives the two (`weight_g` and `weight_v`, or `parametrizations.weight.original0` and `1`).

use super::TensorSource;
use super::source::absent;
use crate::NetsError;

/// Another source whose normalised weights are folded; the others are as they were.
pub struct Folded<'a, S: ?Sized> {
    source: &'a S,
}

/// Suffixes of the length and the direction of a weight.
const PAIRS: [[&str; 2]; 2] =
    [["weight_g", "weight_v"], ["parametrizations.weight.original0", "parametrizations.weight.original1"]];

impl<'a, S: TensorSource + ?Sized> Folded<'a, S> {
    /// `source` seen so.
    pub fn new(source: &'a S) -> Self {
        Self { source }
    }

    /// The names of the length and the direction of the weight `name`, where it is stored as both.
    fn parts(&self, name: &str) -> Option<[String; 2]> {
        let place = name.strip_suffix("weight")?;
        let pair = PAIRS.iter().map(|pair| pair.map(|part| format!("{place}{part}")));
        pair.into_iter().find(|pair| pair.iter().all(|part| self.source.shape(part).is_some()))
    }
}

impl<S: TensorSource + ?Sized> TensorSource for Folded<'_, S> {
    fn names(&self) -> Vec<String> {
        let plain = |name: String| {
            for [length, direction] in PAIRS {
                if let Some(place) = name.strip_suffix(direction) {
                    return Some(format!("{place}weight"));
                }
                if name.ends_with(length) {
                    return None; // its direction has said it
                }
            }
            Some(name)
        };
        self.source.names().into_iter().filter_map(plain).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match self.parts(name) {
            Some([_, direction]) => self.source.shape(&direction),
            None => self.source.shape(name),
        }
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, NetsError> {
        let Some([length, direction]) = self.parts(name) else { return self.source.read(name) };
        let rows = self.shape(name).and_then(|shape| shape.first().copied()).filter(|rows| *rows > 0);
        let (mut values, lengths) = (self.source.read(&direction)?, self.source.read(&length)?);
        let rows = rows
            .filter(|rows| lengths.len() == *rows && values.len().is_multiple_of(*rows))
            .ok_or_else(|| absent(name))?;
        let size = values.len() / rows;
        for (row, length) in values.chunks_exact_mut(size).zip(lengths) {
            let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            row.iter_mut().for_each(|v| *v = (f64::from(*v) * f64::from(length) / norm) as f32);
        }
        Ok(values)
    }
}
