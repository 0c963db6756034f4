//! Paths: boundary values, derivatives, products that stay finite, points of pairs.

mod common;

use base::Times;
use common::{gap, host, points};
use flow::{FlowError, Path};

fn paths() -> [Path; 3] {
    [Path::Linear {}, Path::Trigonometric {}, Path::vp()]
}

#[test]
fn paths_start_at_the_source_and_end_at_the_data() {
    for path in paths() {
        let (start, end) = (path.at(0.0), path.at(1.0));
        // VP leaves a trace of data at the noise end: exp(-5.025) = 0.00657.
        let trace = if path.name() == "vp" { 0.0066 } else { 0.0 };
        assert!((start.alpha - 1.0).abs() < 3e-5 && start.beta <= trace, "{path:?}: {start:?}");
        assert_eq!((end.alpha, end.beta), (0.0, 1.0), "{path:?}");
        // Time outside [0, 1] is held to it, not extrapolated.
        assert_eq!((path.at(-1.0), path.at(2.0)), (start, end));
    }
}

#[test]
fn derivatives_are_the_slopes_of_the_coefficients() {
    // Central differences with h = 1e-6: truncation h²·f''' ~ 1e-9 for VP (f''' < 1e3), rounding 1e-16/h = 1e-10.
    let h = 1e-6;
    for path in paths() {
        for i in 1..100 {
            let t = i as f64 / 100.0;
            let (c, up, down) = (path.at(t), path.at(t + h), path.at(t - h));
            assert!((c.d_alpha - (up.alpha - down.alpha) / (2.0 * h)).abs() < 1e-6, "{path:?} alpha at {t}");
            assert!((c.d_beta - (up.beta - down.beta) / (2.0 * h)).abs() < 1e-6, "{path:?} beta at {t}");
            assert!((c.alpha_d_alpha - c.alpha * c.d_alpha).abs() < 1e-12, "{path:?} product at {t}");
        }
    }
}

#[test]
fn everything_is_finite_at_both_ends_and_the_product_has_its_limit() {
    for path in paths() {
        for t in [0.0, 1.0] {
            let c = path.at(t);
            for value in [c.alpha, c.beta, c.d_alpha, c.d_beta, c.alpha_d_alpha] {
                assert!(value.is_finite(), "{path:?} at {t}: {c:?}");
            }
        }
    }
    // VP at the data: alpha² = 1 - beta², so alpha alpha' = -beta beta' = -beta_min/2.
    assert!((Path::vp().at(1.0).alpha_d_alpha + 0.05).abs() < 1e-15);
    // With a = 19.9, b = 0.1 (2209.03003): beta(1/2) = exp(-19.9/16 - 0.1/4).
    assert!((Path::vp().at(0.5).beta - (-19.9f64 / 16.0 - 0.025).exp()).abs() < 1e-15);
    // Trigonometric and VP keep unit variance.
    for path in [Path::Trigonometric {}, Path::vp()] {
        let c = path.at(0.3);
        assert!((c.alpha * c.alpha + c.beta * c.beta - 1.0).abs() < 1e-14);
    }
}

#[test]
fn a_point_mixes_each_pair_by_its_own_time() {
    let (x0, x1) = (vec![vec![1.0, -2.0], vec![0.5, 3.0]], vec![vec![4.0, 0.0], vec![-1.0, 1.0]]);
    for path in paths() {
        for times in [vec![0.25, 0.75], vec![0.0, 0.0], vec![0.5, 0.5], vec![1.0, 0.0]] {
            let point = path.point(points(&x0), points(&x1), &Times::new(times.clone())).unwrap();
            let (mut xt, mut dxt) = (vec![], vec![]);
            for row in 0..2 {
                let c = path.at(times[row]);
                for k in 0..2 {
                    xt.push(c.alpha * x0[row][k] + c.beta * x1[row][k]);
                    dxt.push(c.d_alpha * x0[row][k] + c.d_beta * x1[row][k]);
                }
            }
            assert!(gap(&host(point.xt), &xt) < 1e-14, "{path:?} {times:?}");
            assert!(gap(&host(point.dxt), &dxt) < 1e-11, "{path:?} {times:?}"); // VP's d_alpha is 16 at the end
        }
    }
}

#[test]
fn wrong_settings_and_shapes_are_refused() {
    assert!(Path::Vp { beta_min: -1.0, beta_max: 20.0 }.check().is_err());
    assert!(Path::Vp { beta_min: 1.0, beta_max: 0.5 }.check().is_err());
    let (x0, x1) = (points(&[vec![0.0, 0.0]]), points(&[vec![0.0, 0.0, 0.0]]));
    let error = Path::Linear {}.point(x0.clone(), x1, &Times::all(0.5, 1)).unwrap_err();
    assert!(matches!(error, FlowError::Shape { .. }), "{error}");
    assert!(Path::Linear {}.point(x0.clone(), x0, &Times::all(0.5, 2)).is_err());
}
