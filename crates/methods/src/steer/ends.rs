//! The two ends that a point and its velocity stand for, and the curve through them when they are moved.
//!
//! On the linear path `x + (1 - t) v` and `x - t v`. A curved Euler step (DDIM) joins them again at another time; on the linear
//! path it is Euler's.

use crate::MethodError;
use base::{Tensor, Times};
use flow::{Field, FlowError, Frame, Parameterization, Path};

/// Estimates of source and data, `[b ...]`.
#[derive(Clone, Debug)]
pub struct Ends<const D: usize> {
    /// `E[x0 | x]`.
    pub source: Tensor<D>,
    /// `E[x1 | x]`.
    pub data: Tensor<D>,
}

impl<const D: usize> Ends<D> {
    /// Of points `x` with `velocity` at time `t` of `path`.
    pub fn of(path: &Path, x: Tensor<D>, velocity: Tensor<D>, t: f64) -> Self {
        let times = Times::all(t, x.dims()[0]);
        let read = |wanted, x, velocity| Parameterization::Velocity {}.read(wanted, path, x, velocity, &times);
        Self {
            source: read(Parameterization::Noise {}, x.clone(), velocity.clone()),
            data: read(Parameterization::Data {}, x, velocity),
        }
    }

    /// The point of the curve through both at time `t`.
    pub fn at(self, path: &Path, t: f64) -> Tensor<D> {
        let c = path.at(t);
        match (c.alpha, c.beta) {
            (0.0, 1.0) => self.data,
            (alpha, beta) => self.source * alpha + self.data * beta,
        }
    }
}

/// The path of `field`, whose ends `method` reads.
///
/// # Errors
/// [`FlowError::Needs`] where the field does not know it, or it has a latent.
pub fn path_of<'a, const D: usize>(field: &'a dyn Field<D>, method: &'static str) -> Result<&'a Path, MethodError> {
    let needs = |what| {
        let remedy = "give it a network's field, an oracle, or guidance around one";
        MethodError::Flow(FlowError::Needs { solver: method, what, remedy })
    };
    let Frame { path, .. } = field.frame().ok_or_else(|| needs("a field that knows its path"))?;
    if path.has_latent() {
        return Err(needs("a path of two points, without a latent"));
    }
    Ok(path)
}
