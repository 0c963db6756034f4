//! Curve-following solvers and RF-Solver against closed forms: DDIM, DPM-Solver++, UniPC; the numbers of the papers' tables.

mod common;

use base::{Condition, Key, Purpose, Tensor, Times};
use common::{gap, host, line, points};
use flow::exact::{Gaussian, GaussianReflow, Mixture, MixtureField};
use flow::{Brownian, Field, FlowError, Frame, Path, Schedule, ScheduleConfig, ScoreField, Solver, solve, solve_with};
use std::cell::Cell;

fn none() -> Condition {
    Condition::none()
}

fn end(field: &dyn Field<2>, x: Tensor<2>, solver: &Solver, schedule: &Schedule) -> Vec<f64> {
    host(solve(field, x, &none(), solver, schedule, None).unwrap().x)
}

fn two_modes() -> Mixture {
    Mixture::new(vec![0.4, 0.6], vec![vec![-1.0], vec![1.5]], vec![vec![0.3], vec![0.5]]).unwrap()
}

fn uniform(from: f64, to: f64, steps: usize) -> Schedule {
    ScheduleConfig::Uniform {}.between(from, to, steps).unwrap()
}

const STARTS: [f64; 6] = [-1.7, -0.6, 0.1, 0.4, 1.1, 2.3];

/// Between times where `lambda` is finite the published orders hold, towards the data and back, on every path.
#[test]
fn curve_following_solvers_have_their_orders() {
    for path in [Path::Linear {}, Path::Trigonometric {}, Path::vp()] {
        let field = MixtureField::new(path.clone(), two_modes()).unwrap();
        for (from, to) in [(0.3, 0.9), (0.9, 0.3)] {
            let known = end(&field, line(&STARTS), &Solver::Rk4 {}, &uniform(from, to, 4000));
            for solver in [
                Solver::Ddim { eta: 0.0 },
                Solver::DpmSolver {},
                Solver::Unipc { order: 2 },
                Solver::Unipc { order: 3 },
            ] {
                let error = |steps| gap(&end(&field, line(&STARTS), &solver, &uniform(from, to, steps)), &known);
                let slope = (error(160) / error(640)).log2() / 2.0;
                // UniPC's first steps leave a small third-order term under a fourth-order one.
                let most = if solver == (Solver::Unipc { order: 3 }) { 4.1 } else { solver.order() + 0.1 };
                assert!(
                    slope > solver.order() - 0.1 && slope < most,
                    "{solver:?} on {} from {from} to {to}: slope {slope}, error {:e}",
                    path.name(),
                    error(640)
                );
            }
        }
    }
}

/// Whole runs, from pure noise to pure data, where both ends are singular in `lambda`.
#[test]
fn curve_following_solvers_run_from_end_to_end() {
    for path in [Path::Linear {}, Path::Trigonometric {}, Path::vp()] {
        let field = MixtureField::new(path.clone(), two_modes()).unwrap();
        let known = end(&field, line(&STARTS), &Solver::Rk4 {}, &uniform(0.0, 1.0, 4000));
        for (solver, room) in [
            (Solver::Ddim { eta: 0.0 }, 0.08),
            (Solver::DpmSolver {}, 0.01),
            (Solver::Unipc { order: 2 }, 0.015),
            (Solver::Unipc { order: 3 }, 0.015),
        ] {
            let error = gap(&end(&field, line(&STARTS), &solver, &uniform(0.0, 1.0, 60)), &known);
            assert!(error < room, "{solver:?} on {}: {error}", path.name());
            let back = end(&field, line(&known), &solver, &uniform(1.0, 0.0, 400));
            assert!(gap(&back, &STARTS) < 0.2, "{solver:?} on {} back: {back:?}", path.name());
        }
    }
}

