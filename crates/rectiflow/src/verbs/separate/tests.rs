//! From a folder of recordings to a separator, with a network that learns in seconds; and what is refused.

use super::*;
use crate::{
    Recipe,
    codec::{CodecRecipe, Mixtures},
    pairs,
    recipe::{Layers, PairsRecipe},
    sound::Part,
    verbs::{
        student::{Method, student},
        train::train,
    },
};
use data::pairs::PairStore;
use methods::PairsConfig;
use std::sync::OnceLock;

/// Three labels of eight tones each, wide apart in pitch.
fn recordings(root: &Path) {
    for (label, hertz) in [("low", 150.0f32), ("middle", 700.0), ("high", 3000.0)] {
        for i in 0..8 {
            let step = std::f32::consts::TAU * hertz * (1.0 + 0.04 * i as f32) / 16_000.0;
            let tone = (0..6000).map(|k| 0.4 * (k as f32 * step).sin()).collect();
            audio::write(&root.join(format!("{label}/{i}.wav")), &Sound::mono(16_000, tone), Depth::Int16).unwrap();
        }
    }
}

fn recipe(root: &Path) -> Recipe {
    let text = r#"
        name = "tones"
        parameterization = { type = "data" }
        time = { law = { type = "logit_normal", mean = -0.8, std = 1.0 } }
        [task]
        type = "separate"
        centre = -3.0
        spread = 2.5
        [task.mel]
        bins = 32
        floor = 1e-3
        [task.mixture]
        length = 5120
        absent = 0.1
        [network]
        type = "unet"
        channels = 16
        patch = 4
        groups = 4
        condition = { dense = 1 }
        [train]
        images = 6144
        batch = 16
        validate_every = 2048
        validation_samples = 8
        sample_every = 2048
        optim = { lr = 4e-3, warmup = 256 }
        ema = { decays = [0.98] }
        [sample]
        steps = 6
    "#;
    let layers = Layers::new().text(text, "tones.toml").unwrap();
    layers.data(root.to_str().unwrap()).unwrap().build().unwrap()
}

/// One run for all tests of this file.
fn run() -> &'static Path {
    static RUN: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = RUN.get_or_init(|| {
        let root = tempfile::tempdir().unwrap();
        recordings(&root.path().join("sounds"));
        let recipe = recipe(&root.path().join("sounds"));
        train(&recipe, &root.path().join("run"), None, &mut Context::silent()).unwrap();
        root
    });
    folder.path()
}

fn request(input: &Path, output: &Path, queries: &[&str]) -> SeparateRequest {
    SeparateRequest {
        checkpoint: run().join("run"),
        ema: None,
        overrides: SampleOverrides::default(),
        seed: 0,
        input: input.into(),
        queries: queries.iter().map(|q| q.to_string()).collect(),
        resynthesis: Resynthesis::Mask,
        vocoder: None,
        output: output.into(),
    }
}

/// Mutants: the mixture not given to the network, swapped labels for the listener, the mixture's pictures for the targets', the query not given, time run backwards, the first label asked for always.
#[test]
fn tones_are_heard_in_mixtures_of_tones_that_training_never_heard() {
    let request = ScoreRequest {
        checkpoint: run().join("run"),
        ema: None,
        overrides: SampleOverrides::default(),
        seed: 0,
        count: 16,
        sounds: None,
        snr: None,
        vocoder: None,
        judge: Some(run().join("judge.safetensors")),
        sheet: run().join("held-out.png"),
    };
    let score = score(&request, &mut Context::silent()).unwrap();
    let way = |name: &str| score.ways.ways.iter().find(|way| way.name == name).unwrap().clone();
    let (target, mixture, masked) = (way("the target itself"), way("the mixture"), way("the model, mask"));
    assert!(score.ways.accuracy.unwrap() > 0.9 && target.carries.unwrap() > 0.8, "{score}");
    assert!(masked.carries.unwrap() > 0.7 && masked.carries > mixture.carries, "{score}");
    assert!(target.frechet.unwrap() < 1e-3 && masked.frechet < mixture.frechet, "{score}");
    assert!(
        (mixture.log_mel - 1.0).abs() < 1e-9 && mixture.improvement.abs() < 1e-9 && target.log_mel < 1e-9,
        "{score}"
    );
    assert!((masked.improvement - score.improvement.mean).abs() < 1e-9, "{score}");
    assert!(way("the model, griffinlim").log_mel < 1.0 && way("ideal ratio mask").improvement > masked.improvement);
    assert!(run().join("judge.safetensors").is_file());
    assert!(score.improvement.median > 2.0 && score.improved > 0.7, "{score}");
    assert!(score.follows > 0.7 && score.follows_swapped > 0.7, "{score}");
    assert!(score.ways.carries_swapped.unwrap() > 0.7 && score.deaf > 1.5 * score.log_mel, "{score}");
    assert!(target.lost == 0.0 && target.lost_under == 0.0 && mixture.lost < masked.lost, "{score}");
    assert!(target.moments.unwrap() < 1e-3 && masked.moments < mixture.moments, "{score}");
    assert!(score.absent.median < -3.0, "{score}");
    assert!(score.own_picture.median > score.improvement.median, "a perfect picture is better: {score}");
    assert!(score.recordings == 6 && score.sheet.is_file());
    assert!(run().join("run/samples/000000004096.png").is_file(), "sheets are drawn while training");
}

