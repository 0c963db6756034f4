//! `schedule --export`: what is written for diffusers leads back to the same samples.

use crate::common::{rectiflow, run};
use predicates::prelude::*;
use serde_json::Value;
use std::{fs, path::Path};

fn json(command: &mut assert_cmd::Command) -> Value {
    let output = command.args(["--quiet", "--json"]).assert().success().get_output().stdout.clone();
    serde_json::from_slice(&output).expect("the program prints JSON")
}

#[test]
fn a_schedule_goes_to_diffusers_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("s.json"), r#"{"times": [0.0, 0.2, 0.55, 1.0]}"#).unwrap();
    let export = || {
        let mut command = rectiflow();
        command.arg("schedule").arg(run()).arg("--export").arg(at("scheduler_config.json"));
        command
    };
    let exported = json(export().arg("--schedule").arg(at("s.json")));
    assert_eq!(exported["class"], "FlowMatchEulerDiscreteScheduler");
    assert_eq!((&exported["listed"], &exported["steps"]), (&Value::from(true), &Value::from(3)));
    let sample = |schedule: &Path, file: &Path| {
        let report = json(
            rectiflow().arg("sample").arg(run()).arg("--schedule").arg(schedule).args(["-n", "4", "-o"]).arg(file),
        );
        assert_eq!(report["nfe"], 3);
        fs::read(file).unwrap()
    };
    assert_eq!(sample(&at("s.json"), &at("a.npy")), sample(&at("scheduler_config.json"), &at("b.npy")));

    // With the flag the settings say everything, and the levels are diffusers' own.
    let double = json(export().args(["--steps", "7", "--legacy-double-shift"]));
    assert_eq!((&double["listed"], double["times"].as_array().map(Vec::len)), (&Value::from(false), Some(8)));

    let says = |text: &'static str| predicate::str::contains(text);
    let refused = export().arg("--schedule").arg(at("s.json")).args(["--steps", "5"]).assert();
    refused.code(2).stderr(says("3 steps of its own"));
    let refused = export().arg("--schedule").arg(at("s.json")).arg("--legacy-double-shift").assert();
    refused.code(2).stderr(says("no shift to apply twice"));
    export().args(["--steps", "2,3"]).assert().code(2).stderr(says("one number"));
    let alone = rectiflow().arg("schedule").arg(run()).arg("--legacy-double-shift").assert();
    alone.code(2).stderr(says("--export"));
}
