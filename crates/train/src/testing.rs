//! A network, a task and a source small enough to train thousands of steps in a test.

use base::{Condition, Device, Key, Network, Pass, Purpose, RandomStream, Tensor, TensorData, Times};
use burn::module::{Module, Param};
use train::{Batch, Live, Source, Task, TrainError};

/// A dense layer, PyTorch layout.
#[derive(Module, Debug)]
pub struct Dense {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Dense {
    fn new(seed: u64, i: usize, o: usize, device: &Device) -> Self {
        let rows: Vec<u64> = (0..o as u64).collect();
        let weight = Key::new(seed, Purpose::Init).normal_tensor(&rows, [o, i], device) / (i as f64).sqrt();
        Self { weight: Param::from_tensor(weight), bias: Param::from_tensor(Tensor::zeros([o], device)) }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        kernels::linear(x, self.weight.val(), Some(self.bias.val()))
    }
}

/// Velocity of `[b 1 2 2]` images from the pixels, the time and one of ten classes, with dropout of pixels.
#[derive(Module, Debug)]
pub struct TinyNet {
    input: Dense,
    output: Dense,
    classes: Param<Tensor<2>>,
}

impl TinyNet {
    /// Weights from `seed`; `width` hidden units.
    pub fn new(seed: u64, width: usize, device: &Device) -> Self {
        let rows: Vec<u64> = (0..11).collect();
        Self {
            input: Dense::new(seed, 5, width, device),
            output: Dense::new(seed + 1, width, 4, device),
            classes: Param::from_tensor(Key::new(seed + 2, Purpose::Init).normal_tensor(&rows, [11, width], device)),
        }
    }

    /// The first matrix.
    pub fn input_weight(&self) -> Tensor<2> {
        self.input.weight.val()
    }
}

impl Network<2> for TinyNet {
    fn predict(&self, x: Tensor<2>, t: Tensor<1>, condition: &Condition, pass: &Pass) -> Tensor<2> {
        let [b, _] = x.dims();
        let x = match pass {
            Pass::Infer | Pass::Tapped(_) => x,
            Pass::Train { dropout, samples, .. } => {
                let keep =
                    samples.iter().map(|s| if dropout.uniform(*s) < 0.1 { 0.0 } else { 1.0 }).collect::<Vec<f32>>();
                x.clone() * Tensor::<2>::from_data(TensorData::new(keep, [b, 1]), &x.device())
            }
        };
        let hidden = self.input.forward(Tensor::cat(vec![x, t.reshape([b, 1])], 1));
        let hidden = match &condition.class {
            Some(class) => hidden + self.classes.val().select(0, class.clone() + 1),
            None => hidden,
        };
        self.output.forward(hidden.tanh())
    }
}

/// Flow matching on the straight path, written out.
pub struct TinyTask {
    /// Seed of noise, times and dropout.
    pub seed: u64,
}

impl TinyTask {
    fn squared(
        network: &dyn Network<2>,
        batch: &Batch,
        x0: Tensor<2>,
        times: &Times,
        condition: &Condition,
        pass: &Pass,
        device: &Device,
    ) -> Tensor<1> {
        let x1 = batch.rows(&batch.x1, device);
        let t = times.column::<2>(|t| t, device);
        let xt = x0.clone() + (x1.clone() - x0.clone()) * t;
        let v = network.predict(xt, times.tensor(device), condition, pass);
        (v - (x1 - x0)).square().reshape([batch.len() as i32, -1]).mean_dim(1).squeeze_dim(1)
    }
}

impl<M: Network<2>> Task<M> for TinyTask {
    fn loss(&self, network: &Live<'_, M>, batch: &Batch, device: &Device) -> Result<Tensor<1>, TrainError> {
        let x0 = Key::new(self.seed, Purpose::Noise).normal_tensor(&batch.indices, [0, batch.shape.numel()], device);
        let key = Key::new(self.seed, Purpose::Time);
        let times = Times::new(batch.indices.iter().map(|i| key.uniform(*i)).collect());
        let drop = Key::new(self.seed, Purpose::ConditionDrop);
        let classes = batch.classes.iter().zip(&batch.indices);
        let classes: Vec<i64> = classes.map(|(c, i)| if drop.uniform(*i) < 0.2 { -1 } else { *c }).collect();
        let pass = Pass::train(Key::new(self.seed, Purpose::Dropout), batch.indices.clone());
        let condition = Condition::classes(&classes, device);
        Ok(Self::squared(network, batch, x0, &times, &condition, &pass, device))
    }

    fn loss_at(
        &self,
        network: &Live<'_, M>,
        batch: &Batch,
        times: &Times,
        device: &Device,
    ) -> Result<Tensor<1>, TrainError> {
        let x0 = Key::of(self.seed, RandomStream::ValidationNoise).normal_tensor(
            &batch.indices,
            [0, batch.shape.numel()],
            device,
        );
        let condition = Condition::classes(&batch.classes, device);
        Ok(Self::squared(network, batch, x0, times, &condition, &Pass::Infer, device))
    }

    fn identity(&self) -> (String, String) {
        (r#"{"type":"linear"}"#.to_string(), r#"{"type":"velocity"}"#.to_string())
    }

    fn network<'m>(&self, module: &'m M) -> Option<&'m dyn Network<2>> {
        Some(module)
    }
}

/// Ten images, each a constant of its class, in an order that depends on the counter.
pub struct TinySource {
    /// Samples per part.
    pub batch: usize,
    /// Counter of the next sample.
    pub next: u64,
    /// From this counter on, one value of each sample is NaN.
    pub poison: u64,
}

impl TinySource {
    /// A healthy source.
    pub fn new(batch: usize) -> Self {
        Self { batch, next: 0, poison: u64::MAX }
    }
}

impl Source for TinySource {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.next = images;
        Ok(())
    }

    fn next(&mut self) -> Result<Batch, TrainError> {
        let indices: Vec<u64> = (self.next..self.next + self.batch as u64).collect();
        self.next += self.batch as u64;
        let order = Key::new(0, Purpose::Order);
        let classes: Vec<i64> = indices.iter().map(|i| (order.uniform(*i) * 10.0) as i64).collect();
        let mut x1: Vec<f32> = classes.iter().flat_map(|c| [*c as f32 / 5.0 - 0.9; 4]).collect();
        for (i, index) in indices.iter().enumerate().filter(|(_, index)| **index >= self.poison) {
            x1[4 * i + (*index % 4) as usize] = f32::NAN;
        }
        let places = classes.iter().map(|c| *c as u64).collect();
        Ok(Batch { classes, places, ..Batch::new(x1, [1, 2, 2].into(), indices) })
    }

    fn fingerprint(&self) -> String {
        "tiny".to_string()
    }
}

/// Bits of flat tensors, for exact comparison.
pub fn bits(values: &[Tensor<1>]) -> Vec<Vec<u32>> {
    let list = |v: &Tensor<1>| v.clone().into_data().iter::<f32>().map(f32::to_bits).collect();
    values.iter().map(list).collect()
}
