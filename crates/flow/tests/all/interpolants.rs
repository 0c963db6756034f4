//! Stochastic interpolants, 2303.08797, in closed form: identities between b, v, s and η, their objectives, antithetic
//! pairs, two networks as one field.

use crate::common;

use base::{Condition, Key, Network, Pass, Purpose, Tensor, Times};
use common::{gap, host, line, mean, points};
use flow::exact::{Mixture, MixtureField};
use flow::{
    Curve, Ends, Field, Gamma, JointField, Objective, Parameterization as P, Path, PathField, ScoreField, TimeConfig,
    TimeLaw,
};

/// The one-dimensional mixtures of the authors' notebook: two modes to three.
fn source() -> Mixture {
    Mixture::new(vec![1.0; 2], vec![vec![-3.0], vec![3.0]], vec![vec![0.25]; 2]).unwrap()
}

fn target() -> Mixture {
    let means = vec![vec![-6.0], vec![0.0], vec![6.0]];
    Mixture::new(vec![1.0; 3], means, vec![vec![0.5], vec![0.33], vec![0.5]]).unwrap()
}

fn between(path: Path) -> MixtureField {
    MixtureField::between(path, source(), target()).unwrap()
}

/// Paths with a latent and two sides: every γ on the linear curve, and every other family.
fn two_sided() -> Vec<Path> {
    let on = |curve: Curve, latent: Gamma| Path::Interpolant { curve, latent };
    vec![
        Path::brownian(1.0),
        Path::brownian(2.0),
        on(Curve::Linear {}, Gamma::Bsquared {}),
        on(Curve::Linear {}, Gamma::Sinesquared {}),
        on(Curve::Linear {}, Gamma::Sigmoid { steepness: 10.0 }),
        on(Curve::Trigonometric {}, Gamma::Brownian { scale: 1.0 }),
        on(Curve::EncodingDecoding {}, Gamma::Sinesquared {}),
        on(Curve::Polynomial { power: 2.0 }, Gamma::Brownian { scale: 1.0 }),
        Path::Diffusive { diffusion: 0.5 },
    ]
}

fn grid() -> impl Iterator<Item = (f64, f64)> {
    (1..100).flat_map(|i| (-32..=32).map(move |k| (i as f64 / 100.0, k as f64 / 4.0)))
}

/// Largest `|b - (v + share · s)|/(1+|b|)`, `v` from the posterior means of the two ends.
fn identity(field: &MixtureField, share: impl Fn(&flow::Coefficients) -> f64) -> f64 {
    let one = |(t, x): (f64, f64)| {
        let (p, c) = (field.posterior(&[x], t), field.path().at(t));
        let v = c.d_alpha * p.source[0] + c.d_beta * p.data[0];
        (p.velocity[0] - v - share(&c) * p.score[0]).abs() / (1.0 + p.velocity[0].abs())
    };
    grid().map(one).fold(0.0, f64::max)
}

#[test]
fn the_velocity_is_the_interpolants_less_gamma_gamma_prime_times_the_score() {
    let field = between(Path::brownian(1.0));
    let worst = identity(&field, |c| -c.gamma_d_gamma);
    assert!(worst < 1e-13, "{worst}"); // 9e-16 in the authors' case
    // The mirror notebook's sign, and a factor two of γ² instead of γ.
    assert!(identity(&field, |c| c.gamma_d_gamma) > 1e-2);
    assert!(identity(&field, |c| -2.0 * c.gamma_d_gamma) > 1e-2);
    for path in two_sided() {
        let worst = identity(&between(path.clone()), |c| -c.gamma_d_gamma);
        assert!(worst < 1e-12, "{path:?}: {worst}");
    }
}

