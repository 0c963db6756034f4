//! A vocoder of tones that learns in seconds: its loss falls, its run goes on to the same bits, its folder opens; and what is refused.

use super::*;
use crate::{
    runs::Resume,
    verbs::codec::{CodecReport, codec},
};
use base::{Tensor, TensorData};
use media::audio::{Depth, Sound, write};
use nets::Vocoder;
use train::{Batch, Live, Task};

/// Two labels of eight tones each.
fn recordings(root: &Path) {
    for (label, hertz) in [("low", 150.0f32), ("high", 700.0)] {
        for i in 0..8 {
            let step = std::f32::consts::TAU * hertz * (1.0 + 0.04 * i as f32) / 8000.0;
            let tone = (0..4000).map(|k| 0.4 * (k as f32 * step).sin()).collect();
            write(&root.join(format!("{label}/{i}.wav")), &Sound::mono(8000, tone), Depth::Int16).unwrap();
        }
    }
}

const TONES: &str = r#"
    name = "tones"
    [codec]
    type = "vocoder"
    segments = 256
    centre = -3.0
    spread = 2.5
    network = { channels = 16, rates = [8, 5], kernels = [3], dilations = [1] }
    loss = { windows = [64, 256] }
    [codec.mel]
    rate = 8000
    window = 256
    hop = 40
    bins = 20
    high = 4000.0
    floor = 1e-3
    [codec.segment]
    length = 800
    [train]
    images = 800
    batch = 8
    optim = { lr = 4e-3, warmup = 32 }
    ema = { decays = [0.9] }
    checkpoint = { every = 400 }
"#;

fn recipe(root: &Path, set: &[&str]) -> Result<CodecRecipe, Error> {
    let file = root.join("tones.toml");
    std::fs::write(&file, TONES).unwrap();
    let set: Vec<String> = set.iter().map(ToString::to_string).collect();
    let mut recipe = CodecRecipe::read(Some(&file), &set)?;
    recipe.data.path = Some(root.join("sounds"));
    Ok(recipe)
}

fn trained(recipe: &CodecRecipe, folder: &Path, resume: Option<Resume>) -> CodecReport {
    codec(recipe, folder, resume, &mut Context::silent()).unwrap()
}

/// The loss of a network over held-out segments.
fn loss(config: &VocoderConfig, net: &HifiGan, recipe: &CodecRecipe) -> f64 {
    let device = Device::flex();
    let set = config.segments(&recipe.data, Part::Test).unwrap();
    let places: Vec<usize> = (0..8).collect();
    let rows = data::gather(&set, &places).unwrap().rows;
    let task = Learned(VocoderTask::new(config, &device).unwrap());
    let batch = Batch::new(rows, set.shape(), (0..8).collect());
    task.loss(&Live::plain(net), &batch, &device).unwrap().mean().into_scalar::<f32>().into()
}

