//! Times inference and training steps (forward, backward) of a network in both precisions, in turns:
//! `cargo run --release -p rectiflow-nets --example step -- [unet|patch|fashion|attention|dit|mlp] [batch] [rounds] [f32|bf16]`.

use base::{Condition, Device, Key, Network, Pass, Purpose, Tensor};
use burn::module::Module;
use kernels::Precision;
use nets::{DitConfig, NetConfig, Precise, UnetConfig};
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let config = match arguments.next().as_deref() {
        Some("dit") => NetConfig::Dit(DitConfig::default()),
        Some("mlp") => NetConfig::Mlp(Default::default()),
        // The network of recipes/fashion/base.toml.
        Some("fashion") => NetConfig::Unet(UnetConfig {
            channels: 32,
            multipliers: vec![1, 2],
            blocks: 1,
            patch: 2,
            ..Default::default()
        }),
        Some("attention") => NetConfig::Unet(UnetConfig { attention: vec![2], ..UnetConfig::default() }),
        Some("patch") => NetConfig::Unet(UnetConfig { patch: 2, ..UnetConfig::default() }),
        _ => NetConfig::Unet(UnetConfig::default()),
    };
    let batch: usize = arguments.next().and_then(|b| b.parse().ok()).unwrap_or(32);
    let rounds: usize = arguments.next().and_then(|b| b.parse().ok()).unwrap_or(8);
    let precisions = match arguments.next().as_deref() {
        Some("f32") => vec![Precision::F32],
        Some("bf16") => vec![Precision::Bf16],
        _ => vec![Precision::F32, Precision::Bf16],
    };
    let shape = [1, 28, 28];
    let cost = match config.cost(shape, 10) {
        Ok(cost) => cost,
        Err(error) => return eprintln!("{error}"),
    };
    println!(
        "{}: {} parameters, {:.1} MFLOP forward and {:.2} MB of activations per image",
        config.name(),
        cost.parameters,
        cost.forward_flops_per_sample as f64 / 1e6,
        cost.activation_bytes_per_sample as f64 / 1e6
    );

    let device = Device::flex();
    let net = match config.init(0, shape, 10, &device) {
        Ok(net) => net.train(),
        Err(error) => return eprintln!("{error}"),
    };
    let indices: Vec<u64> = (0..batch as u64).collect();
    let x = Key::new(0, Purpose::Noise).normal_tensor(&indices, [batch, 784], &device);
    let target = Key::new(1, Purpose::Noise).normal_tensor(&indices, [batch, 784], &device);
    let times: Vec<f32> = (0..batch).map(|i| i as f32 / batch as f32).collect();
    let t = Tensor::<1>::from_floats(times.as_slice(), &device);
    let classes: Vec<i64> = (0..batch as i64).map(|i| i % 10).collect();
    let condition = Condition::classes(&classes, &device);

    let mut times = vec![(Vec::new(), Vec::new()); precisions.len()];
    let infer = net.valid();
    for _ in 0..rounds {
        for (&precision, (forward, whole)) in precisions.iter().zip(&mut times) {
            let start = Instant::now();
            let y = Precise { network: &infer, precision }.predict(x.clone(), t.clone(), &condition, &Pass::Infer);
            std::hint::black_box(y.into_data());
            forward.push(start.elapsed().as_secs_f64() * 1e3);

            let start = Instant::now();
            let y = Precise { network: &net, precision }.predict(x.clone(), t.clone(), &condition, &Pass::Infer);
            let gradients = (y - target.clone()).square().mean().backward();
            std::hint::black_box(&gradients);
            whole.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    for (precision, (forward, whole)) in precisions.iter().zip(times) {
        for (what, mut samples) in [("inference", forward), ("forward and backward", whole)] {
            samples.sort_by(f64::total_cmp);
            let (best, median) = (samples[0], samples[samples.len() / 2]);
            println!(
                "{:4} {what}: {median:.1} ms/step (best {best:.1}), {:.0} img/s",
                precision.name(),
                1e3 * batch as f64 / median
            );
        }
    }
}
