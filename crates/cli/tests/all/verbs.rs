//! Every verb does what it says, end to end, with a tiny network.

use crate::common::{checkpoint, json, rectiflow, run, train_tiny};
use predicates::prelude::*;
use serde_json::Value;
use std::fs;

#[test]
fn help_of_every_verb() {
    let all = rectiflow().arg("--help").output().unwrap();
    let all = String::from_utf8_lossy(&all.stdout).to_string();
    let commands = all.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let verb =
        |line: &str| Some(line.strip_prefix("  ")?.split(' ').next()?.to_owned()).filter(|name| !name.is_empty());
    let verbs: Vec<String> = commands.filter_map(verb).collect();
    assert!(verbs.len() > 25 && verbs.contains(&"report".to_owned()), "{verbs:?}");
    for verb in verbs {
        rectiflow()
            .args([verb.as_str(), "--help"])
            .assert()
            .success()
            .stdout(predicate::str::contains("Usage: rectiflow"));
    }
    for action in [["data", "list"], ["data", "get"], ["data", "show"], ["classifier", "train"]] {
        rectiflow().args(action).arg("--help").assert().success();
    }
    rectiflow().arg("--version").assert().success().stdout(predicate::str::starts_with("rectiflow "));
}

#[test]
fn completions_and_manual() {
    for shell in ["bash", "zsh", "fish"] {
        rectiflow().args(["completions", shell]).assert().success().stdout(predicate::str::contains("reflow"));
    }
    rectiflow()
        .arg("man")
        .assert()
        .success()
        .stdout(predicate::str::contains(".TH").and(predicate::str::contains("distill")));
    let folder = tempfile::tempdir().unwrap();
    rectiflow().args(["man", "-o"]).arg(folder.path().join("man")).assert().success();
    let page = fs::read_to_string(folder.path().join("man/rectiflow-sample.1")).unwrap();
    assert!(page.contains(".TH") && page.contains("negative"), "{page}");
}

#[test]
fn dry_runs_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let dry = json(train_tiny().arg("--dry-run").arg("-o").arg(&out));
    assert_eq!((&dry["recipe"]["train"]["batch"], &dry["data"]["samples"]), (&16.into(), &96.into()));
    rectiflow()
        .args(["demo", "--dry-run", "-o"])
        .arg(&out)
        .assert()
        .success()
        .stdout(predicate::str::contains("[network]"));
    rectiflow().args(["sample", "--dry-run", "-o"]).arg(&out).arg(run()).assert().success();
    rectiflow().args(["reflow", "--dry-run", "-o"]).arg(&out).arg("--teacher").arg(run()).assert().success();
    assert!(!out.exists());
}

#[test]
fn samples_do_not_depend_on_batch_size_or_threads() {
    let folder = tempfile::tempdir().unwrap();
    let draw = |name: &str, batch: &str, threads: &str| {
        let path = folder.path().join(name);
        let mut command = assert_cmd::Command::cargo_bin("rectiflow").unwrap();
        command.args(["sample", "--seed", "5", "-n", "13", "--steps", "3", "--guidance-scale", "1.5", "--quiet"]);
        command.args(["--batch-size", batch, "--threads", threads, "-o"]).arg(&path).arg(run());
        command.assert().success();
        fs::read(path).unwrap()
    };
    let one = draw("a.npy", "13", "2");
    assert!(one == draw("b.npy", "4", "2"), "batch size 4 differs from 13");
    assert!(one == draw("c.npy", "1", "1"), "one by one on one thread differs");
}

#[test]
fn samples_say_how_they_were_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sheet.png");
    let sample = |output: &std::path::Path| {
        let mut command = rectiflow();
        command.args(["sample", "-n", "6", "--steps", "2", "--seed", "9", "--class", "Bag,1", "--quiet", "-o"]);
        command.arg(output).arg(checkpoint()).assert().success();
    };
    sample(&path);
    let bytes = fs::read(&path).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    for part in
        ["parameters", "Steps: 2, Sampler: euler, CFG scale: 1, Seed: 9", "rectiflow", "\"classes\":[8,1,8,1,8,1]"]
    {
        assert!(text.contains(part), "{part}");
    }
    sample(&folder.path().join("singles"));
    assert_eq!(fs::read_dir(folder.path().join("singles")).unwrap().count(), 6);
    sample(&folder.path().join("set.safetensors"));
    assert!(folder.path().join("set.safetensors").is_file());
}

