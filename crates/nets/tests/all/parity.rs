//! The networks compute what PyTorch does with the same weights. Weights follow a formula of their names, so that
//! a wrong name, layout, order of halves or head split shows; `parity.py` beside this file prints the numbers.

use base::{Condition, Device, NULL_CLASS, Network, Pass, Tensor, TensorData, Tokens};
use nets::weights::{ParamMap, map_named};
use nets::{ConditionConfig, DitConfig, Net, NetConfig, Resampling, UnetConfig};

/// 0.15 sin(1.7 i + sum of the name's bytes); one more for weights of rank one (norms).
struct Formula;

impl ParamMap for Formula {
    fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
        let phase = f64::from(name.bytes().map(u32::from).sum::<u32>());
        let base = if D == 1 && name.ends_with("weight") { 1.0 } else { 0.0 };
        let value = |i: usize| (base + 0.15 * (1.7 * i as f64 + phase).sin()) as f32;
        let values: Vec<f32> = (0..tensor.shape().num_elements()).map(value).collect();
        Tensor::from_data(TensorData::new(values, tensor.dims()), &tensor.device())
    }
}

fn ramp<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| (0.37 * i as f64).sin() as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn output(config: NetConfig, shape: [usize; 3], mut condition: Condition) -> Vec<f32> {
    let device = Device::flex();
    let net: Net = map_named(config.init(0, shape, 3, &device).unwrap(), &mut Formula);
    condition.class = Condition::classes(&[1, NULL_CLASS], &device).class;
    let t = Tensor::<1>::from_floats([0.25, 0.8], &device);
    let x = ramp([2, shape.iter().product()]);
    net.predict(x, t, &condition, &Pass::Infer).into_data().try_to_vec().unwrap()
}

fn assert_matches(got: &[f32], mean: f32, picked: [f32; 8]) {
    let step = got.len() / 8;
    let found: Vec<f32> = got.iter().step_by(step).copied().collect();
    // The numbers carry six digits; a time angle of 800 rad is uncertain by 3e-5 rad in f32.
    for (a, b) in found.iter().zip(picked) {
        assert!((a - b).abs() < 2e-5, "{found:?} against {picked:?}");
    }
    let absolute = got.iter().map(|v| v.abs()).sum::<f32>() / got.len() as f32;
    assert!((absolute - mean).abs() < 1e-5, "mean {absolute} against {mean}");
}

#[test]
fn the_unet_computes_what_pytorch_does() {
    let config = UnetConfig {
        channels: 8,
        attention: vec![2],
        heads: 2,
        groups: 4,
        resampling: Resampling::Residual {},
        ..UnetConfig::default()
    };
    let got = output(NetConfig::Unet(config), [1, 8, 4], Condition::none());
    let picked = [-0.135388, -0.342374, -0.914257, 0.158092, -0.138086, 0.617785, 0.230572, -0.395407];
    assert_matches(&got, 0.449507, picked);
}

#[test]
fn the_dit_computes_what_pytorch_does() {
    let config = DitConfig {
        patch: 2,
        width: 16,
        depth: 2,
        heads: 2,
        mlp_ratio: 2,
        condition: ConditionConfig { tokens: 3, ..ConditionConfig::default() },
        ..DitConfig::default()
    };
    let mask = Tensor::<2>::from_floats([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]], &Device::flex()).greater_elem(0.5);
    let tokens = Some(Tokens { embedding: ramp([2, 3, 3]), mask });
    let got = output(NetConfig::Dit(config), [2, 4, 6], Condition { tokens, ..Condition::none() });
    let picked = [-0.337004, -0.188330, 0.103993, 0.147292, -0.252866, -0.237323, 0.086639, 0.208787];
    assert_matches(&got, 0.247908, picked);
}
