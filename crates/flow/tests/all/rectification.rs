//! Rectification along a curved path against closed forms (Rectified Diffusion, arXiv 2410.07303): any number of curved steps,
//! pieces of trajectories, and where a pair starts.

use crate::common;

use base::{Condition, Tensor, Times};
use common::{gap, host, line};
use flow::exact::{Gaussian, GaussianReflow};
use flow::exercise::{ends_through, glide, source_of_start};
use flow::path::diffusion::{Discrete, Rates};
use flow::{Field, Path, Schedule, ScheduleConfig, Solver, solve};

fn end(field: &dyn Field<2>, x: Tensor<2>, solver: &Solver, schedule: &Schedule) -> Vec<f64> {
    host(solve(field, x, &Condition::none(), solver, schedule, None).unwrap().x)
}

fn uniform(from: f64, to: f64, steps: usize) -> Schedule {
    ScheduleConfig::Uniform {}.between(from, to, steps).unwrap()
}

/// Data N(0, 0.25) on Stable Diffusion's schedule. The teacher's few-step DDIM loses
/// variance; after rectification every number of steps gives the same end, and the source estimate stays put.
#[test]
fn rectified_on_a_curved_path_any_number_of_curved_steps_is_the_same() {
    let ddim = Solver::Ddim { eta: 0.0 };
    let scaled = Discrete::default();
    let linear = Discrete { rates: Rates::Linear, ..Discrete::default() };
    let known =
        [(scaled, [0.0171, 0.1431, 0.2723, 0.3636, 0.4455]), (linear, [0.0099, 0.1053, 0.2355, 0.3404, 0.4372])];
    for (schedule, row) in known {
        let path = Path::Ddpm(schedule);
        let teacher = Gaussian::new(path.clone(), vec![0.0], vec![0.5]).unwrap();
        let rectified = GaussianReflow::new(path.clone(), vec![0.0], vec![0.5]).unwrap();
        let c = path.at(0.0);
        let start = line(&[c.alpha + 0.5 * c.beta]); // the point of the pair (1, 0.5)
        for (steps, known) in [1, 2, 4, 8, 25].into_iter().zip(row) {
            let grid = uniform(0.0, 1.0, steps);
            let found = end(&teacher, line(&[1.0]), &ddim, &grid)[0];
            assert!((found - known).abs() < 2e-3, "{steps} steps of the teacher: {found}, known {known}");
            let found = end(&rectified, start.clone(), &ddim, &grid)[0];
            assert!((found - 0.5).abs() < 1e-10, "{steps} steps after rectification: {found}");
        }
        // Two jumps are one, for the rectified field alone.
        let jump =
            |field: &dyn Field<2>, times: Vec<f64>| end(field, start.clone(), &ddim, &Schedule::new(times).unwrap())[0];
        let apart = |field: &dyn Field<2>| (jump(field, vec![0.0, 0.4, 0.8]) - jump(field, vec![0.0, 0.8])).abs();
        assert!(apart(&rectified) < 1e-10 && apart(&teacher) > 1e-2, "{} {}", apart(&rectified), apart(&teacher));
        // The trajectory bends in x, and is straight in x/alpha over beta/alpha.
        let at = |t: f64| {
            let c = path.at(t);
            let x = jump(&rectified, vec![0.0, t]);
            (c.beta / c.alpha, x / c.alpha, x)
        };
        let (a, b, c) = (at(0.2), at(0.5), at(0.7));
        assert!(((b.1 - a.1) / (b.0 - a.0) - (c.1 - a.1) / (c.0 - a.0)).abs() < 1e-9);
        assert!(((b.2 - a.2) / 0.3 - (c.2 - a.2) / 0.5).abs() > 1e-2, "x itself bends");
    }
}

/// The same paper's phases: with exact ends, a curve through each phase reproduces the exact flow, where as many steps of the
/// teacher do not.
#[test]
fn pieces_of_trajectories_are_curves_of_the_path() {
    let path = Path::Ddpm(Discrete::default());
    let teacher = Gaussian::new(path.clone(), vec![0.2], vec![0.5]).unwrap();
    for phases in [1, 2, 4, 8] {
        let mut x = line(&[1.3]);
        for k in 0..phases {
            let (a, b) = (k as f64 / phases as f64, (k + 1) as f64 / phases as f64);
            let (from, to) = (Times::all(a, 1), Times::all(b, 1));
            let exact = line(&teacher.transport(&host(x.clone()), a, b));
            let (x0, x1) = ends_through(&path, (x.clone(), &from), (exact.clone(), &to));
            let on = |t: &Times| host(path.point(x0.clone(), x1.clone(), t).unwrap().xt);
            assert!(gap(&on(&from), &host(x.clone())) < 1e-12 && gap(&on(&to), &host(exact)) < 1e-12);
            // From anywhere within, the velocity of that pair leads to the end in one curved step.
            let within = Times::all(a + 0.3 * (b - a), 1);
            let point = path.point(x0, x1, &within).unwrap();
            x = glide(&path, point.xt, point.dxt, &within, &to);
        }
        assert!(gap(&host(x), &teacher.transport(&[1.3], 0.0, 1.0)) < 1e-9, "{phases} phases");
    }
    // On the linear path it is the chord.
    let (from, to) = (Times::all(0.25, 1), Times::all(0.75, 1));
    let (x0, x1) = ends_through(&Path::Linear {}, (line(&[1.0]), &from), (line(&[3.0]), &to));
    assert!(gap(&host(x1 - x0), &[4.0]) < 1e-12);
}

/// A stored pair is the curve from where its sample started, signal left at the start or not: from there one curved step along it
/// is the whole way, and so are many.
#[test]
fn a_pair_is_the_curve_from_where_its_sample_started() {
    let left = Path::Ddpm(Discrete::default());
    for path in
        [left.clone(), Path::vp(), Path::Edm { sigma_max: 80.0, rho: 7.0 }, Path::Linear {}, Path::Trigonometric {}]
    {
        let (z, x1) = (line(&[1.3, -0.4]), line(&[0.2, 0.9]));
        let x0 = source_of_start(&path, z.clone(), x1.clone());
        let point = |t: f64| path.point(x0.clone(), x1.clone(), &Times::all(t, 2)).unwrap();
        let begin: Vec<f64> = host(z).iter().map(|z| z * path.start_scale()).collect();
        assert!(gap(&host(point(0.0).xt), &begin) < 1e-12 * path.start_scale(), "{path:?}");
        assert!(gap(&host(point(1.0).xt), &host(x1.clone())) < 1e-12, "{path:?}");
        for from in [0.0, 0.3, 0.8] {
            let (from, to) = (Times::all(from, 2), Times::all(1.0, 2));
            let point = path.point(x0.clone(), x1.clone(), &from).unwrap();
            assert!(gap(&host(glide(&path, point.xt, point.dxt, &from, &to)), &host(x1.clone())) < 1e-9, "{path:?}");
        }
    }
    // Where a trace of the data is left, the source itself would start beside it: 0.068 of the data.
    let beside = host(left.point(line(&[1.3]), line(&[0.2]), &Times::all(0.0, 1)).unwrap().xt)[0];
    assert!((beside - 1.3).abs() > 0.01);
}
