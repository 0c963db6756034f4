//! Names, strict loading, and parameters that stay leaves of the gradient tape.

use base::{Condition, Device, Network, Pass, Tensor};
use burn::module::{Module, list_param_ids};
use nets::weights::{GradientMap, ParamVisit, Strict, load, map_gradients, named_shapes, named_tensors, visit_named};
use nets::{MlpConfig, NetConfig, NetsError, UnetConfig};
use std::collections::BTreeMap;

type Store = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn store<M: Module>(module: &M) -> Store {
    named_tensors(module).into_iter().map(|(name, shape, values)| (name, (shape, values))).collect()
}

fn unet() -> NetConfig {
    NetConfig::Unet(UnetConfig { channels: 8, groups: 4, ..UnetConfig::default() })
}

#[test]
fn names_are_field_paths_without_variants() {
    let net = unet().init(1, [1, 8, 8], 2, &Device::flex()).unwrap();
    let shapes: BTreeMap<_, _> = named_shapes(&net).into_iter().collect();
    for (name, shape) in [
        ("conv_in.weight", vec![8, 1, 3, 3]),
        ("conditioner.class_embedding.weight", vec![3, 32]),
        ("down_blocks.0.resample.conv.bias", vec![8]),
        ("mid_block.resnets.1.time_emb_proj.weight", vec![32, 32]),
        ("up_blocks.1.resnets.0.conv_shortcut.weight", vec![8, 24, 1, 1]),
    ] {
        assert_eq!(shapes.get(name), Some(&shape), "{name} in {:?}", shapes.keys());
    }
    assert_eq!(shapes.len(), list_param_ids(&net).len(), "names repeat");
}

#[test]
fn a_round_trip_restores_every_bit_and_strictness_names_the_culprits() {
    let device = Device::flex();
    let net = unet().init(1, [1, 8, 8], 2, &device).unwrap();
    let good = store(&net);
    let other = || unet().init(2, [1, 8, 8], 2, &device).unwrap();
    assert_ne!(named_tensors(&other()), named_tensors(&net));
    assert_eq!(named_tensors(&load(other(), &good, Strict::Exact).unwrap()), named_tensors(&net));

    let mut bad = good.clone();
    let removed = bad.remove("conv_in.weight").unwrap();
    bad.insert("conv_inn.weight".into(), removed);
    bad.insert("conv_out.bias".into(), (vec![2], vec![0.0; 2]));
    let error = load(other(), &bad, Strict::Exact).unwrap_err();
    let message = error.to_string();
    let NetsError::Weights(mismatch) = error else { panic!("{message}") };
    assert_eq!(mismatch.missing, ["conv_in.weight"]);
    assert_eq!(mismatch.unexpected, ["conv_inn.weight"]);
    assert_eq!(mismatch.shapes, [("conv_out.bias".to_owned(), vec![1], vec![2])]);
    assert!(
        message.contains("1 missing: `conv_in.weight`") && message.contains("expected [1], found [2]"),
        "{message}"
    );

    let mut extra = good.clone();
    extra.insert("position_ids".into(), (vec![1], vec![0.0]));
    assert!(load(other(), &extra, Strict::Exact).is_err());
    assert!(load(other(), &extra, Strict::AllowUnexpected).is_ok());

    let nothing = Store::new();
    let message = load(other(), &nothing, Strict::Exact).unwrap_err().to_string();
    assert!(message.matches('`').count() == 10 && message.contains("..."), "lists five and counts the rest: {message}");

    let mut short = good;
    short.get_mut("conv_in.bias").unwrap().1.pop();
    assert!(load(other(), &short, Strict::Exact).unwrap_err().to_string().contains("conv_in.bias"));
}

#[test]
fn safetensors_of_every_float_type_load() {
    use safetensors::{Dtype, SafeTensors, tensor::TensorView};
    let config = MlpConfig { width: 4, depth: 0, ..MlpConfig::default() };
    let net = config.init(1, 2, 0, &Device::flex()).unwrap();
    let mut parts = Vec::new();
    let types = [Dtype::F32, Dtype::F64, Dtype::BF16, Dtype::F16];
    for (i, (name, shape, values)) in named_tensors(&net).into_iter().enumerate() {
        let dtype = types[i % 4];
        // 0.5 is exact in all of them.
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|_| match dtype {
                Dtype::F32 => 0.5f32.to_le_bytes().to_vec(),
                Dtype::F64 => 0.5f64.to_le_bytes().to_vec(),
                Dtype::BF16 => 0x3f00u16.to_le_bytes().to_vec(),
                _ => 0x3800u16.to_le_bytes().to_vec(),
            })
            .collect();
        parts.push((format!("ema.{name}"), dtype, shape, bytes));
    }
    let views = parts
        .iter()
        .map(|(name, dtype, shape, bytes)| (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    let file = safetensors::serialize(views, None).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let loaded = load(net, &nets::weights::Prefixed::new(&tensors, "ema."), Strict::Exact).unwrap();
    assert!(named_tensors(&loaded).iter().all(|(_, _, values)| values.iter().all(|&v| v == 0.5)));
}

/// Plain gradient descent.
struct Descent(f64);
impl GradientMap for Descent {
    fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>, gradient: Option<Tensor<D>>) -> Tensor<D> {
        assert!(!tensor.is_autodiff(), "{name} is on the tape");
        let gradient = gradient.unwrap_or_else(|| panic!("{name} has no gradient"));
        tensor - gradient * self.0
    }
}

#[test]
fn parameters_remain_leaves_with_their_identity_after_steps_loads_and_moves() {
    let plain = Device::flex();
    let config = MlpConfig { width: 8, depth: 1, ..MlpConfig::default() };
    let mut net = config.init(1, 2, 0, &plain).unwrap().train();
    let ids = list_param_ids(&net);
    let x = Tensor::<2>::from_floats([[0.3, -0.2]], &plain);
    let t = Tensor::<1>::from_floats([0.5], &plain);
    let mut losses = vec![];
    for step in 0..3 {
        let loss = net.predict(x.clone(), t.clone(), &Condition::none(), &Pass::Infer).square().sum();
        losses.push(loss.clone().inner().into_scalar::<f32>());
        let mut gradients = loss.backward();
        net = map_gradients(net, &mut gradients, &mut Descent(0.05));
        if step == 1 {
            let saved = store(&net);
            net = load(net, &saved, Strict::Exact).unwrap();
        }
    }
    assert!(losses[2] < losses[1] && losses[1] < losses[0], "{losses:?}");
    assert_eq!(list_param_ids(&net), ids);

    struct Leaves(bool);
    impl ParamVisit for Leaves {
        fn visit<const D: usize>(&mut self, name: &str, tensor: &Tensor<D>) {
            assert_eq!(tensor.is_require_grad(), self.0, "{name}");
            assert_eq!(tensor.is_autodiff(), self.0, "{name}");
        }
    }
    visit_named(&net, &mut Leaves(true));
    let valid = net.valid();
    visit_named(&valid, &mut Leaves(false));
    visit_named(&load(valid.clone(), &store(&net), Strict::Exact).unwrap().train(), &mut Leaves(true));
    assert_eq!(named_tensors(&valid), named_tensors(&net));
}
