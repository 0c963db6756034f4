//! Released models trained: corrections of low rank beside their weights, and those weights themselves.

use super::fixture;
use base::{Device, Key, Purpose, Tensor, TensorData, Times};
use flow::Field;
use media::Bitmap;
use nets::weights::{Corrections, Stored, TensorSource, named_tensors};
use rectiflow::{
    Context, Error, Model, Recipe,
    recipe::Layers,
    release,
    released::{
        Network, Prompted, Release, adapter,
        convert::{ConvertRequest, Layout, convert},
    },
    verbs::{
        student::{Method, student},
        train::{Resume, TrainReport, rehearse, train},
    },
};
use std::path::{Path, PathBuf};
use train::TrainConfig;

/// Ten pictures of `side` pixels in a folder, each with a caption: squares of one colour on another.
pub(super) fn pictures(folder: &Path, side: usize) {
    let colours = [
        ("red", [220u8, 40, 30]),
        ("green", [30, 170, 60]),
        ("blue", [40, 60, 210]),
        ("yellow", [240, 210, 40]),
        ("white", [245, 245, 245]),
    ];
    for (i, (name, colour)) in colours.iter().chain(&colours).enumerate() {
        let (ground, place) = (if i < 5 { [20u8; 3] } else { [128; 3] }, if i < 5 { "left" } else { "right" });
        let inside = |x: usize, y: usize| {
            (side / 4..3 * side / 4).contains(&y) && (if i < 5 { x < side / 2 } else { x >= side / 2 })
        };
        let pixel = |at: usize| if inside(at % side, at / side) { *colour } else { ground };
        let pixels: Vec<u8> = (0..side * side).flat_map(pixel).collect();
        let image = Bitmap { width: side, height: side, channels: 3, pixels };
        let file = folder.join(format!("{i}.png"));
        std::fs::write(&file, media::png::encode(&image, &[]).unwrap()).unwrap();
        std::fs::write(file.with_extension("txt"), format!("a {name} square on the {place}")).unwrap();
    }
}

pub(super) fn recipe(
    model: &str,
    data: &Path,
    side: usize,
    lora: Option<usize>,
    set: &[&str],
) -> Result<Recipe, Error> {
    let below = Layers::new().recipe(&release::recipe(&fixture(model), lora, None, &mut |_| ())?);
    let usual = ["train.batch=4", "train.images=24", "train.log_every=1", "task.text.length=8"].map(String::from);
    let given = [format!("data.size={side}")];
    let set = set.iter().map(|set| (*set).to_owned());
    usual
        .into_iter()
        .chain(given)
        .chain(set)
        .try_fold(below, |layers, set| layers.set(&set))?
        .data(data.to_str().unwrap())?
        .build()
}

/// What is laid over the model says what it brings along: a file's corrections have the habits of corrections, a flag's rank is over the
/// file's, levels are those of the pictures' size, and no picture is kept from a training that looks at none.
///
/// Mutants: the flag laid below the file; habits chosen by the flag alone; FLUX's shift by its own side at every size.
#[test]
fn what_a_model_brings_along_is_that_of_the_recipe_over_it() {
    let of = |model: &str, lora: Option<Option<usize>>, text: &str| {
        release::layered(&fixture(model), lora, |below| below.text(text, "look.toml"), &mut |_| ()).unwrap()
    };
    let corrections = |lora, text| {
        let recipe = of("sd3_tiny", lora, text);
        (recipe.lora.map(|lora| (lora.rank, lora.alpha, lora.targets.len())), recipe.train.optim.lr)
    };
    let file = "[lora]\nrank = 4\n";
    assert_eq!(corrections(Some(Some(64)), file), (Some((64, 64.0, 1)), 1e-4));
    assert_eq!(corrections(Some(None), file), (Some((4, 4.0, 1)), 1e-4));
    assert_eq!(corrections(None, file), (Some((4, 4.0, 1)), 1e-4));
    assert_eq!(corrections(Some(None), ""), (Some((16, 16.0, 1)), 1e-4));
    assert_eq!(corrections(Some(None), "[lora]\ntargets = ['ff']\n"), (Some((16, 16.0, 1)), 1e-4));
    assert_eq!(corrections(None, ""), (None, 1e-5));
    let own = "[lora]\nrank = 4\nalpha = 1.0\ntargets = []\n[train.optim]\nlr = 1e-3\n";
    assert_eq!(corrections(Some(Some(2)), own), (Some((2, 1.0, 0)), 1e-3));
    assert_eq!(of("sd3_tiny", None, "").data.holdout, 0.0);
    // exp(mu), mu from 0.5 at 256 tokens to 1.15 at 4096 (the fixture's scheduler has the released settings).
    let shift = |size: usize| of("flux_dev_tiny", None, &format!("[data]\nsize = {size}\n")).time.shift;
    for (size, tokens) in [(32, 16.0), (512, 4096.0)] {
        let mu: f64 = 0.5 + (1.15 - 0.5) * (tokens - 256.0) / (4096.0 - 256.0);
        assert!((shift(size) - mu.exp()).abs() < 1e-6 * mu.exp(), "{size}: {} {}", shift(size), mu.exp());
    }
    assert_eq!(of("flux_dev_tiny", None, "[data]\nsize = 32\n[time]\nshift = 3.0\n").time.shift, 3.0);
}

