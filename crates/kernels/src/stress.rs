//! Every operation on random shapes against its reference, and the same bits on any number of threads.
//!
//! A few dozen shapes per operation run with the tests; `RECTIFLOW_STRESS=10000 cargo test --release -p rectiflow-kernels stress` runs as many as it
//! says. Leaves are slices out of longer tensors, so that data begins anywhere in a vector register's width.

use burn::tensor::{Bool, Device, Tensor, TensorData};

use crate::testing::{assert_close, run, values};
use crate::{Activation, Precision, Sweep, reference};

/// An operation on flat leaves.
pub(crate) type Call = Box<dyn Fn(Vec<Tensor<1>>) -> Tensor<1> + Send + Sync>;

/// One random case: what it is, the sizes of its leaves, the kernel and its reference.
pub(crate) struct Case {
    pub what: String,
    pub sizes: Vec<usize>,
    pub fast: Call,
    pub slow: Call,
}

/// A stream of small numbers.
pub(crate) struct Dice(pub u64);

impl Dice {
    fn roll(&mut self, low: usize, high: usize) -> usize {
        self.0 += 1;
        let unit = f64::from(values(self.0, 1)[0]) * 0.5 + 0.5;
        low + ((high - low + 1) as f64 * unit) as usize
    }

    fn heads(&mut self) -> bool {
        self.roll(0, 1) == 1
    }
}

fn flat<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let n = x.shape().num_elements();
    x.reshape([n])
}

/// Both forms of a call that differ in one function.
macro_rules! both {
    ($what:expr, $sizes:expr, |$x:ident, $op:ident| $body:expr, $fast:expr, $slow:expr) => {{
        let fast: Call = Box::new(move |$x: Vec<Tensor<1>>| {
            let $op = $fast;
            flat($body)
        });
        let slow: Call = Box::new(move |$x: Vec<Tensor<1>>| {
            let $op = $slow;
            flat($body)
        });
        Case { what: $what, sizes: $sizes, fast, slow }
    }};
}

/// The names of [`case`].
pub(crate) const OPERATIONS: [&str; 17] = [
    "silu",
    "gelu",
    "linear",
    "linear_activated",
    "conv2d",
    "conv3d",
    "upsample2",
    "upsampled_conv2d",
    "group_norm",
    "layer_norm",
    "rms_norm",
    "attention",
    "self_attention",
    "gated",
    "rotary",
    "blend",
    "squared_error",
];

