//! Every key of a recipe changes what it should and nothing else: each is set to another value in the smallest run, and a table says
//! what must move. A key of the default recipe without a row fails; kinds that are not its own, and keys that it leaves out, have
//! tests of their own.
//!
//! Mutants, both tried: `sample.schedule` not handed to the solver; `pairs.generate.steps` fixed.

use rectiflow::{
    Context, Error, Event, Model, Precision, Recipe, TrainEvent,
    base::{Condition, Device, Key, Purpose, Times},
    device::Chosen,
    flow::Field,
    recipe::Layers,
    sampling::{Classes, draw},
    train::checkpoint::Which,
    verbs::{student, student::Method, train},
};
use std::{cell::RefCell, collections::BTreeSet, path::Path, sync::OnceLock};

/// What must move when a key is set to another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moves {
    /// The trained weights, and with them all that follows.
    Weights,
    /// The averaged weights and the samples, not the weights themselves.
    Averages,
    /// The samples alone.
    Samples,
    /// What validation says, alone.
    Validation,
    /// How often something is told or kept: how many logs, validations, sheets, checkpoints.
    Counts,
    /// Nothing: the key is about memory, time or names.
    Nothing,
    /// The last bits: operands are rounded, where this machine rounds them.
    Rounding,
    /// It is refused here, in words that name the key.
    Refused,
    /// Nothing in this run, which has nothing for it to act on; the test named here has.
    Elsewhere(&'static str, &'static str),
}
use Moves::{Averages, Counts, Elsewhere, Nothing, Refused, Rounding, Samples, Validation, Weights};

/// Which run is asked: a first stage, or a student of the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Train,
    Reflow,
    Distill,
}

const DOORS: &str = "crates/data/tests/all/doors.rs";

const BASE: &str = r#"
name = "base"
[data]
name = "fashion-mnist-mini"
limit = 96
size = 8
[network]
type = "unet"
channels = 8
groups = 4
attention = [1]
[train]
images = 64
batch = 16
log_every = 1
validate_every = 32
validation_samples = 16
optim = { lr = 1e-2 }
ema = { decays = [0.6] }
checkpoint = { every = 32 }
[sample]
steps = 3
"#;

const STUDENT: &str = r#"
name = "student"
[train]
images = 32
validate_every = 16
checkpoint = { every = 16 }
[pairs]
count = 32
[pairs.generate]
steps = 3
"#;

