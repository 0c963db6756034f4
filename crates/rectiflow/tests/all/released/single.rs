//! Single files under their authors' names draw what the folder draws that they were made of.
//!
//! The files in `fixtures/single` were written by `make.py` there, which knows nothing of this program's maps; FLUX's by a converter of
//! the reference libraries.

use super::*;

/// A single file of `fixtures/single`, with the folder it was made of for its parts.
pub(crate) fn of_file(name: &str, folder: &str, request: ReleasedRequest) -> ReleasedRequest {
    let file = fixture("single").join(name);
    ReleasedRequest { folder: file, parts: Some(fixture(folder)), ..request }
}

/// The golden request of a folder.
pub(crate) fn usual(folder: &str) -> ReleasedRequest {
    let [prompt, negative] = texts(folder);
    let base = ReleasedRequest { prompts: vec![prompt], ..request(folder) };
    match folder {
        "flux_dev_tiny" => {
            let noise = fixture(folder).join("golden.safetensors:latents.init_unpacked").display().to_string();
            ReleasedRequest { noise: Some(noise), ..base }
        }
        "sd15_tiny" => ReleasedRequest { steps: Some(5), negative: Some(negative), ..base },
        _ => ReleasedRequest { guidance: Some(4.5), negative: Some(negative), double_shift: true, ..base },
    }
}

const FILES: [(&str, &str); 4] = [
    // Network, autoencoder and all three encoders in one; tokenizers from the folder.
    ("sd3_tiny.safetensors", "sd3_tiny"),
    // The network alone and bare.
    ("sd35m_tiny.safetensors", "sd35m_tiny"),
    // The network alone behind ComfyUI's prefix.
    ("flux_dev_tiny_bfl.safetensors", "flux_dev_tiny"),
    // A checkpoint of latent diffusion, with an average's remains.
    ("sd15_tiny.safetensors", "sd15_tiny"),
];

/// Mutants: the autoencoder's levels from coarse to fine; `text_projection` left out of SD3's; a folder's encoders read in place of
/// the file's (the copy below has none).
#[test]
fn a_single_file_draws_the_pictures_of_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    for (file, folder) in FILES {
        let want = drawn(&usual(folder));
        let image = if folder == "sd15_tiny" { "pndm.image" } else { "image" };
        holds(&golden(folder), image, want.clone());
        let got = drawn(&of_file(file, folder, usual(folder)));
        let far = (got - want.clone()).abs().max().into_scalar::<f32>();
        println!("{file}: {far:e}");
        assert!(far < 1e-6, "{file}: {far:e}");
        if !["sd3_tiny", "sd15_tiny"].contains(&folder) {
            continue;
        }
        // Of a combined file nothing but configurations and vocabularies is taken from the folder: no weights are there.
        let bare = dir.path().join(folder);
        for part in std::fs::read_dir(fixture(folder)).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
            let to = bare.join(part.file_name());
            std::fs::create_dir_all(&to).unwrap();
            for entry in std::fs::read_dir(part.path()).unwrap().flatten() {
                if !entry.file_name().to_string_lossy().ends_with(".safetensors") {
                    std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
                }
            }
        }
        let request = ReleasedRequest { parts: Some(bare.clone()), ..of_file(file, folder, usual(folder)) };
        let got = drawn(&request);
        assert!((got - want.clone()).abs().max().into_scalar::<f32>() < 1e-6, "{file} without weights beside it");
        // Nor is a scheduler needed.
        std::fs::remove_dir_all(bare.join("scheduler")).unwrap();
        let far = (drawn(&request) - want).abs().max().into_scalar::<f32>();
        assert!(far < 1e-6, "{file} without a scheduler: {far:e}");
    }
}

/// FLUX's noise levels are those of the file's own kind, whatever sister the parts are from.
#[test]
fn a_sisters_scheduler_is_not_followed() {
    let file = fixture("single/flux_dev_tiny_bfl.safetensors");
    let times = |parts: &str| {
        let release = Release::open(&file, Some(&fixture(parts))).unwrap();
        schedule(&release, 4, 1024, &Solver::Euler {}, false).unwrap().times().to_vec()
    };
    assert_eq!(times("flux_dev_tiny"), times("flux_schnell_tiny"));
    // A U-Net is what its parts' folder says.
    let file = fixture("single/sd15_tiny.safetensors");
    let family = |parts: &str| Release::open(&file, Some(&fixture(parts))).unwrap().family();
    assert_eq!((family("sd15_tiny"), family("instaflow_tiny")), (Family::StableDiffusion, Family::InstaFlow));
}

