//! Steering held to exact answers: Gaussian mixtures whose posterior is known in closed form.

mod gaussian;
mod limits;
mod operators;
mod oracle;
mod posterior;
