//! Closed forms of rectified flow: means in one step, the ledger, the eight-mode ring, convex costs, and mutants.
//!
//! Numbers are those of 2209.03003's theory evaluated in closed form or on 6000 particles; bands are stated at each check.

use crate::common;

use base::{Condition, Key, Purpose, Tensor, Times};
use common::{gap, host, line, mean, points};
use flow::diagnostics::{Ledger, crossing, step_error, straightness, transport_cost};
use flow::exact::{Gaussian, GaussianReflow, Kernel, Mixture, MixtureField};
use flow::{Field, Path, ScheduleConfig, Solver, solve};
use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};

fn none() -> Condition {
    Condition::none()
}

fn uniform(steps: usize) -> flow::Schedule {
    ScheduleConfig::Uniform {}.build(steps).unwrap()
}

fn euler(field: &dyn Field<2>, x: Tensor<2>, steps: usize) -> Tensor<2> {
    solve(field, x, &none(), &Solver::Euler {}, &uniform(steps), None).unwrap().x
}

fn noise(n: u64, d: usize) -> Tensor<2> {
    let key = Key::new(11, Purpose::Noise);
    points(&(0..n).map(|i| key.normals(i, d).map(f64::from).collect()).collect::<Vec<_>>())
}

/// Points that have exactly the mean and variance of N(0, 1), enough for every quantity that is quadratic in them.
fn two_points() -> Tensor<2> {
    line(&[-1.0, 1.0])
}

#[test]
fn gaussian_oracle_is_consistent_with_the_mixture_and_its_own_transport() {
    for path in [Path::Linear {}, Path::Trigonometric {}, Path::vp()] {
        let gaussian = Gaussian::new(path.clone(), vec![1.5, -0.5], vec![0.5, 2.0]).unwrap();
        let mixture = Mixture::new(vec![1.0], vec![vec![1.5, -0.5]], vec![vec![0.25, 4.0]]).unwrap();
        let mixture = MixtureField::new(path.clone(), mixture).unwrap();
        for t in [0.0, 0.3, 0.8, 1.0] {
            let x = [0.7, -1.2];
            let p = mixture.posterior(&x, t);
            assert!(gap(&gaussian.velocity_at(&x, t), &p.velocity) < 1e-12, "{path:?} at {t}");
            assert!(gap(&gaussian.score_at(&x, t), &p.score) < 1e-12);
            assert!((gaussian.log_density(&x, t) - p.log_density).abs() < 1e-12);
        }
        let (x0, end) = (vec![0.3, -0.8], 1.0);
        // VP bends hard near both ends, hence the many steps; RK4's error there is below 1e-7.
        let solved =
            solve(&gaussian, points(std::slice::from_ref(&x0)), &none(), &Solver::Rk4 {}, &uniform(2000), None)
                .unwrap();
        assert!(gap(&host(solved.x), &gaussian.transport(&x0, 0.0, end)) < 1e-6, "{path:?}");
    }
}

#[test]
fn the_mixture_velocity_moves_the_mixture_density() {
    // Continuity in one dimension, ∂ρ/∂t + ∂(ρv)/∂x = 0, by central differences of 1e-4 (truncation 1e-8 · derivatives).
    let target = Mixture::new(vec![0.3, 0.7], vec![vec![-2.0], vec![1.0]], vec![vec![0.2], vec![0.5]]).unwrap();
    for path in [Path::Linear {}, Path::Trigonometric {}, Path::vp()] {
        let field = MixtureField::new(path.clone(), target.clone()).unwrap();
        let rho = |x: f64, t: f64| field.posterior(&[x], t).log_density.exp();
        let flux = |x: f64, t: f64| rho(x, t) * field.posterior(&[x], t).velocity[0];
        let h = 1e-4;
        for t in [0.1, 0.4, 0.7, 0.95] {
            for i in -30..=30 {
                let x = i as f64 / 10.0;
                let residual =
                    (rho(x, t + h) - rho(x, t - h)) / (2.0 * h) + (flux(x + h, t) - flux(x - h, t)) / (2.0 * h);
                assert!(residual.abs() < 1e-5, "{path:?} t={t} x={x}: {residual}");
            }
        }
    }
    // Far from every mode nothing underflows.
    let far = MixtureField::new(Path::Linear {}, target).unwrap().posterior(&[300.0], 0.9);
    assert!(far.velocity[0].is_finite() && far.log_density < -1e4);
}

