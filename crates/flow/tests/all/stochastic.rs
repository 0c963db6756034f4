//! Stochastic solvers: marginals at every diffusion, mutants that must fail, strong orders on one Brownian path, refusals.

use crate::common;

use base::{Condition, Device, Key, Purpose, Tensor, Times};
use common::{gap, host, line, mean};
use flow::exact::{Gaussian, Mixture, MixtureField};
use flow::{
    Brownian, Diffusion, Field, FlowError, Frame, LastStep, Path, Schedule, ScheduleConfig, ScoreField, Sde, Solver,
    solve, solve_with,
};

fn uniform(from: f64, to: f64, steps: usize) -> Schedule {
    ScheduleConfig::Uniform {}.between(from, to, steps).unwrap()
}

fn mixture(means: &[f64], variances: &[f64]) -> Mixture {
    let column = |v: &[f64]| v.iter().map(|v| vec![*v]).collect();
    Mixture::new(vec![1.0; means.len()], column(means), column(variances)).unwrap()
}

/// The one-dimensional mixtures of the interpolants' code, two modes to three, with the latent `√(t(1-t)) z`.
fn two_to_three() -> MixtureField {
    let target = mixture(&[-6.0, 0.0, 6.0], &[0.5, 0.33, 0.5]);
    MixtureField::between(Path::brownian(1.0), mixture(&[-3.0, 3.0], &[0.25, 0.25]), target).unwrap()
}

fn particles(mixture: &Mixture, n: u64) -> Tensor<2> {
    let key = Key::new(21, Purpose::Noise);
    line(&(0..n).flat_map(|i| mixture.sample(key, i)).collect::<Vec<_>>())
}

fn paths(n: u64) -> Brownian {
    Brownian::new(Key::new(22, Purpose::Latent), &(0..n).collect::<Vec<_>>())
}

/// Kolmogorov–Smirnov distance to a one-dimensional mixture, its distribution function by the trapezoid rule.
fn distance(mut x: Vec<f64>, mixture: &Mixture) -> f64 {
    let (low, high, cells) = (-14.0, 14.0, 28_000);
    let width = (high - low) / cells as f64;
    let density: Vec<f64> = (0..=cells).map(|i| mixture.log_density(&[low + width * i as f64]).exp()).collect();
    let mut cdf = vec![0.0];
    for pair in density.windows(2) {
        cdf.push(cdf[cdf.len() - 1] + width * (pair[0] + pair[1]) / 2.0);
    }
    x.sort_by(f64::total_cmp);
    let n = x.len() as f64;
    (x.iter().enumerate())
        .map(|(i, x)| {
            let known = cdf[(((x - low) / width).round().clamp(0.0, cells as f64)) as usize];
            (known - i as f64 / n).abs().max((known - (i as f64 + 1.0) / n).abs())
        })
        .fold(0.0, f64::max)
}

fn euler_maruyama(epsilon: f64) -> Solver {
    let diffusion = Diffusion::Constant { value: epsilon };
    Solver::EulerMaruyama(Sde { diffusion, last_step: LastStep::Same, last_step_size: None })
}

fn run(field: &dyn Field<2>, x: Tensor<2>, solver: &Solver, schedule: &Schedule) -> Result<Vec<f64>, FlowError> {
    let paths = paths(x.dims()[0] as u64);
    solve_with(field, x, &Condition::none(), solver, schedule, &paths, None).map(|s| host(s.x))
}

const PARTICLES: u64 = 20_000;
/// The 1 % level of the Kolmogorov–Smirnov statistic at 20 000 draws.
const LEVEL: f64 = 0.0115;

/// 2303.08797: the ODE and the SDE at every diffusion carry rho0 to rho1.
#[test]
fn the_marginals_do_not_depend_on_the_diffusion() {
    let field = two_to_three();
    let x = particles(field.source(), PARTICLES);
    let ode = run(&field, x.clone(), &Solver::Rk4 {}, &uniform(0.0, 1.0, 100)).unwrap();
    let mut measured = vec![(0.0, distance(ode, field.target()))];
    for (epsilon, steps) in [(0.5, 500), (1.0, 500), (2.5, 500), (5.0, 1000)] {
        let end = run(&field, x.clone(), &euler_maruyama(epsilon), &uniform(0.0, 1.0, steps)).unwrap();
        let square = mean(&end.iter().map(|x| x * x).collect::<Vec<_>>());
        assert!((square - 24.443).abs() < 0.5, "epsilon {epsilon}: E x² = {square}");
        measured.push((epsilon, distance(end, field.target())));
    }
    assert!(measured.iter().all(|(_, d)| *d < LEVEL), "{measured:?}");
}