#[test]
fn a_run_continues() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    train_tiny().arg("-o").arg(&out).assert().success();
    let mut longer = train_tiny();
    longer.args(["--images", "96", "--resume", "latest", "-o"]).arg(&out);
    assert_eq!(json(&mut longer)["images"], 96);
    let facts = json(rectiflow().arg("inspect").arg(&out));
    assert_eq!((&facts["kind"], &facts["newest"]["images"]), (&"run".into(), &96.into()));
    for file in ["recipe.toml", "stats.jsonl"] {
        assert!(out.join(file).is_file(), "{file}");
    }
}

/// Ctrl-C ends a run with a checkpoint that the next command continues.
#[test]
#[cfg(unix)]
fn ctrl_c_leaves_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("rectiflow"));
    command.args([
        "train",
        "--quiet",
        "--set",
        "network.channels=8",
        "--set",
        "network.patch=2",
        "--images",
        "10000000",
    ]);
    command.args(["--set", "data.limit=96", "--set", "train.validate_every=0", "-o"]).arg(&out);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let began = std::time::Instant::now();
    let stepping = || fs::read_to_string(out.join("stats.jsonl")).is_ok_and(|text| text.contains("\"log\""));
    while !stepping() && began.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let facts = json(rectiflow().arg("inspect").arg(&out));
    assert!(facts["newest"]["images"].as_u64().is_some_and(|images| images > 0), "{facts}");
}

#[test]
fn likelihood_is_measured_and_does_not_depend_on_the_batch() {
    let measure = |more: &[&str]| {
        let mut command = rectiflow();
        command.args(["likelihood", "-n", "6", "--steps", "2"]).arg(run()).args(more);
        json(&mut command)
    };
    let whole = measure(&[]);
    let bits = whole["bits_per_dimension"].as_f64().unwrap();
    // A hardly trained network is worse than the 8 bits of uniform bytes or near them, never below one.
    assert!((1.0..40.0).contains(&bits), "{whole}");
    assert!(whole["standard_error"].as_f64().unwrap() > 0.0 && whole["samples"] == 6 && whole["nfe"] == 4, "{whole}");
    let parts = measure(&["--batch-size", "2"]);
    assert!((parts["bits_per_dimension"].as_f64().unwrap() - bits).abs() < 1e-4, "{parts} {whole}");
    assert_ne!(measure(&["--seed", "1"])["bits_per_dimension"], whole["bits_per_dimension"]);
    rectiflow().arg("likelihood").arg(run()).args(["-n", "0"]).assert().code(2);
    rectiflow().arg("likelihood").arg(run()).args(["--probes", "0"]).assert().failure();
    rectiflow().arg("likelihood").arg(run()).args(["--exact", "--probes", "2"]).assert().code(2);
}

/// Mutant: the last weights by default, which samples of a short run would hardly betray.
#[test]
fn the_averaged_weights_are_sampled_unless_others_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let draw = |ema: &[&str]| {
        let file = folder.path().join("samples.npy");
        rectiflow()
            .args(["sample", "-n", "2", "--steps", "2", "-o"])
            .arg(&file)
            .arg(run())
            .args(ema)
            .assert()
            .success();
        fs::read(file).unwrap()
    };
    assert_eq!(draw(&[]), draw(&["--ema", "0.999"]));
    assert_ne!(draw(&[]), draw(&["--ema", "raw"]));
}

#[test]
fn a_model_is_sampled_along_another_path() {
    let folder = tempfile::tempdir().unwrap();
    let draw = |path: &str| {
        let file = folder.path().join(format!("{path}.npy"));
        let sample = ["sample", "-n", "2", "--steps", "3", "--path", path, "-o"];
        assert_eq!(json(rectiflow().args(sample).arg(&file).arg(run()))["nfe"], 3);
        fs::read(file).unwrap()
    };
    assert_ne!(draw("linear"), draw("trigonometric"));
    let refused = |path: &str| rectiflow().args(["sample", "--path", path]).arg(run()).assert();
    refused("lunear").code(2).stderr(predicate::str::contains("lunear"));
    refused("interpolant").failure().stderr(predicate::str::contains("one-sided"));
}

