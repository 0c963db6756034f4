//! Steering held to exact answers: Gaussian mixtures whose posterior is known in closed form.

// Closed forms read as they are written on paper: by their indices.
#![allow(clippy::needless_range_loop)]

mod gaussian;
mod latents;
mod limits;
mod operators;
mod oracle;
mod posterior;