/// A field whose score is multiplied by something it should not be.
struct Wrong {
    field: MixtureField,
    factor: f64,
}

impl Field<2> for Wrong {
    fn velocity(&self, x: Tensor<2>, t: &Times, c: &Condition) -> Tensor<2> {
        self.field.velocity(x, t, c)
    }

    fn frame(&self) -> Option<Frame<'_>> {
        self.field.frame()
    }

    fn score_field(&self) -> Option<&dyn ScoreField<2>> {
        Some(self)
    }
}

impl ScoreField<2> for Wrong {
    fn velocity_and_score(&self, x: Tensor<2>, t: &Times, c: &Condition) -> (Tensor<2>, Tensor<2>) {
        let (velocity, score) = self.field.velocity_and_score(x, t, c);
        (velocity, score * self.factor)
    }
}

/// The two classical slips: the backward drift forwards, and `√ε` for `√(2ε)` (half the noise for the same drift).
#[test]
fn wrong_sign_and_missing_two_are_seen() {
    let x = particles(two_to_three().source(), PARTICLES);
    let sign = Wrong { field: two_to_three(), factor: -1.0 };
    match run(&sign, x.clone(), &euler_maruyama(1.0), &uniform(0.0, 1.0, 500)) {
        Ok(end) => assert!(distance(end, sign.field.target()) > 0.05),
        Err(error) => assert!(matches!(error, FlowError::NotFinite { .. } | FlowError::StepTooLong { .. }), "{error}"),
    }
    let root = Wrong { field: two_to_three(), factor: 2.0 };
    let end = run(&root, x, &euler_maruyama(1.0), &uniform(0.0, 1.0, 500)).unwrap();
    // 0.025 and a variance of 23.8 in place of 24.44, of which half a unit is four standard errors: the distance tells.
    let square = mean(&end.iter().map(|x| x * x).collect::<Vec<_>>());
    assert!((square - 23.8).abs() < 0.5, "{square}");
    let far = distance(end, root.field.target());
    assert!(far > 1.5 * LEVEL, "{far}");
}

/// Whatever the seed: `x²` has a deviation of 3 under the source, so its mean over 20 000 draws has a standard error of 0.021
/// and over five times as many one of 0.0095. (Euler–Maruyama with 500 steps is 0.02 too low on top, which is its bias.)
#[test]
fn the_backward_equation_goes_back() {
    let field = two_to_three();
    let indices: Vec<u64> = (0..PARTICLES).collect();
    let constant = Diffusion::Constant { value: 1.0 };
    let solver = Solver::StochasticRk(Sde { diffusion: constant, last_step: LastStep::Same, last_step_size: None });
    let mut squares = Vec::new();
    for seed in 0..5 {
        let key = Key::new(seed, Purpose::Noise);
        let x = line(&indices.iter().flat_map(|i| field.target().sample(key, *i)).collect::<Vec<_>>());
        let paths = Brownian::new(Key::new(seed, Purpose::Latent), &indices);
        let grid = uniform(1.0, 0.0, 100);
        let end = host(solve_with(&field, x, &Condition::none(), &solver, &grid, &paths, None).unwrap().x);
        squares.push(mean(&end.iter().map(|x| x * x).collect::<Vec<_>>()));
        // The 0.1 % level: 1 % would fail once in twenty such tests.
        assert!(distance(end, field.source()) < 1.95 / (PARTICLES as f64).sqrt(), "seed {seed}");
    }
    assert!(squares.iter().all(|square| (square - 9.25).abs() < 0.1), "{squares:?}");
    assert!((mean(&squares) - 9.25).abs() < 0.05, "{squares:?}");
}

