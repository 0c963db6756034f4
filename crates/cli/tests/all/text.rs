//! Text-to-image from end to end, with an encoder small enough to be written here.

use crate::common::{json, rectiflow};
use predicates::prelude::{PredicateBooleanExt, predicate};
use serde_json::{Value, json as object};
use std::{collections::BTreeMap, fs, path::Path};

const SHADES: [&str; 6] = ["one", "two", "three", "four", "five", "six"];
const WORDS: [&str; 14] = [
    "red", "green", "blue", "square", "stripe", "[CLS]", "[SEP]", "[UNK]", "one", "two", "three", "four", "five", "six",
];
const FEATURES: usize = 8;

/// A safetensors file of `f32` tensors.
fn write_tensors(file: &Path, tensors: &BTreeMap<String, Vec<usize>>) {
    let (mut header, mut bytes) = (serde_json::Map::new(), Vec::<u8>::new());
    for (seed, (name, shape)) in tensors.iter().enumerate() {
        let (start, count) = (bytes.len(), shape.iter().product::<usize>());
        let base = if name.contains("LayerNorm.weight") { 1.0 } else { 0.0 };
        for i in 0..count {
            let value = base + 0.5 * (1.7 * i as f32 + 3.1 * seed as f32).sin();
            bytes.extend(value.to_le_bytes());
        }
        header.insert(name.clone(), object!({"dtype": "F32", "shape": shape, "data_offsets": [start, bytes.len()]}));
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut all = (header.len() as u64).to_le_bytes().to_vec();
    all.extend(header);
    all.extend(bytes);
    fs::write(file, all).unwrap();
}

/// An encoder of one layer under the name `minilm`, in a cache of its own.
fn write_encoder(cache: &Path) {
    let folder = cache.join("minilm");
    fs::create_dir_all(&folder).unwrap();
    let (d, wide) = (FEATURES, 12);
    let mut tensors: BTreeMap<String, Vec<usize>> = BTreeMap::from([
        ("embeddings.word_embeddings.weight".into(), vec![WORDS.len() + 1, d]),
        ("embeddings.position_embeddings.weight".into(), vec![6, d]),
        ("embeddings.token_type_embeddings.weight".into(), vec![2, d]),
        ("embeddings.LayerNorm.weight".into(), vec![d]),
        ("embeddings.LayerNorm.bias".into(), vec![d]),
    ]);
    let parts = [
        ("attention.self.query", d, d),
        ("attention.self.key", d, d),
        ("attention.self.value", d, d),
        ("attention.output.dense", d, d),
        ("intermediate.dense", wide, d),
        ("output.dense", d, wide),
    ];
    for (name, o, i) in parts {
        tensors.insert(format!("encoder.layer.0.{name}.weight"), vec![o, i]);
        tensors.insert(format!("encoder.layer.0.{name}.bias"), vec![o]);
    }
    for name in ["attention.output.LayerNorm", "output.LayerNorm"] {
        tensors.insert(format!("encoder.layer.0.{name}.weight"), vec![d]);
        tensors.insert(format!("encoder.layer.0.{name}.bias"), vec![d]);
    }
    write_tensors(&folder.join("model.safetensors"), &tensors);
    let config = object!({
        "vocab_size": WORDS.len() + 1, "hidden_size": d, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": wide, "max_position_embeddings": 6, "layer_norm_eps": 1e-12,
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut vocabulary: BTreeMap<&str, usize> = WORDS.iter().enumerate().map(|(i, word)| (*word, i + 1)).collect();
    vocabulary.insert("[PAD]", 0);
    let tokenizer = object!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    });
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
}

/// Captioned pictures of 8 x 8: squares and stripes in three colours, six shades of each, no caption twice.
fn write_pictures(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (i, colour) in ["red", "green", "blue"].into_iter().enumerate() {
        for shape in ["square", "stripe"] {
            for shade in 0..6u8 {
                let picture = image::RgbImage::from_fn(8, 8, |x, y| {
                    let inside = (2..6).contains(&y) && (shape == "stripe" || (2..6).contains(&x));
                    let mut pixel = [20 + shade; 3];
                    pixel[i] = if inside { 200 + 5 * shade } else { pixel[i] };
                    image::Rgb(pixel)
                });
                let name = format!("{colour}-{shape}-{shade}");
                picture.save(folder.join(format!("{name}.png"))).unwrap();
                let shade = SHADES[shade as usize];
                fs::write(folder.join(format!("{name}.txt")), format!("{colour} {shape} {shade}\n")).unwrap();
            }
        }
    }
}

const SETS: [&str; 13] = [
    "data.holdout=0.4",
    "task.text={length=5}",
    "network={type='dit',width=16,depth=1,heads=2,patch=2,condition={tokens=8,vector=8}}",
    "train.images=256",
    "train.batch=8",
    "train.condition_dropout=0.2",
    "train.validate_every=128",
    "train.validation_samples=4",
    "train.sample_every=128",
    "train.optim.lr=0.01",
    "sample.steps=2",
    "sample.guidance.scale=1.5",
    "train.ema.decays=[0.9]",
];

#[test]
fn prompts_go_from_training_to_one_step() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_encoder(&at("cache"));
    write_pictures(&at("pictures"));
    let program = || {
        let mut command = rectiflow();
        command.env("RECTIFLOW_DATA", at("cache"));
        command
    };
    let mut train = program();
    train.args(["train", "-o"]).arg(at("base")).arg("--data").arg(at("pictures"));
    for set in SETS {
        train.args(["--set", set]);
    }
    assert_eq!(json(&mut train)["images"], 256);
    let facts = json(program().arg("inspect").arg(at("base")));
    assert_eq!(facts["newest"]["about"]["classes"], "[]", "captions travel with the data, not in the checkpoint");
    let shown = "red square one";

    let draw = |model: &str, prompts: &[&str], more: &[&str]| -> Vec<u8> {
        let mut sample = program();
        sample.arg("sample").arg(at(model)).args(["-n", "2", "-o"]).arg(at("drawn.npy")).args(more);
        for prompt in prompts {
            sample.args(["--prompt", prompt]);
        }
        sample.assert().success();
        fs::read(at("drawn.npy")).unwrap()
    };
    let first = draw("base", &[shown], &[]);
    assert_eq!(first, draw("base", &[shown], &[]));
    assert_ne!(first, draw("base", &["red stripe six"], &[]), "a prompt that changes nothing was not read");
    // Words never trained on, and nothing at all, are prompts too; guidance contrasts with none.
    assert_ne!(first, draw("base", &["green red stripe purple"], &[]));
    assert_ne!(first, draw("base", &[shown], &["--guidance-scale", "3"]));
    assert_ne!(first, draw("base", &[], &["--class", "none"]));
    // There is no class to ask for; without a prompt the captions it was trained on are asked for in turn.
    let mut class = program();
    class.arg("sample").arg(at("base")).args(["--class", "0", "-o"]).arg(at("no.npy"));
    class.assert().code(2).stderr(predicate::str::contains("--prompt"));
    // Aligned under its prompts. Mutants, named and not run: compared samples trained under no prompt; under another pair's.
    let align = |way: &str, to: &str| {
        let mut command = program();
        command.args(["align", way, "--batch-size", "8", "--set", "lora={rank=2,alpha=4.0}", "-o"]);
        command.arg(at(to)).arg(at("base"));
        command
    };
    let judged = ["--reward", "oracle:contrast", "-n", "6", "--images", "16"];
    for way in ["dpo", "rwr", "sft"] {
        assert_eq!(json(align(way, way).args(judged))["pairs"][0], 6);
        assert_ne!(draw(way, &[shown], &[]), first, "{way} changed nothing");
    }
    let mut rate = program();
    rate.args(["winrate", "--reward", "oracle:contrast", "-n", "4"]).arg(at("dpo")).arg(at("base"));
    assert_eq!(json(&mut rate)["wins"][0]["axis"], "contrast");
    let by_people = |prompts: [&str; 2], way: &str| {
        let [a, b] = prompts;
        let rows = format!(
            "pictures/red-square-0.png,pictures/blue-square-0.png,{a},A\npictures/green-stripe-1.png,pictures/red-stripe-1.png,{b},B\n"
        );
        fs::write(at("pairs.csv"), format!("path_A,path_B,prompt,VQ\n{rows}")).unwrap();
        let mut command = align(way, "people");
        json(command.args(["--images", "64", "--pairs"]).arg(at("pairs.csv")));
        let drawn = draw("people", &[shown], &[]);
        fs::remove_dir_all(at("people")).unwrap();
        drawn
    };
    for way in ["dpo", "sft"] {
        let one = by_people(["red square one", "red stripe two"], way);
        assert_eq!(one, by_people(["red square one", "red stripe two"], way));
        assert_ne!(one, by_people(["green stripe six", "blue square"], way), "{way} did not read the prompts");
    }
    align("grpo", "no")
        .args(["--reward", "oracle:contrast"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("dpo, rwr"));
    assert!(!at("no").exists());
    assert_ne!(draw("base", &[], &[]), draw("base", &[], &["--class", "none"]));
    // What the cache kept says the same as the encoder, and so does an encoder without it.
    fs::remove_dir_all(at("cache/words")).unwrap();
    assert_eq!(first, draw("base", &[shown], &[]));
    assert_eq!(first, draw("base", &[shown], &[]));
    assert!(fs::read_dir(at("cache/words")).unwrap().count() > 0);
    let likelihood = json(program().args(["likelihood", "--num", "4", "--steps", "2"]).arg(at("base")));
    assert!(likelihood["bits_per_dimension"].as_f64().is_some(), "{likelihood}");

    // Restoring and editing hear prompts too. What pictures show now is in their captions where nobody says it.
    // Mutants: a prompt that is parsed and not heard; captions that are passed over; the source's prompt for the target's.
    let changed = |verb: &str, args: &[&str], file: &str| -> Vec<u8> {
        let mut command = program();
        command.arg(verb).arg(at("base")).args(["--resize", "-n", "4", "--input"]).arg(at("pictures"));
        command.args(args).arg("-o").arg(at("changed")).assert().success();
        let bytes = image::open(at("changed").join(file)).unwrap().to_rgb8().into_raw();
        fs::remove_dir_all(at("changed")).unwrap();
        bytes
    };
    let hole = |more: &[&str]| {
        let args = [&["--degrade", "--task", "inpaint", "--box", "4"], more].concat();
        changed("restore", &args, "flowchef/blue-square-1.png")
    };
    let shown = ["--prompt", "red square one", "--prompt", "green stripe two"];
    assert_ne!(hole(&[]), hole(&shown));
    let edited = |more: &[&str]| {
        let args = [&["--method", "inversion", "--prompt", "red square three"], more].concat();
        changed("edit", &args, "inversion/000001.png")
    };
    let own: Vec<String> = ["one", "two", "three", "four"].map(|shade| format!("blue square {shade}")).into();
    let said: Vec<&str> = own.iter().flat_map(|text| ["--source-prompt", text]).collect();
    assert_eq!(edited(&[]), edited(&said));
    assert_ne!(edited(&[]), edited(&["--source-prompt", "red square three"]));
    let mut deaf = program();
    deaf.args(["restore", "--task", "colour", "--input"]).arg(at("pictures")).args(["--prompt", "x", "-o"]);
    deaf.arg(at("no")).arg(crate::common::run()).assert().code(2).stderr(predicate::str::contains("reads no text"));

    // The whole of InstaFlow: guided pairs, reflow, distillation to one step, each reading the same words.
    for (verb, teacher, student) in [("reflow", "base", "straight"), ("distill", "straight", "one")] {
        let mut command = program();
        command.args([verb, "-n", "24", "--images", "32", "--set", "pairs.generate.steps=2"]);
        command.args(["--set", "pairs.guidance.scale=2.0", "-o"]).arg(at(student)).arg("--teacher").arg(at(teacher));
        assert_eq!(json(&mut command)["pair_count"], 24, "{verb}");
        // Guidance is in the pairs. Mutant: the student sampled with the teacher's as well.
        let recipe = fs::read_to_string(at(student).join("recipe.toml")).unwrap();
        assert!(recipe.contains("[sample.guidance]\nscale = 1.0\n"), "{verb}: {recipe}");
    }
    assert_ne!(draw("one", &["red square"], &[]), draw("one", &["green stripe"], &[]));

    let mut retrieve = program();
    retrieve.arg("retrieve").arg(at("one")).args([
        "--features",
        "pixels",
        "--among",
        "3",
        "--steps",
        "1,2",
        "--rows",
        "2",
    ]);
    retrieve.args(["--against"]).arg(at("pictures")).arg("-o").arg(at("sheet.png"));
    let found = json(&mut retrieve);
    let rows = found["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    // The real pictures are their own counterparts here.
    assert_eq!((&rows[0]["first"], &rows[0]["nfe"]), (&object!(1.0), &object!(0)));
    assert!(rows[1]["alone"].as_f64().unwrap() > 0.0 && found["shown"].as_array().unwrap().len() == 2);
    assert!(image::open(at("sheet.png")).unwrap().width() >= 3 * 8); // real, one step, two steps

    // Slim: a fraction of the size, the same samples, no training.
    let bytes = json(program().arg("slim").arg(at("one")).arg("-o").arg(at("slim/one.safetensors")));
    let whole = json(program().arg("inspect").arg(at("one")))["newest"]["bytes"].as_f64().unwrap();
    assert!(bytes["bytes"].as_f64().unwrap() < 0.5 * whole);
    assert_eq!(draw("slim/one.safetensors", &["red square"], &[]), draw("one", &["red square"], &[]));
}

/// Flat and tall boxes as files in a folder to each, whose names are their captions.
fn write_meshes(folder: &Path) {
    for (class, word, [wide, tall]) in [("slabs", "square", [0.9, 0.2]), ("posts", "stripe", [0.2, 0.9])] {
        fs::create_dir_all(folder.join(class)).unwrap();
        for (i, shade) in SHADES.iter().enumerate() {
            let x = wide * (0.6 + 0.08 * i as f64);
            let mut text = String::new();
            for corner in 0..8 {
                let at = |bit: usize, half: f64| if corner >> bit & 1 == 1 { half } else { -half };
                text += &format!("v {} {} {}\n", at(0, x), at(1, tall), at(2, wide));
            }
            for [a, b, c, d] in [[1, 3, 4, 2], [5, 6, 8, 7], [1, 2, 6, 5], [3, 7, 8, 4], [1, 5, 7, 3], [2, 4, 8, 6]] {
                text += &format!("f {a} {b} {c} {d}\n");
            }
            fs::write(folder.join(class).join(format!("{word}_{shade}.obj")), text).unwrap();
        }
    }
}

/// Shapes have captions as pictures have: a flow over a codec's tokens reads them, draws meshes from prompts, and is straightened.
/// Mutants: captions looked for among pictures; a sample held against another shape than the one whose caption was asked for.
#[test]
fn meshes_are_drawn_from_prompts() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_encoder(&at("cache"));
    write_meshes(&at("meshes"));
    let program = |line: &str| {
        let mut command = rectiflow();
        command.env("RECTIFLOW_DATA", at("cache")).current_dir(folder.path()).args(line.split(' '));
        command
    };
    let set = |command: &mut assert_cmd::Command, sets: &[&str]| {
        for set in sets {
            command.args(["--set", set]);
        }
        json(command)
    };
    let codec = [
        "data.path='meshes'",
        "data.holdout=0.3",
        "codec={type='shape',tokens=4,cloud=64,on=8,near=32}",
        "codec.points={surface=256,near=256,volume=128}",
        "codec.network={encoder_width=32,encoder_depth=1,decoder_width=32,decoder_depth=1,heads=2,channels=4}",
        "train={images=1200,batch=4,optim={lr=4e-3,warmup=100}}",
    ];
    set(&mut program("codec -o codec"), &codec);
    let flow = [
        "data.path='meshes'",
        "data.holdout=0.3",
        "task={type='generate',codec='codec',text={length=5}}",
        "network={type='set_transformer',width=32,heads=2,depth=3,condition={tokens=8,vector=8}}",
        "train={images=1200,batch=4,condition_dropout=0.1,validate_every=0,sample_every=0,optim={lr=3e-3,warmup=100}}",
        "sample.steps=8",
    ];
    set(&mut program("train -o flow"), &flow);
    let draw = |options: &str| {
        json(&mut program(&format!("sample {options} --num 2 --resolution 16 --output drawn.npy")));
        fs::read(at("drawn.npy")).unwrap()
    };
    let (slab, post) = (draw("flow --prompt square"), draw("flow --prompt stripe"));
    assert!(slab != post, "a prompt that changes nothing was not read");
    // Without a prompt the captions of the data are asked for in turn.
    assert_ne!(draw("flow"), draw("flow --class none"));
    let found = json(&mut program("shape measure flow --num 6"));
    let share = |key: &str| found[key].as_f64().unwrap_or_else(|| panic!("{key}: {found}"));
    assert!(share("right_class") >= 0.75 && share("judge") == 1.0, "{found}");
    assert!(share("right_shape") > 0.0 && share("right_shape") <= 1.0, "{found}");
    let pairs = ["pairs.generate.steps=2", "pairs.guidance.scale=1.5", "train.batch=8"];
    let made = set(&mut program("reflow --teacher flow -o straight -n 24 --images 32"), &pairs);
    assert_eq!(made["pair_count"], 24);
    assert_ne!(draw("straight --steps 1 --prompt square"), draw("straight --steps 1 --prompt stripe"));
}

/// A reward whose axis asks by the text, of a model that reads prompts: learned from the oracle that finds the class in it, judged by, aligned to.
/// Mutants: the text left out of the reward (both prompts worth the same); the other axis moved by it; texts numbered anew when they are scored.
#[test]
fn a_reward_reads_prompts() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_encoder(&at("cache"));
    fs::create_dir(at("pictures")).unwrap();
    let picture =
        |file: &Path, level: u8| image::GrayImage::from_pixel(28, 28, image::Luma([level])).save(file).unwrap();
    for i in 0..24u8 {
        let name = format!("pictures/{i}");
        picture(&at(&format!("{name}.png")), 40 + 5 * i);
        fs::write(at(&format!("{name}.txt")), ["red shirt", "blue bag"][usize::from(i % 2)]).unwrap();
    }
    let program = |verb: &[&str]| {
        let mut command = rectiflow();
        command.env("RECTIFLOW_DATA", at("cache")).current_dir(folder.path()).args(verb);
        command
    };
    let mut train = program(&["train", "-o", "base", "--data", "pictures"]);
    let network = "network={type='dit',width=16,depth=1,heads=2,patch=7,condition={tokens=8,vector=8}}";
    for set in SETS.iter().map(|set| if set.starts_with("network") { network } else { set }) {
        train.args(["--set", set]);
    }
    json(&mut train);
    let reward = |oracles: &str, to: &str| {
        let mut command = program(&["reward", "train", "base", "--oracles", oracles, "-n", "24", "--held-out", "8"]);
        command.args(["--set", "train.images=128", "--set", "train.batch=8", "--set", "reward.features=16", "-o", to]);
        command.args(["--set", "train.checkpoint.every=64"]);
        command
    };
    let made = json(&mut reward("contrast,match", "reward"));
    assert_eq!((&made["accuracy"][0][0], &made["accuracy"][1][0]), (&"contrast".into(), &"match".into()));
    let recipe = fs::read_to_string(at("reward/recipe.toml")).unwrap();
    assert!(recipe.contains("vector = 8") && recipe.contains("[text]"), "{recipe}");
    json(&mut reward("contrast", "silent"));
    assert!(!fs::read_to_string(at("silent/recipe.toml")).unwrap().contains("[text]"), "no axis asks");
    // One picture under two texts: another match, and the same contrast to the bit.
    fs::create_dir(at("samples")).unwrap();
    for (name, text) in [("a", "red shirt"), ("b", "blue bag"), ("c", "red shirt")] {
        picture(&at(&format!("samples/{name}.png")), 120);
        fs::write(at(&format!("samples/{name}.txt")), text).unwrap();
    }
    json(&mut program(&["reward", "score", "reward", "--input", "samples", "-o", "scores.jsonl"]));
    let rows: Vec<Value> = fs::read_to_string(at("scores.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(rows.iter().all(|row| row["contrast"] == rows[0]["contrast"]), "{rows:?}");
    assert!(rows[0]["match"] != rows[1]["match"] && rows[0]["match"] == rows[2]["match"], "{rows:?}");
    let align = |judge: &str, to: &str| {
        let mut command = program(&["align", "dpo", "base", "--reward", judge, "-n", "6", "--images", "16"]);
        command.args(["--batch-size", "8", "--set", "lora={rank=2,alpha=4.0}", "-o", to]);
        json(&mut command)
    };
    for (judge, to) in [("reward", "by_reward"), ("oracle:match", "by_oracle")] {
        assert_eq!(align(judge, to)["pairs"][0], 6);
        let rate = json(&mut program(&["winrate", to, "base", "-n", "4", "--steps", "1", "--reward", judge]));
        assert!(rate["wins"].as_array().unwrap().iter().any(|win| win["axis"] == "match"), "{rate}");
    }
    // Continued from its folder it ends where it did: texts have the numbers they had.
    let before = fs::read(at("scores.jsonl")).unwrap();
    let last = at("reward/checkpoints/000000000128.safetensors");
    fs::remove_file(&last).unwrap();
    json(&mut program(&["resume", "reward"]));
    assert!(last.is_file());
    json(&mut program(&["reward", "score", "reward", "--input", "samples", "-o", "again.jsonl"]));
    assert!(fs::read(at("again.jsonl")).unwrap() == before);
    // A text that names no class is nothing to the oracle, and a reward of texts nothing to a model of none or to be climbed.
    fs::write(at("samples/c.txt"), "green heart").unwrap();
    let refused = |command: &mut assert_cmd::Command, words: &str| {
        command.assert().code(2).stderr(predicate::str::contains(words));
    };
    let score = |judge: &[&str], to: &str| {
        program(&[&["reward", "score"][..], judge, &["--input", "samples", "-o", to]].concat())
    };
    let (oracle, learned) = (["oracle:match", "--model", "base"], ["reward"]);
    let one = |text: &str| predicate::str::contains("1 of 3 samples").and(predicate::str::contains(text.to_string()));
    for lost in ["green heart", ""] {
        if lost.is_empty() {
            fs::remove_file(at("samples/c.txt")).unwrap();
        }
        score(&oracle, "no.csv").assert().code(1).stderr(one("does not name exactly one class"));
        assert!(!at("no.csv").exists());
        score(&oracle, "left.csv").arg("--skip-unreadable").assert().success().stderr(one("are left out"));
        assert_eq!(fs::read_to_string(at("left.csv")).unwrap().lines().count(), 3, "a head and two samples");
        fs::remove_file(at("left.csv")).unwrap();
    }
    score(&learned, "silent.csv").assert().success().stderr(one("have no prompt"));
    // What its axes ask by, the model says: any other width or reader would train blind.
    for (oracles, set, words) in [
        ("contrast", "reward.vector=8", "reward.vector=8"),
        ("contrast,match", "reward.vector=3", "reward.vector=3"),
        ("contrast", "text={length=5}", "--set text"),
        ("contrast,match", "text={length=4}", "--set text"),
    ] {
        refused(reward(oracles, "no").args(["--set", set]), words);
    }
    // Prompts that an axis asks for are read, and nobody says otherwise.
    let row = |a: &str, b: &str, text: &str, said: &str| format!("samples/{a}.png,samples/{b}.png,{text},{said}\n");
    let rows = [row("a", "b", "red shirt", "A"), row("b", "a", "blue bag", "B"), row("b", "c", "blue bag", "A")];
    let unread = || predicate::str::contains("3 prompts are not read");
    for (axis, read) in [("TA", true), ("VQ", false)] {
        fs::write(at("pairs.csv"), format!("path_A,path_B,prompt,{axis}\n{}", rows.concat())).unwrap();
        let mut people = program(&["reward", "train", "base", "--pairs", "pairs.csv", "-o", axis]);
        people.args(["--set", "train.images=16", "--set", "train.batch=8", "--set", "reward.features=16"]);
        let bench = program(&["reward", "bench", axis, "--pairs", "pairs.csv"]);
        for mut command in [people, bench] {
            let done = command.assert().success();
            if read {
                done.stderr(unread().not())
            } else {
                done.stderr(unread())
            };
        }
    }
    refused(&mut program(&["sample", "base", "--reward", "reward", "-o", "no"]), "asks by texts");
    let model = crate::common::run().display().to_string();
    refused(&mut program(&["winrate", &model, &model, "--reward", "reward"]), "reads none");
    assert!(!at("no.csv").exists() && !at("no").exists());
}

/// A checkpoint of the time when captions were classes (`fixtures/old-layout`): it opens, reads prompts, and says what it said.
#[test]
fn captions_that_were_classes_open() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_encoder(&at("cache"));
    let old = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/old-layout").join(name);
    let mut sample = rectiflow();
    sample.env("RECTIFLOW_DATA", at("cache")).arg("sample").arg(old("words.safetensors"));
    sample.args(["-n", "4", "--seed", "3", "--prompt", "red square one", "--prompt", "green red stripe purple"]);
    sample.args(["--guidance-scale", "2", "-o"]).arg(at("words.npy")).assert().success();
    let numbers = |file: &Path| -> Vec<f32> {
        let bytes = fs::read(file).unwrap();
        bytes[bytes.len() - 4 * 4 * 192..].chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
    };
    let (now, then) = (numbers(&at("words.npy")), numbers(&old("words.npy")));
    let gap = now.iter().zip(&then).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Other processors round otherwise; other prompts, or none, differ by tenths.
    assert!(gap < 2e-3, "{gap}");
    // Asked for nothing it takes its captions, which it carries itself, in turn.
    let mut sample = rectiflow();
    sample.env("RECTIFLOW_DATA", at("cache")).arg("sample").arg(old("words.safetensors"));
    sample.args(["-n", "2", "-o"]).arg(at("own.npy")).assert().success();
}

/// The program as a server: it says where it listens, draws what `sample` draws from the same words, and ends when asked.
#[test]
#[cfg(unix)]
fn prompts_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_encoder(&at("cache"));
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/old-layout/words.safetensors");
    let mut sample = rectiflow();
    sample.env("RECTIFLOW_DATA", at("cache")).arg("sample").arg(&model).args(["--prompt", "red square one"]);
    sample.args(["-n", "2", "--seed", "3", "--guidance-scale", "2", "-o"]).arg(at("drawn")).assert().success();

    let mut server = crate::common::Serving::start(&model, &[("RECTIFLOW_DATA", at("cache").as_path())]);
    let ask = |prompt: &str| {
        let body = object!({ "prompt": prompt, "n": 2, "seed": 3, "guidance_scale": 2 });
        server.post("/v1/images/generations", &body.to_string())
    };
    let answer: Value = serde_json::from_slice(&ask("red square one")).unwrap();
    for i in 0..2 {
        let url = answer["data"][i]["url"].as_str().unwrap_or_else(|| panic!("{answer}"));
        let png = server.get(&url[url.find("/api").unwrap()..]);
        let drawn = image::open(at("drawn").join(format!("{i:06}.png"))).unwrap();
        assert_eq!(image::load_from_memory(&png).unwrap(), drawn, "picture {i}");
    }
    let empty = String::from_utf8_lossy(&ask(" ")).into_owned();
    assert!(empty.contains("say what to draw"), "{empty}");
    assert_eq!(server.terminate(), Some(143));
}