#[test]
fn density_is_carried_by_the_velocity_and_by_nothing_less() {
    // Continuity ∂ρ/∂t + ∂(ρ b)/∂x = 0 by central differences of 1e-4: truncation 1e-8 times third derivatives.
    let h = 1e-4;
    let worst = |path: &Path, velocity: &dyn Fn(&MixtureField, f64, f64) -> f64| {
        let field = between(path.clone());
        let rho = |x: f64, t: f64| field.posterior(&[x], t).log_density.exp();
        let flux = |x: f64, t: f64| rho(x, t) * velocity(&field, x, t);
        let mut worst = 0f64;
        for t in [0.05, 0.2, 0.35, 0.55, 0.7, 0.9] {
            for i in -16..=16 {
                let x = i as f64 / 2.0;
                let d_rho = (rho(x, t + h) - rho(x, t - h)) / (2.0 * h);
                worst = worst.max((d_rho + (flux(x + h, t) - flux(x - h, t)) / (2.0 * h)).abs());
            }
        }
        worst
    };
    let b = |field: &MixtureField, x: f64, t: f64| field.posterior(&[x], t).velocity[0];
    for path in [two_sided(), vec![Path::Mirror { latent: Gamma::Brownian { scale: 10.0 } }]].concat() {
        let residual = worst(&path, &b);
        // Encoding-decoding changes fastest, and so do its third derivatives.
        let room = if path == Path::brownian(1.0) { 1e-5 } else { 3e-5 };
        assert!(residual < room, "{path:?}: {residual}");
    }
    // v alone leaves out what the latent carries.
    let v = |field: &MixtureField, x: f64, t: f64| {
        let p = field.posterior(&[x], t);
        p.data[0] - p.source[0]
    };
    assert!(worst(&Path::brownian(1.0), &v) > 1e-3);
}

#[test]
fn end_point_velocities_have_their_limits() {
    // b(0,x) = α'(0)x + β'(0) E[x1] - lim(γγ') s0(x), b(1,x) = α'(1) E[x0] + β'(1)x - lim(γγ') s1(x); both means are zero.
    let field = between(Path::brownian(1.0));
    for x in [-4.0, -0.5, 2.0, 5.5] {
        let at = |t: f64| field.posterior(&[x], t);
        let score = |mixture: &Mixture| {
            let h = 1e-5;
            (mixture.log_density(&[x + h]) - mixture.log_density(&[x - h])) / (2.0 * h)
        };
        assert!((at(0.0).velocity[0] - (-x - 0.5 * score(&source()))).abs() < 1e-7);
        assert!((at(1.0).velocity[0] - (x + 0.5 * score(&target()))).abs() < 1e-7);
    }
}

/// The exact output of a parameterization as a network.
struct Exact {
    field: MixtureField,
    output: P,
    off: f64,
}

fn exact(field: &MixtureField, output: P, x: f64, t: f64) -> f64 {
    let (p, c) = (field.posterior(&[x], t), field.path().at(t));
    match output {
        P::Velocity {} => p.velocity[0],
        P::InterpolantVelocity {} => c.d_alpha * p.source[0] + c.d_beta * p.data[0],
        P::Noise {} => p.source[0],
        P::Data {} => p.data[0],
        P::Score {} => p.score[0],
        P::Latent {} if c.sides == flow::path::Sides::One => p.source[0],
        P::Latent {} => -c.gamma * p.score[0],
        P::VPrediction {} => c.beta * p.source[0] - c.alpha * p.data[0],
        P::Preconditioned { sigma_data: s } => {
            (c.alpha * p.data[0] - s * s * c.beta * p.source[0]) / (s * c.alpha.hypot(s * c.beta))
        }
        P::Drift { diffusion } => p.velocity[0] + diffusion * p.score[0],
    }
}

impl Network<2> for Exact {
    fn predict(&self, x: Tensor<2>, t: Tensor<1>, _: &Condition, _: &Pass) -> Tensor<2> {
        let values: Vec<f64> =
            host(x).iter().zip(host(t)).map(|(x, t)| exact(&self.field, self.output, *x, t) + self.off).collect();
        line(&values)
    }
}

fn draws(mixture: &Mixture, seed: u64, n: u64) -> Tensor<2> {
    let key = Key::new(seed, Purpose::Class);
    points(&(0..n).map(|i| mixture.sample(key, i)).collect::<Vec<_>>())
}