/// N(0, 1) to N(0, 1) with `g = (1-t) sigma`: variance 1, where the drift of rectified flow's first code,
/// `v + g²/(2 (1-t)²) (t(1-t) v - (2-t) x)/2`, ends at 0.786 and 0.416.
#[test]
fn rectified_flows_sampler_with_the_right_score_keeps_the_variance() {
    let field = Gaussian::new(Path::Linear {}, vec![0.0], vec![1.0]).unwrap();
    let start = particles(&Mixture::standard(1), PARTICLES);
    let grid = uniform(0.0, 1.0, 500);
    let variance = |x: Vec<f64>| mean(&x.iter().map(|x| x * x).collect::<Vec<_>>());
    for (sigma, published) in [(0.0_f64, 1.0), (1.0, 0.786), (2.0, 0.416)] {
        let diffusion = Diffusion::Power { scale: sigma * sigma / 2.0, power: 2.0 };
        let solver = Solver::EulerMaruyama(Sde { diffusion, ..Sde::default() });
        let right = variance(run(&field, start.clone(), &solver, &grid).unwrap());
        assert!((right - 1.0).abs() < 0.03, "sigma {sigma}: {right}");
        let mut x = start.clone();
        for (pair, step) in grid.times().windows(2).zip(paths(PARTICLES).walk(&grid, 1).unwrap()) {
            let (t, h) = (pair[0], pair[1] - pair[0]);
            let v = field.velocity(x.clone(), &Times::all(t, PARTICLES as usize), &Condition::none());
            let pull = (v.clone() * (t * (1.0 - t)) - x.clone() * (2.0 - t)) * (sigma * sigma / 4.0);
            let dw = line(&step.dw.iter().map(|w| f64::from(*w)).collect::<Vec<_>>());
            x = x + (v + pull) * h + dw * ((1.0 - t) * sigma);
        }
        let wrong = variance(host(x));
        assert!((wrong - published).abs() < 0.03, "sigma {sigma}: {wrong} is not {published}");
    }
}

/// Every stochastic method and every way to finish, with the score that follows from path and velocity.
#[test]
fn every_stochastic_solver_keeps_the_marginals() {
    let target = mixture(&[-1.5, 1.0], &[0.2, 0.4]);
    let n = 5000;
    let x = particles(&Mixture::standard(1), n);
    let sde = |diffusion, last_step| Sde { diffusion, last_step, last_step_size: None };
    let sigma = || Diffusion::Sigma { scale: 1.0 };
    let mut solvers = vec![
        Solver::EulerMaruyama(sde(sigma(), LastStep::Mean)),
        Solver::EulerMaruyama(sde(Diffusion::Decreasing { scale: 1.0 }, LastStep::Tweedie)),
        Solver::EulerMaruyama(sde(Diffusion::IncreasingDecreasing { scale: 1.0 }, LastStep::Euler)),
        Solver::SdeHeun(sde(Diffusion::Linear { scale: 1.0 }, LastStep::Mean)),
        Solver::StochasticRk(sde(sigma(), LastStep::Tweedie)),
        Solver::StochasticRk(Sde {
            last_step_size: Some(0.002),
            ..sde(Diffusion::Constant { value: 0.5 }, LastStep::Stop)
        }),
    ];
    solvers.extend([Solver::Ddim { eta: 1.0 }, Solver::Ddim { eta: 0.5 }, Solver::DpmSolverSde { eta: 1.0 }]);
    solvers.extend([Solver::NoiseRefresh { rate: 0.7 }, Solver::Overshooting { strength: 1.0 }]);
    for path in [Path::Linear {}, Path::Trigonometric {}] {
        let field = MixtureField::new(path.clone(), target.clone()).unwrap();
        // Only velocity and path, as a guided network has them.
        let derived = flow::Guided::new(field, 1.0, None).unwrap();
        for solver in &solvers {
            let end = run(&derived, x.clone(), solver, &uniform(0.0, 1.0, 200)).unwrap();
            let d = distance(end, &target);
            // 0.023 is the 1 % level; the rest is the bias of 200 steps.
            assert!(d < 0.027, "{solver:?} on {}: {d}", path.name());
        }
    }
}

