//! The objective: losses with known values, weights, and exact networks as their minimisers.

use crate::common;

use base::{Condition, Key, Network, Pass, Purpose, Tensor, Times};
use common::{gap, host, line, mean, points};
use flow::exact::{Mixture, MixtureField};
use flow::{Beside, Gauge, Loss, Objective, Parameterization as P, Path, TimeConfig, TimeLaw, Weighting};

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

/// Counts a difference three times where the data point is above zero.
struct Above;

impl Gauge<2> for Above {
    fn seen(&self, read: Tensor<2>, wanted: Tensor<2>, data: Option<&Tensor<2>>) -> (Tensor<2>, Tensor<2>) {
        let data = data.unwrap();
        let factor = data.zeros_like().mask_fill(data.clone().greater_elem(0.0), 2.0) + 1.0;
        (read * factor.clone(), wanted * factor)
    }
}

/// Says nothing.
struct Silent;

impl Network<2> for Silent {
    fn predict(&self, x: Tensor<2>, _: Tensor<1>, _: &Condition, _: &Pass) -> Tensor<2> {
        x.zeros_like()
    }
}

/// What the loss looks through acts on both sides, and knows the data point and not the noise. Mutants: the wanted side left as it
/// is; the noise in the data's place.
#[test]
fn a_gauge_measures_differences_by_their_data_point() {
    let (x0, x1) = (points(&[vec![4.0], vec![-4.0]]), points(&[vec![-1.0], vec![2.0]]));
    let (objective, times) = (Objective::default(), Times::all(0.5, 2));
    let loss = |gauge: Option<&dyn Gauge<2>>| {
        let beside = Beside { gauge, ..Beside::default() };
        let ends = (x0.clone(), x1.clone()).into();
        let losses = objective.loss_seen(&Silent, ends, &Condition::none(), &times, &Pass::Infer, beside);
        host(losses.unwrap())
    };
    assert!(gap(&loss(None), &[25.0, 36.0]) < 1e-4);
    assert!(gap(&loss(Some(&Above)), &[25.0, 9.0 * 36.0]) < 1e-4);
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
                    other => panic!("{other:?} is looked at in interpolants.rs"),
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
    let weights =
        Weighting::NoiseFraction { power: 1.0 }.weights(&path, P::Velocity {}, &TimeConfig::default(), &times).unwrap();
    assert_eq!(weights[..2], [1.0, 0.5]);
    assert!(
        Weighting::NoiseFraction { power: -1.0 }
            .weights(&path, P::Velocity {}, &TimeConfig::default(), &times)
            .unwrap()[2]
            .is_finite()
    );
}

#[test]
fn likelihood_and_min_snr_weigh_the_same_errors_whatever_the_output() {
    // SiT's weights and min-SNR are stated for the noise (or the data); the weight of any other output is that times the
    // square of how much noise (or data) its error stands for, so the weighted errors agree.
    let times = Times::new(vec![0.1, 0.3, 0.5, 0.8]);
    let q = TimeConfig::default();
    for path in [Path::Linear {}, Path::Trigonometric {}, Path::vp()] {
        for output in [P::Velocity {}, P::Noise {}, P::Data {}, P::Score {}, P::VPrediction {}] {
            let likelihood = Weighting::Likelihood {}.weights(&path, output, &q, &times).unwrap();
            let snr = Weighting::MinSnr { cap: 5.0 }.weights(&path, output, &q, &times).unwrap();
            for (i, &t) in times.values().iter().enumerate() {
                let c = path.at(t);
                let share = |wanted: P| output.convert(wanted, &c).of_output.powi(2);
                // w = s² a'/a - s s' with a = beta, s = alpha; likelihood is w/s² on the noise.
                let w = c.alpha * c.alpha * c.d_beta / c.beta - c.alpha * c.d_alpha;
                let expected = w / (c.alpha * c.alpha) * share(P::Noise {});
                assert!((likelihood[i] / expected - 1.0).abs() < 1e-12, "{path:?} {output:?} at {t}");
                let expected = (c.beta / c.alpha).powi(2).min(5.0) * share(P::Data {});
                assert!((snr[i] / expected - 1.0).abs() < 1e-12, "{path:?} {output:?} at {t}");
            }
        }
    }
    // On the linear path and for its velocity: t/(1-t) and min(t²/(1-t)², 5) (1-t)².
    let of = |w: Weighting| w.weights(&Path::Linear {}, P::Velocity {}, &q, &times).unwrap();
    assert!(gap(&of(Weighting::Likelihood {}), &[1.0 / 9.0, 3.0 / 7.0, 1.0, 4.0]) < 1e-12);
    assert!(gap(&of(Weighting::MinSnr { cap: 5.0 }), &[0.01, 0.09, 0.25, 0.2]) < 1e-12);
    // Both ends stay finite.
    let ends = Times::new(vec![0.0, 1.0]);
    for w in [Weighting::Likelihood {}, Weighting::MinSnr { cap: 5.0 }] {
        for output in ALL {
            assert!(w.weights(&Path::Linear {}, output, &q, &ends).unwrap().iter().all(|w| w.is_finite()), "{w:?}");
        }
    }
}