/// conventions.md §3: the same network, the same grid of signal-to-noise ratios, one and the same map.
#[test]
fn edm_euler_linear_euler_and_ddim_are_one_map() {
    let times: Vec<f64> = vec![0.2, 0.3, 0.45, 0.6, 0.8, 0.93];
    let linear = MixtureField::new(Path::Linear {}, two_modes()).unwrap();
    let schedule = Schedule::new(times.clone()).unwrap();
    let straight = end(&linear, line(&STARTS), &Solver::Euler {}, &schedule);
    assert!(gap(&straight, &end(&linear, line(&STARTS), &Solver::Ddim { eta: 0.0 }, &schedule)) < 1e-12);
    // EDM: x/t at noise level sigma = (1-t)/t, x += (sigma' - sigma) (x - D)/sigma.
    let edm: Vec<f64> = (STARTS.iter())
        .map(|start| {
            let mut x = start / times[0];
            for pair in times.windows(2) {
                let (sigma, next) = ((1.0 - pair[0]) / pair[0], (1.0 - pair[1]) / pair[1]);
                let denoised = linear.posterior(&[x * pair[0]], pair[0]).data[0];
                x += (next - sigma) * (x - denoised) / sigma;
            }
            x * times[times.len() - 1]
        })
        .collect();
    assert!(gap(&straight, &edm) < 1e-12);
    for path in [Path::vp(), Path::Trigonometric {}] {
        // The times of equal ratio, by bisection, and the states there up to scale.
        let matched: Vec<f64> = (times.iter())
            .map(|t| {
                let (mut low, mut high) = (0.0, 1.0);
                for _ in 0..200 {
                    let middle = 0.5 * (low + high);
                    let c = path.at(middle);
                    if c.beta * (1.0 - t) < c.alpha * t { low = middle } else { high = middle }
                }
                0.5 * (low + high)
            })
            .collect();
        let scale = |t: f64| path.at(t).alpha + path.at(t).beta;
        let field = MixtureField::new(path.clone(), two_modes()).unwrap();
        let starts = STARTS.map(|x| x * scale(matched[0]));
        let ddim = end(&field, line(&starts), &Solver::Ddim { eta: 0.0 }, &Schedule::new(matched.clone()).unwrap());
        let ddim: Vec<f64> = ddim.iter().map(|x| x / scale(matched[times.len() - 1])).collect();
        assert!(gap(&straight, &ddim) < 1e-11, "{}: {ddim:?}", path.name());
        // Plain Euler on a curved path is another map.
        let euler = end(&field, line(&starts), &Solver::Euler {}, &Schedule::new(matched).unwrap());
        assert!(gap(&straight, &euler.iter().map(|x| x / scale(0.0)).collect::<Vec<_>>()) > 1e-3);
    }
}

/// 2303.08797, §3: `X_s = (beta_s/beta_t) X_t + (alpha_s - alpha_t beta_s/beta_t) E[z|X_t]`.
#[test]
fn ddim_is_the_denoising_integrator() {
    let path = Path::Trigonometric {};
    let field = MixtureField::new(path.clone(), two_modes()).unwrap();
    let (t, s) = (0.35, 0.5);
    let (ct, cs) = (path.at(t), path.at(s));
    let ratio = cs.beta / ct.beta;
    let known = STARTS.map(|x| ratio * x + (cs.alpha - ct.alpha * ratio) * field.posterior(&[x], t).source[0]);
    let step = end(&field, line(&STARTS), &Solver::Ddim { eta: 0.0 }, &Schedule::new(vec![t, s]).unwrap());
    assert!(gap(&step, &known) < 1e-12);
}

/// 2209.03003's negative case: after reflow on the trigonometric path plain Euler misses by 2.571, the curved step is exact.
#[test]
fn one_curved_step_is_exact_where_the_ends_are_constant() {
    let field = GaussianReflow::new(Path::Trigonometric {}, vec![0.0], vec![1.0]).unwrap();
    let one = uniform(0.0, 1.0, 1);
    let curved = end(&field, line(&STARTS), &Solver::Ddim { eta: 0.0 }, &one);
    assert!(gap(&curved, &STARTS) < 1e-12);
    let plain = end(&field, line(&STARTS), &Solver::Euler {}, &one);
    assert!(gap(&plain, &STARTS.map(|x| 2.570_796_326_794_896_6 * x)) < 1e-12);
}

