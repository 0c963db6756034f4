//! FLUX.2-klein from its folder alone: texts, one call of the network, latents after every step and pictures against the reference's own, as the
//! distilled model and as its base; what is refused, and what is broken.

use super::{
    parity::{Compared, WEIGHTS, config},
    *,
};
use nets::{Flux2Config, PatchedConfig};
use rectiflow::released::{
    Generator,
    convert::{ConvertRequest, Layout, Numbers, convert},
};

const NAME: &str = "flux2_klein_tiny";
/// Tokens of a text in the golden runs; 512 by habit.
const LENGTH: usize = 64;

fn asked() -> ReleasedRequest {
    ReleasedRequest { length: Some(LENGTH), ..request(NAME) }
}

/// The folder as that of the base model, into which nothing is distilled.
fn base_model(place: &Path) -> PathBuf {
    let folder = place.join("base");
    training::copy(&fixture(NAME), &folder);
    edit(&folder.join("model_index.json"), |index| index["is_distilled"] = false.into());
    folder
}

/// Every tensor that there is an answer to.
pub(super) fn compare(folder: &Path, name: &str, compared: &mut Compared) {
    let device = Device::flex();
    let at = folder.join("transformer");
    let net = config::<Flux2Config>(&at).load(&Stored::in_folder(&at, WEIGHTS).unwrap(), &device).unwrap();
    let (x, t, ctx) = (compared.tensor("fwd.x"), compared.tensor("fwd.t"), compared.tensor("fwd.ctx"));
    compared.with("fwd.out", || net.forward(x, t, ctx, None));
    let at = folder.join("vae");
    let sizes = config::<PatchedConfig>(&at).network();
    let codec = sizes.load(&Stored::in_folder(&at, WEIGHTS).unwrap(), &device).unwrap();
    let picture = compared.tensor("vae.encode.image");
    compared.with("vae.encode.latent_mode", || codec.scaled(codec.encode(picture).mean));
    let asked = Asked { length: LENGTH, clip_skip: 0 };
    for (run, contrast) in [("", None), ("cfg.", Some(4.0)), ("cfg5.", Some(4.0))] {
        let count = compared.steps(run);
        // The reference contrasts with the empty prompt, whatever the folder's golden.json calls the negative one.
        let empty = contrast.map(|_| String::new());
        let (conditions, latents) = in_steps_from(name, &Run { asked, ..Run::new(contrast) }, count, empty.as_ref());
        compared.with("text.pos.prompt_embeds", || conditions[0].tokens.clone().unwrap().embedding);
        for (i, latents) in latents.iter().enumerate() {
            compared.with(&format!("{run}latents.step{}", i + 1), || {
                let [b, c, h, w] = latents.dims();
                latents.clone().reshape([b, c, h * w]).swap_dims(1, 2)
            });
        }
        compared.with(&format!("{run}image"), || codec.decode(latents[latents.len() - 1].clone()));
    }
    let release = Release::open(folder, None).unwrap();
    let read = |text: &str, length: usize| {
        let asked = Asked { length, ..asked };
        let read = encode(&release, &[text.to_owned()], None, 48, asked, &mut Context::silent()).unwrap();
        read[0].tokens.clone().unwrap().embedding
    };
    let [prompt, negative] = texts(name);
    compared.with("text.neg.prompt_embeds", || read(&negative, LENGTH));
    compared.with("text.cut.prompt_embeds", || read(&prompt, 20));
}

