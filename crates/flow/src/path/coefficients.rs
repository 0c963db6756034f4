//! The record of a path at one time: values and derivatives travel together.

/// Which unknowns a point of a path mixes, and so what one network's output says about the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    /// `x_t = alpha x0 + beta x1` with a standard normal source: the source is the latent, and with the point one output
    /// gives every other (2303.08797, §3.2).
    One,
    /// `x_t = alpha x0 + beta x1 + gamma z`: three unknowns, so velocity **and** score take two outputs
    /// (2303.08797, §2).
    Two,
    /// `x_t = x1 + gamma z`: two unknowns again, the data and the latent (2303.08797, §3.3).
    Mirror,
}

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
    /// Of the latent `z`; zero throughout on one-sided paths.
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
    /// What a point mixes.
    pub sides: Sides,
}

impl Coefficients {
    /// A path without latent, from (value, derivative) of each coefficient.
    pub fn source_data((alpha, d_alpha): (f64, f64), (beta, d_beta): (f64, f64)) -> Self {
        let (gamma, d_gamma, gamma_d_gamma) = (0.0, 0.0, 0.0);
        let (alpha_d_alpha, sides) = (alpha * d_alpha, Sides::One);
        Self { alpha, beta, gamma, d_alpha, d_beta, d_gamma, alpha_d_alpha, gamma_d_gamma, sides }
    }

    /// The same with a latent, from `(gamma, dgamma/dt, gamma dgamma/dt)`.
    pub fn with_latent(self, (gamma, d_gamma, gamma_d_gamma): (f64, f64, f64)) -> Self {
        Self { gamma, d_gamma, gamma_d_gamma, sides: Sides::Two, ..self }
    }

    /// Determinant `alpha beta' - beta alpha'` of the solve that recovers `x0` and `x1` from a point and its velocity.
    pub fn determinant(&self) -> f64 {
        self.alpha * self.d_beta - self.beta * self.d_alpha
    }
}
