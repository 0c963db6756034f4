//! The networks that are timed: forward, training step, guided sampling, pair generation.

use crate::{Phases, conv_unet::ConvUnet};
use base::{Condition, Device, Key, NULL_CLASS, Network, Pass, Purpose, Tensor, TensorData, Times};
use burn::module::Module;
use flow::{Field, Guided, Path, PathField, ScheduleConfig, Solver, solve};
use kernels::Precision;
use nets::init::{Init, Weights};
use nets::layers::Linear;
use nets::weights::{ParamMap, map_named, named_tensors};
use nets::{DitConfig, NetConfig, Positions, UnetConfig};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::BTreeMap;
use std::error::Error;
use train::{TrainConfig, ema::EmaConfig, optim::OptimConfig, params, state::State};

/// A network with the size it is timed at.
struct Workload<M> {
    net: M,
    /// Shape of a batch.
    shape: [usize; 4],
    classes: usize,
    /// Whether a single sample is timed as well.
    single: bool,
    /// Whether whole sampling runs are timed.
    sampling: bool,
}

/// The names of [`with`].
const NAMES: [&str; 5] = ["mlp", "dit", "unet", "demo", "dit-s4"];

/// W2: 3-256-256-256-2 with SiLU, without a time.
#[derive(Module, Debug)]
struct Perceptron {
    layers: Vec<Linear>,
}

impl Network<2> for Perceptron {
    fn predict(&self, x: Tensor<2>, _: Tensor<1>, _: &Condition, _: &Pass) -> Tensor<2> {
        let mut h = x;
        for (i, layer) in self.layers.iter().enumerate() {
            h = layer.forward(h);
            if i + 1 < self.layers.len() {
                h = kernels::silu(h);
            }
        }
        h
    }
}

/// What is done with a workload, whatever its network.
trait Job {
    type Output;

    /// Where the network lives.
    fn device(&self) -> &Device;
    fn run<M: Module + Network<2> + 'static>(self, workload: Workload<M>) -> Result<Self::Output, Box<dyn Error>>;
}

/// Does a job with the workload of this name; `None` if there is none.
fn with<J: Job>(name: &str, job: J) -> Result<Option<J::Output>, Box<dyn Error>> {
    let device = &job.device().clone();
    let net = |config: NetConfig, shape: [usize; 3], classes| config.init(1, shape, classes, device);
    let unet = UnetConfig { channels: 32, patch: 2, ..UnetConfig::default() };
    let dit = DitConfig { width: 384, heads: 6, qk_norm: false, ..DitConfig::default() };
    let whole = Workload { net: (), shape: [8, 4, 32, 32], classes: 0, single: true, sampling: false };
    let sampled = Workload { net: (), shape: [32, 1, 28, 28], classes: 10, single: false, sampling: true };
    Ok(Some(match name {
        "mlp" => {
            let init = Init::new(2, device);
            let sizes = [3, 256, 256, 256, 2];
            let layer = |i: usize| Linear::new(&init.child(i), sizes[i], sizes[i + 1], Weights::Torch);
            let net = Perceptron { layers: (0..4).map(layer).collect() };
            job.run(Workload { net, shape: [2048, 3, 1, 1], classes: 0, single: false, sampling: false })?
        }
        "dit" => {
            let config = DitConfig { patch: 2, depth: 6, positions: Positions::Learned {}, ..dit };
            job.run(whole.of(net(NetConfig::Dit(config), [4, 32, 32], 0)?))?
        }
        "unet" => job.run(Workload { shape: [8, 3, 32, 32], ..whole }.of(ConvUnet::new(device)))?,
        "demo" => job.run(sampled.of(net(NetConfig::Unet(unet), [1, 28, 28], 10)?))?,
        "dit-s4" => {
            let config = DitConfig { patch: 4, depth: 12, ..dit };
            let sampled = Workload { shape: [32, 3, 32, 32], ..sampled };
            job.run(sampled.of(net(NetConfig::Dit(config), [3, 32, 32], 10)?))?
        }
        _ => return Ok(None),
    }))
}

impl Workload<()> {
    fn of<M: Module>(self, net: M) -> Workload<M> {
        let Self { shape, classes, single, sampling, .. } = self;
        // Layers that start at zero would hide mistakes and save nobody time.
        Workload { net: map_named(net, &mut Ripple), shape, classes, single, sampling }
    }
}

/// Adds a small wave to every parameter.
struct Ripple;

