//! Fewer steps, end to end, with a tiny network: reflow, every target of distillation, schedules, one more step, `fast`.

use crate::common::{checkpoint, json, rectiflow, run, train_tiny};
use predicates::prelude::*;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A tensor of all files of a store, one after another.
fn stored(store: &Path, name: &str) -> Vec<u8> {
    let mut files: Vec<_> = fs::read_dir(store).unwrap().flatten().map(|file| file.path()).collect();
    files.sort();
    let tensor = |file: &PathBuf| {
        let bytes = fs::read(file).unwrap();
        let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&bytes[8..start]).unwrap();
        let offset = |i: usize| start + header[name]["data_offsets"][i].as_u64().unwrap() as usize;
        bytes[offset(0)..offset(1)].to_vec()
    };
    files.iter().flat_map(tensor).collect()
}

/// Mutants: a share that begins a pair too late; all shares making the same pairs; noise numbered from the share's beginning.
#[test]
fn shares_of_pairs_lie_together_as_one_store() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let make = |name: &str, args: &[&str]| {
        let mut command = rectiflow();
        command.args(["pairs", "-n", "25", "--steps", "2", "-o"]).arg(at(name)).arg(run()).args(args);
        json(&mut command)["made"].as_u64().unwrap()
    };
    assert_eq!(make("whole", &[]), 25);
    // Two into one folder, the third into its own, whose file is put beside theirs.
    let made =
        [make("shared", &["--shard", "2/3"]), make("shared", &["--shard", "0/3"]), make("third", &["--shard", "1/3"])];
    assert_eq!(made, [9, 8, 8]);
    for file in fs::read_dir(at("third")).unwrap().flatten() {
        fs::copy(file.path(), at("shared").join(file.file_name())).unwrap();
    }
    assert_eq!(json(rectiflow().arg("inspect").arg(at("shared")))["pairs"], 25);
    for name in ["x0", "x1"] {
        assert!(stored(&at("shared"), name) == stored(&at("whole"), name), "{name}");
    }
    assert_eq!(make("shared", &[]), 0, "nothing is left to make");
}

/// Pairs whose making was ended by seconds are what the student learns from, however often it is continued. Mutant: the making goes on as well
/// (then the training is refused, for its data are others).
#[test]
fn a_student_that_goes_on_learns_from_the_pairs_it_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let reflow = |seconds: &str, resume: &[&str]| {
        let mut command = rectiflow();
        command.args(["reflow", "--set", "pairs.count=64", "--set", seconds, "--set", "pairs.generate.batch=16", "-o"]);
        command.arg(folder.path().join("straight")).args(["--set", "train.images=16", "--set", "train.batch=16"]);
        json(command.args(resume).arg("--teacher").arg(run()))["pair_count"].as_u64()
    };
    assert_eq!(reflow("pairs.seconds=1e-6", &[]), Some(16), "a quarter is made whatever it takes");
    assert_eq!(reflow("pairs.seconds=1e4", &["--resume", "latest"]), Some(16));
}

#[test]
fn pairs_reflow_and_distill_as_separate_commands() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let pairs = json(rectiflow().args(["pairs", "-n", "48", "--steps", "3", "-o"]).arg(at("pairs")).arg(run()));
    assert_eq!((&pairs["count"], &pairs["made"]), (&48.into(), &48.into()));
    let more = json(rectiflow().args(["pairs", "-n", "64", "--steps", "3", "-o"]).arg(at("pairs")).arg(run()));
    assert_eq!((&more["count"], &more["made"]), (&64.into(), &16.into()), "a store is continued, not made again");
    let facts = json(rectiflow().arg("inspect").arg(at("pairs")));
    assert_eq!((&facts["kind"], &facts["pairs"]), (&"pairs".into(), &64.into()));
    let mut reflow = rectiflow();
    reflow.args(["reflow", "--images", "64", "-o"]).arg(at("reflow")).arg("--teacher").arg(run());
    reflow.arg("--pairs").arg(at("pairs"));
    assert_eq!(json(&mut reflow)["pair_count"], 64);
    let mut distill = rectiflow();
    distill.args(["distill", "-n", "32", "--images", "32", "--set", "pairs.generate.steps=2", "-o"]);
    distill.arg(at("distill")).arg("--teacher").arg(at("reflow"));
    assert_eq!(json(&mut distill)["pairs"]["made"], 32);
    let facts = json(rectiflow().arg("inspect").arg(at("distill")));
    assert_eq!(facts["newest"]["about"]["stage"], "distill");
    let recipe = facts["newest"]["recipe"].as_str().unwrap();
    assert!(recipe.contains("stored") && recipe.contains("constant"), "{recipe}");
}