/// Key, another value, what must move. `a.b={…}` sets a table of one kind.
const TRAIN: &[(&str, &str, Moves)] = &[
    ("name", "\"other\"", Nothing),
    ("seed", "1", Weights),
    ("antithetic", "true", Refused),
    ("task.type", "\"transfer\"", Refused),
    ("path.type", "\"trigonometric\"", Weights),
    ("parameterization.type", "\"data\"", Weights),
    ("coupling.type", "\"optimal_transport\"", Weights),
    ("time.shift", "3.0", Weights),
    ("time.law.type", "\"logit_normal\"", Weights),
    ("loss.type", "\"pseudo_huber\"", Weights),
    ("weighting.type", "\"min_snr\"", Weights),
    ("target.type", "\"mean_flow\"", Refused),
    ("data.name", "\"moving-garments\"", Refused),
    ("data.limit", "48", Weights),
    ("data.size", "16", Weights),
    ("data.split", "\"test\"", Weights),
    ("data.fit", "\"stretch\"", Elsewhere("crates/data/tests/all/readers.rs", "images_come_to_one_square_form")),
    ("data.flip", "true", Weights),
    ("data.classes", "[\"Bag\", \"Coat\"]", Weights),
    (
        "data.holdout",
        "0.3",
        Elsewhere("crates/data/tests/all/readers.rs", "the_held_out_part_and_the_rest_are_the_whole"),
    ),
    ("data.skip_unreadable", "true", Elsewhere(DOORS, "unreadable_images_that_are_skipped_are_named")),
    ("data.max_megapixels", "1", Elsewhere(DOORS, "images_beyond_the_limits_are_refused_before_they_are_unpacked")),
    ("data.max_file_mib", "1", Elsewhere(DOORS, "images_beyond_the_limits_are_refused_before_they_are_unpacked")),
    ("data.memory_mib", "1", Nothing),
    ("network.type", "\"dit\"", Weights),
    ("network.channels", "16", Weights),
    ("network.multipliers", "[1, 1]", Weights),
    ("network.blocks", "2", Weights),
    ("network.attention", "[]", Weights),
    ("network.heads", "2", Weights),
    ("network.dropout", "0.3", Weights),
    ("network.scale_shift", "false", Weights),
    ("network.patch", "2", Weights),
    ("network.skip_rescale", "true", Weights),
    ("network.groups", "2", Weights),
    ("network.bounded", "true", Refused),
    ("network.resampling.type", "\"residual\"", Weights),
    ("network.condition.time_scale", "10.0", Weights),
    ("network.condition.class_std", "0.1", Weights),
    ("network.condition.vector", "4", Refused),
    ("network.condition.tokens", "4", Refused),
    ("network.condition.dense", "1", Refused),
    ("network.condition.reach", "true", Weights),
    ("train.images", "96", Weights),
    ("train.seconds", "1000.0", Nothing),
    ("train.batch", "32", Weights),
    ("train.accumulation", "2", Nothing),
    ("train.precision", "\"bf16\"", Rounding),
    ("train.gradient_checkpointing", "true", Nothing),
    ("train.condition_dropout", "0.9", Weights),
    ("train.log_every", "2", Counts),
    ("train.validate_every", "64", Counts),
    ("train.validation_times", "[0.3]", Validation),
    ("train.validation_samples", "8", Validation),
    ("train.sample_every", "32", Counts),
    ("train.slow_step", "0.0", Nothing),
    ("train.optim.matrices.type", "\"muon\"", Weights),
    ("train.optim.matrices.momentum", "0.5", Elsewhere("crates/train/src/optim/mod.rs", "momentum_is_muons_alone")),
    ("train.optim.lr", "2e-3", Weights),
    ("train.optim.beta1", "0.5", Weights),
    ("train.optim.beta2", "0.5", Weights),
    ("train.optim.eps", "0.1", Weights),
    ("train.optim.weight_decay", "0.5", Weights),
    (
        "train.optim.decay",
        "\"all\"",
        Elsewhere("crates/train/src/optim/mod.rs", "only_matrices_decay_unless_all_shall"),
    ),
    ("train.optim.clip", "0.01", Weights),
    ("train.optim.warmup", "64", Weights),
    ("train.optim.schedule.type", "\"constant\"", Weights),
    ("train.optim.schedule.end", "0.9", Weights),
    ("train.ema.decays", "[0.05]", Averages),
    ("train.ema.warmup", "false", Averages),
    ("train.checkpoint.every", "64", Counts),
    ("train.checkpoint.keep_last", "1", Counts),
    ("sample.steps", "5", Samples),
    ("sample.batch", "3", Nothing),
    ("sample.precision", "\"bf16\"", Rounding),
    ("sample.solver.type", "\"heun\"", Samples),
    ("sample.schedule.type", "\"chebyshev\"", Samples),
    ("sample.guidance.scale", "3.0", Samples),
];

const STUDENTS: &[(Run, &str, &str, Moves)] = &[
    (Run::Reflow, "pairs.count", "24", Weights),
    (Run::Reflow, "pairs.seconds", "1000.0", Nothing),
    (Run::Reflow, "pairs.precision", "\"bf16\"", Rounding),
    (Run::Reflow, "pairs.guidance.scale", "3.0", Weights),
    (Run::Reflow, "pairs.generate.seed", "5", Weights),
    (Run::Reflow, "pairs.generate.steps", "6", Weights),
    (Run::Reflow, "pairs.generate.inverted", "0.5", Weights),
    (Run::Reflow, "pairs.generate.batch", "7", Nothing),
    (Run::Reflow, "pairs.generate.solver.type", "\"euler\"", Weights),
    (Run::Reflow, "pairs.generate.schedule.type", "\"chebyshev\"", Weights),
    (Run::Reflow, "reflow.flip", "true", Refused),
    (
        Run::Reflow,
        "reflow.linear",
        "true",
        Elsewhere(
            "crates/cli/tests/all/few_steps.rs",
            "a_diffusion_takes_one_more_step_and_is_rectified_along_its_own_path",
        ),
    ),
    (Run::Reflow, "reflow.time.shift", "3.0", Weights),
    (Run::Reflow, "reflow.time.law.type", "\"uniform\"", Weights),
    (Run::Reflow, "reflow.time.law.a", "1.0", Weights),
    (Run::Reflow, "reflow.loss.type", "\"pseudo_huber\"", Weights),
    (Run::Distill, "distill.steps", "2", Weights),
    (Run::Distill, "distill.loss.type", "\"pseudo_huber\"", Weights),
    (Run::Distill, "distill.target.type", "\"segments\"", Weights),
];

