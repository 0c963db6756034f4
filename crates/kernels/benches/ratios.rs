//! Measures each kernel beside its reference and as a share of what the machine can do, interleaved in one run; where there is a
//! bf16 form also that beside the f32 kernel: `cargo bench --workspace --bench ratios -- [filter]`.
//!
//! What a machine can do is its f32 matrix product for operations made of products; for the others, a copy that touches as many
//! bytes as they must: each operand once, and on the way back the output's gradient, the inputs and their gradients.

use std::hint::black_box;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use kernels::{Precision, reference};
use rayon::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn tensor<const D: usize>(dims: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> =
        (0..dims.iter().product::<usize>()).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect();
    Tensor::from_data(TensorData::new(values, dims), device)
}

/// Medians in milliseconds of both, run in turns for about `seconds`; minima if BEST is set, for a busy machine.
fn race(seconds: f64, fast: &mut dyn FnMut(), slow: &mut dyn FnMut()) -> (f64, f64) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let time = |f: &mut dyn FnMut()| {
        let t = Instant::now();
        f();
        t.elapsed().as_secs_f64() * 1e3
    };
    let start = Instant::now();
    while a.len() < 5 || start.elapsed().as_secs_f64() < seconds {
        a.push(time(fast));
        b.push(time(slow));
    }
    let best = std::env::var_os("BEST").is_some();
    let median = |mut t: Vec<f64>| {
        t.sort_by(f64::total_cmp);
        if best { t[0] } else { t[t.len() / 2] }
    };
    (median(a), median(b))
}

/// The machine's f32 matrix product rate, GFLOP/s on all threads.
fn peak(device: &Device) -> f64 {
    let (a, b) = (tensor([1536, 1536], device), tensor([1536, 1536], device));
    let mut best = f64::MAX;
    for _ in 0..12 {
        let t = Instant::now();
        black_box(a.clone().matmul(b.clone()).into_data());
        best = best.min(t.elapsed().as_secs_f64());
    }
    2.0 * 1536f64.powi(3) / best / 1e9
}

/// Milliseconds in which all threads touch `floats` numbers, half of them read and half written to memory just asked for, as
/// an operation's output is.
fn copying(floats: usize) -> f64 {
    let from = vec![1.0f32; floats / 2];
    let share = from.len().div_ceil(4 * rayon::current_num_threads()).max(1 << 12);
    let mut copy = || {
        let mut to = Box::<[f32]>::new_uninit_slice(from.len());
        to.par_chunks_mut(share).zip(from.par_chunks(share)).for_each(|(to, from)| {
            to.write_copy_of_slice(from);
        });
        black_box(to);
    };
    race(0.1, &mut copy, &mut || {}).0
}

type Leaves = Vec<Tensor<1>>;

/// Runs forward and forward+backward of an operation on flat leaves beside its reference.
fn compare<const D: usize>(
    name: &str,
    sizes: &[usize],
    flops: f64,
    peak: f64,
    fast: impl Fn(&Leaves) -> Tensor<D>,
    slow: impl Fn(&Leaves) -> Tensor<D>,
) {
    if std::env::args().skip(1).any(|f| !f.starts_with('-') && !name.contains(&f)) {
        return;
    }
    let device = Device::flex();
    let leaves = |device: &Device| sizes.iter().map(|n| tensor([*n], device)).collect::<Leaves>();
    let plain = leaves(&device);
    let tracked: Leaves = leaves(&device.clone().autodiff()).into_iter().map(Tensor::require_grad).collect();
    let g = tensor(fast(&plain).dims(), &device.clone().autodiff());
    let forward = |f: &dyn Fn(&Leaves) -> Tensor<D>| drop(black_box(f(&plain)));
    let train = |f: &dyn Fn(&Leaves) -> Tensor<D>| drop(black_box((f(&tracked) * g.clone()).sum().backward()));
    let (a, b) = race(0.4, &mut || forward(&fast), &mut || forward(&slow));
    let (c, d) = race(0.6, &mut || train(&fast), &mut || train(&slow));
    let (once, both) = if flops > 0.0 {
        let product = flops / peak / 1e6;
        (product / a, 3.0 * product / c)
    } else {
        // The loss that asks for the gradient is no part of the operation.
        let (inputs, output) = (sizes.iter().sum::<usize>(), g.shape().num_elements());
        let y = tensor([output], &device.clone().autodiff()).require_grad();
        let flat = g.clone().reshape([output]);
        let asking = || drop(black_box((y.clone() * flat.clone()).sum().backward()));
        let (asking, _) = race(0.2, &mut || asking(), &mut || {});
        (copying(inputs + output) / a, copying(3 * inputs + 2 * output) / (c - asking))
    };
    println!(
        "{name:34} fwd {a:8.3} / {b:8.3} = {:.3} ({:4.0}% of peak)   fwd+bwd {c:8.3} / {d:8.3} = {:.3} ({:4.0}%)",
        a / b,
        100.0 * once,
        c / d,
        100.0 * both
    );
}

