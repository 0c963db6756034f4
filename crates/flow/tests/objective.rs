//! The objective: losses with known values, weights, and exact networks as their minimisers.

mod common;

use base::{Condition, Key, Network, Pass, Purpose, Tensor, Times};
use common::{gap, host, line, mean, points};
use flow::exact::{Mixture, MixtureField};
use flow::{Loss, Objective, Parameterization as P, Path, TimeConfig, TimeLaw, Weighting};

const ALL: [P; 4] = [P::Velocity {}, P::Noise {}, P::Data {}, P::Score {}];

#[test]
fn losses_have_their_hand_computed_values() {
    let (a, b) = (points(&[vec![1.0, 2.0], vec![0.0, 0.0]]), points(&[vec![4.0, 6.0], vec![0.0, 0.0]]));
    assert_eq!(host(Loss::L2 {}.per_sample(a.clone(), b.clone())), [12.5, 0.0]);
    // |d| = 5 over two values, c·n = 0.2: (√(25 + 0.04) - 0.2)/2.
    let huber = host(Loss::PseudoHuber { c: 0.1 }.per_sample(a, b));
    assert!(gap(&huber, &[(25.04f64.sqrt() - 0.2) / 2.0, 0.0]) < 1e-12, "{huber:?}");
    // Far away the slope is 1/n; near zero it is |d|²/(2 c n²). A per-pixel norm, or c ∝ √n, would fail both.
    let n = 48;
    let at = |d: f64| {
        let row = |v: f64| points(&[std::iter::once(v).chain(std::iter::repeat_n(0.0, n - 1)).collect()]);
        host(Loss::PseudoHuber { c: 0.00054 }.per_sample(row(d), row(0.0)))[0]
    };
    assert!((at(101.0) - at(100.0) - 1.0 / n as f64).abs() < 1e-8);
    let small = 1e-4;
    assert!((at(small) / (small * small / (2.0 * 0.00054 * (n * n) as f64)) - 1.0).abs() < 1e-4);
}

/// The exact output of a parameterization as a network.
struct Exact {
    field: MixtureField,
    output: P,
    off: f64,
}

impl Network<2> for Exact {
    fn predict(&self, x: Tensor<2>, t: Tensor<1>, _: &Condition, _: &Pass) -> Tensor<2> {
        let rows: Vec<Vec<f64>> = (host(x).iter().zip(host(t)))
            .map(|(x, t)| {
                let p = self.field.posterior(&[*x], t);
                let exact = match self.output {
                    P::Velocity {} => p.velocity[0],
                    P::Noise {} => p.source[0],
                    P::Data {} => p.data[0],
                    P::Score {} => p.score[0],
                };
                vec![exact + self.off]
            })
            .collect();
        points(&rows)
    }
}

fn target() -> Mixture {
    Mixture::new(vec![0.5, 0.5], vec![vec![-2.0], vec![2.0]], vec![vec![0.25], vec![0.25]]).unwrap()
}

fn pairs(n: u64) -> (Vec<f64>, Vec<f64>) {
    let noise = Key::new(5, Purpose::Noise);
    let data = Key::new(5, Purpose::Class);
    (0..n).map(|i| (f64::from(noise.normals(i, 1).next().unwrap()), target().sample(data, i)[0])).unzip()
}

#[test]
fn the_exact_posterior_minimises_every_objective() {
    let (x0, x1) = pairs(3000);
    let indices: Vec<u64> = (0..3000).collect();
    for path in [Path::Linear {}, Path::Trigonometric {}, Path::vp()] {
        for parameterization in ALL {
            let objective = Objective {
                path: path.clone(),
                parameterization,
                time: TimeConfig::new(TimeLaw::LogitNormal { mean: 0.0, std: 0.7 }),
                ..Objective::default()
            };
            objective.check().unwrap();
            let times = objective.times(Key::new(1, Purpose::Time), &indices);
            let loss = |off: f64| {
                let field = MixtureField::new(path.clone(), target()).unwrap();
                let network = Exact { field, output: parameterization, off };
                let losses = objective.loss(&network, line(&x0), line(&x1), &Condition::none(), &times, &Pass::Infer);
                host(losses.unwrap())
            };
            let (exact, above, below) = (loss(0.0), loss(0.2), loss(-0.2));
            // A shift of d adds d² plus noise of mean zero; the noise cancels between +d and -d, so their mean is exact.
            let both: Vec<f64> = above.iter().zip(&below).map(|(a, b)| 0.5 * (a + b)).collect();
            assert!((mean(&both) - mean(&exact) - 0.04).abs() < 1e-4, "{path:?} {parameterization:?}");
            // First-order condition: the residual has mean zero within five standard errors.
            let slope: Vec<f64> = above.iter().zip(&below).map(|(a, b)| (a - b) / 0.8).collect();
            let spread = (mean(&slope.iter().map(|s| s * s).collect::<Vec<_>>()) / slope.len() as f64).sqrt();
            assert!(mean(&slope).abs() < 5.0 * spread, "{path:?} {parameterization:?}: {} ± {spread}", mean(&slope));
        }
    }
}

