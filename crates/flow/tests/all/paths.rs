//! Paths: boundary values, derivatives, products that stay finite, points of pairs, recipes.

use crate::common;

use base::Times;
use common::{gap, host, points};
use flow::path::{Expressions, Sides, diffusion::Discrete, diffusion::Rates};
use flow::{Curve, Ends, FlowError, Gamma, Path};

/// Without latent, from a standard normal source to the data.
fn one_sided() -> Vec<Path> {
    vec![
        Path::Linear {},
        Path::Trigonometric {},
        Path::vp(),
        Path::SubVp { beta_min: 0.1, beta_max: 20.0 },
        Path::ConstantSpeedVp {},
        Path::Cosine { offset: 0.008 },
        Path::Ddpm(Discrete::default()),
        Path::Ddpm(Discrete { zero_terminal: true, rates: Rates::Linear, ..Discrete::default() }),
        Path::Polynomial { power: 3.0 },
        Path::Custom(Expressions::new("cos(PI*t/2)", "sin(PI*t/2)", None).unwrap()),
    ]
}

fn gammas() -> [Gamma; 5] {
    [
        Gamma::Brownian { scale: 1.0 },
        Gamma::Brownian { scale: 2.0 },
        Gamma::Bsquared {},
        Gamma::Sinesquared {},
        Gamma::Sigmoid { steepness: 10.0 },
    ]
}

/// Every curve with every latent it can carry.
fn two_sided() -> Vec<Path> {
    let curves =
        [Curve::Linear {}, Curve::Trigonometric {}, Curve::EncodingDecoding {}, Curve::Polynomial { power: 2.0 }];
    let mut all: Vec<Path> = (curves.into_iter())
        .flat_map(|curve| gammas().map(|latent| Path::Interpolant { curve: curve.clone(), latent }))
        .filter(|path| path.check().is_ok())
        .collect();
    assert_eq!(all.len(), 19, "all but the trigonometric curve with sinesquared");
    all.push(Path::Diffusive { diffusion: 0.7 });
    all.push(Path::Custom(Expressions::new("(1-t)^2", "t*(2-t)", Some("sqrt(2*t*(1-t))")).unwrap()));
    all
}

fn mirrors() -> Vec<Path> {
    gammas().map(|latent| Path::Mirror { latent }).to_vec()
}

fn wide() -> Vec<Path> {
    vec![Path::Ve { sigma_min: 0.01, sigma_max: 50.0 }, Path::Edm { sigma_max: 80.0, rho: 7.0 }]
}

fn paths() -> Vec<Path> {
    [one_sided(), two_sided(), mirrors(), wide()].concat()
}

#[test]
fn paths_start_at_the_source_and_end_at_the_data() {
    for path in paths() {
        path.check().unwrap();
        let (start, end) = (path.at(0.0), path.at(1.0));
        // VP leaves a trace of data at the noise end: exp(-5.025) = 0.00657; Stable Diffusion ten times as much.
        let trace = match path.name() {
            "vp" | "sub_vp" => 0.0066,
            "ddpm" => 0.0683,
            _ => 0.0,
        };
        let start_scale = path.start_scale();
        match path.sides() {
            Sides::Mirror => assert_eq!((start.alpha, start.beta), (0.0, 1.0)),
            _ if start_scale != 1.0 => {
                assert_eq!((start.alpha, start.beta), (start_scale, 1.0), "{path:?}");
                assert!((path.input_scale(0.0) * start_scale - 1.0).abs() < 2e-4, "{path:?}");
            }
            _ => {
                let lost = if path.name() == "ddpm" { 2.4e-3 } else { 5e-5 };
                assert!((start.alpha - 1.0).abs() < lost && start.beta <= trace, "{path:?}: {start:?}");
            }
        }
        assert!(end.alpha.abs() < 1e-15 && end.beta == 1.0, "{path:?}: {end:?}");
        assert_eq!((start.gamma, end.gamma), (0.0, 0.0), "{path:?}");
        assert_eq!(path.has_latent(), path.at(0.4).gamma > 0.0);
        // Time outside [0, 1] is held to it, not extrapolated.
        assert_eq!((path.at(-1.0), path.at(2.0)), (start, end));
    }
}

