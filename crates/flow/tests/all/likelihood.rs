//! Likelihoods and KL bounds against closed forms: 2303.08797, §2.4–2.5, with the mutants that must fail.

use crate::common;

use base::{Condition, Device, Key, Purpose, Tensor, TensorData, Times};
use burn::tensor::DType;
use common::{gap, host, line, mean, points};
use flow::exact::{Gaussian, Mixture, MixtureField};
use flow::kl::{Errors, drift_bound, estimate};
use flow::likelihood::{
    ByAutodiff, ByDifferences, Divergence, ForwardDrift, Probe, bits_per_dimension, dequantise, normal_log_density,
    ode, sde,
};
use flow::{Divergent, Ends, Field, FlowError, Path, Schedule, ScheduleConfig, ScoreField, Solver};
use std::cell::Cell;

fn none() -> Condition {
    Condition::none()
}

fn key() -> Key {
    Key::new(6, Purpose::Probe)
}

fn steps(from: f64, to: f64, count: usize) -> Schedule {
    ScheduleConfig::Uniform {}.between(from, to, count).unwrap()
}

fn indices(x: &Tensor<2>) -> Vec<u64> {
    (0..x.dims()[0] as u64).collect()
}

/// The prior of a mixture source.
fn under(mixture: &Mixture) -> impl Fn(&Tensor<2>) -> Result<Vec<f64>, FlowError> + '_ {
    |x| Ok(host(x.clone()).chunks(x.dims()[1]).map(|x| mixture.log_density(x)).collect())
}

#[test]
fn the_ode_finds_the_density_of_a_mixture() {
    let source = Mixture::new(vec![1.0; 2], vec![vec![-3.0], vec![3.0]], vec![vec![0.25]; 2]).unwrap();
    let means = vec![vec![-6.0], vec![0.0], vec![6.0]];
    let target = Mixture::new(vec![1.0; 3], means, vec![vec![0.5], vec![0.33], vec![0.5]]).unwrap();
    let field = MixtureField::between(Path::brownian(1.0), source.clone(), target.clone()).unwrap();
    let xs: Vec<f64> =
        (-900..=900).map(|i| i as f64 / 100.0).filter(|x| target.log_density(&[*x]) > 1e-4f64.ln()).collect();
    let x = line(&xs);
    let worst = |field: &dyn Divergent<2>, sign: f64| {
        let schedule = steps(1e-5, 1.0 - 1e-5, 100);
        let how = (&Solver::Rk4 {}, &schedule);
        let found =
            ode(field, x.clone(), &none(), how, &Divergence::Exact {}, &under(&source), key(), &indices(&x)).unwrap();
        // Undo the sign of the integral for the mutant: log p = prior + gained, so prior - gained = 2 prior - log p.
        let prior = under(&source)(&found.x0).unwrap();
        let all = found.log_density.iter().zip(prior).zip(&xs);
        all.map(|((l, p), x)| (p + sign * (l - p) - target.log_density(&[*x])).abs()).fold(0.0, f64::max)
    };
    let error = worst(&field, 1.0);
    assert!(error < 1e-3, "{error}"); // the floor is set by stopping 1e-5 short of both ends
    assert!(worst(&field, -1.0) > 0.1, "the integral's sign matters");
    // Differences in place of the closed form, and one probe in one dimension, are the same number.
    let by = ByDifferences { field: field.clone(), step: 1e-4 };
    assert!((worst(&by, 1.0) - error).abs() < 1e-5);
    let schedule = steps(1e-5, 1.0 - 1e-5, 100);
    let run = |divergence: Divergence| {
        let how = (&Solver::Rk4 {}, &schedule);
        ode(&field, x.clone(), &none(), how, &divergence, &under(&source), key(), &indices(&x)).unwrap().log_density
    };
    let probe = Divergence::Hutchinson { probe: Probe::Rademacher, probes: 1 };
    assert!(gap(&run(probe), &run(Divergence::Exact {})) < 1e-5);
}

/// Hutchinson's estimate with a probe drawn afresh at every call: what a likelihood must not do.
struct Redrawn<'a> {
    field: &'a MixtureField,
    calls: Cell<u64>,
}

