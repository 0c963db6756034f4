//! How what is known of a sample came about: a linear measurement, or one that was rounded, or one of which signs and phases are lost.
//!
//! A [`Sensor`] measures, says what a misfit to what it measured costs, and gives back a sample that looks like what is known.

mod jpeg;
mod magnitudes;
mod rounded;

pub use magnitudes::Magnitudes;
pub use rounded::Rounded;

use super::{Cost, Measurement, Operator};
use crate::MethodError;
use base::Tensor;
use std::sync::Arc;

/// A way of measuring samples as rows.
#[derive(Clone)]
pub enum Sensor {
    /// Linearly.
    Linear(Arc<dyn Operator>),
    /// Rounded to a grid.
    Rounded(Rounded),
    /// Magnitudes of the Fourier transform alone.
    Magnitudes(Magnitudes),
}

impl Sensor {
    /// A linear one.
    pub fn linear(operator: impl Operator + 'static) -> Self {
        Self::Linear(Arc::new(operator))
    }

    /// The operator of a linear one.
    pub fn operator(&self) -> Option<&Arc<dyn Operator>> {
        match self {
            Self::Linear(operator) => Some(operator),
            Self::Rounded(_) | Self::Magnitudes(_) => None,
        }
    }

    /// Values of a sample, and values measured.
    pub fn sizes(&self) -> (usize, usize) {
        match self {
            Self::Linear(operator) => operator.sizes(),
            Self::Rounded(rounded) => rounded.sizes(),
            Self::Magnitudes(magnitudes) => magnitudes.sizes(),
        }
    }

    /// What is measured of rows `[b n]`, `[b m]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Linear(operator) => operator.forward(x),
            Self::Rounded(rounded) => rounded.forward(x),
            Self::Magnitudes(magnitudes) => magnitudes.forward(x),
        }
    }

    /// A sample `[b n]` to look at in place of what was measured `[b m]`.
    pub fn back(&self, y: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Linear(operator) if operator.sizes().0 == operator.sizes().1 => y,
            Self::Linear(operator) => operator.adjoint(y) / operator.bound(),
            Self::Rounded(_) => y,
            Self::Magnitudes(magnitudes) => magnitudes.back(y),
        }
    }

    /// Half the squared misfit to `measured` `[b m]`, of which `noise` is the standard deviation of its noise.
    ///
    /// # Errors
    /// As [`Measurement::new`].
    pub fn cost(&self, measured: Tensor<2>, noise: f64) -> Result<Box<dyn Cost>, MethodError> {
        Ok(match self {
            Self::Linear(operator) => Box::new(Measurement::new(operator.clone(), measured, noise)?),
            Self::Rounded(rounded) => Box::new(rounded.cost(measured)?),
            Self::Magnitudes(magnitudes) => Box::new(magnitudes.cost(measured, noise)?),
        })
    }

    /// A weight and a linear measurement whose misfit bends at least as much as this one's everywhere.
    pub fn steepest(&self) -> (f64, Arc<dyn Operator>) {
        match self {
            Self::Linear(operator) => (1.0, operator.clone()),
            Self::Rounded(rounded) => (1.0, rounded.operator().clone()),
            Self::Magnitudes(magnitudes) => (magnitudes.weight(), magnitudes.operator().clone()),
        }
    }
}

/// Refuses a number of measured values that is another than the sensor's.
fn check(name: &str, wanted: usize, given: usize) -> Result<(), MethodError> {
    if wanted == given {
        return Ok(());
    }
    Err(MethodError::Steering(format!("{name} measures {wanted} values of a sample, but {given} were given")))
}
