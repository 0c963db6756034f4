//! From a base model of images to one that a judge prefers: reward, alignment, win rate.

use crate::common::{Serving, json, rectiflow, run};
use predicates::prelude::*;
use std::fs;

/// A reward on oracle labels, four ways of alignment and their win rates, on an image model.
#[test]
fn an_image_model_is_aligned() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut reward = rectiflow();
    reward.args(["reward", "train", "--oracles", "contrast,match", "-n", "40", "--held-out", "20"]);
    reward.args(["--set", "train.images=64", "--set", "train.batch=8", "-o"]).arg(at("reward")).arg(run());
    let made = json(&mut reward);
    assert_eq!(made["accuracy"][0][0], "contrast");
    assert_eq!(made["accuracy"][1][1]["valid"], 20);
    // A tie band of 35 % by default: so many of the held-out pairs, about, are not decided. By their match: a model that has
    // seen 64 images draws noise whose brightest tenth is white throughout.
    let decided = made["accuracy"][1][1]["decided"].as_u64().unwrap();
    assert!((5..=19).contains(&decided), "{decided}");

    let mut seen = Vec::new();
    let ways = [
        ("dpo", at("reward").display().to_string()),
        ("rwr", "oracle:match".into()),
        ("sft", "oracle:match".into()),
        ("grpo", at("reward").display().to_string()),
    ];
    for (way, judge) in ways {
        let mut align = rectiflow();
        align.args(["align", way]).arg(run()).args(["--reward", &judge, "--images", "32", "--batch-size", "8"]);
        align.args(["--set", "lora={rank=2,alpha=4.0}", "-o"]).arg(at(way));
        // What draws as it learns has no pairs of candidates.
        match way {
            "grpo" => align.args(["--way-set", "grpo.steps=4", "--way-set", "grpo.trained=2"]),
            _ => align.args(["-n", "16"]),
        };
        let report = json(&mut align);
        let [drawn, decided] = [0, 1].map(|i| report["pairs"][i].as_u64().unwrap());
        assert!(if way == "grpo" { drawn == 0 } else { drawn == 16 && decided > 8 }, "{way}: {report}");
        let facts = json(rectiflow().arg("inspect").arg(at(way)));
        assert_eq!(facts["newest"]["about"]["stage"], way);
        // Only the correction is in the checkpoint; the base lies beside it once.
        assert!(at(way).join("checkpoints/frozen.safetensors").is_file());
        let mut rate = rectiflow();
        rate.args(["winrate", "--reward", "oracle:contrast,match", "-n", "12", "--steps", "2"]).arg(at(way)).arg(run());
        let found = json(&mut rate);
        let wins = found["wins"].as_array().unwrap();
        assert_eq!(wins.iter().map(|w| w["axis"].as_str().unwrap()).collect::<Vec<_>>(), ["contrast", "match", "mean"]);
        let means: Vec<f64> = wins[1]["means"].as_array().unwrap().iter().map(|m| m.as_f64().unwrap()).collect();
        assert_ne!(means[0], means[1], "{way} changed nothing");
        seen.push(means[0]);
    }
    assert!(seen[0] != seen[1] && seen[1] != seen[2] && seen[2] != seen[3], "{seen:?}");
    let log = fs::read_to_string(at("grpo").join("stats.jsonl")).unwrap();
    assert!(log.contains("reward_contrast") && log.contains("divergence") && log.contains("clipped"), "{log}");
    // A resume that is refused, here for other candidates, leaves the run's recipe as it was.
    let recipe = fs::read(at("sft/recipe.toml")).unwrap();
    let mut other = rectiflow();
    other.args(["align", "sft"]).arg(run()).args(["--reward", "oracle:match", "-n", "8", "--images", "48"]);
    other.args(["--batch-size", "8", "--set", "lora={rank=2,alpha=4.0}", "--resume", "latest", "-o"]).arg(at("sft"));
    other.assert().code(1).stderr(predicate::str::contains("data"));
    assert!(fs::read(at("sft/recipe.toml")).unwrap() == recipe, "a refused resume wrote into the run");
    // What the log says of a duel: all four errors.
    let stats = fs::read_to_string(at("dpo").join("stats.jsonl")).unwrap();
    assert!(stats.contains("error_winner") && stats.contains("reference_loser") && stats.contains("implicit_accuracy"));
    // Samples that climb a reward have more of it, those that flee it less, and without weight nothing changes.
    // Mutant: the gradient's sign.
    let mut noisy = rectiflow();
    noisy.args(["reward", "train", "--oracles", "contrast,match", "--noisy", "-n", "40", "--held-out", "8"]);
    json(noisy.args(["--set", "train.images=256", "--set", "train.batch=8", "-o"]).arg(at("noisy")).arg(run()));
    let climbed = |weight: &str| {
        let mut rate = rectiflow();
        rate.args(["winrate", "-n", "8", "--steps", "6", "--first-reward-weight", weight]).arg(run()).arg(run());
        let found = json(rate.arg("--reward").arg(at("noisy")).arg("--first-reward").arg(at("noisy")));
        let means = |axis: usize| [0, 1].map(|side| found["wins"][axis]["means"][side].as_f64().unwrap());
        [0, 1].map(|axis| means(axis)[0] - means(axis)[1])
    };
    let (up, down) = (climbed("3"), climbed("-3"));
    assert!(up[0] + up[1] > 0.0 && down[0] + down[1] < 0.0, "{up:?} {down:?}");
    assert_eq!(climbed("0"), [0.0; 2]);
    let one = climbed("match=3");
    assert!(one[1] > 0.0 && one != up, "{one:?} {up:?}");
    // A model against itself is a draw to the sample.
    let mut same = rectiflow();
    same.args(["winrate", "--reward", "oracle:match", "-n", "6", "--steps", "2"]).arg(run()).arg(run());
    assert_eq!(json(&mut same)["wins"][0]["ties"], 1.0);
    // One file of both.
    let mut slim = rectiflow();
    slim.args(["slim", "-o"]).arg(at("whole.safetensors")).arg(at("dpo")).assert().success();
    let sample = |model: std::path::PathBuf, to: &str| {
        json(rectiflow().args(["sample", "-n", "2", "--steps", "2", "-o"]).arg(at(to)).arg(model));
        fs::read(at(to)).unwrap()
    };
    assert!(sample(at("whole.safetensors"), "a.npy") == sample(at("dpo"), "b.npy"), "slim changed the samples");
}

