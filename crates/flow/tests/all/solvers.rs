//! Solvers: order by slope, both directions, independence of batch mates, counts of evaluations, clear failures.

use crate::common;

use base::{Condition, Device, Tensor, Times};
use common::{gap, host, line};
use flow::exact::{Mixture, MixtureField};
use flow::{Field, FlowError, Path, Schedule, ScheduleConfig, Solver, rows, solve};
use std::cell::Cell;

/// `dx/dt = -2 t x²`, solved by `x0 / (1 + x0 t²)`: nonlinear and time-dependent, so that every order condition counts.
fn bend(x: Tensor<2>, t: &Times, _: &Condition) -> Tensor<2> {
    x.clone().square() * rows::time_column(t, |t| -2.0 * t, &x)
}

fn bent(x0: f64, t: f64) -> f64 {
    x0 / (1.0 + x0 * t * t)
}

const STARTS: [f64; 4] = [0.3, 1.0, 2.0, -0.4];

fn error(solver: &Solver, schedule: &Schedule) -> f64 {
    let (from, to) = schedule.ends();
    let starts = STARTS.map(|x| bent(x, from));
    let solution = solve(&bend, line(&starts), &Condition::none(), solver, schedule, None).unwrap();
    gap(&host(solution.x), &STARTS.map(|x| bent(x, to)))
}

#[test]
fn errors_fall_with_the_stated_order() {
    let methods = [
        (Solver::Euler {}, 1.0),
        (Solver::Midpoint {}, 2.0),
        (Solver::Heun {}, 2.0),
        (Solver::Rk4 {}, 4.0),
        (Solver::RfSolver { order: 2 }, 2.0),
        (Solver::RfSolver { order: 3 }, 3.0),
        (Solver::Fireflow {}, 2.0),
        (Solver::AdamsBashforth { order: 2 }, 2.0),
        (Solver::AdamsBashforth { order: 3 }, 3.0),
        (Solver::AdamsBashforth { order: 4 }, 4.0),
    ];
    for (solver, order) in methods {
        assert_eq!(solver.order(), Some(order));
        assert!(solver.tableau().is_none_or(|tableau| f64::from(tableau.order) == order));
        for (from, to) in [(0.0, 1.0), (1.0, 0.0)] {
            let at = |steps| error(&solver, &ScheduleConfig::Uniform {}.between(from, to, steps).unwrap());
            // The slope of log error between 128 and 512 steps; the next order's share is below 0.1 there.
            let slope = (at(128) / at(512)).log2() / 2.0;
            assert!((slope - order).abs() < 0.1, "{solver:?} from {from} to {to}: slope {slope}");
        }
    }
}

/// The four formulas inside the two adaptive methods, on steps of one length.
#[test]
fn embedded_pairs_have_the_orders_of_both_their_methods() {
    let slope = |a: &[&[f64]], b: &[f64], c: &[f64]| {
        let error = |steps: usize| {
            let (mut x, h) = (STARTS, 1.0 / steps as f64);
            for step in 0..steps {
                for x in &mut x {
                    let mut stages: Vec<f64> = Vec::new();
                    for (row, c) in a.iter().zip(c) {
                        let point = *x + h * row.iter().zip(&stages).map(|(w, k)| w * k).sum::<f64>();
                        stages.push(-2.0 * (step as f64 + c) * h * point * point);
                    }
                    *x += h * b.iter().zip(&stages).map(|(w, k)| w * k).sum::<f64>();
                }
            }
            gap(&x, &STARTS.map(|x| bent(x, 1.0)))
        };
        (error(64) / error(256)).log2() / 2.0
    };
    for solver in [Solver::dormand_prince(), Solver::bogacki_shampine()] {
        let pair = solver.embedded().unwrap();
        let method = pair.method;
        let order = slope(method.a, method.b, method.c);
        let stated = solver.order().unwrap();
        assert!((order - stated).abs() < 0.1, "{solver:?}: order {order}");
        assert_eq!(f64::from(method.order), stated);
        let lower: Vec<f64> = method.b.iter().zip(pair.error).map(|(b, e)| b - e).collect();
        let order = slope(method.a, &lower, method.c);
        assert!((order - stated + 1.0).abs() < 0.1, "{solver:?}: the estimate's order {order}");
    }
}