/// Everything that a run shows.
#[derive(Clone, Debug, PartialEq)]
struct Shown {
    weights: Vec<f32>,
    averages: Vec<f32>,
    samples: Vec<f32>,
    logged: Vec<f64>,
    validated: Vec<f64>,
    /// Logs, validations, sheets, checkpoints made, checkpoints left.
    counts: [usize; 5],
}

#[derive(Default)]
struct Heard {
    logged: Vec<f64>,
    validated: Vec<f64>,
    sheets: usize,
    kept: usize,
}

/// Bits of arithmetic done in another order are no change.
const CLOSE: f64 = 2e-4;
/// And so is what rounded operands make of a few steps: 0.15 where pairs are made and learned in bf16 (Zen 4).
const ROUNDED: f64 = 0.25;

fn same<T: Copy + Into<f64>>(a: &[T], b: &[T]) -> bool {
    within(CLOSE, a, b)
}

fn within<T: Copy + Into<f64>>(most: f64, a: &[T], b: &[T]) -> bool {
    let far = |(a, b): (&T, &T)| ((*a).into() - (*b).into()).abs() > most * (1.0 + (*a).into().abs());
    a.len() == b.len() && !a.iter().zip(b).any(far)
}

fn teacher() -> &'static (tempfile::TempDir, Shown) {
    static BASE_RUN: OnceLock<(tempfile::TempDir, Shown)> = OnceLock::new();
    BASE_RUN.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let shown = run(Run::Train, &[], folder.path()).expect("the base trains");
        (folder, shown)
    })
}

fn run(which: Run, sets: &[String], folder: &Path) -> Result<Shown, Error> {
    let heard = RefCell::new(Heard::default());
    let listen = |event: Event| {
        let mut heard = heard.borrow_mut();
        match event {
            Event::Train(TrainEvent::Log(log)) => heard.logged.push(log.loss),
            Event::Train(TrainEvent::Validation(said)) => heard.validated.push(said.loss),
            Event::Train(TrainEvent::Samples { .. }) => heard.sheets += 1,
            Event::Train(TrainEvent::Checkpoint { .. }) => heard.kept += 1,
            _ => {}
        }
    };
    let mut context = Context::new(Chosen::cpu(), Default::default(), listen);
    let folder = folder.join("run");
    let set = |layers: Layers| sets.iter().try_fold(layers, |layers, set| layers.set(set));
    match which {
        Run::Train => {
            let recipe = set(Layers::new().text(BASE, "the base")?)?.build()?;
            train::train(&recipe, &folder, None, &mut context)?;
        }
        Run::Reflow | Run::Distill => {
            let method = if which == Run::Reflow { Method::Reflow } else { Method::Distill };
            let teacher = Model::open(&teacher().0.path().join("run"), Which::Raw, &context.device)?;
            let recipe = method.recipe(&teacher, |below| set(below.text(STUDENT, "the student")?))?;
            student::student(method, &recipe, teacher, None, &folder, None, &mut context)?;
        }
    }
    drop(context);
    let mut silent = Context::silent();
    let told = |which: Which| -> Result<Vec<f32>, Error> {
        let model = Model::open(&folder, which, &Chosen::cpu())?;
        let field = model.field(&Default::default(), Default::default())?;
        let device = Device::flex();
        let x = Key::new(3, Purpose::Noise).normal_tensor(&[0, 1], [0, model.subject.shape.numel()], &device);
        let v = field.velocity(x, &Times::new(vec![0.2, 0.7]), &Condition::none());
        Ok(v.into_data().iter::<f32>().collect())
    };
    let (weights, averages) = (told(Which::Raw)?, told(Which::Best)?);
    let model = Model::open(&folder, Which::Best, &Chosen::cpu())?;
    let samples = draw(&model, &model.recipe.sample, &Classes::all(&model)?, 4, 0..6, &mut silent)?.rows;
    let left = std::fs::read_dir(folder.join("checkpoints")).map_or(0, |all| all.count());
    let Heard { logged, validated, sheets, kept } = heard.into_inner();
    let counts = [logged.len(), validated.len(), sheets, kept, left];
    Ok(Shown { weights, averages, samples, logged, validated, counts })
}

