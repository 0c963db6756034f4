//! Schrödinger bridges between Gaussians: the closed form, the optimised interpolant and the entropic plan agree.

use crate::common;

use base::{Key, Purpose, Times};
use common::{gap, host, line, mean};
use flow::FlowError;
use flow::bridge::{Entropic, GaussianBridge, Interpolant, Marginals, action, optimise};

/// N(0, 1) to N(0, 4) with ε = 0.5.
const ROW: Marginals = Marginals { mean: [0.0, 0.0], variance: [1.0, 4.0] };
const EPSILON: f64 = 0.5;

/// `½ ∫ (V'/2 - ε)²/V` for any variance, by central differences.
fn half_action(variance: impl Fn(f64) -> f64) -> f64 {
    let parts = 4000;
    let part = |i: usize| {
        let (t, h) = ((i as f64 + 0.5) / parts as f64, 1e-5);
        let change = (variance(t + h) - variance(t - h)) / (2.0 * h);
        0.5 * (0.5 * change - EPSILON).powi(2) / variance(t)
    };
    (0..parts).map(part).sum::<f64>() / parts as f64
}

#[test]
fn the_gaussian_bridge_has_its_variance_and_the_least_action() {
    let bridge = GaussianBridge::new(ROW, EPSILON).unwrap();
    assert!((bridge.variance(0.5).0 - 2.2808).abs() < 5e-5);
    assert!((bridge.action() - 0.21561).abs() < 5e-6, "{}", bridge.action());
    let v = |t: f64| bridge.variance(t).0;
    assert!((half_action(v) - bridge.action()).abs() < 1e-6);
    // Neighbours on both sides and the usual interpolants are all dearer, by the amounts they should be.
    let straight = |g2: f64| move |t: f64| (1.0 - t).powi(2) + 4.0 * t * t + g2 * t * (1.0 - t);
    let smooth = |t: f64| (1.0 - t).powi(2) + 4.0 * t * t + (t * (1.0 - t)).powi(2);
    let table = [
        ("V + .2 t(1-t)", half_action(|t| v(t) + 0.2 * t * (1.0 - t)), 0.21645),
        ("V - .2 t(1-t)", half_action(|t| v(t) - 0.2 * t * (1.0 - t)), 0.21644),
        ("gamma² = 2t(1-t)", half_action(straight(2.0)), 0.32210),
        ("gamma² = t(1-t)", half_action(straight(1.0)), 0.46225),
        ("gamma = 0", half_action(straight(0.0)), 0.68081),
    ];
    for (what, found, wanted) in table {
        assert!((found - wanted).abs() < 1e-5 * 2.0, "{what}: {found} instead of {wanted}");
        assert!(found > bridge.action(), "{what}");
    }
    assert!(half_action(smooth) > bridge.action());
}

#[test]
fn the_max_min_over_interpolants_recovers_the_bridge() {
    let bridge = GaussianBridge::new(ROW, EPSILON).unwrap();
    let start = Interpolant::straight(EPSILON, 4);
    assert!((action(&start, &[ROW]) - 0.46225).abs() < 1e-4, "gamma² = 2ε t(1-t) with independent ends");
    let found = optimise(&[ROW], EPSILON, 4).unwrap();
    assert!((found.action - 0.21561).abs() < 2e-4, "{found:?}");
    assert!(found.action > bridge.action() - 1e-6, "nothing is below the bridge");
    for t in [0.1, 0.25, 0.5, 0.75, 0.9] {
        let (variance, wanted) = (found.interpolant.variance(&ROW, t).0, bridge.variance(t).0);
        assert!((variance / wanted - 1.0).abs() < 5e-3, "V({t}) = {variance}, not {wanted}");
    }
    assert!((found.interpolant.variance(&ROW, 0.5).0 - 2.2808).abs() < 0.01);
    // Two coordinates at once, one of them shifted: the mean moves straight.
    let other = Marginals { mean: [1.0, -2.0], variance: [0.5, 0.5] };
    let both = optimise(&[ROW, other], EPSILON, 5).unwrap();
    let wanted = bridge.action() + GaussianBridge::new(other, EPSILON).unwrap().action();
    assert!(both.action >= wanted - 1e-6 && both.action < 1.02 * wanted, "{} {wanted}", both.action);
}

#[test]
fn the_interpolant_s_derivatives_are_derivatives() {
    let interpolant =
        Interpolant { alpha: vec![0.1, -0.2], beta: vec![0.3, 0.05], gamma: vec![0.2, -0.3], epsilon: 0.5 };
    let h = 1e-6;
    for t in [0.1, 0.5, 0.83] {
        let (c, low, high) = (interpolant.at(t), interpolant.at(t - h), interpolant.at(t + h));
        let slope = |f: fn(&flow::Coefficients) -> f64| (f(&high) - f(&low)) / (2.0 * h);
        let found = [c.d_alpha, c.d_beta, c.d_gamma, c.gamma_d_gamma];
        let wanted = [slope(|c| c.alpha), slope(|c| c.beta), slope(|c| c.gamma), slope(|c| 0.5 * c.gamma * c.gamma)];
        assert!(gap(&found, &wanted) < 1e-7, "{found:?} {wanted:?}");
    }
    for t in [0.0, 1.0] {
        let c = interpolant.at(t);
        assert!(gap(&[c.alpha, c.beta, c.gamma], &[1.0 - t, t, 0.0]) < 1e-12);
    }
}