#[test]
fn dormand_prince_meets_its_tolerance_with_order_five() {
    let schedule = ScheduleConfig::Uniform {}.build(1).unwrap();
    let run = |tolerance: f64| {
        let solver = Solver::DormandPrince { rtol: tolerance, atol: tolerance, max_steps: 10_000 };
        let nfe = solve(&bend, line(&STARTS), &Condition::none(), &solver, &schedule, None).unwrap().nfe;
        (error(&solver, &schedule), nfe as f64)
    };
    let (loose, tight) = (run(1e-6), run(1e-11));
    assert!(loose.0 < 1e-5 && tight.0 < 1e-10, "{loose:?} {tight:?}");
    // Error per step ~ h⁵ asked for, so 10⁵ times the accuracy costs about 10 times the steps; a fourth-order or
    // first-order pair would need 18 or 10⁵ times.
    let ratio = tight.1 / loose.1;
    assert!((4.0..16.0).contains(&ratio), "cost grew by {ratio}");
}

#[test]
fn bogacki_shampine_meets_its_tolerance_with_order_three() {
    let schedule = ScheduleConfig::Uniform {}.build(1).unwrap();
    let run = |tolerance: f64| {
        let solver = Solver::BogackiShampine { rtol: tolerance, atol: tolerance, max_steps: 100_000 };
        let nfe = solve(&bend, line(&STARTS), &Condition::none(), &solver, &schedule, None).unwrap().nfe;
        (error(&solver, &schedule), nfe as f64)
    };
    let (loose, tight) = (run(1e-6), run(1e-9));
    assert!(loose.0 < 1e-5 && tight.0 < 1e-8, "{loose:?} {tight:?}");
    // 10³ times the accuracy for about 10 times the steps.
    let ratio = tight.1 / loose.1;
    assert!((7.0..14.0).contains(&ratio), "cost grew by {ratio}");
}

#[test]
fn dormand_prince_takes_back_steps_over_a_sudden_front() {
    // The speed jumps from 1 to 101 within 0.01 around t = 1/2, after a stretch that invites long steps:
    // x(1) - x(0) = 1 + 50 (1 + w ln cosh(1/2w) - w ln cosh(1/2w)) = 51.
    let front = |x: Tensor<2>, t: &Times, _: &Condition| {
        x.zeros_like() + rows::time_column(t, |t| 1.0 + 50.0 * (1.0 + ((t - 0.5) / 0.01).tanh()), &x)
    };
    let solver = Solver::DormandPrince { rtol: 1e-7, atol: 1e-7, max_steps: 1000 };
    let schedule = ScheduleConfig::Uniform {}.build(1).unwrap();
    let end = solve(&front, line(&[0.0]), &Condition::none(), &solver, &schedule, None).unwrap();
    // A method that never rejected would carry the error of its one long step, about a tenth.
    assert!(gap(&host(end.x), &[51.0]) < 1e-4);
}

#[test]
fn forwards_then_backwards_returns() {
    let target = Mixture::new(vec![0.4, 0.6], vec![vec![-1.0], vec![1.5]], vec![vec![0.3], vec![0.5]]).unwrap();
    let field = MixtureField::new(Path::Linear {}, target).unwrap();
    let schedule = ScheduleConfig::Uniform {}.build(200).unwrap();
    let cases = [(Solver::Rk4 {}, 1e-6), (Solver::DormandPrince { rtol: 1e-9, atol: 1e-9, max_steps: 1000 }, 1e-6)];
    for (solver, room) in cases {
        let there = solve(&field, line(&STARTS), &Condition::none(), &solver, &schedule, None).unwrap().x;
        assert!(gap(&host(there.clone()), &STARTS) > 0.1, "the flow must move something");
        let back = solve(&field, there, &Condition::none(), &solver, &schedule.reversed(), None).unwrap().x;
        assert!(gap(&host(back), &STARTS) < room, "{solver:?}");
    }
}

#[test]
fn a_shifted_schedule_integrates_as_well() {
    for shift in [0.3, 3.0] {
        let schedule = ScheduleConfig::Shifted { shift }.build(100).unwrap();
        assert_eq!(schedule.ends(), (0.0, 1.0));
        assert!(error(&Solver::Rk4 {}, &schedule) < 1e-6);
        assert_eq!(schedule.times()[50] < 0.5, shift > 1.0, "a shift above one puts more steps near the noise");
    }
}

#[test]
fn a_part_of_a_shifted_schedule_is_even_before_the_shift() {
    for (from, to) in [(0.2, 0.7), (0.9, 0.0)] {
        let schedule = ScheduleConfig::Shifted { shift: 3.0 }.between(from, to, 10).unwrap();
        assert_eq!(schedule.ends(), (from, to));
        let before: Vec<f64> = schedule.times().iter().map(|t| flow::time::shift(*t, 1.0 / 3.0)).collect();
        let steps: Vec<f64> = before.windows(2).map(|p| p[1] - p[0]).collect();
        assert!(gap(&steps, &[steps[0]; 10]) < 1e-12, "{steps:?}");
    }
}

