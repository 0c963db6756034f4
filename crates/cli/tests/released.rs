//! Released models from the command line: the golden picture as a PNG, and what is refused.

mod common;

use common::rectiflow;
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
    let run = common::run();
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
