//! The shape of one sample: what a row of numbers is to those who look at it.
//!
//! Between data and decoder a batch travels as rows `[b n]`, because everything done to it there (paths, couplings, losses,
//! solvers, pairs) treats a sample as a vector. What the numbers of a row mean is said once, by the `Shape` beside them, and
//! read by networks, codecs, augmentations, metrics and writers alone: `[c h w]` of an image, `[d]` of a point, `[n d]` of a
//! set of points, `[c l]` of a sound, `[c f h w]` of a clip.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;

/// Axes at most.
const MOST: usize = 5;
/// Numbers of a sample at most: far above any there is, low enough that sizes in bytes never overflow.
const LARGEST: usize = 1 << 40;

/// Lengths of the axes of one sample, slowest first. Written as a list (`[1, 28, 28]`) in files and messages alike.
///
/// ```
/// use base::Shape;
/// let image = Shape::from([3, 32, 32]);
/// assert_eq!((image.numel(), image.image()), (3072, Ok([3, 32, 32])));
/// let points = Shape::new(&[2048, 3])?;
/// assert_eq!(points.to_string(), "[2048, 3]");
/// assert!(points.image().unwrap_err().to_string().contains("[c h w]"));
/// # Ok::<(), base::ShapeError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    lengths: [usize; MOST],
    axes: usize,
}

/// A shape that cannot be, or is not of the kind that was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShapeError {
    /// Lengths that no sample has.
    Impossible(Vec<usize>),
    /// Another number of axes than the reader knows.
    Kind {
        /// What was found.
        shape: Shape,
        /// What was wanted, with its axes: "images [c h w]".
        wanted: &'static str,
    },
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Impossible(lengths) => write!(
                f,
                "no sample has the shape {lengths:?}: it needs 1 to {MOST} axes, each at least 1 long, and at most {LARGEST} \
                 numbers in all"
            ),
            Self::Kind { shape, wanted } => write!(f, "samples of shape {shape} are not {wanted}"),
        }
    }
}

impl std::error::Error for ShapeError {}

impl Shape {
    /// The shape with these lengths.
    ///
    /// # Errors
    /// [`ShapeError::Impossible`] for no axis or more than five, an axis without length, more numbers than can be.
    pub fn new(lengths: &[usize]) -> Result<Self, ShapeError> {
        let numel = lengths.iter().try_fold(1usize, |n, &length| n.checked_mul(length));
        let possible = (1..=MOST).contains(&lengths.len()) && numel.is_some_and(|n| (1..=LARGEST).contains(&n));
        if !possible {
            return Err(ShapeError::Impossible(lengths.to_vec()));
        }
        Ok(Self::unchecked(lengths))
    }

    /// The shape a file states. Points in the plane were once written as images of one pixel, `[2, 1, 1]`; no image has two
    /// channels, so nothing else is meant by it.
    ///
    /// # Errors
    /// Those of [`Shape::new`].
    pub fn stored(lengths: &[usize]) -> Result<Self, ShapeError> {
        Self::new(if lengths == [2, 1, 1] { &[2] } else { lengths })
    }

    fn unchecked(given: &[usize]) -> Self {
        let mut lengths = [1; MOST];
        lengths[..given.len()].copy_from_slice(given);
        Self { lengths, axes: given.len() }
    }

    /// The lengths, slowest axis first.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths[..self.axes]
    }

    /// Numbers in a sample.
    pub fn numel(&self) -> usize {
        self.lengths().iter().product()
    }

    /// The lengths of `N` axes; `wanted` says what samples with so many are ("clips [c f h w]").
    ///
    /// # Errors
    /// [`ShapeError::Kind`] for another number of axes.
    pub fn axes<const N: usize>(&self, wanted: &'static str) -> Result<[usize; N], ShapeError> {
        self.lengths().try_into().map_err(|_| ShapeError::Kind { shape: *self, wanted })
    }

    /// `[c h w]` of an image.
    ///
    /// # Errors
    /// [`ShapeError::Kind`] for samples that are none.
    pub fn image(&self) -> Result<[usize; 3], ShapeError> {
        self.axes("images [c h w]")
    }

    /// The lengths behind a batch of `count`: what an array of samples has in a file.
    pub fn batch(&self, count: usize) -> Vec<usize> {
        [&[count], self.lengths()].concat()
    }
}

// Code that states a shape states one that can be; what comes from files goes through `new`.
macro_rules! from_arrays {
    ($($n:literal)*) => {$(
        impl From<[usize; $n]> for Shape {
            fn from(lengths: [usize; $n]) -> Self {
                Self::unchecked(&lengths)
            }
        }
    )*};
}
from_arrays!(1 2 3 4 5);

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never on several lines.
        write!(f, "{:?}", self.lengths())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.lengths().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::stored(&Vec::<usize>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_shapes_are_refused() {
        for lengths in [&[][..], &[0], &[3, 0, 2], &[1; 6], &[1 << 21, 1 << 20], &[usize::MAX, 2]] {
            assert!(Shape::new(lengths).unwrap_err().to_string().contains("1 to 5 axes"), "{lengths:?}");
        }
        assert_eq!(Shape::new(&[4, 3]).unwrap(), Shape::from([4, 3]));
        assert_ne!(Shape::from([4, 3]), Shape::from([4, 3, 1]), "an axis of one is an axis");
    }

    #[test]
    fn old_files_open_and_points_are_no_images() {
        let read = |text: &str| serde_json::from_str::<Shape>(text);
        assert_eq!(read("[1, 28, 28]").unwrap().image(), Ok([1, 28, 28]));
        assert_eq!(read("[2, 1, 1]").unwrap(), Shape::from([2]));
        assert_eq!(read("[3, 1, 1]").unwrap(), Shape::from([3, 1, 1]));
        assert!(read("[0, 1, 1]").is_err() && read("[]").is_err());
        assert_eq!(serde_json::to_string(&Shape::from([2, 6, 8, 8])).unwrap(), "[2,6,8,8]");
    }
}
