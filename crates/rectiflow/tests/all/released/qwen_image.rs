//! Qwen-Image from its folder alone: texts, one call of the network, latents after every step and pictures against the reference's own; what
//! is refused, and what is broken.

use super::{
    parity::{Compared, WEIGHTS, config},
    *,
};
use base::Tokens;
use nets::{ClipCodecConfig, QwenImageConfig, flux};
use rectiflow::released::{
    Flow,
    convert::{ConvertRequest, Layout, convert},
};

const NAME: &str = "qwen_image_tiny";

/// Every tensor that there is an answer to.
pub(super) fn compare(folder: &Path, name: &str, compared: &mut Compared) {
    let device = Device::flex();
    let at = folder.join("transformer");
    let net = config::<QwenImageConfig>(&at).load(&Stored::in_folder(&at, WEIGHTS).unwrap(), &device).unwrap();
    let (x, sigma) = (compared.tensor::<3>("fwd.x"), compared.tensor::<1>("fwd.t"));
    let mask = compared.tensor::<2>("fwd.mask").greater_elem(0.5);
    let tokens = Tokens { embedding: compared.tensor("fwd.ctx"), mask };
    compared.with("fwd.out", || {
        // As a flow: it counts the other way, and points the other way.
        let times = base::Times::new(sigma.neg().add_scalar(1.0).into_data().iter::<f64>().collect());
        let condition = Condition { tokens: Some(tokens), ..Condition::none() };
        let said = flow::Field::velocity(&Flow::qwen_image(net), flux::unpack(x, 6, 10), &times, &condition);
        flux::pack(said.neg())
    });
    let at = folder.join("vae");
    let codec = config::<ClipCodecConfig>(&at).load(&Stored::in_folder(&at, WEIGHTS).unwrap(), &device).unwrap();
    let picture = compared.tensor::<4>("vae.encode.image").unsqueeze_dim::<5>(2);
    compared.with("vae.encode.latent_mode", || {
        let latent: Tensor<4> = codec.scaled(codec.encode(picture).mean).squeeze_dim(2);
        latent
    });
    for (run, contrast) in [("", None), ("cfg.", Some(4.0))] {
        let count = compared.steps(run);
        let (conditions, latents) = in_steps(name, &Run::new(contrast), count);
        for (side, condition) in [("pos", conditions[0].clone()), ("neg", conditions[0].null())] {
            let tokens = condition.tokens.clone().unwrap();
            let heard = tokens.mask.float().sum().into_scalar::<f32>() as usize;
            compared.with(&format!("text.{side}.prompt_embeds"), || tokens.embedding.narrow(1, 0, heard));
        }
        for (i, latents) in latents.iter().enumerate() {
            compared.with(&format!("{run}latents.step{}", i + 1), || flux::pack(latents.clone()));
        }
        compared.with(&format!("{run}image"), || {
            let image: Tensor<4> = codec.decode(latents[latents.len() - 1].clone().unsqueeze_dim(2)).squeeze_dim(2);
            image
        });
    }
}

/// Mutants: image and text modulated by each other's numbers; rows and columns exchanged, places counted from a corner, text from 0; texts of
/// unequal length heard beyond their own, in the batch that guidance asks; guidance that changes lengths, or keeps that of a whole picture; the
/// shift of FLUX's bounds, the last level not stretched; what stands before a prompt heard, Qwen2.5's biases left out, its last normalisation.
#[test]
fn qwen_image_walks_the_golden_latents_and_draws_the_golden_pictures() {
    let mut compared = Compared::of(NAME);
    compare(&fixture(NAME), NAME, &mut compared);
    compared.check(16);
    let golden = golden(NAME);
    holds(&golden, "image", drawn(&ReleasedRequest { guidance: Some(1.0), ..request(NAME) }));
    let [_, negative] = texts(NAME);
    let guided = ReleasedRequest { negative: Some(negative), ..request(NAME) }; // 4 by habit
    holds(&golden, "cfg.image", drawn(&guided));
    // What nobody says is a space.
    let silent = ReleasedRequest { negative: None, ..guided.clone() };
    let space = ReleasedRequest { negative: Some(" ".into()), ..guided.clone() };
    let nothing = ReleasedRequest { negative: Some(String::new()), ..guided };
    let [silent, space, nothing] = [silent, space, nothing].map(|request| drawn(&request).into_data());
    assert_eq!(silent, space);
    assert_ne!(silent, nothing);
}

/// A picture that is hardly changed is what the autoencoder makes of it. Mutant: a latent that is not scaled.
#[test]
fn qwen_image_begins_with_a_picture() {
    let from = format!("{}:vae.encode.image", fixture(NAME).join("golden.safetensors").display());
    let asked = |strength| ReleasedRequest {
        init_image: Some((from.clone().into(), strength)),
        noise: None,
        steps: Some(50),
        guidance: Some(1.0),
        height: None,
        width: None,
        ..request(NAME)
    };
    let picture = tensor::<4>(&golden(NAME), "vae.encode.image");
    let at = fixture(NAME).join("vae");
    let codec =
        config::<ClipCodecConfig>(&at).load(&Stored::in_folder(&at, WEIGHTS).unwrap(), &Device::flex()).unwrap();
    let kept = codec.decode(codec.scaled(codec.encode(picture.unsqueeze_dim(2)).mean)).squeeze_dim::<4>(2);
    let far = |strength| (drawn(&asked(strength)) - kept.clone()).abs().mean().into_scalar::<f32>();
    let (little, much) = (far(0.02), far(1.0));
    assert!(little < 0.1 * much, "{little} against {much}");
}

