//! Row-wise helpers: a batch `[b ...]` is `b` rows, and everything per-sample is a function of its row alone.

use crate::FlowError;
use base::{Bool, Int, Tensor, TensorData, Times};

/// One number per row, shaped `[b, 1, ..., 1]` with the device and number type of `like`, so that it multiplies `like`.
pub fn column<const D: usize>(values: Vec<f64>, like: &Tensor<D>) -> Tensor<D> {
    let mut shape = [1; D];
    shape[0] = values.len();
    Tensor::from_data(TensorData::new(values, shape), (&like.device(), like.dtype()))
}

/// `f(t)` per row as a [`column`].
pub fn time_column<const D: usize>(times: &Times, f: impl Fn(f64) -> f64, like: &Tensor<D>) -> Tensor<D> {
    column(times.values().iter().map(|&t| f(t)).collect(), like)
}

/// `x · f` with one factor per row; a factor common to all rows costs no column, and a factor of one costs nothing.
pub fn scale<const D: usize>(x: Tensor<D>, factors: Vec<f64>) -> Tensor<D> {
    match factors.first() {
        Some(&first) if factors.iter().all(|&f| f == first) => {
            if first == 1.0 {
                x
            } else {
                x * first
            }
        }
        _ => {
            let factors = column(factors, &x);
            x * factors
        }
    }
}

/// Flattens `[b ...]` to `[b n]`.
pub fn flatten<const D: usize>(x: Tensor<D>) -> Tensor<2> {
    let dims = x.dims();
    x.reshape([dims[0], dims[1..].iter().product()])
}

/// Mean over everything but the batch, `[b]`.
pub fn mean<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    flatten(x).mean_dim(1).squeeze_dim::<1>(1)
}

/// Sum over everything but the batch, `[b]`.
pub fn sum<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    flatten(x).sum_dim(1).squeeze_dim::<1>(1)
}

/// The numbers of a tensor on the host, in row-major order.
///
/// # Errors
/// [`FlowError::Device`] if the device cannot give them.
pub fn host<const D: usize>(x: Tensor<D>) -> Result<Vec<f64>, FlowError> {
    x.try_into_vec_as::<f64>().map_err(|e| FlowError::Device(e.to_string()))
}

/// The rows `rows` of `x`, in that order.
pub fn select<const D: usize>(x: Tensor<D>, rows: &[usize]) -> Tensor<D> {
    let index = index(rows, &x);
    x.select(0, index)
}

/// `x` with its rows `rows` replaced by those of `values`.
pub fn replace<const D: usize>(x: Tensor<D>, rows: &[usize], values: Tensor<D>) -> Tensor<D> {
    let batch = x.dims()[0];
    let mut from: Vec<usize> = (0..batch).collect();
    for (place, &row) in rows.iter().enumerate() {
        from[row] = batch + place;
    }
    select(Tensor::cat(vec![x, values], 0), &from)
}

/// Row numbers as an index tensor beside `like`.
pub fn index<const D: usize>(rows: &[usize], like: &Tensor<D>) -> Tensor<1, Int> {
    let rows: Vec<i64> = rows.iter().map(|&r| r as i64).collect();
    Tensor::from_data(TensorData::new(rows.clone(), [rows.len()]), &like.device())
}

/// `yes` where `mask[row]`, else `no`.
pub(crate) fn choose<const D: usize>(mask: &[bool], yes: Tensor<D>, no: Tensor<D>) -> Tensor<D> {
    if mask.iter().all(|&m| m) {
        return yes;
    }
    let dims = no.dims();
    let mut shape = [1; D];
    shape[0] = mask.len();
    let mask = Tensor::<D, Bool>::from_data(TensorData::new(mask.to_vec(), shape), &no.device());
    no.mask_where(mask.expand(dims), yes)
}

/// Refuses a batch with a NaN or an infinity, naming the time of the first such row.
///
/// # Errors
/// [`FlowError::NotFinite`] if there is one.
pub fn check_finite<const D: usize>(x: &Tensor<D>, t: &Times, what: &'static str) -> Result<(), FlowError> {
    // x·0 is 0 for every finite number and NaN otherwise, so one reduction finds both NaN and infinity without overflow.
    let sums = host(sum(x.clone() * 0.0))?;
    match sums.iter().position(|s| *s != 0.0) {
        None => Ok(()),
        Some(sample) => {
            Err(FlowError::NotFinite { what, t: t.values().get(sample).copied().unwrap_or(f64::NAN), sample })
        }
    }
}

/// Refuses two batches of different shapes.
///
/// # Errors
/// [`FlowError::Shape`] if they differ.
pub fn same_shape<const D: usize>(
    left: &'static str,
    a: &Tensor<D>,
    right: &'static str,
    b: &Tensor<D>,
) -> Result<(), FlowError> {
    if a.dims() == b.dims() {
        return Ok(());
    }
    Err(FlowError::Shape { left, left_shape: a.dims().to_vec(), right, right_shape: b.dims().to_vec() })
}
