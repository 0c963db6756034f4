//! TripoSG's networks against the reference beside the fixture, on random weights, and what is refused.

use super::*;
use crate::weights::{Stored, TensorSource};
use base::{Device, Tensor, TensorData, Times};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn fixture(place: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/triposg_tiny").join(place)
}

fn part(name: &str) -> Stored {
    Stored::in_folder(&fixture(name), "diffusion_pytorch_model").unwrap()
}

fn golden(name: &str) -> Tensor<3> {
    let golden = Stored::open(&fixture("golden.safetensors")).unwrap();
    let shape = golden.shape(name).unwrap();
    let shape: [usize; 3] = if shape.len() == 2 { [1, shape[0], shape[1]] } else { shape.try_into().unwrap() };
    Tensor::from_data(TensorData::new(golden.read(name).unwrap(), shape), &Device::flex())
}

fn far<const D: usize, const E: usize>(a: Tensor<D>, b: Tensor<E>) -> f32 {
    let [a, b]: [Vec<f32>; 2] = [a.into_data().try_to_vec().unwrap(), b.into_data().try_to_vec().unwrap()];
    assert_eq!(a.len(), b.len());
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The flow says what the project's own reference says (`fixtures/triposg_tiny/reference.py`, PyTorch in f64), to 2e-5: with a picture's tokens
/// and with zeros.
///
/// Mutants: `to_q` taken for the queries; the skip after the input; the norm before the linear; skips first in, first out; cosines before sines;
/// the time not times 1000, or 1000 t; the sign turned; the GELU by tanh; a query unnormalised.
#[test]
fn the_flow_says_what_the_reference_says() {
    let net = TripoSgConfig::default().load(&part("transformer"), &Device::flex()).unwrap();
    let (x, heard, t) = (golden("noise"), golden("heard"), Times::all(0.65, 1));
    assert_eq!((net.channels(), net.width(), net.heard(), net.blocks.len()), (4, 16, 12, 5));
    let seen = far(net.velocity(x.clone(), &t, heard.clone()), golden("velocity"));
    let blind = far(net.velocity(x, &t, heard * 0.0), golden("blind"));
    assert!(seen < 2e-5 && blind < 2e-5, "{seen} {blind}");
}

/// The same of both halves of the autoencoder; the field has this project's sign.
///
/// Mutants: heads of 2d/h numbers taken for keys and values one after the other; the looked-at set unnormalised; normals before points; the sign of
/// the field that is handed on; logarithms of variances not bounded.
#[test]
fn the_autoencoder_says_what_the_reference_says() {
    let config = TripoSgVaeConfig { num_attention_heads: 2 };
    let net = config.decoder(&part("vae"), &Device::flex()).unwrap();
    let said = net.prepare(golden("latents")).unwrap();
    let field = far(net.field(&said, golden("points")), -golden("field"));
    assert!(field < 2e-5, "{field}");
    let net = config.encoder(&part("vae"), &Device::flex()).unwrap();
    let cloud = golden("cloud");
    let moments = net.forward(cloud.clone(), cloud.clone().narrow(1, 0, 5));
    let (mean, variance) = (far(moments.mean, golden("mean")), far(moments.log_variance, golden("log_variance")));
    assert!(mean < 2e-5 && variance < 2e-5, "{mean} {variance}");
    for (bias, bound) in [(100.0, 20.0), (-100.0, -30.0)] {
        let mut tensors = copy("vae");
        tensors.insert("quant.bias".into(), (vec![8], vec![bias; 8]));
        let moments = config.encoder(&tensors, &Device::flex()).unwrap().forward(cloud.clone(), cloud.clone());
        let held: Vec<f32> = moments.log_variance.into_data().try_to_vec().unwrap();
        assert!(held.iter().all(|value| *value == bound), "{bias}");
    }
}

/// A part of the fixture, to be changed.
fn copy(name: &str) -> Tensors {
    let source = part(name);
    source.names().into_iter().map(|n| (n.clone(), (source.shape(&n).unwrap(), source.read(&n).unwrap()))).collect()
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// What a file lacks, has too much of, or means otherwise is told by name. Mutants: unknown tensors let through; heads of the configuration
/// believed against the norms'.
#[test]
fn what_does_not_fit_is_refused_by_name() {
    let device = Device::flex();
    let flow = |change: &dyn Fn(&mut Tensors), config: TripoSgConfig| {
        let mut tensors = copy("transformer");
        change(&mut tensors);
        config.load(&tensors, &device).err().unwrap().to_string()
    };
    let own = TripoSgConfig::default;
    let gone = |name: &'static str| flow(&|tensors| drop(tensors.remove(name)), own());
    assert!(gone("blocks.4.skip_norm.bias").contains("blocks.4.skip_norm.bias"));
    let odd = |tensors: &mut Tensors| drop(tensors.insert("proj_in.weight".into(), (vec![15, 4], vec![0.0; 60])));
    assert!(flow(&odd, own()).contains("15 features"));
    assert!(gone("proj_in.weight").contains("proj_in.weight"));
    assert!(gone("blocks.0.attn1.norm_q.weight").contains("norm_q"));
    let more = |tensors: &mut Tensors| drop(tensors.insert("blocks.0.attn3.x".into(), (vec![1], vec![0.0])));
    assert!(flow(&more, own()).contains("blocks.0.attn3.x"));
    let long = |tensors: &mut Tensors| drop(tensors.insert("blocks.5.x".into(), (vec![1], vec![0.0])));
    assert!(flow(&long, own()).contains("6 blocks"));
    assert!(flow(&|_| (), TripoSgConfig { num_attention_heads: Some(4) }).contains("num_attention_heads is 4"));
    let mut tensors = copy("vae");
    tensors.insert("decoder.proj_query.weight".into(), (vec![24, 27], vec![0.0; 24 * 27]));
    let vae = TripoSgVaeConfig { num_attention_heads: 2 };
    assert!(vae.decoder(&tensors, &device).err().unwrap().to_string().contains("27 numbers"));
    let three = TripoSgVaeConfig { num_attention_heads: 5 };
    assert!(three.encoder(&part("vae"), &device).err().unwrap().to_string().contains("num_attention_heads is 5"));
}