#[test]
fn plan_says_what_it_costs() {
    let mut command = rectiflow();
    command.args(["plan", "--set", "network.channels=8", "--set", "network.patch=2", "--set", "data.limit=64"]);
    let plan = json(command.args(["--batch-size", "8"]));
    for key in ["parameters", "forward_flops", "state_bytes", "activation_bytes", "images_per_second", "seconds"] {
        assert!(plan[key].as_f64().is_some_and(|v| v > 0.0), "{key} in {plan}");
    }
}

/// What `plan` says a run will hold is what it holds, to 15 %.
#[test]
#[cfg(target_os = "linux")]
fn the_planned_memory_is_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let sets = ["network.channels=32", "network.patch=2", "train.batch=64", "train.images=640", "train.seconds=0"];
    let none = ["train.validate_every=0", "train.sample_every=0", "train.log_every=1"];
    let with = |verb: &str| {
        let mut command = rectiflow();
        command.arg(verb);
        sets.iter().chain(&none).for_each(|set| {
            command.args(["--set", set]);
        });
        command
    };
    let planned = json(&mut with("plan"))["peak_bytes"].as_f64().unwrap();
    let out = folder.path().join("run");
    with("train").arg("-o").arg(&out).assert().success();
    let stats = fs::read_to_string(out.join("stats.jsonl")).unwrap();
    let logs = stats.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let held = logs.filter_map(|log| log["memory_peak"].as_f64()).fold(0.0, f64::max);
    assert!(held > 5e7 && (planned / held - 1.0).abs() < 0.15, "planned {planned}, held {held}");
}

/// Blocks that run again for the gradient need less at the peak, and train to the same samples.
#[test]
fn gradient_checkpointing_saves_memory_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let with = |verb: &str, on: bool, sets: &[&str]| {
        let mut command = rectiflow();
        command.arg(verb);
        let deep = ["network.type=dit", "network.width=64", "network.depth=8", "network.heads=4", "network.patch=4"];
        let none = ["train.validate_every=0", "train.sample_every=0", "train.seconds=0"];
        let checkpointing = format!("train.gradient_checkpointing={on}");
        for set in deep.iter().chain(&none).chain(sets).copied().chain([checkpointing.as_str()]) {
            command.args(["--set", set]);
        }
        command
    };
    let planned = |on: bool| json(&mut with("plan", on, &["train.batch=256", "train.images=512"]));
    let (plain, lean) = (planned(false), planned(true));
    let bytes = |plan: &serde_json::Value, key: &str| plan[key].as_f64().unwrap();
    let saved = |key: &str| bytes(&lean, key) / bytes(&plain, key);
    assert!(saved("activation_bytes") < 0.3 && saved("peak_bytes") < 0.7, "{plain} {lean}");
    let weights = |on: bool| {
        let out = folder.path().join(on.to_string());
        let sets = ["train.batch=16", "train.images=48", "data.limit=96", "network.dropout=0.1"];
        json(with("train", on, &sets).arg("-o").arg(&out));
        let sample = folder.path().join(format!("{on}.npy"));
        json(rectiflow().args(["sample", "-n", "2", "--steps", "2", "--ema", "raw", "-o"]).arg(&sample).arg(&out));
        let bytes = fs::read(sample).unwrap();
        bytes[128..].chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>()
    };
    // Sums in another order: no more than rounding.
    let (plain, lean) = (weights(false), weights(true));
    let apart = plain.iter().zip(&lean).fold(0f32, |apart, (a, b)| apart.max((a - b).abs()));
    assert!(plain.len() == 2 * 28 * 28 && lean.len() == plain.len() && apart < 1e-4, "{apart}");
}

#[test]
fn data_is_shown_and_papers_are_cited() {
    let folder = tempfile::tempdir().unwrap();
    let sheet = folder.path().join("data.png");
    let facts = json(rectiflow().args(["data", "show", "fashion-mnist-mini", "-n", "9", "-o"]).arg(&sheet));
    assert_eq!((&facts["samples"], sheet.is_file()), (&12000.into(), true));
    rectiflow().arg("cite").arg(run()).assert().success().stdout(predicate::str::contains("@misc{liu2022flow,"));
    rectiflow().args(["data", "list"]).assert().success().stdout(predicate::str::contains("cifar"));
}

