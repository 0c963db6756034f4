//! Alignment that draws new candidates while it learns.

use crate::common::{json, rectiflow, run};
use predicates::prelude::*;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A small model of grey pictures of 8x8, whose brightest tenth is far from white.
fn greys(folder: &Path) -> PathBuf {
    let (data, base) = (folder.join("greys"), folder.join("base"));
    fs::create_dir(&data).unwrap();
    for i in 0..64u32 {
        let grain = |x: u32, y: u32| ((x * 7919 + y * 104_729 + i * 1_299_709).wrapping_mul(2_654_435_761) >> 27) as u8;
        let picture = image::GrayImage::from_fn(8, 8, |x, y| image::Luma([20 + i as u8 + grain(x, y)]));
        picture.save(data.join(format!("{i}.png"))).unwrap();
    }
    let mut train = rectiflow();
    train.args([
        "train",
        "--images",
        "12000",
        "--batch-size",
        "48",
        "--set",
        "network={type=\"mlp\",width=64,depth=2}",
    ]);
    train.args(["--set", "train.validate_every=0", "--set", "train.sample_every=0", "--set", "train.optim.lr=0.003"]);
    train.args(["--set", "sample.steps=8", "--data"]).arg(&data).arg("-o").arg(&base);
    json(&mut train);
    base
}

/// `align WAY` of `base` in rounds of eight steps, logged more seldom than those.
fn align(way: &str, base: &Path, to: &Path, more: &[&str]) -> assert_cmd::Command {
    let mut command = rectiflow();
    command.args(["align", way, "--reward", "oracle:contrast", "-n", "48", "--images", "512", "--batch-size", "16"]);
    command.args(["--set", "train.log_every=10", "--set", "train.checkpoint.every=64"]).args(more);
    command.arg("-o").arg(to).arg(base);
    command
}

/// By samples seen, what the log says of losses, and of the mean reward of each round.
fn said(run: &Path) -> [BTreeMap<u64, f64>; 2] {
    let text = fs::read_to_string(run.join("stats.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str, value: &dyn Fn(&Value) -> Option<f64>| {
        let of_kind = lines.iter().filter(|line| line["kind"] == kind);
        of_kind.filter_map(|line| Some((line["images"].as_u64()?, value(line)?))).collect()
    };
    [of("log", &|line| line["loss"].as_f64()), of("figures", &|line| line["values"]["reward_contrast"].as_f64())]
}

/// New candidates take the place of the old ones, their mean reward rises, and a run that lost its newest checkpoints ends where it did.
/// Mutants: old pairs kept; every round drawn by the model before training; a round drawn anew by the weights of its middle; a mean told at the
/// next line of the log; another round's file of the same shape taken for this one's.
#[test]
fn candidates_are_drawn_anew_while_a_model_learns() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let base = greys(folder.path());
    let keep = ["--set", "train.checkpoint.keep_last=0", "--set", "train.optim.lr=0.01"];
    let online = [&keep[..], &["--online-every", "8"]].concat();
    let each = ["--set", "train.log_every=1"];
    json(&mut align("rwr", &base, &at("once"), &[&keep[..], &each].concat()));
    json(&mut align("rwr", &base, &at("each"), &[&online[..], &each].concat()));
    let report = json(&mut align("rwr", &base, &at("rwr"), &online));
    assert_eq!((&report["rounds"], &report["pairs"][0]), (&4.into(), &48.into()));
    let ([once, none], [losses, _], [_, rewards]) = (said(&at("once")), said(&at("each")), said(&at("rwr")));
    let alike = losses.iter().filter(|(images, loss)| once[images] == **loss).map(|(images, _)| *images);
    assert_eq!(alike.collect::<Vec<_>>(), (1..=8).map(|step| 16 * step).collect::<Vec<_>>(), "the first round alone");
    assert!(none.is_empty());
    assert_eq!(rewards.keys().collect::<Vec<_>>(), [&0, &128, &256, &384], "when each round was drawn");
    let means: Vec<f64> = rewards.values().copied().collect();
    // The mean over 96 samples of a level that is spread by a twelfth: 0.01 is its deviation, and chance alone gives no rise of three.
    assert!(means[3] > means[0] + 0.05 && means[1] > means[0] && means[3] > means[1], "{means:?}");
    assert!(fs::read_to_string(at("rwr/report.html")).unwrap().contains("Reward: contrast"));

    // Continued in the middle of a round: to the bit.
    let drawn = |run: &Path| {
        json(rectiflow().args(["sample", "-n", "4", "--seed", "3", "-o"]).arg(at("s.npy")).arg(run));
        fs::read(at("s.npy")).unwrap()
    };
    let lost = |run: &Path, from: u64| {
        for images in (from..=512).step_by(64) {
            fs::remove_file(run.join(format!("checkpoints/{images:012}.safetensors"))).unwrap();
        }
    };
    let whole = drawn(&at("rwr"));
    assert!(drawn(&at("each")) == whole);
    for from in [256, 192] {
        lost(&at("rwr"), from); // what is left ends in the middle of the second round, then at its beginning
        assert!(drawn(&at("rwr")) != whole, "nothing was lost");
        json(rectiflow().arg("resume").arg(at("rwr")));
        assert_eq!(said(&at("rwr"))[1], rewards);
        assert!(drawn(&at("rwr")) == whole);
    }
    // In the middle of a round its samples are needed; at its beginning they are drawn.
    lost(&at("rwr"), 256);
    let kept = fs::read(at("rwr/rounds/000001.npy")).unwrap();
    let foreign = fs::read(at("rwr/rounds/000002.npy")).unwrap();
    for damage in [None, Some(&kept[..kept.len() - 400]), Some(&foreign[..])] {
        match damage {
            None => fs::remove_file(at("rwr/rounds/000001.npy")).unwrap(),
            Some(bytes) => fs::write(at("rwr/rounds/000001.npy"), bytes).unwrap(),
        }
        let words = predicate::str::contains("000001.npy").and(predicate::str::contains("a multiple of 128 samples"));
        rectiflow().arg("resume").arg(at("rwr")).assert().code(1).stderr(words);
    }
    let begin = at("rwr/checkpoints/000000000128.safetensors").display().to_string();
    json(&mut align("rwr", &base, &at("rwr"), &[&online[..], &["--resume", &begin]].concat()));
    assert!(drawn(&at("rwr")) == whole);
    // Another length of rounds is another run, and so is another judge.
    for other in [&["--online-every", "4"][..], &["--online-every", "8", "--weights", "contrast=2"]] {
        let other = [&keep[..], other, &["--resume", "latest"]].concat();
        align("rwr", &base, &at("rwr"), &other).assert().code(1).stderr(predicate::str::contains("data"));
    }
}

