//! The tables of docs/choose-a-solver.md: every solver at equal numbers of evaluations, against exact flows.
//!
//! `cargo run --release -p rectiflow-flow --example solvers`

use base::{Condition, Device, Key, Purpose, Tensor, TensorData};
use flow::exact::{Mixture, MixtureField};
use flow::{Brownian, Diffusion, FlowError, LastStep, Path, ScheduleConfig, Sde, Solver, rows, solve, solve_with};

const BUDGETS: [usize; 4] = [10, 20, 40, 80];
const TRAJECTORIES: u64 = 1000;
const PARTICLES: u64 = 20_000;

fn main() -> Result<(), FlowError> {
    for path in [Path::Linear {}, Path::Trigonometric {}] {
        println!("\nerror of trajectories (RMS), {} path, ring of eight Gaussians\n", path.name());
        heading();
        trajectories(&path)?;
    }
    println!("\ndistance of the samples (Kolmogorov-Smirnov), linear path, two Gaussians; 0.0115 is the 1 % level\n");
    heading();
    samples()
}

fn heading() {
    println!("| solver | {} |", BUDGETS.map(|n| format!("NFE {n}")).join(" | "));
    println!("|---|{}", "---:|".repeat(BUDGETS.len()));
}

fn deterministic() -> Vec<(String, Solver)> {
    let named = |solver: Solver| (solver.name().to_string(), solver);
    let mut all: Vec<_> = (Solver::all().into_iter())
        .filter(|s| !s.is_stochastic() && !s.is_adaptive() && !s.needs_rectified())
        .map(named)
        .collect();
    for order in [3, 4] {
        all.push((format!("adams_bashforth, order {order}"), Solver::AdamsBashforth { order }));
    }
    all.push(("rf_solver, order 3".into(), Solver::RfSolver { order: 3 }));
    all.push(("unipc, order 3".into(), Solver::Unipc { order: 3 }));
    all
}

/// The most steps that cost no more than `budget`; `None` below one step.
fn steps(solver: &Solver, budget: usize) -> Option<usize> {
    (1..=budget).rev().find(|steps| solver.evaluations(*steps).is_some_and(|n| n <= budget))
}

