//! Convolution against its reference, finite differences, and its promises about batches and bits.

use burn::tensor::Tensor;
use proptest::prelude::*;

use super::conv2d;
use crate::testing::{assert_close, assert_differences, assert_rounded, assert_same, host, run, tensor, values};
use crate::{Precision, reference};

/// Batch, channels in and out, image, kernel, stride, padding.
fn compare(b: usize, i: usize, o: usize, (h, w): (usize, usize), (kh, kw): (usize, usize), s: usize, p: usize) {
    let sizes = [b * i * h * w, o * i * kh * kw, o];
    let image = |x: &[Tensor<1>]| x[0].clone().reshape([b, i, h, w]);
    let window = |x: &[Tensor<1>]| x[1].clone().reshape([o, i, kh, kw]);
    let fast = |x: Vec<Tensor<1>>| conv2d(image(&x), window(&x), Some(x[2].clone()), s, p);
    let slow = |x: Vec<Tensor<1>>| reference::conv2d(image(&x), window(&x), Some(x[2].clone()), s, p);
    assert_same(&sizes, fast, slow);
    assert_rounded(&sizes, fast, slow);
}

#[test]
fn agrees_with_the_reference() {
    compare(2, 3, 5, (6, 7), (3, 3), 1, 1);
    compare(1, 48, 48, (28, 28), (3, 3), 1, 1);
    compare(3, 17, 33, (9, 14), (3, 3), 2, 1);
    compare(2, 64, 70, (8, 8), (1, 1), 1, 0);
    compare(2, 5, 6, (8, 9), (1, 1), 2, 0);
    compare(1, 4, 3, (40, 33), (7, 5), 2, 3);
    compare(1, 4, 3, (5, 5), (4, 4), 4, 0);
    compare(2, 2, 2, (5, 5), (1, 1), 1, 2);
    compare(1, 1, 1, (1, 1), (1, 1), 1, 0);
}

#[test]
fn gradients_agree_with_differences() {
    assert_differences(&[2 * 2 * 5 * 4, 3 * 2 * 3 * 3, 3], |x| {
        let (a, w) = (x[0].clone().reshape([2, 2, 5, 4]), x[1].clone().reshape([3, 2, 3, 3]));
        conv2d(a, w, Some(x[2].clone()), 2, 1)
    });
}

#[test]
fn a_sample_does_not_depend_on_its_batch() {
    let (x, w) = (tensor(1, [5, 20, 13, 11]), tensor(2, [24, 20, 3, 3]));
    for precision in [Precision::F32, Precision::Bf16] {
        let conv = |x: &Tensor<4>| host(precision.scope(|| conv2d(x.clone(), w.clone(), None, 1, 1)));
        let all = conv(&x);
        for b in 0..5 {
            let one = conv(&x.clone().narrow(0, b, 1));
            assert_eq!(one, all[b * one.len()..][..one.len()], "sample {b}, {precision:?}");
        }
    }
}

#[test]
fn only_the_weight_gradient_depends_on_threads_and_by_order_alone() {
    let leaves = [values(1, 3 * 5 * 9 * 7), values(2, 18 * 5 * 9)];
    for precision in [Precision::F32, Precision::Bf16] {
        let conv = |x: Vec<Tensor<1>>| {
            let (x, w) = (x[0].clone().reshape([3, 5, 9, 7]), x[1].clone().reshape([18, 5, 3, 3]));
            precision.scope(|| conv2d(x, w, None, 2, 1))
        };
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| run(&leaves, &conv))
        };
        let (y, gradients) = on(1);
        for threads in [2, 3, 8] {
            let other = on(threads);
            assert!(other.0 == y && other.1[0] == gradients[0], "{threads} threads, {precision:?}");
            assert_close("weight", &other.1[1], &gradients[1], 1e-6);
        }
    }
}

#[test]
fn takes_views_and_empty_batches_and_keeps_nan() {
    let (x, w) = (tensor(1, [4, 7, 6, 3]), tensor(2, [5, 3, 3, 3]));
    let view = x.permute([0, 3, 1, 2]);
    let want = reference::conv2d(view.clone(), w.clone(), None, 1, 1);
    assert_close("permuted", &host(conv2d(view.clone(), w.clone(), None, 1, 1)), &host(want), 1e-5);
    let not = view * f32::NAN;
    for precision in [Precision::F32, Precision::Bf16] {
        precision.scope(|| {
            assert_eq!(conv2d(tensor(3, [0, 3, 7, 6]), w.clone(), None, 1, 1).dims(), [0, 5, 7, 6]);
            assert!(host(conv2d(not.clone(), w.clone(), None, 1, 1)).iter().all(|y| y.is_nan()));
        });
        let empty = |x: Vec<Tensor<1>>| {
            let (x, w) = (x[0].clone().reshape([0, 3, 7, 6]), x[1].clone().reshape([5, 3, 3, 3]));
            precision.scope(|| conv2d(x, w, None, 1, 1))
        };
        assert_eq!(run(&[vec![], values(2, 135)], &empty).1[1], [0.0; 135]);
        // One value that is no number reaches every gradient of the weight that its sample takes part in, and no other
        // sample's gradient.
        let one = |x: Vec<Tensor<1>>| {
            let (x, w) = (x[0].clone().reshape([3, 1, 2, 2]), x[1].clone().reshape([1, 1, 1, 1]));
            precision.scope(|| conv2d(x, w, None, 1, 0))
        };
        let mut x = values(1, 12);
        x[5] = f32::NAN;
        let (y, gradients) = run(&[x, vec![0.5]], &one);
        assert!(y.iter().enumerate().all(|(i, y)| y.is_nan() == (i == 5)));
        assert!(gradients[0].iter().all(|g| !g.is_nan()) && gradients[1][0].is_nan());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn agrees_on_random_shapes(
        b in 1usize..4, i in 1usize..20, o in 1usize..70, h in 1usize..14, w in 1usize..20,
        kh in 1usize..6, kw in 1usize..6, s in 1usize..4, p in 0usize..4,
    ) {
        prop_assume!(h + 2 * p >= kh && w + 2 * p >= kw);
        compare(b, i, o, (h, w), (kh, kw), s, p);
    }
}
