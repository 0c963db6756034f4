//! InstaFlow on eight Gaussians (arXiv:2309.06380): reflow first, then distil, beats distilling at once.

use base::{Condition, Device, Key, Purpose, Tensor};
use flow::exact::{Mixture, MixtureField};
use flow::{Coupling, Field, Objective, Path, PathField, ScheduleConfig, Solver, TimeConfig, TimeLaw, rows, solve};
use nets::{MlpConfig, Net, NetConfig};
use train::{FlowTask, OptimConfig, Origin, Rows, Setup, TrainConfig, ema::EmaConfig};

const SHAPE: [usize; 1] = [2];
const BATCH: usize = 128;
const FRESH: u64 = 1500;

fn ring() -> Mixture {
    Mixture::ring(8, 1.6, 0.12).unwrap()
}

/// The exact first flow.
fn first() -> impl Field<2> {
    MixtureField::new(Path::Linear {}, ring()).unwrap()
}

fn noise(seed: u64, count: u64) -> Tensor<2> {
    let indices: Vec<u64> = (0..count).collect();
    Key::new(seed, Purpose::Noise).normal_tensor(&indices, [0, 2], &Device::flex())
}

fn velocity(net: &Net) -> PathField<'_, Net> {
    PathField::new(net, Path::Linear {}, Default::default())
}

fn run(field: &dyn Field<2>, x0: &Tensor<2>, solver: Solver, steps: usize) -> Vec<f64> {
    let schedule = ScheduleConfig::Uniform {}.build(steps).unwrap();
    let end = solve(field, x0.clone(), &Condition::none(), &solver, &schedule, None).unwrap();
    rows::host(end.x).unwrap()
}

fn net(seed: u64) -> Net {
    let config = MlpConfig { width: 16, depth: 2, ..MlpConfig::default() };
    NetConfig::Mlp(config).init(seed, SHAPE, 0, &Device::flex()).unwrap()
}

/// `steps` of Adam from `start` on pairs, or on data alone, at times of `law`.
fn learn(start: Net, law: TimeLaw, pairs: Option<(&Tensor<2>, &[f64])>, seed: u64, steps: u64) -> Net {
    let optim = OptimConfig { lr: 2e-3, ..OptimConfig::default() };
    let (ema, batch) = (EmaConfig { decays: vec![0.99], warmup: true }, BATCH);
    let config =
        TrainConfig { images: steps * BATCH as u64, batch, validate_every: 0, optim, ema, ..TrainConfig::default() };
    let mut source = match pairs {
        Some((x0, x1)) => {
            let x0 = rows::host(x0.clone()).unwrap().iter().map(|x| *x as f32).collect();
            Rows::pairs(x0, x1.iter().map(|x| *x as f32).collect(), SHAPE, BATCH)
        }
        None => {
            let point = |i: u64| ring().sample(Key::new(900 + seed, Purpose::Noise), i);
            Rows::data((0..20_000).flat_map(point).map(|x| x as f32).collect(), SHAPE, BATCH, seed)
        }
    };
    let coupling = if pairs.is_some() { Coupling::Stored {} } else { Coupling::Independent {} };
    let objective = Objective { time: TimeConfig::new(law), ..Objective::default() };
    let task =
        FlowTask { objective, origin: Origin::Noise, coupling, condition_dropout: 0.0, conditional: false, seed };
    train::train(start, Setup::new(&config, &task, &mut source), &mut ()).unwrap().state.sampler()
}

/// `2 E|a - b| - E|a - a'| - E|b - b'|` between sets of points.
fn energy(a: &[f64], b: &[f64]) -> f64 {
    let mean = |a: &[f64], b: &[f64]| {
        let distance = |p: &[f64]| b.chunks(2).map(|q| (p[0] - q[0]).hypot(p[1] - q[1])).sum::<f64>();
        a.chunks(2).map(distance).sum::<f64>() / (a.len() * b.len()) as f64 * 4.0
    };
    2.0 * mean(a, b) - mean(a, a) - mean(b, b)
}

#[test]
fn one_step_of_the_first_flow_is_the_mean_of_the_data() {
    let end = run(&first(), &noise(3, 500), Solver::Euler {}, 1);
    assert!(end.iter().all(|x| x.abs() < 1e-6), "the ring's mean is its centre");
}

#[test]
fn reflow_then_distil_beats_distilling_at_once() {
    let data: Vec<f64> = (0..FRESH).flat_map(|i| ring().sample(Key::new(5, Purpose::Noise), i)).collect();
    let fresh = noise(77, FRESH);
    // Means over seeds: energy distance of one step, squared error against the student's own teacher.
    let (seeds, steps) = (4, 4000);
    let mut sums = [[0.0; 2]; 2];
    let mut base = 0.0;
    for seed in 0..seeds {
        let one = learn(net(seed), TimeLaw::Uniform {}, None, seed, steps);
        let many = noise(200 + seed, 5000);
        let ends = run(&first(), &many, Solver::Heun {}, 25);
        let two = learn(one.clone(), TimeLaw::Uniform {}, Some((&many, &ends)), seed, steps);
        base += energy(&run(&velocity(&one), &fresh, Solver::Euler {}, 1), &data) / seeds as f64;
        let few = noise(300 + seed, 128);
        let teachers: [Box<dyn Field<2>>; 2] = [Box::new(first()), Box::new(velocity(&two))];
        for ((teacher, start), sums) in teachers.iter().zip([&one, &two]).zip(&mut sums) {
            let ends = run(&**teacher, &few, Solver::Heun {}, 50);
            let student = learn(start.clone(), TimeLaw::Constant { t: 0.0 }, Some((&few, &ends)), seed, steps);
            let step = run(&velocity(&student), &fresh, Solver::Euler {}, 1);
            let goal = run(&**teacher, &fresh, Solver::Heun {}, 50);
            let error: f64 = step.iter().zip(&goal).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / FRESH as f64;
            sums[0] += energy(&step, &data) / seeds as f64;
            sums[1] += error / seeds as f64;
        }
    }
    let [at_once, after] = sums;
    println!("energy distance of one step: base {base:.4}, distilled {:.4}, after reflow {:.4}", at_once[0], after[0]);
    println!("error against the own teacher: {:.4} and {:.4}", at_once[1], after[1]);
    assert!(after[0] < 0.05 * base, "{} of {base}", after[0]);
    assert!(after[0] < 0.8 * at_once[0], "{} against {}", after[0], at_once[0]);
    assert!(3.0 * after[1] < at_once[1], "{} against {}", after[1], at_once[1]);
}