pub(super) fn trained(recipe: &Recipe, run: &Path, resume: Option<Resume>) -> (TrainReport, Vec<String>) {
    let mut said = Vec::new();
    let mut context = Context::new(Context::silent().device, Default::default(), |event| {
        if let rectiflow::Event::Note(line) = event {
            said.push(line.to_string());
        }
    });
    let report = train(recipe, run, resume, &mut context).unwrap();
    drop(context);
    (report, said)
}

/// What the model of a run says at noise with its own reader's words, as a velocity `[b n]`, and at which points.
fn answers(run: &Path, prompt: &str) -> (Tensor<2>, Tensor<2>, base::Condition, Times) {
    let model = Model::open(run, Default::default(), &Context::silent().device).unwrap();
    let device = Device::flex();
    let n = model.subject.shape.numel();
    let x: Vec<f32> = Key::new(3, Purpose::Probe).normals(0, 2 * n).collect();
    let x = Tensor::<2>::from_data(TensorData::new(x, [2, n]), &device);
    let t = Times::new(vec![0.25, 0.75]);
    let condition = model.condition_of(&[], &[Some(prompt.into()), Some(prompt.into())], &device).unwrap();
    let field = model.field(&Default::default(), Default::default()).unwrap();
    (field.velocity(x.clone(), &t, &condition), x, condition, t)
}

fn far(a: Tensor<2>, b: Tensor<2>) -> f32 {
    (a - b).abs().max().into_scalar()
}

/// Mutants: `alpha` left out of PEFT's metadata; queries, keys and values one over another in kohya's; raw weights written where an average
/// is drawn with; times counted from the other end in training. A kernel's window is asked for by shape.
#[test]
fn corrections_trained_here_are_read_from_both_files_as_the_run_knows_them() {
    let data = tempfile::tempdir().unwrap();
    pictures(data.path(), 32);
    for (model, shape, more) in [
        ("sd3_tiny", [16, 8, 8], "train.ema.decays=[0.5]"),
        ("flux_dev_tiny", [16, 8, 8], "lora.alpha=5.0"),
        ("sd15_tiny", [4, 8, 8], "lora.targets=[]"),
        ("instaflow_tiny", [4, 8, 8], "lora.alpha=2.0"),
    ] {
        let set = ["train.optim.lr=0.02", "train.images=8", more];
        let recipe = recipe(model, data.path(), 32, Some(2), &set).unwrap();
        let run = data.path().join(format!("runs-{model}"));
        let (_, said) = trained(&recipe, &run, None);
        assert!(said.iter().any(|line| line.contains(adapter::PEFT)), "{said:?}");
        let (own, x, condition, t) = answers(&run, "a red square on the left");
        let release = Release::open(&fixture(model), None).unwrap();
        let network = Network::of(&release, &mut |_| ()).unwrap();
        let told = match &recipe.network {
            nets::NetConfig::Released(config) => config.guidance,
            other => panic!("{}", other.name()),
        };
        let says = |files: &[PathBuf]| {
            let files: Vec<Corrections> = files.iter().map(|file| Corrections::open(file, 1.0).unwrap()).collect();
            let mut lines = Vec::new();
            let flow = network.open(told, &files, &Device::flex(), &mut |line| lines.push(line)).unwrap();
            assert!(lines.iter().all(|line| !line.contains("no place")), "{lines:?}");
            let field = Prompted { flow: &flow, contrast: None, skip: None, taps: None };
            let [c, h, w] = shape;
            field.velocity(x.clone().reshape([2, c, h, w]), &t, &condition).reshape([2, c * h * w])
        };
        let size: f32 = own.clone().abs().max().into_scalar();
        let moved = far(own.clone(), says(&[]));
        assert!(moved > 0.01 * size, "{model}: the corrections change {moved} of {size}");
        for file in [adapter::PEFT, adapter::KOHYA] {
            let file = run.join(adapter::FOLDER).join(file);
            let apart = far(own.clone(), says(std::slice::from_ref(&file)));
            println!("{model} {}: {apart:e} of {size}, moved {moved}", file.display());
            assert!(apart < 1e-4 * size.max(1.0), "{}: {apart} of {size}", file.display());
        }
        if model == "sd15_tiny" {
            let file = Stored::open(&run.join(adapter::FOLDER).join(adapter::PEFT)).unwrap();
            assert_eq!(file.shape("unet.conv_in.lora_A.weight"), Some(vec![2, 4, 3, 3]));
        }
        // Nothing of the weights beneath was written.
        let frozen = run.join("checkpoints").join(train::checkpoint::FROZEN);
        assert!(!frozen.exists(), "{model}");
        if model == "sd3_tiny" {
            assert_eq!(adapter::file_of(&run), run.join(adapter::FOLDER).join(adapter::PEFT));
        }
    }
}