#[test]
fn a_pi_ratio_trains_as_the_law_it_names() {
    // E_{t~q}[π/q g] = E_{t~π}[g]: the mean of t² over 20000 draws of q against the quantiles of π.
    let law = TimeLaw::LogitNormal { mean: 0.5, std: 1.0 };
    let q = TimeConfig::new(TimeLaw::Uniform {});
    let times = q.sample(Key::new(3, Purpose::Time), &(0..20_000).collect::<Vec<_>>());
    let weights =
        Weighting::PiRatio { law: law.clone() }.weights(&Path::Linear {}, P::Velocity {}, &q, &times).unwrap();
    let got = mean(&times.values().iter().zip(&weights).map(|(t, w)| w * t * t).collect::<Vec<_>>());
    let wanted = mean(&(0..2000).map(|i| law.quantile((i as f64 + 0.5) / 2000.0).powi(2)).collect::<Vec<_>>());
    assert!((got / wanted - 1.0).abs() < 0.02, "{got} instead of {wanted}"); // standard error 0.5 %
    // Drawn from the law itself there is nothing to weigh.
    let own = Weighting::PiRatio { law: law.clone() };
    let ones = own.weights(&Path::Linear {}, P::Velocity {}, &TimeConfig::new(law), &times).unwrap();
    assert!(ones.iter().all(|w| (w - 1.0).abs() < 1e-12));
}

#[test]
fn combinations_without_meaning_are_refused_with_their_reason() {
    let refused = |objective: Objective| objective.check().unwrap_err().to_string();
    let on = |path: Path| Objective { path, ..Objective::default() };
    let latent = || on(Path::brownian(1.0));
    latent().check().unwrap();
    let score = Objective { parameterization: P::Score {}, ..latent() };
    assert!(refused(score.clone()).contains("antithetic"));
    Objective { antithetic: true, ..score }.check().unwrap();
    assert!(refused(Objective { antithetic: true, ..Objective::default() }).contains("no latent"));
    assert!(refused(Objective { parameterization: P::VPrediction {}, ..latent() }).contains("says nothing"));
    let mirror = Path::Mirror { latent: flow::Gamma::default() };
    assert!(refused(Objective { parameterization: P::Noise {}, ..on(mirror) }).contains("mirror"));
    assert!(refused(Objective { parameterization: P::Drift { diffusion: 0.0 }, ..latent() }).contains("positive"));
    assert!(refused(Objective { weighting: Weighting::Likelihood {}, ..latent() }).contains("one-sided"));
    let velocity = Objective { weighting: Weighting::Velocity {}, parameterization: P::Latent {}, ..latent() };
    assert!(refused(velocity).contains("two networks"));
    let steps = TimeConfig::new(TimeLaw::Steps { count: 4 });
    let weighting = || Weighting::PiRatio { law: TimeLaw::CosMap {} };
    assert!(refused(Objective { time: steps, weighting: weighting(), ..Objective::default() }).contains("density"));
    let law = TimeLaw::Constant { t: 0.5 };
    assert!(refused(Objective { weighting: Weighting::PiRatio { law }, ..Objective::default() }).contains("density"));
    // And a latent that nobody gave.
    let network =
        Exact { field: MixtureField::new(Path::Linear {}, target()).unwrap(), output: P::Velocity {}, off: 0.0 };
    for antithetic in [false, true] {
        let objective = Objective { antithetic, ..latent() };
        let (x, times) = (line(&[0.0]), Times::all(0.5, 1));
        let error = objective.loss(&network, x.clone(), x, &Condition::none(), &times, &Pass::Infer).unwrap_err();
        assert!(error.to_string().contains("latent"), "{error}");
    }
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