impl Field<2> for Redrawn<'_> {
    fn velocity(&self, x: Tensor<2>, t: &Times, condition: &Condition) -> Tensor<2> {
        self.field.velocity(x, t, condition)
    }
}

impl Divergent<2> for Redrawn<'_> {
    fn velocity_and_quadratic(
        &self,
        x: Tensor<2>,
        t: &Times,
        c: &Condition,
        probe: Tensor<2>,
    ) -> (Tensor<2>, Tensor<1>) {
        self.calls.set(self.calls.get() + 1);
        let rows: Vec<u64> = (0..x.dims()[0] as u64).collect();
        let fresh = key().fold(self.calls.get()).normal_tensor(&rows, x.dims(), &x.device()).cast(probe.dtype());
        self.field.velocity_and_quadratic(x, t, c, fresh)
    }
}

#[test]
fn probes_are_right_on_average_and_still_along_a_solve() {
    let means = vec![vec![-1.0, 0.5, 0.0], vec![1.0, -0.5, 1.0]];
    let target = Mixture::new(vec![0.4, 0.6], means, vec![vec![0.3, 0.5, 0.4], vec![0.6, 0.3, 0.7]]).unwrap();
    let field = MixtureField::new(Path::Linear {}, target.clone()).unwrap();
    let one = [0.4, -0.2, 0.7];
    let rows = 600;
    let x = points(&vec![one.to_vec(); rows]);
    let prior = |x: &Tensor<2>| normal_log_density(x, 1.0);
    let schedule = steps(0.0, 1.0, 20);
    let run = |divergence: &Divergence| {
        let how = (&Solver::Rk4 {}, &schedule);
        ode(&field, x.clone(), &none(), how, divergence, &prior, key(), &indices(&x)).unwrap().log_density
    };
    let truth = target.log_density(&one);
    assert!((run(&Divergence::Exact {})[0] - truth).abs() < 1e-4);
    let spread = |probe: Probe, probes: usize| {
        let values = run(&Divergence::Hutchinson { probe, probes });
        let m = mean(&values);
        let std = mean(&values.iter().map(|v| (v - m).powi(2)).collect::<Vec<_>>()).sqrt();
        assert!((m - truth).abs() < 5.0 * std / (rows as f64).sqrt() + 1e-4, "{probe:?}: {m} instead of {truth}");
        std
    };
    let (signs, normal, four) = (spread(Probe::Rademacher, 1), spread(Probe::Gaussian, 1), spread(Probe::Gaussian, 4));
    assert!(signs < 0.95 * normal, "signs leave out the diagonal's variance: {signs} {normal}");
    assert!((normal / four / 2.0 - 1.0).abs() < 0.15, "four probes halve the deviation: {normal} {four}");
    // An adaptive solver sees a smooth field when the probe stays, and noise when it does not.
    let few = points(&vec![one.to_vec(); 3]);
    let adaptive = Solver::DormandPrince { rtol: 1e-5, atol: 1e-5, max_steps: 500 };
    let divergence = Divergence::Hutchinson { probe: Probe::Gaussian, probes: 1 };
    let cost = |field: &dyn Divergent<2>| {
        // The redrawn one does not get there in 500 steps at all.
        ode(field, few.clone(), &none(), (&adaptive, &steps(0.0, 1.0, 1)), &divergence, &prior, key(), &[0, 1, 2])
            .map_or(usize::MAX, |found| found.nfe)
    };
    let (held, redrawn) = (cost(&field), cost(&Redrawn { field: &field, calls: Cell::new(0) }));
    assert!(held < 500 && redrawn > 5 * held, "{held} evaluations with one probe, {redrawn} with many");
}