#[test]
fn a_student_of_another_size_starts_fresh_and_is_guided() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let small = |verb: &str, set: &[&str], out: &str, teacher: &std::path::Path| {
        let mut command = rectiflow();
        command.args([verb, "-n", "32", "--images", "64", "--set", "pairs.generate.steps=2", "-o"]);
        command.arg(at(out)).arg("--teacher").arg(teacher);
        set.iter().for_each(|set| {
            command.args(["--set", set]);
        });
        command
    };
    let annealing = "reflow.annealing={type='linear',images=32}";
    let report = json(&mut small("reflow", &["network.channels=16", annealing], "small", &run()));
    let facts = json(rectiflow().arg("inspect").arg(at("small")));
    let recipe = facts["newest"]["recipe"].as_str().unwrap();
    assert!(recipe.contains("annealed") && recipe.contains("channels = 16"), "{recipe}");
    let distilled = json(&mut small("distill", &["distill.target={type='guided'}"], "guided", &at("small")));
    assert_eq!(distilled["train"]["parameters"], report["train"]["parameters"]);
    // Not with more steps than the guide has targets for, nor mirrored against a teacher that saw no mirrored images.
    let mut refused = small("distill", &["distill.target={type='guided'}", "distill.steps=2"], "no", &at("small"));
    refused.assert().code(2).stderr(predicate::str::contains("distill.target = guided with distill.steps = 2"));
    let mut refused = small("reflow", &["reflow.flip=true"], "no", &run());
    refused.assert().code(2).stderr(predicate::str::contains("data.flip = false"));
    assert!(!at("no").exists());
}

#[test]
fn every_target_distils_and_its_student_is_sampled_as_it_was_trained() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let distil = |name: &str, set: &[&str]| {
        let mut command = rectiflow();
        command.args(["distill", "-o"]).arg(at(name)).arg("--teacher").arg(run());
        set.iter().for_each(|set| {
            command.args(["--set", set]);
        });
        command
    };
    let sampling = |name: &str| {
        let mut sample = rectiflow();
        sample.args(["sample", "-n", "2", "-o"]).arg(at(&format!("{name}.npy"))).arg(at(name));
        json(&mut sample)["nfe"].as_u64().unwrap()
    };
    for (name, target, steps) in [
        ("consistency", "distill.target={type='consistency',cells=4}", 2),
        ("segments", "distill.target={type='segments'}", 2),
        ("mean-flow", "distill.target={type='mean_flow',share=0.5}", 2),
        ("shortcut", "distill.target={type='shortcut',halvings=3}", 2),
    ] {
        let report = json(&mut distil(name, &[target, "distill.steps=2", "train.images=32"]));
        assert_eq!((&report["pairs"], &report["pair_count"]), (&Value::Null, &0.into()), "{name} needs no pairs");
        assert_eq!(sampling(name), steps, "{name}");
        // Stopped and continued it is the same run.
        json(distil(name, &[target, "distill.steps=2", "train.images=48"]).args(["--resume", "latest"]));
    }
    let mut refused = distil("no", &["distill.target={type='segments'}"]);
    refused.arg("--pairs").arg(at("none")).assert().code(2).stderr(predicate::str::contains("needs none"));
    distil("no", &["target={type='consistency'}"]).assert().code(2).stderr(predicate::str::contains("distill.target"));
    let mut train = train_tiny();
    train.args(["--set", "target={type='segments'}", "-o"]).arg(at("no"));
    train.assert().code(2).stderr(predicate::str::contains("use the verb `distill`"));
    // MeanFlow and consistency train without a teacher too.
    let mut train = train_tiny();
    train.args(["--set", "target={type='mean_flow'}", "--set", "network.condition.reach=true", "-o"]).arg(at("fresh"));
    assert_eq!(json(&mut train)["images"], 64);
    assert!(!at("no").exists());
}