#[test]
fn derivatives_are_the_slopes_of_the_coefficients() {
    // Central differences with h = 1e-6: truncation h² f''' below 1e-6 (f''' of √t at t = 0.0037 is 1e6, with a slope of 8),
    // rounding 80 · 1e-16/h = 1e-8. Between the knots of discrete schedules, whose slopes jump there.
    let h = 1e-6;
    for path in paths() {
        for i in 0..100 {
            let t = (i as f64 + 0.37) / 100.0;
            let (c, up, down) = (path.at(t), path.at(t + h), path.at(t - h));
            let close = |what: &str, slope: f64, up: f64, down: f64| {
                let measured = (up - down) / (2.0 * h);
                assert!(
                    (slope - measured).abs() < 2e-6 * (1.0 + slope.abs()),
                    "{path:?} {what} at {t}: {slope} {measured}"
                );
            };
            close("alpha", c.d_alpha, up.alpha, down.alpha);
            close("beta", c.d_beta, up.beta, down.beta);
            close("gamma", c.d_gamma, up.gamma, down.gamma);
            let room = |a: f64| 1e-12 * (1.0 + a.abs());
            assert!(
                (c.alpha_d_alpha - c.alpha * c.d_alpha).abs() < room(c.alpha_d_alpha),
                "{path:?} alpha alpha' at {t}"
            );
            assert!(
                (c.gamma_d_gamma - c.gamma * c.d_gamma).abs() < room(c.gamma_d_gamma),
                "{path:?} gamma gamma' at {t}"
            );
        }
    }
}

#[test]
fn everything_is_finite_at_both_ends_and_the_products_have_their_limits() {
    for path in paths() {
        for t in [0.0, 1e-300, 1e-17, 1.0 - 1e-16, 1.0] {
            let c = path.at(t);
            let all = [c.alpha, c.beta, c.gamma, c.d_alpha, c.d_beta, c.d_gamma, c.alpha_d_alpha, c.gamma_d_gamma];
            assert!(all.iter().all(|v| v.is_finite()), "{path:?} at {t}: {c:?}");
        }
    }
    // γ² = a t(1-t): γγ' = ±a/2 at the ends although γ' diverges; every smoother latent gives zero.
    for latent in gammas() {
        let expected = if let Gamma::Brownian { scale } = latent { scale / 2.0 } else { 0.0 };
        assert_eq!((latent.at(0.0).2, latent.at(1.0).2), (expected, -expected), "{latent:?}");
    }
    // VP at the data: alpha² = 1 - beta², so alpha alpha' = -beta beta' = -beta_min/2.
    assert!((Path::vp().at(1.0).alpha_d_alpha + 0.05).abs() < 1e-15);
    assert!((Path::ConstantSpeedVp {}.at(1.0).alpha_d_alpha + 1.0).abs() < 1e-15);
    // VE: alpha² = σ²(r^{2(1-t)} - 1), so alpha alpha' = -σ² ln r at the data.
    assert!((wide()[0].at(1.0).alpha_d_alpha + 1e-4 * 5000f64.ln()).abs() < 1e-15);
    // An expression whose slope diverges at an end: √(2t(1-t)) has γγ' = 1 there, read 1e-5 inside.
    let custom = Path::Custom(Expressions::new("1-t", "t", Some("sqrt(2*t*(1-t))")).unwrap());
    assert!((custom.at(0.0).gamma_d_gamma - 1.0).abs() < 3e-5 && (custom.at(1.0).gamma_d_gamma + 1.0).abs() < 3e-5);
}

#[test]
fn families_have_their_printed_values() {
    // With a = 19.9, b = 0.1 (2209.03003): beta(1/2) = exp(-19.9/16 - 0.1/4).
    let vp_half = (-19.9f64 / 16.0 - 0.025).exp();
    assert!((Path::vp().at(0.5).beta - vp_half).abs() < 1e-15);
    assert!((one_sided()[3].at(0.5).alpha - (1.0 - vp_half * vp_half)).abs() < 1e-15);
    // Variance-preserving ones are; so is the trigonometric curve beside any latent, and the linear one with a = 2.
    let keeps = |path: &Path| {
        let c = path.at(0.3);
        (c.alpha * c.alpha + c.beta * c.beta + c.gamma * c.gamma - 1.0).abs() < 1e-14
    };
    let names = ["trigonometric", "vp", "constant_speed_vp", "cosine", "ddpm"];
    assert!(one_sided().iter().filter(|path| names.contains(&path.name())).all(keeps));
    for path in two_sided() {
        let trigonometric = matches!(path, Path::Interpolant { curve: Curve::Trigonometric {}, .. });
        assert!(!trigonometric || keeps(&path), "{path:?}");
    }
    assert!(keeps(&Path::brownian(2.0)) && !keeps(&Path::brownian(1.0)));
    // The name means both: a Brownian bridge of diffusion a is the linear interpolant with scale 2a.
    assert_eq!(Path::Diffusive { diffusion: 0.5 }.at(0.2), Path::brownian(1.0).at(0.2));
    // Nothing of either end is left in the middle of encoding-decoding.
    let middle = Path::Interpolant { curve: Curve::EncodingDecoding {}, latent: Gamma::Sinesquared {} }.at(0.5);
    assert!(middle.alpha.abs() < 1e-30 && middle.beta.abs() < 1e-30 && (middle.gamma - 1.0).abs() < 1e-15);
    // The sigmoid latent of the authors' program, f = 10, in the middle: S(1) - S(-1) - S(-4) + S(-6).
    assert!((Gamma::Sigmoid { steepness: 10.0 }.at(0.5).0 - 0.446_603_8).abs() < 1e-6);
    // EDM's grid: equal steps in t are equal steps of σ^(1/7).
    let sigma = |t: f64| wide()[1].at(t).alpha;
    assert!((sigma(0.25).powf(1.0 / 7.0) - 0.75 * 80f64.powf(1.0 / 7.0)).abs() < 1e-14);
}