/// A codec of the tones' pictures by the verb `codec`, and a flow over its latents by `train`: heard, decoded and measured as without.
/// Mutants: the mixture's picture beside the sample left as it is; the map of separation not encoded; latents not decoded.
#[test]
fn tones_are_heard_in_latents_of_pictures() {
    let root = run();
    let text = r#"
        name = "mel"
        [codec]
        type = "mel"
        pictures = 512
        centre = -3.0
        spread = 2.5
        network = { channels = [8, 16, 16], groups = 4, latent_channels = 4 }
        [codec.mel]
        bins = 32
        floor = 1e-3
        [codec.mixture]
        length = 5120
        absent = 0.1
        [train]
        images = 1536
        batch = 8
        optim = { lr = 3e-3, warmup = 128 }
        ema = { decays = [0.9] }
    "#;
    let file = root.join("codec.toml");
    std::fs::write(&file, text).unwrap();
    let mut codec = CodecRecipe::read(Some(&file), &[]).unwrap();
    codec.data.path = Some(root.join("sounds"));
    let found = crate::verbs::codec::codec(&codec, &root.join("codec"), None, &mut Context::silent()).unwrap();
    let lost = found.lost.clone().unwrap();
    assert_eq!(found.latent, [4, 8, 8].into());
    assert!(lost.share < 0.6 && found.sheet.as_ref().is_some_and(|sheet| sheet.is_file()), "{found}");
    let floor = lost.floor.clone().unwrap();
    assert_eq!(floor.cell, [2, 2]);

    let place = root.join("codec").display().to_string();
    let with = |set: &[&str]| {
        let layers = Layers::new().recipe(&recipe(&root.join("sounds"))).set(&format!("task.codec={place}")).unwrap();
        let layers = layers.set("network.patch=1").unwrap().set("network.condition.dense=4").unwrap();
        set.iter()
            .try_fold(layers.set("train.images=2048").unwrap(), |layers, set| layers.set(set))
            .unwrap()
            .build()
            .unwrap()
    };
    let refused = |set: &str, part: &str| {
        let folder = root.join("refused");
        let said = train(&with(&[set]), &folder, None, &mut Context::silent()).unwrap_err();
        assert!(said.exit_code() == 2 && said.to_string().contains(part) && !folder.exists(), "{said}");
    };
    refused("network.condition.dense=1", "set it to 4");
    refused("task.centre=-4.0", "task.centre is -4");
    refused("task.mixture.length=10240", "columns of task.mixture.length is 64");
    train(&with(&[]), &root.join("latents"), None, &mut Context::silent()).unwrap();
    let request = ScoreRequest {
        checkpoint: root.join("latents"),
        ema: None,
        overrides: SampleOverrides::default(),
        seed: 0,
        count: 16,
        sounds: None,
        snr: None,
        vocoder: None,
        judge: None,
        sheet: root.join("latents.png"),
    };
    let score = score(&request, &mut Context::silent()).unwrap();
    assert!(score.improvement.median > 1.0 && score.improved > 0.7, "{score}");
    let codec = score.through_codec.unwrap();
    assert!(codec.median > score.improvement.median && codec.median <= score.own_picture.median + 1.0, "{score}");
}

