//! Convolution against its reference, finite differences, and its promises about batches and bits.

use proptest::prelude::*;

use super::conv2d;
use crate::reference;
use crate::testing::{assert_close, assert_differences, assert_same, host, tensor};

/// Batch, channels in and out, image, kernel, stride, padding.
fn compare(b: usize, i: usize, o: usize, (h, w): (usize, usize), (kh, kw): (usize, usize), s: usize, p: usize) {
    let sizes = [b * i * h * w, o * i * kh * kw, o];
    assert_same(
        &sizes,
        |x| conv2d(x[0].clone().reshape([b, i, h, w]), x[1].clone().reshape([o, i, kh, kw]), Some(x[2].clone()), s, p),
        |x| {
            let (x0, w0) = (x[0].clone().reshape([b, i, h, w]), x[1].clone().reshape([o, i, kh, kw]));
            reference::conv2d(x0, w0, Some(x[2].clone()), s, p)
        },
    );
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
    let all = host(conv2d(x.clone(), w.clone(), None, 1, 1));
    for b in 0..5 {
        let one = host(conv2d(x.clone().narrow(0, b, 1), w.clone(), None, 1, 1));
        assert_eq!(one, all[b * one.len()..][..one.len()], "sample {b}");
    }
}

#[test]
fn takes_views_and_empty_batches_and_keeps_nan() {
    let (x, w) = (tensor(1, [4, 7, 6, 3]), tensor(2, [5, 3, 3, 3]));
    let view = x.permute([0, 3, 1, 2]);
    let want = reference::conv2d(view.clone(), w.clone(), None, 1, 1);
    assert_close("permuted", &host(conv2d(view.clone(), w.clone(), None, 1, 1)), &host(want), 1e-5);
    assert_eq!(conv2d(tensor(3, [0, 3, 7, 6]), w.clone(), None, 1, 1).dims(), [0, 5, 7, 6]);
    let y = host(conv2d(view * f32::NAN, w, None, 1, 1));
    assert!(y.iter().all(|y| y.is_nan()));
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