/// The result of every row must be the same bits alone, in a batch, and in another order.
#[test]
fn dormand_prince_rows_do_not_see_their_batch_mates() {
    let device = Device::flex();
    let starts: Vec<f32> = (0..37).map(|i| (i as f32 * 0.37).sin() * 3.0).collect();
    let x = |v: &[f32]| Tensor::<1>::from_floats(v, &device).reshape([v.len(), 1]).repeat_dim(1, 5);
    // Fast for some rows and slow for others, so that steps differ and rows finish at different iterations.
    let field = |x: Tensor<2>, t: &Times, _: &Condition| {
        (x.clone() * 4.0).sin() * 3.0 + rows::time_column(t, |t| (9.0 * t).cos(), &x)
    };
    let schedule = ScheduleConfig::Uniform {}.build(1).unwrap();
    let run = |v: &[f32]| solve(&field, x(v), &Condition::none(), &Solver::dormand_prince(), &schedule, None).unwrap();
    let all = run(&starts);
    let bits = |s: &flow::Solution<2>| host(s.x.clone());
    let together = bits(&all);
    for (i, start) in starts.iter().enumerate() {
        let alone = run(&[*start]);
        assert_eq!(bits(&alone), together[5 * i..5 * (i + 1)], "row {i}");
        assert_eq!(alone.nfe_per_sample[0], all.nfe_per_sample[i], "row {i}");
    }
    let mut turned = starts.clone();
    turned.reverse();
    let mut back: Vec<f64> = bits(&run(&turned)).chunks(5).rev().flatten().copied().collect();
    back.truncate(together.len());
    assert_eq!(back, together);
    let counts = &all.nfe_per_sample;
    assert!(counts.iter().min() < counts.iter().max(), "rows were meant to need different numbers of steps");
    assert_eq!(all.nfe, *counts.iter().max().unwrap(), "the batch is evaluated as often as its slowest row");
}

#[test]
fn evaluations_are_counted_as_they_happen() {
    let calls = Cell::new(0);
    let field = |x: Tensor<2>, t: &Times, c: &Condition| {
        calls.set(calls.get() + 1);
        bend(x, t, c)
    };
    let schedule = ScheduleConfig::Uniform {}.build(10).unwrap();
    let blind = Solver::all().into_iter().filter(|s| !s.is_stochastic() && !s.follows_path());
    for solver in blind.chain([Solver::RfSolver { order: 3 }, Solver::AdamsBashforth { order: 4 }]) {
        calls.set(0);
        let solution = solve(&field, line(&STARTS), &Condition::none(), &solver, &schedule, None).unwrap();
        assert_eq!(solution.nfe, calls.get(), "{solver:?}");
        assert!(solution.nfe_per_sample.iter().all(|n| *n <= solution.nfe));
        if let Some(expected) = solver.evaluations(10) {
            assert_eq!(solution.nfe, expected);
        }
    }
}

#[test]
fn observations_join_up_to_the_trajectory() {
    let schedule = ScheduleConfig::Shifted { shift: 2.0 }.build(7).unwrap();
    for solver in [Solver::Heun {}, Solver::AdamsBashforth { order: 3 }, Solver::dormand_prince()] {
        let mut at: Vec<f64> = STARTS.to_vec();
        let mut time = [0.0; 4];
        let mut observe = |o: flow::Observation<2>| {
            let (x, next, v) = (host(o.x), host(o.next), host(o.velocity));
            for (i, &row) in o.rows.iter().enumerate() {
                assert_eq!(x[i], at[row]);
                let t = o.t.values()[i]; // sums of steps round
                assert!((t - time[row]).abs() < 1e-14, "{t} follows {}", time[row]);
                assert!((v[i] + 2.0 * t * x[i] * x[i]).abs() < 1e-14);
                at[row] = next[i];
                time[row] = t + o.dt[i];
            }
        };
        let end = solve(&bend, line(&STARTS), &Condition::none(), &solver, &schedule, Some(&mut observe));
        assert_eq!(host(end.unwrap().x), at, "{solver:?}");
        assert!(gap(&time, &[1.0; 4]) < 1e-12, "{solver:?}");
    }
}

