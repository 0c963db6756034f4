//! `invert` and `edit`, end to end with a tiny network: to the noise and back, and to another class.

use crate::common::{json, rectiflow, run};
use crate::restore::{attentive, distance, numbers, own_pictures, pixels};
use assert_cmd::Command;
use serde_json::Value;
use std::{fs, path::PathBuf};

/// `invert` and `sample --noise` are each other's way back: what the report says of the round trip is what the two files say.
///
/// Mutants: a file's classes that `sample` does not read, noise that `sample` draws all the same, `--exact` that walks the plain way.
#[test]
fn pictures_go_to_noise_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let originals = own_pictures(&at("in"));
    let invert = |model: PathBuf, to: &str, more: &[&str]| {
        let mut command = rectiflow();
        command.arg("invert").arg(model).arg("--input").arg(at("in")).args(["--class", "3,5,7", "--steps", "8"]);
        json(command.args(more).arg("-o").arg(at(to)))
    };
    let sample = |model: PathBuf, noise: &str, to: &str, more: &[&str]| {
        let mut command = rectiflow();
        command.arg("sample").arg(model).args(["--steps", "8", "--noise"]).arg(at(noise)).args(more);
        let report = json(command.arg("-o").arg(at(to)));
        assert_eq!(report["count"], 3);
        numbers(&at(to))
    };
    let error = |report: &Value| report["error"].as_f64().unwrap();
    let midpoint = ["--solver", "midpoint"];
    let plain = invert(attentive(), "plain.safetensors", &midpoint);
    let back = sample(attentive(), "plain.safetensors", "back.npy", &midpoint);
    assert!((distance(&back, &originals) - error(&plain)).abs() < 1e-5, "{plain}");
    assert_eq!((&plain["nfe"], &plain["pictures"]), (&serde_json::json!([16, 16]), &3.into()));
    // The file's own classes, in turn; other ones lead elsewhere.
    let with = |to: &str, class: &str| {
        sample(attentive(), "plain.safetensors", to, &[&midpoint[..], &["--class", class]].concat())
    };
    assert_eq!(back, with("same.npy", "3,5,7"));
    assert_ne!(back, with("other.npy", "5,7,3"));
    // On a flow that is nearly straight: the second order leaves the first behind, and undone exactly the first comes back as well,
    // from an array without classes too.
    let euler = ["--solver", "euler"];
    let (first, second) = (invert(run(), "euler.npy", &euler), invert(run(), "midpoint.npy", &midpoint));
    let exact = invert(run(), "exact.npy", &[&euler[..], &["--exact"]].concat());
    assert!(error(&first) > 3.0 * error(&second).max(error(&exact)), "{first} {second} {exact}");
    let back = sample(run(), "exact.npy", "exact-back.npy", &[&euler[..], &["--class", "3,5,7"]].concat());
    assert!(distance(&back, &originals) < 1e-4, "{exact}");
    let refused = |args: &[&str], code: i32, words: &str| {
        let mut command = rectiflow();
        let output = command.args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(words), "{args:?}: {said}");
        assert!(!at("no.npy").exists() && !at("no.png").exists(), "{args:?}");
    };
    let (model, input, no) = (run().display().to_string(), at("in").display().to_string(), at("no.npy"));
    let (no, png) = (no.display().to_string(), at("no.png").display().to_string());
    let base = ["invert", &model, "--input", &input, "--class", "1", "-o", &no];
    let with = |more: &[&'static str]| [&base[..], more].concat();
    refused(&["invert", &model, "--input", &input, "--class", "1", "-o", &png], 2, "noise is no picture");
    refused(&["invert", &model, "--input", &input, "-o", &no], 2, "--class none");
    refused(&with(&["--solver", "euler_maruyama"]), 2, "noise of its own");
    refused(&with(&["--solver", "dopri5", "--exact"]), 2, "leave it out");
    refused(&with(&["--seed", "1"]), 2, "nothing at random");
    refused(&with(&["--num", "0"]), 2, "at least one picture");
    image::GrayImage::new(32, 32).save(at("in/wide.png")).unwrap();
    fs::create_dir(at("wide")).unwrap();
    fs::rename(at("in/wide.png"), at("wide/a.png")).unwrap();
    let wide = at("wide").display().to_string();
    refused(&["invert", &model, "--input", &wide, "--class", "1", "-o", &no], 2, "--resize");
    let sheet = at("exact.npy").display().to_string();
    refused(&["sample", &model, "--noise", &sheet, "--data", "x", "-o", &no], 2, "give one");
    fs::write(at("torn.npy"), &fs::read(at("exact.npy")).unwrap()[..500]).unwrap();
    refused(&["sample", &model, "--noise", &at("torn.npy").display().to_string(), "-o", &no], 1, "torn.npy");
    let small = at("small.npy");
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 2, 2), }\n";
    let bytes = [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), &[0; 16]].concat();
    fs::write(&small, bytes).unwrap();
    refused(&["sample", &model, "--noise", &small.display().to_string(), "-o", &no], 2, "starts from points of");
}