/// Reflow and distillation learn from pairs that a teacher heard in mixtures: the end of pair `i` is near to the target of mixture `i`, of its
/// label, and a student of them hears in one step. Mutants: the mixture of another number beside a pair, when it is made or when it is learned;
/// labels in turn; no mixture beside it; pairs by Heun, which asks a prediction of data for a velocity at its end.
#[test]
fn separators_are_straightened_and_distilled_on_what_they_hear() {
    let device = crate::device::Chosen::cpu();
    for (method, few) in [(Method::Reflow, "reflow"), (Method::Distill, "distill")] {
        let teacher = Model::teacher(&run().join("run"), which(None).unwrap(), &device).unwrap();
        let keys = [
            "pairs.count=96",
            "pairs.generate.steps=4",
            "train.images=768",
            "train.batch=16",
            "train.validate_every=384",
            "train.optim.lr=1e-3",
        ];
        let recipe = method.recipe(&teacher, |below| keys.iter().try_fold(below, |below, key| below.set(key))).unwrap();
        let folder = run().join(few);
        student(method, &recipe, teacher, None, &folder, None, &mut Context::silent()).unwrap();
        let request = ScoreRequest {
            checkpoint: folder.clone(),
            ema: None,
            overrides: SampleOverrides { steps: Some(1), ..SampleOverrides::default() },
            seed: 0,
            count: 16,
            sounds: None,
            snr: None,
            vocoder: None,
            judge: None,
            sheet: run().join("few.png"),
        };
        let score = score(&request, &mut Context::silent()).unwrap();
        assert!(score.steps == 1 && score.improvement.median > 2.0 && score.follows > 0.7, "{few}: {score}");
    }
    let store = PairStore::open(&run().join("reflow/pairs")).unwrap();
    let pairs = store.batch(&(0..32).collect::<Vec<_>>()).unwrap();
    let recipe = recipe(&run().join("sounds"));
    let mixtures = Mixtures::of(&recipe, None, Part::Train, store.meta().seed, &device.device).unwrap().unwrap();
    let heard = mixtures.at(&pairs.index).unwrap();
    assert_eq!(pairs.labels, heard.classes);
    let size = heard.shape.numel();
    let apart = |i: usize, j: usize| -> f32 {
        let rows = pairs.x1[i * size..(i + 1) * size].iter().zip(&heard.x1[j * size..(j + 1) * size]);
        rows.map(|(a, b)| (a - b).abs()).sum()
    };
    let (own, other): (Vec<f32>, Vec<f32>) = (0..32).map(|i| (apart(i, i), apart(i, (i + 1) % 32))).unzip();
    assert!(2.0 * own.iter().sum::<f32>() < other.iter().sum::<f32>(), "{own:?} {other:?}");
    let said = pairs::make(
        &Model::teacher(&run().join("run"), which(None).unwrap(), &device).unwrap(),
        &PairsRecipe { generate: PairsConfig { inverted: 0.5, ..Default::default() }, ..Default::default() },
        &run().join("none"),
        &mut Context::silent(),
    );
    assert!(said.unwrap_err().to_string().contains("pairs.generate.inverted"));
}