#[test]
fn what_cannot_be_read_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_pictures(&at("pictures"));
    let refused = |sets: &[(&str, &str)], cache: &str, code: i32, said: &str| {
        let mut train = rectiflow();
        train.env("RECTIFLOW_DATA", at(cache)).args(["train", "-o"]).arg(at("no")).arg("--data").arg(at("pictures"));
        for set in SETS.iter().filter(|set| sets.iter().all(|(key, _)| !set.starts_with(key))) {
            train.args(["--set", set]);
        }
        sets.iter().filter(|(_, value)| !value.is_empty()).for_each(|(key, value)| {
            train.args(["--set", &format!("{key}={value}")]);
        });
        train.assert().code(code).stderr(predicate::str::contains(said));
        assert!(!at("no").exists(), "{said}");
    };
    refused(&[], "empty", 1, "rectiflow data get minilm");
    write_encoder(&at("cache"));
    refused(&[("task.text", ""), ("data.label", "caption")], "cache", 2, "set `task.text");
    refused(&[("task.text", "{encoder='clip'}")], "cache", 2, "there are `minilm` and `released`");
    refused(&[("task.text", "{length=7}")], "cache", 2, "text.length is 7");
    let network = "{type='dit',width=16,depth=1,heads=2,patch=2,condition={tokens=9}}";
    refused(&[("network", network)], "cache", 2, "the encoder gives 8 features");
    refused(&[("network", "{type='unet',channels=8}")], "cache", 2, "reads no text");
    refused(&[("task.source", "{name='fashion-mnist-mini'}")], "cache", 2, "this is task `generate`");
    fs::remove_file(at("pictures/red-square-0.txt")).unwrap();
    let captions: Vec<_> = fs::read_dir(at("pictures")).unwrap().map(|entry| entry.unwrap().path()).collect();
    captions
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .for_each(|path| fs::remove_file(path).unwrap());
    refused(&[], "cache", 2, "no sample of");

    // A student reads what its teacher reads, and nobody is told three thousand captions.
    let model = crate::common::run();
    let mut reflow = rectiflow();
    reflow.args(["reflow", "--set", "task.text={}", "-o"]).arg(at("no")).arg("--teacher").arg(&model);
    reflow.assert().code(2).stderr(predicate::str::contains("`task.text` cannot be set"));
    let mut sample = rectiflow();
    sample.arg("sample").arg(&model).args(["--prompt", "a shirt", "-o"]).arg(at("no.png"));
    sample.assert().code(2).stderr(predicate::str::contains("reads no text"));
    let mut retrieve = rectiflow();
    retrieve.arg("retrieve").arg(&model).assert().code(2).stderr(predicate::str::contains("task.text"));
    let mut slim = rectiflow();
    slim.arg("slim").arg(&model).args(["--ema", "0.5", "-o"]).arg(at("no.safetensors")).assert().failure();
    assert!(!at("no.safetensors").exists() && !at("no.png").exists());
    let slimmed = at("slim.safetensors");
    let size: Value = json(rectiflow().arg("slim").arg(&model).arg("-o").arg(&slimmed));
    assert_eq!(size["bytes"].as_u64().unwrap(), fs::metadata(&slimmed).unwrap().len());
}
