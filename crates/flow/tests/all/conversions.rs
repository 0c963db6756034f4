//! Parameterizations: the 2x2 solve against hand-computed values, round trips and the exact posterior; and change of path:
//! one network sampled on another path than its own.

use crate::common;

use base::{Condition, Times};
use common::{gap, host, line};
use flow::exact::{Gaussian, GaussianReflow, Mixture, MixtureField};
use flow::path::{Changed, Expressions, change::matched, diffusion::Discrete, diffusion::Rates};
use flow::{Coefficients, Field, Parameterization as P, Path, ScheduleConfig, ScoreField, Solver, solve};
use proptest::prelude::*;
use std::f64::consts::PI;

const DRIFT: f64 = 0.3;

const ALL: [P; 6] =
    [P::Velocity {}, P::Noise {}, P::Data {}, P::Score {}, P::VPrediction {}, P::Drift { diffusion: DRIFT }];

/// How far inside its ends a path without slope there is read.
const END: f64 = 1e-5;

/// What each parameterization says of a pair, straight from its definition.
fn outputs(c: &Coefficients, x0: f64, x1: f64) -> [f64; 6] {
    let velocity = c.d_alpha * x0 + c.d_beta * x1;
    [velocity, x0, x1, -x0 / c.alpha, c.beta * x0 - c.alpha * x1, velocity - DRIFT * x0 / c.alpha]
}

#[test]
fn the_scalar_vector_of_the_conventions() {
    // Data 2, noise -1, noise fraction 0.75: t = 0.25, x = -0.25, u = 3, score 4/3, v = .25 E - .75 X, drift u + ε s.
    let (c, x) = (Path::Linear {}.at(0.25), -0.25);
    let expected = [3.0, -1.0, 2.0, 4.0 / 3.0, -1.75, 3.4];
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
        prop_assume!((c.determinant() + DRIFT * c.beta / c.alpha).abs() > 1e-2); // the drift's own solve
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
                let v = c.beta * p.source[0] - c.alpha * p.data[0];
                let truth = [p.velocity[0], p.source[0], p.data[0], p.score[0], v, p.velocity[0] + DRIFT * p.score[0]];
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
        let expected = [(0.0, 1.0), (1e-3, 1.0), (0.0, 0.999), (1e-3, 0.999), (0.0, 1.0), (0.0, 0.999)];
        assert_eq!(all(&path), expected, "{path:?}");
    }
    // VP never loses the data entirely, so a noise network can be read at t = 0.
    let expected = [(0.0, 1.0), (0.0, 1.0), (0.0, 0.999), (0.0, 0.999), (0.0, 1.0), (0.0, 0.999)];
    assert_eq!(all(&Path::vp()), expected);
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

// ---- change of path: the same network sampled on another path ----

/// Mean of the data given `a X + s E` for two Gaussian modes, straight from Bayes' rule.
fn denoise(a: f64, s: f64, x: f64) -> f64 {
    let modes = [(0.3, -2.0, 0.2), (0.7, 1.5, 0.6)];
    let (mut total, mut sum) = (0.0, 0.0);
    for (weight, mean, variance) in modes {
        let spread: f64 = a * a * variance + s * s;
        let away: f64 = x - a * mean;
        let p = weight * (-0.5 * away * away / spread).exp() / spread.sqrt();
        total += p;
        sum += p * (mean + a * variance * away / spread);
    }
    sum / total
}

fn one_sided() -> Vec<Path> {
    vec![
        Path::Linear {},
        Path::Trigonometric {},
        Path::vp(),
        Path::SubVp { beta_min: 0.1, beta_max: 20.0 },
        Path::ConstantSpeedVp {},
        Path::Cosine { offset: 0.008 },
        Path::Ddpm(Default::default()),
        Path::Ve { sigma_min: 0.01, sigma_max: 50.0 },
        Path::Edm { sigma_max: 80.0, rho: 7.0 },
        Path::Polynomial { power: 2.0 },
        Path::Custom(Expressions::new("(1-t)^2", "t*(2-t)", None).unwrap()),
    ]
}

