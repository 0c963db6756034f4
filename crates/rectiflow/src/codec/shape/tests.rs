//! A ball is learned and comes back; a sample's loss is its own; nonsense is refused.

use super::{
    super::Learned,
    field::{distances, encode, prepare, surface},
    *,
};
use crate::host::host;
use media::shape::{
    record::{Record, of_solid},
    solid::Kind,
};
use train::{Batch, Live, OptimConfig, Rows, Setup, Task, TrainConfig};

fn config() -> ShapeConfig {
    let network = ShapeCodecConfig {
        encoder_width: 32,
        encoder_depth: 1,
        decoder_width: 32,
        decoder_depth: 1,
        heads: 2,
        channels: 4,
        truncation: 0.25,
    };
    let points = Counts { surface: 256, near: 256, volume: 128 };
    ShapeConfig { network, tokens: 4, cloud: 64, on: 8, near: 32, points, ..ShapeConfig::default() }
}

fn batch(config: &ShapeConfig, kinds: &[Kind], indices: Vec<u64>) -> Batch {
    let rows = kinds.iter().flat_map(|kind| of_solid(&kind.draw(1, 0), config.points, 7)).collect();
    Batch::new(rows, config.sample(), indices)
}

/// Mutants: one place, or one noise, for the whole batch.
#[test]
fn a_samples_loss_does_not_depend_on_its_batch() {
    let (config, device) = (config(), Device::flex());
    let net = config.build(Some(3), &device).unwrap();
    let task = Learned(ShapeTask { config: config.clone(), seed: 5 });
    let losses = |kinds: &[Kind], indices: Vec<u64>| -> Vec<f32> {
        let loss = task.loss(&Live::plain(&net), &batch(&config, kinds, indices), &device).unwrap();
        loss.into_data().try_to_vec().unwrap()
    };
    let both = losses(&[Kind::Box, Kind::Torus], vec![3, 4]);
    let apart = [losses(&[Kind::Box], vec![3]), losses(&[Kind::Torus], vec![4])].concat();
    assert!(both.iter().zip(&apart).all(|(a, b)| (a - b).abs() < 1e-4), "{both:?} {apart:?}");
    let twice = losses(&[Kind::Box, Kind::Box], vec![3, 4]);
    assert!((twice[0] - twice[1]).abs() > 1e-4, "{twice:?}");
    let short = Batch::new(vec![0.0; 5], [5].into(), vec![0]);
    assert!(task.loss(&Live::plain(&net), &short, &device).is_err());
}

/// Mutants: a field positive inside; distances not divided by the truncation, or not multiplied back; inside and outside exchanged.
#[test]
fn a_ball_is_learned_and_its_surface_comes_back() {
    let error = learned(&config());
    assert!(error < 0.1, "{error}");
    let loss = ShapeWeights { normal: 0.0, eikonal: 0.0, ..ShapeWeights::default() };
    learned(&ShapeConfig { target: ShapeTarget::Occupancy, loss, ..config() });
}

/// Learns a ball, and sees that its surface comes back with the outside outside: how far the field is from the distance.
fn learned(config: &ShapeConfig) -> f64 {
    let device = Device::flex().autodiff();
    let ball = Kind::Sphere.draw(1, 0);
    let row = of_solid(&ball, config.points, 7);
    let task = Learned(ShapeTask { config: config.clone(), seed: 5 });
    let optim = OptimConfig { lr: 4e-3, warmup: 160, ..OptimConfig::default() };
    let training = TrainConfig { images: 1600, batch: 8, validate_every: 0, optim, ..TrainConfig::default() };
    let mut source = Rows::data(row.clone(), config.sample(), 8, 1);
    let net = config.build(Some(3), &device).unwrap();
    let outcome = train::train(net, Setup::new(&training, &task, &mut source), &mut ()).unwrap();
    let (net, device) = (outcome.state.sampler(), Device::flex());
    let tokens = host(encode(&net, config, &row, &device).unwrap()).unwrap();
    assert_eq!(tokens.len(), config.latent().numel());
    let record = Record::of(&row, config.points).unwrap();
    let places: Vec<Point> = record.volume.iter().map(|p| [0, 1, 2].map(|k| f64::from(p[k]))).collect();
    let said = distances(&net, config, &prepare(&net, config, &tokens, &device), &places).unwrap();
    let right = said.iter().zip(record.volume).filter(|(said, p)| (**said < 0.0) == (p[3] < 0.0)).count();
    assert!(right as f64 > 0.8 * said.len() as f64, "{right} of {}", said.len());
    let wanted = record.volume.iter().map(|p| f64::from(p[3]).clamp(-0.25, 0.25));
    let error = said.iter().zip(wanted).map(|(a, b)| (a - b).abs()).sum::<f64>() / said.len() as f64;
    let found = surface(&net, config, &tokens, 0.0, 5, &device).unwrap().mesh;
    assert!(found.volume() > 0.0, "{}", found.volume());
    error
}

#[test]
fn nonsense_is_refused_by_name() {
    for (wrong, key) in [
        (ShapeConfig { tokens: 65, ..config() }, "codec.tokens"),
        (ShapeConfig { cloud: 257, ..config() }, "codec.cloud"),
        (ShapeConfig { near: 0, ..config() }, "codec.near"),
        (ShapeConfig { step: 0.5, ..config() }, "codec.step"),
        (ShapeConfig { loss: ShapeWeights { kl: -1.0, ..ShapeWeights::default() }, ..config() }, "codec.loss.kl"),
        (ShapeConfig { target: ShapeTarget::Occupancy, ..config() }, "codec.loss.eikonal"),
    ] {
        assert!(wrong.check().unwrap_err().contains(key));
    }
    assert!(config().check().is_ok() && ShapeConfig::default().check().is_ok());
}
