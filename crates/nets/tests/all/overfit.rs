//! Each network learns a handful of targets by heart: the whole of it is connected, and its gradients point downhill.

use base::{Condition, Device, Key, Network, Pass, Purpose, Shape, Tensor};
use burn::module::Module;
use kernels::adamw::{AdamW, step};
use nets::weights::{GradientMap, map_gradients};
use nets::{ConditionConfig, DitConfig, JointDitConfig, MlpConfig, NetConfig, UnetConfig};
use std::collections::HashMap;

/// AdamW over flat parameters.
struct Adam {
    rate: f64,
    step: u64,
    moments: HashMap<String, (Tensor<1>, Tensor<1>)>,
}

impl GradientMap for Adam {
    fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>, gradient: Option<Tensor<D>>) -> Tensor<D> {
        let Some(gradient) = gradient else { return tensor };
        let shape = tensor.dims();
        let flat: Tensor<1> = tensor.flatten(0, D - 1);
        let (m, v) = self.moments.remove(name).unwrap_or_else(|| (flat.zeros_like(), flat.zeros_like()));
        let (flat, m, v) = step(&AdamW::default(), self.rate, self.step, 1.0, flat, gradient.flatten(0, D - 1), m, v);
        self.moments.insert(name.to_owned(), (m, v));
        flat.reshape(shape)
    }
}

/// Loss at the first and after the last of `steps` steps on eight fixed points of eight straight lines.
fn train(config: NetConfig, shape: Shape, rate: f64, steps: u64) -> (f32, f32) {
    let device = Device::flex();
    let mut net = config.init(3, shape, 2, &device).unwrap().train();
    let indices: Vec<u64> = (0..8).collect();
    let x0 = Key::new(1, Purpose::Noise).normal_tensor(&indices, [8, shape.numel()], &device);
    // Data of two classes, so that the class is worth knowing.
    let classes: Vec<i64> = (0..8).map(|i| i % 2).collect();
    let condition = Condition::classes(&classes, &device);
    let sign = condition.class.clone().unwrap().float().reshape([8, 1]) * 2.0 - 1.0;
    let target = sign - x0.clone();
    let times: Vec<f32> = (0..8).map(|i| i as f32 / 8.0).collect();
    let t = Tensor::<1>::from_floats(times.as_slice(), &device);
    let xt = x0 + target.clone() * t.clone().reshape([8, 1]);

    let mut adam = Adam { rate, step: 0, moments: HashMap::new() };
    let loss = |net: &nets::Net| {
        let v = net.predict(xt.clone(), t.clone(), &condition, &Pass::Infer);
        (v - target.clone()).square().mean()
    };
    let first = loss(&net).into_scalar::<f32>();
    for _ in 0..steps {
        let mut gradients = loss(&net).backward();
        adam.step += 1;
        net = map_gradients(net, &mut gradients, &mut adam);
    }
    (first, loss(&net.valid()).into_scalar::<f32>())
}

fn assert_learns(config: NetConfig, shape: impl Into<Shape>, rate: f64, steps: u64) {
    let name = config.name();
    let (first, last) = train(config, shape.into(), rate, steps);
    assert!(last * 10.0 < first, "{name}: {first} to {last}");
}

#[test]
fn the_mlp_learns_eight_points_by_heart() {
    assert_learns(NetConfig::Mlp(MlpConfig { width: 64, ..MlpConfig::default() }), [2], 1e-2, 150);
}

#[test]
fn the_unet_learns_eight_images_by_heart() {
    let config = UnetConfig { channels: 16, attention: vec![2], ..UnetConfig::default() };
    assert_learns(NetConfig::Unet(config), [1, 8, 8], 5e-3, 60);
}

#[test]
fn the_dit_learns_eight_images_by_heart() {
    let config = DitConfig { patch: 2, width: 64, depth: 2, heads: 2, ..DitConfig::default() };
    assert_learns(NetConfig::Dit(config), [1, 8, 8], 3e-3, 100);
}

#[test]
fn the_mmdit_learns_eight_images_by_heart() {
    let condition = ConditionConfig { tokens: 5, ..ConditionConfig::default() };
    let config = JointDitConfig { patch: 2, width: 64, depth: 2, heads: 2, condition, ..JointDitConfig::default() };
    assert_learns(NetConfig::Mmdit(config), [1, 8, 8], 3e-3, 100);
}