#[test]
fn nan_names_its_time_and_stiffness_says_what_to_do() {
    let schedule = ScheduleConfig::Uniform {}.build(10).unwrap();
    let broken = |x: Tensor<2>, t: &Times, _: &Condition| {
        let nan = rows::time_column(t, |t| if t > 0.45 { f64::NAN } else { 0.0 }, &x);
        x + nan
    };
    let run = |field: &dyn Field<2>, solver: &Solver| {
        solve(field, line(&STARTS), &Condition::none(), solver, &schedule, None).unwrap_err()
    };
    match run(&broken, &Solver::Euler {}) {
        FlowError::NotFinite { t, .. } => assert!((t - 0.5).abs() < 1e-12, "{t}"),
        other => panic!("{other}"),
    }
    assert!(matches!(run(&broken, &Solver::dormand_prince()), FlowError::NotFinite { .. }));
    let stiff = |x: Tensor<2>, t: &Times, _: &Condition| {
        (x * 3e4).sin() * 1e4 + rows::time_column(t, |t| t, &line(&STARTS)).mean().unsqueeze()
    };
    let error = run(&stiff, &Solver::DormandPrince { rtol: 1e-6, atol: 1e-6, max_steps: 20 });
    assert!(matches!(error, FlowError::TooManySteps { max_steps: 20, .. }), "{error}");
    assert!(error.to_string().contains("raise max_steps"), "{error}");
    let infinite = line(&[1.0, f64::INFINITY]);
    let start = solve(&bend, infinite, &Condition::none(), &Solver::Euler {}, &schedule, None).unwrap_err();
    assert!(matches!(start, FlowError::NotFinite { t: 0.0, sample: 1, .. }), "{start}");
}

#[test]
fn unusable_schedules_and_settings_are_refused() {
    for times in [
        vec![],
        vec![0.5],
        vec![0.0, 0.5, 0.5],
        vec![0.0, 0.6, 0.5, 1.0],
        vec![-0.1, 1.0],
        vec![0.0, 1.1],
        vec![0.0, f64::NAN],
    ] {
        let error = Schedule::new(times.clone()).unwrap_err();
        assert!(matches!(error, FlowError::Schedule(_)), "{times:?}: {error}");
        assert!(ScheduleConfig::Custom { times }.check().is_err());
    }
    assert!(Schedule::new(vec![1.0, 0.3, 0.0]).is_ok(), "falling times are a schedule");
    assert!(ScheduleConfig::Uniform {}.build(0).is_err());
    assert!(ScheduleConfig::Uniform {}.between(0.5, 0.5, 3).is_err());
    assert!(ScheduleConfig::Shifted { shift: 0.0 }.build(3).is_err());
    assert!(Solver::DormandPrince { rtol: 0.0, atol: 1e-5, max_steps: 10 }.check().is_err());
    assert!(Solver::DormandPrince { rtol: 1e-5, atol: 1e-5, max_steps: 0 }.check().is_err());
    assert!(Solver::AdamsBashforth { order: 5 }.check().is_err());
    assert!(Solver::RfSolver { order: 1 }.check().is_err());
    assert!(Solver::Unipc { order: 4 }.check().is_err());
    assert!(Solver::Ddim { eta: 1.5 }.check().is_err());
    assert!(Solver::Overshooting { strength: -1.0 }.check().is_err());
    assert!(Solver::NoiseRefresh { rate: f64::NAN }.check().is_err());
}

#[test]
fn every_solver_survives_a_recipe_and_has_its_own_name() {
    #[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq)]
    struct Recipe {
        solver: Solver,
    }
    let all = Solver::all();
    for solver in &all {
        solver.check().unwrap();
        let text = toml::to_string(&Recipe { solver: solver.clone() }).unwrap();
        assert!(text.contains(&format!("type = \"{}\"", solver.name())), "{text}");
        assert_eq!(toml::from_str::<Recipe>(&text).unwrap().solver, *solver);
        let bare: Recipe = toml::from_str(&format!("solver = {{ type = \"{}\" }}", solver.name())).unwrap();
        assert_eq!(bare.solver.name(), solver.name());
        let unknown = format!("solver = {{ type = \"{}\", stepz = 3 }}", solver.name());
        assert!(toml::from_str::<Recipe>(&unknown).is_err(), "{unknown}");
    }
    let mut names: Vec<_> = all.iter().map(Solver::name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all.len());
}

/// The error of a row is a mean over its values: a row and the same row sixty-four times over take the same steps. Mutant: the
/// norm without its 1/n, which takes several times as many.
#[test]
fn adaptive_steps_do_not_depend_on_how_many_values_say_the_same() {
    for solver in [Solver::dormand_prince(), Solver::bogacki_shampine()] {
        let evaluations = |copies: usize| {
            let x = Tensor::<2>::full([1, copies], 2.0, &Device::flex());
            let schedule = ScheduleConfig::Uniform {}.between(0.0, 1.0, 1).unwrap();
            solve(&bend, x, &Condition::none(), &solver, &schedule, None).unwrap().nfe_per_sample[0]
        };
        assert_eq!(evaluations(1), evaluations(64), "{solver:?}");
    }
}