pub(crate) fn case(operation: &str, dice: &mut Dice) -> Case {
    match operation {
        "silu" | "gelu" => {
            let n = dice.roll(1, 600);
            let what = format!("{operation} {n}");
            match operation {
                "silu" => both!(what, vec![n], |x, op| op(x[0].clone()), crate::silu, reference::silu),
                _ => both!(what, vec![n], |x, op| op(x[0].clone()), crate::gelu, reference::gelu),
            }
        }
        "linear" => {
            let (rows, i, o, biased) = (dice.roll(1, 40), dice.roll(1, 70), dice.roll(1, 70), dice.heads());
            let mut sizes = vec![rows * i, o * i];
            sizes.extend(biased.then_some(o));
            both!(
                format!("linear {rows} {i} {o} {biased}"),
                sizes,
                |x, op| op(x[0].clone().reshape([rows, i]), x[1].clone().reshape([o, i]), x.get(2).cloned()),
                crate::linear,
                reference::linear
            )
        }
        "linear_activated" => {
            let (rows, i, o, biased) = (dice.roll(1, 40), dice.roll(1, 70), dice.roll(1, 70), dice.heads());
            let activation = if dice.heads() { Activation::Silu } else { Activation::Gelu };
            let mut sizes = vec![rows * i, o * i];
            sizes.extend(biased.then_some(o));
            both!(
                format!("linear_activated {rows} {i} {o} {biased} {activation:?}"),
                sizes,
                |x, op| op(
                    x[0].clone().reshape([rows, i]),
                    x[1].clone().reshape([o, i]),
                    x.get(2).cloned(),
                    activation
                ),
                crate::linear_activated,
                |x, w, b, a| Activation::of(a, reference::linear(x, w, b))
            )
        }
        "conv2d" => {
            let (b, i, o) = (dice.roll(1, 3), dice.roll(1, 20), dice.roll(1, 40));
            let (kh, kw, s, p) = (dice.roll(1, 4), dice.roll(1, 4), dice.roll(1, 3), dice.roll(0, 2));
            let (h, w) = (dice.roll(kh.max(2), 12), dice.roll(kw.max(2), 18));
            let biased = dice.heads();
            let mut sizes = vec![b * i * h * w, o * i * kh * kw];
            sizes.extend(biased.then_some(o));
            both!(
                format!("conv2d [{b} {i} {h} {w}] [{o} {i} {kh} {kw}] stride {s} padding {p} {biased}"),
                sizes,
                |x, op| {
                    let (image, weight) = (x[0].clone().reshape([b, i, h, w]), x[1].clone().reshape([o, i, kh, kw]));
                    op(image, weight, x.get(2).cloned(), s, p)
                },
                crate::conv2d,
                reference::conv2d
            )
        }
        "conv3d" => {
            let (b, i, o, f) = (dice.roll(1, 2), dice.roll(1, 5), dice.roll(1, 9), dice.roll(2, 5));
            let (kf, k, sf, s) = (dice.roll(1, 2), dice.roll(1, 3), dice.roll(1, 2), dice.roll(1, 2));
            let (h, w) = (dice.roll(3, 7), dice.roll(3, 7));
            both!(
                format!("conv3d [{b} {i} {f} {h} {w}] [{o} {i} {kf} {k} {k}] strides {sf} {s}"),
                vec![b * i * f * h * w, o * i * kf * k * k, o],
                |x, op| {
                    let (clip, weight) =
                        (x[0].clone().reshape([b, i, f, h, w]), x[1].clone().reshape([o, i, kf, k, k]));
                    op(
                        clip,
                        weight,
                        Some(x[2].clone()),
                        Sweep { stride: sf, padding: 1 },
                        Sweep { stride: s, padding: 1 },
                    )
                },
                crate::conv3d,
                reference::conv3d
            )
        }
        "upsample2" => {
            let dims = [dice.roll(1, 3), dice.roll(1, 5), dice.roll(1, 9), dice.roll(1, 20)];
            both!(
                format!("upsample2 {dims:?}"),
                vec![dims.iter().product()],
                |x, op| op(x[0].clone().reshape(dims)),
                crate::upsample2,
                reference::upsample2
            )
        }
        "upsampled_conv2d" => {
            let (b, i, o, h, w) =
                (dice.roll(1, 3), dice.roll(1, 20), dice.roll(1, 40), dice.roll(1, 8), dice.roll(1, 18));
            let biased = dice.heads();
            let mut sizes = vec![b * i * h * w, o * i * 9];
            sizes.extend(biased.then_some(o));
            both!(
                format!("upsampled_conv2d [{b} {i} {h} {w}] to {o}, {biased}"),
                sizes,
                |x, op| op(x[0].clone().reshape([b, i, h, w]), x[1].clone().reshape([o, i, 3, 3]), x.get(2).cloned()),
                crate::upsampled_conv2d,
                reference::upsampled_conv2d
            )
        }
        "group_norm" => {
            let (groups, per) = (dice.roll(1, 4), dice.roll(1, 6));
            let (b, c, h, w) = (dice.roll(1, 3), groups * per, dice.roll(1, 9), dice.roll(2, 17));
            let (activate, modulated) = (dice.heads(), dice.heads());
            let mut sizes = vec![b * c * h * w, c, c];
            sizes.extend(if modulated { vec![b * c, b * c] } else { Vec::new() });
            both!(
                format!("group_norm [{b} {c} {h} {w}] in {groups}, {activate} {modulated}"),
                sizes,
                |x, op| {
                    let (image, two) = (x[0].clone().reshape([b, c, h, w]), |i: usize| x[i].clone().reshape([b, c]));
                    let modulation = modulated.then(|| (two(3), two(4)));
                    op(image, x[1].clone(), x[2].clone(), groups, 1e-2, modulation, activate)
                },
                crate::group_norm,
                reference::group_norm
            )
        }
        "layer_norm" => {
            let (b, n, d) = (dice.roll(1, 3), dice.roll(1, 9), dice.roll(2, 70));
            both!(
                format!("layer_norm [{b} {n} {d}]"),
                vec![b * n * d, b * d, b * d],
                |x, op| {
                    let two = |i: usize| x[i].clone().reshape([b, d]);
                    op(x[0].clone().reshape([b, n, d]), two(1), two(2), 1e-2)
                },
                crate::layer_norm_modulate,
                reference::layer_norm_modulate
            )
        }
        "rms_norm" => {
            let (rows, d) = (dice.roll(1, 20), dice.roll(1, 70));
            both!(
                format!("rms_norm [{rows} {d}]"),
                vec![rows * d, d],
                |x, op| op(x[0].clone().reshape([rows, d]), x[1].clone(), 1e-2),
                crate::rms_norm,
                reference::rms_norm
            )
        }
        "attention" => {
            let (b, h, n, m, d) =
                (dice.roll(1, 2), dice.roll(1, 3), dice.roll(1, 70), dice.roll(1, 70), dice.roll(1, 33));
            let masked = dice.heads();
            let seed = dice.0;
            both!(
                format!("attention [{b} {h} {n} {d}] over {m}, {masked}"),
                vec![b * h * n * d, b * h * m * d, b * h * m * d],
                |x, op| {
                    let keep: Vec<bool> = values(seed, b * m).iter().map(|v| *v > 0.0).collect();
                    let mask = || Tensor::<2, Bool>::from_data(TensorData::new(keep, [b, m]), &x[0].device());
                    let mask = masked.then(mask);
                    let [q, k, v] = [(0, n), (1, m), (2, m)].map(|(i, n)| x[i].clone().reshape([b, h, n, d]));
                    op(q, k, v, mask)
                },
                crate::attention,
                reference::attention
            )
        }
        "self_attention" => {
            let (b, n, heads, d) = (dice.roll(1, 2), dice.roll(1, 140), dice.roll(1, 3), dice.roll(1, 33));
            both!(
                format!("self_attention [{b} {n} 3 x {heads} x {d}]"),
                vec![b * n * 3 * heads * d],
                |x, op| op(x[0].clone().reshape([b, n, 3 * heads * d]), heads),
                crate::self_attention,
                reference::self_attention
            )
        }
        "gated" => {
            let (b, n, d) = (dice.roll(1, 3), dice.roll(1, 140), dice.roll(1, 70));
            both!(
                format!("gated [{b} {n} {d}]"),
                vec![b * n * d, b * n * d, b * d],
                |x, op| {
                    let tokens = |i: usize| x[i].clone().reshape([b, n, d]);
                    op(tokens(0), tokens(1), x[2].clone().reshape([b, d]))
                },
                crate::gated,
                reference::gated
            )
        }
        "blend" => {
            let (k, b, n) = (dice.roll(2, 3), dice.roll(1, 40), dice.roll(1, 70));
            both!(
                format!("blend {k} x [{b} {n}]"),
                vec![b * n; k],
                |x, op| {
                    let weights = values(5, b * 2 * k).into_iter().map(f64::from).collect();
                    Tensor::cat(op(x.iter().map(|x| x.clone().reshape([b, n])).collect(), weights).to_vec(), 0)
                },
                crate::blend::<2>,
                reference::blend::<2>
            )
        }
        "squared_error" => {
            let (b, n) = (dice.roll(1, 40), dice.roll(1, 300));
            both!(
                format!("squared_error [{b} {n}]"),
                vec![b * n; 2],
                |x, op| op(x[0].clone().reshape([b, n]), x[1].clone().reshape([b, n])),
                crate::squared_error,
                reference::squared_error
            )
        }
        _ => {
            let (b, h, n, pairs) = (dice.roll(1, 2), dice.roll(1, 3), dice.roll(1, 20), dice.roll(1, 20));
            both!(
                format!("rotary [{b} {h} {n} {}]", 2 * pairs),
                vec![b * h * n * 2 * pairs],
                |x, op| {
                    let angle: Vec<f32> = values(4, n * pairs).iter().map(|a| 3.0 * a).collect();
                    let angle = Tensor::<2>::from_data(TensorData::new(angle, [n, pairs]), &x[0].device());
                    op(x[0].clone().reshape([b, h, n, 2 * pairs]), angle.clone().cos(), angle.sin())
                },
                crate::rotary,
                reference::rotary
            )
        }
    }
}