#[test]
fn the_same_state_in_every_frame_of_the_conventions() {
    // Data 2, noise -1, noise fraction 3/4 (σ = 3): linear x = -.25, EDM x = -1, VP x = -.316228; scores 4/3, 1/3, 1.054093.
    let linear = Path::Linear {}.at(0.25);
    let edm = Coefficients::source_data((3.0, -1.0), (1.0, 0.0));
    let vp = Coefficients::source_data((0.9f64.sqrt(), -1.0 / 3.0), (0.1f64.sqrt(), 1.0));
    let frames = [(linear, -0.25, 4.0 / 3.0), (edm, -1.0, 1.0 / 3.0), (vp, -0.316228, 1.054093)];
    for (c, x, score) in frames {
        assert!((c.beta * 2.0 - c.alpha - x).abs() < 1e-6);
        let read = |from: P, output: f64, to: P| {
            let affine = from.convert(to, &c);
            affine.of_x * (c.beta * 2.0 - c.alpha) + affine.of_output * output
        };
        assert!((read(P::Data {}, 2.0, P::Noise {}) + 1.0).abs() < 1e-14);
        assert!((read(P::Noise {}, -1.0, P::Data {}) - 2.0).abs() < 1e-14);
        assert!((read(P::Noise {}, -1.0, P::Score {}) - score).abs() < 1e-6);
        // SD3 and FLUX count time from the data, so their output has the other sign; EDM's slope is its noise.
    }
    let velocity = P::Data {}.convert(P::Velocity {}, &linear);
    assert!((velocity.of_x * -0.25 + velocity.of_output * 2.0 - 3.0).abs() < 1e-14);
    // v-prediction on VP: a E - s X = -2.213594, and back: X = a x - s V, E = s x + a V.
    let (a, s, x) = (vp.beta, vp.alpha, vp.beta * 2.0 - vp.alpha);
    let v = P::Data {}.convert(P::VPrediction {}, &vp);
    let v = v.of_x * x + v.of_output * 2.0;
    assert!((v + 2.213594).abs() < 1e-6 && (a * x - s * v - 2.0).abs() < 1e-14 && (s * x + a * v + 1.0).abs() < 1e-14);
}

#[test]
fn edm_euler_is_linear_euler_is_ddim() {
    // One grid of σ, three samplers written out, one state up to scale. Each freezes the posterior means over its step.
    let sigmas: Vec<f64> = (0..=20).map(|i| 20.0 * (1.0 - i as f64 / 20.0).powi(3) + 0.01).collect();
    let vp = |sigma: f64| {
        let a = 1.0 / sigma.hypot(1.0);
        (a, sigma * a)
    };
    for noise in [-1.7, -0.2, 0.4, 2.2] {
        let (mut edm, mut linear) = (sigmas[0] * noise, sigmas[0] / (1.0 + sigmas[0]) * noise);
        let (mut ddim, mut euler) = (vp(sigmas[0]).1 * noise, vp(sigmas[0]).1 * noise);
        for pair in sigmas.windows(2) {
            let (now, next) = (pair[0], pair[1]);
            edm += (next - now) * (edm - denoise(1.0, now, edm)) / now;
            let (t, to) = (1.0 / (1.0 + now), 1.0 / (1.0 + next));
            linear += (to - t) * (denoise(t, 1.0 - t, linear) - linear) / (1.0 - t);
            let ((a, s), (a_to, s_to)) = (vp(now), vp(next));
            let data = denoise(a, s, ddim);
            ddim = a_to * data + s_to * (ddim - a * data) / s;
            // The mutant: the VP velocity in σ frozen over the step, in place of the posterior means.
            let data = denoise(a, s, euler);
            let (da, ds) = (-now * a.powi(3), a.powi(3));
            euler += (next - now) * (da * data + ds * (euler - a * data) / s);
        }
        let last = sigmas[20];
        let (as_linear, as_ddim) = (edm / (1.0 + last), edm * vp(last).0);
        assert!((linear - as_linear).abs() < 1e-12, "linear {linear}, EDM {as_linear}");
        assert!((ddim - as_ddim).abs() < 1e-12, "DDIM {ddim}, EDM {as_ddim}");
        assert!((euler - as_ddim).abs() > 1e-3, "Euler on VP is another sampler: {euler} {as_ddim}");
    }
}

