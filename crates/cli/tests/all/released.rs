//! Released models from the command line: the golden picture as a PNG, and what is refused.

#[path = "common/hub.rs"]
mod hub;

use crate::common::{json, rectiflow};
use hub::Hub;
use predicates::prelude::*;
use std::{fs, path::PathBuf};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

/// The golden picture's numbers, `[3 h w]` in about [-1, 1].
fn golden(name: &str) -> Vec<f32> {
    let bytes = fs::read(fixture(name).join("golden.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let place = |i: usize| header["image"]["data_offsets"][i].as_u64().unwrap() as usize;
    let numbers = &bytes[8 + length..][place(0)..place(1)];
    numbers.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn text(name: &str, key: &str) -> String {
    let golden = fs::read(fixture(name).join("golden.json")).unwrap();
    serde_json::from_slice::<serde_json::Value>(&golden).unwrap()[key].as_str().unwrap().to_owned()
}

/// `sample` of a folder with its golden prompt and noise, 32 x 48.
fn sample(name: &str, noise: &str) -> assert_cmd::Command {
    let mut command = rectiflow();
    let noise = format!("{}:{noise}", fixture(name).join("golden.safetensors").display());
    command.arg("sample").arg(fixture(name)).args([
        "--prompt",
        &text(name, "prompt"),
        "--height",
        "32",
        "--width",
        "48",
    ]);
    command.args(["--noise", &noise]);
    command
}

#[test]
fn sample_draws_the_golden_pictures_from_folders_alone() {
    let dir = tempfile::tempdir().unwrap();
    for (name, noise, more) in [
        (
            "sd3_tiny",
            "latents.init",
            &["--double-shift", "--steps", "4", "--guidance-scale", "4.5", "--negative-prompt"][..],
        ),
        ("flux_schnell_tiny", "latents.init_unpacked", &[]),
    ] {
        let output = dir.path().join(name).with_extension("png");
        let mut command = sample(name, noise);
        command.args(more);
        if more.last() == Some(&"--negative-prompt") {
            command.arg(text(name, "negative_prompt"));
        }
        command.arg("--output").arg(&output).assert().success().stdout(predicate::str::contains("picture"));
        let picture = image::open(&output).unwrap().to_rgb8();
        assert_eq!(picture.dimensions(), (48, 32));
        let golden = golden(name);
        for (x, y, pixel) in picture.enumerate_pixels() {
            for c in 0..3 {
                let value = golden[c * 32 * 48 + y as usize * 48 + x as usize];
                let level = ((value / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round();
                assert!((level - f32::from(pixel[c])).abs() <= 1.0, "{name} ({x}, {y}) channel {c}: {pixel:?} {level}");
            }
        }
        let parameters = String::from_utf8_lossy(&fs::read(&output).unwrap()).into_owned();
        assert!(parameters.contains("red fox") && parameters.contains("Size: 48x32"));
    }
}

/// Mutant: `--parts` passed over.
#[test]
fn a_single_file_is_converted_and_drawn_from() {
    let dir = tempfile::tempdir().unwrap();
    let (file, output) = (dir.path().join("flux.safetensors"), dir.path().join("x.png"));
    let folder = fixture("flux_schnell_tiny");
    let mut command = rectiflow();
    command.arg("convert").arg(&folder).arg(&file).args(["--layout", "single", "--network-only", "--dtype", "bf16"]);
    command.assert().success().stdout(predicate::str::contains("tensors of transformer"));
    let draw = |parts: bool| {
        let mut command = rectiflow();
        command.arg("sample").arg(&file).args(["--prompt", "a fox", "--height", "32", "--width", "48"]);
        if parts {
            command.arg("--parts").arg(&folder);
        }
        command.arg("--output").arg(&output);
        command
    };
    draw(false).assert().code(2).stderr(predicate::str::contains("`vae`").and(predicate::str::contains("--parts")));
    assert!(!output.exists());
    draw(true).assert().success();
    assert_eq!(image::open(&output).unwrap().to_rgb8().dimensions(), (48, 32));
    let again = || {
        let mut command = rectiflow();
        command.arg("convert").arg(&folder).arg(&file).args(["--layout", "single"]);
        command
    };
    again().assert().code(2).stderr(predicate::str::contains("there already"));
    again().args(["--dtype", "int8"]).assert().code(2).stderr(predicate::str::contains("f32, bf16 and f16"));
}

#[test]
fn options_of_runs_and_of_released_models_are_not_mixed() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("x.png");
    for (option, value) in [("--ema", "raw"), ("--data", "fashion-mnist"), ("--path", "vp"), ("--batch-size", "4")] {
        let mut command = sample("sd3_tiny", "latents.init");
        command.args([option, value]).arg("--output").arg(&output);
        command.assert().code(2).stderr(predicate::str::contains(option));
    }
    let run = crate::common::run();
    for (option, value) in [("--negative-prompt", "x"), ("--height", "32"), ("--skip-layers", "1")] {
        let mut command = rectiflow();
        command.arg("sample").arg(&run).args([option, value]).arg("--output").arg(&output);
        command
            .assert()
            .code(2)
            .stderr(predicate::str::contains(option).and(predicate::str::contains("model_index.json")));
    }
    assert!(!output.exists());
}

/// Mutants: a rank laid below the recipe file; `--lora` passed over where a student is planned.
#[test]
fn a_rank_is_never_lost() {
    let dir = tempfile::tempdir().unwrap();
    let look = dir.path().join("look.toml");
    fs::write(&look, "[lora]\nrank = 4\n").unwrap();
    for i in 0..2 {
        let picture = image::RgbImage::from_fn(4, 4, |x, y| image::Rgb([(x * 60) as u8, (y * 60) as u8, i]));
        picture.save(dir.path().join(format!("{i}.png"))).unwrap();
        fs::write(dir.path().join(format!("{i}.txt")), "a square").unwrap();
    }
    let mut train = rectiflow();
    train.arg("train").arg(&look).arg("--from").arg(fixture("sd3_tiny")).args(["--lora", "8", "--dry-run", "--data"]);
    train.arg(dir.path()).args(["--set", "data.size=32"]).env("RECTIFLOW_DATA", dir.path().join("cache"));
    train.assert().success().stdout(predicate::str::contains("rank = 8").and(predicate::str::contains("alpha = 8.0")));
    let mut plan = rectiflow();
    plan.args(["plan", "--method", "reflow", "--lora", "8", "--teacher"]).arg(fixture("sd3_tiny"));
    plan.assert().code(2).stderr(predicate::str::contains("--method").and(predicate::str::contains("--lora")));
}

/// What a run encodes once is planned beside its steps, and no more where it is kept.
///
/// Mutants: captions counted for every picture that bears one; latents that are kept counted again; what takes time left out of the sum.
#[test]
fn what_is_encoded_once_is_planned_once() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    fs::create_dir(&photos).unwrap();
    for i in 0..12u8 {
        let picture = image::RgbImage::from_fn(32, 32, |x, y| image::Rgb([(x * 7) as u8, (y * 7) as u8, i * 20]));
        picture.save(photos.join(format!("{i:02}.png"))).unwrap();
        fs::write(photos.join(format!("{i:02}.txt")), format!("a square, kind {}", i % 6)).unwrap();
    }
    let with = |verb: &str| {
        let mut command = rectiflow();
        command.arg(verb).arg("--from").arg(fixture("sd15_tiny")).args(["--lora", "4", "--data"]).arg(&photos);
        command.args(["--set", "data.size=32", "--set", "train.images=4", "--set", "train.sample_every=0"]);
        command.env("RECTIFLOW_DATA", dir.path().join("cache"));
        command
    };
    let planned = |command: &mut assert_cmd::Command| json(command)["encoding"].clone();
    let first = planned(&mut with("plan"));
    // Six captions and the empty one.
    assert_eq!((first["samples"].as_u64(), first["captions"].as_u64()), (Some(12), Some(7)), "{first}");
    assert!(first["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{first}");
    // What was measured of captions is kept; latents are kept all together, by the run.
    let second = planned(&mut with("plan"));
    assert_eq!(second["samples"].as_u64(), Some(12), "{second}");
    assert!(second["captions"].as_u64().is_some_and(|count| count < 7), "{second}");
    with("plan")
        .assert()
        .success()
        .stdout(predicate::str::contains("12 samples").and(predicate::str::contains("in all")));
    with("train").arg("-o").arg(dir.path().join("run")).assert().success();
    assert!(planned(&mut with("plan")).is_null(), "all is kept");
}

/// A model of the hub is fetched once and found by its name. Mutants: what nothing reads fetched too; the digest not looked at, or once
/// alone; fetched again where it is here; the name moved before all is there; a file of another revision.
#[test]
fn models_have_names_on_the_hub() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = hub::files(&fixture("flux_schnell_tiny"));
    files.retain(|name, _| !name.starts_with("golden"));
    let extra = files["vae/config.json"].clone();
    files.insert("text_encoders/config.json".into(), extra);
    files.insert("flux1-schnell.safetensors".into(), vec![0; 1000]);
    files.insert("vae/diffusion_pytorch_model.fp16.safetensors".into(), vec![0; 500]);
    files.insert("README.md".into(), b"words".to_vec());
    let hub = Hub::open(files.clone(), None);
    let at = |endpoint: &str, home: &str| {
        let mut command = rectiflow();
        for name in ["HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE"] {
            command.env_remove(name);
        }
        command.env("HF_ENDPOINT", endpoint).env("HF_HOME", dir.path().join(home));
        command
    };
    let sample = |output: &str| {
        let mut command = at("http://127.0.0.1:9", "home");
        command.args(["sample", "hf:someone/tiny", "--prompt", "a", "--steps", "1", "--height", "32", "--width", "32"]);
        command.arg("--output").arg(dir.path().join(output));
        command
    };
    let said = |text: &str| predicate::str::contains(text.to_string());
    sample("no.png").assert().code(2).stderr(said("rectiflow get hf:someone/tiny"));
    let get = |endpoint: &str, home: &str, name: &str| {
        let mut command = at(endpoint, home);
        command.args(["get", name, "--json"]);
        command
    };
    let fetched = get(&hub.endpoint, "home", "hf:someone/tiny").assert().success();
    fetched.stderr(
        said("not fetched: 4 files")
            .and(said("README.md, flux1-schnell.safetensors, text_encoders/config.json, vae/diffusion_pytorch")),
    );
    sample("a.png").assert().success();
    let mut own = rectiflow();
    own.arg("sample").arg(fixture("flux_schnell_tiny"));
    own.args(["--prompt", "a", "--steps", "1", "--height", "32", "--width", "32", "--output"])
        .arg(dir.path().join("b.png"));
    own.assert().success();
    let pixels = |name: &str| image::open(dir.path().join(name)).unwrap().to_rgb8();
    assert_eq!(pixels("a.png"), pixels("b.png"));
    let before = hub.asked.lock().unwrap().len();
    get(&hub.endpoint, "home", "hf:someone/tiny").assert().success();
    assert_eq!(hub.asked.lock().unwrap().len(), before + 1, "the list alone");
    // One file of many, and what cannot be had.
    let one = get(&hub.endpoint, "home", "hf:someone/tiny/flux1-schnell.safetensors").assert().success();
    let facts: serde_json::Value = serde_json::from_slice(&one.get_output().stdout).unwrap();
    assert!((&facts["files"], &facts["bytes"]) == (&1.into(), &1000.into()), "{facts}");
    assert_eq!(fs::read(facts["place"].as_str().unwrap()).unwrap(), [0; 1000]);
    let refused = |endpoint: &str, name: &str, why: &str| {
        get(endpoint, "other", name).assert().code(1).stderr(said(why));
    };
    refused(&hub.endpoint, "hf:someone/tiny/flux1.safetensors", "the nearest name is flux1-schnell.safetensors");
    refused(&hub.endpoint, "hf:someone", "write hf:OWNER/NAME");
    refused(&hub.endpoint, "hf:someone/other", "hf:someone/other");
    refused("http://127.0.0.1:9", "hf:someone/tiny", "HF_ENDPOINT");
    let offline = at(&hub.endpoint, "other").env("HF_HUB_OFFLINE", "1").args(["get", "hf:someone/tiny"]).assert();
    offline.code(1).stderr(said("HF_HUB_OFFLINE"));
    let many = hub::Files::from(["a-Q4_0.gguf", "a-Q8_0.gguf"].map(|name| (name.to_string(), vec![1])));
    refused(&Hub::open(many, None).endpoint, "hf:someone/tiny", "hf:someone/tiny/a-Q4_0.gguf");
    // A file that came damaged is not kept.
    let part = "transformer/diffusion_pytorch_model-00001-of-00004.safetensors";
    assert!(files.contains_key(part));
    let damaged = Hub::open(files.clone(), Some(part));
    get(&damaged.endpoint, "third", "hf:someone/tiny").assert().code(1).stderr(said("came damaged").and(said(part)));
    // By then the hub has another revision: what is the same in both is linked, and the name stands for the new one once it is whole.
    let healed = Hub::at("decade", files.clone(), None);
    let place = get(&healed.endpoint, "third", "hf:someone/tiny").assert().success();
    let facts: serde_json::Value = serde_json::from_slice(&place.get_output().stdout).unwrap();
    let place = PathBuf::from(facts["place"].as_str().unwrap());
    assert!(place.ends_with("decade") && place.join("model_index.json").is_file() && place.join(part).is_file());
    let asked = healed.asked.lock().unwrap().iter().filter(|path| path.ends_with("/text_encoder/config.json")).count();
    assert_eq!(asked, 1, "what it is alone");
    assert!(!place.parent().unwrap().parent().unwrap().join("refs/decade").exists());
    let older = get(&hub.endpoint, "third", "hf:someone/tiny@c0ffee").assert().success();
    assert!(String::from_utf8_lossy(&older.get_output().stdout).contains("snapshots/c0ffee"));
    // A file of a third revision does not hide the whole model.
    let third = Hub::at("facade", hub::Files::from([("new.gguf".to_string(), vec![7])]), None);
    get(&third.endpoint, "third", "hf:someone/tiny/new.gguf").assert().success();
    at("http://127.0.0.1:9", "third").args(["plan", "hf:someone/tiny"]).assert().success();
    // Nor does what fell apart since.
    let blob = place.join(part).canonicalize().unwrap();
    fs::write(&blob, b"rot").unwrap();
    get(&healed.endpoint, "third", "hf:someone/tiny").assert().code(1).stderr(said("came damaged"));
    get(&healed.endpoint, "third", "hf:someone/tiny").assert().success();
}

/// Mutants: the generator not handed on; its name not written into the picture.
#[test]
fn noise_may_be_pytorchs() {
    let dir = tempfile::tempdir().unwrap();
    let draw = |name: &str, more: &[&str]| {
        let output = dir.path().join(name);
        let mut command = rectiflow();
        command.arg("sample").arg(fixture("sd3_tiny")).args(["--prompt", "a", "--steps", "1", "--seed", "42"]);
        command.args(["--height", "32", "--width", "48", "--output"]).arg(&output).args(more).assert().success();
        output
    };
    let torch = draw("torch.png", &["--rng", "torch-cpu"]);
    // What `torch.randn((1, 16, 8, 12), generator=torch.Generator("cpu").manual_seed(42))` begins with is tested beside the generator.
    let pixels = |path: &PathBuf| image::open(path).unwrap().to_rgb8();
    assert_ne!(pixels(&torch), pixels(&draw("own.png", &[])));
    assert!(String::from_utf8_lossy(&fs::read(&torch).unwrap()).contains("Seed: 42, RNG: CPU, Size: 48x32"));
    let mut refused = rectiflow();
    refused
        .arg("sample")
        .arg(fixture("sd3_tiny"))
        .args(["--prompt", "a", "--rng", "torch-cpu", "--init-image"])
        .arg(&torch);
    refused.assert().code(2).stderr(predicate::str::contains("takes numbers of the same sequence"));
}
