//! Conversions between a folder in diffusers' layout and a single file, there and back, to the byte.

use super::*;
use rectiflow::released::convert::{ConvertRequest, Converted, Layout, Numbers, convert};
use std::collections::BTreeMap;

fn asked(from: &Path, to: &Path, layout: Layout) -> ConvertRequest {
    ConvertRequest { from: from.into(), parts: None, to: to.into(), layout, numbers: None, network_only: false }
}

fn done(request: &ConvertRequest) -> Converted {
    convert(request, &mut Context::silent()).unwrap()
}

/// Type, shape and numbers of every tensor of a file.
fn contents(path: &Path) -> BTreeMap<String, (String, Vec<usize>, Vec<u8>)> {
    let bytes = std::fs::read(path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let one = |(name, view): (String, safetensors::tensor::TensorView)| {
        (name, (format!("{:?}", view.dtype()), view.shape().to_vec(), view.data().to_vec()))
    };
    tensors.tensors().into_iter().map(one).collect()
}

/// The weights of a part's folder, shards or not, under diffusers' names of today.
fn part(folder: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let name = if folder.join("config.json").is_file() && folder.ends_with("vae") {
        "diffusion_pytorch_model"
    } else {
        "model"
    };
    let stored =
        Stored::in_folder(folder, name).or_else(|_| Stored::in_folder(folder, "diffusion_pytorch_model")).unwrap();
    let one = |name: String| (nets::single::modern(&name), (stored.shape(&name).unwrap(), stored.read(&name).unwrap()));
    stored.names().into_iter().map(one).collect()
}

/// What the script wrote into the single files is what the program writes, byte for byte; FLUX's is a converter's of others.
///
/// Mutants: halves not exchanged; 1x1 convolutions written as matrices; the wrong prefix.
#[test]
fn folders_become_the_single_files_of_their_authors() {
    let dir = tempfile::tempdir().unwrap();
    for (folder, single, network_only) in [
        ("sd3_tiny", "sd3_tiny", false),
        ("sd35m_tiny", "sd35m_tiny", true),
        ("flux_dev_tiny", "flux_dev_tiny_bfl", true),
        ("sd15_tiny", "sd15_tiny", false),
    ] {
        let to = dir.path().join(format!("{folder}.safetensors"));
        let report = done(&ConvertRequest { network_only, ..asked(&fixture(folder), &to, Layout::Single) });
        let bare = |name: &String| match network_only {
            true => name.strip_prefix("model.diffusion_model.").unwrap_or(name).to_owned(),
            false => name.clone(),
        };
        let want = contents(&fixture("single").join(format!("{single}.safetensors")));
        let of_nothing = ["alphas_cumprod", "model_ema.decay"];
        let want: BTreeMap<_, _> = want
            .into_iter()
            .filter(|(name, _)| !of_nothing.contains(&name.as_str()))
            .map(|(name, tensor)| (bare(&name), tensor))
            .collect();
        let got = contents(&to);
        assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>(), "{folder}");
        for (name, tensor) in &want {
            assert!(got[name] == *tensor, "{folder} {name}: {:?} {:?}", got[name].1, tensor.1);
        }
        assert_eq!(report.tensors, want.len());
    }
}

/// There and back: every tensor and every file that is no weight; and the folder draws its picture.
#[test]
fn there_and_back_is_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["sd3_tiny", "flux_schnell_tiny", "sd15_tiny"] {
        let from = fixture(folder);
        let (file, back) = (dir.path().join(format!("{folder}.safetensors")), dir.path().join(folder));
        done(&asked(&from, &file, Layout::Single));
        done(&ConvertRequest { parts: Some(from.clone()), ..asked(&file, &back, Layout::Diffusers) });
        for entry in std::fs::read_dir(&from).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
            let (ours, theirs) = (back.join(entry.file_name()), entry.path());
            if theirs.join("config.json").is_file() {
                let (mut got, mut want) = (part(&ours), part(&theirs));
                // transformers 5 leaves CLIP's prefix out, and single files have it.
                if entry.file_name().to_string_lossy().starts_with("text_encoder") {
                    let bare = |parts: BTreeMap<String, _>| -> BTreeMap<String, _> {
                        let bare = |name: String| name.strip_prefix("text_model.").unwrap_or(&name).to_owned();
                        parts.into_iter().map(|(name, tensor)| (bare(name), tensor)).collect()
                    };
                    (got, want) = (bare(got), bare(want));
                }
                assert!(got == want, "{folder} {:?}", entry.file_name());
            }
            for file in std::fs::read_dir(&theirs).unwrap().flatten() {
                let name = file.file_name();
                let text = name.to_string_lossy();
                if !text.contains(".safetensors") {
                    let same = std::fs::read(ours.join(&name)).unwrap() == std::fs::read(file.path()).unwrap();
                    assert!(same, "{folder} {:?}/{text}", entry.file_name());
                }
            }
        }
        let usual = ReleasedRequest { noise: None, seed: 3, steps: Some(2), ..request(folder) };
        let far = (drawn(&ReleasedRequest { folder: back, ..usual.clone() }) - drawn(&usual)).abs().max();
        assert!(far.into_scalar::<f32>() < 1e-6, "{folder}");
    }
}