/// Leaves that begin `offset` values into a longer tensor.
fn sliced(call: &Call, offsets: Vec<usize>) -> impl Fn(Vec<Tensor<1>>) -> Tensor<1> + '_ {
    move |x| {
        let part = |(x, offset): (Tensor<1>, &usize)| {
            let n = x.dims()[0] - offset;
            x.narrow(0, *offset, n)
        };
        call(x.into_iter().zip(&offsets).map(part).collect())
    }
}

/// Random leaves for a case: some tiny enough for their squares to be denormal, each with values before its own.
fn leaves(case: &Case, dice: &mut Dice) -> (Vec<Vec<f32>>, Vec<usize>) {
    let scale = if dice.roll(0, 7) == 0 { 1e-21 } else { 1.0 };
    let offsets: Vec<usize> = case.sizes.iter().map(|_| dice.roll(0, 17)).collect();
    let seed = dice.0;
    let leaf = |(i, (n, offset)): (usize, (&usize, &usize))| {
        let scale = if i == 0 { scale } else { 1.0 };
        values(seed * 8 + i as u64, n + offset).into_iter().map(|v| v * scale).collect()
    };
    (case.sizes.iter().zip(&offsets).enumerate().map(leaf).collect(), offsets)
}

fn assert_same_bits(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}: sizes differ");
    let other = got.iter().zip(want).enumerate().find(|(_, (g, w))| g.to_bits() != w.to_bits());
    assert!(other.is_none(), "{what}: {other:?}");
}