/// Mutants: the weights beneath drawn anew when a run continues; corrections put beneath another model's weights.
#[test]
fn a_run_continues_to_the_same_bits_and_knows_its_model() {
    let data = tempfile::tempdir().unwrap();
    pictures(data.path(), 32);
    // A copy, so that it can be changed.
    let model = data.path().join("model");
    copy(&fixture("sd3_tiny"), &model);
    let below = Layers::new().recipe(&release::recipe(&model, Some(2), None, &mut |_| ()).unwrap());
    let set = ["data.size=32", "train.batch=2", "train.images=8", "train.checkpoint.every=4", "train.optim.lr=0.01"];
    let recipe = set.iter().try_fold(below, |layers, set| layers.set(set)).unwrap();
    let recipe = recipe.data(data.path().join("pictures").to_str().unwrap()).unwrap();
    std::fs::create_dir(data.path().join("pictures")).unwrap();
    pictures(&data.path().join("pictures"), 32);
    let recipe = recipe.build().unwrap();
    // Its guidance needs no captions dropped: the model knows the empty prompt.
    let recipe = Recipe { train: TrainConfig { condition_dropout: 0.0, ..recipe.train.clone() }, ..recipe };
    let [whole, parts] = ["whole", "parts"].map(|name| data.path().join(name));
    trained(&recipe, &whole, None);
    let first = std::fs::read_dir(whole.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    std::fs::create_dir_all(parts.join("checkpoints")).unwrap();
    std::fs::copy(&first, parts.join("checkpoints").join(first.file_name().unwrap())).unwrap();
    let (report, _) = trained(&recipe, &parts, Some(Resume::Latest));
    assert_eq!(report.images, 8);
    let [a, b] = [&whole, &parts].map(|run| answers(run, "a red square").0.into_data());
    assert_eq!(a, b);
    // The weights beneath become others.
    copy(&fixture("sd35m_tiny").join("vae"), &model.join("vae"));
    let file = model.join("transformer/diffusion_pytorch_model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let said = Model::open(&whole, Default::default(), &Context::silent().device).err().unwrap().to_string();
    assert!(said.contains("another codec") || said.contains("fingerprint"), "{said}");
    let said = train(&recipe, &parts, Some(Resume::Latest), &mut Context::silent()).unwrap_err().to_string();
    assert!(said.contains("fingerprint"), "{said}");
}

pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let place = to.join(entry.file_name().unwrap());
        match entry.is_dir() {
            true => copy(&entry, &place),
            false => assert!(std::fs::copy(&entry, &place).unwrap() > 0),
        }
    }
}

