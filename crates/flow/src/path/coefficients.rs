//! The record of a path at one time: values and derivatives travel together.

/// Coefficients of `x_t = alpha x0 + beta x1 + gamma z` and their time derivatives.
///
/// Products that stay finite where a factor diverges are carried in closed form (2303.08797, §3: `γγ'` of a Brownian
/// bridge is finite although `γ'` is not).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coefficients {
    /// Of the source point `x0`.
    pub alpha: f64,
    /// Of the data point `x1`.
    pub beta: f64,
    /// Of the latent `z`; zero on every path of this release.
    pub gamma: f64,
    /// `dalpha/dt`.
    pub d_alpha: f64,
    /// `dbeta/dt`.
    pub d_beta: f64,
    /// `dgamma/dt`.
    pub d_gamma: f64,
    /// `alpha dalpha/dt`.
    pub alpha_d_alpha: f64,
    /// `gamma dgamma/dt`.
    pub gamma_d_gamma: f64,
}

impl Coefficients {
    /// A path without latent, from (value, derivative) of each coefficient.
    pub fn source_data((alpha, d_alpha): (f64, f64), (beta, d_beta): (f64, f64)) -> Self {
        let (gamma, d_gamma, gamma_d_gamma) = (0.0, 0.0, 0.0);
        Self { alpha, beta, gamma, d_alpha, d_beta, d_gamma, alpha_d_alpha: alpha * d_alpha, gamma_d_gamma }
    }

    /// Determinant `alpha beta' - beta alpha'` of the solve that recovers `x0` and `x1` from a point and its velocity.
    pub fn determinant(&self) -> f64 {
        self.alpha * self.d_beta - self.beta * self.d_alpha
    }
}