/// Mutants: one channel lost, the length of the model's rate, overlapping pieces added without fading (twice as loud there).
#[test]
fn a_recording_of_any_form_keeps_it() {
    let root = tempfile::tempdir().unwrap();
    let wave = |rate: u32, hertz: f32, frames: usize| -> Vec<f32> {
        (0..frames).map(|i| 0.3 * (std::f32::consts::TAU * hertz * i as f32 / rate as f32).sin()).collect()
    };
    let put = |name: &str, rate: u32, frames: usize, depth: Depth| {
        let (low, high) = (wave(rate, 160.0, frames), wave(rate, 3100.0, frames));
        let loud = if name == "loud.wav" { 8.0 } else { 1.0 };
        let both: Vec<f32> = low.iter().zip(&high).map(|(a, b)| loud * (a + b)).collect();
        audio::write(&root.path().join("in").join(name), &Sound { rate, channels: vec![both, high] }, depth).unwrap();
    };
    put("long.wav", 44_100, 150_001, Depth::Int24);
    put("short.flac", 8_000, 800, Depth::Int16);
    put("float.wav", 16_000, 20_000, Depth::Float);
    put("loud.wav", 16_000, 20_000, Depth::Float);
    let output = root.path().join("out");
    let queries = ["low", "the high"];
    let report = separate(&request(&root.path().join("in"), &output, &queries), &mut Context::silent()).unwrap();
    let expected = [(16_000, 20_000), (44_100, 150_001), (16_000, 20_000), (8_000, 800)];
    assert_eq!(report.files.len(), expected.len());
    for (file, (rate, frames)) in report.files.iter().zip(expected) {
        for path in &file.outputs {
            let back = audio::read(path).unwrap().sound;
            assert_eq!((back.rate, back.frames(), back.channels.len()), (rate, frames, 2), "{}", path.display());
        }
        assert!(file.sheet.is_file());
    }
    let long = |name: &str| audio::read(&output.join(name)).unwrap().sound;
    let energy = |x: &[f32]| x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    let (low, high) = (long("long-low.wav"), long("long-the-high.wav"));
    // The right channel has the high tone alone: asked for the low one, little is left of it.
    assert!(energy(&low.channels[1]) < 0.3 * energy(&high.channels[1]), "{:?}", report.files[1].decibels);
    let loudest = high.channels[1].iter().fold(0.0f32, |m, v| m.max(v.abs()));
    assert!(loudest < 0.4, "{loudest}");
    // Louder than integers go: not cut off. Mutant: integers of 16 bits always.
    let peak = long("loud-the-high.wav").channels[0].iter().fold(0.0f32, |m, v| m.max(v.abs()));
    assert!(peak > 1.2, "{peak}");
    let again = root.path().join("again");
    separate(&request(&root.path().join("in/long.wav"), &again, &queries), &mut Context::silent()).unwrap();
    assert_eq!(std::fs::read(again.join("long-low.wav")).unwrap(), std::fs::read(output.join("long-low.wav")).unwrap());
    let searched = SeparateRequest {
        resynthesis: Resynthesis::GriffinLim,
        ..request(&root.path().join("in/short.flac"), &again, &["low"])
    };
    separate(&searched, &mut Context::silent()).unwrap();
    let griffin = audio::read(&again.join("short-low.wav")).unwrap().sound;
    assert_eq!(griffin.frames(), 800);
    // A vocoder as `codec` hands it over, of 32 bands. Mutant: the folder of its run in place of its own.
    let text = r#"
        name = "vocoder"
        [codec]
        type = "vocoder"
        segments = 16
        mel = { bins = 32, floor = 1e-3 }
        segment = { length = 1600 }
        network = { channels = 8, rates = [16, 10], kernels = [3], dilations = [1] }
        [train]
        images = 16
        batch = 8
    "#;
    let file = root.path().join("vocoder.toml");
    std::fs::write(&file, text).unwrap();
    let mut recipe = CodecRecipe::read(Some(&file), &[]).unwrap();
    recipe.data.path = Some(run().join("sounds"));
    let trained = crate::verbs::codec::codec(&recipe, &root.path().join("own"), None, &mut Context::silent()).unwrap();
    let folder = trained.vocoder.unwrap().folder;
    let vocoded = SeparateRequest {
        resynthesis: Resynthesis::Vocoder,
        vocoder: Some(folder),
        ..request(&root.path().join("in/short.flac"), &again, &["low"])
    };
    separate(&vocoded, &mut Context::silent()).unwrap();
    let made = audio::read(&again.join("short-low.wav")).unwrap().sound;
    assert!(made.frames() == 800 && made != griffin, "the vocoder was not asked");
    // Silence stays silence.
    audio::write(&root.path().join("quiet.wav"), &Sound::mono(16_000, vec![0.0; 3000]), Depth::Int16).unwrap();
    let report = separate(&request(&root.path().join("quiet.wav"), &again, &["low"]), &mut Context::silent()).unwrap();
    assert_eq!(report.files[0].decibels, [None]);
    assert!(audio::read(&again.join("quiet-low.wav")).unwrap().sound.channels[0].iter().all(|v| *v == 0.0));
}