/// Without corrections the weights themselves learn, and a run of them is opened without the model's network.
///
/// Mutant: weights that stay halves, which AdamW cannot move by less than their rounding.
#[test]
fn the_weights_themselves_learn() {
    let data = tempfile::tempdir().unwrap();
    pictures(data.path(), 32);
    let recipe = recipe("sd15_tiny", data.path(), 32, None, &["train.images=8", "train.optim.lr=1e-3"]).unwrap();
    assert!(recipe.lora.is_none());
    let run = data.path().join("run");
    let (report, _) = trained(&recipe, &run, None);
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(run.join("data.json")).unwrap()).unwrap();
    assert_eq!(kept["samples"], 10, "all of ten pictures: {kept}");
    let model = Model::open(&run, Default::default(), &Context::silent().device).unwrap();
    assert_eq!(report.parameters, model.parameters);
    assert!(named_tensors(&model.net).iter().all(|(_, _, values)| values.iter().all(|value| value.is_finite())));
    says_the_same_when_converted(&run, "sd15_tiny", [4, 8, 8]);
    assert!(!run.join(adapter::FOLDER).exists());
}

/// Written in the layout that its model came in, a run says the same, and not what that model says.
fn says_the_same_when_converted(run: &Path, model: &str, [c, h, w]: [usize; 3]) {
    let to = run.with_extension("written");
    let request = ConvertRequest {
        from: run.to_path_buf(),
        parts: None,
        to: to.clone(),
        layout: Layout::Diffusers,
        numbers: None,
        network_only: false,
    };
    convert(&request, &mut Context::silent()).unwrap();
    let (own, x, condition, t) = answers(run, "a white square");
    let says = |place: &Path| {
        let network = Network::of(&Release::open(place, None).unwrap(), &mut |_| ()).unwrap();
        let flow = network.open(1.0, &[], &Device::flex(), &mut |_| ()).unwrap();
        flow.velocity(x.clone().reshape([2, c, h, w]), &t, &condition).reshape([2, c * h * w])
    };
    let (size, moved) = (own.clone().abs().max().into_scalar::<f32>(), far(own.clone(), says(&fixture(model))));
    let apart = far(own, says(&to));
    assert!(apart < 1e-5 * size && moved > 1e-2 * size, "{apart} {moved} of {size}");
}

/// Each refused before anything is written or encoded, with its reason; a rehearsal encodes nothing.
///
/// Mutants: pictures encoded before targets, sizes and batch are looked at; a rehearsal that opens the task.
#[test]
fn what_cannot_be_trained_is_refused() {
    let data = tempfile::tempdir().unwrap();
    pictures(data.path(), 32);
    // A picture that no cache knows: what is encoded is seen.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let pixels: Vec<u8> =
        Key::new(now, Purpose::Probe).normals(0, 3 * 32 * 32).map(|x| (128.0 + 40.0 * x) as u8).collect();
    let image = Bitmap { width: 32, height: 32, channels: 3, pixels };
    std::fs::write(data.path().join("new.png"), media::png::encode(&image, &[]).unwrap()).unwrap();
    std::fs::write(data.path().join("new.txt"), format!("noise {now}")).unwrap();
    let mut works = Vec::new();
    let mut tried = |model: &str, lora: Option<usize>, set: &[&str], dry: bool| {
        let mut context = Context::new(Context::silent().device, Default::default(), |event| {
            if let rectiflow::Event::Begin { what, .. } = event {
                works.push(what.to_string());
            }
        });
        let no = data.path().join("no");
        recipe(model, data.path(), 32, lora, set).and_then(|recipe| match dry {
            true => rehearse(&recipe, &no, None, &mut context),
            false => train(&recipe, &no, None, &mut context).map(drop),
        })
    };
    for (model, lora, set, why) in [
        ("sd3_tiny", Some(4), &["lora.targets=['qkv']"][..], "no layer of this network is called `qkv`"),
        ("sd3_tiny", Some(4), &["path={type='vp'}"], "a velocity on the linear path"),
        ("sd15_tiny", Some(4), &["path={type='linear'}", "parameterization={type='velocity'}"], "is a diffusion"),
        ("sd3_tiny", Some(4), &["network={type='dit'}"], "leave `network` out"),
        ("sd3_tiny", Some(4), &["task.codec='runs/other'"], "its own autoencoder"),
        ("sd3_tiny", Some(4), &["data.size=30"], "cannot be halved"),
        ("sd3_tiny", Some(4), &["data.size=256"], "do not fit this network"),
        ("sd3_tiny", Some(0), &[], "lora.rank is 0"),
        ("sd3_tiny", Some(4), &["train.batch=12"], "12"),
        ("sd3_tiny", Some(4), &["data.flip=true"], "cannot be mirrored"),
    ] {
        for dry in [true, false] {
            let said = tried(model, lora, set, dry).unwrap_err().to_string();
            assert!(said.contains(why), "{set:?}: {said}");
        }
    }
    tried("sd3_tiny", Some(4), &[], true).unwrap();
    assert!(works.is_empty(), "before anything was refused, and where nothing was to be done: {works:?}");
    let file =
        release::recipe(&fixture("single/sd35m_tiny.safetensors"), None, None, &mut |_| ()).unwrap_err().to_string();
    assert!(file.contains("rectiflow convert"), "{file}");
    let none = release::recipe(data.path(), None, None, &mut |_| ()).unwrap_err().to_string();
    assert!(none.contains("model_index.json"), "{none}");
    assert!(!data.path().join("no").exists());
}

