//! The derivative of a data estimate with respect to the point it was made from: through the network.

use super::Problem;
use super::ends::Ends;
use crate::MethodError;
use base::{Condition, Tensor, Times};
use flow::{Field, Frame, Path, rows};

/// A point's ends and a covector at its data estimate pulled back to the point.
pub struct Through<const D: usize> {
    /// Without a tape.
    pub velocity: Tensor<D>,
    /// Without a tape.
    pub ends: Ends<D>,
    /// `(∂ data/∂ x)ᵀ` applied to the covector, `[b ...]`.
    pub pulled: Tensor<D>,
}

/// Evaluates the field at `x`, time `t`, and pulls back what `covector` makes of the data estimate.
///
/// The covector may depend on the estimate's value: it is held still while the estimate is differentiated.
///
/// # Errors
/// [`MethodError::Steering`] where the field leaves no tape; [`MethodError::Stopped`].
pub fn through<const D: usize>(
    problem: &Problem<'_, D>,
    path: &Path,
    x: &Tensor<D>,
    t: f64,
    covector: impl FnOnce(&Tensor<D>) -> Result<Tensor<D>, MethodError>,
) -> Result<Through<D>, MethodError> {
    let Recorded { leaf, velocity, ends } = recorded(problem, path, x, t)?;
    let plain = Ends { source: ends.source.clone().inner(), data: ends.data.clone().inner() };
    let covector = covector(&plain.data)?;
    let pulled = pull(&leaf, ends.data, covector);
    Ok(Through { velocity: velocity.inner(), ends: plain, pulled })
}

/// A point on the tape, its velocity and its ends.
pub(super) struct Recorded<const D: usize> {
    pub leaf: Tensor<D>,
    pub velocity: Tensor<D>,
    pub ends: Ends<D>,
}

/// Evaluates the field at `x`, time `t`, with a tape.
///
/// # Errors
/// As [`through`].
pub(super) fn recorded<const D: usize>(
    problem: &Problem<'_, D>,
    path: &Path,
    x: &Tensor<D>,
    t: f64,
) -> Result<Recorded<D>, MethodError> {
    let times = Times::all(t, x.dims()[0]);
    let leaf = x.clone().detach().autodiff().require_grad();
    let velocity = problem.velocity(leaf.clone(), &times)?;
    let ends = Ends::of(path, leaf.clone(), velocity.clone(), t);
    if !(velocity.is_autodiff() && velocity.is_tracked()) {
        return Err(MethodError::Steering(
            "this method differentiates the network, and the field leaves no tape: open its weights on a device with one, or \
             use flowchef, which differentiates nothing"
                .into(),
        ));
    }
    Ok(Recorded { leaf, velocity, ends })
}

/// `covector` at `made`, pulled back to `leaf`.
pub(super) fn pull<const D: usize>(leaf: &Tensor<D>, made: Tensor<D>, covector: Tensor<D>) -> Tensor<D> {
    // Rows are independent, so the sum over rows gives every row its own derivative.
    let product = rows::sum(made * covector.autodiff()).sum();
    leaf.grad(&product.backward()).unwrap_or_else(|| leaf.zeros_like().inner())
}

/// A field whose weights lie where there is a tape, for points with and without one: those without go there and come back.
pub struct Lifted<F>(
    /// The field.
    pub F,
);

impl<const D: usize, F: Field<D>> Field<D> for Lifted<F> {
    fn velocity(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D> {
        if x.is_autodiff() {
            self.0.velocity(x, t, condition)
        } else {
            self.0.velocity(x.autodiff(), t, condition).inner()
        }
    }

    fn frame(&self) -> Option<Frame<'_>> {
        self.0.frame()
    }
}
