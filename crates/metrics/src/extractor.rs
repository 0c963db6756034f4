//! What turns images into rows of features, and the name its figures carry.

use crate::{Matrix, MetricsError};

/// A feature extractor: a fixed function of one image at a time.
///
/// Figures made with it are reported under its [`name`](Self::name), as in "FD (fashion-cnn, 128-d)"; "FID" alone is
/// reserved for the InceptionV3 features of its paper.
pub trait Extractor: Send + Sync {
    /// Features `[n dim]` of images `[n c h w]` in [-1, 1]. Row `i` depends on image `i` alone.
    fn features(&self, images: &[f32], shape: [usize; 4]) -> Result<Matrix, MetricsError>;

    /// Short name, such as `fashion-cnn`.
    fn name(&self) -> &str;

    /// Number of features per image.
    fn dim(&self) -> usize;

    /// Tells this extractor's features from any other's, whatever the name: what cached statistics are filed under.
    fn fingerprint(&self) -> String {
        self.label()
    }

    /// Whether it sees clips frame by frame.
    fn sees_frames(&self) -> bool {
        false
    }

    /// Name and dimension as figures carry them: `fashion-cnn, 128-d`.
    fn label(&self) -> String {
        format!("{}, {}-d", self.name(), self.dim())
    }
}

/// The pixels themselves as features, or those of a shrunk image.
#[derive(Clone, Debug)]
pub struct Pixels {
    dim: usize,
    side: Option<usize>,
    name: String,
}

impl Pixels {
    /// Pixels of images of `c * h * w` numbers.
    pub fn new(dim: usize) -> Self {
        Self { dim, side: None, name: "pixels".into() }
    }

    /// Pixels of images of `channels` brought to `side` x `side`: what is seen from afar, at a fixed cost.
    pub fn shrunk(channels: usize, side: usize) -> Self {
        Self { dim: channels * side * side, side: Some(side), name: format!("pixels@{side}") }
    }
}

impl Extractor for Pixels {
    fn features(&self, images: &[f32], shape: [usize; 4]) -> Result<Matrix, MetricsError> {
        check_images("pixels", images, shape)?;
        let [n, c, h, w] = shape;
        if let Some(side) = self.side.filter(|side| c * side * side == self.dim) {
            return Matrix::new(crate::features::resize(images, [n * c, h, w], side, side), n, self.dim);
        }
        if shape[1..].iter().product::<usize>() != self.dim {
            let message = format!("images of {:?} do not have {} numbers", &shape[1..], self.dim);
            return Err(MetricsError::Shape { what: "pixels", message });
        }
        Matrix::new(images.to_vec(), shape[0], self.dim)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn dim(&self) -> usize {
        self.dim
    }
}

/// A 64-bit digest (FNV-1a) for telling files and weights apart, not for security.
pub(crate) fn digest(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// Refuses a slice that is not `shape`, and shapes without pixels.
pub(crate) fn check_images(what: &'static str, images: &[f32], shape: [usize; 4]) -> Result<(), MetricsError> {
    let count = shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s));
    if count != Some(images.len()) || shape[1..].contains(&0) {
        let message = format!("{} numbers are not images of shape {shape:?} [n c h w]", images.len());
        return Err(MetricsError::Shape { what, message });
    }
    if let Some(at) = images.iter().position(|v| !v.is_finite()) {
        let size = shape[1..].iter().product::<usize>();
        return Err(MetricsError::NotFinite { what, row: at / size, column: at % size, value: f64::from(images[at]) });
    }
    Ok(())
}