/// FlowSep's checkpoint with made-up weights, which `crates/nets/tests/all/released.rs` holds to a second program: here asked in words, in
/// pieces, and refused where it must be. Mutants: the first query for all; the noise of the clock; guidance passed over.
#[test]
fn a_released_checkpoint_hears_what_words_ask_for() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("tiny.safetensors");
    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/flow_sep_tiny/layout.json");
    let layout: std::collections::BTreeMap<String, Vec<usize>> =
        serde_json::from_slice(&std::fs::read(at).unwrap()).unwrap();
    let values = |(name, shape): (&String, &Vec<usize>)| -> Vec<u8> {
        let count: usize = shape.iter().product();
        let fan = count / shape.first().copied().unwrap_or(1).max(1);
        let of = |i: usize| match shape.len() {
            0 => 0.7,
            1 => 0.1 * (i as f32).sin() + if name.ends_with("weight") { 1.0 } else { 0.0 },
            _ => 2.0 * ((i * i * 7 + i * 13 + name.len()) as f32 % 1009.0).sin() / (fan as f32).sqrt(),
        };
        (0..count).flat_map(|i| of(i).to_le_bytes()).collect()
    };
    let tensors: Vec<_> = layout
        .iter()
        .filter(|(name, _)| !name.contains(".vocoder."))
        .map(|line| (line.0.as_str(), line.1.clone(), values(line)))
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
        (*name, view.unwrap())
    });
    std::fs::write(&file, safetensors::serialize(views, None).unwrap()).unwrap();
    let open = || Released::sized(&file, 10_240, &mut Context::silent());
    let said = open().err().unwrap().to_string();
    assert!(said.contains("tokenizer.json of FLAN-T5"), "{said}");
    let words = r#"{"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}, "model": {"type": "WordLevel",
        "unk_token": "<unk>", "vocab": {"<pad>": 0, "</s>": 1, "<unk>": 2, "a": 3, "bell": 4, "dog": 5}}}"#;
    std::fs::write(root.path().join("tokenizer.json"), words).unwrap();
    let mut released = open().unwrap().unwrap();
    assert!(released.take_vocoder().err().unwrap().to_string().contains("holds no vocoder"));
    let config = crate::recipe::SampleConfig { steps: 2, ..Released::sample_config() };
    let separator = Separator::released(&released, config.clone(), 3).unwrap();
    // Two pieces, the second of another pitch.
    let tone = |i: usize| 0.3 * (i as f32 * if i < 14_000 { 0.1 } else { 0.35 }).sin();
    let sound = Sound::mono(22_050, (0..28_001).map(tone).collect());
    let ask = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let queries = Queries::texts(&words).unwrap();
        outputs(&sound, &separator, &queries, Resynthesis::Mask, &mut Context::silent()).unwrap()
    };
    let made = ask(&["a bell", "a dog"]);
    assert!(made.iter().all(|made| (made.rate, made.frames()) == (22_050, 28_001)));
    assert!(made[0] != made[1] && made == ask(&["a bell", "a dog"]));
    let mut guided = config;
    guided.guidance.scale = 2.0;
    assert!(Separator::released(&released, guided, 3).err().unwrap().to_string().contains("--guidance"));
    assert!(Released::open(&run().join("run"), &mut Context::silent()).unwrap().is_none());
    let said = crate::released::Release::open(&file, None).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(said.contains("rectiflow separate"), "{said}");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_written() {
    let root = tempfile::tempdir().unwrap();
    let (input, output) = (root.path().join("x.wav"), root.path().join("out"));
    audio::write(&input, &Sound::mono(16_000, vec![0.1; 900]), Depth::Int16).unwrap();
    let refused = |request: &SeparateRequest, code: u8, part: &str| {
        let error = separate(request, &mut Context::silent()).unwrap_err();
        assert!(error.exit_code() == code && error.to_string().contains(part), "{error}");
        assert!(!output.exists(), "{error}");
    };
    refused(&request(&input, &output, &[]), 2, "--query is missing");
    refused(&request(&input, &output, &["low", " "]), 2, "--query number 2 is empty");
    refused(&request(&input, &output, &["violin"]), 2, "knows high, low, middle");
    refused(&request(&input, &output, &[&"word ".repeat(500)]), 2, "...");
    refused(&request(&input, &output, &["a low!", "a  low"]), 2, "same file");
    refused(&request(&root.path().join("no.wav"), &output, &["low"]), 1, "no.wav");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/audio_tiny");
    for (folder, code, part) in [("vocoder", 2, "bands 64"), ("bigvgan", 2, "bands 8"), ("vae", 1, "neither")] {
        let of = SeparateRequest { vocoder: Some(fixtures.join(folder)), ..request(&input, &output, &["low"]) };
        refused(&of, code, part);
    }
    for (name, bytes) in
        [("text.wav", b"no sound at all".to_vec()), ("cut.wav", std::fs::read(&input).unwrap()[..60].to_vec())]
    {
        std::fs::write(root.path().join(name), bytes).unwrap();
        refused(&request(&root.path().join(name), &output, &["low"]), 1, name);
    }
    audio::write(&input, &Sound::mono(16_000, vec![0.1; 900]), Depth::Float).unwrap();
    let mut nan = std::fs::read(&input).unwrap();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(root.path().join("nan.wav"), nan).unwrap();
    refused(&request(&root.path().join("nan.wav"), &output, &["low"]), 1, "frame 899 of channel 0 is NaN");
    // Other verbs do not draw from a separator, and a model of pictures separates nothing.
    let device = crate::device::Chosen::cpu();
    let said = Model::open(&run().join("run"), which(None).unwrap(), &device).err().unwrap();
    assert!(said.exit_code() == 2 && said.to_string().contains("rectiflow separate"), "{said}");
}