#[test]
fn the_tape_and_differences_agree_on_a_network() {
    // A small dense network in double precision: v = B tanh(A x + a t).
    let tensor = |seed: u64, shape: [usize; 2], device: &Device| {
        let values: Vec<f64> = Key::new(seed, Purpose::Init).normals(0, shape[0] * shape[1]).map(f64::from).collect();
        Tensor::<2>::from_data(TensorData::new(values, shape), (device, DType::F64))
    };
    let net = |device: Device| {
        let (a, b, c) = (tensor(1, [4, 16], &device), tensor(2, [16, 4], &device), tensor(3, [1, 16], &device));
        move |x: Tensor<2>, t: &Times, _: &Condition| {
            let time = flow::rows::time_column(t, |t| t, &x);
            let time = if x.is_autodiff() { time.autodiff() } else { time };
            (x.matmul(a.clone()) + time * c.clone()).tanh().matmul(b.clone()) * 0.25
        }
    };
    let x = tensor(4, [5, 4], &Device::flex());
    let times = Times::new(vec![0.1, 0.3, 0.5, 0.7, 0.9]);
    let taped = ByAutodiff(net(Device::flex().autodiff()));
    let differences = ByDifferences { field: net(Device::flex()), step: 1e-4 };
    let (v, exact) = taped.velocity_and_divergence(x.clone(), &times, &none());
    let (w, measured) = differences.velocity_and_divergence(x.clone(), &times, &none());
    assert!(gap(&host(v), &host(w)) < 1e-12 && gap(&host(exact), &host(measured)) < 1e-7);
    let probe = tensor(5, [5, 4], &Device::flex());
    let (_, tape) = taped.velocity_and_quadratic(x.clone(), &times, &none(), probe.clone());
    let (_, pair) = differences.velocity_and_quadratic(x.clone(), &times, &none(), probe);
    assert!(gap(&host(tape), &host(pair)) < 1e-7);
    // And the whole solve.
    let prior = |x: &Tensor<2>| normal_log_density(x, 1.0);
    let schedule = steps(0.0, 1.0, 10);
    let run = |field: &dyn Divergent<2>| {
        let how = (&Solver::Heun {}, &schedule);
        ode(field, x.clone(), &none(), how, &Divergence::default(), &prior, key(), &[0, 1, 2, 3, 4])
            .unwrap()
            .log_density
    };
    assert!(gap(&run(&taped), &run(&differences)) < 1e-6);
    // A field that leaves no tape is reported, not believed.
    let oracle = ByAutodiff(Gaussian::new(Path::Linear {}, vec![0.0; 4], vec![1.0; 4]).unwrap());
    let how = (&Solver::Heun {}, &schedule);
    let lost = ode(&oracle, x, &none(), how, &Divergence::default(), &prior, key(), &[0, 1, 2, 3, 4]).unwrap_err();
    assert!(matches!(lost, FlowError::NotFinite { .. }), "{lost}");
}

#[test]
fn the_sde_finds_the_density_by_the_forward_drift_run_backwards() {
    let target = Mixture::new(vec![1.0], vec![vec![2.0]], vec![vec![0.25]]).unwrap();
    let field = MixtureField::new(Path::brownian(2.0), target.clone()).unwrap();
    let diffusion = 0.25;
    let xs = [1.4, 2.0, 2.5];
    let x = line(&xs);
    let prior = |x: &Tensor<2>| normal_log_density(x, 1.0);
    let schedule = steps(0.0, 1.0, 100);
    let worst = |drift: &dyn Divergent<2>, trajectories: usize| {
        let found =
            sde(drift, diffusion, x.clone(), &none(), &schedule, trajectories, &prior, (key(), &[0, 1, 2])).unwrap();
        found.iter().zip(xs).map(|(l, x)| (l - target.log_density(&[x])).abs()).fold(0.0, f64::max)
    };
    let by = |diffusion: f64| ByDifferences { field: ForwardDrift { field: field.clone(), diffusion }, step: 1e-4 };
    // 0.03 here; 0.09, 0.07 and 0.012 with 100, 300 and 3000 trajectories: the Monte Carlo error, and a step bias of 1 %.
    let error = worst(&by(diffusion), 1000);
    assert!(error < 0.08, "{error}");
    // The drift of the sampler that runs backwards (b - ε s) is the wrong one here.
    let mutant = worst(&by(-diffusion), 100);
    assert!(mutant > 0.5, "{mutant}");
    assert!(sde(&by(0.5), 0.0, x.clone(), &none(), &schedule, 1, &prior, (key(), &[0, 1, 2])).is_err());
    assert!(sde(&by(0.5), 0.5, x, &none(), &schedule, 0, &prior, (key(), &[0, 1, 2])).is_err());
}

