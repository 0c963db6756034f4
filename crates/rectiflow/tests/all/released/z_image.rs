//! Z-Image from its folder alone: texts, one call of the network, latents after every step and pictures against the reference's own; what
//! is refused, and what is broken.

use super::{
    parity::{Compared, WEIGHTS, codec, config},
    *,
};
use nets::ZImageConfig;
use rectiflow::released::convert::{ConvertRequest, Layout, Numbers, convert};

const NAME: &str = "z_image_tiny";

/// Captions of unequal length side by side, and how long each is.
fn side_by_side(captions: &[Tensor<3>]) -> (Tensor<3>, Vec<usize>) {
    let real: Vec<usize> = captions.iter().map(|caption| caption.dims()[1]).collect();
    let most = real.iter().copied().max().unwrap();
    // What stands behind a caption says nothing.
    let behind = |n: usize, e: usize| Tensor::full([1, most - n, e], 7.0, &Device::flex());
    let filled = captions.iter().map(|x| Tensor::cat(vec![x.clone(), behind(x.dims()[1], x.dims()[2])], 1));
    (Tensor::cat(filled.collect(), 0), real)
}

/// Every tensor that there is an answer to.
pub(super) fn compare(folder: &Path, name: &str, compared: &mut Compared) {
    let at = folder.join("transformer");
    let net = config::<ZImageConfig>(&at).load(&Stored::in_folder(&at, WEIGHTS).unwrap(), &Device::flex()).unwrap();
    let captions = ["fwd.ctx0", "fwd.ctx1"].map(|name| compared.tensor::<3>(name));
    let (tokens, real) = side_by_side(&captions);
    let (x, t) = (compared.tensor::<4>("fwd.x"), compared.tensor::<1>("fwd.t"));
    compared.with("fwd.out", || net.forward(x.clone(), t.clone(), tokens, &real, None));
    // Alone, without those beside it.
    let alone = net.forward(x.narrow(0, 0, 1), t.narrow(0, 0, 1), captions[0].clone(), &real[..1], None);
    let far = (alone - compared.tensor::<4>("fwd.out").narrow(0, 0, 1)).abs().max().into_scalar::<f32>();
    assert!(far < TOLERANCE, "alone: {far:e}");
    for (run, contrast) in [("", None), ("cfg.", Some(4.0))] {
        let count = compared.steps(run);
        // Its pipeline counts guidance from 0: its 3 is 4 here.
        let (conditions, latents) = in_steps(name, &Run::new(contrast), count);
        for (side, condition) in [("pos", conditions[0].clone()), ("neg", conditions[0].null())] {
            let tokens = condition.tokens.clone().unwrap();
            let heard = tokens.mask.float().sum().into_scalar::<f32>() as usize;
            compared.with(&format!("text.{side}.prompt_embeds"), || tokens.embedding.narrow(1, 0, heard));
        }
        for (i, latents) in latents.iter().enumerate() {
            compared.with(&format!("{run}latents.step{}", i + 1), || latents.clone());
        }
        codec(folder, compared, &format!("{run}image"), latents.last().cloned());
    }
    compared.with("text.cut.prompt_embeds", || {
        let release = Release::open(folder, None).unwrap();
        let asked = Asked { length: 20, clip_skip: 0 };
        let read = encode(&release, &texts(name)[..1], None, 32, asked, &mut Context::silent()).unwrap();
        read[0].tokens.clone().unwrap().embedding
    });
}

/// Mutants: gate before scale; rows and columns exchanged, text counted from 0, the image at the text's last place; rows not filled, or with
/// zeros; texts of unequal length heard beyond their own; channels slowest in a square; the shift left out; Qwen's last layer heard, neighbours
/// in place of halves turned, heads of keys in turn in place of one after another, the answer's beginning left out.
#[test]
fn z_image_walks_the_golden_latents_and_draws_the_golden_pictures() {
    let mut compared = Compared::of(NAME);
    compare(&fixture(NAME), NAME, &mut compared);
    compared.check(17);
    let golden = golden(NAME);
    holds(&golden, "image", drawn(&request(NAME)));
    let [_, negative] = texts(NAME);
    let guided = ReleasedRequest { guidance: Some(4.0), negative: Some(negative), ..request(NAME) };
    holds(&golden, "cfg.image", drawn(&guided));
}

/// Mutants: a refusal that comes after the drawing; habits that are another model's.
#[test]
fn what_z_image_does_not_do_is_refused_with_the_reason() {
    let asked = || request(NAME);
    let cases = [
        (ReleasedRequest { true_guidance: Some(2.0), ..asked() }, "--guidance-scale"),
        (ReleasedRequest { skip_layers: Some((vec![1], 2.8, (0.0, 1.0))), ..asked() }, "--skip-layers"),
        (ReleasedRequest { clip_skip: Some(1), ..asked() }, "Qwen3 alone"),
        (ReleasedRequest { frames: Some(9), ..asked() }, "Z-Image draws pictures"),
        (ReleasedRequest { double_shift: true, ..asked() }, "--double-shift"),
        (ReleasedRequest { negative: Some("a".into()), ..asked() }, "--guidance-scale above 1"),
        (ReleasedRequest { height: Some(36), ..asked() }, "32 or 40"),
        (ReleasedRequest { length: Some(1), ..asked() }, "2 to 512"),
        (ReleasedRequest { steps: Some(0), ..asked() }, "--steps 0"),
    ];
    refused(cases);
    told_of(NAME, "Z-Image", 8);
}