/// Operations whose weight's gradient is a sum over the batch, a part of it on each thread.
const BY_PARTS: [&str; 5] = ["linear", "linear_activated", "conv2d", "conv3d", "upsampled_conv2d"];

/// How many shapes of each operation are tried.
fn count() -> usize {
    std::env::var("RECTIFLOW_STRESS").ok().and_then(|count| count.parse().ok()).unwrap_or(24)
}

#[test]
fn random_shapes_agree_with_the_reference() {
    for (kind, operation) in OPERATIONS.into_iter().enumerate() {
        let mut dice = Dice((kind as u64) << 40);
        for _ in 0..count() {
            let case = case(operation, &mut dice);
            let (leaves, offsets) = leaves(&case, &mut dice);
            let got = run(&leaves, &sliced(&case.fast, offsets.clone()));
            let want = run(&leaves, &sliced(&case.slow, offsets));
            assert_close(&case.what, &got.0, &want.0, 1e-4);
            for (i, (g, w)) in got.1.iter().zip(&want.1).enumerate() {
                assert_close(&format!("{}, gradient {i}", case.what), g, w, 3e-4);
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let pools: Vec<rayon::ThreadPool> = (1..=8)
        .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("eight threads"))
        .collect();
    for (kind, operation) in OPERATIONS.into_iter().enumerate() {
        let mut dice = Dice((kind as u64) << 40 | 1 << 30);
        for _ in 0..count().div_ceil(4) {
            let case = case(operation, &mut dice);
            let (leaves, offsets) = leaves(&case, &mut dice);
            for precision in [Precision::F32, Precision::Bf16] {
                let call = sliced(&case.fast, offsets.clone());
                let bits = |pool: &rayon::ThreadPool| {
                    pool.install(|| run(&leaves, &|x: Vec<Tensor<1>>| precision.scope(|| call(x))))
                };
                let first = bits(&pools[0]);
                for pool in &pools[1..] {
                    let (value, gradients) = bits(pool);
                    let what = format!("{} on {} threads", case.what, pool.current_num_threads());
                    assert_same_bits(&what, &value, &first.0);
                    for (i, (got, want)) in gradients.iter().zip(&first.1).enumerate() {
                        // Its bits follow the number of threads and nothing else. Samples never do.
                        if i == 1 && BY_PARTS.contains(&operation) {
                            continue;
                        }
                        assert_same_bits(&format!("{what}, gradient {i}"), got, want);
                    }
                }
            }
        }
    }
}

/// One tensor on the CPU, for the doubtful reader: slices really begin off the alignment of a register.
#[test]
fn sliced_leaves_begin_anywhere() {
    let x = Tensor::<1>::from_floats(values(1, 40).as_slice(), &Device::flex());
    let part = crate::testing::host(crate::silu(x.clone().narrow(0, 3, 30)));
    assert_eq!(part, crate::testing::host(crate::silu(x))[3..33]);
}