fn trajectories(path: &Path) -> Result<(), FlowError> {
    let field = MixtureField::new(path.clone(), Mixture::ring(8, 2.0, 0.3)?)?;
    let x0 = noise(2, TRAJECTORIES);
    let fine = ScheduleConfig::Uniform {}.build(1000)?;
    let known = solve(&field, x0.clone(), &Condition::none(), &Solver::Rk4 {}, &fine, None)?.x;
    for (name, solver) in deterministic() {
        let mut cells = Vec::new();
        for budget in BUDGETS {
            let Some(steps) = steps(&solver, budget) else {
                cells.push("–".into());
                continue;
            };
            let grid = ScheduleConfig::Uniform {}.build(steps)?;
            let end = solve(&field, x0.clone(), &Condition::none(), &solver, &grid, None)?.x;
            let squares = rows::host(rows::sum((end - known.clone()).square()))?;
            cells.push(format!("{:.1e}", (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()));
        }
        println!("| {name} | {} |", cells.join(" | "));
    }
    for (name, tolerance) in [("1e-2", 1e-2), ("1e-4", 1e-4), ("1e-6", 1e-6)] {
        let (rtol, atol, max_steps) = (tolerance, tolerance, 1000);
        let pairs =
            [Solver::BogackiShampine { rtol, atol, max_steps }, Solver::DormandPrince { rtol, atol, max_steps }];
        for solver in pairs {
            let one = ScheduleConfig::Uniform {}.build(1)?;
            let solved = solve(&field, x0.clone(), &Condition::none(), &solver, &one, None)?;
            let squares = rows::host(rows::sum((solved.x - known.clone()).square()))?;
            let error = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
            let mean = solved.nfe_per_sample.iter().sum::<usize>() as f64 / squares.len() as f64;
            println!("| {}, tolerance {name} | {error:.1e} at NFE {mean:.0} on average | | | |", solver.name());
        }
    }
    Ok(())
}

fn samples() -> Result<(), FlowError> {
    let target = Mixture::new(vec![0.4, 0.6], vec![vec![-1.5], vec![1.0]], vec![vec![0.04], vec![0.09]])?;
    let field = MixtureField::new(Path::Linear {}, target.clone())?;
    let x0 = noise(1, PARTICLES);
    let indices: Vec<u64> = (0..PARTICLES).collect();
    let paths = Brownian::new(Key::new(2, Purpose::Latent), &indices);
    let sde = |diffusion| Sde { diffusion, last_step: LastStep::Mean, last_step_size: None };
    let sigma = || sde(Diffusion::Sigma { scale: 1.0 });
    let solvers = [
        ("euler", Solver::Euler {}),
        ("heun", Solver::Heun {}),
        ("unipc", Solver::Unipc { order: 2 }),
        ("euler_maruyama, sigma", Solver::EulerMaruyama(sigma())),
        (
            "euler_maruyama, increasing_decreasing",
            Solver::EulerMaruyama(sde(Diffusion::IncreasingDecreasing { scale: 1.0 })),
        ),
        ("sde_heun, sigma", Solver::SdeHeun(sigma())),
        ("stochastic_rk, sigma", Solver::StochasticRk(sigma())),
        ("ddim, eta 1", Solver::Ddim { eta: 1.0 }),
        ("dpm_solver_sde", Solver::DpmSolverSde { eta: 1.0 }),
        ("noise_refresh", Solver::NoiseRefresh { rate: 1.0 }),
        ("overshooting", Solver::Overshooting { strength: 1.0 }),
    ];
    for (name, solver) in solvers {
        let mut cells = Vec::new();
        for budget in BUDGETS {
            let grid = ScheduleConfig::Uniform {}.build(steps(&solver, budget).unwrap_or(1))?;
            cells.push(match solve_with(&field, x0.clone(), &Condition::none(), &solver, &grid, &paths, None) {
                Ok(solved) => format!("{:.4}", distance(rows::host(solved.x)?, &target)),
                Err(FlowError::StepTooLong { .. }) => "step too long".into(),
                Err(error) => return Err(error),
            });
        }
        println!("| {name} | {} |", cells.join(" | "));
    }
    Ok(())
}

fn noise(d: usize, n: u64) -> Tensor<2> {
    let key = Key::new(1, Purpose::Noise);
    let values: Vec<f64> = (0..n).flat_map(|i| key.normals(i, d).map(f64::from).collect::<Vec<_>>()).collect();
    Tensor::from_data(TensorData::new(values, [n as usize, d]), (&Device::flex(), burn::tensor::DType::F64))
}

/// Kolmogorov–Smirnov distance, the distribution function by the trapezoid rule.
fn distance(mut x: Vec<f64>, mixture: &Mixture) -> f64 {
    let (low, high, cells) = (-8.0, 8.0, 16_000);
    let width = (high - low) / f64::from(cells);
    let density: Vec<f64> = (0..=cells).map(|i| mixture.log_density(&[low + width * f64::from(i)]).exp()).collect();
    let mut cdf = vec![0.0];
    for pair in density.windows(2) {
        cdf.push(cdf[cdf.len() - 1] + width * (pair[0] + pair[1]) / 2.0);
    }
    x.sort_by(f64::total_cmp);
    let n = x.len() as f64;
    (x.iter().enumerate())
        .map(|(i, x)| {
            let known = cdf[((x - low) / width).round().clamp(0.0, f64::from(cells)) as usize];
            (known - i as f64 / n).abs().max((known - (i as f64 + 1.0) / n).abs())
        })
        .fold(0.0, f64::max)
}