#[test]
fn discrete_schedules_have_the_terminal_noise_of_stable_diffusion() {
    // √abar of the last of 1000 steps: 0.0683 with scaled-linear rates, 0.0397 with linear ones of the same ends.
    let scaled = Discrete::default();
    let linear = Discrete { rates: Rates::Linear, ..scaled.clone() };
    let terminal = |schedule: &Discrete| Path::Ddpm(schedule.clone()).at(schedule.time(999)).beta;
    assert!((terminal(&scaled) - 0.0683).abs() < 5e-5, "{}", terminal(&scaled));
    assert!((terminal(&linear) - 0.0397).abs() < 5e-5, "{}", terminal(&linear));
    // Written out: step 499 is the product of 500 factors.
    let product: f64 = (0..500).map(|i| 1.0 - (0.00085 + (0.012 - 0.00085) * f64::from(i) / 999.0)).product();
    assert!((Path::Ddpm(linear.clone()).at(linear.time(499)).beta - product.sqrt()).abs() < 1e-12);
    // Zero terminal SNR: nothing is left at the end, the first step stays, and the order too.
    let zero = Discrete { zero_terminal: true, ..scaled.clone() };
    assert_eq!(terminal(&zero), 0.0);
    let first = |schedule: &Discrete| Path::Ddpm(schedule.clone()).at(schedule.time(0)).beta;
    assert!((first(&zero) - first(&scaled)).abs() < 1e-15 && (first(&scaled) - 0.99915f64.sqrt()).abs() < 1e-15);
}

#[test]
fn a_point_mixes_each_pair_by_its_own_time() {
    let (x0, x1) = (vec![vec![1.0, -2.0], vec![0.5, 3.0]], vec![vec![4.0, 0.0], vec![-1.0, 1.0]]);
    let z = vec![vec![-0.5, 0.25], vec![2.0, 1.5]];
    for path in paths() {
        for times in [vec![0.25, 0.75], vec![0.0, 0.0], vec![0.5, 0.5], vec![1.0, 0.0]] {
            let ends = Ends { x0: points(&x0), x1: points(&x1), z: Some(points(&z)) };
            let point = path.point_of(ends, &Times::new(times.clone())).unwrap();
            assert_eq!(point.z.is_some(), path.has_latent());
            let (mut xt, mut dxt) = (vec![], vec![]);
            for row in 0..2 {
                let c = path.at(times[row]);
                for k in 0..2 {
                    xt.push(c.alpha * x0[row][k] + c.beta * x1[row][k] + c.gamma * z[row][k]);
                    dxt.push(c.d_alpha * x0[row][k] + c.d_beta * x1[row][k] + c.d_gamma * z[row][k]);
                }
            }
            assert!(gap(&host(point.xt), &xt) < 1e-13, "{path:?} {times:?}");
            assert!(gap(&host(point.dxt), &dxt) < 1e-9, "{path:?} {times:?}"); // EDM's slope is 560 at the noise
        }
    }
}