#[test]
fn gaussian_table_of_steps_straightness_and_crossing() {
    let table = [
        (1.0, [0.0, 0.5, 0.72, 0.8508, 0.9227], 0.429204, FRAC_PI_2),
        (0.5, [0.0, 0.2, 0.3405, 0.4148, 0.4557], 0.214602, FRAC_PI_4),
        (2.0, [0.0, 0.8, 1.3622, 1.6591, 1.8227], 0.858407, PI),
    ];
    for (s, stds, s_closed, v_closed) in table {
        let field = Gaussian::new(Path::Linear {}, vec![0.0], vec![s]).unwrap();
        assert!((field.linear_straightness() - s_closed).abs() < 1e-6);
        assert!((field.linear_crossing() - v_closed).abs() < 1e-6);
        assert!((field.cost_before() - field.cost_after() - 2.0 * s).abs() < 1e-12);
        for (steps, std) in [1, 2, 4, 8, 16].into_iter().zip(stds) {
            let x = host(euler(&field, two_points(), steps));
            assert!(gap(&x, &[-std, std]) < 1e-4, "s = {s}, {steps} steps: {x:?}"); // the table has four digits
        }
        // The polyline's straightness falls short by O(h²): below 1e-4 at 400 Heun steps.
        let measured = straightness(&field, two_points(), &none(), &Solver::Heun {}, &uniform(400)).unwrap();
        assert!((mean(&measured.per_sample) - s_closed).abs() < 1e-3, "s = {s}: {:?}", measured.per_sample);
        // Product rule over four points with the moments of independent pairs: exact for quadratic integrands.
        let (x0, x1) = (line(&[-1.0, -1.0, 1.0, 1.0]), line(&[-s, s, -s, s]));
        let v = crossing(&field, &Path::Linear {}, &x0, &x1, &none(), 400).unwrap();
        assert!((mean(&v) - v_closed).abs() < 1e-3 * v_closed, "s = {s}: {v:?}");
        let costs = transport_cost(&x0, &x1, 2.0).unwrap();
        assert!((mean(&costs) - field.cost_before()).abs() < 1e-12);
        let after = transport_cost(&two_points(), &measured.x, 2.0).unwrap();
        let ledger = Ledger::new(&costs, &after, &measured.per_sample, &v);
        assert!(ledger.imbalance().abs() < 2e-3, "s = {s}: {ledger:?}");
        // After reflow any number of steps is exact and S vanishes.
        let reflow = GaussianReflow::new(Path::Linear {}, vec![0.7], vec![s]).unwrap();
        for steps in [1, 3] {
            assert!(gap(&host(euler(&reflow, two_points(), steps)), &[0.7 - s, 0.7 + s]) < 1e-12);
        }
        let straight = straightness(&reflow, two_points(), &none(), &Solver::Euler {}, &uniform(50)).unwrap();
        assert!(mean(&straight.per_sample) < 1e-20);
    }
}

#[test]
fn on_the_trigonometric_path_reflow_makes_things_worse() {
    let path = Path::Trigonometric {};
    let first = Gaussian::new(path.clone(), vec![0.0], vec![1.0]).unwrap();
    let s = straightness(&first, two_points(), &none(), &Solver::Heun {}, &uniform(100)).unwrap();
    assert!(mean(&s.per_sample) < 1e-20, "the first flow is the identity");
    let second = GaussianReflow::new(path, vec![0.0], vec![1.0]).unwrap();
    let s = straightness(&second, two_points(), &none(), &Solver::Rk4 {}, &uniform(400)).unwrap();
    assert!((mean(&s.per_sample) - 0.8966).abs() < 1e-3, "{:?}", s.per_sample); // (π²/4)(1 - 2/π)
    assert!(gap(&host(euler(&second, line(&[1.0]), 1)), &[2.5708]) < 1e-4); // 1 + π/2
}