fn main() {
    kernels::allocator::keep_pages();
    kernels::on_a_worker(measure); // as the program itself
}

fn measure() {
    let peak = peak(&Device::flex());
    println!("matrix product 1536: {peak:.0} GFLOP/s on {} threads", rayon::current_num_threads());
    compare("silu 512k", &[1 << 19], 0.0, peak, |x| kernels::silu(x[0].clone()), |x| reference::silu(x[0].clone()));
    compare("gelu 512k", &[1 << 19], 0.0, peak, |x| kernels::gelu(x[0].clone()), |x| reference::gelu(x[0].clone()));
    for (b, i, o, n, k, s) in [
        (8, 48, 48, 28, 3, 1),
        (8, 96, 96, 14, 3, 1),
        (8, 128, 128, 16, 3, 1),
        (8, 64, 64, 32, 3, 1),
        (1, 64, 64, 32, 3, 1),
        (8, 96, 48, 28, 1, 1),
        (8, 48, 96, 28, 3, 2),
        (8, 1, 48, 28, 3, 1),
        (8, 48, 1, 28, 3, 1),
        (8, 192, 192, 7, 3, 1),
    ] {
        let p = k / 2;
        let out = (n + 2 * p - k) / s + 1;
        let flops = 2.0 * (b * o * i * k * k * out * out) as f64;
        let sizes = [b * i * n * n, o * i * k * k, o];
        let (x, w) = (|l: &Leaves| l[0].clone().reshape([b, i, n, n]), |l: &Leaves| l[1].clone().reshape([o, i, k, k]));
        let fast = |l: &Leaves| kernels::conv2d(x(l), w(l), Some(l[2].clone()), s, p);
        let slow = |l: &Leaves| reference::conv2d(x(l), w(l), Some(l[2].clone()), s, p);
        let name = format!("conv b{b} {i}->{o} {n}x{n} k{k} s{s}");
        compare(&name, &sizes, flops, peak, fast, slow);
        compare(&format!("{name} bf16/f32"), &sizes, flops, peak, |l| Precision::Bf16.scope(|| fast(l)), fast);
    }
    let (b, c, n) = (8, 48, 28);
    let two = |x: &Tensor<1>| x.clone().reshape([b, c]);
    let image = |x: &Leaves| x[0].clone().reshape([b, c, n, n]);
    let small = |x: &Leaves| x[0].clone().reshape([b, 2 * c, 7, 7]);
    compare(
        "group_norm+silu 96x7x7",
        &[b * 2 * c * 49, 2 * c, 2 * c],
        0.0,
        peak,
        |x| kernels::group_norm(small(x), x[1].clone(), x[2].clone(), 8, 1e-5, None, true),
        |x| reference::group_norm(small(x), x[1].clone(), x[2].clone(), 8, 1e-5, None, true),
    );
    compare(
        "group_norm+silu 48x28x28",
        &[b * c * n * n, c, c],
        0.0,
        peak,
        |x| kernels::group_norm(image(x), x[1].clone(), x[2].clone(), 8, 1e-5, None, true),
        |x| reference::group_norm(image(x), x[1].clone(), x[2].clone(), 8, 1e-5, None, true),
    );
    compare(
        "group_norm+mod+silu 48x28x28",
        &[b * c * n * n, c, c, b * c, b * c],
        0.0,
        peak,
        |x| kernels::group_norm(image(x), x[1].clone(), x[2].clone(), 8, 1e-5, Some((two(&x[3]), two(&x[4]))), true),
        |x| reference::group_norm(image(x), x[1].clone(), x[2].clone(), 8, 1e-5, Some((two(&x[3]), two(&x[4]))), true),
    );
    compare(
        "upsample2 48x28x28",
        &[b * c * n * n],
        0.0,
        peak,
        |x| kernels::upsample2(image(x)),
        |x| reference::upsample2(image(x)),
    );
    for (c, n) in [(96, 14), (48, 28), (256, 16), (128, 16), (128, 32), (64, 32)] {
        let image = |x: &Leaves| x[0].clone().reshape([b, c, n / 2, n / 2]);
        let weight = |x: &Leaves| x[1].clone().reshape([c, c, 3, 3]);
        compare(
            &format!("upsampled_conv2d {c}x{n}x{n} / in two steps"),
            &[b * c * n * n / 4, c * c * 9, c],
            2.0 * (b * c * c * 4 * n * n) as f64,
            peak,
            |x| kernels::upsampled_conv2d(image(x), weight(x), Some(x[2].clone())),
            |x| kernels::conv2d(kernels::upsample2(image(x)), weight(x), Some(x[2].clone()), 1, 1),
        );
    }
    for (rows, n) in [(4096, 2), (64, 3072)] {
        let rows_of = |x: &Tensor<1>| x.clone().reshape([rows, n]);
        let weights = vec![0.5; rows * 4];
        let both = |x: &Leaves| vec![rows_of(&x[0]), rows_of(&x[1])];
        compare(
            &format!("blend {rows}x{n}"),
            &[rows * n; 2],
            0.0,
            peak,
            |x| Tensor::cat(kernels::blend(both(x), weights.clone()).to_vec(), 0),
            |x| Tensor::cat(reference::blend(both(x), weights.clone()).to_vec(), 0),
        );
        compare(
            &format!("squared_error {rows}x{n}"),
            &[rows * n; 2],
            0.0,
            peak,
            |x| kernels::squared_error(rows_of(&x[0]), rows_of(&x[1])),
            |x| reference::squared_error(rows_of(&x[0]), rows_of(&x[1])),
        );
    }
    let tokens = |x: &Leaves| x[0].clone().reshape([8, 256, 384]);
    let adaln = |x: &Tensor<1>| x.clone().reshape([8, 384]);
    compare(
        "layer_norm_modulate 2048x384",
        &[8 * 256 * 384, 8 * 384, 8 * 384],
        0.0,
        peak,
        |x| kernels::layer_norm_modulate(tokens(x), adaln(&x[1]), adaln(&x[2]), 1e-6),
        |x| reference::layer_norm_modulate(tokens(x), adaln(&x[1]), adaln(&x[2]), 1e-6),
    );
    compare(
        "rms_norm 2048x384",
        &[8 * 256 * 384, 384],
        0.0,
        peak,
        |x| kernels::rms_norm(tokens(x), x[1].clone(), 1e-6),
        |x| reference::rms_norm(tokens(x), x[1].clone(), 1e-6),
    );
    for (rows, i, o) in [(2048, 384, 1536), (2048, 1536, 384), (32, 192, 96)] {
        let sizes = [rows * i, o * i, o];
        let (x, w) = (|l: &Leaves| l[0].clone().reshape([rows, i]), |l: &Leaves| l[1].clone().reshape([o, i]));
        let fast = |l: &Leaves| kernels::linear(x(l), w(l), Some(l[2].clone()));
        let slow = |l: &Leaves| reference::linear(x(l), w(l), Some(l[2].clone()));
        let (name, flops) = (format!("linear {rows}: {i}->{o}"), 2.0 * (rows * i * o) as f64);
        compare(&name, &sizes, flops, peak, fast, slow);
        let gelu = kernels::Activation::Gelu;
        let within = |l: &Leaves| kernels::linear_activated(x(l), w(l), Some(l[2].clone()), gelu);
        compare(&format!("{name} and GELU in one"), &sizes, flops, peak, within, |l| kernels::gelu(fast(l)));
        compare(&format!("{name} bf16/f32"), &sizes, flops, peak, |l| Precision::Bf16.scope(|| fast(l)), fast);
    }
    let heads = |x: &Tensor<1>| x.clone().reshape([8, 6, 256, 64]);
    compare(
        "attention 8x6x256x64",
        &[8 * 6 * 256 * 64; 3],
        4.0 * 48.0 * 256.0 * 256.0 * 64.0,
        peak,
        |x| kernels::attention(heads(&x[0]), heads(&x[1]), heads(&x[2]), None),
        |x| reference::attention(heads(&x[0]), heads(&x[1]), heads(&x[2]), None),
    );
    let packed = |x: &Leaves| x[0].clone().reshape([8, 256, 3 * 384]);
    compare(
        "self_attention 8x256x(3x6x64)",
        &[8 * 256 * 3 * 384],
        4.0 * 48.0 * 256.0 * 256.0 * 64.0,
        peak,
        |x| kernels::self_attention(packed(x), 6),
        |x| kernels::join_heads(split_attention(packed(x))),
    );
    compare(
        "gated 8x256x384",
        &[8 * 256 * 384, 8 * 256 * 384, 8 * 384],
        0.0,
        peak,
        |x| kernels::gated(tokens(x), x[1].clone().reshape([8, 256, 384]), adaln(&x[2])),
        |x| reference::gated(tokens(x), x[1].clone().reshape([8, 256, 384]), adaln(&x[2])),
    );
    let angles = |x: &Tensor<1>| x.clone().reshape([256, 32]);
    compare(
        "rotary 8x6x256x64",
        &[8 * 6 * 256 * 64, 256 * 32, 256 * 32],
        0.0,
        peak,
        |x| kernels::rotary(heads(&x[0]), angles(&x[1]), angles(&x[2])),
        |x| reference::rotary(heads(&x[0]), angles(&x[1]), angles(&x[2])),
    );
    let (clip, weight) = ([2, 32, 8, 16, 16], [32, 32, 3, 3, 3]);
    let sweep = kernels::Sweep { stride: 1, padding: 1 };
    compare(
        "conv3d b2 32->32 8x16x16 k3",
        &[clip.iter().product(), weight.iter().product(), 32],
        2.0 * (2 * 32 * 32 * 27 * 8 * 16 * 16) as f64,
        peak,
        |x| kernels::conv3d(x[0].clone().reshape(clip), x[1].clone().reshape(weight), Some(x[2].clone()), sweep, sweep),
        |x| {
            reference::conv3d(
                x[0].clone().reshape(clip),
                x[1].clone().reshape(weight),
                Some(x[2].clone()),
                sweep,
                sweep,
            )
        },
    );
    adamw(1 << 20);
}

