//! The vocoders against `transformers` and a reference in numpy (`fixtures/audio_tiny`), and files that do not fit.

use super::*;
use crate::published::Published;
use crate::weights::{TensorSource, named_tensors};
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

fn big(name: &str) -> Stored {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/audio_tiny/bigvgan");
    Stored::open(&folder.join(name)).unwrap()
}

/// Largest difference from the reference's `wave`.
fn big_apart(config: &BigVganConfig, wave: &str) -> f32 {
    let (device, golden) = (Device::flex(), big("golden.safetensors"));
    let net = BigVgan::load(config, &big("bigvgan_generator.safetensors"), &device).unwrap();
    let tensor = |name: &str| base::TensorData::new(golden.read(name).unwrap(), golden.shape(name).unwrap());
    let got = net.forward(Tensor::from_data(tensor("mel"), &device));
    let wanted = Tensor::<2>::from_data(tensor(wave), &device);
    assert_eq!(got.dims(), wanted.dims());
    (got - wanted).abs().max().into_scalar::<f32>()
}

fn big_config() -> BigVganConfig {
    let text = bytes("bigvgan/config.json");
    let (config, unknown) = published::read::<BigVganConfig>(&text).unwrap();
    assert!(unknown.is_empty(), "{unknown:?}");
    config
}

/// Mutants: the norm of a weight over its last axes but not its second; filters not anti-aliased; a snake's height its frequency;
/// the tangent left in; the sum of blocks for their mean.
#[test]
fn big_waveforms_are_those_of_the_reference() {
    let filter = big("golden.safetensors").read("filter").unwrap();
    let apart = filter.iter().zip(snake::low_pass()).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    assert!(apart < 1e-6, "{apart}");
    let config = big_config();
    assert!(big_apart(&config, "wave") < 1e-4, "{}", big_apart(&config, "wave"));
    let clamped = BigVganConfig { use_tanh_at_final: false, ..config.clone() };
    assert!(big_apart(&clamped, "wave.clamped") < 1e-4);
    let said = BigVgan::load(
        &BigVganConfig { activation: "snake".into(), ..config.clone() },
        &big("bigvgan_generator.safetensors"),
        &Device::flex(),
    );
    assert!(said.unwrap_err().to_string().contains("beta"), "a snake has none");
    // Without them it is one.
    let stored = big("bigvgan_generator.safetensors");
    let kept: std::collections::BTreeMap<_, _> = stored
        .names()
        .into_iter()
        .filter(|name| !name.ends_with(".beta"))
        .map(|name| (name.clone(), (stored.shape(&name).unwrap(), stored.read(&name).unwrap())))
        .collect();
    let snake = BigVganConfig { activation: "snake".into(), ..config };
    let net = BigVgan::load(&snake, &kept, &Device::flex()).unwrap();
    let golden = big("golden.safetensors");
    let tensor = |name: &str| base::TensorData::new(golden.read(name).unwrap(), golden.shape(name).unwrap());
    let got = net.forward(Tensor::from_data(tensor("mel"), &Device::flex()));
    let apart = (got - Tensor::from_data(tensor("wave.snake"), &Device::flex())).abs().max().into_scalar::<f32>();
    assert!(apart < 1e-4, "{apart}");
}

#[test]
fn a_folder_says_which_vocoder_it_is() {
    let folder = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/audio_tiny").join(name);
    let device = Device::flex();
    let (small, _) = Vocoder::open(&folder("vocoder"), &device).unwrap();
    assert_eq!(small.reads(), Reads { rate: 16_000, bands: 64, hop: 160, window: None, band: None });
    let (big, unknown) = Vocoder::open(&folder("bigvgan"), &device).unwrap();
    let reads = Reads { rate: 16_000, bands: 8, hop: 8, window: Some(64), band: Some([0.0, 8000.0]) };
    assert!(big.reads() == reads && unknown.is_empty());
    assert_eq!(big.forward(Tensor::zeros([2, 5, 8], &device)).dims(), [2, 40]);
    assert_eq!(BigVganConfig::default().stride(), 160);
    for (name, part) in [("vae", "neither SpeechT5HifiGan's"), ("nowhere", "config.json")] {
        let said = Vocoder::open(&folder(name), &device).unwrap_err().to_string();
        assert!(said.contains(part), "{said}");
    }
    // As its authors keep it; a damaged one is named.
    let root = tempfile::tempdir().unwrap();
    std::fs::copy(folder("bigvgan/config.json"), root.path().join("config.json")).unwrap();
    std::fs::write(root.path().join("bigvgan_generator.pt"), "x").unwrap();
    let said = Vocoder::open(root.path(), &device).unwrap_err().to_string();
    assert!(said.contains("bigvgan_generator.pt"), "{said}");
    let refuse = |change: fn(&mut BigVganConfig), key: &str| {
        let mut config = big_config();
        change(&mut config);
        assert!(config.check().unwrap_err().to_string().contains(key));
    };
    refuse(|c| c.resblock = "2".into(), "resblock");
    refuse(|c| c.activation = "relu".into(), "activation");
    refuse(|c| c.upsample_rates[0] = 17, "upsample_kernel_sizes");
    refuse(|c| c.upsample_initial_channel = 2, "upsample_initial_channel");
    refuse(|c| c.resblock_kernel_sizes[0] = 4, "resblock_kernel_sizes");
}