/// Mutants: what is made taken off the tape before the loss; the folder written of fresh weights; the picture not centred when the folder is
/// opened; a column too many, which is refused.
#[test]
fn a_vocoder_learns_tones_and_is_handed_over() {
    let root = tempfile::tempdir().unwrap();
    recordings(&root.path().join("sounds"));
    let recipe = recipe(root.path(), &[]).unwrap();
    let crate::codec::CodecConfig::Vocoder(config) = recipe.codec.clone() else { unreachable!() };
    let run = root.path().join("run");
    let report = trained(&recipe, &run, None);
    let device = Device::flex();
    let before = loss(&config, &config.network(recipe.seed, &device).unwrap(), &recipe);
    let checkpoint = crate::runs::find(&run).unwrap();
    let which = train::checkpoint::Which::Best;
    let net = train::checkpoint::load_weights(config.network(0, &device).unwrap(), &checkpoint, which).unwrap();
    let after = loss(&config, &net, &recipe);
    assert!(after < 0.6 * before, "{after} {before}");

    let vocoded = report.vocoder.clone().unwrap();
    assert_eq!((vocoded.folder.clone(), vocoded.picture), (run.join("vocoder"), [1, 20, 20].into()));
    assert!(vocoded.sheet.is_file() && run.join("samples/07-vocoder.wav").is_file(), "{report}");
    assert_eq!((vocoded.sounds, vocoded.ways.len()), (100, 2));
    assert!(vocoded.ways.iter().all(|way| way.log_mel.is_finite() && way.spectral > 0.0 && way.moments.is_some()));

    // What the recipe says of log-mel values is what the network subtracts and divides by. Mutant: `codec.centre` or `spread` passed over.
    let numbers = |name: &str| {
        let all = nets::weights::named_tensors(&net).into_iter().find(|(found, ..)| found == name);
        all.map(|(_, _, values)| values).unwrap_or_default()
    };
    assert_eq!((numbers("mean"), numbers("scale")), (vec![-3.0f32; 20], vec![2.5f32; 20]));

    // As any released one: the same sounds as the network in the checkpoint, a hop to a column.
    let (opened, unknown) = Vocoder::open(&vocoded.folder, &device).unwrap();
    assert!(unknown.is_empty());
    let reads = opened.reads();
    assert_eq!((reads.rate, reads.bands, reads.hop), (8000, 20, 40));
    let picture: Vec<f32> = (0..2 * 7 * 20).map(|i| -4.0 + (i as f32 * 0.37).sin()).collect();
    let picture = || Tensor::from_data(TensorData::new(picture.clone(), [2, 7, 20]), &device);
    let (ours, theirs) = (net.forward(picture()), opened.forward(picture()));
    assert_eq!(theirs.dims(), [2, 280]);
    let apart: f32 = (ours - theirs).abs().max().into_scalar();
    assert!(apart < 1e-6, "{apart}");

    // No codec of anything.
    let said = crate::codec::Codec::open(&run, &Context::silent().device).err().unwrap().to_string();
    assert!(said.contains("separate --vocoder"), "{said}");
}

/// Mutant: the loader not sought to where the run ended.
#[test]
fn a_vocoder_goes_on_to_the_same_bits() {
    let root = tempfile::tempdir().unwrap();
    recordings(&root.path().join("sounds"));
    // A rate that does not know where the run ends.
    let of = |images: &str| {
        let set = [images, "train.checkpoint.every=80", "train.optim.schedule={ type = \"constant\" }"];
        recipe(root.path(), &set).unwrap()
    };
    let whole = of("train.images=160");
    let weights = |run: &Path| std::fs::read(run.join("vocoder/model.safetensors")).unwrap();
    let same = |a: &Path, b: &Path| weights(a) == weights(b); // thousands of bytes say nothing to who reads them
    let (at_once, in_two) = (root.path().join("whole"), root.path().join("half"));
    trained(&whole, &at_once, None);
    trained(&of("train.images=80"), &in_two, None);
    assert!(!same(&at_once, &in_two));
    trained(&whole, &in_two, Some(Resume::Latest));
    assert!(same(&at_once, &in_two));
}

#[test]
fn what_a_vocoder_cannot_be_is_refused_by_its_key() {
    let root = tempfile::tempdir().unwrap();
    recordings(&root.path().join("sounds"));
    let refuse = |set: &[&str], part: &str| {
        let run = root.path().join("run");
        let said = recipe(root.path(), set)
            .and_then(|recipe| codec(&recipe, &run, None, &mut Context::silent()))
            .expect_err(part)
            .to_string();
        assert!(said.contains(part) && !run.exists(), "{said}");
    };
    refuse(&["codec.network.rates=[8, 4]"], "codec.mel.hop is 40");
    refuse(&["codec.network.kernels=[4]"], "odd windows");
    refuse(&["codec.network.channels=2"], "without channels");
    refuse(&["codec.segment.absent=0.1"], "absent");
    refuse(&["codec.segment.speed=[2.0, 1.0]"], "segment.speed");
    refuse(&["codec.segment.length=200"], "shorter than a window");
    refuse(&["codec.segment.length=810"], "codec.segment.length is 810");
    refuse(&["codec.loss.windows=[1024]"], "codec.loss.windows");
    refuse(&["codec.segments=4"], "codec.segments = 4");
    refuse(&["whitening=none"], "whitening is of latents");
    refuse(&["train.sample_every=8"], "train.sample_every");
}