#[test]
fn bits_per_dimension_of_known_densities() {
    // Uniform on [-1, 1] in 256 cells: 8 bits; the scaling of bytes to [-1, 1] by 127.5 makes cells of 2/255.
    let cell = 2.0 / 256.0;
    assert!((bits_per_dimension(-(3.0 * 2f64.ln()), 3, cell) - 8.0).abs() < 1e-12);
    // Dequantised values stay in their cells, fill them evenly, and depend on their own counter alone.
    let x = Tensor::<2>::zeros([1000, 3], (&Device::flex(), DType::F64));
    let rows: Vec<u64> = (0..1000).collect();
    let spread = host(dequantise(x.clone(), 0.5, key(), &rows));
    assert!(spread.iter().all(|v| v.abs() <= 0.25));
    // A uniform number on a cell of 1/2: mean 0 ± .0026, second moment 1/48 ± .0003.
    assert!(mean(&spread).abs() < 0.013);
    assert!((mean(&spread.iter().map(|v| v * v).collect::<Vec<_>>()) * 48.0 - 1.0).abs() < 0.08);
    let alone = host(dequantise(x.narrow(0, 0, 1), 0.5, key(), &[7]));
    assert_eq!(alone, spread[21..24]);
    // A normal source of width two: log N(0; 0, 4) for three values.
    let log = normal_log_density(&points(&[vec![0.0, 0.0, 2.0]]), 2.0).unwrap()[0];
    assert!((log - (-0.5 - 1.5 * (8.0 * std::f64::consts::PI).ln())).abs() < 1e-12);
}

/// The Gaussian of spec row 6: N(0,1) to N(2, 1/4) with γ² = 2t(1-t); mean, variance and half the variance's slope.
fn moments(t: f64) -> (f64, f64, f64) {
    let c = Path::brownian(2.0).at(t);
    let variance = c.alpha * c.alpha + 0.25 * c.beta * c.beta + c.gamma * c.gamma;
    (2.0 * t, variance, c.alpha_d_alpha + 0.25 * c.beta * c.d_beta + c.gamma_d_gamma)
}

/// The same with errors: b^ = b + .2 + .3(x-m), s^ = 1.2 s.
struct Wrong;

impl Field<2> for Wrong {
    fn velocity(&self, x: Tensor<2>, t: &Times, condition: &Condition) -> Tensor<2> {
        self.velocity_and_score(x, t, condition).0
    }
}

impl ScoreField<2> for Wrong {
    fn velocity_and_score(&self, x: Tensor<2>, t: &Times, _: &Condition) -> (Tensor<2>, Tensor<2>) {
        let (mut b, mut s) = (vec![], vec![]);
        for (x, &t) in host(x).iter().zip(t.values()) {
            let (m, v, half) = moments(t);
            b.push(2.0 + half / v * (x - m) + 0.2 + 0.3 * (x - m));
            s.push(-1.2 * (x - m) / v);
        }
        (line(&b), line(&s))
    }
}

/// KL of the true end from that of the SDE with the wrong drift, by its linear moment equations.
fn kl_of_wrong(diffusion: f64) -> f64 {
    let slope = |t: f64, (mean, spread): (f64, f64)| {
        let (m, v, half) = moments(t);
        let pull = half / v + 0.3 - 1.2 * diffusion / v;
        (2.2 + pull * (mean - m), 2.0 * pull * spread + 2.0 * diffusion)
    };
    let (mut state, n) = ((0.0, 1.0), 2000);
    let h = 1.0 / n as f64;
    for i in 0..n {
        let t = i as f64 * h;
        let at = |k: (f64, f64), f: f64| (state.0 + f * k.0, state.1 + f * k.1);
        let k1 = slope(t, state);
        let k2 = slope(t + h / 2.0, at(k1, h / 2.0));
        let k3 = slope(t + h / 2.0, at(k2, h / 2.0));
        let k4 = slope(t + h, at(k3, h));
        let step = |a: f64, b: f64, c: f64, d: f64| h / 6.0 * (a + 2.0 * b + 2.0 * c + d);
        state = (state.0 + step(k1.0, k2.0, k3.0, k4.0), state.1 + step(k1.1, k2.1, k3.1, k4.1));
    }
    let (mean, spread) = state;
    0.5 * ((0.25 + (2.0 - mean).powi(2)) / spread - 1.0 + (spread / 0.25).ln())
}

