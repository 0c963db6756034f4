//! Closed-form flows: the oracles that everything else is held to.
//!
//! All arithmetic is in `f64` on the host; as a [`Field`](crate::Field) over points `[b d]` an oracle reads a batch back,
//! computes, and returns it in the batch's own number type.

mod empirical;
mod full_mixture;
mod gaussian;
mod kernel;
mod lanes;
mod mixture;
mod mixture_field;
mod posterior;

pub use empirical::Empirical;
pub use full_mixture::{FullMixture, FullMixtureField};
pub use gaussian::{Gaussian, GaussianReflow};
pub use kernel::Kernel;
pub use mixture::Mixture;
pub use mixture_field::MixtureField;
pub use posterior::Posterior;

use base::{Tensor, TensorData, Times};

/// Applies a function of one point and its time to every row of `x` `[b d]`.
///
/// # Panics
/// If the device cannot be read, like every Burn read-back; oracles run on the CPU.
fn each_row(x: Tensor<2>, t: &Times, f: impl Fn(&[f64], f64) -> Vec<f64>) -> Tensor<2> {
    let (device, dtype, [batch, d]) = (x.device(), x.dtype(), x.dims());
    let points = points(x);
    let values: Vec<f64> = points.chunks(d.max(1)).zip(t.values()).flat_map(|(x, &t)| f(x, t)).collect();
    Tensor::from_data(TensorData::new(values, [batch, d]), (&device, dtype))
}

/// The same for a function that fills two vectors, velocity and score; nothing is allocated per row.
fn each_row_twice(
    x: Tensor<2>,
    t: &Times,
    mut f: impl FnMut(&[f64], f64, &mut [f64], &mut [f64]),
) -> (Tensor<2>, Tensor<2>) {
    let (device, dtype, [batch, d]) = (x.device(), x.dtype(), x.dims());
    let points = points(x);
    let (mut first, mut second) = (vec![0.0; batch * d], vec![0.0; batch * d]);
    let outputs = first.chunks_mut(d.max(1)).zip(second.chunks_mut(d.max(1)));
    for ((x, &t), (first, second)) in points.chunks(d.max(1)).zip(t.values()).zip(outputs) {
        f(x, t, first, second);
    }
    let tensor = |values| Tensor::from_data(TensorData::new(values, [batch, d]), (&device, dtype));
    (tensor(first), tensor(second))
}

fn points(x: Tensor<2>) -> Vec<f64> {
    crate::rows::host(x).expect("oracles run on the CPU, which can always be read")
}

/// Applies a function of rows `[b d]` that share their time to each run of equal times of a batch `[b ...]`.
fn by_time<const D: usize>(
    x: Tensor<D>,
    t: &Times,
    mut f: impl FnMut(Tensor<2>, f64) -> (Tensor<2>, Tensor<2>),
) -> (Tensor<D>, Tensor<D>) {
    let (dims, flat) = (x.dims(), crate::rows::flatten(x));
    let (mut first, mut second, mut start) = (Vec::new(), Vec::new(), 0);
    for run in t.values().chunk_by(|a, b| a == b) {
        let (a, b) = f(flat.clone().narrow(0, start, run.len()), run[0]);
        first.push(a);
        second.push(b);
        start += run.len();
    }
    let whole = |parts: Vec<Tensor<2>>| if parts.is_empty() { flat.clone() } else { Tensor::cat(parts, 0) };
    (whole(first).reshape(dims), whole(second).reshape(dims))
}