#[test]
fn wrong_settings_and_shapes_are_refused() {
    let latent = || Gamma::Brownian { scale: 1.0 };
    let custom = |a: &str, b: &str, g: Option<&str>| Path::Custom(Expressions::new(a, b, g).unwrap());
    let wrong = [
        Path::Vp { beta_min: -1.0, beta_max: 20.0 },
        Path::Vp { beta_min: 1.0, beta_max: 0.5 },
        Path::SubVp { beta_min: f64::NAN, beta_max: 0.5 },
        Path::Ve { sigma_min: 0.1, sigma_max: 0.1 },
        Path::Edm { sigma_max: 80.0, rho: 0.5 },
        Path::Cosine { offset: 1.0 },
        Path::Polynomial { power: 0.5 },
        Path::Ddpm(Discrete { steps: 1, ..Discrete::default() }),
        Path::Ddpm(Discrete { rate_end: 1.0, ..Discrete::default() }),
        Path::Mirror { latent: Gamma::Zero {} },
        Path::Diffusive { diffusion: 0.0 },
        Path::Interpolant { curve: Curve::EncodingDecoding {}, latent: Gamma::Zero {} },
        Path::Interpolant { curve: Curve::Trigonometric {}, latent: Gamma::Brownian { scale: 4.0 } },
        Path::Interpolant { curve: Curve::Trigonometric {}, latent: Gamma::Sinesquared {} },
        Path::Interpolant { curve: Curve::Linear {}, latent: Gamma::Brownian { scale: -1.0 } },
        Path::Interpolant { curve: Curve::Polynomial { power: 0.0 }, latent: latent() },
        Path::Mirror { latent: Gamma::Sigmoid { steepness: 0.0 } },
        custom("t", "1-t", None),
        custom("1-t", "t", Some("t*(1-t)-0.1*t*t*(1-t)*(1-t)*70")),
    ];
    for path in wrong {
        assert!(matches!(path.check(), Err(FlowError::Setting { .. })), "{path:?}");
    }
    for text in ["1 - x", "1 -", "ln(t-0.5)", "1/(t-0.5078125)"] {
        let error = Expressions::new(text, "t", None).unwrap_err();
        assert!(error.to_string().contains("path.alpha"), "{error}");
    }
    let (x0, x1) = (points(&[vec![0.0, 0.0]]), points(&[vec![0.0, 0.0, 0.0]]));
    let error = Path::Linear {}.point(x0.clone(), x1.clone(), &Times::all(0.5, 1)).unwrap_err();
    assert!(matches!(error, FlowError::Shape { .. }), "{error}");
    assert!(Path::Linear {}.point(x0.clone(), x0.clone(), &Times::all(0.5, 2)).is_err());
    // A latent that is missing or of another shape.
    let missing = Path::brownian(1.0).point(x0.clone(), x0.clone(), &Times::all(0.5, 1)).unwrap_err();
    assert!(missing.to_string().contains("latent"), "{missing}");
    let ends = Ends { x0: x0.clone(), x1: x0, z: Some(x1) };
    assert!(matches!(Path::brownian(1.0).point_of(ends, &Times::all(0.5, 1)), Err(FlowError::Shape { .. })));
}

#[test]
fn recipes_name_every_path_and_old_ones_keep_their_text() {
    let parse = |text: &str| toml::from_str::<Path>(text);
    for path in paths() {
        let text = toml::to_string(&path).unwrap();
        assert!(text.contains(&format!("type = \"{}\"", path.name())), "{text}");
        assert_eq!(parse(&text).unwrap(), path, "{text}");
    }
    // What earlier recipes and checkpoints hold.
    assert_eq!(toml::to_string(&Path::Linear {}).unwrap().trim(), "type = \"linear\"");
    let same = [
        ("type = 'gvp'", Path::Trigonometric {}),
        ("type = 'one_sided_linear'", Path::Linear {}),
        ("type = 'one_sided_vp'", Path::ConstantSpeedVp {}),
        ("type = 'interpolant'", Path::brownian(1.0)),
        ("type = 'interpolant'\nlatent = { type = 'brownian', scale = 2 }", Path::brownian(2.0)),
        ("type = 'ddpm'\nrates = 'scaled_linear'", Path::Ddpm(Discrete::default())),
        ("type = 'mirror'\nlatent = { type = 'bsquared' }", Path::Mirror { latent: Gamma::Bsquared {} }),
    ];
    for (text, path) in same {
        assert_eq!(parse(text).unwrap(), path, "{text}");
    }
    let wrong = [
        "type = 'interpolant'\nlatent = { type = 'brown' }",
        "type = 'interpolant'\ngamma = { type = 'brownian' }",
        "type = 'ddpm'\nbetas = 'linear'",
        "type = 'custom'\nalpha = '1-t'\nbeta = 't'\ndelta = '0'",
        "type = 'custom'\nalpha = '1-t'",
        "type = 'custom'\nalpha = '1-'\nbeta = 't'",
    ];
    for text in wrong {
        assert!(parse(text).is_err(), "{text}");
    }
}
