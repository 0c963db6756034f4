//! Figures that say how good samples are. (How straight a flow is, `flow::diagnostics` says: that needs the field.)
//!
//! Statistics are pure functions on host matrices: [`frechet_distance`], [`kid`], [`precision_recall`], [`sliced_wasserstein`], [`class_accuracy`],
//! [`psnr`] and [`ssim`]; [`Lpips`] compares images as people do; [`sound`] has the measures of separated sounds. Images become rows of a matrix
//! through an [`Extractor`]; a figure is always reported with its extractor's name, because distances in the features of different networks cannot
//! be compared. [`Evaluator`] runs them all over a stream of batches; [`sensitivity`](sensitivity::sensitivity) says which defects of real images a
//! judge notices at all, and [`mirror_test`](symmetry::mirror_test) whether images may be mirrored. Surfaces and sets of surfaces are compared by
//! [`shape`], what only moving pictures have by [`clip`].

pub mod accuracy;
pub mod classifier;
pub mod clip;
pub mod convert;
pub mod defects;
pub mod error;
pub mod eval;
pub mod extractor;
pub mod features;
pub mod matrix;
pub mod oracles;
pub mod sensitivity;
pub mod shape;
pub mod similarity;
pub mod sound;
pub mod statistics;
pub mod symmetry;
pub mod weights;

pub use accuracy::{Accuracy, class_accuracy};
pub use clip::{ClipFigures, Frames};
pub use error::MetricsError;
pub use eval::{EvalConfig, Evaluator, Figures, Reference};
pub use extractor::{Extractor, Pixels};
pub use features::{Lpips, LpipsConfig, LpipsNet, Pooling};
pub use matrix::Matrix;
pub use similarity::{psnr, ssim};
pub use statistics::bootstrap::{Bootstrap, frechet_error};
pub use statistics::coral::coral;
pub use statistics::frechet::{frechet_distance, frechet_distance_of, frechet_distance_to};
pub use statistics::kid::{Kid, KidConfig, kid, kid_exact};
pub use statistics::manifold::{Manifold, class_precision, precision_recall};
pub use statistics::moments::{Gaussian, Moments};
pub use statistics::nearest::{Nearest, Neighbourhood};
pub use statistics::wasserstein::{SlicedConfig, sliced_wasserstein, wasserstein_1d};

/// The papers that figures here are from.
pub fn papers() -> Vec<base::Paper> {
    vec![statistics::frechet::PAPER, statistics::kid::PAPER, statistics::manifold::PAPER, clip::PAPER]
}