/// The exact flow to eight modes of radius 4 and deviation 0.3, with 6000 particles carried by 200 Euler steps.
#[test]
fn the_ring_balances_its_ledger_and_needs_many_steps() {
    let n = 6000;
    let ring = Mixture::ring(8, 4.0, 0.3).unwrap();
    let field = MixtureField::new(Path::Linear {}, ring.clone()).unwrap();
    let x0 = noise(n, 2);
    let data = Key::new(12, Purpose::Noise);
    let x1 = points(&(0..n).map(|i| ring.sample(data, i)).collect::<Vec<_>>());
    let full = straightness(&field, x0.clone(), &none(), &Solver::Euler {}, &uniform(200)).unwrap();
    let before = transport_cost(&x0, &x1, 2.0).unwrap();
    let after = transport_cost(&x0, &full.x, 2.0).unwrap();
    let v = crossing(&field, &Path::Linear {}, &x0, &x1, &none(), 50).unwrap();
    let ledger = Ledger::new(&before, &after, &full.per_sample, &v);
    let near = |what: &str, got: f64, wanted: f64, band: f64| {
        assert!((got / wanted - 1.0).abs() < band, "{what}: {got} instead of {wanted}");
    };
    // Monte Carlo errors at 6000: about 1 % for costs, 2 % for S and V.
    near("cost before", ledger.cost_before, 18.18, 0.03);
    near("cost after", ledger.cost_after, 7.82, 0.03);
    near("S", ledger.straightness, 2.92, 0.04);
    near("V", ledger.crossing, 7.42, 0.04);
    assert!(ledger.imbalance().abs() < 0.02, "{ledger:?}");

    let in_mode = |x: &Tensor<2>| {
        let near = |p: &[f64]| ring.means().iter().any(|m| (p[0] - m[0]).hypot(p[1] - m[1]) < 0.9);
        host(x.clone()).chunks(2).filter(|p| near(p)).count() as f64 / n as f64
    };
    assert!((in_mode(&full.x) - 0.987).abs() < 0.01, "{}", in_mode(&full.x));
    let steps = [(1, 0.0, 16.1), (2, 0.335, 1.16), (4, 0.893, 0.125), (8, 0.953, 0.031), (16, 0.98, 0.007)];
    for (count, fraction, error) in steps {
        let few = uniform(count);
        let lost = step_error(&field, x0.clone(), &none(), &Solver::Euler {}, &few, &full.x).unwrap();
        near(&format!("{count}-step error"), mean(&lost), error, 0.12); // two digits are given
        let got = in_mode(&euler(&field, x0.clone(), count));
        assert!(count == 16 || (got - fraction).abs() < 0.02, "{count} steps: {got} in modes, not {fraction}");
    }
    // Convex costs never rise: theorem 3.5 of 2209.03003, with the values of the same experiment.
    for (p, b, a) in [(1.0, 4.18, 2.77), (1.5, 8.75, 4.64), (2.0, 18.6, 7.80), (4.0, 421.0, 64.0)] {
        let (before, after) = (transport_cost(&x0, &x1, p).unwrap(), transport_cost(&x0, &full.x, p).unwrap());
        near(&format!("E|x1-x0|^{p} before"), mean(&before), b, 0.06);
        near(&format!("E|x1-x0|^{p} after"), mean(&after), a, 0.06);
        assert!(mean(&after) < mean(&before));
    }
}

/// Straightness, cost, one-step error and shares of points in a mode of the ring, of a field from `n` fresh noises.
struct Measured {
    straightness: f64,
    cost: f64,
    one_step: f64,
    /// After 1, 2 and 4 steps, and after all.
    in_mode: [f64; 4],
}