/// A folder in bf16 draws nearly what that of f32 does, and is written from itself alone; a single file is not known.
#[test]
fn z_image_converts_to_a_folder() {
    let place = tempfile::tempdir().unwrap();
    let asked = |to: PathBuf, layout, numbers| ConvertRequest {
        from: fixture(NAME),
        to,
        layout,
        numbers,
        parts: None,
        network_only: false,
    };
    let short = place.path().join("short");
    convert(&asked(short.clone(), Layout::Diffusers, Some(Numbers::Bf16)), &mut Context::silent()).unwrap();
    let far = drawn(&ReleasedRequest { folder: short, ..request(NAME) }) - tensor::<4>(&golden(NAME), "image");
    let far = far.abs().max().into_scalar::<f32>();
    assert!(far > 1e-6 && far < 0.1, "{far:e}");
    let file = place.path().join("z.safetensors");
    let error = convert(&asked(file.clone(), Layout::Single, None), &mut Context::silent()).unwrap_err();
    assert!(error.to_string().contains("it stays a folder") && !file.exists(), "{error}");
}

/// Mutant: each of the refusals, left out.
#[test]
fn broken_z_images_are_refused_by_file_and_key() {
    type Change = fn(&Path);
    let cases: &[(Change, &[&str])] = &[
        (
            |f| edit(&f.join("model_index.json"), |i| i["text_encoder"][1] = "LlamaModel".into()),
            &["LlamaModel", "Qwen3Model or Qwen3ForCausalLM"],
        ),
        (
            |f| edit(&f.join("model_index.json"), |i| i["tokenizer"][1] = "CLIPTokenizer".into()),
            &["CLIPTokenizer", "Qwen2Tokenizer"],
        ),
        (
            |f| {
                let (from, to) =
                    ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model-00001-of-00002.safetensors");
                let at = f.join("transformer");
                std::fs::rename(at.join(from), at.join(to)).unwrap();
                let index = r#"{"metadata": {}, "weight_map": {"x_pad_token": "diffusion_pytorch_model-00001-of-00002.safetensors",
                    "cap_pad_token": "diffusion_pytorch_model-00002-of-00002.safetensors"}}"#;
                std::fs::write(at.join("diffusion_pytorch_model.safetensors.index.json"), index).unwrap();
            },
            &["00002-of-00002"],
        ),
        (
            |f| edit(&f.join("transformer/config.json"), |c| drop(c.insert("siglip_feat_dim".into(), 1152.into()))),
            &["transformer/config.json", "siglip_feat_dim"],
        ),
        (
            |f| edit(&f.join("transformer/config.json"), |c| drop(c.insert("n_heads".into(), 4.into()))),
            &["transformer/config.json", "n_kv_heads"],
        ),
        (
            |f| edit(&f.join("transformer/config.json"), |c| drop(c.insert("n_layers".into(), 3.into()))),
            &["missing", "layers.2."],
        ),
        (
            |f| edit(&f.join("text_encoder/config.json"), |c| drop(c.insert("attention_bias".into(), true.into()))),
            &["text_encoder/config.json", "attention_bias"],
        ),
        (
            |f| edit(&f.join("text_encoder/config.json"), |c| drop(c.insert("vocab_size".into(), 12.into()))),
            &["text_encoder", "of two models"],
        ),
        (
            |f| edit(&f.join("text_encoder/config.json"), |c| c["rope_parameters"]["rope_type"] = "yarn".into()),
            &["rope_type", "yarn"],
        ),
        (|f| std::fs::remove_file(f.join("tokenizer/tokenizer.json")).unwrap(), &["tokenizer", "tokenizer.json"]),
        (
            |f| {
                let path = f.join("tokenizer/tokenizer.json");
                let text = std::fs::read_to_string(&path).unwrap();
                std::fs::write(path, text.replace("<|im_start|>", "<|im_begin|>")).unwrap();
            },
            &["tokenizer", "`<|im_start|>`"],
        ),
    ];
    for (change, words) in cases {
        let (code, said) = broken(NAME, change);
        assert!(code == 1 && words.iter().all(|word| said.contains(word)), "{words:?}: {code} {said}");
    }
}

/// What is cut of a prompt is told without the chat around it, and an unknown key is told, not refused.
#[test]
fn long_prompts_and_unknown_keys_are_told() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    training::copy(&fixture(NAME), &folder);
    edit(&folder.join("transformer/config.json"), |config| drop(config.insert("novelty".into(), 1.into())));
    let mut told = Vec::new();
    let output = place.path().join("x.npy");
    let prompts = vec!["a red fox in the snow; a red fox in the snow; a red fox and a lantern".into()];
    let request = ReleasedRequest { folder, prompts, length: Some(20), steps: Some(1), output, ..request(NAME) };
    {
        let listen = |event: rectiflow::Event| match event {
            rectiflow::Event::Note(line) | rectiflow::Event::Quote(line) => told.push(line.to_owned()),
            _ => (),
        };
        let mut context = Context::new(rectiflow::device::Chosen::cpu(), Default::default(), listen);
        sample(&request, &mut context).unwrap();
    }
    assert!(told.iter().any(|line| line.contains("novelty")), "{told:?}");
    let cut = told.iter().find(|line| line.contains("reads 20 tokens")).expect("the cut is told");
    assert!(cut.ends_with("lantern") && !cut.contains("<|"), "{cut}");
}