/// Every way of editing on one model with attention: what each costs, what is written, and that it does what its settings say.
///
/// Mutants: features that are stored and never put back, a start that is not read, a source that is taken for the target.
#[test]
fn pictures_are_edited() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    own_pictures(&at("in"));
    let edit = |to: &str, args: &[&str]| {
        let mut command = rectiflow();
        command.arg("edit").arg(attentive()).args(["--source-class", "2", "--steps", "4", "--input"]).arg(at("in"));
        command.args(args).arg("-o").arg(at(to));
        command
    };
    let rf = |inject: usize| format!("{{ type = \"rf_edit\", inject = {inject} }}");
    let near = "{ type = \"sd_edit\", start = 0.99 }";
    let methods = ["inversion", "euler-inversion", &rf(4), "flow-edit", "sd-edit", near].join(",");
    let report = json(&mut edit("all", &["--class", "9", "--method", &methods]));
    let rows = report["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["method"].as_str().unwrap()).collect();
    let wanted = ["source", "inversion", "euler_inversion", "rf_edit", "flow_edit", "sd_edit", "sd_edit"];
    assert_eq!(names, wanted);
    let nfe: Vec<u64> = rows.iter().map(|row| row["nfe"].as_u64().unwrap()).collect();
    // There and back with two evaluations a step; two a step of those from 0.33 on; what is left from 0.5 and from 0.99 on.
    assert_eq!(nfe, [0, 16, 8, 16, 4, 4, 2]);
    let held: Vec<bool> = rows.iter().map(|row| row["mib"].as_f64().unwrap() > 0.0).collect();
    assert_eq!(held, [false, false, false, true, false, false, false]);
    let psnr = |row: usize| rows[row]["psnr"].as_f64().unwrap();
    assert!(psnr(6) > psnr(5) + 10.0, "hardly noised, hardly changed: {report}");
    assert!(
        pixels(&at("all/rf_edit/000000.png")) != pixels(&at("all/inversion/000000.png")),
        "features were not put back"
    );
    // What is shared is the same from files.
    let files = at("files").display().to_string();
    json(&mut edit("kept", &["--class", "9", "--method", &rf(4), "--features", &files]));
    assert_eq!(pixels(&at("all/rf_edit/000000.png")), pixels(&at("kept/rf_edit/000000.png")));
    for file in ["sheet.png", "metrics.json", "source/000002.png", "sd_edit-2/000000.png"] {
        assert!(at("all").join(file).is_file(), "{file}");
    }
    // Asked for what they are, pictures come back; FlowEdit adds nothing at all.
    let same = json(&mut edit("same", &["--class", "2", "--method", "inversion,flow-edit"]));
    let again = |row: usize| same["rows"][row]["psnr"].as_f64().unwrap();
    assert!(again(1) > psnr(1) && again(2) > 60.0, "{same} {report}");
    let refused = |mut command: Command, code: i32, words: &str| {
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(words), "{said}");
        assert!(!at("no").exists(), "{words}");
    };
    let no = |args: &[&str]| edit("no", &[&["--class", "9"], args].concat());
    refused(no(&["--method", "p2p"]), 2, "there are rf-edit");
    refused(no(&["--inject", "5"]), 2, "there are 4 steps");
    refused(no(&["--blocks", "5..9"]), 2, "attention layers");
    let idle = at("idle").display().to_string();
    refused(no(&["--method", "flow-edit", "--features", &idle]), 2, "--features");
    assert!(!at("idle").exists());
    refused(no(&["--method", "inversion", "--blocks", "0..1"]), 2, "--blocks");
    refused(no(&["--method", "flow-edit", "--inject", "3"]), 2, "--inject");
    refused(no(&["--blocks", "3"]), 2, "as in 2..6");
    refused(no(&["--solver", "heun"]), 2, "every method names its own");
    refused(no(&["--method", "{ type = \"sd_edit\", start = 1.0 }"]), 2, "start");
    refused(no(&["--method", "{ type = \"flow_edit\", draws = 0 }"]), 2, "draws");
    refused(no(&["--num", "0"]), 2, "at least one picture");
    refused(edit("no", &["--class", "Hat"]), 2, "--class Hat");
    refused(edit("no", &["--prompt", "a hat"]), 2, "cannot be used with");
    let mut plain = rectiflow();
    plain.arg("edit").arg(run()).args(["--class", "9", "--source-class", "2", "--input"]).arg(at("in"));
    plain.arg("-o").arg(at("no"));
    refused(plain, 2, "RF-Edit has nothing to share");
}