impl ParamMap for Ripple {
    fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
        let phase = name.bytes().map(f64::from).sum::<f64>();
        let wave = (0..tensor.shape().num_elements()).map(|i| (0.02 * (1.7 * i as f64 + phase).sin()) as f32).collect();
        tensor.clone() + Tensor::from_data(TensorData::new::<f32, _>(wave, tensor.dims()), &tensor.device())
    }
}

impl<M: Module + Network<2>> Workload<M> {
    /// Inputs, times and classes of a batch of `b`.
    fn inputs(&self, b: usize, device: &Device) -> (Tensor<2>, Tensor<1>, Vec<i64>) {
        let indices: Vec<u64> = (0..b as u64).collect();
        let x = Key::new(0, Purpose::Noise).normal_tensor(&indices, [0, self.shape[1..].iter().product()], device);
        let times: Vec<f32> = (0..b).map(|i| (i as f32 + 0.5) / b as f32).collect();
        let classes = (0..b).filter(|_| self.classes > 0).map(|i| (i % self.classes) as i64).collect();
        (x, Tensor::from_floats(times.as_slice(), device), classes)
    }

    fn condition(classes: &[i64], device: &Device) -> Condition {
        if classes.is_empty() { Condition::none() } else { Condition::classes(classes, device) }
    }
}

/// A training step's settings: AdamW without decay, clipping or averages, as the peer's.
fn settings() -> TrainConfig {
    let optim = OptimConfig { lr: 1e-4, beta2: 0.999, clip: 0.0, ..OptimConfig::default() };
    TrainConfig { optim, ema: EmaConfig { decays: Vec::new(), warmup: false }, ..TrainConfig::default() }
}

/// Everything of a workload that is timed, in a precision.
struct Measure<'a>(Precision, &'a Device);

/// A graphics processor is timed at batches this many times as large: those of the CPU would time its queue.
const CROWD: usize = 16;

impl Job for Measure<'_> {
    type Output = Phases;

    fn device(&self) -> &Device {
        self.1
    }

    fn run<M: Module + Network<2> + 'static>(self, workload: Workload<M>) -> Result<Phases, Box<dyn Error>> {
        let Self(precision, device) = self;
        let mut workload = workload;
        workload.shape[0] *= if *device == Device::flex() { 1 } else { CROWD };
        let net = std::rc::Rc::new(workload.net.clone());
        let mut phases: Phases = Vec::new();
        let forward = |b: usize| -> Box<dyn FnMut()> {
            let (x, t, classes) = workload.inputs(b, device);
            let (condition, net) = (Workload::<M>::condition(&classes, device), net.clone());
            Box::new(move || {
                let y = precision.scope(|| net.predict(x.clone(), t.clone(), &condition, &Pass::Infer));
                std::hint::black_box(y.into_data());
            })
        };
        if workload.single {
            phases.push(("forward-1", forward(1)));
        }
        phases.push(("forward", forward(workload.shape[0])));
        phases.push(("train", train(&workload, precision, device)));
        if workload.sampling {
            let (x, _, classes) = workload.inputs(64, device);
            let condition = Workload::<M>::condition(&classes, device);
            let run = move |solver: Solver, steps: usize, scale: f64| -> Result<Box<dyn FnMut()>, Box<dyn Error>> {
                let (net, x, condition) = (net.clone(), x.clone(), condition.clone());
                let schedule = ScheduleConfig::Uniform {}.build(steps)?;
                Ok(Box::new(move || {
                    let field = Guided::new(PathField::new(&*net, Path::Linear {}, Default::default()), scale, None);
                    let field = Scoped(field.expect("a scale above zero"), precision);
                    let end = solve(&field, x.clone(), &condition, &solver, &schedule, None);
                    std::hint::black_box(end.expect("finite weights give a finite flow").x.into_data());
                }))
            };
            phases.push(("sample-64x50-guided", run(Solver::Euler {}, 50, 1.5)?));
            phases.push(("pairs-64x20-heun", run(Solver::Heun {}, 20, 1.0)?));
        }
        Ok(phases)
    }
}

/// A field computed in a precision.
struct Scoped<F>(F, Precision);

impl<F: Field<2>> Field<2> for Scoped<F> {
    fn velocity(&self, x: Tensor<2>, t: &Times, condition: &Condition) -> Tensor<2> {
        self.1.scope(|| self.0.velocity(x, t, condition))
    }
}

