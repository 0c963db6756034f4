//! Every operation on a device against its reference on the processor, on the random shapes of `crate::stress`.
//!
//! `cargo test --release --workspace --lib --features rectiflow-kernels/wgpu gpu` (or `cuda`), on a machine that has such a device.

use burn::backend::DispatchDevice;
use burn::tensor::Device;

use crate::precision::Precision;
use crate::stress::{Dice, OPERATIONS, case};
use crate::testing::{assert_close, run, run_on, values};

/// What the build is for.
fn device() -> Device {
    #[cfg(feature = "cuda")]
    if std::env::var("RECTIFLOW_TEST_DEVICE").is_ok_and(|name| name == "cuda") || cfg!(not(feature = "wgpu")) {
        return Device::cuda(0);
    }
    #[cfg(feature = "wgpu")]
    return Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
    #[cfg(not(feature = "wgpu"))]
    unreachable!("the feature gpu comes with one of its devices")
}

/// Sums of a few thousand terms in f32; products of f32 are those of 10 bits of significand on NVIDIA's tensor cores, and the
/// sines of the rotations are the device's, to which Vulkan allows 2^-11.
fn tolerance(operation: &str) -> f32 {
    match (device().as_dispatch(), operation) {
        (DispatchDevice::Cube(cubecl::Device::Cuda(_)), _) => 5e-3,
        (_, "rotary") => 1e-3,
        _ => 1e-4,
    }
}

/// Compares some operations in a precision with their references in f32.
fn compare(operations: &[&str], precision: Precision, tolerance: impl Fn(&str) -> f32) {
    let shapes: usize = std::env::var("RECTIFLOW_STRESS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    for (number, operation) in operations.iter().enumerate() {
        let mut dice = Dice(1_000_000 * number as u64);
        for _ in 0..shapes {
            let case = case(operation, &mut dice);
            let leaves: Vec<Vec<f32>> =
                case.sizes.iter().enumerate().map(|(i, n)| values(500 + i as u64, *n)).collect();
            let fast = |x| precision.scope(|| (case.fast)(x));
            let (want, got) = (run(&leaves, &case.slow), run_on(device(), &leaves, &fast));
            assert_close(&case.what, &got.0, &want.0, tolerance(operation));
            for (i, (got, want)) in got.1.iter().zip(&want.1).enumerate() {
                assert_close(&format!("{}, gradient {i}", case.what), got, want, tolerance(operation));
            }
        }
    }
}

#[test]
fn operations_agree_with_their_references() {
    compare(&OPERATIONS, Precision::F32, tolerance);
}

/// Operands of 8 bits of significand, sums of up to 70 of their products; where the device has no bfloat16, f32 again.
#[test]
fn rounded_operations_agree_roughly() {
    compare(&["linear", "linear_activated", "conv2d", "attention", "self_attention"], Precision::Bf16, |_| 4e-2);
}