/// What a perceptual loss needs is missed before anything is written.
#[test]
fn a_perceptual_loss_says_where_its_weights_come_from() {
    let folder = tempfile::tempdir().unwrap();
    let mut reflow = rectiflow();
    reflow.env("RECTIFLOW_DATA", folder.path().join("empty")).args(["reflow", "-n", "16", "--images", "16"]);
    reflow.args(["--set", "pairs.generate.steps=1", "--set", "reflow.perceptual={over_noise=true}", "--teacher"]);
    let refused = reflow.arg(run()).arg("-o").arg(folder.path().join("out")).assert().code(1);
    refused.stderr(predicate::str::contains("rectiflow data get lpips-vgg"));
    assert!(!folder.path().join("out").exists());
    // Distillation weighs it too, and mean velocities are refused for their own reason.
    let mut distil = rectiflow();
    distil.env("RECTIFLOW_DATA", folder.path().join("empty")).args(["distill", "-n", "16", "--images", "16"]);
    distil.args(["--set", "pairs.generate.steps=1", "--set", "distill.perceptual={}", "--teacher"]).arg(run());
    let refused = distil.arg("-o").arg(folder.path().join("out")).assert().code(1);
    refused.stderr(predicate::str::contains("rectiflow data get lpips-vgg"));
    let mut mean = rectiflow();
    mean.args(["distill", "--images", "16", "--set", "distill.target={type='mean_flow'}"]).arg("--teacher").arg(run());
    mean.args(["--set", "network.condition.reach=true", "--set", "distill.perceptual={}"]);
    mean.arg("-o").arg(folder.path().join("out")).assert().code(2).stderr(predicate::str::contains("name no image"));
    assert!(!folder.path().join("out").exists());
}

/// BOSS, from schedule to straightened student: whole weights and a correction of low rank.
#[test]
fn a_student_is_straightened_along_a_schedule() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("schedule.json"), r#"{"times": [0.0, 0.25, 0.5, 1.0]}"#).unwrap();
    let distil = |name: &str| {
        let mut command = rectiflow();
        command.args(["distill", "-n", "36", "--images", "32", "--set", "pairs.generate.steps=8", "-o"]);
        command.arg(at(name)).arg("--teacher").arg(run()).arg("--schedule").arg(at("schedule.json"));
        command
    };
    let whole = json(&mut distil("whole"));
    assert_eq!(whole["pair_count"], 36);
    let facts = json(rectiflow().arg("inspect").arg(at("whole/pairs")));
    assert_eq!(facts["made"]["times"], serde_json::json!([0.0, 0.25, 0.5, 1.0]));
    let low = json(distil("low").args(["--set", "lora={rank=2}"]).arg("--pairs").arg(at("whole/pairs")));
    assert_eq!((&low["pairs"], &low["pair_count"]), (&Value::Null, &36.into()));
    for name in ["whole", "low"] {
        let mut sample = rectiflow();
        sample.args(["sample", "-n", "2", "-o"]).arg(at(&format!("{name}.npy"))).arg(at(name));
        assert_eq!(json(&mut sample)["nfe"], 3, "sampled along its schedule");
    }
    // Pairs that were cut elsewhere, and corrections of no weights.
    let mut other = rectiflow();
    other.args(["distill", "-o"]).arg(at("no")).arg("--teacher").arg(run()).arg("--pairs").arg(at("whole/pairs"));
    other.assert().code(2).stderr(predicate::str::contains("--schedule FILE"));
    let mut fresh = train_tiny();
    fresh.args(["--set", "lora={}", "-o"]).arg(at("no"));
    fresh.assert().code(2).stderr(predicate::str::contains("`train` starts from none"));
    assert!(!at("no").exists());
}