/// A picture of noise about a level, 28x28.
fn picture(path: &std::path::Path, level: f64, seed: u32) {
    let value = |x: u32, y: u32| {
        let noise = (x * 7919 + y * 104_729 + seed * 1_299_709).wrapping_mul(2_654_435_761) >> 24;
        (level * 200.0 + f64::from(noise) * 0.2) as u8
    };
    image::GrayImage::from_fn(28, 28, |x, y| image::Luma([value(x, y)])).save(path).unwrap();
}

/// Pictures that people compared, in the published columns: VQ prefers the brighter, MQ is undecided, TA has no answer.
/// Mutant: verdicts of the pair file exchanged (a reward that prefers the darker agrees with none of those held out).
#[test]
fn a_pair_file_of_pictures_teaches_a_reward_and_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let level = |i: usize| (i * 37 % 40) as f64 / 40.0;
    (0..40).for_each(|i| picture(&at(&format!("{i}.png")), level(i), i as u32));
    let mut csv = "path_A,path_B,prompt,VQ,MQ,TA,fps_A,num_frames_A,fps_B,num_frames_B,who\n".to_string();
    for i in 0..40 {
        let (a, b) = (i, (i * 11 + 5) % 40);
        let vq = if (level(a) - level(b)).abs() < 0.05 {
            "same"
        } else if level(a) > level(b) {
            "A"
        } else {
            "B"
        };
        csv += &format!("{a}.png,{b}.png,{},{vq},same,invalid,8,1,8,1,anna\n", ["Bag", "Sneaker"][i % 2]);
    }
    fs::write(at("pairs.csv"), &csv).unwrap();
    let reward = |more: &[&str]| {
        let mut command = rectiflow();
        command.args(["reward", "train", "--pairs"]).arg(at("pairs.csv")).args(more);
        command.args(["--set", "train.images=480", "--set", "train.batch=16", "-o"]).arg(at("reward")).arg(run());
        command
    };
    // An axis on which nothing is decided teaches nothing; which, and what to do.
    let mut undecided = reward(&[]);
    undecided
        .assert()
        .code(1)
        .stderr(predicate::str::contains("none is decided on MQ").and(predicate::str::contains("--axes")));
    let made = json(&mut reward(&["--axes", "VQ", "--held-out", "10"]));
    assert_eq!((&made["accuracy"][0][0], &made["accuracy"][0][1]["valid"]), (&"VQ".into(), &10.into()));
    let right = made["accuracy"][0][1]["without_ties"].as_f64().unwrap();
    assert!(right >= 0.8, "{made}");
    assert!(made["labels"].as_str().unwrap().starts_with("people ("));
    // Held to the same file: an oracle of brightness is always right, whether it is named by its axis or as the whole.
    // Mutants, named and not run: the two samples of a pair exchanged, ties counted among the decided.
    let bench = |judge: &str, more: &[&str]| {
        let mut command = rectiflow();
        command.args(["reward", "bench", judge, "--pairs"]).arg(at("pairs.csv")).args(more);
        command
    };
    let model = run().display().to_string();
    let found = json(&mut bench("oracle:contrast", &["--model", &model, "--axes", "VQ", "--by", "VQ=contrast"]));
    let held = &found["axes"][0];
    assert_eq!((&held["axis"], &held["by"]), (&"VQ".into(), &"contrast".into()));
    assert_eq!((&held["accuracy"]["without_ties"], &held["accuracy"]["valid"]), (&1.0.into(), &40.into()), "{found}");
    let decided = csv.lines().filter(|line| line.contains(",A,same") || line.contains(",B,same")).count();
    assert_eq!(held["accuracy"]["decided"], decided);
    assert!(held["accuracy"]["with_ties"].as_f64().unwrap() > held["chance"].as_f64().unwrap());
    // Free text is no class, and matters to nobody but an axis that asks. Mutant: it is refused either way, as once.
    let table = fs::read_to_string(at("pairs.csv")).unwrap();
    fs::write(at("pairs.csv"), table.replace(",Bag,", ",a dark bag on a table,")).unwrap();
    let free = json(&mut bench("oracle:contrast", &["--model", &model, "--axes", "VQ", "--by", "VQ=contrast"]));
    assert_eq!(free["axes"], found["axes"]);
    bench("oracle:match", &["--model", &model, "--axes", "VQ", "--by", "VQ=match"])
        .assert()
        .code(1)
        .stderr(predicate::str::contains("a dark bag on a table").and(predicate::str::contains("is no class")));
    fs::write(at("pairs.csv"), table).unwrap();
    bench("oracle:contrast", &[]).assert().code(2).stderr(predicate::str::contains("--model"));
    let trained = at("reward").display().to_string();
    let found = json(&mut bench(&trained, &[]));
    assert_eq!(found["axes"].as_array().unwrap().len(), 1, "MQ and TA are no axes of it: {found}");
    bench(&trained, &["--by", "MQ=beauty"]).assert().code(2).stderr(predicate::str::contains("the reward VQ"));
    // And every picture of a folder: the brightest is the best.
    let score = |judge: &str, output: &str, more: &[&str]| {
        let mut command = rectiflow();
        command.args(["reward", "score", judge, "--input"]).arg(folder.path()).args(more);
        command.arg("-o").arg(at(output));
        command
    };
    fs::write(at("broken.png"), &fs::read(at("0.png")).unwrap()[..60]).unwrap();
    let of_model = ["--model", model.as_str()];
    score("oracle:contrast", "s.csv", &of_model).assert().code(1).stderr(predicate::str::contains("--skip-unreadable"));
    assert!(!at("s.csv").exists());
    let made = json(&mut score("oracle:contrast", "s.csv", &["--model", &model, "--skip-unreadable"]));
    let best = (0..40).max_by(|a, b| level(*a).total_cmp(&level(*b))).unwrap();
    assert_eq!(
        (&made["count"], made["ends"][0].as_str().unwrap()),
        (&40.into(), at(&format!("{best}.png")).to_str().unwrap())
    );
    let table = fs::read_to_string(at("s.csv")).unwrap();
    assert!(table.starts_with("path,prompt,contrast,mean\n") && table.lines().count() == 41, "{table}");
    json(&mut score(&trained, "s.jsonl", &["--skip-unreadable"]));
    let first: serde_json::Value =
        serde_json::from_str(fs::read_to_string(at("s.jsonl")).unwrap().lines().next().unwrap()).unwrap();
    assert!(first["VQ"].is_f64() && first["path"].as_str().unwrap().ends_with(".png"), "{first}");
    fs::remove_file(at("broken.png")).unwrap();
    let mut align = rectiflow();
    align.args([
        "align",
        "dpo",
        "--axes",
        "VQ",
        "--images",
        "32",
        "--batch-size",
        "8",
        "--set",
        "lora={rank=2,alpha=4.0}",
    ]);
    align.arg("--pairs").arg(at("pairs.csv")).arg("-o").arg(at("dpo")).arg(run());
    let report = json(&mut align);
    let decided = csv.lines().filter(|line| line.contains(",A,same") || line.contains(",B,same")).count();
    assert_eq!(report["pairs"], serde_json::json!([40, decided]));
    // Everything found is told: what no column is for, and how many there are.
    let refused = |more: &[&str], rows: &str, code: i32, words: &str| {
        fs::write(at("bad.csv"), rows).unwrap();
        let mut command = rectiflow();
        command.args(["reward", "train", "-o"]).arg(at("no")).arg(run()).arg("--pairs").arg(at("bad.csv")).args(more);
        command.assert().code(code).stderr(predicate::str::contains(words));
        assert!(!at("no").exists(), "{words}");
    };
    let two = "path_A,path_B,prompt,VQ\n0.png,1.png,Bag,A\n2.png,gone.png,Bag,B\n3.png,4.png,Bag,A\n";
    refused(&[], two, 1, "line 3");
    refused(&[], two, 1, "--skip-unreadable");
    refused(&["--skip-unreadable", "--held-out", "2"], two, 2, "has 2 pairs");
    refused(&["--asks", "TA"], &two.replace("gone", "5"), 2, "--asks TA: the axes are VQ");
    refused(&["--set", "loss.type=regression"], &two.replace("gone", "5"), 2, "MOS_A_");
    refused(&["--axes", "TA"], two, 1, "no axis `TA`");
    refused(&["-n", "3"], two, 2, "cannot be used with");
    let mut rwr = rectiflow();
    rwr.args(["align", "rwr", "-o"]).arg(at("no")).arg(run()).arg("--pairs").arg(at("pairs.csv"));
    rwr.assert().code(2).stderr(predicate::str::contains("train a reward on it first"));
}