/// A released model teaches: its pairs answer the captions of the student's data, and a correction lies beneath none of its weights.
///
/// Mutants: the teacher's own size kept where the student's pictures have another; pairs of no caption; the student's weights beneath copied
/// into the run; corrections handed over by `train` alone; a student of all weights that has no layout.
#[test]
fn a_released_model_teaches_its_own_straightening() {
    let data = tempfile::tempdir().unwrap();
    pictures(data.path(), 32);
    let device = Context::silent().device;
    let teacher = Model::teacher(&fixture("sd3_tiny"), Default::default(), &device).unwrap();
    let recipe = Method::Reflow.recipe(&teacher, |below| {
        let set = [
            "data.size=32",
            "pairs.count=4",
            "pairs.generate.steps=2",
            "train.images=4",
            "train.batch=2",
            "lora.rank=2",
        ];
        set.iter().try_fold(below, |layers, set| layers.set(set))?.data(data.path().to_str().unwrap())
    });
    let recipe = recipe.unwrap();
    assert_eq!(recipe.from.as_deref(), Some(teacher.file.as_path()));
    let run = data.path().join("straight");
    let teacher = teacher.over(&recipe.data, &device).unwrap();
    assert_eq!(teacher.subject.shape, base::Shape::from([16, 8, 8]));
    let report = student(Method::Reflow, &recipe, teacher, None, &run, None, &mut Context::silent()).unwrap();
    assert_eq!((report.pair_count, report.train.images), (4, 4));
    let store = ::data::pairs::PairStore::open(&run.join("pairs")).unwrap();
    let batch = store.batch(&[0, 1, 2, 3]).unwrap();
    assert!(batch.captions.iter().flatten().all(|caption| caption.contains("square on the")), "{:?}", batch.captions);
    assert!(!run.join("checkpoints").join(train::checkpoint::FROZEN).exists());
    let (own, ..) = answers(&run, "a red square on the left");
    assert!(own.abs().max().into_scalar::<f32>() > 0.0);
    assert_eq!(adapter::file_of(&run), run.join(adapter::FOLDER).join(adapter::PEFT));
    // All weights: a student that is written as a model of its teacher's layout.
    let teacher = || Model::teacher(&fixture("sd3_tiny"), Default::default(), &device).unwrap();
    let whole = Method::Reflow.recipe(&teacher(), |below| {
        let set = [
            "data.size=32",
            "pairs.count=4",
            "pairs.generate.steps=2",
            "train.images=8",
            "train.batch=2",
            "train.optim.lr=0.01",
        ];
        set.iter().try_fold(below, |layers, set| layers.set(set))?.data(data.path().to_str().unwrap())
    });
    let (whole, all) = (whole.unwrap(), data.path().join("whole"));
    let over = teacher().over(&whole.data, &device).unwrap();
    student(Method::Reflow, &whole, over, Some(&run.join("pairs")), &all, None, &mut Context::silent()).unwrap();
    says_the_same_when_converted(&all, "sd3_tiny", [16, 8, 8]);
    std::fs::remove_dir_all(run.join(adapter::FOLDER)).unwrap();
    let resumed = rectiflow::verbs::resume::resume(&run, &mut Context::silent()).unwrap();
    assert!(run.join(adapter::FOLDER).join(adapter::KOHYA).is_file());
    assert_eq!(resumed.images, 4);
}