fn measured(field: &dyn Field<2>, ring: &Mixture, n: u64) -> Measured {
    let key = Key::new(77, Purpose::Noise);
    let x0 = points(&(0..n).map(|i| key.normals(i, 2).map(f64::from).collect()).collect::<Vec<_>>());
    let full = straightness(field, x0.clone(), &none(), &Solver::Euler {}, &uniform(100)).unwrap();
    let lost = step_error(field, x0.clone(), &none(), &Solver::Euler {}, &uniform(1), &full.x).unwrap();
    let in_mode = |x: &Tensor<2>| {
        let near = |p: &[f64]| ring.means().iter().any(|m| (p[0] - m[0]).hypot(p[1] - m[1]) < 0.9);
        host(x.clone()).chunks(2).filter(|p| near(p)).count() as f64 / n as f64
    };
    let few = |steps| in_mode(&euler(field, x0.clone(), steps));
    let cost = mean(&transport_cost(&x0, &full.x, 2.0).unwrap());
    Measured {
        straightness: mean(&full.per_sample),
        cost,
        one_step: mean(&lost),
        in_mode: [few(1), few(2), few(4), in_mode(&full.x)],
    }
}

/// Pairs that `field` makes of the noises with counters from `first`.
fn pairs_of(field: &dyn Field<2>, count: u64, first: u64, steps: usize) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let key = Key::new(78, Purpose::Noise);
    let x0 = points(&(first..first + count).map(|i| key.normals(i, 2).map(f64::from).collect()).collect::<Vec<_>>());
    let x1 = euler(field, x0.clone(), steps);
    let rows = |x: Tensor<2>| host(x).chunks(2).map(<[f64]>::to_vec).collect();
    (rows(x0), rows(x1))
}

/// Rectified again and again, with kernel regression on all pairs in place of a network.
#[test]
fn reflow_straightens_once_and_then_gains_little() {
    let ring = Mixture::ring(8, 4.0, 0.3).unwrap();
    let first = MixtureField::new(Path::Linear {}, ring.clone()).unwrap();
    let kernel = |x0: &[Vec<f64>], x1: &[Vec<f64>], width| Kernel::new(Path::Linear {}, x0, x1, width, 6000).unwrap();
    let (x0, x1) = pairs_of(&first, 6000, 0, 200);
    let one = measured(&first, &ring, 300);
    let near = |what: &str, got: f64, known: f64, band: f64| {
        assert!((got - known).abs() < band, "{what}: {got} instead of {known}");
    };
    // Kernels of 0.1 and 0.2 on 6000 pairs. The bands are those of 300 noises and other pairs.
    let table = [(0.1, 0.0071, 0.111, [0.762, 0.825, 0.910]), (0.2, 0.025, 0.19, [0.623, 0.80, 0.88])];
    for (width, straight, lost, shares) in table {
        let two = measured(&kernel(&x0, &x1, width), &ring, 300);
        near("S", two.straightness, straight, 0.35 * straight);
        near("one-step error", two.one_step, lost, 0.35 * lost);
        (two.in_mode.iter().zip(shares)).for_each(|(got, known)| near("in a mode", *got, known, 0.08));
        assert!(one.straightness / two.straightness > 20.0 && one.one_step / two.one_step > 20.0);
        // Costs of 300 noises scatter by 6/√300; on the same noises their difference scatters less.
        assert!(two.cost <= one.cost + 0.7, "{} {}", one.cost, two.cost);
    }
    // A third flow from a second one of 3000 pairs: straighter still by a little, and its samples a little worse.
    let second = kernel(&x0[..3000], &x1[..3000], 0.1);
    let (z0, z1) = pairs_of(&second, 3000, 10_000, 20);
    let (two, three) = (measured(&second, &ring, 600), measured(&kernel(&z0, &z1, 0.1), &ring, 600));
    near("S of the second", two.straightness, 0.0091, 0.0035);
    let gains = [three.straightness / two.straightness, three.one_step / two.one_step];
    assert!(gains.iter().all(|gain| (0.6..1.05).contains(gain)), "{gains:?}");
    let lost = two.in_mode[3] - three.in_mode[3];
    assert!(lost > 0.0 && two.in_mode[3] > 0.94, "{:?} {:?}", two.in_mode, three.in_mode);
}

// ---- time direction: named checks, and mutants that each must fail ----

const MEAN: [f64; 2] = [2.0, -1.0];

