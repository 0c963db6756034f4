//! Parameterizations: the 2x2 solve against hand-computed values, round trips and the exact posterior.

mod common;

use base::Times;
use common::{gap, host, line};
use flow::exact::{Mixture, MixtureField};
use flow::{Coefficients, Parameterization as P, Path};
use proptest::prelude::*;

const ALL: [P; 4] = [P::Velocity {}, P::Noise {}, P::Data {}, P::Score {}];

/// What each parameterization says of a pair, straight from its definition.
fn outputs(c: &Coefficients, x0: f64, x1: f64) -> [f64; 4] {
    [c.d_alpha * x0 + c.d_beta * x1, x0, x1, -x0 / c.alpha]
}

#[test]
fn the_scalar_vector_of_the_conventions() {
    // Data 2, noise -1, noise fraction 0.75: t = 0.25, x = -0.25, u = 3, score 4/3.
    let (c, x) = (Path::Linear {}.at(0.25), -0.25);
    let expected = [3.0, -1.0, 2.0, 4.0 / 3.0];
    for (from, output) in ALL.into_iter().zip(expected) {
        for (to, wanted) in ALL.into_iter().zip(expected) {
            let affine = from.convert(to, &c);
            let got = affine.of_x * x + affine.of_output * output;
            assert!((got - wanted).abs() < 1e-14, "{from:?} -> {to:?}: {got} instead of {wanted}");
        }
    }
    // The same state on a variance-preserving path: alpha .948683, beta .316228, score 1.054093.
    let vp = Coefficients::source_data((0.9f64.sqrt(), -0.3), (0.1f64.sqrt(), 0.9));
    let x = vp.beta * 2.0 - vp.alpha;
    let score = P::Data {}.convert(P::Score {}, &vp);
    assert!((score.of_x * x + score.of_output * 2.0 - 1.054093).abs() < 1e-6);
}

proptest! {
    // Coefficients at random, as long as no conversion is singular: every determinant above 1e-2 in size.
    #[test]
    fn any_parameterization_reads_as_any_other(
        alpha in 0.05..1.5f64, beta in 0.05..1.5f64, d_alpha in -3.0..3.0f64, d_beta in -3.0..3.0f64,
        x0 in -3.0..3.0f64, x1 in -3.0..3.0f64,
    ) {
        let c = Coefficients::source_data((alpha, d_alpha), (beta, d_beta));
        prop_assume!(c.determinant().abs() > 1e-2);
        let x = alpha * x0 + beta * x1;
        let truth = outputs(&c, x0, x1);
        for (from, output) in ALL.into_iter().zip(truth) {
            for (to, wanted) in ALL.into_iter().zip(truth) {
                let there = from.convert(to, &c);
                let value = there.of_x * x + there.of_output * output;
                // The solve multiplies rounding by at most 3/1e-2 · 1/0.05 · 10: 1e-16 · 6e4.
                prop_assert!((value - wanted).abs() < 1e-10, "{from:?} -> {to:?}: {value} instead of {wanted}");
                let back = to.convert(from, &c);
                let again = back.of_x * x + back.of_output * value;
                prop_assert!((again - output).abs() < 1e-8, "{from:?} -> {to:?} -> {from:?}");
            }
        }
    }
}

#[test]
fn exact_posteriors_agree_whichever_way_they_are_read() {
    let target = Mixture::new(vec![0.3, 0.7], vec![vec![-2.0], vec![1.5]], vec![vec![0.2], vec![0.6]]).unwrap();
    for path in [Path::Linear {}, Path::Trigonometric {}, Path::vp()] {
        let field = MixtureField::new(path.clone(), target.clone()).unwrap();
        for t in [0.05, 0.3, 0.6, 0.95] {
            let c = path.at(t);
            for x in [-3.0, -0.4, 0.0, 1.1, 4.0] {
                let p = field.posterior(&[x], t);
                // The identity of posterior means: alpha E[x0|x] + beta E[x1|x] = x.
                assert!((c.alpha * p.source[0] + c.beta * p.data[0] - x).abs() < 1e-12);
                let truth = [p.velocity[0], p.source[0], p.data[0], p.score[0]];
                for (from, output) in ALL.into_iter().zip(truth) {
                    for (to, wanted) in ALL.into_iter().zip(truth) {
                        let affine = from.convert(to, &c);
                        let got = affine.of_x * x + affine.of_output * output;
                        let room = 1e-10 * (1.0 + affine.of_output.abs()) * (1.0 + wanted.abs());
                        assert!((got - wanted).abs() < room, "{path:?} t={t} x={x} {from:?} -> {to:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn domains_keep_away_from_exactly_the_singular_ends() {
    let all = |path: &Path| ALL.map(|p| p.domain(path));
    for path in [Path::Linear {}, Path::Trigonometric {}] {
        assert_eq!(all(&path), [(0.0, 1.0), (1e-3, 1.0), (0.0, 0.999), (1e-3, 0.999)], "{path:?}");
    }
    // VP never loses the data entirely, so a noise network can be read at t = 0.
    assert_eq!(all(&Path::vp()), [(0.0, 1.0), (0.0, 1.0), (0.0, 0.999), (0.0, 0.999)]);
    for path in [Path::Linear {}, Path::Trigonometric {}, Path::vp()] {
        for p in ALL {
            let (low, high) = p.domain(&path);
            for t in [low, high] {
                let a = p.convert(P::Velocity {}, &path.at(t));
                assert!(a.of_x.is_finite() && a.of_output.is_finite(), "{path:?} {p:?} at {t}");
            }
        }
    }
}

#[test]
fn batches_are_converted_row_by_row_and_targets_are_what_is_read_back() {
    let times = Times::new(vec![0.2, 0.5, 0.9]);
    for path in [Path::Linear {}, Path::Trigonometric {}, Path::vp()] {
        let point = path.point(line(&[0.3, -1.0, 2.0]), line(&[1.0, 0.5, -2.0]), &times).unwrap();
        for p in ALL {
            let target = p.target(&path, &point);
            let velocity = p.to_velocity(&path, point.xt.clone(), target, &times);
            assert!(gap(&host(velocity), &host(point.dxt.clone())) < 1e-12, "{path:?} {p:?}");
        }
    }
}