#[test]
fn the_entropic_plan_is_a_second_opinion() {
    let bridge = GaussianBridge::new(ROW, EPSILON).unwrap();
    // Quantiles of the two Gaussians instead of draws: no Monte Carlo error in the marginals.
    let n = 400;
    let quantile = |i: usize| flow::time::normal_quantile((i as f64 + 0.5) / n as f64);
    let x0: Vec<f64> = (0..n).map(quantile).collect();
    let x1: Vec<f64> = x0.iter().map(|v| 2.0 * v).collect();
    let marginals = Marginals::of(&x0, &x1).unwrap();
    let entropic = Entropic::new(EPSILON).unwrap();
    let plan = entropic.plan(&line(&x0), &line(&x1)).unwrap();
    let moment = |f: &dyn Fn(f64, f64) -> f64| {
        plan.mass.iter().enumerate().map(|(at, mass)| mass * f(x0[at / n], x1[at % n])).sum::<f64>()
    };
    let covariance = moment(&|a, b| a * b);
    assert!((covariance / bridge.covariance() - 1.0).abs() < 0.01, "{covariance} {}", bridge.covariance());
    let v = 0.25 * (marginals.variance[0] + marginals.variance[1] + 2.0 * covariance) + 2.0 * EPSILON * 0.25;
    assert!((v - 2.2808).abs() < 0.02, "{v}");
    // Pairs drawn from it and Brownian bridges between them: the regressed drift is the closed form's.
    let indices: Vec<u64> = (0..n as u64).collect();
    let (key, latent) = (Key::new(1, Purpose::Coupling), Key::new(1, Purpose::Latent));
    for t in [0.2, 0.5, 0.8] {
        let (mut xx, mut xd, mut xv, mut xs) = (0.0, 0.0, 0.0, 0.0);
        for round in 0..40u64 {
            let counters: Vec<u64> = indices.iter().map(|i| i + round * n as u64).collect();
            let partner = entropic.pair(&line(&x0), &line(&x1), key, &counters).unwrap();
            let z =
                line(&counters.iter().map(|i| f64::from(latent.normals(*i, 1).next().unwrap())).collect::<Vec<_>>());
            let point = entropic.point(line(&x0), partner, z, &Times::all(t, n)).unwrap();
            let x = host(point.xt);
            let product = |y: Vec<f64>| mean(&x.iter().zip(y).map(|(x, y)| x * y).collect::<Vec<_>>());
            (xx, xd) = (xx + product(x.clone()) / 40.0, xd + product(host(point.drift)) / 40.0);
            (xv, xs) = (xv + product(host(point.velocity)) / 40.0, xs + product(host(point.score)) / 40.0);
        }
        let (variance, change) = bridge.variance(t);
        // Five standard errors of 16 000 draws: 6 % of the variance, and a few hundredths of each slope.
        assert!((xx / variance - 1.0).abs() < 0.06, "V({t}) = {xx}, not {variance}");
        for (what, found, wanted) in [
            ("drift", xd / xx, bridge.drift(1.0, t)),
            ("velocity", xv / xx, 0.5 * change / variance),
            ("score", xs / xx, -1.0 / variance),
        ] {
            assert!((found - wanted).abs() < 0.06, "{what} at {t}: {found}, not {wanted}");
        }
    }
}

#[test]
fn bad_input_is_refused() {
    let setting = |error: Option<FlowError>| matches!(error, Some(FlowError::Setting { .. }));
    assert!(setting(GaussianBridge::new(ROW, 0.0).err()));
    assert!(setting(GaussianBridge::new(Marginals { variance: [0.0, 1.0], ..ROW }, 1.0).err()));
    assert!(setting(optimise(&[ROW], -1.0, 3).err()));
    assert!(setting(optimise(&[ROW], 1.0, 0).err()));
    assert!(setting(optimise(&[], 1.0, 3).err()));
    assert!(setting(Marginals::of(&[], &[1.0, 2.0]).err()));
    assert!(setting(Entropic::new(f64::NAN).err()));
    let x = line(&[0.0, 1.0]);
    let bridge = Entropic::new(0.5).unwrap();
    assert!(setting(bridge.point(x.clone(), x.clone(), x.clone(), &Times::all(1.0, 2)).err()));
    assert!(matches!(bridge.point(x.clone(), line(&[0.0]), x, &Times::all(0.5, 2)), Err(FlowError::Shape { .. })));
}