/// The other ways, and rounds that nobody can continue in any more.
#[test]
fn every_way_of_pairs_learns_online() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let base = greys(folder.path());
    for way in ["dpo", "sft"] {
        let more = ["--online-every", "8", "--set", "train.checkpoint.keep_last=1", "--set", "train.optim.lr=0.003"];
        let more = [&more[..], if way == "dpo" { &["--way-set", "dpo.stop_ratio=0"] } else { &[] }].concat();
        json(&mut align(way, &base, &at(way), &more));
        let rewards: Vec<f64> = said(&at(way))[1].values().copied().collect();
        assert!(rewards.len() == 4 && rewards[3] > rewards[0] + 0.02, "{way}: {rewards:?}");
        let left: Vec<_> =
            fs::read_dir(at(way).join("rounds")).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(left, ["000003.npy"], "{way}");
    }
}

/// A later round of ties (steps so long that the brightest tenth of every sample is white) ends the run with what was learned, whatever the way,
/// and again where it is continued.
/// Mutants: an error inside the step; weights of one for all (`rwr` goes on).
#[test]
fn a_later_round_of_ties_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let base = greys(folder.path());
    for (way, rate) in [("dpo", "0.1"), ("rwr", "0.1"), ("sft", "0.15")] {
        let rate = format!("train.optim.lr={rate}");
        let more = ["--online-every", "8", "--set", &rate, "--set", "train.optim.warmup=0"];
        let more = [&more[..], if way == "dpo" { &["--way-set", "dpo.stop_ratio=0"] } else { &[] }].concat();
        let report = json(&mut align(way, &base, &at(way), &more));
        let (images, rounds) = (report["train"]["images"].as_u64().unwrap(), report["rounds"].as_u64().unwrap());
        assert!(images == 128 * rounds && rounds < 4 && report["train"]["stopped"] == false, "{way}: {report}");
        let words = predicate::str::contains("none is preferred by oracle (contrast): training ends here");
        assert!(words.eval(&fs::read_to_string(at(way).join("stats.jsonl")).unwrap()), "{way}");
        let kept = at(way).join(format!("checkpoints/{images:012}.safetensors"));
        assert_eq!(Path::new(report["train"]["checkpoint"].as_str().unwrap()), kept, "{way}");
        let again = json(rectiflow().arg("resume").arg(at(way)));
        assert_eq!((&again["images"], &again["stopped"]), (&images.into(), &false.into()), "{way}");
    }
}

#[test]
fn rounds_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let refused = |way: &str, more: &[&str], words: &str| {
        align(way, &run(), &at("no"), more).assert().code(2).stderr(predicate::str::contains(words));
        assert!(!at("no").exists(), "{words}");
    };
    refused("dpo", &["--online-every", "0"], "at least 1");
    refused("dpo", &["--online-every", "32"], "training ends after 32 steps");
    let mut grpo = rectiflow();
    grpo.args(["align", "grpo", "--reward", "oracle:contrast", "--online-every", "4", "-o"]).arg(at("no")).arg(run());
    grpo.assert().code(2).stderr(predicate::str::contains("draws new samples for every gradient"));
    fs::write(at("pairs.csv"), "path_A,path_B,prompt,VQ\n").unwrap();
    let mut people = rectiflow();
    people.args(["align", "dpo", "--online-every", "4", "--pairs"]).arg(at("pairs.csv")).arg("-o").arg(at("no"));
    people.arg(run()).assert().code(2).stderr(predicate::str::contains("train a reward on the pair file"));
    assert!(!at("no").exists());
}
