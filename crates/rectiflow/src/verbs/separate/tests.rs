//! From a folder of recordings to a separator, with a network that learns in seconds; and what is refused.

use super::*;
use crate::{Recipe, recipe::Layers, verbs::train::train};
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
        output: output.into(),
    }
}

/// Mutants: the mixture not given to the network, the query not given, time run backwards, the first label asked for always.
#[test]
fn tones_are_heard_in_mixtures_of_tones_that_training_never_heard() {
    let request = ScoreRequest {
        checkpoint: run().join("run"),
        ema: None,
        overrides: SampleOverrides::default(),
        seed: 0,
        count: 16,
        sheet: run().join("held-out.png"),
    };
    let score = score(&request, &mut Context::silent()).unwrap();
    assert!(score.improvement.median > 2.0 && score.improved > 0.7, "{score}");
    assert!(score.follows > 0.7 && score.follows_swapped > 0.7, "{score}");
    assert!(score.absent.median < -3.0, "{score}");
    assert!(score.own_picture.median > score.improvement.median, "a perfect picture is better: {score}");
    assert!(score.recordings == 6 && score.sheet.is_file());
    assert!(run().join("run/samples/000000004096.png").is_file(), "sheets are drawn while training");
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
        let both: Vec<f32> = low.iter().zip(&high).map(|(a, b)| a + b).collect();
        audio::write(&root.path().join("in").join(name), &Sound { rate, channels: vec![both, high] }, depth).unwrap();
    };
    put("long.wav", 44_100, 150_001, Depth::Int24);
    put("short.flac", 8_000, 800, Depth::Int16);
    put("float.wav", 16_000, 20_000, Depth::Float);
    let output = root.path().join("out");
    let queries = ["low", "the high"];
    let report = separate(&request(&root.path().join("in"), &output, &queries), &mut Context::silent()).unwrap();
    assert_eq!(report.files.len(), 3);
    for (file, (rate, frames)) in report.files.iter().zip([(16_000, 20_000), (44_100, 150_001), (8_000, 800)]) {
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
    // Silence stays silence.
    audio::write(&root.path().join("quiet.wav"), &Sound::mono(16_000, vec![0.0; 3000]), Depth::Int16).unwrap();
    let report = separate(&request(&root.path().join("quiet.wav"), &again, &["low"]), &mut Context::silent()).unwrap();
    assert_eq!(report.files[0].decibels, [None]);
    assert!(audio::read(&again.join("quiet-low.wav")).unwrap().sound.channels[0].iter().all(|v| *v == 0.0));
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
    assert!(told("task.mixture.sources=[2, 4]").contains("mixture.sources"));
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
