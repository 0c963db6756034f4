//! Seconds of runs that users of other libraries will know: `cargo bench --workspace --bench solvers`.
//!
//! 20 000 particles by 1000 Euler–Maruyama steps on the exact one-dimensional mixture of the interpolants' code;
//! 100 000 points by 100 Euler steps through a multilayer perceptron 2-64-64-64-2; the assignment of 512 and 2048 points in 2
//! and 32 dimensions, costs included. The same in PyTorch, torchdiffeq, diffrax and POT:
//! `benches/versus-pytorch/solvers.py`. One of them alone: `-- sde`, `-- ode`, `-- assignment`.

use base::{Condition, Device, Key, Purpose, Tensor, TensorData, Times};
use flow::coupling::{Coupling, Draw};
use flow::exact::{Mixture, MixtureField};
use flow::{Brownian, Diffusion, LastStep, Path, ScheduleConfig, Sde, Solver, solve, solve_with};
use rayon::prelude::*;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTICLES: usize = 20_000;
const POINTS: usize = 100_000;
/// Points solved together: their activations stay in the processor's second-level cache.
const CHUNK: usize = 2500;
const RUNS: usize = 3;

/// The best of some runs: the machine may be busy.
fn best(mut run: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..RUNS).map(time).fold(f64::INFINITY, f64::min)
}

fn main() -> Result<(), flow::FlowError> {
    let only = std::env::args().nth(1).filter(|arg| !arg.starts_with('-'));
    let wanted = |name: &str| only.as_deref().is_none_or(|only| name == only);
    if wanted("sde") {
        println!("SDE, 20 000 particles x 1000 steps of the 1-D mixture: {:.3} s", stochastic()?);
    }
    if wanted("ode") {
        println!("ODE, 100 000 points x 100 steps of a 2-D MLP:          {:.3} s", perceptron()?);
    }
    for n in [512, 2048] {
        for d in [2, 32].into_iter().filter(|_| wanted("assignment")) {
            let (seconds, cost) = assignment(n, d)?;
            println!("assignment, {n:4} points in {d:2}-D: {seconds:.4} s (cost {cost:.3})");
        }
    }
    Ok(())
}

/// Seconds to pair a batch of normal points with as many shifted by three, and the mean squared distance of the pairs.
fn assignment(n: usize, d: usize) -> Result<(f64, f32), flow::FlowError> {
    let indices: Vec<u64> = (0..n as u64).collect();
    let draw = |key: u64| Key::new(key, Purpose::Noise).normal_tensor::<2>(&indices, [0, d], &Device::flex());
    let (a, b) = (draw(1), draw(2) + 3.0);
    let coupling = Coupling::OptimalTransport { within_class: false, condition_weight: 0.0 };
    let pair = || coupling.pair(&a, &b, &Draw::new(0, &indices));
    let pairing = pair()?;
    let seconds = best(|| {
        std::hint::black_box(pair().expect("points can be paired"));
    });
    let apart = pairing.apply(a.clone()) - pairing.apply_data(b.clone());
    Ok((seconds, apart.square().sum().into_scalar::<f32>() / n as f32))
}

fn stochastic() -> Result<f64, flow::FlowError> {
    let column = |v: &[f64]| v.iter().map(|v| vec![*v]).collect::<Vec<_>>();
    let source = Mixture::new(vec![1.0; 2], column(&[-3.0, 3.0]), column(&[0.25; 2]))?;
    let target = Mixture::new(vec![1.0; 3], column(&[-6.0, 0.0, 6.0]), column(&[0.5, 0.33, 0.5]))?;
    let field = MixtureField::between(Path::brownian(1.0), source.clone(), target)?;
    let key = Key::new(0, Purpose::Noise);
    let start: Vec<f32> = (0..PARTICLES as u64).map(|i| source.sample(key, i)[0] as f32).collect();
    let x: Tensor<2> = Tensor::from_data(TensorData::new(start, [PARTICLES, 1]), &Device::flex());
    let schedule = ScheduleConfig::Uniform {}.build(1000)?;
    let diffusion = Diffusion::Constant { value: 1.0 };
    let solver = Solver::EulerMaruyama(Sde { diffusion, last_step: LastStep::Same, last_step_size: None });
    let samples: Vec<u64> = (0..PARTICLES as u64).collect();
    let mut square = 0.0;
    let seconds = best(|| {
        let paths = Brownian::new(Key::new(0, Purpose::Latent), &samples);
        let end = solve_with(&field, x.clone(), &Condition::none(), &solver, &schedule, &paths, None);
        square = end.expect("the mixture can be solved").x.square().mean().into_scalar::<f32>();
    });
    println!("(E x² = {square:.2}; the mixture's is 24.44)");
    Ok(seconds)
}

fn perceptron() -> Result<f64, flow::FlowError> {
    let device = Device::flex();
    let weight = |layer: u64, i: usize, o: usize| {
        let w: Tensor<2> =
            Key::new(layer, Purpose::Init).normal_tensor(&(0..o as u64).collect::<Vec<_>>(), [0, i], &device);
        w / (i as f64).sqrt()
    };
    let layers = [weight(0, 2, 64), weight(1, 64, 64), weight(2, 64, 64), weight(3, 64, 2)];
    let time: Tensor<1> = weight(4, 1, 64).squeeze_dim(1);
    let silu = kernels::Activation::Silu;
    let field = |x: Tensor<2>, t: &Times, _: &Condition| {
        // The time of a solver's step is common to all rows, so its input is a bias.
        let t = t.values().first().copied().unwrap_or(0.0);
        let mut h = kernels::linear_activated(x, layers[0].clone(), Some(time.clone() * t), silu);
        for layer in &layers[1..3] {
            h = kernels::linear_activated(h, layer.clone(), None, silu);
        }
        kernels::linear(h, layers[3].clone(), None)
    };
    let schedule = ScheduleConfig::Uniform {}.build(100)?;
    let key = Key::new(0, Purpose::Noise);
    let chunks: Vec<Tensor<2>> = (0..POINTS / CHUNK)
        .map(|i| {
            let rows: Vec<u64> = (i * CHUNK..(i + 1) * CHUNK).map(|row| row as u64).collect();
            key.normal_tensor(&rows, [0, 2], &device)
        })
        .collect();
    Ok(best(|| {
        // Points apart need not wait for each other: a thread takes a chunk from start to end.
        chunks.par_iter().for_each(|x| {
            let end = solve(&field, x.clone(), &Condition::none(), &Solver::Euler {}, &schedule, None);
            std::hint::black_box(end.expect("a perceptron can be solved").x.sum().into_scalar::<f32>());
        });
    }))
}
