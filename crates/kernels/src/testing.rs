//! What the tests of all operations share: random values, and the comparison of an operation with its reference in
//! values and gradients.

use burn::tensor::{Device, Tensor, TensorData};

use crate::Precision;

/// Deterministic values in [-1, 1), different for every `seed`.
pub(crate) fn values(seed: u64, n: usize) -> Vec<f32> {
    (0..n as u64)
        .map(|i| {
            let mut z = (seed << 32 | i).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// A tensor of such values on the CPU.
pub(crate) fn tensor<const D: usize>(seed: u64, dims: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values(seed, dims.iter().product()), dims), &Device::flex())
}

/// The elements in row-major order.
pub(crate) fn host<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec().expect("f32")
}

/// Value and gradients of an operation on flat leaves of the given sizes, for the loss `sum(weights * y)`.
pub(crate) fn run<const D: usize>(
    leaves: &[Vec<f32>],
    f: &dyn Fn(Vec<Tensor<1>>) -> Tensor<D>,
) -> (Vec<f32>, Vec<Vec<f32>>) {
    run_with(leaves, f, |weight| weight)
}

/// [`run`] on another device.
#[cfg(feature = "gpu")]
pub(crate) fn run_on<const D: usize>(
    device: Device,
    leaves: &[Vec<f32>],
    f: &dyn Fn(Vec<Tensor<1>>) -> Tensor<D>,
) -> (Vec<f32>, Vec<Vec<f32>>) {
    run_there(device.autodiff(), leaves, f, |weight| weight)
}

/// The same with a change of the weights of the loss, which are the gradient that enters the operation.
fn run_with<const D: usize>(
    leaves: &[Vec<f32>],
    f: &dyn Fn(Vec<Tensor<1>>) -> Tensor<D>,
    change: fn(f32) -> f32,
) -> (Vec<f32>, Vec<Vec<f32>>) {
    run_there(Device::flex().autodiff(), leaves, f, change)
}

fn run_there<const D: usize>(
    device: Device,
    leaves: &[Vec<f32>],
    f: &dyn Fn(Vec<Tensor<1>>) -> Tensor<D>,
    change: fn(f32) -> f32,
) -> (Vec<f32>, Vec<Vec<f32>>) {
    let leaves: Vec<Tensor<1>> =
        leaves.iter().map(|x| Tensor::from_floats(x.as_slice(), &device).require_grad()).collect();
    let y = f(leaves.clone());
    let dims = y.dims();
    let weights: Vec<f32> = values(77, dims.iter().product()).into_iter().map(change).collect();
    let weights = Tensor::<D>::from_data(TensorData::new(weights, dims), &device);
    let grads = (y.clone() * weights).sum().backward();
    let gradients = leaves.iter().map(|x| x.grad(&grads).map(host).unwrap_or_default()).collect();
    (host(y.inner()), gradients)
}

/// Asserts that two arrays agree within `tolerance` of the largest magnitude expected.
pub(crate) fn assert_close(what: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{what}: sizes differ");
    let scale = want.iter().fold(1e-3f32, |a, b| a.max(b.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * scale, "{what}[{i}]: {g} instead of {w}, scale {scale}");
    }
}

/// Asserts that `fast` and `slow` agree to 1e-4 in values and in the gradients of all leaves of the given sizes.
/// The tolerance is that of f32 sums of a few thousand terms taken in different orders.
pub(crate) fn assert_same<const D: usize>(
    sizes: &[usize],
    fast: impl Fn(Vec<Tensor<1>>) -> Tensor<D>,
    slow: impl Fn(Vec<Tensor<1>>) -> Tensor<D>,
) {
    let leaves: Vec<Vec<f32>> = sizes.iter().enumerate().map(|(i, n)| values(i as u64 + 1, *n)).collect();
    let (got, want) = (run(&leaves, &fast), run(&leaves, &slow));
    assert_close("value", &got.0, &want.0, 1e-4);
    for (i, (g, w)) in got.1.iter().zip(&want.1).enumerate() {
        assert_close(&format!("gradient {i}"), g, w, 1e-4);
    }
    // Without a tape the kernels may take another way (in place); the values must be the same bits.
    let plain: Vec<Tensor<1>> = leaves.iter().map(|x| Tensor::from_floats(x.as_slice(), &Device::flex())).collect();
    assert_eq!(host(fast(plain)), got.0, "value without a tape");
    // And twice the same run gives the same bits.
    assert_eq!(run(&leaves, &fast).1, got.1, "gradients of a second run");
}

