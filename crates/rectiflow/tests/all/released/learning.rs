//! Released models trained: the latents they are shown, and that they learn what these say.

use super::{
    fixture,
    training::{copy, pictures, recipe, trained},
};
use base::{Device, Key, Purpose, Tensor, TensorData, Times};
use flow::Field;
use nets::{AutoencoderConfig, weights::Stored};
use rectiflow::{Context, Model};
use std::path::Path;

/// Rows `[b n]` of latents as a pipeline's documentation has them, `(mean - shift) * scale`, from the files themselves.
fn latents(model: &str, rows: Tensor<2>, side: usize) -> Tensor<2> {
    let vae = fixture(model).join("vae");
    let text: serde_json::Value = serde_json::from_slice(&std::fs::read(vae.join("config.json")).unwrap()).unwrap();
    let number = |key: &str| text[key].as_f64();
    let config: AutoencoderConfig = serde_json::from_value(text.clone()).unwrap();
    let stored = Stored::open(&vae.join("diffusion_pytorch_model.safetensors")).unwrap();
    let net = config.load(&stored, &Device::flex()).unwrap();
    let b = rows.dims()[0];
    let mean = net.encode(rows.reshape([b, 3, side, side])).mean;
    let [_, c, h, w] = mean.dims();
    let scale = number("scaling_factor").unwrap();
    ((mean - number("shift_factor").unwrap_or(0.0)) * scale).reshape([b, c * h * w])
}

/// Ten pictures as rows in [-1, 1], and their captions.
fn shown(data: &Path, side: usize) -> (Tensor<2>, Vec<Option<String>>) {
    let config = data::DataConfig { size: Some(side), channels: Some(3), holdout: 0.0, ..data::DataConfig::at(data) };
    let set = data::open(&config).unwrap();
    let batch = data::gather(&*set, &(0..set.len()).collect::<Vec<_>>()).unwrap();
    let captions = (0..set.len()).map(|index| set.caption(index).map(str::to_owned)).collect();
    (Tensor::from_data(TensorData::new(batch.rows, [set.len(), 3 * side * side]), &Device::flex()), captions)
}

fn far(a: Tensor<2>, b: Tensor<2>) -> f32 {
    (a - b).abs().max().into_scalar()
}

/// Mutants: latents that are not scaled; a shift that is not taken off; the null of a caption a row of zeros.
#[test]
fn latents_and_the_empty_prompt_are_those_of_the_pipeline() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path(), 32);
    let (rows, captions) = shown(folder.path(), 32);
    for name in ["sd3_tiny", "flux_dev_tiny", "sd15_tiny", "instaflow_tiny"] {
        let recipe = recipe(name, folder.path(), 32, Some(2), &[]).unwrap();
        let model = Model::released(&fixture(name), Some(&recipe.data), &Context::silent().device).unwrap();
        let wanted = latents(name, rows.clone(), 32);
        let (apart, size) = (
            far(model.codec.as_ref().unwrap().encode(rows.clone()).unwrap(), wanted.clone()),
            wanted.abs().max().into_scalar::<f32>(),
        );
        assert!(apart < 1e-5 * size.max(1e-3), "{name}: {apart} of {size}");
        let said = |text: &str| model.condition_of(&[], &[Some(text.into())], &Device::flex()).unwrap();
        let tokens = |condition: &base::Condition| {
            let embedding = condition.tokens.as_ref().unwrap().embedding.clone();
            let [b, n, d] = embedding.dims();
            embedding.reshape([b, n * d])
        };
        let (asked, empty) = (said(captions[0].as_deref().unwrap()), said(""));
        assert_eq!(far(tokens(&asked.null()), tokens(&empty)), 0.0, "{name}");
        assert!(far(tokens(&asked), tokens(&empty)) > 1e-3, "{name}");
    }
}

/// Mutant: a codec known by its weights alone, so that latents of another scale are found in the cache.
#[test]
fn a_codec_of_another_scale_is_another() {
    let folder = tempfile::tempdir().unwrap();
    copy(&fixture("sd15_tiny"), folder.path());
    let identity = || {
        let model = Model::released(folder.path(), None, &Context::silent().device).unwrap();
        model.codec.as_ref().unwrap().identity.clone()
    };
    let before = identity();
    let file = folder.path().join("vae/config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    config["scaling_factor"] = (2.0 * config["scaling_factor"].as_f64().unwrap()).into();
    std::fs::write(&file, config.to_string()).unwrap();
    assert_ne!(identity(), before);
}

/// Mean square of what the model of `net` says less `x1 - x0`, at noise and times held fixed.
fn loss(model: &Model, x1: &Tensor<2>, captions: &[Option<String>]) -> f32 {
    let [b, n] = x1.dims();
    let noise: Vec<f32> = Key::new(11, Purpose::Probe).normals(0, b * n).collect();
    let x0 = Tensor::<2>::from_data(TensorData::new(noise, [b, n]), &Device::flex());
    let condition = model.condition_of(&[], captions, &Device::flex()).unwrap();
    let field = model.field(&Default::default(), Default::default()).unwrap();
    let at = |t: f64| -> f32 {
        let x = x0.clone() * (1.0 - t) + x1.clone() * t;
        let said = field.velocity(x, &Times::new(vec![t; b]), &condition);
        (said - (x1.clone() - x0.clone())).powf_scalar(2.0).mean().into_scalar()
    };
    [0.1, 0.3, 0.5, 0.7, 0.9].map(at).iter().sum::<f32>() / 5.0
}

/// Ten pictures are learned, by the weights and by corrections of them; twelve steps tell nothing of captions yet.
///
/// Mutants: a target of the other sign; times counted from the data; corrections whose gradient never comes.
#[test]
fn ten_pictures_are_learned() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path(), 32);
    let (rows, captions) = shown(folder.path(), 32);
    for (name, lora, images, most) in [("sd3_tiny", None, 120, 0.7), ("flux_dev_tiny", Some(16), 120, 0.7)] {
        let keys = ["train.batch=10", &format!("train.images={images}"), "train.optim.lr=0.01", "lora.targets=[]"];
        let keys = if lora.is_some() { &keys[..] } else { &keys[..3] };
        let recipe = recipe(name, folder.path(), 32, lora, keys).unwrap();
        let device = Context::silent().device;
        let before = Model::released(&fixture(name), Some(&recipe.data), &device).unwrap();
        let run = folder.path().join(format!("runs-{name}"));
        let began = std::time::Instant::now();
        trained(&recipe, &run, None);
        let seconds = began.elapsed().as_secs_f64();
        let after = Model::open(&run, Default::default(), &device).unwrap();
        let x1 = latents(name, rows.clone(), 32);
        let losses = [loss(&before, &x1, &captions), loss(&after, &x1, &captions)];
        println!("{name}: {losses:?} in {seconds:.1} s");
        assert!(losses[1] < most * losses[0], "{name}: {losses:?}");
    }
}