#[test]
fn what_a_file_lacks_is_named() {
    let said = |request: &ReleasedRequest| {
        let output = tempfile::tempdir().unwrap().path().join("x.png");
        let error = sample(&ReleasedRequest { output, ..request.clone() }, &mut Context::silent()).unwrap_err();
        (error.exit_code(), error.to_string())
    };
    let bare = |name: &str, folder: &str| ReleasedRequest { parts: None, ..of_file(name, folder, usual(folder)) };
    let (code, text) = said(&bare("flux_dev_tiny_bfl.safetensors", "flux_dev_tiny"));
    for word in
        ["holds transformer", "`vae`, `text_encoder`, `tokenizer`, `text_encoder_2`, `tokenizer_2`", "--parts", "FLUX"]
    {
        assert!(code == 2 && text.contains(word), "{word}: {code} {text}");
    }
    let (code, text) = said(&bare("sd3_tiny.safetensors", "sd3_tiny"));
    assert!(code == 2 && text.contains("`tokenizer`, `tokenizer_2`, `tokenizer_3`"), "{code} {text}");
    // Parts of another model, of none, and for a folder.
    let parts = |parts: PathBuf| {
        let request = of_file("flux_dev_tiny_bfl.safetensors", "flux_dev_tiny", usual("flux_dev_tiny"));
        said(&ReleasedRequest { parts: Some(parts), ..request })
    };
    let (code, text) = parts(fixture("sd3_tiny"));
    assert!(code == 1 && text.contains("is a Stable Diffusion 3") && text.contains("network of FLUX"), "{code} {text}");
    let empty = tempfile::tempdir().unwrap();
    let (code, text) = parts(empty.path().into());
    assert!(code == 1 && text.contains("neither model_index.json"), "{code} {text}");
    std::fs::create_dir_all(empty.path().join("vae")).unwrap();
    let (code, text) = parts(empty.path().into());
    assert!(code == 1 && text.contains("`text_encoder`") && !text.contains("`vae`"), "{code} {text}");
    let (code, text) = said(&ReleasedRequest { parts: Some(fixture("sd3_tiny")), ..usual("sd3_tiny") });
    assert!(code == 2 && text.contains("is a folder and has its own"), "{code} {text}");
    // Files that hold no network under its authors' names.
    let no_network = fixture("sd3_tiny/transformer/diffusion_pytorch_model.safetensors");
    assert!(!is_released(&no_network) && is_released(&fixture("single/sd35m_tiny.safetensors")));
    let (code, text) =
        said(&ReleasedRequest { folder: no_network, parts: Some(fixture("sd3_tiny")), ..usual("sd3_tiny") });
    assert!(code == 1 && text.contains("its names are diffusers'"), "{code} {text}");
    let (code, text) = said(&ReleasedRequest {
        folder: fixture("sd3_tiny/golden.safetensors"),
        parts: Some(fixture("sd3_tiny")),
        ..usual("sd3_tiny")
    });
    assert!(code == 1 && text.contains("joint_blocks.0.x_block"), "{code} {text}");
}

/// What of a file is not drawn with is said.
#[test]
fn tensors_of_nothing_are_told() {
    let mut told = Vec::new();
    let output = tempfile::tempdir().unwrap();
    let request = of_file("sd15_tiny.safetensors", "sd15_tiny", usual("sd15_tiny"));
    let request = ReleasedRequest { output: output.path().join("x.png"), ..request };
    let listen = |event: rectiflow::Event| {
        if let rectiflow::Event::Note(line) = event {
            told.push(line.to_owned());
        }
    };
    sample(&request, &mut Context::new(rectiflow::device::Chosen::cpu(), Default::default(), listen)).unwrap();
    let line = told.iter().find(|line| line.contains("passed over")).unwrap();
    assert!(line.contains("2 of its tensors") && line.contains("alphas_cumprod, model_ema.decay"), "{line}");
}

