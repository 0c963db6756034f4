//! `toy` with a second network: velocity and denoiser read as one field, sampled at any strength of noise.

use crate::common::rectiflow;
use predicates::prelude::*;
use serde_json::Value;

#[test]
fn two_networks_are_trained_and_sampled_with_noise() {
    let folder = tempfile::tempdir().unwrap();
    let toy = |name: &str, sets: &[&str]| {
        let mut command = rectiflow();
        command.arg("toy").arg("-o").arg(folder.path().join(name));
        let shared =
            ["data.name=moons", "path.type=interpolant", "train.seconds=0", "train.images=25600", "sample.steps=10"];
        for set in shared.iter().chain(sets) {
            command.args(["--set", set]);
        }
        command
    };
    let sets = ["task.type=joint", "task.second.type=latent", "antithetic=true"];
    let output = toy("joint", &sets).args(["--json", "--quiet"]).assert().success().get_output().stdout.clone();
    let report: Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(report["outputs"], serde_json::json!(["velocity", "latent"]));
    // The score is known, so there is a curve over ε, from the ODE on; every end is near the data.
    let curve = report["kl_by_epsilon"].as_array().unwrap();
    assert!(curve.len() == 6 && curve.iter().all(|point| point[1].as_f64().unwrap() < 2.0), "{report}");
    assert!(folder.path().join("joint/second/checkpoints").is_dir());

    let refused = |sets: &[&str], text: &'static str| {
        toy("refused", sets).assert().code(2).stderr(predicate::str::contains(text));
    };
    refused(&["task.type=joint", "task.second.type=velocity"], "second");
    refused(
        &["task.type=joint", "task.second.type=latent", "path.type=linear"],
        "two networks are for paths with two sides",
    );
    refused(&["task.type=joint", "task.second.type=latent", "coupling.type=stored"], "teacher's pairs");
    let train = rectiflow()
        .args(["train", "--set", "task={type='joint',second={type='latent'}}", "--set", "path.type=interpolant"])
        .assert();
    train.code(2).stderr(predicate::str::contains("the verb `toy`"));
}