/// RF-Solver's steps as the paper writes them, with derivatives by differences.
#[test]
fn rf_solver_is_its_taylor_step() {
    let field = MixtureField::new(Path::Linear {}, two_modes()).unwrap();
    let v = |z: f64, t: f64| field.posterior(&[z], t).velocity[0];
    let (t, h) = (0.4, 0.07);
    let second = STARTS.map(|z| {
        let v0 = v(z, t);
        let slope = (v(z + h / 2.0 * v0, t + h / 2.0) - v0) / (h / 2.0);
        z + h * v0 + 0.5 * h * h * slope
    });
    let third = STARTS.map(|z| {
        let v0 = v(z, t);
        let slope = (v(z + h / 2.0 * v0, t + h / 2.0) - v0) / (h / 2.0);
        let v1 = v(z + h / 2.0 * v0 + h * h / 8.0 * slope, t + h / 2.0);
        let slope = (v1 - v0) / (h / 2.0);
        let v2 = v(z + h * v0 + 0.5 * h * h * slope, t + h);
        let bend = (v2 - 2.0 * v1 + v0) / (h * h / 4.0);
        let slope = (v1 - v0) / (h / 2.0) - h / 4.0 * bend;
        z + h * v0 + 0.5 * h * h * slope + h.powi(3) / 6.0 * bend
    });
    let step = Schedule::new(vec![t, t + h]).unwrap();
    assert!(gap(&end(&field, line(&STARTS), &Solver::RfSolver { order: 2 }, &step), &second) < 1e-12);
    assert!(gap(&end(&field, line(&STARTS), &Solver::Midpoint {}, &step), &second) < 1e-12);
    assert!(gap(&end(&field, line(&STARTS), &Solver::RfSolver { order: 3 }, &step), &third) < 1e-12);
}

/// The ring of eight Gaussians on which RF-Solver's numerics were tabulated: generation errors and round trips.
#[test]
fn rf_solver_table_on_the_ring() {
    let ring = Mixture::ring(8, 2.0, 0.3).unwrap();
    let field = MixtureField::new(Path::Linear {}, ring.clone()).unwrap();
    let key = Key::new(11, Purpose::Noise);
    let draw = |mixture: &Mixture| points(&(0..800).map(|i| mixture.sample(key, i)).collect::<Vec<_>>());
    let noise = draw(&Mixture::standard(2));
    let rms = |a: &[f64], b: &[f64]| {
        (a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / a.len() as f64 * 2.0).sqrt()
    };
    let reference = end(&field, noise.clone(), &Solver::Rk4 {}, &uniform(0.0, 1.0, 600));
    let error =
        |solver: &Solver, steps| rms(&end(&field, noise.clone(), solver, &uniform(0.0, 1.0, steps)), &reference);
    let order = |solver: &Solver| (error(solver, 64) / error(solver, 256)).log2() / 2.0;
    for (solver, known) in [
        (Solver::Euler {}, 1.0),
        (Solver::RfSolver { order: 2 }, 2.0),
        (Solver::Fireflow {}, 2.0),
        (Solver::RfSolver { order: 3 }, 3.0),
    ] {
        let slope = order(&solver);
        assert!((slope - known).abs() < 0.15, "{solver:?}: {slope}");
    }
    // The table's errors at N = 64, to the scatter of other draws.
    for (solver, known) in [
        (Solver::Euler {}, 1.67e-2),
        (Solver::RfSolver { order: 2 }, 9.51e-5),
        (Solver::RfSolver { order: 3 }, 1.61e-6),
    ] {
        let measured = error(&solver, 64);
        assert!(measured / known < 1.6 && known / measured < 1.6, "{solver:?}: {measured:e} is far from {known:e}");
    }
    // Data to noise and back, at equal evaluations each way.
    let data = draw(&ring);
    let start = host(data.clone());
    let trip = |solver: &Solver, nfe: usize| {
        let steps = if *solver == (Solver::RfSolver { order: 2 }) { nfe / 2 } else { nfe };
        let grid = uniform(1.0, 0.0, steps);
        let there = solve(&field, data.clone(), &none(), solver, &grid, None).unwrap().x;
        rms(&end(&field, there, solver, &grid.reversed()), &start)
    };
    let (euler, rf) = (trip(&Solver::Euler {}, 40), trip(&Solver::RfSolver { order: 2 }, 40));
    assert!(euler / rf > 30.0, "round trips: Euler {euler:e}, RF-Solver {rf:e}");
    let slope = (trip(&Solver::RfSolver { order: 2 }, 40) / trip(&Solver::RfSolver { order: 2 }, 160)).log2() / 2.0;
    assert!(slope > 2.7, "the round trip of an even-order method gains an order: {slope}");
    assert!((trip(&Solver::Euler {}, 40) / trip(&Solver::Euler {}, 80)).log2() < 1.2);
}