/// A copy of a safetensors file with one more tensor of two bytes.
pub(crate) fn with_one_more(from: &Path, to: &Path, name: &str, dtype: safetensors::Dtype) {
    use safetensors::tensor::{SafeTensors, TensorView};
    let bytes = std::fs::read(from).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let shape = vec![2 * 8 / dtype.bitsize()];
    let more = TensorView::new(dtype, shape, &[0; 2]).unwrap();
    let all = tensors.tensors().into_iter().filter(|(own, _)| own != name).chain([(name.to_owned(), more)]);
    std::fs::write(to, safetensors::serialize(all, None).unwrap()).unwrap();
}

/// The notes of planning a file with a folder's parts, and the error if there is one.
fn planned(file: &Path, parts: &str) -> (Vec<String>, Option<rectiflow::Error>) {
    let mut told = Vec::new();
    let request = ReleasedRequest { folder: file.into(), parts: Some(fixture(parts)), ..request(parts) };
    let planned = rectiflow::released::plan(&request, &mut |line| told.push(line));
    (told, planned.err())
}

/// CLIP's projection is read by SD3 alone; of other files it is said to be passed over.
///
/// Mutant: a name that is behind a part's prefix taken for one that is read.
#[test]
fn a_projection_that_nobody_reads_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.safetensors");
    let name = "cond_stage_model.transformer.text_projection.weight";
    with_one_more(&fixture("single/sd15_tiny.safetensors"), &file, name, safetensors::Dtype::F16);
    let (told, error) = planned(&file, "sd15_tiny");
    assert!(error.is_none(), "{error:?}");
    assert!(told.iter().any(|line| line.contains("3 of its tensors passed over") && line.contains(name)), "{told:?}");
    let (told, _) = planned(&fixture("single/sd3_tiny.safetensors"), "sd3_tiny");
    assert!(!told.iter().any(|line| line.contains("text_projection")), "{told:?}");
}

/// Numbers that are not read are refused by `plan` as by `sample`, before the work and by name; of files and of folders.
///
/// Mutants: the network's numbers alone looked at; whole numbers refused.
#[test]
fn numbers_that_are_not_read_are_refused_before_the_work() {
    use safetensors::Dtype::{F8_E4M3, I16};
    let dir = tempfile::tempdir().unwrap();
    let (from, file) = (fixture("single/sd15_tiny.safetensors"), dir.path().join("fp8.safetensors"));
    for name in ["model.diffusion_model.out.2.bias", "first_stage_model.quant_conv.bias"] {
        with_one_more(&from, &file, name, F8_E4M3);
        let (_, error) = planned(&file, "sd15_tiny");
        let said = error.unwrap().to_string();
        for word in ["fp8.safetensors", name, "F8_E4M3", "take the file in F32, F16 or BF16, or as GGUF"] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
    with_one_more(&from, &file, "cond_stage_model.transformer.text_model.embeddings.position_ids", I16);
    assert!(planned(&file, "sd15_tiny").1.is_none());
    // A part of a folder.
    let (whole, folder) = (fixture("sd15_tiny"), dir.path().join("model"));
    for part in std::fs::read_dir(&whole).unwrap().flatten().filter(|part| part.path().is_dir()) {
        std::fs::create_dir_all(folder.join(part.file_name())).unwrap();
        for entry in std::fs::read_dir(part.path()).unwrap().flatten() {
            std::fs::copy(entry.path(), folder.join(part.file_name()).join(entry.file_name())).unwrap();
        }
    }
    std::fs::copy(whole.join("model_index.json"), folder.join("model_index.json")).unwrap();
    let vae = Path::new("vae/diffusion_pytorch_model.safetensors");
    with_one_more(&whole.join(vae), &folder.join(vae), "decoder.conv_out.bias", F8_E4M3);
    let refused = |request: &ReleasedRequest| sample(request, &mut Context::silent()).unwrap_err().to_string();
    let output = dir.path().join("x.png");
    let asked = ReleasedRequest { folder: folder.clone(), noise: None, output: output.clone(), ..request("sd15_tiny") };
    let said = refused(&asked);
    assert!(said.contains("decoder.conv_out.bias") && said.contains("F8_E4M3"), "{said}");
    // And one whose weights are not there, before a prompt is read.
    std::fs::remove_file(folder.join(vae)).unwrap();
    let said = rectiflow::released::prepare(&asked, &mut |_| ()).err().unwrap().to_string();
    assert!(said.contains("diffusion_pytorch_model.safetensors") && said.contains("vae"), "{said}");
    assert!(!output.exists());
    // Nor is a place where no picture can be written found out after the drawing.
    let said = refused(&ReleasedRequest { folder: whole, output: file.join("x.png"), ..asked });
    assert!(said.contains("is a file, not a folder"), "{said}");
}

/// A file that ends early is told as such, whatever verb asks.
#[test]
fn damaged_files_are_told_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(fixture("single/sd35m_tiny.safetensors")).unwrap();
    for (name, bytes, why) in [
        ("cut.safetensors", &bytes[..bytes.len() / 2], "is no whole safetensors file"),
        ("cut.ckpt", &b"PK\x03\x04"[..], "is an archive that ends early"),
    ] {
        let file = dir.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        assert!(rectiflow::released::is_damaged(&file), "{name}");
        let said = planned(&file, "sd3_tiny").1.unwrap().to_string();
        assert!(said.contains(name) && said.contains(why), "{said}");
    }
    // Whole files of weights are not, nor files of other things.
    let text = dir.path().join("recipe.toml");
    std::fs::write(&text, "no weights").unwrap();
    for file in [text, fixture("sd3_tiny/golden.safetensors")] {
        assert!(!rectiflow::released::is_damaged(&file));
    }
}