/// The kernel on four axes, with what it takes to get there.
fn split_attention(qkv: Tensor<3>) -> Tensor<4> {
    let [q, k, v] = kernels::split_heads(qkv, 6);
    kernels::attention(q, k, v, None)
}

/// The optimiser's step, in place, beside Burn's composition of it.
fn adamw(n: usize) {
    let device = Device::flex();
    let g = tensor([n], &device);
    let config = kernels::adamw::AdamW::default();
    let mut state = Some((tensor([n], &device), g.zeros_like(), g.zeros_like()));
    let mut other = state.clone();
    let (a, b) = race(
        0.5,
        &mut || {
            let (p, m, v) = state.take().expect("put back each time");
            state = Some(kernels::adamw::step(&config, 1e-3, 3, 1.0, p, g.clone(), m, v));
        },
        &mut || {
            let (p, m, v) = other.take().expect("put back each time");
            let m = m * 0.9 + g.clone() * 0.1;
            let v = v * 0.999 + g.clone() * g.clone() * 0.001;
            let p = p - m.clone() * 1e-3 / (v.clone().sqrt() + 1e-8);
            other = Some((p, m, v));
        },
    );
    // Reads the weight, its gradient and both moments, and writes all but the gradient.
    let share = 100.0 * copying(7 * n) / a;
    println!("adamw {n:28} step {a:8.3} / {b:8.3} = {:.3} ({share:4.0}% of peak)", a / b);
}