#[test]
fn recipes_of_sounds_say_what_they_must() {
    let root = tempfile::tempdir().unwrap();
    recordings(root.path());
    let whole = recipe(root.path());
    let said = |set: &[&str]| {
        let layers = set.iter().try_fold(Layers::new().recipe(&whole), |layers, set| layers.set(set));
        layers.and_then(Layers::build).map_err(|error| error.to_string()).err().unwrap_or_default()
    };
    assert_eq!(said(&[]), "");
    assert!(said(&["network.condition.dense=0"]).contains("dense is 0"));
    assert!(said(&["network={type='dit'}"]).contains("dense is 0"));
    assert!(said(&["data.size=32"]).contains("its other keys are of images"));
    assert!(said(&["task.held_out=1"]).contains("held_out"));
    assert!(said(&["task.spread=0.0"]).contains("spread"));
    assert!(said(&["task.mixture.length=5121"]).contains("whole number of columns"));
    assert!(said(&["task.mixture.snr=[3.0, -3.0]"]).contains("mixture.snr"));
    assert!(said(&["task.mixture.loudness=3"]).contains("loudness"));
    assert!(said(&["task.mel.bins=0"]).contains("mel bands"));
    let plain = Layers::new().set("network.condition.dense=1").unwrap().build().unwrap_err().to_string();
    assert!(plain.contains("type = \"separate\""), "{plain}");
    // Labels that are not there, and more sounds than labels, are found when the recordings are.
    let told = |set: &str| {
        let recipe = Layers::new().recipe(&whole).set(set).unwrap().build().unwrap();
        let error = train(&recipe, &root.path().join("run"), None, &mut Context::silent()).unwrap_err().to_string();
        assert!(!root.path().join("run").exists());
        error
    };
    assert!(told("data.classes=['low', 'violin']").contains("no recording of `violin`"));
    assert!(told("task.mixture.sources=[2, 4]").contains("task.mixture.sources"));
    assert!(told("task.held_out=9").contains("lower task.held_out"));
}

/// Mutants: the gain not undone, another rate, the length of the resampled sound.
#[test]
fn what_is_heard_comes_back_as_it_was() {
    for (rate, frames, channels) in [(44_100, 30_001, 2), (8_000, 800, 1), (16_000, 1_601, 1), (48_000, 7, 1)] {
        let tone = |c: usize| (0..frames).map(|i| 0.1 + 0.2 * ((i + c) as f32 * 0.05).sin()).collect::<Vec<f32>>();
        let sound = Sound { rate, channels: (0..channels).map(tone).collect() };
        let Heard { sound: inside, gain } = heard(&sound, 16_000).unwrap();
        let peak = inside.channels.iter().flatten().fold(0.0f32, |m, v| m.max(v.abs()));
        assert!(inside.rate == 16_000 && (peak - PEAK).abs() < 1e-4, "{peak}");
        let out = back(inside, gain, &sound).unwrap();
        assert_eq!((out.rate, out.frames(), out.channels.len()), (rate, frames, channels));
        if frames > 1000 {
            let mean = 0.1f32;
            let inside = frames / 4..frames / 2;
            let off = inside.map(|i| (out.channels[0][i] - (sound.channels[0][i] - mean)).abs()).fold(0.0, f32::max);
            assert!(off < 0.02, "{rate}: {off}");
        }
    }
}
