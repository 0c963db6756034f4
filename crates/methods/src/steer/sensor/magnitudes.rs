//! Phase retrieval: the magnitudes of an image's Fourier transform are known, and their phases are not.
//!
//! The cost is `½ | |F u| - y |²` of `u = (x + 1)/2`, brightness from 0 to 1 (Fienup, Applied Optics 21(15), 1982): its gradient
//! `½ Fᵀ(z - y z/|z|)` is exact where no magnitude vanishes, and as `F` is unitary and `1 - y/|z|` below one, its curvature is at most a
//! quarter; a step of κ = 1 is his error reduction. An image turned by half a turn fits as well, and so may its shifts: which one comes out is
//! up to the noise.

use super::check;
use crate::MethodError;
use crate::steer::{Cost, Operator, operator::Waves};
use base::Tensor;
use flow::rows;
use std::sync::Arc;

/// Below this a magnitude has no phase.
const NOTHING: f64 = 1e-9;

/// `|F u|` of images at twice their sides.
#[derive(Clone)]
pub struct Magnitudes {
    waves: Arc<dyn Operator>,
}

impl Magnitudes {
    /// Of images `[c h w]`, every channel apart.
    pub fn new(shape: [usize; 3]) -> Self {
        Self { waves: Arc::new(Waves::new(shape)) }
    }

    pub(super) fn sizes(&self) -> (usize, usize) {
        let (n, m) = self.waves.sizes();
        (n, m / 2)
    }

    pub(super) fn operator(&self) -> &Arc<dyn Operator> {
        &self.waves
    }

    /// `u` is half of `x`, so that its misfit bends a quarter as much.
    pub(super) fn weight(&self) -> f64 {
        0.25
    }

    /// `F u`, and its magnitudes.
    fn seen(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let z = self.waves.forward((x + 1.0) * 0.5);
        let ([b, _], m) = (z.dims(), self.sizes().1);
        let part = |from: usize| z.clone().slice([0..b, from..from + m]).square();
        let size = (part(0) + part(m)).sqrt();
        (z, size)
    }

    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.seen(x).1
    }

    /// All waves at phase zero: a bright corner, and nothing that could be made out.
    pub(super) fn back(&self, y: Tensor<2>) -> Tensor<2> {
        let zero = y.zeros_like();
        self.waves.adjoint(Tensor::cat(vec![y, zero], 1)) * 2.0 - 1.0
    }

    pub(super) fn cost(&self, measured: Tensor<2>, noise: f64) -> Result<Misfit, MethodError> {
        check("the Fourier transform's magnitude", self.sizes().1, measured.dims()[1])?;
        if !(noise.is_finite() && noise >= 0.0) {
            let remedy = "it must be zero or more, in the units of the magnitudes";
            return Err(MethodError::Setting { setting: "noise", value: noise.to_string(), remedy });
        }
        Ok(Misfit { magnitudes: self.clone(), measured, noise })
    }
}

/// The misfit to magnitudes.
pub(super) struct Misfit {
    magnitudes: Magnitudes,
    measured: Tensor<2>,
    noise: f64,
}

impl Cost for Misfit {
    fn value(&self, data: Tensor<2>) -> Tensor<1> {
        rows::sum((self.magnitudes.forward(data) - self.measured.clone()).square()) * 0.5
    }

    fn gradient(&self, data: Tensor<2>) -> Tensor<2> {
        let (z, size) = self.magnitudes.seen(data);
        let share = (self.measured.clone() / size.clamp_min(NOTHING)).neg() + 1.0;
        self.magnitudes.waves.adjoint(z * Tensor::cat(vec![share.clone(), share], 1)) * 0.5
    }

    fn curvature(&self) -> f64 {
        self.magnitudes.weight()
    }

    fn noise(&self) -> f64 {
        self.noise
    }
}