/// Mutants, tried in the program: the chat without its empty thought; padding that hears itself, states after layers 10, 19 and 28, or side by
/// side in the other order; the shift of FLUX's bounds, or of another number of steps; guidance counted from 0. Tried as weights or settings that
/// come to the same: rows and columns exchanged, text's places along the first axis, angles of base 10 000; the image modulated by the text's
/// numbers, scale before shift in either kind of block or at the end, a gate and what it gates exchanged, values for keys, hidden features before
/// heads; squares of pixels not normalised, by their variance, without epsilon, their statistics row before channel.
#[test]
fn flux2_klein_walks_the_golden_latents_and_draws_the_golden_pictures() {
    let mut compared = Compared::of(NAME);
    compare(&fixture(NAME), NAME, &mut compared);
    compared.check(20);
    let golden = golden(NAME);
    holds(&golden, "image", drawn(&asked()));
    let place = tempfile::tempdir().unwrap();
    let guided = ReleasedRequest { folder: base_model(place.path()), ..asked() }; // 4 by habit
    holds(&golden, "cfg.image", drawn(&guided));
    let alone = ReleasedRequest { guidance: Some(1.0), ..guided.clone() };
    holds(&golden, "image", drawn(&alone));
    // What leads away may be said, which the reference has no word for.
    let away = ReleasedRequest { negative: Some("blurry".into()), ..guided.clone() };
    let nothing = ReleasedRequest { negative: Some(String::new()), ..guided };
    let [away, nothing] = [away, nothing].map(|request| drawn(&request).into_data());
    assert_ne!(away, nothing);
}

/// Mutant, named and not run: noise made in pixels of the autoencoder's latent and laid in squares.
#[test]
fn torch_noise_is_made_in_the_latent_that_the_network_sees() {
    let seeded = ReleasedRequest { noise: None, seed: 3, generator: Generator::TorchCpu, ..asked() };
    holds(&golden(NAME), "seeded.image", drawn(&seeded));
}

/// A picture that is hardly changed is what the autoencoder makes of it. Mutant, named and not run: squares that are not normalised on the way in.
#[test]
fn flux2_begins_with_a_picture() {
    let from = format!("{}:vae.encode.image", fixture(NAME).join("golden.safetensors").display());
    let begun = |strength| ReleasedRequest {
        init_image: Some((from.clone().into(), strength)),
        noise: None,
        steps: Some(50),
        height: None,
        width: None,
        ..asked()
    };
    let picture = tensor::<4>(&golden(NAME), "vae.encode.image");
    let at = fixture(NAME).join("vae");
    let sizes = config::<PatchedConfig>(&at).network();
    let codec = sizes.load(&Stored::in_folder(&at, WEIGHTS).unwrap(), &Device::flex()).unwrap();
    let kept = codec.decode(codec.scaled(codec.encode(picture).mean));
    let far = |strength| (drawn(&begun(strength)) - kept.clone()).abs().mean().into_scalar::<f32>();
    let (little, much) = (far(0.02), far(1.0));
    // The last of 50 levels is a tenth of noise: the shift of small pictures is large.
    assert!(little < 0.35 * much, "{little} against {much}");
}

/// Mutants: a refusal that comes after the drawing; habits that are another model's.
#[test]
fn what_flux2_does_not_do_is_refused_with_the_reason() {
    let cases = [
        (ReleasedRequest { true_guidance: Some(2.0), ..asked() }, "--guidance-scale"),
        (ReleasedRequest { guidance: Some(4.0), ..asked() }, "distilled into this network"),
        (ReleasedRequest { negative: Some("a".into()), ..asked() }, "distilled into this network"),
        (ReleasedRequest { skip_layers: Some((vec![1], 2.8, (0.0, 1.0))), ..asked() }, "--skip-layers"),
        (ReleasedRequest { clip_skip: Some(1), ..asked() }, "Qwen3 alone"),
        (ReleasedRequest { frames: Some(9), ..asked() }, "FLUX.2-klein draws pictures"),
        (ReleasedRequest { double_shift: true, ..asked() }, "--double-shift"),
        (ReleasedRequest { height: Some(36), ..asked() }, "32 or 40"),
        (ReleasedRequest { steps: Some(0), ..asked() }, "--steps 0"),
    ];
    refused(cases);
    told_of(NAME, "FLUX.2-klein", 4);
    let place = tempfile::tempdir().unwrap();
    let folder = base_model(place.path());
    let habits = plan(&ReleasedRequest::new(folder.clone(), "a fox"), &mut |line| panic!("{line}")).unwrap();
    assert_eq!(habits.steps, 50);
    let loud = ReleasedRequest { folder, negative: Some("a".into()), guidance: Some(1.0), ..asked() };
    refused([(loud, "--guidance-scale above 1")]);
}