/// The page's own requests, made by a script: 100 pairs, the program killed in the middle of them, and a reward from its file.
/// Mutants: the answer told before it is on the disk; a pair of two classes; an old window's answer taken for the next pair.
#[test]
fn a_hundred_pairs_are_labelled_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let samples = at("samples");
    fs::create_dir(&samples).unwrap();
    json(rectiflow().args(["sample", "-n", "60", "--steps", "1", "-o"]).arg(&samples).arg(run()));
    fs::write(samples.join("readme.md"), "no sample").unwrap();
    let label = || {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("rectiflow"));
        command.args(["label", "--axes", "VQ,MQ", "-n", "100", "--listen", "127.0.0.1:0", "-o"]).arg(at("pairs.jsonl"));
        command.arg(&samples);
        Serving::of(command)
    };
    let state = |bytes: Vec<u8>| -> serde_json::Value { serde_json::from_slice(&bytes).unwrap() };
    let level = |serving: &Serving, url: &str| -> f64 {
        let picture = image::load_from_memory(&serving.get(url)).unwrap().into_luma8();
        picture.as_raw().iter().map(|v| f64::from(*v)).sum::<f64>() / picture.as_raw().len() as f64
    };
    // The brighter one has more of VQ, and nobody can tell MQ.
    let answer = |serving: &Serving, now: &serde_json::Value| {
        let pair = &now["pair"];
        let [a, b] = [0, 1].map(|side| level(serving, pair["samples"][side]["url"].as_str().unwrap()));
        let said =
            serde_json::json!({ "pair": pair["id"], "answers": { "VQ": if a > b { "A" } else { "B" }, "MQ": "same" } });
        state(serving.post("/api/answers", &said.to_string()))
    };
    let lines = || fs::read_to_string(at("pairs.jsonl")).unwrap().lines().count();
    let (mut serving, said) = label();
    assert!(said.contains("60 samples of 10 prompts, 100 pairs, 0 of them answered"), "{said}");
    assert!(said.contains("passed over: 1 files that are neither pictures nor sounds (readme.md)"), "{said}");
    assert!(serving.get("/").windows(9).any(|part| part == b"api/state"), "the page asks for its state");
    let mut now = state(serving.get("/api/state"));
    let first = now.clone();
    for done in 0..50 {
        assert_eq!((&now["done"], lines()), (&done.into(), done));
        now = answer(&serving, &now);
    }
    // A second window still shows the first pair, and an answer of it goes nowhere.
    let said = serde_json::json!({ "pair": first["pair"]["id"], "answers": { "VQ": "A", "MQ": "A" } });
    let stale = state(serving.post("/api/answers", &said.to_string()));
    assert_eq!(stale["error"]["code"], "other_pair");
    let wrong = state(serving.post("/api/answers", "{\"pair\": \"50\", \"answers\": {\"VQ\": \"better\"}}"));
    assert!(wrong["error"]["message"].as_str().unwrap().contains("A, B, same or invalid on VQ"), "{wrong}");
    serving.kill();
    assert_eq!(lines(), 50, "every answer that was acknowledged, and no other");
    let half = [fs::read(at("pairs.jsonl")).unwrap(), b"{\"path_A\": \"sam".to_vec()].concat();
    fs::write(at("pairs.jsonl"), half).unwrap();
    let (mut serving, said) = label();
    assert!(said.contains("50 of them answered") && said.contains("half written"), "{said}");
    assert_eq!(state(serving.get("/api/state"))["pair"], now["pair"], "it goes on where it was");
    let undone = state(serving.post("/api/undo", "{\"kept\": 50}"));
    assert_eq!((&undone["done"], lines()), (&49.into(), 49));
    assert_eq!(state(serving.post("/api/undo", "{\"kept\": 50}"))["error"]["code"], "other_pair");
    now = undone;
    while !now["pair"].is_null() {
        now = answer(&serving, &now);
    }
    assert_eq!((&now["done"], &now["kept"], lines()), (&100.into(), &100.into(), 100));
    assert_eq!(serving.terminate(), Some(143));
    // Every pair is of one class, and the file is what a reward learns from.
    let rows: Vec<serde_json::Value> = fs::read_to_string(at("pairs.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let number = |row: &serde_json::Value, key: &str| -> usize {
        let path = row[key].as_str().unwrap();
        path.strip_prefix("samples/").and_then(|name| name.strip_suffix(".png")).unwrap().parse().unwrap()
    };
    assert!(rows.iter().all(|row| number(row, "path_A") % 10 == number(row, "path_B") % 10));
    assert_eq!(rows[0]["prompt"], first["pair"]["prompt"]);
    let mut train = rectiflow();
    train.args(["reward", "train", "--axes", "VQ", "--set", "train.images=64", "--set", "train.batch=16", "--pairs"]);
    let made = json(train.arg(at("pairs.jsonl")).arg("-o").arg(at("reward")).arg(run()));
    assert_eq!((&made["accuracy"][0][1]["decided"], &made["accuracy"][0][0]), (&10.into(), &"VQ".into()));
    // What somebody said of another folder is not taken back from here, also where the last line has no end.
    let others = "{\"path_A\": \"x/a.png\", \"path_B\": \"x/b.png\", \"prompt\": \"\", \"VQ\": \"A\", \"MQ\": \"A\"}";
    fs::write(at("pairs.jsonl"), fs::read_to_string(at("pairs.jsonl")).unwrap() + others).unwrap();
    let (mut serving, said) = label();
    assert!(said.contains("100 of them answered") && !said.contains("half written"), "{said}");
    assert_eq!(state(serving.post("/api/undo", "{\"kept\": 101}"))["error"]["code"], "nothing");
    assert_eq!((lines(), serving.terminate()), (101, Some(143)));
    // What is in the way is said before anything is served.
    let refused = |args: &[&str], code: i32, words: &str| {
        let mut command = rectiflow();
        command.args(["label", "--listen", "127.0.0.1:0"]).args(args).current_dir(folder.path());
        command.assert().code(code).stderr(predicate::str::contains(words));
    };
    refused(&["samples", "-o", "pairs.jsonl"], 2, "--axes VQ,MQ");
    refused(&["samples", "-o", "pairs.csv"], 2, ".jsonl");
    refused(&["nowhere"], 1, "no such folder");
    refused(&["reward", "-o", "new.jsonl"], 2, "no two of one prompt");
    assert!(!at("new.jsonl").exists());
}

