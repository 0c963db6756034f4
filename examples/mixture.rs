//! Five Gaussian modes in 128 dimensions, learned four ways, sampled with more and more noise: figures 12 to 14 of stochastic
//! interpolants (Albergo et al. 2023, arXiv:2303.08797). `cargo run --release --example mixture [-- IMAGES PARTICLES STEPS]`
//!
//! `b` or `v` for the velocity, with `s` or `η` for the score. Without arguments it trains far too short to rank them.

use rectiflow::base::{Condition, Device, Key, Purpose, Tensor};
use rectiflow::flow::{
    Brownian, Diffusion, Field, JointField, Objective, Parameterization, Path, ScheduleConfig, Sde, Solver, exact,
};
use rectiflow::nets::{MlpConfig, Net, NetConfig};
use rectiflow::toy::density::divergence;
use rectiflow::train::{FlowTask, OptimConfig, Rows, Setup, TrainConfig};
use rectiflow::{flow, train};

type Failure = Box<dyn std::error::Error + Send + Sync>;
/// Dimensions.
const D: usize = 128;

/// Means of variance 7.5² per dimension, covariances `WᵀW/d + I`.
fn modes() -> Result<exact::FullMixture, Failure> {
    let key = Key::new(3, Purpose::Noise);
    let normals = |of: u64, n: usize| key.fold(of).normals(0, n).map(f64::from).collect::<Vec<_>>();
    let means = (0..5).map(|k| normals(k, D).iter().map(|m| 7.5 * m).collect());
    let covariance = |k: u64| {
        let w = normals(10 + k, D * D);
        let entry = |i: usize, j: usize| (0..D).map(|r| w[r * D + i] * w[r * D + j]).sum::<f64>() / D as f64;
        (0..D * D).map(|at| entry(at / D, at % D) + f64::from(u8::from(at / D == at % D))).collect()
    };
    Ok(exact::FullMixture::new(vec![1.0; 5], means.collect(), (0..5).map(covariance).collect())?)
}

fn main() -> Result<(), Failure> {
    let device = Device::flex();
    let args: Vec<u64> = std::env::args().skip(1).map(|arg| arg.parse()).collect::<Result<_, _>>()?;
    let of = |at: usize, small: u64| args.get(at).copied().unwrap_or(small);
    let (images, particles, steps) = (of(0, 12_800), of(1, 500), of(2, 20) as usize);
    let mixture = modes()?;
    let draw = |i: u64| mixture.sample(Key::new(4, Purpose::Noise), i).iter().map(|x| *x as f32).collect::<Vec<f32>>();
    let points: Vec<Vec<f32>> = (0..(images / 8).clamp(1_000, 20_000)).map(draw).collect();
    let path = Path::brownian(1.0);

    let learn = |parameterization: Parameterization| -> Result<Net, Failure> {
        let optim = OptimConfig { lr: 2e-3, warmup: 12_800, ..Default::default() };
        let config = TrainConfig { images, batch: 256, validate_every: 0, optim, ..Default::default() };
        let objective = Objective { path: path.clone(), parameterization, antithetic: true, ..Default::default() };
        let (origin, coupling) = (train::Origin::Noise, flow::Coupling::Independent {});
        let task = FlowTask { objective, origin, coupling, condition_dropout: 0.0, conditional: false, seed: 0 };
        let net = NetConfig::Mlp(MlpConfig { width: 256, ..Default::default() }).init(0, [D], 0, &device)?;
        let mut source = Rows::data(points.concat(), [D], 256, 0);
        let setup = Setup::new(&config, &task, &mut source);
        Ok(train::train(net, setup, &mut ())?.state.sampler())
    };
    use Parameterization::{InterpolantVelocity, Latent, Score, Velocity};
    let outputs = [Velocity {}, InterpolantVelocity {}, Score {}, Latent {}];
    let nets = outputs.iter().map(|output| learn(*output)).collect::<Result<Vec<_>, _>>()?;

    // Steps in proportion to gamma: the score grows as 1/gamma at both ends.
    let (schedule, indices) = (ScheduleConfig::Chebyshev {}.build(steps)?, (0..particles).collect::<Vec<_>>());
    let plane = |rows: &[f32]| rows.chunks(D).map(|x| [x[0], x[1]]).collect::<Vec<_>>();
    let data = plane(&(100_000..100_000 + particles).flat_map(draw).collect::<Vec<_>>());
    let strengths = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0];
    println!("KL of two coordinates at ε = {strengths:?}");
    for (first, second) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        let pair = |i: usize| (&nets[i], outputs[i]);
        let field = JointField::new(path.clone(), pair(first), pair(second))?;
        let kl = |value: f64| -> Result<String, Failure> {
            let sde = Sde { diffusion: Diffusion::Constant { value }, ..Default::default() };
            let solver = if value == 0.0 { Solver::Heun {} } else { Solver::SdeHeun(sde) };
            let x: Tensor<2> = Key::new(5, Purpose::Noise).normal_tensor(&indices, [0, D], &device);
            let (none, brownian) = (Condition::none(), Brownian::new(Key::new(6, Purpose::Latent), &indices));
            let end = flow::solve_with(&field as &dyn Field<2>, x, &none, &solver, &schedule, &brownian, None)?.x;
            let end = plane(&end.into_data().iter::<f32>().collect::<Vec<_>>());
            Ok(format!("{:.4}", divergence(&data, &end, &data[..data.len().min(2000)].to_vec())))
        };
        let row = strengths.iter().map(|e| kl(*e)).collect::<Result<Vec<_>, _>>()?;
        println!("({}, {}): {}", outputs[first].name(), outputs[second].name(), row.join("  "));
    }
    Ok(())
}