#[test]
fn weights_multiply_and_velocity_weights_measure_velocity_errors() {
    let (x0, x1) = pairs(64);
    let indices: Vec<u64> = (0..64).collect();
    let path = Path::Linear {};
    for parameterization in ALL {
        let objective = Objective { parameterization, weighting: Weighting::Velocity {}, ..Objective::default() };
        let times = objective.times(Key::new(1, Purpose::Time), &indices);
        let field = MixtureField::new(path.clone(), target()).unwrap();
        let network = Exact { field: field.clone(), output: parameterization, off: 0.0 };
        let weighted = objective.loss(&network, line(&x0), line(&x1), &Condition::none(), &times, &Pass::Infer);
        // The same as asking the velocity network, because the conversion is affine in the output.
        let direct = Exact { field, output: P::Velocity {}, off: 0.0 };
        let plain = Objective::default().loss(&direct, line(&x0), line(&x1), &Condition::none(), &times, &Pass::Infer);
        let (weighted, plain) = (host(weighted.unwrap()), host(plain.unwrap()));
        for (a, b) in weighted.iter().zip(&plain) {
            // Network times travel as f32 (relative 6e-8) and conversions multiply that by up to 1/1e-3.
            assert!((a - b).abs() < 2e-3 * (1.0 + b), "{parameterization:?}: {a} instead of {b}");
        }
    }
    let times = Times::new(vec![0.0, 0.5, 1.0]);
    let weights = Weighting::NoiseFraction { power: 1.0 }.weights(&path, P::Velocity {}, &times).unwrap();
    assert_eq!(weights[..2], [1.0, 0.5]);
    assert!(Weighting::NoiseFraction { power: -1.0 }.weights(&path, P::Velocity {}, &times).unwrap()[2].is_finite());
}

#[test]
fn singular_times_never_reach_the_loss() {
    let (x0, x1) = (line(&[0.5, -0.5]), line(&[1.0, 2.0]));
    for path in [Path::Linear {}, Path::Trigonometric {}, Path::vp()] {
        for parameterization in ALL {
            let objective = Objective {
                path: path.clone(),
                parameterization,
                weighting: Weighting::Velocity {},
                ..Objective::default()
            };
            let field = MixtureField::new(path.clone(), target()).unwrap();
            let network = Exact { field, output: parameterization, off: 0.0 };
            let ends = Times::new(vec![0.0, 1.0]);
            let losses = objective.loss(&network, x0.clone(), x1.clone(), &Condition::none(), &ends, &Pass::Infer);
            let losses = host(losses.unwrap());
            assert!(losses.iter().all(|l| l.is_finite()), "{path:?} {parameterization:?}: {losses:?}");
        }
    }
}

#[test]
fn recipes_name_their_parts_and_unknown_keys_are_refused() {
    let text = r#"
        path = { type = "vp" }
        parameterization = { type = "noise" }
        loss = { type = "pseudo_huber" }
        weighting = { type = "noise_fraction", power = 1.0 }
        [time]
        shift = 3.0
        law = { type = "logit_normal", mean = 0.5 }
    "#;
    let objective: Objective = toml::from_str(text).unwrap();
    assert_eq!(objective.path, Path::vp());
    assert_eq!(objective.loss, Loss::PseudoHuber { c: 0.00054 });
    assert_eq!(objective.time.law, TimeLaw::LogitNormal { mean: 0.5, std: 1.0 });
    let again: Objective = toml::from_str(&toml::to_string(&objective).unwrap()).unwrap();
    assert_eq!(again, objective, "a resolved recipe reads back as itself");
    assert_eq!(toml::from_str::<Objective>("").unwrap(), Objective::default());
    let wrong = [
        "pathh = { type = \"linear\" }",
        "path = { type = \"linear\", beta_min = 1.0 }",
        "path = { type = \"straight\" }",
        "time = { law = { type = \"u_shaped\", b = 1.0 } }",
        "loss = { type = \"l2\", c = 1.0 }",
    ];
    for text in wrong {
        assert!(toml::from_str::<Objective>(text).is_err(), "{text}");
    }
}
