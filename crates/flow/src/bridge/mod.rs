//! Schrödinger bridges: of all processes between two laws, the one nearest to Brownian motion `√(2ε) dW`.
//!
//! Two roads to the same bridge. Stochastic interpolants, arXiv 2303.08797, §3.4: a max–min over the interpolant, whose
//! inner problem is the ordinary regression of the forward drift; see [`optimise`]. Entropic optimal transport (De Bortoli et
//! al., arXiv 2106.01357; Tong et al., SF2M, arXiv 2307.03672): a Sinkhorn plan and Brownian bridges between its pairs; see
//! [`Entropic`]. Between Gaussians [`GaussianBridge`] knows the answer. With `ε → 0` all become optimal transport.

mod entropic;
mod gaussian;
mod interpolant;

pub use entropic::{BridgePoint, Entropic};
pub use gaussian::GaussianBridge;
pub use interpolant::{Interpolant, Marginals, Optimum, action, optimise};
