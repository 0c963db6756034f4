//! Time per image as a batch, the tokens of a transformer and the channels of a U-Net grow, in f32 on the CPU, as CSV:
//!
//! ```sh
//! cargo bench --workspace --bench scaling > benches/scaling/scaling.csv && python benches/scaling/plot.py
//! ```
//!
//! A word picks sweeps by their names: `cargo bench --workspace --bench scaling -- planes` compares the network of three streams with a
//! transformer whose tokens all attend to one another, at equal width and tokens.
//!
//! Beside each time stands the rate at which it did the network's arithmetic: where that rises and levels out, no size costs more
//! than its work. Every size is timed three times, the sizes in turns, and the least of its medians counts.

use base::{Condition, Device, Key, Network, Pass, Purpose, Shape, Tensor};
use nets::{DitConfig, Net, NetConfig, TriflowConfig, UnetConfig};
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;
use train::{TrainConfig, params, state::State};

#[global_allocator]
static ALLOCATOR: kernels::allocator::MiMalloc = kernels::allocator::MiMalloc;

/// Seconds per size, phase and round, and how often the sizes take turns.
const SECONDS: f64 = 0.4;
const ROUNDS: usize = 3;

/// One size of one network.
struct Size {
    sweep: &'static str,
    /// What grows.
    value: usize,
    config: NetConfig,
    /// Samples of a batch, and what each is.
    shape: (usize, Shape),
}

fn sizes() -> Vec<Size> {
    let unet = |channels| NetConfig::Unet(UnetConfig { channels, patch: 2, ..UnetConfig::default() });
    let dit = NetConfig::Dit(DitConfig { width: 256, depth: 4, heads: 4, patch: 2, ..DitConfig::default() });
    let batches = [1, 2, 4, 8, 16, 32, 64, 128].map(|b| ("batch", b, unet(32), (b, [1, 28, 28].into())));
    // As many tokens in a batch everywhere, so that only their number in an image changes.
    let tokens = [8, 12, 16, 24, 32, 48, 64].map(|side: usize| {
        let n = side * side / 4;
        ("tokens", n, dit.clone(), ((2048 / n).max(1), [4, side, side].into()))
    });
    let channels = [16, 24, 32, 48, 64, 80, 96, 128].map(|c| ("channels", c, unet(c), (16, [1, 28, 28].into())));
    let (width, heads, patch) = (128, 4, 2);
    let streams = NetConfig::Triflow(TriflowConfig { width, heads, patch, ..TriflowConfig::default() });
    // The same tokens as one picture, three planes side by side, in as many blocks as a stage has.
    let one = NetConfig::Dit(DitConfig { width, heads, patch, depth: 3, ..DitConfig::default() });
    let planes = [(32, 32), (32, 64), (64, 64), (64, 128)].map(|(h, w): (usize, usize)| {
        let n = 3 * h * w / 4;
        let three: Shape = [3, 12, h, w].into();
        let flat: Shape = [12, h, 3 * w].into();
        [("planes three streams", n, streams.clone(), (1, three)), ("planes all to all", n, one.clone(), (1, flat))]
    });
    let all = batches.into_iter().chain(tokens).chain(channels).chain(planes.into_iter().flatten());
    // What is no option picks sweeps.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let picked = |sweep: &str| words.is_empty() || words.iter().any(|word| sweep.contains(word));
    let sizes = all.map(|(sweep, value, config, shape)| Size { sweep, value, config, shape });
    sizes.filter(|size| picked(size.sweep)).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(()); // not `cargo bench`: a test run that takes benches along
    }
    kernels::allocator::keep_pages();
    rectiflow::device::on_a_worker(|| measure().map_err(|error| error.to_string())).map_err(Into::into)
}

fn measure() -> Result<(), Box<dyn Error>> {
    let sizes = sizes();
    let mut times = vec![[f64::INFINITY; 2]; sizes.len()];
    for round in 1..=ROUNDS {
        for (size, times) in sizes.iter().zip(&mut times) {
            let net = size.config.init(1, size.shape.1, 0, &Device::flex())?;
            for (time, run) in times.iter_mut().zip([forward(&net, size.shape), train(&net, size.shape)]) {
                *time = time.min(median(run));
            }
        }
        eprintln!("round {round} of {ROUNDS}");
    }
    println!("sweep,value,batch,forward_ms_per_image,train_ms_per_image,forward_gflops,train_gflops");
    for (size, [forward, train]) in sizes.iter().zip(times) {
        let (b, shape) = size.shape;
        let flops = size.config.cost(shape, 0)?.forward_flops_per_sample as f64;
        // A training step does the products of a forward pass three times.
        let rate = |ms: f64, times: f64| times * flops * b as f64 / ms / 1e6;
        let each = |ms: f64| ms / b as f64;
        let Size { sweep, value, .. } = size;
        println!(
            "{sweep},{value},{b},{:.4},{:.4},{:.1},{:.1}",
            each(forward),
            each(train),
            rate(forward, 1.0),
            rate(train, 3.0)
        );
    }
    Ok(())
}

/// Median milliseconds of runs of about [`SECONDS`] altogether, after one that is not counted.
fn median(mut run: Box<dyn FnMut()>) -> f64 {
    run();
    let (begun, mut each) = (Instant::now(), Vec::new());
    while each.len() < 3 || begun.elapsed().as_secs_f64() < SECONDS {
        let start = Instant::now();
        run();
        each.push(start.elapsed().as_secs_f64() * 1e3);
    }
    each.sort_by(f64::total_cmp);
    each[each.len() / 2]
}

fn inputs((b, shape): (usize, Shape), device: &Device) -> (Tensor<2>, Tensor<1>) {
    let indices: Vec<u64> = (0..b as u64).collect();
    let times: Vec<f32> = indices.iter().map(|i| (*i as f32 + 0.5) / b as f32).collect();
    let x = Key::new(0, Purpose::Noise).normal_tensor(&indices, [0, shape.numel()], device);
    (x, Tensor::from_floats(times.as_slice(), device))
}

fn forward(net: &Net, shape: (usize, Shape)) -> Box<dyn FnMut()> {
    let (net, (x, t)) = (net.clone(), inputs(shape, &Device::flex()));
    Box::new(move || drop(black_box(net.predict(x.clone(), t.clone(), &Condition::none(), &Pass::Infer).into_data())))
}

/// Forward, backward and update, as the engine takes a step.
fn train(net: &Net, shape: (usize, Shape)) -> Box<dyn FnMut()> {
    let (x, t) = inputs(shape, &Device::flex().autodiff());
    let config = TrainConfig::default();
    let mut state = Some(State::new(net.clone(), &config));
    Box::new(move || {
        let now = state.take().expect("put back each time");
        let y = now.network.predict(x.clone(), t.clone(), &Condition::none(), &Pass::Infer);
        let gradients = params::gradients(&now.network, (y - x.clone()).square().mean().backward());
        state = Some(now.step(&config, gradients, 1e-4, 1.0));
    })
}