fn direction() -> Gaussian {
    Gaussian::new(Path::Linear {}, MEAN.to_vec(), vec![0.5, 0.8]).unwrap()
}

/// One Euler step of the exact first rectified flow carries every noise to the mean of the data.
fn lands_on_the_mean(field: &dyn Field<2>) -> bool {
    let x = host(euler(field, noise(32, 2), 1));
    x.chunks(2).all(|p| gap(p, &MEAN) < 1e-9)
}

/// The solved flow carries noise to the moments of the data.
fn ends_at_the_data(field: &dyn Field<2>) -> bool {
    let solved = solve(field, noise(2000, 2), &none(), &Solver::Rk4 {}, &uniform(40), None);
    let Ok(solved) = solved else { return false };
    let x = host(solved.x);
    (0..2).all(|k| {
        let column: Vec<f64> = x.iter().skip(k).step_by(2).copied().collect();
        let m = mean(&column);
        let std = mean(&column.iter().map(|v| (v - m).powi(2)).collect::<Vec<_>>()).sqrt();
        // Five standard errors of 2000 draws with deviation below 0.8.
        (m - MEAN[k]).abs() < 0.1 && (std - [0.5, 0.8][k]).abs() < 0.1
    })
}

/// The regression target of training agrees with the field: the mean residual over pairs vanishes.
fn fits_the_pairs(field: &dyn Field<2>, path: &Path) -> bool {
    let data = Key::new(12, Purpose::Noise);
    let target = Mixture::new(vec![1.0], vec![MEAN.to_vec()], vec![vec![0.25, 0.64]]).unwrap();
    let x1 = points(&(0..2000).map(|i| target.sample(data, i)).collect::<Vec<_>>());
    let v = mean(&crossing(field, path, &noise(2000, 2), &x1, &none(), 20).unwrap());
    (v / direction().linear_crossing() - 1.0).abs() < 0.1
}

#[test]
fn the_true_direction_passes_every_check() {
    let field = direction();
    assert!(lands_on_the_mean(&field) && ends_at_the_data(&field) && fits_the_pairs(&field, &Path::Linear {}));
}

#[test]
fn a_velocity_of_the_wrong_sign_is_detected() {
    let mutant = |x: Tensor<2>, t: &Times, c: &Condition| -direction().velocity(x, t, c);
    assert!(!lands_on_the_mean(&mutant) && !ends_at_the_data(&mutant) && !fits_the_pairs(&mutant, &Path::Linear {}));
}

#[test]
fn reversed_time_is_detected() {
    // t counted from the data, with and without the sign that would make it a consistent frame of its own.
    let flip = |t: &Times| Times::new(t.values().iter().map(|t| 1.0 - t).collect());
    let half = |x: Tensor<2>, t: &Times, c: &Condition| direction().velocity(x, &flip(t), c);
    let whole = |x: Tensor<2>, t: &Times, c: &Condition| -direction().velocity(x, &flip(t), c);
    for mutant in [&half as &dyn Field<2>, &whole] {
        assert!(!lands_on_the_mean(mutant) && !ends_at_the_data(mutant) && !fits_the_pairs(mutant, &Path::Linear {}));
    }
}

#[test]
fn swapped_end_points_are_detected() {
    // The flow from the data to the noise, used as if it were the flow from noise to data.
    let data = Mixture::new(vec![1.0], vec![MEAN.to_vec()], vec![vec![0.25, 0.64]]).unwrap();
    let mutant = MixtureField::between(Path::Linear {}, data, Mixture::standard(2)).unwrap();
    assert!(!lands_on_the_mean(&mutant) && !ends_at_the_data(&mutant) && !fits_the_pairs(&mutant, &Path::Linear {}));
}

#[test]
fn a_schedule_run_from_data_to_noise_is_detected() {
    let back = solve(&direction(), noise(500, 2), &none(), &Solver::Rk4 {}, &uniform(40).reversed(), None).unwrap().x;
    let first: Vec<f64> = host(back).iter().step_by(2).copied().collect();
    assert!((mean(&first) - MEAN[0]).abs() > 1.0);
}