/// What is wrong with what `key = value` moved, if anything.
fn verdict(which: Run, (key, value, moves): (&str, &str, Moves), before: &Shown) -> Result<(), String> {
    if let Elsewhere(file, test) = moves {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let text = std::fs::read_to_string(root.join(file)).map_err(|error| format!("{file}: {error}"))?;
        return if text.contains(&format!("fn {test}(")) {
            Ok(())
        } else {
            Err(format!("{file} has no test `{test}`"))
        };
    }
    let folder = tempfile::tempdir().expect("a folder");
    let after = match (run(which, &[format!("{key}={value}")], folder.path()), moves) {
        (Err(error), Refused) => {
            let said = error.to_string();
            let name = key.rsplit('.').find(|part| *part != "type").unwrap_or(key);
            return if said.contains(name) { Ok(()) } else { Err(format!("refused without naming `{name}`: {said}")) };
        }
        (Ok(_), Refused) => return Err("is not refused".into()),
        (Err(error), _) => return Err(format!("failed: {error}")),
        (Ok(after), _) => after,
    };
    let weights = same(&before.weights, &after.weights);
    let trained = weights && (before.counts[0] != after.counts[0] || same(&before.logged, &after.logged));
    let averages = same(&before.averages, &after.averages);
    let samples = same(&before.samples, &after.samples);
    let validated = before.counts[1] != after.counts[1] || same(&before.validated, &after.validated);
    let counts = before.counts == after.counts;
    let (moved, still): (bool, bool) = match moves {
        Weights => (!weights, true),
        Averages => (!averages && !samples, trained && counts),
        Samples => (!samples, trained && averages && validated && counts),
        Validation => (!validated, trained && averages && samples && counts),
        Rounding => {
            let near = |a: &[f32], b: &[f32]| within(ROUNDED, a, b);
            let native = Precision::Bf16.is_native_on(&Device::flex());
            let rounded = before.weights != after.weights || before.samples != after.samples;
            (
                rounded || !native,
                near(&before.weights, &after.weights) && near(&before.samples, &after.samples) && counts,
            )
        }
        Counts => (!counts, trained && averages && samples && validated),
        Nothing | Refused | Elsewhere(..) => (true, trained && averages && samples && validated && counts),
    };
    let facts = || {
        format!(
            "weights {weights}, averages {averages}, samples {samples}, validation {validated}, counts {:?} -> {:?}",
            before.counts, after.counts
        )
    };
    match (moved, still) {
        (false, _) => Err(format!("moves nothing of {moves:?}: the same are {}", facts())),
        (_, false) => Err(format!("moves more than {moves:?}: the same are {}", facts())),
        _ => Ok(()),
    }
}

/// Keys of the default recipe.
fn keys() -> BTreeSet<String> {
    fn walk(at: &str, table: &toml::Table, found: &mut BTreeSet<String>) {
        for (key, value) in table {
            let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            match value {
                toml::Value::Table(inner) if !inner.is_empty() => walk(&at, inner, found),
                _ => drop(found.insert(at)),
            }
        }
    }
    let mut found = BTreeSet::new();
    let recipe: toml::Table = Recipe::default().to_toml().parse().expect("a recipe is TOML");
    walk("", &recipe, &mut found);
    found
}

#[test]
fn every_key_of_a_training_moves_what_it_should() {
    let before = &teacher().1;
    let check = |row: &(&str, &str, Moves)| {
        verdict(Run::Train, *row, before).err().map(|error| format!("{} = {}: {error}", row.0, row.1))
    };
    let wrong: Vec<String> = TRAIN.iter().filter_map(check).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_key_of_a_student_moves_what_it_should() {
    let base = |which: Run| run(which, &[], tempfile::tempdir().expect("a folder").path()).expect("a student trains");
    let (reflow, distill) = (base(Run::Reflow), base(Run::Distill));
    let check = |(which, key, value, moves): &(Run, &str, &str, Moves)| {
        let before = if *which == Run::Reflow { &reflow } else { &distill };
        verdict(*which, (key, value, *moves), before).err().map(|error| format!("{key} = {value}: {error}"))
    };
    let wrong: Vec<String> = STUDENTS.iter().filter_map(check).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_key_is_left_out() {
    let rows: BTreeSet<String> =
        TRAIN.iter().map(|row| row.0).chain(STUDENTS.iter().map(|row| row.1)).map(String::from).collect();
    let missing: Vec<String> = keys().difference(&rows).cloned().collect();
    assert!(missing.is_empty(), "no row says what these move: {missing:?}");
}
