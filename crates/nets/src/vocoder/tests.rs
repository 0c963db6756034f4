//! The vocoder against `transformers` (`fixtures/audio_tiny`), and files that do not fit.

use super::*;
use crate::weights::named_tensors;
use safetensors::SafeTensors;
use std::path::Path;

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/audio_tiny").join(name)).unwrap()
}

fn config() -> HifiGanConfig {
    serde_json::from_slice(&bytes("vocoder/config.json")).unwrap()
}

fn golden(name: &str) -> (Vec<usize>, Vec<f32>) {
    let file = bytes("golden.safetensors");
    let file = SafeTensors::deserialize(&file).unwrap();
    (TensorSource::shape(&file, name).unwrap(), file.read(name).unwrap())
}

fn picture(name: &str) -> Tensor<3> {
    let (shape, values) = golden(name);
    let [frames, bands] = [shape[shape.len() - 2], shape[shape.len() - 1]];
    Tensor::from_data(base::TensorData::new(values, [1, frames, bands]), &Device::flex())
}

/// Largest difference as a share of the loudest sample wanted.
fn apart(got: Tensor<2>, wanted: &str) -> f32 {
    let (shape, wanted) = golden(wanted);
    assert_eq!(got.dims().to_vec(), shape);
    let got: Vec<f32> = got.into_data().try_to_vec().unwrap();
    let loudest = wanted.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    got.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / loudest
}

/// Mutants: the slope 0.1 before the last convolution, a sum of the residual blocks instead of their mean, dilation left out.
#[test]
fn waveforms_are_those_of_transformers() {
    let file = bytes("vocoder/model.safetensors");
    let file = SafeTensors::deserialize(&file).unwrap();
    let vocoder = HifiGan::load(&config(), &file, &Device::flex()).unwrap();
    assert!(apart(vocoder.forward(picture("vae.output_mel")), "vocoder.wave") < 1e-4);
    assert!(apart(vocoder.forward(picture("vae.input")), "vocoder.wave_of_input_mel") < 1e-4);
    let normalising = HifiGanConfig { normalize_before: true, ..config() };
    let vocoder = HifiGan::load(&normalising, &file, &Device::flex()).unwrap();
    assert!(apart(vocoder.forward(picture("vae.input")), "vocoder.wave_normalize_before") < 1e-4);
}

/// U5 of FlowSep's specification: the strides multiply to the hop of 160; a window of 16 at stride 5 adds one sample.
#[test]
fn a_column_becomes_a_hop() {
    assert_eq!(HifiGanConfig::default().stride(), 160);
    let vocoder = HifiGan::new(&config(), 1, &Device::flex()).unwrap();
    for frames in [1, 7, 20] {
        let wave = vocoder.forward(Tensor::zeros([2, frames, 64], &Device::flex()));
        assert_eq!(wave.dims(), [2, 160 * frames + 32]);
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let refuse = |change: fn(&mut HifiGanConfig), key: &str| {
        let mut config = config();
        change(&mut config);
        let said = HifiGan::new(&config, 0, &Device::flex()).unwrap_err().to_string();
        assert!(said.contains(key), "{said}");
    };
    refuse(|c| c.upsample_rates = vec![], "upsample_rates");
    refuse(|c| c.upsample_rates[0] = 17, "upsample_kernel_sizes");
    refuse(|c| c.upsample_initial_channel = 16, "upsample_initial_channel");
    refuse(|c| c.resblock_kernel_sizes[0] = 4, "resblock_kernel_sizes");
    refuse(|c| c.resblock_dilation_sizes[1] = vec![], "resblock_dilation_sizes");
    let own = HifiGan::new(&config(), 1, &Device::flex()).unwrap();
    let mut store: std::collections::BTreeMap<_, _> =
        named_tensors(&own).into_iter().map(|(name, shape, values)| (name, (shape, values))).collect();
    assert!(HifiGan::load(&config(), &store, &Device::flex()).is_ok());
    store.remove("resblocks.4.convs1.2.weight");
    let said = HifiGan::load(&config(), &store, &Device::flex()).unwrap_err().to_string();
    assert!(said.contains("resblocks.4.convs1.2.weight"), "{said}");
}
