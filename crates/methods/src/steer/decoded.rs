//! A cost of what a decoder makes of a latent, for flows that move latents (FlowChef, arXiv 2412.00100, latent models: the gradient
//! goes through the decoder, never through the flow).
//!
//! Its curvature is that of the cost times what the decoder stretches: the largest eigenvalue of `Jᵀ H J`, by power iteration at one
//! latent, so that κ means what it means on pixels.

use super::{Cost, shaped};
use crate::MethodError;
use base::Tensor;
use flow::rows;

/// From latents to what a cost looks at, both as rows. It must leave a tape where its argument has one.
pub type Decode<'a> = &'a dyn Fn(Tensor<2>) -> Tensor<2>;

/// Rounds of power iteration: the estimate is within a few percent then, and from below.
const ROUNDS: usize = 10;

/// A cost of what `decode` makes of latents.
pub struct Decoded<'a> {
    decode: Decode<'a>,
    cost: Box<dyn Cost + 'a>,
    curvature: f64,
}

impl<'a> Decoded<'a> {
    /// `cost` of what `decode` makes, whose largest curvature is `curvature`, see [`curvature`].
    pub fn new(decode: Decode<'a>, cost: Box<dyn Cost + 'a>, curvature: f64) -> Self {
        Self { decode, cost, curvature }
    }
}

/// What is decoded of latents `[b n]`, and a covector at it pulled back to them, both without a tape.
fn pulled(decode: Decode<'_>, data: &Tensor<2>, covector: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
    let leaf = data.clone().detach().autodiff().require_grad();
    let seen = decode(leaf.clone());
    let covector = covector(seen.clone().inner());
    // Rows are independent, so the sum over rows gives every row its own derivative.
    let product = rows::sum(seen * covector.autodiff()).sum();
    leaf.grad(&product.backward()).unwrap_or_else(|| data.zeros_like())
}

/// The largest curvature, near the latent `at` `[1 n]`, of `cost` of what `decode` makes of it; `start` `[1 n]` is any direction.
///
/// # Errors
/// [`MethodError::Steering`] for a decoder that says the same of every latent, or no numbers.
pub fn curvature(decode: Decode<'_>, cost: &dyn Cost, at: &Tensor<2>, start: Tensor<2>) -> Result<f64, MethodError> {
    let length = |x: &Tensor<2>| Ok::<_, MethodError>(rows::host(rows::sum(x.clone().square()))?[0].sqrt());
    let plain = |x: Tensor<2>| decode(x.autodiff()).inner();
    let (mut direction, mut found) = (start, 0.0);
    // A difference this long is smooth to a decoder and long against rounding.
    let reach = 1e-2 * length(at)?.max(1.0);
    for _ in 0..ROUNDS {
        let size = length(&direction)?;
        if size == 0.0 || !size.is_finite() {
            break;
        }
        let unit = direction / size;
        let ends = [reach, -reach].map(|step| plain(at.clone() + unit.clone() * step));
        let [after, before] = ends;
        let moved = (after - before) / (2.0 * reach); // J v
        direction = pulled(decode, at, |seen| cost.gradient(seen.clone() + moved) - cost.gradient(seen));
        found = length(&direction)?;
    }
    match found > 0.0 && found.is_finite() {
        true => Ok(found),
        false => Err(MethodError::Steering(
            "what is known does not depend on the latent: the decoder answers every direction alike, or with no numbers".into(),
        )),
    }
}

impl Cost for Decoded<'_> {
    fn value(&self, data: Tensor<2>) -> Tensor<1> {
        self.cost.value((self.decode)(data.autodiff()).inner())
    }

    fn gradient(&self, data: Tensor<2>) -> Tensor<2> {
        let pulled = pulled(self.decode, &data, |seen| self.cost.gradient(seen));
        shaped(pulled, &data)
    }

    fn curvature(&self) -> f64 {
        self.curvature
    }

    fn noise(&self) -> f64 {
        self.cost.noise()
    }
}