#[test]
fn the_demo_runs_end_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    rectiflow()
        .args(["demo", "--smoke", "-o"])
        .arg(&out)
        .assert()
        .success()
        .stdout(predicate::str::contains("report.html").and(predicate::str::contains("distill")));
    let summary: Value = serde_json::from_slice(&fs::read(out.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["schema"], 1);
    assert_eq!(summary["stage_order"], serde_json::json!(["base", "reflow", "distill"]));
    for stage in ["base", "reflow", "distill"] {
        let stage = &summary["stages"][stage];
        for key in ["images", "train_seconds", "parameters"] {
            assert!(stage[key].is_number(), "{key} in {stage}");
        }
        assert!(stage["straightness"]["s"].is_number());
        for nfe in ["1", "2", "4", "8", "50"] {
            for key in ["frechet", "kid", "precision", "recall", "sliced_wasserstein", "class_accuracy", "seconds"] {
                assert!(stage["nfe"][nfe][key].is_number(), "{nfe} {key} in {stage}");
            }
        }
    }
    assert!(summary["stages"]["base"]["guided"]["class_accuracy"].is_number());
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("data:image/png;base64,") && !page.contains("src=\"http"));
    // A second demo in the same place replaces the first.
    rectiflow().args(["demo", "--smoke", "-q", "-o"]).arg(&out).assert().success();
}

#[test]
fn a_toy_trains_and_draws() {
    let folder = tempfile::tempdir().unwrap();
    let toy = |name: &str, sets: &[&str]| {
        let mut command = rectiflow();
        command.arg("toy").arg("-o").arg(folder.path().join(name));
        for set in ["train.images=25600", "train.seconds=0", "pairs.count=2000"].iter().chain(sets) {
            command.args(["--set", set]);
        }
        json(&mut command)
    };
    let plain = toy("moons", &["data.name=moons"]);
    assert_eq!((&plain["points"], &plain["coupling"]), (&"moons".into(), &"independent".into()));
    let number = |report: &Value, key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{key} in {report}"));
    // A hundred steps already carry most of the mass; an untrained network is off by several nats.
    let (kl, floor) = (number(&plain, "kl"), number(&plain, "kl_floor"));
    assert!(floor >= 0.0 && kl > floor && kl < 1.5, "{plain}");
    for file in ["toy.html", "toy.json", "trajectories.png", "marginals.png", "animation.png"] {
        assert!(folder.path().join("moons").join(file).metadata().unwrap().len() > 500, "{file}");
    }
    // Every other coupling and an adaptive solver on another path; transport within the batch straightens.
    let exact = toy("ot", &["data.name=moons", "coupling.type=optimal_transport"]);
    assert!(number(&exact, "straightness") < number(&plain, "straightness"), "{exact} {plain}");
    toy("entropic", &["data.name=pinwheel", "coupling.type=sinkhorn", "train.images=2560", "path.type=trigonometric"]);
    toy("stored", &["data.name=swiss_roll", "coupling.type=stored", "sample.steps=2"]);
    // A toy is a run like any other.
    let seen =
        json(rectiflow().arg("diagnose").arg(folder.path().join("stored")).args(["--num", "64", "--steps", "5"]));
    assert!(seen["crossing"].as_f64().unwrap() > 0.0 && seen["stage"] == "reflow", "{seen}");
    assert!(folder.path().join("stored/diagnose.html").is_file());
}

