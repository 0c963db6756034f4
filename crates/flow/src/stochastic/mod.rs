//! What stochastic solvers are made of: a Brownian path that is a function of the seed, and the diffusion `ε(t)` chosen
//! after training.

mod bridge;
mod brownian;
mod diffusion;
mod normals;

pub use brownian::{Brownian, Increment, Walk};
pub use diffusion::Diffusion;