fn latents(n: u64) -> Tensor<2> {
    let key = Key::new(8, Purpose::Latent);
    line(&(0..n).map(|i| f64::from(key.normals(i, 1).next().unwrap())).collect::<Vec<_>>())
}

#[test]
fn the_exact_posterior_minimises_every_objective() {
    let n = 2000;
    let mirror = Path::Mirror { latent: Gamma::Brownian { scale: 1.0 } };
    let drift = P::Drift { diffusion: 0.5 };
    let all = [P::Velocity {}, P::InterpolantVelocity {}, P::Noise {}, P::Data {}, P::Latent {}, drift, P::Score {}];
    let all = all.into_iter().chain([P::Preconditioned { sigma_data: 0.5 }]).collect::<Vec<_>>();
    for path in [two_sided(), vec![mirror, Path::ConstantSpeedVp {}]].concat() {
        // One-sided objectives stand for a standard normal source.
        let ours = if path.has_latent() { source() } else { Mixture::standard(1) };
        let (x0, x1, z) = (draws(&ours, 4, n), draws(&target(), 5, n), latents(n));
        for output in all.iter().copied().filter(|output| output.check(&path).is_ok()) {
            for antithetic in [false, true] {
                let time = TimeConfig::new(TimeLaw::LogitNormal { mean: 0.0, std: 0.7 });
                let objective = Objective {
                    path: path.clone(),
                    parameterization: output,
                    time,
                    antithetic,
                    ..Objective::default()
                };
                if objective.check().is_err() {
                    continue; // reflected where there is no latent, or a direct score without reflection
                }
                let times = objective.times(Key::new(1, Purpose::Time), &(0..n).collect::<Vec<_>>());
                let loss = |off: f64| {
                    let field = MixtureField::between(path.clone(), ours.clone(), target()).unwrap();
                    let ends = Ends { x0: x0.clone(), x1: x1.clone(), z: Some(z.clone()) };
                    let network = Exact { field, output, off };
                    host(objective.loss_of(&network, ends, &Condition::none(), &times, &Pass::Infer).unwrap())
                };
                let (right, above, below) = (loss(0.0), loss(0.5), loss(-0.5));
                // A shift of d adds d² exactly on average of ±d.
                let both: Vec<f64> = above.iter().zip(&below).map(|(a, b)| 0.5 * (a + b)).collect();
                assert!((mean(&both) - mean(&right) - 0.25).abs() < 1e-6 * (1.0 + mean(&right)), "{path:?} {output:?}");
                // First-order condition: the residual has mean zero within five standard errors.
                let slope: Vec<f64> = above.iter().zip(&below).map(|(a, b)| a - b).collect();
                let spread = (mean(&slope.iter().map(|s| s * s).collect::<Vec<_>>()) / n as f64).sqrt();
                assert!(mean(&slope).abs() < 5.0 * spread, "{path:?} {output:?}: {} ± {spread}", mean(&slope));
            }
        }
    }
}

