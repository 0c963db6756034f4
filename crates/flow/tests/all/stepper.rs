//! The stepper: the same bits and the same count as a whole solve, and a replaced state is a fresh start.

use crate::common;

use base::{Condition, Device, Key, Purpose, Tensor};
use common::{gap, host, points};
use flow::exact::{Gaussian, GaussianReflow, Mixture, MixtureField};
use flow::{Brownian, Field, FlowError, Path, Schedule, ScheduleConfig, Solver, Stepper, solve_with};

fn starts() -> Tensor<2> {
    points(&[vec![0.4, -1.1], vec![-0.3, 0.2], vec![1.7, 0.9]])
}

fn paths() -> Brownian {
    Brownian::new(Key::new(5, Purpose::Latent), &[0, 1, 2])
}

/// Every solver on fixed steps, and a field it takes.
fn cases() -> Vec<(Solver, Box<dyn Field<2>>)> {
    let mut solvers = Solver::all();
    solvers.extend([
        Solver::RfSolver { order: 3 },
        Solver::AdamsBashforth { order: 4 },
        Solver::Unipc { order: 3 },
        Solver::Anchored { corrected: true },
        Solver::Ddim { eta: 0.5 },
    ]);
    let field = |solver: &Solver| -> Box<dyn Field<2>> {
        if solver.needs_rectified() {
            return Box::new(GaussianReflow::new(Path::Linear {}, vec![1.0, -0.5], vec![0.5, 0.3]).unwrap());
        }
        Box::new(MixtureField::new(Path::Linear {}, Mixture::ring(3, 1.5, 0.4).unwrap()).unwrap())
    };
    solvers.into_iter().filter(|s| !s.is_adaptive()).map(|solver| (solver.clone(), field(&solver))).collect()
}

fn stepped(
    field: &dyn Field<2>,
    solver: &Solver,
    schedule: &Schedule,
    mut between: impl FnMut(&mut Stepper<'_, 2>),
) -> (Vec<f64>, usize) {
    let none = Condition::none();
    let mut stepper = Stepper::new(field, starts(), &none, solver, schedule, Some(&paths())).unwrap();
    while stepper.advance().unwrap().is_some() {
        between(&mut stepper);
    }
    let solution = stepper.solution();
    (host(solution.x), solution.nfe)
}

#[test]
fn stepping_is_solving() {
    let schedule = ScheduleConfig::Uniform {}.build(10).unwrap();
    for (solver, field) in cases() {
        let whole = solve_with(&*field, starts(), &Condition::none(), &solver, &schedule, &paths(), None).unwrap();
        let (x, nfe) = stepped(&*field, &solver, &schedule, |_| ());
        assert_eq!(x, host(whole.x), "{solver:?}");
        // Counted step by step here, by formula there.
        assert_eq!((nfe, Some(nfe)), (whole.nfe, solver.evaluations(10)), "{solver:?}");
    }
}

/// Put another point in the state's place half-way: what follows is a solve from that point, whatever the method remembered.
/// A method that kept its corrector or its past (UniPC, DPM-Solver++, Adams-Bashforth, FireFlow) would end elsewhere.
#[test]
fn a_replaced_state_is_a_fresh_start() {
    let schedule = ScheduleConfig::Uniform {}.build(10).unwrap();
    let rest = Schedule::new(schedule.times()[5..].to_vec()).unwrap();
    let other = points(&[vec![1.0, 1.0], vec![-0.5, 0.1], vec![0.0, -0.7]]);
    for (solver, field) in cases() {
        if solver.needs_rectified() || solver.is_stochastic() {
            continue; // the first starts at the noise alone, the second's paths are read in order
        }
        let put = other.clone();
        let (x, _) = stepped(&*field, &solver, &schedule, |stepper| {
            if stepper.done() == 5 {
                assert_eq!(stepper.time(), 0.5);
                stepper.replace(put.clone()).unwrap();
            }
        });
        let whole = solve_with(&*field, other.clone(), &Condition::none(), &solver, &rest, &paths(), None).unwrap();
        let off = gap(&x, &host(whole.x));
        assert!(off < 1e-12, "{solver:?}: {off}");
    }
}

/// Points put back as they are change nothing in methods without memory, and are not taken for the step's own.
#[test]
fn the_state_is_what_was_put_there() {
    let field = Gaussian::new(Path::Linear {}, vec![1.0, -1.0], vec![0.5, 0.5]).unwrap();
    let schedule = ScheduleConfig::Uniform {}.build(4).unwrap();
    let same = stepped(&field, &Solver::Euler {}, &schedule, |stepper| {
        let x = stepper.state().clone();
        stepper.replace(x).unwrap();
    });
    assert_eq!(same, stepped(&field, &Solver::Euler {}, &schedule, |_| ()));
    let zeros = stepped(&field, &Solver::Euler {}, &schedule, |stepper| {
        let x = stepper.state().zeros_like();
        stepper.replace(x).unwrap();
    });
    assert_eq!(zeros.0, vec![0.0; 6]);
}

#[test]
fn adaptive_solvers_other_shapes_and_empty_batches() {
    let field = Gaussian::new(Path::Linear {}, vec![0.0, 0.0], vec![1.0, 1.0]).unwrap();
    let (schedule, none) = (ScheduleConfig::Uniform {}.build(4).unwrap(), Condition::none());
    let refused = Stepper::new(
        &field,
        starts(),
        &none,
        &Solver::DormandPrince { rtol: 1e-5, atol: 1e-5, max_steps: 9 },
        &schedule,
        None,
    )
    .map(drop);
    assert!(matches!(refused, Err(FlowError::Needs { solver: "dormand_prince", .. })), "{refused:?}");
    let euler = Solver::Euler {};
    let mut stepper = Stepper::new(&field, starts(), &none, &euler, &schedule, None).unwrap();
    assert!(matches!(stepper.replace(points(&[vec![0.0, 0.0]])), Err(FlowError::Shape { .. })));
    let nan = points(&[vec![0.0, f64::NAN], vec![0.0, 0.0], vec![0.0, 0.0]]);
    stepper.replace(nan).unwrap();
    assert!(matches!(stepper.advance(), Err(FlowError::NotFinite { sample: 0, .. })));
    let empty = Tensor::<2>::zeros([0, 2], &Device::flex());
    let mut stepper = Stepper::new(&field, empty, &none, &euler, &schedule, None).unwrap();
    assert!(stepper.advance().unwrap().is_none());
}