#[test]
fn a_flow_of_one_path_is_the_exact_flow_of_every_other() {
    let target = Mixture::new(vec![0.3, 0.7], vec![vec![-2.0], vec![1.5]], vec![vec![0.2], vec![0.6]]).unwrap();
    let none = Condition::none();
    let ts = [0.15, 0.4, 0.65, 0.9];
    for from in one_sided() {
        let trained = MixtureField::new(from.clone(), target.clone()).unwrap();
        for to in one_sided() {
            let own = MixtureField::new(to.clone(), target.clone()).unwrap();
            let changed = Changed::new(trained.clone(), from.clone(), to.clone()).unwrap();
            for t in ts {
                let (c, found) = (to.at(t), matched(&from, &to, t));
                let there = from.at(found.t);
                // Only where `from` reaches this noise at all: VP keeps a trace of data, VE starts at σ = 50.
                // And where its noise is more than a thousandth of its data: below, √(1-beta²) of the discrete schedule cancels.
                if found.t <= 0.0 || found.t >= 1.0 || c.alpha < 1e-3 * c.beta {
                    continue;
                }
                assert!((there.beta * c.alpha / (there.alpha * c.beta) - 1.0).abs() < 1e-9, "{from:?} {to:?} {t}");
                let spread = c.alpha.hypot(c.beta);
                let x = line(&[-1.5 * spread, 0.2 * spread, 1.1 * spread]);
                let times = Times::all(t, 3);
                let (b, s) = own.velocity_and_score(x.clone(), &times, &none);
                let (b2, s2) = changed.velocity_and_score(x.clone(), &times, &none);
                // Ratios are matched to 1e-9 at worst, and slopes of hundreds (VE) multiply that.
                let scale = |v: &[f64]| 1e-7 * (1.0 + v.iter().fold(0f64, |m, v| m.max(v.abs())));
                let (b, s) = (host(b), host(s));
                assert!(gap(&host(b2), &b) < scale(&b), "{from:?} as {to:?} at {t}: velocity");
                assert!(gap(&host(s2), &s) < scale(&s), "{from:?} as {to:?} at {t}: score");
                assert_eq!(
                    host(changed.velocity(x.clone(), &times, &none)),
                    host(changed.velocity_and_score(x, &times, &none).0)
                );
            }
        }
    }
    for path in one_sided() {
        for t in [0.0, 0.2, 0.7, 1.0] {
            let same = matched(&path, &path, t);
            let held = t.clamp(END, 1.0 - END);
            assert!((same.t - t).abs() < 2e-9 || (same.t - held).abs() < 1e-15, "{path:?} at {t}: {same:?}");
        }
    }
    // Known matches: σ = 3 is t = 1/4 on the linear path, an angle of atan(1/3) on the trigonometric one.
    let sigma = Path::Custom(Expressions::new("(1-t)^0.5", "t^0.5", None).unwrap()); // σ² = (1-t)/t
    assert!((matched(&Path::Linear {}, &sigma, 0.1).t - 0.25).abs() < 1e-15);
    assert!((matched(&Path::Trigonometric {}, &sigma, 0.1).t - (1f64 / 3.0).atan() * 2.0 / PI).abs() < 1e-15);
    // Paths with a latent are no change of pace.
    assert!(
        Changed::new(MixtureField::new(Path::Linear {}, target).unwrap(), Path::Linear {}, Path::brownian(1.0))
            .is_err()
    );
}