#[test]
fn antithetic_pairs_cancel_what_diverges() {
    // Row by row: z·s(x_t)/γ with s(x) = -x, x0 ~ N(0,1), x1 ~ N(2, 1/4), γ² = t(1-t). The standard error of a standard
    // deviation over 40000 draws is 0.4 %, a little more for these tails.
    let n = 40_000;
    let path = Path::brownian(1.0);
    let data = Mixture::new(vec![1.0], vec![vec![2.0]], vec![vec![0.25]]).unwrap();
    let (x0, x1, z) = (draws(&Mixture::standard(1), 4, n), draws(&data, 5, n), latents(n));
    for (t, plain_std) in [(1e-2, 10.1), (1e-3, 31.6), (1e-4, 100.2)] {
        let term = |sign: f64| {
            let ends = Ends { x0: x0.clone(), x1: x1.clone(), z: Some(z.clone() * sign) };
            let point = path.point_of(ends, &Times::all(t, n as usize)).unwrap();
            host(-(point.xt * z.clone()) * (sign / path.at(t).gamma))
        };
        let std = |values: &[f64]| {
            let m = mean(values);
            mean(&values.iter().map(|v| (v - m).powi(2)).collect::<Vec<_>>()).sqrt()
        };
        let (up, down) = (term(1.0), term(-1.0));
        let both: Vec<f64> = up.iter().zip(&down).map(|(a, b)| 0.5 * (a + b)).collect();
        assert!((std(&up) / plain_std - 1.0).abs() < 0.02, "t = {t}: {} without reflection", std(&up));
        assert!((std(&both) / 2f64.sqrt() - 1.0).abs() < 0.03, "t = {t}: {} with", std(&both));
        assert!((mean(&both) + 1.0).abs() < 0.03, "t = {t}: mean {}", mean(&both));
    }
    // The objective does what the row says: half the sum of the losses at z and at -z.
    let few = |x: &Tensor<2>| x.clone().narrow(0, 0, 64);
    let objective =
        Objective { path: path.clone(), parameterization: P::Score {}, antithetic: true, ..Objective::default() };
    let times = objective.times(Key::new(1, Purpose::Time), &(0..64).collect::<Vec<_>>());
    let network = Exact { field: between(path), output: P::Score {}, off: 0.1 };
    let loss = |objective: &Objective, sign: f64| {
        let ends = Ends { x0: few(&x0), x1: few(&x1), z: Some(few(&z) * sign) };
        host(objective.loss_of(&network, ends, &Condition::none(), &times, &Pass::Infer).unwrap())
    };
    let plain = Objective { antithetic: false, ..objective.clone() };
    let halves: Vec<f64> = loss(&plain, 1.0).iter().zip(loss(&plain, -1.0)).map(|(a, b)| 0.5 * (a + b)).collect();
    assert!(gap(&loss(&objective, 1.0), &halves) < 1e-9 * (1.0 + mean(&halves)));
}

#[test]
fn two_networks_give_velocity_and_score_where_one_cannot() {
    let none = Condition::none();
    // Times that single precision holds exactly, so that the networks see what the oracle sees.
    let (xs, ts) = ([-5.0, -1.0, 0.25, 3.0, 6.5], [0.125, 0.375, 0.5, 0.75, 0.9375]);
    let (x, t) = (line(&xs), Times::new(ts.to_vec()));
    let drift = P::Drift { diffusion: 0.7 };
    let pairs = [
        (P::Velocity {}, P::Score {}),
        (P::Velocity {}, P::Latent {}),
        (P::InterpolantVelocity {}, P::Score {}),
        (P::Latent {}, P::InterpolantVelocity {}),
        (drift, P::Score {}),
        (P::Score {}, drift),
        (P::Data {}, P::Latent {}),
        (P::Noise {}, P::Data {}),
        (P::Velocity {}, P::Data {}),
    ];
    for path in two_sided() {
        let truth = between(path.clone());
        let (b, s) = truth.velocity_and_score(x.clone(), &t, &none);
        for (first, second) in pairs {
            let network = |output| Exact { field: truth.clone(), output, off: 0.0 };
            let (one, two) = (network(first), network(second));
            let Ok(field) = JointField::new(path.clone(), (&one, first), (&two, second)) else {
                // What lies only in the latent cannot be told from end points that the curve has left behind.
                assert!(
                    matches!(path, Path::Interpolant { curve: Curve::EncodingDecoding {}, .. }),
                    "{path:?} {first:?}"
                );
                continue;
            };
            let (velocity, score) = field.velocity_and_score(x.clone(), &t, &none);
            // Where γ' vanishes (t = 1/2) b and an end point say little about the latent: the solve is ill-conditioned.
            let room = if matches!((first, second), (P::Velocity {}, P::Data {})) { 1e-6 } else { 1e-9 };
            assert!(gap(&host(velocity.clone()), &host(b.clone())) < room, "{path:?} {first:?} {second:?}: velocity");
            assert!(gap(&host(score), &host(s.clone())) < room, "{path:?} {first:?} {second:?}: score");
            assert!(gap(&host(field.velocity(x.clone(), &t, &none)), &host(velocity)) < room);
        }
        // One alone does not, and says so; two of a kind do not either.
        let alone = P::Velocity {}.check_reads(P::Score {}, &path).unwrap_err();
        assert!(alone.to_string().contains("JointField"), "{alone}");
        let one = Exact { field: truth.clone(), output: P::Latent {}, off: 0.0 };
        assert!(JointField::new(path.clone(), (&one, P::Latent {}), (&one, P::Score {})).is_err());
    }
    let one = Exact { field: between(Path::Linear {}), output: P::Velocity {}, off: 0.0 };
    assert!(JointField::new(Path::Linear {}, (&one, P::Velocity {}), (&one, P::Noise {})).is_err());
}