/// Rewards and alignments whose newest checkpoint is lost end where they did.
/// Mutants: candidates of another seed; a reference that is the checkpoint and not the model; a round of samples drawn under another number.
#[test]
fn alignments_are_continued_from_their_folders_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let keep = ["--set", "train.checkpoint.every=16", "--set", "train.checkpoint.keep_last=9"];
    let mut reward = rectiflow();
    reward.args(["reward", "train", "--oracles", "contrast,match", "-n", "16", "--held-out", "4"]).args(keep);
    reward.args(["--set", "train.images=32", "--set", "train.batch=8", "-o"]).arg(at("reward")).arg(run());
    json(&mut reward);
    for way in ["dpo", "grpo"] {
        let mut align = rectiflow();
        align.args(["align", way, "--reward", "reward", "--images", "32", "--batch-size", "8"]).args(keep);
        align.args(["--set", "lora={rank=2,alpha=4.0}", "-o", way]).arg(run()).current_dir(folder.path());
        match way {
            "grpo" => align.args(["--way-set", "grpo.steps=3", "--way-set", "grpo.trained=2"]),
            _ => align.args(["-n", "12"]),
        };
        json(&mut align);
    }
    let mean = |reward: &std::path::Path, first: &std::path::Path| {
        let mut rate = rectiflow();
        rate.args(["winrate", "-n", "4", "--steps", "2", "--reward"]).arg(reward).arg(first).arg(run());
        json(&mut rate)["wins"][0]["means"].clone()
    };
    for name in ["dpo", "grpo", "reward"] {
        let drawn = || if name == "reward" { mean(&at(name), &run()) } else { mean(&at("reward"), &at(name)) };
        let (last, before) = (at(name).join("checkpoints/000000000032.safetensors"), drawn());
        fs::remove_file(&last).unwrap();
        assert_ne!(drawn(), before, "{name}: nothing was lost");
        let done = json(rectiflow().arg("resume").arg(at(name)));
        assert!(last.is_file() && done["stopped"] == false, "{name}: {done}");
        assert_eq!(drawn(), before, "{name}");
    }
    fs::remove_dir_all(at("reward")).unwrap();
    fs::remove_file(at("dpo/checkpoints/000000000032.safetensors")).unwrap();
    rectiflow().arg("resume").arg(at("dpo")).assert().code(1).stderr(predicate::str::contains("reward"));
}

