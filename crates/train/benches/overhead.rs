//! What the engine costs beside the network, on two million parameters: `cargo bench -p rectiflow-train`, on quiet cores.

#[path = "../src/testing.rs"]
#[allow(dead_code)] // each test file uses its own part
mod testing;

use base::Device;
use std::time::Instant;
use testing::{TinyNet, TinySource, TinyTask};
use train::checkpoint::{Checkpoint, Folder, Meta, Which, load_weights};
use train::ema::EmaConfig;
use train::guard::Reading;
use train::state::State;
use train::{Source, Task, TrainConfig, params};

fn milliseconds(what: &str, mut f: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let begun = Instant::now();
        f();
        best = best.min(begun.elapsed().as_secs_f64() * 1e3);
    }
    eprintln!("{what}: {best:.2} ms");
    best
}

fn main() {
    let config = TrainConfig { ema: EmaConfig { decays: vec![0.999, 0.9999], warmup: true }, ..Default::default() };
    let device = Device::flex().autodiff();
    let mut state = Some(State::new(TinyNet::new(1, 100_000, &device), &config));
    eprintln!("{} parameters, two averages", state.as_ref().unwrap().parameters());
    let batch = TinySource::new(1).next().unwrap();
    let gradients = |network: &TinyNet| {
        let loss = TinyTask { seed: 1 }.loss(&train::Live::plain(network), &batch, &device).unwrap().mean();
        let gradients = params::gradients(network, loss.backward());
        (loss, gradients)
    };
    let (loss, fixed) = gradients(&state.as_ref().unwrap().network);
    milliseconds("loss and gradient norm", || {
        assert!(Reading::take(loss.clone(), &fixed).is_finite());
    });
    let own = vec![true; fixed.len()];
    milliseconds("AdamW and averages", || {
        let next = state.take().unwrap().turn(&config, &own, fixed.clone(), 1e-3, 1.0);
        state = Some(next);
    });
    let state = state.unwrap();
    milliseconds("network for sampling", || drop(state.sampler()));

    let home = tempfile::tempdir().unwrap();
    let folder = Folder::create(home.path()).unwrap();
    let meta = state.meta(&Meta::default(), &config);
    milliseconds("checkpoint written and synced", || drop(folder.save(&meta, &state.blobs(), 1).unwrap()));
    let file = folder.file(0);
    let plain = Device::flex();
    let load = milliseconds("checkpoint checked and average loaded", || {
        let checkpoint = Checkpoint::open(&file).unwrap();
        load_weights(TinyNet::new(1, 100_000, &plain), &checkpoint, Which::Best).unwrap();
    });
    milliseconds("(of which the random network it replaces)", || drop(TinyNet::new(1, 100_000, &plain)));
    eprintln!("{:.1} MB", Checkpoint::open(&file).unwrap().size() as f64 / 1e6);
    assert!(load < 1000.0);
}