#[test]
fn the_kl_table_of_a_gaussian_and_its_bounds() {
    // ∫ E|.2 + .3(x-m) + ε(-.2)(x-m)/V|² dt by the midpoint rule.
    let drift_error = |diffusion: f64| {
        let part = |i: usize| {
            let (_, v, _) = moments((i as f64 + 0.5) / 4000.0);
            0.04 + v * (0.3 - 0.2 * diffusion / v).powi(2)
        };
        (0..4000).map(part).sum::<f64>() / 4000.0
    };
    let table = [(0.1, 0.0657, 0.240), (0.5, 0.0157, 0.0314), (1.0, 0.0072, 0.0121), (2.5, 0.0069, 0.0188)];
    assert!((kl_of_wrong(0.0) / 0.0956 - 1.0).abs() < 0.01, "{}", kl_of_wrong(0.0));
    for (diffusion, kl, bound) in table {
        let (got, tight) = (kl_of_wrong(diffusion), drift_bound(drift_error(diffusion), diffusion));
        assert!((got / kl - 1.0).abs() < 0.05, "ε = {diffusion}: KL {got} instead of {kl}");
        assert!((tight / bound - 1.0).abs() < 0.05, "ε = {diffusion}: bound {tight} instead of {bound}");
        assert!(got < tight, "ε = {diffusion}");
    }
    // The two errors measured on points of the path: .1075 and .0608 within the Monte Carlo error of 20000 pairs, 1 %.
    let n = 20_000;
    let target = Mixture::new(vec![1.0], vec![vec![2.0]], vec![vec![0.25]]).unwrap();
    let truth = MixtureField::new(Path::brownian(2.0), target.clone()).unwrap();
    let draw = |mixture: &Mixture, seed: u64| {
        let key = Key::new(seed, Purpose::Class);
        points(&(0..n).map(|i| mixture.sample(key, i)).collect::<Vec<_>>())
    };
    let standard = Mixture::standard(1);
    let ends = Ends { x0: draw(&standard, 1), x1: draw(&target, 2), z: Some(draw(&standard, 3)) };
    let errors = Errors::measure(&Wrong, &truth, truth.path(), &ends, &none(), (0.0, 1.0), 20).unwrap();
    assert!((errors.velocity / 0.1075 - 1.0).abs() < 0.02, "{errors:?}");
    assert!((errors.score / 0.0608 - 1.0).abs() < 0.02, "{errors:?}");
    assert!((errors.best_diffusion() / 1.33 - 1.0).abs() < 0.02, "{}", errors.best_diffusion());
    // The bound from the two is looser than the drift's own, and least where it says.
    for diffusion in [0.1, 0.5, 1.0, 2.5] {
        assert!(errors.bound(diffusion) > drift_bound(drift_error(diffusion), diffusion));
        assert!(errors.bound(diffusion) >= errors.bound(errors.best_diffusion()));
        // Learning v in place of b: the score enters with sup (γγ'-ε)², (1+ε)² here, which is more than ε².
        let v = errors.interpolant_bound(truth.path(), diffusion);
        let expected = (errors.velocity + (1.0 + diffusion).powi(2) * errors.score) / (2.0 * diffusion);
        assert!((v - expected).abs() < 1e-12 && v > errors.bound(diffusion));
    }
    let bound = errors.bound(errors.best_diffusion());
    assert!((bound - (errors.velocity * errors.score).sqrt()).abs() < 1e-12);
}

