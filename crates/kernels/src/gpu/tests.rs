//! Every operation on a device against its reference on the processor, on the random shapes of `crate::stress`.
//!
//! `cargo test --release --workspace --lib --features rectiflow/wgpu gpu` (or `cuda`), on a machine that has such a device.

use burn::backend::DispatchDevice;
use burn::tensor::{Device, Tensor};

use crate::adamw::{self, AdamW};
use crate::precision::Precision;
use crate::reference;
use crate::stress::{Call, Case, Dice, OPERATIONS, case};
use crate::testing::{assert_close, host, run, run_on, values};
use crate::{lerp, squares_there};

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

/// Compares an operation's value and gradients on the device with those of its reference on the processor.
fn same(what: &str, sizes: &[usize], fast: &Call, slow: &Call, tolerance: f32) {
    let leaves: Vec<Vec<f32>> = sizes.iter().enumerate().map(|(i, n)| values(500 + i as u64, *n)).collect();
    let (want, got) = (run(&leaves, slow), run_on(device(), &leaves, fast));
    assert_close(what, &got.0, &want.0, tolerance);
    for (i, (got, want)) in got.1.iter().zip(&want.1).enumerate() {
        assert_close(&format!("{what}, gradient {i}"), got, want, tolerance);
    }
}

/// Compares some operations in a precision with their references in f32.
fn compare(operations: &[&str], precision: Precision, tolerance: impl Fn(&str) -> f32) {
    let shapes: usize = std::env::var("RECTIFLOW_STRESS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    for (number, operation) in operations.iter().enumerate() {
        let mut dice = Dice(1_000_000 * number as u64);
        for _ in 0..shapes {
            let Case { what, sizes, fast, slow } = case(operation, &mut dice);
            let fast: Call = Box::new(move |x| precision.scope(|| fast(x)));
            same(&what, &sizes, &fast, &slow, tolerance(operation));
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
    let rounded = ["linear", "linear_activated", "conv2d", "upsampled_conv2d", "attention", "self_attention"];
    compare(&rounded, Precision::Bf16, |_| 4e-2);
}

/// More rows than a part of a sum has: a weight's gradient and a bias's are sums of parts then.
#[test]
fn long_sums_are_those_of_their_parts() {
    let (rows, i, o) = (2048, 20, 12);
    let call = |linear: fn(Tensor<2>, Tensor<2>, Option<Tensor<1>>) -> Tensor<2>| -> Call {
        Box::new(move |x| {
            let (input, weight) = (x[0].clone().reshape([rows, i]), x[1].clone().reshape([o, i]));
            linear(input, weight, Some(x[2].clone())).reshape([rows * o])
        })
    };
    same("linear", &[rows * i, o * i, o], &call(crate::linear), &call(reference::linear), tolerance("linear"));
    let (b, n, d) = (2, 700, 33);
    let call = |norm: fn(Tensor<3>, Tensor<2>, Tensor<2>, f64) -> Tensor<3>| -> Call {
        Box::new(move |x| {
            let [scale, shift] = [1, 2].map(|i| x[i].clone().reshape([b, d]));
            norm(x[0].clone().reshape([b, n, d]), scale, shift, 1e-6).reshape([b * n * d])
        })
    };
    let (fast, slow) = (call(crate::layer_norm_modulate), call(reference::layer_norm_modulate));
    same("layer_norm", &[b * n * d, b * d, b * d], &fast, &slow, tolerance("layer_norm"));
}

#[test]
fn the_optimiser_takes_the_same_steps() {
    let there = device();
    for n in [1, 1000, 5003] {
        let on = |device: &Device, seed: u64| Tensor::<1>::from_floats(values(seed, n).as_slice(), device);
        let after = |device: &Device| {
            let (p, g, m, v) = (on(device, 1), on(device, 2), on(device, 3), on(device, 4).abs());
            let norm = squares_there(g.clone());
            let (p, m, v) = adamw::step(&AdamW { weight_decay: 0.1, ..AdamW::default() }, 1e-2, 3, 0.5, p, g, m, v);
            let average = lerp(on(device, 5), p.clone(), 0.25);
            [p, m, v, average, norm].map(host)
        };
        for (got, want) in after(&there).iter().zip(after(&Device::flex())) {
            assert_close("a step", got, &want, 1e-5);
        }
    }
    // What somebody else holds is left alone.
    let kept = Tensor::<1>::from_floats([1.0, 2.0], &there);
    let moved = lerp(kept.clone(), kept.clone() * 3.0, 0.5);
    assert_eq!((host(kept), host(moved)), (vec![1.0, 2.0], vec![2.0, 4.0]));
}
