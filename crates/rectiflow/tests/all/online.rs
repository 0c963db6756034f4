//! Alignment in rounds, as whoever listens hears it: what is drawn when, how it is stopped, and what is not drawn again.

use base::Shape;
use ranks::{Lost, Ranks};
use rectiflow::{
    Context, Error, Event, Model,
    device::Chosen,
    recipe::Layers,
    sampling::{Classes, draw},
    train::checkpoint::Which,
    verbs::{
        align::{AlignReport, AlignRequest, Asked, Preference, Way, align, recipe},
        train::{self, Resume},
    },
};
use std::{
    cell::Cell,
    path::Path,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
};

const BASE: &str = r#"
name = "base"
[data]
name = "fashion-mnist-mini"
limit = 64
size = 8
[network]
type = "mlp"
width = 64
depth = 2
[train]
images = 6000
batch = 48
validate_every = 0
sample_every = 0
optim = { lr = 0.003 }
[sample]
steps = 8
"#;

/// One of two, who is never asked for anything.
struct Two;

impl Ranks for Two {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        2
    }

    fn sum(&self, _: &mut [f32]) -> Result<(), Lost> {
        Ok(())
    }

    fn share(&self, _: &mut Vec<u8>) -> Result<(), Lost> {
        Ok(())
    }

    fn moved(&self) -> [u64; 2] {
        [0, 0]
    }
}

/// Aligns the model in `base` in four rounds of two steps; how often samples were drawn, with what came out. Somebody stops the run when they are
/// drawn the time `stop` says.
fn aligned(
    base: &Path,
    folder: &Path,
    (resume, stop, ranks): (Option<Resume>, Option<usize>, Option<Arc<dyn Ranks>>),
) -> (usize, Result<AlignReport, Error>) {
    let (drawn, flag) = (Cell::new(0), Arc::new(AtomicBool::new(false)));
    let asked = flag.clone();
    let listen = |event: Event| {
        if let Event::Begin { what: "samples", .. } = event {
            drawn.set(drawn.get() + 1);
            asked.store(Some(drawn.get()) == stop, Ordering::Relaxed);
        }
    };
    let mut context = Context::new(Chosen::cpu(), flag, listen);
    context.ranks = ranks;
    let model = Model::open(base, Which::Best, &context.device).unwrap();
    let preference = Preference::Judge { judge: "oracle:contrast".into(), pairs: Some(4), online_every: Some(2) };
    let asked = Asked { way: Way::Sft, preference, weights: None };
    let set = |layers: Layers| {
        ["train.images=128", "train.batch=16", "train.checkpoint.every=16", "train.checkpoint.keep_last=0"]
            .iter()
            .try_fold(layers, |layers, set| layers.set(set))
    };
    let recipe = recipe(&asked.way, &model, set).unwrap();
    let report = align(AlignRequest { asked, folder, resume }, &recipe, model, &mut context);
    drop(context);
    (drawn.get(), report)
}

/// A round that is being drawn is heard and can be stopped: the run ends as one that was stopped, with the state before the step, and goes on to
/// the same bits. No round is drawn for anything but learning from it.
/// Mutants: a stop switch of the round's own; nobody told; the first round drawn again to continue in a later one; ranks refused behind a round.
#[test]
fn rounds_are_heard_stopped_and_not_drawn_twice() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let base = Layers::new().text(BASE, "the base").unwrap().build().unwrap();
    train::train(&base, &at("base"), None, &mut Context::silent()).unwrap();
    let samples = |run: &Path| {
        let model = Model::open(run, Which::Best, &Chosen::cpu()).unwrap();
        assert_eq!(model.subject.shape, Shape::from([1, 8, 8]));
        draw(&model, &model.recipe.sample, &Classes::all(&model).unwrap(), 4, 0..4, &mut Context::silent())
            .unwrap()
            .rows
    };
    let (drawn, whole) = aligned(&at("base"), &at("whole"), (None, None, None));
    let whole = whole.unwrap();
    assert_eq!((drawn, whole.rounds, whole.train.images, whole.train.stopped), (4, 4, 128, false));

    let (drawn, report) = aligned(&at("base"), &at("run"), (None, Some(3), None));
    let report = report.unwrap();
    assert_eq!((drawn, report.train.images, report.train.stopped), (3, 64, true));
    assert!(report.train.checkpoint.ends_with("000000000064.safetensors") && report.train.checkpoint.is_file());
    for (resume, again) in [
        (Resume::Latest, 2), // at the beginning of the third round
        (Resume::File(at("run/checkpoints/000000000080.safetensors")), 1), // in its middle
        (Resume::File(at("run/checkpoints/000000000016.safetensors")), 4), // in the first
    ] {
        let (drawn, report) = aligned(&at("base"), &at("run"), (Some(resume), None, None));
        let report = report.unwrap();
        assert_eq!((drawn, report.pairs, report.train.images), (again, whole.pairs, 128));
        assert!(samples(&at("run")) == samples(&at("whole")));
    }

    let (drawn, refused) = aligned(&at("base"), &at("no"), (None, None, Some(Arc::new(Two))));
    assert!(refused.unwrap_err().to_string().contains("--online-every") && drawn == 0 && !at("no").exists());
}