/// What a U-Net is taken for is said where its file does not say it, and not guessed where its shapes leave it open.
///
/// Mutants: the note for a Stable Diffusion's folder as well; Stable Diffusion 2 taken for one that says noise.
#[test]
fn what_a_unet_predicts_is_said_or_asked_for() {
    let file = fixture("single/sd15_tiny.safetensors");
    let velocity = |told: &[String]| told.iter().any(|line| line.contains("read as a velocity"));
    let (told, error) = planned(&file, "instaflow_tiny");
    assert!(velocity(&told), "{told:?} {error:?}");
    assert!(!velocity(&planned(&file, "sd15_tiny").0));
    // Stable Diffusion 2's text is 1024 wide.
    let dir = tempfile::tempdir().unwrap();
    let (wide, parts) = (dir.path().join("sd2.safetensors"), dir.path().join("parts"));
    let bytes = std::fs::read(&file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let padded = |(name, view): (String, safetensors::tensor::TensorView)| {
        let mut shape = view.shape().to_vec();
        let mut data = view.data().to_vec();
        if name.starts_with("model.diffusion_model.")
            && (name.ends_with("attn2.to_k.weight") || name.ends_with("attn2.to_v.weight"))
        {
            data.resize(data.len() / shape[1] * 1024, 0);
            shape[1] = 1024;
        }
        (name, view.dtype(), shape, data)
    };
    let padded: Vec<_> = tensors.tensors().into_iter().map(padded).collect();
    let views = padded.iter().map(|(name, dtype, shape, data)| {
        (name.clone(), safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    std::fs::write(&wide, safetensors::serialize(views, None).unwrap()).unwrap();
    std::fs::create_dir_all(parts.join("tokenizer")).unwrap();
    for entry in std::fs::read_dir(fixture("sd15_tiny/tokenizer")).unwrap().flatten() {
        std::fs::copy(entry.path(), parts.join("tokenizer").join(entry.file_name())).unwrap();
    }
    let config = std::fs::read(fixture("sd15_tiny/unet/config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    config["cross_attention_dim"] = 1024.into();
    std::fs::create_dir_all(parts.join("unet")).unwrap();
    std::fs::write(parts.join("unet/config.json"), config.to_string()).unwrap();
    let asked = |file: &Path| {
        let release = Release::open(file, Some(&parts)).unwrap();
        Network::of(&release, &mut |_| ()).map(drop)
    };
    let error = asked(&wide).unwrap_err();
    assert!(
        error.exit_code() == 2 && error.to_string().contains("noise or v") && error.to_string().contains("scheduler")
    );
    std::fs::create_dir_all(parts.join("scheduler")).unwrap();
    let scheduler = "scheduler/scheduler_config.json";
    std::fs::copy(fixture("sd15_tiny").join(scheduler), parts.join(scheduler)).unwrap();
    asked(&wide).unwrap();
}