/// One more step for a schedule that leaves signal at its noisy end, and the reflow of a curved path.
#[test]
fn a_diffusion_takes_one_more_step_and_is_rectified_along_its_own_path() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut base = train_tiny();
    base.args(["--set", "path={type='ddpm'}", "--set", "parameterization={type='noise'}", "-o"]).arg(at("base"));
    base.args(["--set", "sample.solver={type='ddim'}"]);
    json(&mut base);
    let mut step = rectiflow();
    step.args(["one-more-step", "--images", "32", "-o"]).arg(at("step")).arg("--teacher").arg(at("base"));
    json(&mut step);
    let sample = |name: &str, more: &[&str], model: &std::path::Path| {
        let mut command = rectiflow();
        command.args(["sample", "-n", "4", "--steps", "2", "-o"]).arg(at(name)).arg(model).args(more);
        command
    };
    let step = at("step").display().to_string();
    json(&mut sample("without.npy", &[], &at("base")));
    json(&mut sample("with.npy", &["--one-more-step", &step], &at("base")));
    assert!(fs::read(at("with.npy")).unwrap() != fs::read(at("without.npy")).unwrap());
    // Where nothing of the data is left at the noise it changes nothing.
    json(&mut sample("plain.npy", &[], &run()));
    json(&mut sample("same.npy", &["--one-more-step", &step], &run()));
    assert!(fs::read(at("plain.npy")).unwrap() == fs::read(at("same.npy")).unwrap());
    let base_text = at("base").display().to_string();
    let mut wrong = sample("no.npy", &["--one-more-step", &base_text], &at("base"));
    wrong.assert().code(2).stderr(predicate::str::contains("rectiflow one-more-step"));

    let mut reflow = rectiflow();
    reflow.args(["reflow", "-n", "32", "--images", "32", "--set", "pairs.generate.steps=2", "-o"]).arg(at("reflow"));
    reflow.args(["--set", "reflow.measure={type='data'}", "--teacher"]).arg(at("base"));
    json(&mut reflow);
    // Its pairs start at the noise itself.
    let mut twice = sample("no.npy", &["--one-more-step", &step], &at("reflow"));
    twice.assert().code(2).stderr(predicate::str::contains("trained on stored pairs"));
    let mut plain = sample("euler.npy", &["--solver", "euler"], &at("reflow"));
    plain.assert().success().stderr(predicate::str::contains("--solver ddim takes few steps"));
    json(&mut sample("anchored.npy", &["--solver", "anchored"], &at("reflow")));
    let mut first = sample("no.npy", &["--solver", "anchored"], &run());
    first.assert().code(2).stderr(predicate::str::contains("rectified flows"));
    let mut straight = rectiflow();
    straight
        .args(["reflow", "-n", "32", "--images", "32", "--set", "pairs.generate.steps=2", "-o"])
        .arg(at("straight"));
    straight.args(["--set", "reflow.linear=true", "--teacher"]).arg(at("base"));
    json(&mut straight);
    let facts = json(rectiflow().arg("inspect").arg(at("straight")));
    let recipe = facts["newest"]["recipe"].as_str().unwrap();
    assert!(recipe.contains("[native.path]"), "the network keeps its own inputs and output: {recipe}");
    json(&mut sample("straight.npy", &["--solver", "euler"], &at("straight")));
}