#[test]
fn a_checkpoint_is_diagnosed() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = rectiflow();
    command.arg("diagnose").arg(run()).args(["--num", "16", "--steps", "4", "-o"]).arg(folder.path());
    let found = json(&mut command);
    for key in ["straightness", "transport_cost", "one_step_distance", "crossing", "pair_cost"] {
        assert!(found[key].as_f64().unwrap() > 0.0, "{key} in {found}");
    }
    for key in ["t", "speed", "curvature", "lipschitz", "truncation"] {
        let values = found["profile"][key].as_array().unwrap();
        assert!(values.len() == 4 && values.iter().all(|v| v.as_f64().unwrap() >= 0.0), "{key} in {found}");
    }
    let page = fs::read_to_string(folder.path().join("diagnose.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 5);
    assert!(folder.path().join("diagnose.json").is_file());
}

/// Mutants: the teacher not looked for beside the run, the last checkpoint taken for the end, the recipe of the house taken for the run's.
#[test]
fn runs_are_continued_from_their_folders_alone() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join("here").join(name);
    fs::create_dir(root.path().join("here")).unwrap();
    let keep = ["--set", "train.checkpoint.every=16", "--set", "train.checkpoint.keep_last=9"];
    train_tiny().args(keep).arg("-o").arg(at("base")).assert().success();
    assert!(fs::read_to_string(at("base/report.html")).unwrap().contains("<svg"));
    rectiflow().args(["pairs", "-n", "32", "--steps", "2", "-o"]).arg(at("pairs")).arg(at("base")).assert().success();
    let mut reflow = rectiflow();
    reflow.current_dir(root.path().join("here")).args(["reflow", "--teacher", "base", "--pairs", "pairs"]);
    reflow.args(keep).args(["--images", "48", "--batch-size", "16", "-o", "straight"]).assert().success();
    // Everything moves, the newest checkpoint is lost; what is drawn from the continued run is what was.
    fs::rename(root.path().join("here"), root.path().join("there")).unwrap();
    let at = |name: &str| root.path().join("there").join(name);
    let draw = |run: &str| {
        let file = root.path().join("samples.npy");
        rectiflow().args(["sample", "-n", "2", "--steps", "2", "-o"]).arg(&file).arg(at(run)).assert().success();
        fs::read(file).unwrap()
    };
    for (run, last) in [("base", "000000000064"), ("straight", "000000000048")] {
        let (file, before) = (at(run).join(format!("checkpoints/{last}.safetensors")), draw(run));
        fs::remove_file(&file).unwrap();
        assert_ne!(draw(run), before, "{run}: nothing was lost");
        let done = json(rectiflow().arg("resume").arg(at(run)));
        assert!(file.is_file() && done["stopped"] == false, "{run}: {done}");
        assert_eq!(draw(run), before, "{run}");
    }
    rectiflow().arg("resume").arg(at("pairs")).assert().code(1);
    fs::remove_dir_all(at("base")).unwrap();
    rectiflow().arg("resume").arg(at("straight")).assert().code(1).stderr(predicate::str::contains("base"));
    // Pages side by side name what differs; several without a place are refused.
    let page = root.path().join("page.html");
    rectiflow().arg("report").arg(at("straight")).arg(run()).arg("-o").arg(&page).assert().success();
    assert!(fs::read_to_string(&page).unwrap().contains("train.checkpoint.every"));
    rectiflow()
        .arg("report")
        .arg(at("straight"))
        .arg(run())
        .assert()
        .code(2)
        .stderr(predicate::str::contains("--output"));
}

/// The numbers of an array that `sample` wrote, 28x28 each.
fn drawn(file: &std::path::Path) -> Vec<Vec<f32>> {
    let bytes = fs::read(file).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let values: Vec<f32> = bytes[header..].as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
    values.chunks(28 * 28).map(<[f32]>::to_vec).collect()
}

/// Mutants: halves read as bfloat16; classes off by one; a model that needs a file beside the program, or leaves one.
#[test]
fn the_program_alone_draws_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let mean = |class: &str, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
        let mut command = rectiflow();
        command.env_clear().current_dir(folder.path()).args(["sample", "demo", "-n", "8", "--quiet", "-o", "x.npy"]);
        command.args(["--class", class]).assert().success();
        let samples = drawn(&folder.path().join("x.npy"));
        assert_eq!(samples.len(), 8);
        let part = |sample: &Vec<f32>| -> f32 {
            rows.clone().flat_map(|row| columns.clone().map(move |column| row * 28 + column)).map(|i| sample[i]).sum()
        };
        samples.iter().map(part).sum::<f32>() / (8 * rows.len() * columns.len()) as f32
    };
    // Trousers are dark beside their legs, to the ground; sneakers are wide there and dark above.
    assert!(mean("Trouser", 0..28, 0..5) < -0.9 && mean("Trouser", 4..24, 10..18) > -0.2);
    assert!(mean("Sneaker", 0..8, 0..28) < -0.9 && mean("Sneaker", 15..20, 4..24) > -0.2);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().map(|file| file.file_name()).collect();
    assert_eq!(left, ["x.npy"]);
    // What is called so here goes first.
    fs::write(folder.path().join("demo"), "no model").unwrap();
    rectiflow().current_dir(folder.path()).args(["inspect", "demo"]).assert().failure();
    assert_eq!(json(rectiflow().args(["inspect", "demo"]))["about"]["stage"], "distill");
}

