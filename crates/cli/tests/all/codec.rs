//! `codec`, and a flow on its latents: trained, straightened, sampled and judged by the verbs that every flow knows.

use crate::common::{json, rectiflow};
use predicates::prelude::*;
use std::path::Path;

const SETS: &[&str] = &[
    "network.channels=8",
    "data.limit=96",
    "train.images=64",
    "train.batch=16",
    "train.validate_every=32",
    "train.validation_samples=8",
    "train.checkpoint.every=32",
    "train.sample_every=64",
    "sample.steps=2",
    "pairs.count=32",
];

fn with(verb: &str, sets: &[&str], output: &Path) -> assert_cmd::Command {
    let mut command = rectiflow();
    command.arg(verb).arg("-o").arg(output);
    for set in sets {
        command.args(["--set", set]);
    }
    command
}

fn size(file: &Path) -> [u32; 2] {
    let bytes = std::fs::read(file).unwrap();
    [16, 20].map(|at| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()))
}

/// Mutants: latents drawn undecoded (4 channels are no picture), a sheet drawn undecoded, pairs of decoded samples; pictures restored
/// without the codec (another shape), noise inverted from pictures in place of latents.
#[test]
fn a_flow_on_latents_is_trained_straightened_sampled_and_judged() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let tiny = ["data.limit=96", "train.images=64", "train.batch=16", "codec.channels=[8, 8]", "codec.groups=4"];
    with("codec", &tiny, &at("codec")).assert().success().stdout(predicate::str::contains("latents [4, 14, 14]"));
    assert!(at("codec/samples/round-trip.png").is_file());
    let codec = format!("task.codec={}", at("codec").display());
    let sets = [SETS, &[codec.as_str()]].concat();
    // Refused before anything is encoded. Mutant: encoded first (then the latents are kept, and nothing is left to plan).
    let cache = at("cache");
    let large = ["train.batch=500", "train.images=500"];
    let said =
        with("train", &[&sets[..], &large[..]].concat(), &at("flow")).env("RECTIFLOW_DATA", &cache).assert().code(1);
    assert!(String::from_utf8_lossy(&said.get_output().stderr).contains("batch"), "{said}");
    assert!(!cache.exists() && !at("flow").exists());
    with("train", &sets, &at("flow")).assert().success();
    // 64 pictures in ten columns, a class each, with its name in two lines of 16 above.
    assert_eq!(size(&at("flow/samples/000000000064.png")), [10 * 58 + 2, 7 * 58 + 2 + 2 + 2 * 16]);
    let teacher = at("flow");
    let own = ["train.images=32", "pairs.count=32"];
    with("reflow", &own, &at("straight")).arg("--teacher").arg(&teacher).assert().success();
    // What a student on data has to encode is planned, not encoded. Mutant: the checks before it encode (then all is kept the second time).
    let planned = || {
        let mut plan = rectiflow();
        plan.args(["plan", "--method", "distill", "--teacher"]).arg(&teacher);
        plan.args(["--set", "distill.target={type=\"segments\"}", "--set", "data.limit=48"])
            .env("RECTIFLOW_DATA", &cache);
        json(&mut plan)["encoding"]["samples"].as_u64()
    };
    assert_eq!([planned(), planned()], [Some(48); 2]);
    let sheet = at("sheet.png");
    rectiflow().arg("sample").arg(at("straight")).args(["--num", "4", "--output"]).arg(&sheet).assert().success();
    assert!(size(&sheet)[0] >= 112);
    let judged =
        rectiflow().arg("eval").arg(&teacher).args(["--num", "32", "--steps", "2", "--json"]).assert().success();
    assert!(String::from_utf8_lossy(&judged.get_output().stdout).contains("frechet"));

    // Pictures are restored, inverted and edited through the codec: holes on latents or pixels, the rest through the decoder.
    let changed = |verb: &str, args: &[&str]| {
        let mut command = rectiflow();
        command
            .arg(verb)
            .arg(&teacher)
            .args(["--input", "fashion-mnist-mini", "--num", "2", "--steps", "3"])
            .args(args);
        command.args(["--json", "--quiet", "-o"]).arg(at("changed"));
        command
    };
    let told = |verb: &str, args: &[&str]| -> serde_json::Value {
        serde_json::from_slice(&changed(verb, args).assert().success().get_output().stdout).unwrap()
    };
    let hole = ["--degrade", "--task", "inpaint", "--box", "12"];
    let holes = |more: &[&'static str]| [&hole[..], more].concat();
    let latent = told("restore", &holes(&["--method", "flowchef,pnp-flow,dps"]));
    assert_eq!((&latent["space"], latent["rows"].as_array().unwrap().len()), (&"latent".into(), 4));
    let decoder = told("restore", &holes(&["--cost", "decoder", "--method", "flowchef,freedom"]));
    assert_eq!((&decoder["space"], &decoder["rows"][1]["differentiated"]), (&"decoder".into(), &0.into()));
    assert_ne!(latent["rows"][1]["residual"], decoder["rows"][1]["residual"]);
    let small = told("restore", &["--degrade", "--task", "super", "--method", "flowchef"]);
    assert_eq!(small["space"], "decoder");
    let edited = told("edit", &["--class", "Sneaker", "--method", "inversion,flow-edit,sd-edit"]);
    assert!(
        edited["rows"].as_array().unwrap().iter().skip(1).all(|row| row["psnr"].as_f64().unwrap() > 0.0),
        "{edited}"
    );
    let mut invert = rectiflow();
    invert.arg("invert").arg(&teacher).args(["--input", "fashion-mnist-mini", "--num", "2", "--steps", "8"]);
    invert.args(["--solver", "rk4", "--json", "--quiet", "-o"]).arg(at("noise.safetensors"));
    let inverted: serde_json::Value = serde_json::from_slice(&invert.assert().success().get_output().stdout).unwrap();
    let number = |key: &str| inverted[key].as_f64().unwrap();
    assert!(
        (number("psnr") - number("codec")).abs() < 1.0,
        "latents come back, so the codec is what is lost: {inverted}"
    );
    let mut again = rectiflow();
    again.arg("sample").arg(&teacher).args(["--steps", "8", "--solver", "rk4", "--noise"]).arg(at("noise.safetensors"));
    again.arg("--output").arg(at("again.png")).assert().success();
    let refused = |args: &[&str], words: &'static str| {
        changed("restore", args).assert().code(2).stderr(predicate::str::contains(words));
    };
    refused(&holes(&["--cost", "decoder", "--method", "ot-ode"]), "solves linear measurements");
    refused(&["--degrade", "--task", "super", "--cost", "latent"], "no part of a latent");
    refused(&holes(&["--noise", "0.1", "--cost", "latent"]), "--cost decoder");
    refused(&["--degrade", "--task", "inpaint", "--box", "28"], "knows no value");
    let mut pixels = rectiflow();
    pixels.arg("restore").arg(crate::common::run()).args(["--input", "fashion-mnist-mini", "--cost", "decoder", "-o"]);
    pixels.arg(at("no")).args(hole).assert().code(2).stderr(predicate::str::contains("moves pictures"));
    // A codec that changed under its flow is noticed, and a run of another kind is no codec.
    with("codec", &[&tiny[..], &["seed=2"]].concat(), &at("other")).assert().success();
    std::fs::rename(at("codec"), at("gone")).unwrap();
    let sample = || {
        let mut command = rectiflow();
        command.arg("sample").arg(&teacher).args(["--num", "1", "--output"]).arg(&sheet);
        command
    };
    sample().assert().code(1).stderr(predicate::str::contains("no such folder"));
    std::fs::rename(at("other"), at("codec")).unwrap();
    sample().assert().code(1).stderr(predicate::str::contains("another codec"));
    let wrong = format!("task.codec={}", teacher.display());
    with("train", &[SETS, &[wrong.as_str()]].concat(), &at("no")).assert().code(2);
    let odd = [&tiny[..], &["codec.channels=[8, 8, 8, 8]"]].concat();
    with("codec", &odd, &at("no")).assert().code(2).stderr(predicate::str::contains("halved"));
    with("codec", &["codec.kl=-1"], &at("no")).assert().code(2).stderr(predicate::str::contains("codec.kl"));
    assert!(!at("no").exists());
}