#[test]
fn the_curved_step_is_exact_where_the_plain_one_is_not() {
    // The reflow of N(0,1) to N(0,1) on the trigonometric path: plain Euler gives 1 + π/2 times the noise in one step, the
    // same network read on the linear path gives the noise itself, in one step and in seven.
    let path = Path::Trigonometric {};
    let field = GaussianReflow::new(path.clone(), vec![0.5], vec![2.0]).unwrap();
    let straight = Changed::new(field, path, Path::Linear {}).unwrap();
    for steps in [1, 7] {
        let schedule = ScheduleConfig::Uniform {}.build(steps).unwrap();
        let end = solve(&straight, line(&[1.0, -0.3]), &Condition::none(), &Solver::Euler {}, &schedule, None).unwrap();
        assert!(gap(&host(end.x), &[2.5, -0.1]) < 1e-12, "{steps} steps");
    }
}

#[test]
fn ddim_of_a_discrete_diffusion_gives_the_table_of_stable_diffusions_schedules() {
    // Exact teacher of N(0, 1/4) on 1000 steps, DDIM with trailing spacing: the deviation that comes out, after 2410.07303's
    // observation that few steps of a diffusion contract. DDIM is Euler on the linear path at the same noise levels.
    let table = [
        (Rates::ScaledLinear, [0.0171, 0.1431, 0.2723, 0.3636, 0.4455]),
        (Rates::Linear, [0.0099, 0.1053, 0.2355, 0.3404, 0.4372]),
    ];
    for (rates, deviations) in table {
        let discrete = Discrete { rates, ..Discrete::default() };
        let path = Path::Ddpm(discrete.clone());
        for (count, deviation) in [1, 2, 4, 8, 25].into_iter().zip(deviations) {
            let indices = (0..count).map(|k| 1000 - k * 1000 / count - 1);
            let linear = |t: f64| matched(&Path::Linear {}, &path, t).t;
            let times: Vec<f64> = indices.map(|i| linear(discrete.time(i))).chain([1.0]).collect();
            let run = |field: &dyn Field<2>, start: f64| {
                let scale = matched(&Path::Linear {}, &path, discrete.time(999)).scale;
                let schedule = flow::Schedule::new(times.clone()).unwrap();
                let start = line(&[start * scale]);
                host(solve(field, start, &Condition::none(), &Solver::Euler {}, &schedule, None).unwrap().x)[0]
            };
            let teacher = Gaussian::new(path.clone(), vec![0.0], vec![0.5]).unwrap();
            let got = run(&Changed::new(teacher, path.clone(), Path::Linear {}).unwrap(), 1.0);
            assert!((got - deviation).abs() < 6e-5, "{rates:?}, {count} steps: {got} instead of {deviation}");
            // Rectified on its own pairs, the same diffusion is exact in any number of steps, curved as its path is.
            let first = path.at(discrete.time(999));
            let rectified = GaussianReflow::new(path.clone(), vec![0.0], vec![0.5]).unwrap();
            let rectified = Changed::new(rectified, path.clone(), Path::Linear {}).unwrap();
            let got = run(&rectified, first.alpha + 0.5 * first.beta);
            assert!((got - 0.5).abs() < 1e-10, "{rates:?}, {count} steps: {got}");
        }
    }
}

/// A network that depends on everything it sees.
struct Wave;

impl base::Network<2> for Wave {
    fn predict(&self, x: base::Tensor<2>, t: base::Tensor<1>, _: &Condition, _: &base::Pass) -> base::Tensor<2> {
        let t = t.unsqueeze_dim::<2>(1).cast(x.dtype());
        (x * 1.3 + t).sin()
    }
}

struct Silent;