/// A folder in bf16 draws nearly what that of f32 does and says what it is; a single file is not known. Mutant: `is_distilled` left behind.
#[test]
fn flux2_converts_to_a_folder() {
    let place = tempfile::tempdir().unwrap();
    let asked_of = |to: PathBuf, layout, numbers| ConvertRequest {
        from: fixture(NAME),
        to,
        layout,
        numbers,
        parts: None,
        network_only: false,
    };
    let short = place.path().join("short");
    convert(&asked_of(short.clone(), Layout::Diffusers, Some(Numbers::Bf16)), &mut Context::silent()).unwrap();
    assert_eq!(Release::open(&short, None).unwrap().family(), Family::Flux2 { distilled: true });
    let far = drawn(&ReleasedRequest { folder: short, ..asked() }) - tensor::<4>(&golden(NAME), "image");
    let far = far.abs().max().into_scalar::<f32>();
    assert!(far > 1e-6 && far < 0.1, "{far:e}");
    let file = place.path().join("f.safetensors");
    let error = convert(&asked_of(file.clone(), Layout::Single, None), &mut Context::silent()).unwrap_err();
    assert!(error.to_string().contains("it stays a folder") && !file.exists(), "{error}");
}

/// Mutant: each of the refusals, left out.
#[test]
fn broken_flux2_folders_are_refused_by_file_and_key() {
    type Change = fn(&Path);
    let transformer = "transformer/config.json";
    let cases: &[(Change, &[&str])] = &[
        (
            |f| edit(&f.join("model_index.json"), |i| i["_class_name"] = "Flux2Pipeline".into()),
            &["is a Flux2Pipeline", "Flux2KleinPipeline, Stable"],
        ),
        (
            |f| edit(&f.join("model_index.json"), |i| i["vae"][1] = "AutoencoderKL".into()),
            &["`vae` is a AutoencoderKL", "AutoencoderKLFlux2"],
        ),
        (
            |f| edit(&f.join("transformer/config.json"), |c| c["axes_dims_rope"] = serde_json::json!([4, 4, 8])),
            &[transformer, "4"],
        ),
        (|f| edit(&f.join("transformer/config.json"), |c| c["eps"] = 1e-5.into()), &[transformer, "eps"]),
        (
            |f| edit(&f.join("transformer/config.json"), |c| c["num_layers"] = 3.into()),
            &["missing", "transformer_blocks.2."],
        ),
        (
            |f| edit(&f.join("transformer/config.json"), |c| c["mlp_ratio"] = 2.0.into()),
            &["single_transformer_blocks.0.attn"],
        ),
        (
            |f| edit(&f.join("vae/config.json"), |c| c["patch_size"] = serde_json::json!([1, 1])),
            &["vae/config.json", "patch_size"],
        ),
        (
            |f| edit(&f.join("vae/config.json"), |c| c["decoder_block_out_channels"] = serde_json::json!([4, 8, 8])),
            &["vae/config.json", "decoder_block_out_channels"],
        ),
        (
            |f| edit(&f.join("text_encoder/config.json"), |c| c["num_hidden_layers"] = 12.into()),
            &["text_encoder", "after layer 18", "12 layers"],
        ),
    ];
    for (change, words) in cases {
        let (code, said) = broken(NAME, change);
        assert!(code == 1 && words.iter().all(|word| said.contains(word)), "{words:?}: {code} {said}");
    }
}
