//! Memory and seconds of a training step of a transformer, in full or by corrections of low rank: run it twice and compare.
//!
//! `cargo run --release -p rectiflow-train --example adapters -- full|RANK [WIDTH DEPTH BATCH STEPS]`; 768 12 8 6 without, a
//! transformer of 130 million parameters on 32x32 images.

use base::{Condition, Device, Key, Network, Pass, Purpose, Tensor};
use burn::module::Module;
use nets::{DitConfig, LoraConfig, NetConfig};
use std::time::Instant;
use train::{TrainConfig, memory::Memory, params, state::State};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, usual: usize| words.get(at).map_or(Ok(usual), |word| word.parse());
    let (width, depth, batch, steps) = (number(1, 768)?, number(2, 12)?, number(3, 8)?, number(4, 6)?);
    let device = Device::flex();
    let config = NetConfig::Dit(DitConfig { width, depth, heads: width / 64, ..DitConfig::default() });
    let net = config.init(1, [3, 32, 32], 10, &device)?;
    let net = match words.first().map(String::as_str) {
        None | Some("full") => net,
        Some(rank) => LoraConfig { rank: rank.parse()?, alpha: 1.0, ..LoraConfig::default() }.init(net, 1, &device)?,
    };
    let all = net.num_params();
    let train = TrainConfig::default();
    let mut state = State::new(net, &train);
    let tape = device.autodiff();
    let rows: Vec<u64> = (0..batch as u64).collect();
    let mut best = f64::INFINITY;
    for _ in 0..steps {
        let begun = Instant::now();
        let x: Tensor<2> = Key::new(1, Purpose::Noise).normal_tensor(&rows, [batch, 3 * 32 * 32], &tape);
        let t = Tensor::<1>::ones([batch], &tape) * 0.5;
        let condition = Condition::classes(&vec![3; batch], &tape);
        let loss = (state.network.predict(x.clone(), t, &condition, &Pass::Infer) - x).square().mean();
        let gradients = params::gradients(&state.network, loss.backward());
        state = state.step(&train, gradients, 1e-4, 1.0);
        best = best.min(begun.elapsed().as_secs_f64());
    }
    println!(
        "{all} parameters, {} learn: {best:.3} s a step, {:.0} MB at the peak",
        state.parameters(),
        Memory::now().peak as f64 / 1e6
    );
    Ok(())
}