impl base::Network<2> for Silent {
    fn predict(&self, x: base::Tensor<2>, _: base::Tensor<1>, _: &Condition, _: &base::Pass) -> base::Tensor<2> {
        x.zeros_like()
    }
}

fn edm() -> flow::Native {
    let parameterization = P::Preconditioned { sigma_data: 0.5 };
    flow::Native { path: Path::Edm { sigma_max: 80.0, rho: 7.0 }, parameterization }
}

/// 2405.20320, §4.3: for data N(0, sigma_data²) the preconditioned network has nothing to say, and wrapped onto the linear
/// path it is the closed-form velocity.
#[test]
fn a_wrapped_denoiser_is_the_velocity_of_the_closed_form() {
    let field = flow::PathField::new(&Silent, Path::Linear {}, P::Velocity {}).native(Some(edm()));
    let sd2 = 0.25;
    for sigma in [0.02, 0.1, 0.5, 0.9, 0.97] {
        // Their t is the noise fraction: v = (t - (1-t) sd²)/((1-t)² sd² + t²) x, towards the noise.
        let known = -(sigma - (1.0 - sigma) * sd2) / ((1.0 - sigma) * (1.0 - sigma) * sd2 + sigma * sigma);
        let found = host(field.velocity(line(&[1.7]), &Times::all(1.0 - sigma, 1), &Condition::none()));
        assert!((found[0] - 1.7 * known).abs() < 1e-12, "{sigma}: {found:?} {}", 1.7 * known);
    }
    // Beyond the noise it was trained with it is asked at the most it knows, and stays finite at both ends.
    for t in [0.0, 1.0] {
        let found = host(field.velocity(line(&[1.7]), &Times::all(t, 1), &Condition::none()));
        assert!(found[0].is_finite(), "{t}");
    }
}

/// Euler steps of the wrapped network in t are EDM's Euler steps in sigma, at any number of steps.
#[test]
fn wrapped_euler_is_edm_euler_in_sigma() {
    let sigmas: [f64; 6] = [20.0, 7.0, 3.0, 1.1, 0.4, 0.05];
    let time = |sigma: f64| 1.0 - (sigma / 80.0f64).powf(1.0 / 7.0);
    let mut x = 13.0f64;
    for pair in sigmas.windows(2) {
        let (s, next) = (pair[0], pair[1]);
        let total = (s * s + 0.25).sqrt();
        let f = (1.3 * x / total + time(s)).sin();
        let denoised = 0.25 / (total * total) * x + s * 0.5 / total * f;
        x += (next - s) * (x - denoised) / s;
    }
    let times = sigmas.iter().map(|s| 1.0 / (1.0 + s)).collect();
    let field = flow::PathField::new(&Wave, Path::Linear {}, P::Velocity {}).native(Some(edm()));
    let start = line(&[13.0 / 21.0]);
    let schedule = flow::Schedule::new(times).unwrap();
    let end = solve(&field, start, &Condition::none(), &Solver::Euler {}, &schedule, None).unwrap().x;
    let found = host(end)[0] * 1.05;
    assert!((found - x).abs() < 1e-5 * x.abs().max(1.0), "{found} {x}");
}

#[test]
fn the_preconditioned_output_is_edms() {
    let path = Path::Edm { sigma_max: 80.0, rho: 7.0 };
    let output = P::Preconditioned { sigma_data: 0.5 };
    for t in [0.1, 0.6, 0.95] {
        let sigma = path.at(t).alpha;
        let data = output.convert(P::Data {}, &path.at(t));
        let total = sigma * sigma + 0.25;
        assert!((data.of_x - 0.25 / total).abs() < 1e-12, "c_skip");
        assert!((data.of_output - sigma * 0.5 / total.sqrt()).abs() < 1e-12 * sigma, "c_out");
    }
    assert!(P::Preconditioned { sigma_data: 0.0 }.check(&path).is_err());
}
