//! A flow between two folders of images, end to end: trained, scored, applied, reflowed and distilled.

use crate::common::{json, rectiflow, run, train_tiny};
use std::fs;

/// Two folders of files with the same names: bars that stand, and the same bars lying, grey levels by number.
fn two_styles() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (style, stands) in [("standing", true), ("lying", false)] {
        fs::create_dir(folder.path().join(style)).unwrap();
        for i in 0..40u8 {
            let bar = |x: u32, y: u32| (if stands { x } else { y }) / 2 == u32::from(i % 4);
            let image = image::GrayImage::from_fn(8, 8, |x, y| image::Luma([if bar(x, y) { 255 - 4 * i } else { 0 }]));
            image.save(folder.path().join(style).join(format!("bar{i:02}.png"))).unwrap();
        }
    }
    folder
}

#[test]
fn one_folder_of_images_is_carried_to_another() {
    let folder = two_styles();
    let at = |name: &str| folder.path().join(name);
    let train = |args: &[&str]| {
        let mut command = train_tiny();
        command.arg("--source").arg(at("standing")).arg("--data").arg(at("lying")).args(["--set", "data.holdout=0.2"]);
        command
            .args(["--set", "task.source.holdout=0.2", "--set", "data.limit=32", "--set", "train.sample_every=32"])
            .args(args);
        command
    };
    train(&["--set", "coupling.type=optimal_transport", "-o"]).arg(at("base")).assert().success();
    assert!(fs::read_dir(at("base/samples")).unwrap().count() > 0, "a sheet of sources and what they become");
    // Against the counterparts, with the two answers that take no flow.
    let found = json(
        rectiflow().arg("transfer").arg(at("base")).args(["--lpips", "none", "--steps", "1,3", "-o"]).arg(at("t.png")),
    );
    assert_eq!(found["images"], 8);
    let rows = found["rows"].as_array().unwrap();
    let what: Vec<_> = rows.iter().map(|row| (row["what"].as_str().unwrap(), row["nfe"].as_u64().unwrap())).collect();
    assert_eq!(what, [("source", 0), ("nearest", 0), ("flow", 1), ("flow", 3)]);
    // A standing bar against the lying one of its own: in 8 x 8 pixels 12 + 12 of 64 differ by the bar's grey level.
    let l2 = rows[0]["l2"].as_f64().unwrap();
    assert!((0.7..1.3).contains(&l2), "{l2}");
    assert!(at("t.png").is_file());
    // Somebody's own images keep their names.
    rectiflow()
        .arg("sample")
        .arg(at("base"))
        .arg("--data")
        .arg(at("standing"))
        .args(["--num", "40", "-o"])
        .arg(at("out"))
        .assert()
        .success();
    assert!(at("out/bar39.png").is_file());
    // Pairs start from the source's images, and there are no more of them than images.
    let too_many = rectiflow()
        .args(["reflow", "--teacher"])
        .arg(at("base"))
        .args(["--num", "33", "-o"])
        .arg(at("no"))
        .output()
        .unwrap();
    assert!(too_many.status.code() == Some(2) && String::from_utf8_lossy(&too_many.stderr).contains("there are 32"));
    let students = [("reflow", "pairs.generate.inverted=0.25"), ("distill", "distill.steps=1")];
    for (verb, set) in students {
        rectiflow()
            .args([verb, "--teacher"])
            .arg(at("base"))
            .args(["--num", "32", "--set", set, "--set", "pairs.generate.steps=2"])
            .args(["--set", "train.batch=16", "-o"])
            .arg(at(verb))
            .assert()
            .success();
    }
    let pairs = json(rectiflow().arg("inspect").arg(at("reflow/pairs")));
    assert!(pairs["made"]["inverted"] == 0.25 && pairs["made"]["start"] != "noise", "{pairs}");
    let table =
        json(rectiflow().arg("eval").arg(at("distill")).args(["--num", "16", "--steps", "1", "--features", "pixels"]));
    assert_eq!(table["data"].as_str().unwrap().matches('→').count(), 1);
    rectiflow()
        .arg("schedule")
        .arg(at("base"))
        .args(["--steps", "2", "--anchors", "20", "--num", "8", "-o"])
        .arg(at("s"))
        .assert()
        .success();
    rectiflow().arg("diagnose").arg(at("base")).args(["--steps", "2", "--num", "4"]).assert().success();
    rectiflow()
        .arg("plan")
        .args(["--source"])
        .arg(at("standing"))
        .arg("--data")
        .arg(at("lying"))
        .args(["--set", "network.channels=8"])
        .assert()
        .success();
    let refused = |command: &mut assert_cmd::Command, words: &str| {
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).to_string();
        assert!(output.status.code() == Some(2) && said.contains(words), "{said}");
    };
    // A guide's targets lie on paths from fresh noise, which this flow never sees.
    let mut guided = rectiflow();
    guided.args(["distill", "--num", "32", "--set", "distill.target={type='guided'}", "-o"]).arg(at("no"));
    refused(guided.arg("--teacher").arg(at("base")), "fresh noise");
    // What rests on noise is refused, and so is a model from noise where images are given.
    refused(rectiflow().arg("likelihood").arg(at("base")).args(["--num", "2"]), "starts from a data set");
    let stochastic = rectiflow().arg("sample").arg(at("base")).args(["--solver", "euler_maruyama"]).output().unwrap();
    assert!(!stochastic.status.success() && String::from_utf8_lossy(&stochastic.stderr).contains("independent pairs"));
    refused(rectiflow().arg("sample").arg(run()).arg("--data").arg(at("standing")), "starts from noise");
    refused(rectiflow().arg("transfer").arg(run()), "starts from noise");
    refused(&mut train(&["--dry-run", "--set", "path.type=vp"]), "begin at noise");
    refused(&mut train(&["--set", "task.source.size=4", "-o", "/tmp/never-made"]), "source.size");
}