/// Halves are the nearest ones, come back as they are, and draw nearly the same.
///
/// Mutants: numbers cut off in place of rounded; the network alone turned.
#[test]
fn numbers_are_turned_in_every_part() {
    let dir = tempfile::tempdir().unwrap();
    let (from, halves, wide) = (fixture("sd3_tiny"), dir.path().join("bf16"), dir.path().join("f32"));
    let bf16 = ConvertRequest { numbers: Some(Numbers::Bf16), ..asked(&from, &halves, Layout::Diffusers) };
    let report = done(&bf16);
    assert_eq!(report.parts, ["transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3"]);
    for part in &report.parts {
        let name = if part.starts_with("text") { "model" } else { "diffusion_pytorch_model" };
        let file = format!("{part}/{name}.safetensors");
        let (got, want) = (contents(&halves.join(&file)), contents(&from.join(&file)));
        assert_eq!(got.len(), want.len());
        for (name, (kind, shape, bytes)) in &want {
            assert_eq!((kind.as_str(), &got[name].0[..], &got[name].1), ("F32", "BF16", shape), "{part} {name}");
            for (wide, half) in bytes.as_chunks().0.iter().zip(got[name].2.as_chunks().0) {
                let (bits, half) = (u32::from_le_bytes(*wide), u16::from_le_bytes(*half));
                let nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
                assert_eq!(u32::from(half), nearest, "{part} {name}");
            }
        }
    }
    done(&ConvertRequest { numbers: Some(Numbers::F32), ..asked(&halves, &wide, Layout::Diffusers) });
    let usual = ReleasedRequest { noise: None, seed: 3, steps: Some(2), ..request("sd3_tiny") };
    let draw = |folder: &Path| drawn(&ReleasedRequest { folder: folder.into(), ..usual.clone() });
    let (a, b, whole) = (draw(&halves), draw(&wide), draw(&from));
    // bf16 weights are widened before they are multiplied with.
    assert!((a.clone() - b).abs().max().into_scalar::<f32>() < 1e-6);
    let moved = (a - whole).abs().max().into_scalar::<f32>();
    assert!(moved > 1e-5 && moved < 0.2, "{moved:e}");
}

#[test]
fn what_cannot_be_converted_is_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("out");
    let said = |request: &ConvertRequest| {
        let error = convert(request, &mut Context::silent()).unwrap_err();
        (error.exit_code(), error.to_string())
    };
    let single = fixture("single/flux_dev_tiny_bfl.safetensors");
    let (code, text) = said(&asked(&single, &to, Layout::Diffusers));
    assert!(
        code == 2 && text.contains("`vae`, `text_encoder`, `tokenizer`") && text.contains("--parts"),
        "{code} {text}"
    );
    let (code, text) = said(&asked(&fixture("sd3_tiny"), &dir.path().join("x.bin"), Layout::Single));
    assert!(code == 2 && text.contains(".safetensors"), "{code} {text}");
    let network_only = ConvertRequest { network_only: true, ..asked(&fixture("sd3_tiny"), &to, Layout::Diffusers) };
    assert!(said(&network_only).1.contains("--network-only"));
    // A tensor that the other layout has no place for.
    let more = dir.path().join("more.safetensors");
    let name = "model.diffusion_model.joint_blocks.7.extra";
    single::with_one_more(&fixture("single/sd3_tiny.safetensors"), &more, name, safetensors::Dtype::F16);
    let folder = ConvertRequest { parts: Some(fixture("sd3_tiny")), ..asked(&more, &to, Layout::Diffusers) };
    let (code, text) = said(&folder);
    assert!(code == 1 && text.contains("no place in diffusers' layout") && text.contains(name), "{code} {text}");
    std::fs::remove_file(&more).unwrap();
    // A number that f16 does not hold, in the last part that is written.
    let model = dir.path().join("model");
    done(&asked(&fixture("sd3_tiny"), &model, Layout::Diffusers));
    let file = model.join("text_encoder_3/model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let length = bytes.len();
    bytes[length - 4..].copy_from_slice(&70_000f32.to_le_bytes());
    std::fs::write(&file, bytes).unwrap();
    let f16 = ConvertRequest { numbers: Some(Numbers::F16), ..asked(&model, &to, Layout::Diffusers) };
    let (code, text) = said(&f16);
    assert!(code == 1 && text.contains("70000") && text.contains("bf16"), "{code} {text}");
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["model"], "{left:?}");
    // What is there stays.
    std::fs::write(&to, "mine").unwrap();
    let (code, text) = said(&asked(&fixture("sd3_tiny"), &to, Layout::Diffusers));
    assert!(code == 2 && text.contains("there already") && std::fs::read(&to).unwrap() == b"mine", "{code} {text}");
}

/// A file in blocks becomes numbers when it is told which.
#[test]
fn blocks_are_not_converted_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let (file, to) = (dir.path().join("m.gguf"), dir.path().join("m.safetensors"));
    gguf::eight_bits(&fixture("single/flux_dev_tiny_bfl.safetensors"), &file);
    let refused = convert(&asked(&file, &to, Layout::Single), &mut Context::silent()).unwrap_err().to_string();
    assert!(refused.contains("blocks") && refused.contains("--dtype"), "{refused}");
    done(&ConvertRequest { numbers: Some(Numbers::F32), ..asked(&file, &to, Layout::Single) });
    let (stored, got) = (Stored::open(&file).unwrap(), Stored::open(&to).unwrap());
    for name in stored.names() {
        assert_eq!(got.read(&format!("model.diffusion_model.{name}")).unwrap(), stored.read(&name).unwrap(), "{name}");
    }
}
