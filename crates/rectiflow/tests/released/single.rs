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
        schedule(&release, 4, 1024, false).unwrap().times().to_vec()
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