/// Mutants: a refusal that comes after the drawing; habits that are another model's.
#[test]
fn what_qwen_image_does_not_do_is_refused_with_the_reason() {
    let folder = fixture(NAME);
    let place = tempfile::tempdir().unwrap();
    let asked = || request(NAME);
    let cases = [
        (ReleasedRequest { true_guidance: Some(2.0), ..asked() }, "--guidance-scale"),
        (ReleasedRequest { skip_layers: Some((vec![1], 2.8, (0.0, 1.0))), ..asked() }, "--skip-layers"),
        (ReleasedRequest { clip_skip: Some(1), ..asked() }, "Qwen2.5 alone"),
        (ReleasedRequest { tile: Some(16), ..asked() }, "--decode-tile"),
        (ReleasedRequest { frames: Some(9), ..asked() }, "Qwen-Image draws pictures"),
        (ReleasedRequest { negative: Some("a".into()), guidance: Some(1.0), ..asked() }, "--guidance-scale above 1"),
        (ReleasedRequest { height: Some(36), ..asked() }, "32 or 40"),
    ];
    refused(cases);
    let habits = told_of(NAME, "Qwen-Image", 50);
    assert!(!habits.to_string().contains("rf-edit"), "{habits}");
    let to = place.path().join("q.safetensors");
    let request =
        ConvertRequest { from: folder, to, layout: Layout::Single, numbers: None, parts: None, network_only: false };
    let error = convert(&request, &mut Context::silent()).unwrap_err();
    assert!(error.to_string().contains("it stays a folder"), "{error}");
    let copy = place.path().join("copy");
    let layout = Layout::Diffusers;
    convert(&ConvertRequest { to: copy.clone(), layout, ..request }, &mut Context::silent()).unwrap();
    let again = drawn(&ReleasedRequest { folder: copy, guidance: Some(1.0), ..super::request(NAME) });
    holds(&golden(NAME), "image", again);
}

/// The text encoder's sizes as transformers 4 wrote them, which says how positions turn twice. Mutants: one of the two keys for the other;
/// another way to turn taken.
#[test]
fn sizes_in_the_older_spelling_are_read() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    super::training::copy(&fixture(NAME), &folder);
    let sizes = folder.join("text_encoder/config.json");
    let turn = |scaling: serde_json::Value| {
        edit(&sizes, |config| {
            let text = config["text_config"].as_object_mut().unwrap();
            text.remove("rope_parameters");
            text.insert("rope_theta".into(), serde_json::json!(1e6));
            text.insert("rope_scaling".into(), scaling);
        });
    };
    let asked = || ReleasedRequest { folder: folder.clone(), guidance: Some(1.0), ..request(NAME) };
    turn(serde_json::json!({ "mrope_section": [1, 1, 2], "rope_type": "default", "type": "default" }));
    holds(&golden(NAME), "image", drawn(&asked()));
    turn(serde_json::json!({ "mrope_section": [1, 1, 2], "type": "mrope" }));
    holds(&golden(NAME), "image", drawn(&asked()));
    turn(serde_json::json!({ "rope_type": "default", "type": "yarn" }));
    let output = place.path().join("x.png");
    let error = sample(&ReleasedRequest { output, ..asked() }, &mut Context::silent()).unwrap_err();
    assert!(error.to_string().contains("rope_scaling.rope_type"), "{error}");
}

/// Mutant: each of the refusals, left out.
#[test]
fn broken_qwen_images_are_refused_by_file_and_key() {
    type Change = fn(&Path);
    let cases: &[(Change, &[&str])] = &[
        (
            |f| edit(&f.join("model_index.json"), |i| i["_class_name"] = "QwenImageEditPipeline".into()),
            &["QwenImageEditPipeline", "QwenImagePipeline can be drawn from"],
        ),
        (
            |f| edit(&f.join("model_index.json"), |i| i["vae"][1] = "AutoencoderKL".into()),
            &["`vae` is a AutoencoderKL", "AutoencoderKLQwenImage"],
        ),
        (
            |f| edit(&f.join("transformer/config.json"), |c| c["zero_cond_t"] = true.into()),
            &["transformer/config.json", "zero_cond_t"],
        ),
        (
            |f| edit(&f.join("transformer/config.json"), |c| c["out_channels"] = 8.into()),
            &["transformer/config.json", "out_channels"],
        ),
        (
            |f| edit(&f.join("transformer/config.json"), |c| c["num_layers"] = 3.into()),
            &["missing", "transformer_blocks.2."],
        ),
        (
            |f| edit(&f.join("text_encoder/config.json"), |c| c["text_config"]["model_type"] = "qwen2".into()),
            &["text_encoder/config.json", "model_type"],
        ),
        (
            |f| edit(&f.join("text_encoder/config.json"), |c| c["text_config"]["vocab_size"] = 12.into()),
            &["text_encoder", "of two models"],
        ),
        (|f| std::fs::remove_file(f.join("tokenizer/tokenizer.json")).unwrap(), &["tokenizer", "tokenizer.json"]),
        (
            |f| {
                let path = f.join("vae/diffusion_pytorch_model.safetensors");
                let bytes = std::fs::read(&path).unwrap();
                std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
            },
            &["diffusion_pytorch_model.safetensors", "fetch it again"],
        ),
    ];
    for (change, words) in cases {
        let (code, said) = broken(NAME, change);
        assert!(code == 1 && words.iter().all(|word| said.contains(word)), "{words:?}: {code} {said}");
    }
}
