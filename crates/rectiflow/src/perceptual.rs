//! The perceptual distance that a recipe's `perceptual` weighs: LPIPS, on its own side of the seam `flow::Premetric`.
//!
//! VGG16 with average pooling, as 2-rectified flow++ trains with (Lee, Lin, Fanti, arXiv 2405.20320, §4.2), on images as they
//! are: the paper's enlargement to 224 pixels costs more than the network it teaches.

use crate::{Error, Recipe, assets, device::Chosen};
use base::{Shape, Tensor};
use flow::Premetric;
use metrics::{Lpips, LpipsConfig, LpipsNet, Pooling};

/// LPIPS between rows that are images of one shape, checked beforehand.
struct Checked {
    lpips: Lpips,
    image: [usize; 3],
}

impl Premetric<2> for Checked {
    fn distance(&self, data: Tensor<2>, estimate: Tensor<2>) -> Tensor<1> {
        let [c, h, w] = self.image;
        let see = |x: Tensor<2>| {
            let b = x.dims()[0];
            x.reshape([b, c, h, w])
        };
        self.lpips
            .distance(see(data), see(estimate))
            .expect("the shape was checked before training, and both are of it")
    }
}

/// The distance that `recipe` weighs between samples of `shape`, from the weights on this machine; `None` if it weighs none.
///
/// # Errors
/// [`Error::Failure`] where the weights are not here, with the command that brings them; [`Error::Usage`] for images that the
/// network cannot see.
pub(crate) fn of(recipe: &Recipe, shape: Shape, device: &Chosen) -> Result<Option<Box<dyn Premetric<2>>>, Error> {
    match recipe.perceptual {
        None => Ok(None),
        Some(_) => lpips(shape, device).map(Some),
    }
}

/// The same between samples of `shape` for whoever weighs it.
///
/// # Errors
/// Those of [`of`].
pub(crate) fn lpips(shape: Shape, device: &Chosen) -> Result<Box<dyn Premetric<2>>, Error> {
    let seen = |error| Error::Usage(format!("`perceptual` looks at images: {error}; leave it out"));
    let image = shape.image().map_err(seen)?;
    let config = LpipsConfig { net: LpipsNet::Vgg16, pooling: Pooling::Average, size: 0 };
    let lpips = assets::lpips(&config, &device.device.clone().autodiff())?;
    lpips.check(image).map_err(|error| Error::Usage(format!("perceptual: {error}")))?;
    Ok(Box::new(Checked { lpips, image }))
}