#[test]
fn the_literal_bound_of_the_paper_is_broken() {
    // ρ(t) = N(0,1), b = 0, s = -x, with constant errors d of b and d/ε of s: the SDE's mean ends at 2d(1-e^{-ε})/ε.
    for (diffusion, kl, right) in [(0.5, 1.2385, 2.0), (1.0, 0.7992, 1.0), (2.0, 0.3738, 0.5)] {
        let d: f64 = 0.3;
        let end = 2.0 * d * (1.0 - f64::exp(-diffusion)) / diffusion;
        let got = 0.5 * end * end / (d * d);
        assert!((got - kl).abs() < 1e-4, "ε = {diffusion}: {got}");
        let errors = Errors { velocity: d * d, score: d * d / (diffusion * diffusion) };
        let bound = errors.bound(diffusion) / (d * d);
        assert!((bound - right).abs() < 1e-12 && bound > got, "ε = {diffusion}: {bound}");
        // With the paper's losses, which carry a half, the same right-hand side is half as large, and too small.
        assert!(0.5 * bound < got, "ε = {diffusion}");
    }
}

#[test]
fn no_bound_controls_the_ode() {
    // b = 0 and b^ = .05 sin(kx) on N(0,1): the same squared error for every k, and a KL that grows without limit.
    let n = 12_000;
    let (low, width) = (-6.0, 12.0 / n as f64);
    let xs: Vec<f64> = (0..n).map(|i| low + (i as f64 + 0.5) * width).collect();
    let x = line(&xs);
    let log_p: Vec<f64> = xs.iter().map(|x| -0.5 * (x * x + (2.0 * std::f64::consts::PI).ln())).collect();
    let prior = |x: &Tensor<2>| normal_log_density(x, 1.0);
    let schedule = steps(0.0, 1.0, 60);
    for (k, wanted) in [(4.0, 0.0106), (40.0, 0.868), (80.0, 2.65)] {
        let wave = move |x: Tensor<2>, _: &Times, _: &Condition| (x * k).sin() * 0.05;
        let field = ByDifferences { field: wave, step: 1e-5 };
        let how = (&Solver::Rk4 {}, &schedule);
        let found = ode(&field, x.clone(), &none(), how, &Divergence::Exact {}, &prior, key(), &indices(&x)).unwrap();
        let log_q = found.log_density;
        let kl: f64 = log_p.iter().zip(&log_q).map(|(p, q)| p.exp() * (p - q) * width).sum();
        assert!((kl / wanted - 1.0).abs() < 0.03, "k = {k}: {kl} instead of {wanted}");
        let error: f64 = xs.iter().zip(&log_p).map(|(x, p)| p.exp() * (0.05 * (k * x).sin()).powi(2) * width).sum();
        assert!((error - 0.00125).abs() < 1e-6, "k = {k}: {error}");
        // With noise the same error bounds the KL, whatever k.
        assert!((drift_bound(error, 1.0) - 3.1e-4).abs() < 1e-5);
    }
}

#[test]
fn the_kl_estimate_is_never_negative_and_right() {
    // N(0,1) from N(0.3, 1): KL = 0.045.
    let draws: Vec<f64> = Key::new(1, Purpose::Noise).normals(0, 20_000).map(f64::from).collect();
    let log = |x: f64, m: f64| -0.5 * (x - m).powi(2);
    let (p, q): (Vec<f64>, Vec<f64>) = draws.iter().map(|x| (log(*x, 0.0), log(*x, 0.3))).unzip();
    let found = estimate(&p, &q).unwrap();
    assert!((found.mean - 0.045).abs() < 5.0 * found.standard_error && found.standard_error < 1e-3, "{found:?}");
    // The plain mean of log p - log q has a standard error of 0.3/√n.
    assert!(found.standard_error < 0.5 * 0.3 / f64::sqrt(20_000.0));
    for sample in [-3.0, 0.0, 4.0] {
        assert!(estimate(&[log(sample, 0.0)], &[log(sample, 0.3)]).unwrap().mean >= 0.0);
    }
    assert!(estimate(&[], &[]).is_err() && estimate(&[0.0], &[]).is_err());
}