/// Mutant: the seconds of one pair for those of all.
#[test]
fn plan_counts_a_student_s_pairs_and_its_training() {
    let plan = |method: &str, more: &[&str]| {
        let mut command = rectiflow();
        command.args(["plan", "--method", method, "--set", "train.images=3200", "--batch-size", "16", "--teacher"]);
        command.arg(run()).args(more);
        command
    };
    let reflow = json(&mut plan("reflow", &["--set", "pairs.count=6400", "--set", "pairs.generate.batch=16"]));
    let number =
        |plan: &Value, at: &str| plan.pointer(at).and_then(Value::as_f64).unwrap_or_else(|| panic!("{at}: {plan}"));
    assert_eq!((number(&reflow, "/pairs/count"), number(&reflow, "/epochs")), (6400.0, 0.5));
    let seconds = 3200.0 / number(&reflow, "/images_per_second");
    assert!((number(&reflow, "/seconds") / seconds - 1.0).abs() < 1e-6);
    assert!(number(&reflow, "/pairs/seconds") > 0.1, "400 batches of pairs are made in less than 0.1 s: {reflow}");
    // A rule that asks its teacher for every image makes no pairs.
    let phased = json(&mut plan("distill", &["--set", "distill.target={type=\"segments\"}"]));
    assert!(phased["pairs"].is_null() && number(&phased, "/images_per_second") > 0.0);
    rectiflow().args(["plan", "--teacher"]).arg(run()).assert().code(2).stderr(predicate::str::contains("--method"));
    plan("reflow", &["--set", "reflow.flip=true"]).assert().code(2).stderr(predicate::str::contains("flip"));
}

#[test]
fn fast_says_what_it_needs_and_what_it_reached() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("fast");
    let fast = |budget: &str| {
        let mut command = rectiflow();
        command.args(["fast", "--nfe", "2", "--num", "32", "--budget", budget, "-o"]).arg(&out).arg(run());
        command
    };
    fast("1s").assert().code(2).stderr(predicate::str::contains("too small"));
    assert!(!out.exists(), "nothing is written before the budget is known to do");
    let foreseen = json(fast("30m").arg("--dry-run"));
    assert!(!out.exists(), "a dry run writes nothing");
    let parts = ["measuring", "figures", "kept_back"].map(|part| foreseen[part].as_f64().unwrap());
    let students = foreseen["students"].as_array().unwrap();
    let student = |at: usize, part: &str| students[at][part].as_f64().unwrap();
    assert_eq!((&students[0]["method"], &students[1]["method"]), (&"reflow".into(), &"distill".into()));
    let made: f64 = (0..2).map(|at| student(at, "making_pairs") + student(at, "training")).sum();
    assert!((parts.iter().sum::<f64>() + made - 1800.0).abs() < 1e-6, "{foreseen}");
    fast("1s").arg("--dry-run").assert().code(2).stderr(predicate::str::contains("too small"));
    fast("soon").assert().code(2).stderr(predicate::str::contains("10m"));
    let speed = serde_json::json!({ "evaluation": 1e-4, "image": 1e-3, "judging": 0.1 });
    // A plan as an interrupted run leaves it, so that the test does not depend on this machine's speed.
    fs::create_dir_all(&out).unwrap();
    let plan = serde_json::json!({
        "checkpoint": checkpoint(), "nfe": 2, "samples": 32, "search": 8, "speed": speed,
        "stages": [
            { "way": "reflow", "cost": { "pairs": 64, "seconds": 0.05 } },
            { "way": "distill", "cost": { "pairs": 64, "seconds": 0.05 } },
        ],
    });
    fs::write(out.join("fast.json"), plan.to_string()).unwrap();
    fast("10m").arg("--dry-run").assert().code(2).stderr(predicate::str::contains("has begun"));
    let report = json(&mut fast("10m"));
    let name = |c: &Value| c["name"].as_str().unwrap().to_string();
    let names: Vec<String> = report["candidates"].as_array().unwrap().iter().map(name).collect();
    assert_eq!((names[0].as_str(), names[names.len() - 1].as_str()), ("as it was", "distill"));
    assert!(names.iter().any(|name| name == "reflow"));
    assert!(report["candidates"][0]["figures"]["frechet"].as_f64().unwrap() > 0.0);
    assert!(out.join("report.json").is_file() && out.join("distill.png").is_file());
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("as it was") && page.contains("distill") && page.contains("data:image/png"));
    // The model in many evaluations stands beside, and so does what the distance is measured in.
    assert!(report["many"]["figures"]["frechet"].as_f64().unwrap() > 0.0);
    assert!(!report["features"].as_str().unwrap().is_empty());
    // Again: everything is there.
    let again = json(&mut fast("10m"));
    let frechet = |report: &Value| -> Vec<f64> {
        report["candidates"].as_array().unwrap().iter().map(|c| c["figures"]["frechet"].as_f64().unwrap()).collect()
    };
    assert_eq!(frechet(&again), frechet(&report));
    assert!(again["seconds"].as_f64().unwrap() > report["seconds"].as_f64().unwrap(), "the budget forgets no call");
    let mut other = rectiflow();
    other.args(["fast", "--nfe", "1", "--num", "32", "-o"]).arg(&out).arg(run());
    other.assert().code(2).stderr(predicate::str::contains("another run"));
    // A student of phases learns from data, and is drawn from in as many steps as it has phases.
    let phased = serde_json::json!({
        "checkpoint": checkpoint(), "nfe": 4, "samples": 32, "search": 0, "speed": speed,
        "stages": [{ "way": "phased", "cost": { "pairs": 0, "seconds": 0.05 } }],
    });
    let out = folder.path().join("phased");
    fs::create_dir_all(&out).unwrap();
    fs::write(out.join("fast.json"), phased.to_string()).unwrap();
    let mut four = rectiflow();
    let report = json(four.args(["fast", "--nfe", "4", "--num", "32", "-o"]).arg(&out).arg(run()));
    assert_eq!(report["candidates"][1]["name"], "phased");
    let recipe = fs::read_to_string(out.join("phased/recipe.toml")).unwrap();
    assert!(recipe.contains("0.75,") && recipe.contains("until = 0.8"), "{recipe}");
    assert!(!out.join("phased/pairs").exists());
}

