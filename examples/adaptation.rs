//! Domain adaptation: a flow carries features of images in one style to features of another, and the classifier stays as it is
//! (Liu et al. 2022, arXiv:2209.03003, section 3.4). `cargo run --release --example adaptation [-- IMAGES [CLASSIFIER FROM TO SIZE]]`
//!
//! No image of the new style has a partner or a class. Without arguments: Fashion-MNIST, and as a poor camera sees it.
//! Pairs made at random carry features to the right law and lose the classes on the way; optimal transport keeps them.

use rectiflow::base::{Condition, Device, Tensor, TensorData};
use rectiflow::data::{DataConfig, Split};
use rectiflow::flow::{Coupling, Objective, PathField, ScheduleConfig, Solver, solve};
use rectiflow::metrics::{Matrix, class_accuracy, classifier::Classifier, coral};
use rectiflow::nets::{MlpConfig, NetConfig};
use rectiflow::train::{FlowTask, Origin, Rows, Setup, TrainConfig};
use rectiflow::{data, flow, train};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A poor camera in a shaking hand: every pixel the mean of five in a row, at half the contrast.
fn poor(images: &[f32]) -> Vec<f32> {
    let blurred = images.windows(5).map(|near| near.iter().sum::<f32>() * 0.1);
    blurred.chain([-0.5; 4]).collect()
}

fn main() -> Result<(), Failure> {
    let device = Device::flex();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let named = |name: &String, size: &String| DataConfig { size: size.parse().ok(), ..DataConfig::named(name) };
    let images = args.first().map_or(Ok(150_000), |images| images.parse())?;
    let (judge, from, to) = match &args[..] {
        [_, file, from, to, size] => (Classifier::load(file.as_ref(), &device)?, named(from, size), named(to, size)),
        _ => (Classifier::fashion_mnist(&device)?, DataConfig::default(), DataConfig::default()),
    };
    let read = |config: &DataConfig, split: Split, skip: usize, new: bool| -> Result<(Matrix, Vec<i64>), Failure> {
        let set = data::open(&config.with_split(split))?;
        let batch = data::gather(&*set, &(skip..set.len().min(skip + 2000)).collect::<Vec<_>>())?;
        let images = if new && args.len() < 2 { poor(&batch.rows) } else { batch.rows };
        let [c, h, w] = batch.shape.image()?;
        Ok((judge.run(&images, [batch.labels.len(), c, h, w])?.0, batch.labels))
    };
    // Other images in the one style than in the other.
    let (home, away) = (read(&to, Split::Train, 0, false)?.0, read(&from, Split::Train, 1000, true)?.0);
    let ((test, labels), (easy, truth)) = (read(&from, Split::Test, 0, true)?, read(&to, Split::Test, 0, false)?);

    let d = home.columns();
    let carried = |coupling: Coupling| -> Result<Matrix, Failure> {
        let config = TrainConfig { images, batch: 256, validate_every: 0, ..Default::default() };
        let (objective, origin) = (Objective::default(), Origin::Data);
        let task = FlowTask { objective, origin, coupling, condition_dropout: 0.0, conditional: false, seed: 0 };
        let net = NetConfig::Mlp(MlpConfig { width: 256, ..Default::default() }).init(0, [d], 0, &device)?;
        let mut features = Rows::between(away.data().to_vec(), home.data().to_vec(), [d], 256, 0);
        let net = train::train(net, Setup::new(&config, &task, &mut features), &mut ())?.state.sampler();
        let field = PathField::new(&net, flow::Path::Linear {}, Default::default());
        let x = Tensor::<2>::from_data(TensorData::new(test.data().to_vec(), [test.rows(), d]), &device);
        let steps = ScheduleConfig::Uniform {}.build(100)?;
        let end = solve(&field, x, &Condition::none(), &Solver::Euler {}, &steps, None)?.x.into_data();
        Ok(Matrix::new(end.iter::<f32>().collect(), test.rows(), d)?)
    };
    let transport = Coupling::OptimalTransport { condition_weight: 0.0, within_class: false };

    let say = |what: &str, features: &Matrix, labels: &[i64]| -> Result<(), Failure> {
        let accuracy = class_accuracy(&judge.head(features)?, labels)?.overall;
        println!("{what:<36} {:5.1} % of {}", 100.0 * accuracy, labels.len());
        Ok(())
    };
    say("the style it was trained on", &easy, &truth)?;
    say("the new style, as it is", &test, &labels)?;
    say("mean and covariance aligned (CORAL)", &coral(&away, &home, &test, 1e-3)?, &labels)?;
    say("carried by a flow, independent pairs", &carried(Coupling::Independent {})?, &labels)?;
    say("carried by a flow, optimal transport", &carried(transport)?, &labels)
}