/// Mutants: numbers left as they were; the recipe that goes with them unchanged; a key of training taken.
#[test]
fn slim_rounds_to_halves_and_says_how_to_draw() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let slim = |name: &str, args: &[&str]| {
        let mut command = rectiflow();
        command.arg("slim").arg(run()).arg("-o").arg(at(name)).args(args);
        command
    };
    let size = |name: &str, args: &[&str]| json(&mut slim(name, args))["bytes"].as_f64().unwrap();
    let whole = size("f32.safetensors", &[]);
    let half = size("f16.safetensors", &["--dtype", "f16", "--set", "sample.steps=3"]);
    assert!(half < 0.7 * whole, "{half} of {whole}");
    let recipe = json(rectiflow().arg("inspect").arg(at("f16.safetensors")))["recipe"].as_str().unwrap().to_string();
    assert!(recipe.contains("steps = 3"), "{recipe}");
    let sample = |name: &str| {
        let mut command = rectiflow();
        command.arg("sample").arg(at(name)).args(["--steps", "2", "-n", "4", "--quiet", "-o"]).arg(at("x.npy"));
        command.assert().success();
        drawn(&at("x.npy")).concat()
    };
    let (a, b) = (sample("f32.safetensors"), sample("f16.safetensors"));
    let apart = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart > 0.0 && apart < 0.05, "{apart}");
    // Halves stay halves unless somebody says otherwise. Mutant: widened on the way.
    let again = json(rectiflow().arg("slim").arg(at("f16.safetensors")).arg("-o").arg(at("again.safetensors")));
    assert!((again["bytes"].as_f64().unwrap() - half).abs() < 4096.0 && sample("again.safetensors") == b, "{again}");
    slim("no.safetensors", &["--set", "train.batch=1"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("sample.steps=4"));
    slim("no.safetensors", &["--dtype", "f64"]).assert().code(2);
    assert!(!at("no.safetensors").exists());
}

/// Mutants: both processes given the same samples; the sum of gradients taken for their mean; both writing the run.
#[test]
fn two_processes_train_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let at = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let command = |rank: &str, variables: bool| {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("rectiflow"));
        command.args(["--threads", "1", "train", "--meet", &at, "-o"]).arg(folder.path().join("two"));
        for set in crate::common::TINY {
            command.args(["--set", set]);
        }
        match variables {
            true => command.envs([("OMPI_COMM_WORLD_RANK", rank), ("OMPI_COMM_WORLD_SIZE", "2")]),
            false => command.args(["--rank", &format!("{rank}/2")]),
        };
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    let ended = [command("1", true), command("0", false)].map(|rank| rank.wait_with_output().unwrap());
    let said = ended.each_ref().map(|end| String::from_utf8_lossy(&end.stderr).into_owned());
    assert!(ended.iter().all(|end| end.status.success()), "{said:?}");
    assert!(said[0].is_empty() && said[1].contains("2 ranks, each of which computes 8 of 16 samples"), "{said:?}");
    let losses = |run: &std::path::Path| -> Vec<f64> {
        let text = fs::read_to_string(run.join("stats.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter_map(|line| line["loss"].as_f64()).collect()
    };
    let (two, one) = (losses(&folder.path().join("two")), losses(&run()));
    assert!(two.len() >= 3 && two.len() == one.len(), "{two:?} {one:?}");
    assert!(two.iter().zip(&one).all(|(a, b)| (a - b).abs() < 1e-5), "{two:?} {one:?}");
    let refused = |args: &[&str], why: &str| {
        train_tiny().args(args).args(["--dry-run"]).env_clear().assert().code(2).stderr(predicate::str::contains(why));
    };
    refused(&["--rank", "2/2", "--meet", &at], "give I/N");
    refused(&["--rank", "0/2"], "--meet");
}
