//! Figures over two sets of rows (features or flattened samples): pure functions on host matrices.

pub mod bootstrap;
pub mod coral;
pub(crate) mod few;
pub mod frechet;
pub mod kid;
pub mod manifold;
pub mod moments;
pub mod nearest;
pub mod wasserstein;
pub mod whitening;
