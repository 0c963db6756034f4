//! Reflow where everything is known: eight Gaussians on a ring, whose exact rectified flow is the teacher.
//!
//! The teacher's paths bend; a small network trained on its end points has straight ones, so one step lands where many do
//! (Liu et al. 2022, arXiv:2209.03003). `cargo run --release --example reflow_toy`

use rectiflow::base::{Condition, Device, Key, Purpose};
use rectiflow::flow::{Coupling, Field, Objective, Path, PathField, ScheduleConfig, Solver, diagnostics, exact};
use rectiflow::nets::{MlpConfig, NetConfig};
use rectiflow::train::{FlowTask, Rows, Setup, TrainConfig};
use rectiflow::{methods, train};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let device = Device::flex();
    let teacher = exact::MixtureField::new(Path::Linear {}, exact::Mixture::ring(8, 4.0, 0.3)?)?;

    // 1. Pairs: noise and where the exact flow carries it.
    let (mut x0, mut x1) = (Vec::new(), Vec::new());
    let config = methods::PairsConfig { batch: 2000, ..Default::default() };
    let mut sink = |chunk: methods::PairChunk<2>| {
        x0.extend(chunk.x0.into_data().iter::<f32>());
        x1.extend(chunk.x1.into_data().iter::<f32>());
        Ok(())
    };
    let none = methods::Labels::None {};
    methods::pairs::generate(&teacher, [0, 2], &none, &config, 0..4000, &device, &mut sink)?;

    // 2. A student trained on them, and on nothing else.
    let objective = Objective::default();
    let train_config = TrainConfig { images: 400_000, batch: 256, validate_every: 0, ..Default::default() };
    let (coupling, origin) = (Coupling::Stored {}, train::Origin::Noise);
    let task = FlowTask { objective, origin, coupling, condition_dropout: 0.0, conditional: false, seed: 0 };
    let net = NetConfig::Mlp(MlpConfig::default()).init(0, [2], 0, &device)?;
    let mut pairs = Rows::pairs(x0, x1, [2], 256);
    let setup = Setup::new(&train_config, &task, &mut pairs);
    let net = train::train(net, setup, &mut ())?.state.sampler();
    let student = PathField::new(&net, Path::Linear {}, Default::default());

    // 3. Straightness and the error of one step, before and after.
    let noise = Key::new(9, Purpose::Noise).normal_tensor(&(0..1000).collect::<Vec<_>>(), [0, 2], &device);
    let measure = |field: &dyn Field<2>| -> Result<(f64, f64), Failure> {
        let (many, one) = (ScheduleConfig::Uniform {}.build(100)?, ScheduleConfig::Uniform {}.build(1)?);
        let (euler, none) = (Solver::Euler {}, Condition::none());
        let solved = diagnostics::straightness(field, noise.clone(), &none, &euler, &many)?;
        let error = diagnostics::step_error(field, noise.clone(), &none, &euler, &one, &solved.x)?;
        Ok((diagnostics::mean(&solved.per_sample), diagnostics::mean(&error)))
    };
    let (before, after) = (measure(&teacher)?, measure(&student)?);
    println!("straightness S        {:.4} -> {:.4}  ({:.0} times smaller)", before.0, after.0, before.0 / after.0);
    println!("|one step - many|²    {:.4} -> {:.4}  ({:.0} times smaller)", before.1, after.1, before.1 / after.1);
    assert!(before.0 / after.0 > 5.0, "reflow straightens");
    Ok(())
}