#[test]
fn what_cannot_be_judged_or_aligned_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let align = |reward: &str, more: &[&str]| {
        let mut command = rectiflow();
        command.args(["align", "dpo"]).arg(run()).args(["--reward", reward]).args(more).arg("-o").arg(at("no"));
        command
    };
    let refused = |mut command: assert_cmd::Command, code: i32, words: &str| {
        command.assert().code(code).stderr(predicate::str::contains(words));
        assert!(!at("no").exists(), "{words}");
    };
    refused(align("oracle:beauty", &[]), 2, "there are contrast");
    refused(align("oracle:motion", &[]), 2, "four frames");
    refused(align("oracle:contrast", &["--weights", "match=1"]), 2, "no such axis");
    refused(align("oracle:contrast", &["--way-set", "dpo.beta=-1"]), 2, "dpo.beta");
    refused(align("oracle:contrast", &["--way-set", "dpo.bta=1"]), 2, "bta");
    refused(align("oracle:contrast", &["--way-set", "rwr.cap=2"]), 2, "settings of `dpo`");
    refused(align("oracle:contrast", &["-n", "0"]), 2, "at least one pair");
    let grpo = |more: &[&str]| {
        let mut command = rectiflow();
        command
            .args(["align", "grpo"])
            .arg(run())
            .args(["--reward", "oracle:contrast"])
            .args(more)
            .arg("-o")
            .arg(at("no"));
        command
    };
    refused(grpo(&["-n", "9"]), 2, "leave --num out");
    refused(grpo(&["--batch-size", "12"]), 2, "no whole groups of grpo.group = 8");
    refused(grpo(&["--way-set", "grpo.group=1"]), 2, "grpo.group");
    refused(align("oracle:contrast", &["--set", "network.type=mlp"]), 2, "align keeps the model's network");
    refused(align(&at("nothing").display().to_string(), &[]), 1, "no such file");
    let model = run().display().to_string();
    refused(align(&model, &[]), 2, "not a reward");
    let sample = |args: &[&str]| {
        let mut command = rectiflow();
        command.arg("sample").arg(run()).args(args).arg("-o").arg(at("no"));
        command
    };
    refused(sample(&["--reward", &model]), 2, "not a reward");
    refused(sample(&["--reward-weight", "2"]), 2, "--reward");
}