/// A share of fresh noise that does not shrink with the step, as published: every step loses the variance that `E[x0|x]` lacks.
#[test]
fn a_constant_refresh_share_would_lose_variance() {
    let field = Gaussian::new(Path::Linear {}, vec![0.0], vec![1.0]).unwrap();
    let n = 10_000;
    let start = particles(&Mixture::standard(1), n);
    let square = |x: &[f64]| mean(&x.iter().map(|x| x * x).collect::<Vec<_>>());
    for steps in [100, 500] {
        let grid = uniform(0.0, 1.0, steps);
        let mut x = start.clone();
        let increments = paths(n).walk(&grid, 1).unwrap();
        for (pair, step) in grid.times().windows(2).zip(increments) {
            let (t, s) = (pair[0], pair[1]);
            let v = field.velocity(x.clone(), &Times::all(t, n as usize), &Condition::none());
            let (source, data) = (x.clone() - v.clone() * t, x + v * (1.0 - t));
            let fresh = line(&step.dw.iter().map(|w| f64::from(*w) / (s - t).sqrt()).collect::<Vec<_>>());
            x = data * s + (source * 0.75_f64.sqrt() + fresh * 0.5) * (1.0 - s);
        }
        let published = square(&host(x));
        assert!(published < 0.94, "{steps} steps: the published sampler keeps {published}");
        // Ours converges: its loss falls with the step.
        let ours = square(&run(&field, start.clone(), &Solver::NoiseRefresh { rate: 1.0 }, &grid).unwrap());
        assert!((ours - 1.0).abs() < 0.02 + 4.0 / steps as f64, "{steps} steps: {ours}");
    }
}

/// Error on one and the same Brownian path against a far finer run.
#[test]
fn strong_orders_by_slope() {
    let target = mixture(&[-1.0, 1.2], &[0.5, 0.4]);
    let field = MixtureField::new(Path::Linear {}, target).unwrap();
    let n = 400;
    let x = particles(&Mixture::standard(1), n);
    let sde = || Sde { diffusion: Diffusion::Constant { value: 2.0 }, last_step: LastStep::Same, last_step_size: None };
    let go = |solver: &Solver, steps| run(&field, x.clone(), solver, &uniform(0.0, 0.9, steps)).unwrap();
    let fine = go(&Solver::StochasticRk(sde()), 7200);
    for (solver, order) in
        [(Solver::EulerMaruyama(sde()), 1.0), (Solver::SdeHeun(sde()), 1.0), (Solver::StochasticRk(sde()), 1.5)]
    {
        assert_eq!(solver.order(), Some(order));
        let error = |steps| gap_of(&go(&solver, steps), &fine);
        let slope = (error(60) / error(480)).log2() / 3.0;
        assert!((slope - order).abs() < 0.1, "{}: {slope}, errors {:e} {:e}", solver.name(), error(60), error(480));
    }
}

/// The same for the solvers that refresh part of the source, each against its own far finer run.
#[test]
fn refreshing_solvers_have_their_strong_orders() {
    let n = 400;
    let x = particles(&Mixture::standard(1), n);
    for path in [Path::Linear {}, Path::vp()] {
        let field = MixtureField::new(path.clone(), mixture(&[-1.0, 1.2], &[0.5, 0.4])).unwrap();
        let (sde, refresh) = (Solver::DpmSolverSde { eta: 1.0 }, Solver::NoiseRefresh { rate: 1.0 });
        for solver in [Solver::Ddim { eta: 1.0 }, sde, refresh, Solver::Overshooting { strength: 1.0 }] {
            let go = |steps| run(&field, x.clone(), &solver, &uniform(0.2, 0.8, steps)).unwrap();
            let fine = go(7680);
            let error = |steps| gap_of(&go(steps), &fine);
            let slope = (error(120) / error(480)).log2() / 2.0;
            assert!((slope - solver.order().unwrap()).abs() < 0.1, "{} on {}: {slope}", solver.name(), path.name());
        }
    }
}

/// Root mean square difference.
fn gap_of(a: &[f64], b: &[f64]) -> f64 {
    mean(&a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).collect::<Vec<_>>()).sqrt()
}

