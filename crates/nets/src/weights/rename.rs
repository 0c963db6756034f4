//! A store of another layout under this project's names: tensors renamed, cut from fused ones, or with their halves exchanged.

use super::TensorSource;
use super::source::absent;
use crate::NetsError;
use base::TensorData;
use burn::tensor::DType;
use kernels::Blocks;
use std::collections::BTreeMap;

/// What of a stored tensor one of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// All of it, without trailing axes of length one: a 1x1 convolution as a matrix.
    Matrix,
    /// Some of its rows, in parts of `of`: queries, keys and values that are stored as one.
    Rows {
        /// Parts before them.
        first: usize,
        /// How many parts.
        count: usize,
        /// All of them.
        of: usize,
    },
    /// Its second half of rows, then its first: scale and shift in the other order.
    Swapped,
}

/// Another source seen through a key map.
pub struct Renamed<'a, S: ?Sized> {
    source: &'a S,
    ours: BTreeMap<String, (String, Part)>,
}

impl<'a, S: TensorSource + ?Sized> Renamed<'a, S> {
    /// `map` says what each stored name holds under our names: one tensor, several parts, or nothing that is wanted.
    ///
    /// # Errors
    /// [`NetsError::Tensor`] where two stored tensors claim one name.
    pub fn new(source: &'a S, map: impl Fn(&str) -> Vec<(String, Part)>) -> Result<Self, NetsError> {
        let mut ours = BTreeMap::new();
        for theirs in source.names() {
            for (name, part) in map(&theirs) {
                if let Some((other, _)) = ours.insert(name.clone(), (theirs.clone(), part)) {
                    let problem = format!("is stored twice, as `{other}` and `{theirs}`; keep one of them");
                    return Err(NetsError::Tensor { name, problem });
                }
            }
        }
        Ok(Self { source, ours })
    }

    fn origin(&self, name: &str) -> Result<(&str, Part), NetsError> {
        self.ours.get(name).map(|(theirs, part)| (theirs.as_str(), *part)).ok_or_else(|| absent(name))
    }

    /// The parts of the stored rows that make up ours: `(first, count, of)` each.
    fn pieces(part: Part) -> Vec<[usize; 3]> {
        match part {
            Part::Whole | Part::Matrix => vec![[0, 1, 1]],
            Part::Rows { first, count, of } => vec![[first, count, of]],
            Part::Swapped => vec![[1, 1, 2], [0, 1, 2]],
        }
    }
}

/// The pieces of `all`, one after another; a length that does not divide gives what there is.
fn cut<T: Clone>(all: &[T], pieces: &[[usize; 3]]) -> Vec<T> {
    let piece = |[first, count, of]: &[usize; 3]| {
        let length = all.len() / of;
        all[first * length..][..count * length].to_vec()
    };
    pieces.iter().flat_map(piece).collect()
}

impl<S: TensorSource + ?Sized> TensorSource for Renamed<'_, S> {
    fn names(&self) -> Vec<String> {
        self.ours.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let (theirs, part) = self.ours.get(name)?;
        let mut shape = self.source.shape(theirs)?;
        match part {
            Part::Rows { count, of, .. } => {
                let rows = shape.first_mut()?;
                *rows = rows.is_multiple_of(*of).then_some(*rows / of * count)?;
            }
            Part::Matrix => {
                while shape.len() > 2 && shape.last() == Some(&1) {
                    shape.pop();
                }
            }
            Part::Swapped if !shape.first()?.is_multiple_of(2) => return None,
            Part::Whole | Part::Swapped => {}
        }
        Some(shape)
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, NetsError> {
        let (theirs, part) = self.origin(name)?;
        let all = self.source.read(theirs)?;
        Ok(cut(&all, &Self::pieces(part)))
    }

    fn data(&self, name: &str) -> Result<TensorData, NetsError> {
        let (theirs, part) = self.origin(name)?;
        let shape = self.shape(name).ok_or_else(|| absent(name))?;
        match part {
            Part::Whole => return self.source.data(theirs),
            Part::Rows { first, count, .. } => {
                let one = shape.first().copied().unwrap_or(0) / count;
                return self.source.rows(theirs, first * one..(first + count) * one);
            }
            Part::Matrix | Part::Swapped => {}
        }
        let all = self.source.data(theirs)?;
        match all.dtype() {
            DType::F32 | DType::BF16 | DType::F16 => {
                let dtype = all.dtype();
                Ok(TensorData::from_bytes_vec(cut(all.as_bytes(), &Self::pieces(part)), shape, dtype))
            }
            _ => Ok(TensorData::new(self.read(name)?, shape)),
        }
    }

    fn blocks(&self, name: &str) -> Option<Blocks> {
        let (theirs, part) = self.ours.get(name)?;
        let all = self.source.blocks(theirs)?;
        match part {
            Part::Whole | Part::Matrix => Some(all),
            Part::Rows { first, count, of } => {
                let one = all.shape()[0].is_multiple_of(*of).then_some(all.shape()[0] / of)?;
                Some(all.rows(first * one..(first + count) * one))
            }
            Part::Swapped => None, // not one run of rows
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
        let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
        BTreeMap::from([
            ("qkv".to_string(), (vec![6, 2], values.clone())),
            ("conv".to_string(), (vec![3, 4, 1, 1], values)),
        ])
    }

    #[test]
    fn parts_are_cut_by_rows() {
        let store = store();
        let map = |name: &str| match name {
            "qkv" => {
                let part = |first: usize| (["q", "k", "v"][first].to_string(), Part::Rows { first, count: 1, of: 3 });
                let both = ("kv".to_string(), Part::Rows { first: 1, count: 2, of: 3 });
                let swapped = ("swapped".to_string(), Part::Swapped);
                (0..3).map(part).chain([swapped, both]).collect()
            }
            _ => vec![("matrix".to_string(), Part::Matrix)],
        };
        let renamed = Renamed::new(&store, map).unwrap();
        assert_eq!(renamed.names(), ["k", "kv", "matrix", "q", "swapped", "v"]);
        assert_eq!(renamed.shape("k"), Some(vec![2, 2]));
        assert_eq!(renamed.read("k").unwrap(), [4.0, 5.0, 6.0, 7.0]);
        assert_eq!(renamed.data("v").unwrap().try_to_vec::<f32>().unwrap(), [8.0, 9.0, 10.0, 11.0]);
        assert_eq!((renamed.shape("kv"), renamed.read("kv").unwrap().len()), (Some(vec![4, 2]), 8));
        assert_eq!(renamed.data("kv").unwrap().try_to_vec::<f32>().unwrap()[..3], [4.0, 5.0, 6.0]);
        let swapped = renamed.data("swapped").unwrap();
        assert_eq!(swapped.try_to_vec::<f32>().unwrap()[..7], [6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 0.0]);
        assert_eq!(renamed.shape("matrix"), Some(vec![3, 4]));
        assert!(renamed.read("qkv").is_err());
    }

    #[test]
    fn two_tensors_of_one_name_are_refused() {
        let said = Renamed::new(&store(), |_| vec![("same".into(), Part::Whole)]).err().unwrap().to_string();
        assert!(said.contains("`conv` and `qkv`"), "{said}");
    }
}