/// Asserts that `fast` under [`Precision::Bf16`] is `slow` on rounded operands, in value and gradients, for an operation
/// of an input, a weight and perhaps a bias (the leaves, in this order). The gradient is an operand as well, except
/// where it is summed for the bias. What is left is the order of f32 sums, a hundredth of what rounding itself does.
pub(crate) fn assert_rounded<const D: usize>(
    sizes: &[usize],
    fast: impl Fn(Vec<Tensor<1>>) -> Tensor<D>,
    slow: impl Fn(Vec<Tensor<1>>) -> Tensor<D>,
) {
    let native = Precision::Bf16.is_native();
    let round = if native { |x| f32::from_bits(crate::pairs::round(x)) } else { |x| x };
    let leaves: Vec<Vec<f32>> = sizes.iter().enumerate().map(|(i, n)| values(i as u64 + 1, *n)).collect();
    let operand = |(i, leaf): (usize, &Vec<f32>)| leaf.iter().map(|x| if i < 2 { round(*x) } else { *x }).collect();
    let rounded: Vec<Vec<f32>> = leaves.iter().enumerate().map(operand).collect();
    let (value, products) = run_with(&rounded, &slow, round);
    let whole = run(&leaves, &slow).1;
    let scoped = |x: Vec<Tensor<1>>| Precision::Bf16.scope(|| fast(x));
    let (got, gradients) = run(&leaves, &scoped);
    let tolerance = if native { 2e-5 } else { 1e-4 };
    assert_close("value", &got, &value, tolerance);
    for i in 0..leaves.len() {
        let want = if i < 2 { &products[i] } else { &whole[i] };
        assert_close(&format!("gradient {i}"), &gradients[i], want, tolerance);
    }
    // Without a tape the same bits, and the gradient in the precision of its forward pass wherever it is taken (`run`
    // takes it outside the scope).
    let plain: Vec<Tensor<1>> = leaves.iter().map(|x| Tensor::from_floats(x.as_slice(), &Device::flex())).collect();
    assert_eq!(host(scoped(plain)), got, "value without a tape");
    assert_eq!(run(&leaves, &scoped).1, gradients, "gradients of a second run");
}

/// Asserts that the gradients agree with central differences of the operation itself (f32, hence 2 %), at a few
/// elements of every leaf.
pub(crate) fn assert_differences<const D: usize>(sizes: &[usize], f: impl Fn(Vec<Tensor<1>>) -> Tensor<D>) {
    let leaves: Vec<Vec<f32>> = sizes.iter().enumerate().map(|(i, n)| values(i as u64 + 1, *n)).collect();
    let gradients = run(&leaves, &f).1;
    let loss = |leaves: &[Vec<f32>]| -> f64 {
        let y = run(leaves, &f).0;
        y.iter().zip(values(77, y.len())).map(|(y, w)| f64::from(*y) * f64::from(w)).sum()
    };
    for (l, leaf) in leaves.iter().enumerate() {
        let scale = gradients[l].iter().fold(0.0f64, |a, b| a.max(f64::from(b.abs())));
        for i in (0..leaf.len()).step_by(leaf.len().div_ceil(7)) {
            let step = 1e-2;
            let moved = |by: f32| {
                let mut leaves = leaves.clone();
                leaves[l][i] += by;
                loss(&leaves)
            };
            let want = (moved(step) - moved(-step)) / f64::from(2.0 * step);
            let got = f64::from(gradients[l][i]);
            assert!((got - want).abs() < 0.02 * scale + 1e-3, "leaf {l}[{i}]: gradient {got}, differences {want}");
        }
    }
}