#[test]
fn mirrors_are_read_off_their_latent() {
    let none = Condition::none();
    let path = Path::Mirror { latent: Gamma::Brownian { scale: 10.0 } };
    let truth = between(path.clone());
    let (x, t) = (line(&[-5.0, -1.0, 3.0]), Times::new(vec![0.125, 0.5, 0.75]));
    let (b, s) = truth.velocity_and_score(x.clone(), &t, &none);
    for output in [P::Latent {}, P::Score {}, P::Data {}] {
        let network = Exact { field: truth.clone(), output, off: 0.0 };
        let (velocity, score) = PathField::new(&network, path.clone(), output).velocity_and_score(x.clone(), &t, &none);
        assert!(
            gap(&host(velocity), &host(b.clone())) < 1e-9 && gap(&host(score), &host(s.clone())) < 1e-9,
            "{output:?}"
        );
    }
    // b = -γγ' s: the sign that the authors' mirror flow has wrong.
    for ((b, s), t) in host(b).iter().zip(host(s)).zip(t.values()) {
        assert!((b + path.at(*t).gamma_d_gamma * s).abs() < 1e-12);
    }
    // In the middle γ' = 0: the velocity says nothing of the rest.
    assert!(!P::Velocity {}.reads(P::Latent {}, &path) && P::Latent {}.reads(P::Velocity {}, &path));
}

#[test]
fn the_drift_from_a_point_mass_is_finite_where_its_velocity_is_not() {
    // From the point 1: u = b + a s, with dx = u dt + √(2a) dW. A source of variance 1e-12 stands for the point.
    let a = 0.5;
    let path = Path::Diffusive { diffusion: a };
    let point = Mixture::new(vec![1.0], vec![vec![1.0]], vec![vec![1e-12]]).unwrap();
    let field = MixtureField::between(path.clone(), point, target()).unwrap();
    // Limit t → 0 at the point itself: u = E[x1] - x0 = -1; away from it by d, more by d Var(x1)/2a, 0.023 at most here.
    for t in [1e-6, 1e-5] {
        let away = 1.0 + 0.3 * f64::sqrt(2.0 * a * t);
        let p = field.posterior(&[away], t);
        assert!((p.velocity[0] + a * p.score[0] + 1.0).abs() < 0.03, "t = {t}");
        assert!(p.velocity[0].abs() > 40.0, "t = {t}: {}", p.velocity[0]);
    }
    // And its target is: dI/dt - √(2at/(1-t)) z.
    let drift = P::Drift { diffusion: a };
    assert_eq!(drift.domain(&path), (0.0, 1.0 - 2e-4));
    let times = Times::new(vec![0.0, 1e-9, 0.25]);
    let ends = Ends { x0: line(&[1.0; 3]), x1: line(&[2.0; 3]), z: Some(line(&[1.5; 3])) };
    let got = host(drift.target(&path, &path.point_of(ends, &times).unwrap()));
    let wanted: Vec<f64> = times.values().iter().map(|t| 1.0 - (2.0 * a * t / (1.0 - t)).sqrt() * 1.5).collect();
    assert!(gap(&got, &wanted) < 1e-10, "{got:?} {wanted:?}");
}
