//! DINOv2 against transformers' own numbers on random weights, and what is refused.

use super::*;
use crate::published;
use crate::weights::Stored;
use std::path::{Path, PathBuf};

fn fixture(place: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/triposg_tiny").join(place)
}

fn open(folder: &str) -> (Dinov2Config, Dinov2) {
    let json = std::fs::read(fixture(folder).join("config.json")).unwrap();
    let (config, unknown) = published::read::<Dinov2Config>(&json).unwrap();
    assert_eq!(unknown, [""; 0]);
    let source = Stored::in_folder(&fixture(folder), "model").unwrap();
    let net = config.load(&source, &Device::flex()).unwrap();
    (config, net)
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec().unwrap()
}

/// The golden picture `name`, what is said of it, and how far that is from the reference.
fn apart(folder: &str, [name, heard]: [&str; 2]) -> f32 {
    let golden = Stored::open(&fixture("golden.safetensors")).unwrap();
    let shape: [usize; 4] = golden.shape(name).unwrap().try_into().unwrap();
    let picture = Tensor::from_data(TensorData::new(golden.read(name).unwrap(), shape), &Device::flex());
    let (config, net) = open(folder);
    let said = net.forward(picture);
    assert_eq!(said.dims()[1], 1 + (shape[2] / config.patch_size) * (shape[3] / config.patch_size));
    let wanted = golden.read(heard).unwrap();
    values(said).iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// transformers' `Dinov2Model` says the same to 1e-5: of a square whose places are interpolated from 5x5 to 4x4, and of one with gated
/// perceptrons, no biases in its attention, and a picture of 4x6 patches that has a rim.
///
/// Mutants: PyTorch's antialiased kernel (a = -0.5); corners aligned; columns of patches before rows; the whole without its place; a
/// scale left out; gate and value exchanged; the last norm left out.
#[test]
fn dinov2_says_what_transformers_says() {
    let plain = apart("image_encoder_dinov2", ["pixels", "heard"]);
    let gated = apart("swiglu", ["wide", "wide_heard"]);
    assert!(plain < 1e-5 && gated < 1e-5, "{plain} {gated}");
}

/// Every tensor has a place, and sizes that cannot be built are refused by name.
#[test]
fn what_does_not_fit_is_refused_by_name() {
    let source = Stored::in_folder(&fixture("image_encoder_dinov2"), "model").unwrap();
    let (config, _) = open("image_encoder_dinov2");
    let load = |config: Dinov2Config| config.load(&source, &Device::flex()).err().unwrap().to_string();
    assert!(load(Dinov2Config { num_hidden_layers: 3, ..config.clone() }).contains("encoder.layer.2"));
    assert!(load(Dinov2Config { num_hidden_layers: 1, ..config.clone() }).contains("encoder.layer.1"));
    assert!(load(Dinov2Config { image_size: 98, ..config.clone() }).contains("position_embeddings"));
    assert!(load(Dinov2Config { num_attention_heads: 5, ..config.clone() }).contains("num_attention_heads"));
    assert!(load(Dinov2Config { hidden_act: "relu".into(), ..config.clone() }).contains("hidden_act"));
    assert!(load(Dinov2Config { mlp_ratio: f64::NAN, ..config }).contains("mlp_ratio"));
}