/// Forward, backward and update, as the engine takes a step.
fn train<M: Module + Network<2> + 'static>(
    workload: &Workload<M>,
    precision: Precision,
    device: &Device,
) -> Box<dyn FnMut()> {
    let device = device.clone().autodiff();
    let b = workload.shape[0];
    let (x, t, classes) = workload.inputs(b, &device);
    let condition = Workload::<M>::condition(&classes, &device);
    let config = settings();
    let mut state = None;
    let net = workload.net.clone();
    Box::new(move || {
        let now: State<M> = state.take().unwrap_or_else(|| State::new(net.clone(), &config));
        let loss = loss(&now.network, &x, &t, &condition, precision);
        std::hint::black_box(loss.clone().into_scalar::<f32>());
        let gradients = params::gradients(&now.network, loss.backward());
        state = Some(now.step(&config, gradients, config.optim.lr, 1.0));
    })
}

/// Mean square of the output against the input's own first channels: a target that needs no data.
fn loss<M: Network<2>>(
    net: &M,
    x: &Tensor<2>,
    t: &Tensor<1>,
    condition: &Condition,
    precision: Precision,
) -> Tensor<1> {
    let y = precision.scope(|| net.predict(x.clone(), t.clone(), condition, &Pass::Infer));
    let target = x.clone().narrow(1, 0, y.dims()[1]);
    (y - target).square().mean()
}

/// The phases of a workload; `None` if there is none of this name.
///
/// # Errors
/// None but mistakes in this file.
pub fn phases(name: &str, precision: Precision, device: &Device) -> Result<Option<Phases>, Box<dyn Error>> {
    with(name, Measure(precision, device))
}

/// Writes what the peer needs to be the same network and to know that it is.
struct Export<'a>(&'a std::path::Path, &'static str, &'a Device);

impl Job for Export<'_> {
    type Output = ();

    fn device(&self) -> &Device {
        self.2
    }

    fn run<M: Module + Network<2> + 'static>(self, workload: Workload<M>) -> Result<(), Box<dyn Error>> {
        let Self(folder, name, device) = self;
        let device = device.clone().autodiff();
        let net = workload.net.clone().train();
        let (x, t, classes) = workload.inputs(workload.shape[0], &device);
        let condition = Workload::<M>::condition(&classes, &device);
        // The output without a tape, as samplers call it; the gradients with one.
        let plain = (x.clone().inner(), t.clone().inner(), Workload::<M>::condition(&classes, self.2));
        let y = workload.net.predict(plain.0, plain.1, &plain.2, &Pass::Infer);
        let loss = loss(&net, &x, &t, &condition, Precision::F32);
        let infos = params::infos(&net);
        let gradients = params::gradients(&net, loss.backward());

        let mut tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)> = BTreeMap::new();
        for (name, shape, values) in named_tensors(&net) {
            tensors.insert(format!("p.{name}"), (shape, values));
        }
        for (info, gradient) in infos.iter().zip(gradients) {
            let values = gradient.ok_or("a parameter without a gradient")?.into_data().iter::<f32>().collect();
            tensors.insert(format!("g.{}", info.name), (info.shape.clone(), values));
        }
        // The peer's shapes: the output may have fewer channels than the input.
        let [_, _, h, w] = workload.shape;
        let host = |x: Tensor<2>| {
            let [b, n] = x.dims();
            (vec![b, n / (h * w), h, w], x.into_data().iter::<f32>().collect::<Vec<_>>())
        };
        tensors.insert("x".into(), host(x.inner()));
        tensors.insert("y".into(), host(y));
        tensors.insert("t".into(), (vec![t.dims()[0]], t.inner().into_data().iter::<f32>().collect()));
        let class = |c: &i64| if *c == NULL_CLASS { workload.classes as f32 } else { *c as f32 };
        tensors.insert("class".into(), (vec![classes.len()], classes.iter().map(class).collect()));
        let bytes: BTreeMap<&String, (&Vec<usize>, Vec<u8>)> = tensors
            .iter()
            .map(|(name, (shape, values))| (name, (shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())))
            .collect();
        let views: Result<Vec<_>, _> = bytes
            .iter()
            .map(|(name, (shape, bytes))| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.to_vec(), bytes)?)))
            .collect::<Result<_, safetensors::SafeTensorError>>();
        let file = folder.join(format!("{name}.safetensors"));
        std::fs::write(&file, safetensors::serialize(views?, None)?)?;
        println!("{}", file.display());
        Ok(())
    }
}

/// Writes every network into `folder`, or those `wanted`.
///
/// # Errors
/// Where a file cannot be written.
pub fn export(folder: &std::path::Path, device: &Device, wanted: &[&str]) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    for name in NAMES.into_iter().filter(|name| wanted.is_empty() || wanted.contains(name)) {
        with(name, Export(folder, name, device))?;
    }
    Ok(())
}
