//! Closed-form flows: the oracles that everything else is held to.
//!
//! All arithmetic is in `f64` on the host; as a [`Field`](crate::Field) over points `[b d]` an oracle reads a batch back,
//! computes, and returns it in the batch's own number type.

mod gaussian;
mod mixture;
mod mixture_field;
mod posterior;

pub use gaussian::{Gaussian, GaussianReflow};
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