#[test]
fn a_schedule_is_found_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("schedules");
    let search = ["--steps", "2,3", "--anchors", "12", "--num", "8", "--batch-size", "4", "-o"];
    let report = json(rectiflow().arg("schedule").arg(run()).args(search).arg(&out));
    assert_eq!(report["schedules"][1]["candidates"].as_array().unwrap().len(), 3);
    let errors: Vec<f64> = report["schedules"][1]["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["end_error"].as_f64().unwrap())
        .collect();
    assert!(errors.is_sorted() && errors[0] > 0.0, "{errors:?}");
    let file = out.join("schedule-3.json");
    let sheet = folder.path().join("s.npy");
    let drawn =
        json(rectiflow().arg("sample").arg(run()).arg("--schedule").arg(&file).args(["-n", "4", "-o"]).arg(&sheet));
    assert_eq!(drawn["nfe"], 3);
    let refused = rectiflow().arg("sample").arg(run()).arg("--schedule").arg(&file).args(["--steps", "5"]).assert();
    refused.code(2).stderr(predicate::str::contains("has 3"));
    fs::write(&file, "{}").unwrap();
    let refused = rectiflow().arg("sample").arg(run()).arg("--schedule").arg(&file).assert();
    refused.code(1).stderr(predicate::str::contains("neither `times` nor `sigmas`"));
    let refused = rectiflow().arg("schedule").arg(run()).args(["--steps", "20", "--anchors", "12"]).assert();
    refused.code(2).stderr(predicate::str::contains("anchors = 12"));
}

#[test]
fn a_teacher_with_the_seed_of_the_shipped_recipes_reflows_without_a_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let (teacher, student) = (folder.path().join("teacher"), folder.path().join("student"));
    train_tiny().args(["--seed", "1", "-o"]).arg(&teacher).assert().success();
    let mut reflow = rectiflow();
    reflow.args(["reflow", "-n", "16", "--images", "16", "--set", "pairs.generate.steps=1", "-o"]).arg(&student);
    reflow.arg("--teacher").arg(&teacher).assert().success();
}