#[test]
fn no_noise_is_the_ordinary_equation() {
    let field = two_to_three();
    let x = particles(field.source(), 50);
    let grid = uniform(0.0, 1.0, 40);
    let ode = host(solve(&field, x.clone(), &Condition::none(), &Solver::Euler {}, &grid, None).unwrap().x);
    assert!(gap(&run(&field, x.clone(), &euler_maruyama(0.0), &grid).unwrap(), &ode) < 1e-12);
    let heun = host(solve(&field, x.clone(), &Condition::none(), &Solver::Heun {}, &grid, None).unwrap().x);
    let still = Sde { diffusion: Diffusion::Constant { value: 0.0 }, last_step: LastStep::Same, last_step_size: None };
    assert!(gap(&run(&field, x, &Solver::SdeHeun(still), &grid).unwrap(), &heun) < 1e-12);
}

/// The same sample whatever its batch: bit for bit.
#[test]
fn a_sample_does_not_see_its_batch_mates() {
    let field = Gaussian::new(Path::Linear {}, vec![0.5; 3], vec![0.7; 3]).unwrap();
    let (noise, latent) = (Key::new(3, Purpose::Noise), Key::new(3, Purpose::Latent));
    let draw = |samples: &[u64], solver: &Solver| {
        let x = noise.normal_tensor::<2>(samples, [0, 3], &Device::flex());
        let paths = Brownian::new(latent, samples);
        host(solve_with(&field, x, &Condition::none(), solver, &uniform(0.0, 1.0, 30), &paths, None).unwrap().x)
    };
    for solver in Solver::all().iter().filter(|s| s.is_stochastic()) {
        let together = draw(&[4, 17, 9], solver);
        assert_eq!(draw(&[17], solver), together[3..6], "{solver:?}");
        assert_eq!(draw(&[9, 17], solver)[3..6], together[3..6], "{solver:?}");
    }
}

#[test]
fn unusable_diffusions_and_steps_are_refused() {
    let field = MixtureField::new(Path::Linear {}, mixture(&[0.0], &[1.0])).unwrap();
    let x = || particles(&Mixture::standard(1), 20);
    let ask = |diffusion, steps| {
        let sde = Sde { diffusion, ..Sde::default() };
        run(&field, x(), &Solver::EulerMaruyama(sde), &uniform(0.0, 1.0, steps)).unwrap_err()
    };
    let error = ask(Diffusion::Constant { value: 500.0 }, 10);
    assert!(matches!(error, FlowError::StepTooLong { .. }), "{error}");
    let error = ask(Diffusion::Sbdm { scale: 1.0 }, 10);
    assert!(matches!(error, FlowError::Diffusion { t: 0.0, .. }), "{error}");
    assert!(error.to_string().contains("dpm_solver_sde"), "{error}");
    assert!(Solver::SdeHeun(Sde { last_step_size: Some(1.5), ..Sde::default() }).check().is_err());
    let long = Sde { last_step_size: Some(0.6), ..Sde::default() };
    let error = run(&field, x(), &Solver::EulerMaruyama(long), &uniform(0.0, 0.5, 5)).unwrap_err();
    assert!(error.to_string().contains("last_step_size"), "{error}");
}

/// From noise to N(m, 1) in one step: `x + h (v + ε s)` with `v = m - x` and `s = -x` at t = 0. Mutant: the last step towards the
/// mean without its score.
#[test]
fn a_last_step_to_the_mean_takes_the_score_along() {
    let (m, epsilon, x) = (0.7, 0.5, 2.0);
    let field = Gaussian::new(Path::Linear {}, vec![m], vec![1.0]).unwrap();
    let sde =
        Sde { diffusion: Diffusion::Constant { value: epsilon }, last_step: LastStep::Mean, last_step_size: None };
    for solver in [Solver::EulerMaruyama(sde.clone()), Solver::SdeHeun(sde)] {
        let end = run(&field, line(&[x]), &solver, &uniform(0.0, 1.0, 1)).unwrap();
        assert!((end[0] - (m - epsilon * x)).abs() < 1e-5, "{solver:?}: {end:?}");
    }
}
