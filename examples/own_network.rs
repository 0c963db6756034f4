//! A network and a field that this crate has never seen: `cargo run --release --example own_network`.
//!
//! The network is three hundred random waves and what is learned of them; the engine trains it as it trains its own. The field pulls what
//! the network says towards one side, and every solver follows it.

use rectiflow::{
    base::{Condition, Device, Key, Network, Pass, Purpose, Tensor, Times},
    burn::{
        self,
        module::{Module, Param},
    },
    flow::{Coupling, Field, Objective, Path, PathField, ScheduleConfig, Solver, solve},
    train::{self, FlowTask, Origin, Rows, Setup, TrainConfig},
};

/// `cos(x W + t f + b) U`, with `U` alone learned.
#[derive(Module, Debug)]
struct Waves {
    w: Tensor<2>,
    f: Tensor<2>,
    b: Tensor<2>,
    u: Param<Tensor<2>>,
}

const WAVES: usize = 300;

impl Waves {
    fn new(device: &Device) -> Self {
        let key = Key::new(5, Purpose::Init);
        let normal =
            |stream: u64, rows: u64| key.fold(stream).normal_tensor(&(0..rows).collect::<Vec<_>>(), [0, WAVES], device);
        let u = Param::from_tensor(Tensor::zeros([WAVES, 2], device));
        Self { w: normal(0, 2), f: normal(1, 1) * 2.0, b: normal(2, 1) * 3.0, u }
    }
}

impl Network<2> for Waves {
    fn predict(&self, x: Tensor<2>, t: Tensor<1>, _: &Condition, _: &Pass) -> Tensor<2> {
        let t = t.reshape([-1, 1]);
        (x.matmul(self.w.clone()) + t.matmul(self.f.clone()) + self.b.clone()).cos().matmul(self.u.val())
    }
}

/// Another field, and a push to the right that fades.
struct Pushed<F>(F);

impl<F: Field<2>> Field<2> for Pushed<F> {
    fn velocity(&self, x: Tensor<2>, t: &Times, condition: &Condition) -> Tensor<2> {
        let device = x.device();
        let push = t.column::<2>(|t| 2.0 * (1.0 - t), &device).matmul(Tensor::from_floats([[1.0, 0.0]], &device));
        self.0.velocity(x, t, condition) + push
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::flex();
    // Data: a ring of radius 2.
    let angle = |i: u64| std::f32::consts::TAU * Key::new(1, Purpose::Noise).uniform(i) as f32;
    let ring = (0..4000).flat_map(|i| [2.0 * angle(i).cos(), 2.0 * angle(i).sin()]).collect();

    let config = TrainConfig { images: 200_000, batch: 256, validate_every: 0, ..Default::default() };
    let task = FlowTask {
        objective: Objective::default(),
        coupling: Coupling::Independent {},
        origin: Origin::Noise,
        condition_dropout: 0.0,
        conditional: false,
        seed: 0,
    };
    let mut rows = Rows::data(ring, [2], 256, 0);
    let net = train::train(Waves::new(&device), Setup::new(&config, &task, &mut rows), &mut ())?.state.sampler();

    let x0 = Key::new(9, Purpose::Noise).normal_tensor(&(0..500).collect::<Vec<_>>(), [0, 2], &device);
    let schedule = ScheduleConfig::Uniform {}.build(30)?;
    let field = PathField::new(&net, Path::Linear {}, Default::default());
    let plain = solve(&field, x0.clone(), &Condition::none(), &Solver::Heun {}, &schedule, None)?.x;
    let pushed = solve(&Pushed(field), x0, &Condition::none(), &Solver::Heun {}, &schedule, None)?.x;
    for (name, x) in [("ring", plain), ("pushed", pushed)] {
        let radius: f32 = x.clone().powf_scalar(2.0).sum_dim(1).sqrt().mean().into_scalar();
        println!(
            "{name:<8} mean {:.2?}, radius {radius:.2}",
            x.mean_dim(0).into_data().iter::<f32>().collect::<Vec<_>>()
        );
    }
    Ok(())
}
