//! What an exact oracle says at one point and time.

use crate::Coefficients;

/// Everything the exact posterior says at one point `x` and time `t`.
#[derive(Clone, Debug, PartialEq)]
pub struct Posterior {
    /// `b = E[dx_t/dt | x_t = x]`.
    pub velocity: Vec<f64>,
    /// `s = grad log density`.
    pub score: Vec<f64>,
    /// `E[x0 | x_t = x]`.
    pub source: Vec<f64>,
    /// `E[x1 | x_t = x]`.
    pub data: Vec<f64>,
    /// `η = E[z | x_t = x] = -gamma s` in the paper's sign (2303.08797, eq. 2.17); zero on paths without latent.
    pub latent: Vec<f64>,
    /// Log density of `x_t` at `x`.
    pub log_density: f64,
    /// Divergence of the velocity, `Σ ∂b_k/∂x_k`.
    pub divergence: f64,
}

impl Posterior {
    /// `v = E[alpha' x0 + beta' x1 | x_t = x]`: the velocity without the latent's part, so that `b = v - gamma gamma' s`.
    pub fn interpolant(&self, c: &Coefficients) -> Vec<f64> {
        self.source.iter().zip(&self.data).map(|(x0, x1)| c.d_alpha * x0 + c.d_beta * x1).collect()
    }
}