/// A field that counts how often it is asked.
struct Counted {
    field: MixtureField,
    calls: Cell<usize>,
}

impl Field<2> for Counted {
    fn velocity(&self, x: Tensor<2>, t: &Times, c: &Condition) -> Tensor<2> {
        self.calls.set(self.calls.get() + 1);
        self.field.velocity(x, t, c)
    }

    fn frame(&self) -> Option<Frame<'_>> {
        self.field.frame()
    }

    fn score_field(&self) -> Option<&dyn ScoreField<2>> {
        Some(self)
    }
}

impl ScoreField<2> for Counted {
    fn velocity_and_score(&self, x: Tensor<2>, t: &Times, c: &Condition) -> (Tensor<2>, Tensor<2>) {
        self.calls.set(self.calls.get() + 1);
        self.field.velocity_and_score(x, t, c)
    }
}

#[test]
fn every_solver_counts_its_evaluations() {
    let field = MixtureField::new(Path::Linear {}, two_modes()).unwrap();
    let counted = Counted { field, calls: Cell::new(0) };
    let brownian = Brownian::new(Key::new(1, Purpose::Latent), &[0, 1, 2, 3, 4, 5]);
    for solver in Solver::all() {
        for steps in [1, 2, 50] {
            counted.calls.set(0);
            let grid = uniform(0.0, 1.0, steps);
            let solved = solve_with(&counted, line(&STARTS), &none(), &solver, &grid, &brownian, None).unwrap();
            assert_eq!(solved.nfe, counted.calls.get(), "{solver:?}, {steps} steps");
            assert!(solver.evaluations(steps).is_none_or(|known| known == solved.nfe), "{solver:?}, {steps} steps");
        }
    }
}

#[test]
fn a_field_that_does_not_know_enough_is_refused_with_a_reason() {
    let blind = |x: Tensor<2>, _: &Times, _: &Condition| x;
    let grid = uniform(0.0, 1.0, 4);
    let knowing = MixtureField::new(Path::Linear {}, two_modes()).unwrap();
    let coupled = GaussianReflow::new(Path::Linear {}, vec![0.0], vec![1.0]).unwrap();
    let brownian = Brownian::new(Key::new(1, Purpose::Latent), &[0, 1, 2, 3, 4, 5]);
    let ask = |field: &dyn Field<2>, solver: &Solver| {
        solve_with(field, line(&STARTS), &none(), solver, &grid, &brownian, None).map(drop)
    };
    for solver in Solver::all() {
        let knows_more = solver.follows_path();
        let blind = ask(&blind, &solver);
        assert_eq!(blind.is_ok(), !solver.is_stochastic() && !knows_more, "{solver:?}");
        if let Err(error) = blind {
            assert!(matches!(error, FlowError::Needs { .. }), "{error}");
        }
        // A stochastic solver without noise, and on a coupled field.
        let silent = solve(&knowing, line(&STARTS), &none(), &solver, &grid, None);
        assert_eq!(silent.is_ok(), !solver.is_stochastic(), "{solver:?}");
        assert_eq!(ask(&coupled, &solver).is_ok(), !solver.is_stochastic(), "{solver:?}");
    }
    let back = grid.reversed();
    let overshooting = Solver::Overshooting { strength: 1.0 };
    let error = solve_with(&knowing, line(&STARTS), &none(), &overshooting, &back, &brownian, None).unwrap_err();
    assert!(error.to_string().contains("towards the data"), "{error}");
    let few = Brownian::new(Key::new(1, Purpose::Latent), &[0]);
    let sde = Solver::EulerMaruyama(flow::Sde::default());
    let error = solve_with(&knowing, line(&STARTS), &none(), &sde, &grid, &few, None).unwrap_err();
    assert!(matches!(error, FlowError::Shape { .. }), "{error}");
}

#[test]
fn guided_fields_keep_their_path() {
    let field = flow::Guided::new(Gaussian::new(Path::vp(), vec![1.0], vec![0.5]).unwrap(), 2.0, None).unwrap();
    let frame = Field::<2>::frame(&field).expect("the path of the field underneath");
    assert!(frame.independent && *frame.path == Path::vp());
    assert!(Field::<2>::score_field(&field).is_none(), "the score underneath is not guided");
}
