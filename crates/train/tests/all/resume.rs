//! A resumed run ends with the same bits as an uninterrupted one, a stopped run can be resumed, and the engine keeps
//! its promises about events.

use crate::testing;

use base::Device;
use kernels::Precision;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use testing::{TinyNet, TinySource, TinyTask};
use train::checkpoint::{CheckpointConfig, Folder, Which, load_weights};
use train::ema::EmaConfig;
use train::optim::OptimConfig;
use train::{Event, Observer, Outcome, Setup, Source, TrainConfig, TrainError, TrainPrecision};

fn config() -> TrainConfig {
    TrainConfig {
        images: 480,
        batch: 8,
        validate_every: 100,
        sample_every: 160,
        optim: OptimConfig { lr: 0.01, warmup: 80, weight_decay: 0.01, clip: 0.5, ..OptimConfig::default() },
        ema: EmaConfig { decays: vec![0.99, 0.5], warmup: true },
        checkpoint: CheckpointConfig { every: 80, keep_last: 0 },
        ..TrainConfig::default()
    }
}

fn run(
    folder: &Path,
    config: &TrainConfig,
    resume: bool,
    observer: &mut dyn Observer,
) -> Result<Outcome<TinyNet>, TrainError> {
    let mut source = TinySource::new(config.micro_batch());
    source.next = 0;
    let validation = TinySource::new(4).next()?;
    let task = TinyTask { seed: 3 };
    let folder = Folder::create(folder)?;
    let setup = Setup {
        config,
        task: &task,
        source: &mut source,
        validation: Some(&validation),
        seed: 3,
        recipe: "name = \"tiny\"".to_string(),
        extra: BTreeMap::new(),
        checkpoints: Some(folder.clone()),
        ranks: None,
        stop: Arc::new(AtomicBool::new(false)),
    };
    let network = TinyNet::new(if resume { 99 } else { 1 }, 16, &Device::flex().autodiff());
    match folder.latest()?.filter(|_| resume) {
        Some(found) => train::resume(network, found.checkpoint, setup, observer),
        None => train::train(network, setup, observer),
    }
}

#[test]
fn a_resumed_run_ends_with_the_same_bytes() {
    let ends = [Precision::F32, Precision::Bf16]
        .map(|precision| resumed(&TrainConfig { precision: precision.into(), ..config() }));
    // The files differ by their metadata at least.
    assert!(ends[0] != ends[1], "the precision is neither said nor felt");
}

/// The last checkpoint of a run, which is also that of its continuations from every earlier one.
fn resumed(config: &TrainConfig) -> Vec<u8> {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(whole.path(), config, false, &mut ()).unwrap();
    let reference = Folder::at(whole.path());
    // Continue from every checkpoint of the way, each in a folder that holds only that one.
    let files = reference.list().unwrap();
    assert_eq!(files.iter().map(|f| f.0).collect::<Vec<_>>(), [80, 160, 240, 320, 400, 480]);
    let last = std::fs::read(reference.file(480)).unwrap();
    for (images, file) in &files[..5] {
        let folder = parts.path().join(images.to_string());
        std::fs::create_dir(&folder).unwrap();
        std::fs::copy(file, folder.join(file.file_name().unwrap())).unwrap();
        run(&folder, config, true, &mut ()).unwrap();
        assert!(std::fs::read(Folder::at(&folder).file(480)).unwrap() == last, "resumed after {images} images");
    }
    last
}

#[test]
fn training_rounds_what_it_is_asked_to_and_says_when_that_changes() {
    let folder = tempfile::tempdir().unwrap();
    let weights = |outcome: Outcome<TinyNet>| {
        outcome.state.network.input_weight().inner().into_data().try_to_vec::<f32>().unwrap()
    };
    let rounded = TrainConfig { precision: Precision::Bf16.into(), images: 80, ..config() };
    let plain = TrainConfig { precision: Precision::F32.into(), ..rounded.clone() };
    let other = tempfile::tempdir().unwrap();
    let (a, b) = (
        weights(run(folder.path(), &rounded, false, &mut ()).unwrap()),
        weights(run(other.path(), &plain, false, &mut ()).unwrap()),
    );
    assert_eq!(a != b, Precision::Bf16.is_native());
    assert_eq!(Folder::at(folder.path()).latest().unwrap().unwrap().checkpoint.meta().precision, Precision::Bf16);
    let mut warnings = Vec::new();
    let mut listen = |event: &Event<'_>| {
        if let Event::Warning { message, .. } = event {
            warnings.push(message.clone());
        }
        Ok(ControlFlow::Continue(()))
    };
    run(folder.path(), &TrainConfig { images: 160, ..plain }, true, &mut listen).unwrap();
    assert!(
        warnings.iter().any(|w| w.contains("train.precision = bf16, the rest of the run uses f32")),
        "{warnings:?}"
    );
}

#[test]
fn stopping_writes_a_checkpoint_from_which_the_run_continues_to_the_same_bytes() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = TrainConfig { log_every: 1, ..config() };
    run(whole.path(), &config, false, &mut ()).unwrap();
    // Stopped by an observer in the middle between two checkpoints.
    let mut stop_at = |event: &Event<'_>| {
        Ok(match event {
            Event::Log(log) if log.images == 200 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
    };
    let outcome = run(parts.path(), &config, false, &mut stop_at).unwrap();
    assert!(outcome.stopped);
    assert_eq!(outcome.checkpoint, Some(Folder::at(parts.path()).file(200)));
    assert!(!run(parts.path(), &config, true, &mut ()).unwrap().stopped);
    let read = |folder: &Path| std::fs::read(Folder::at(folder).file(480)).unwrap();
    assert!(read(whole.path()) == read(parts.path()));
}

#[test]
fn the_stop_flag_stops_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    stop.store(true, Ordering::Relaxed);
    let config = config();
    let (mut source, task) = (TinySource::new(8), TinyTask { seed: 3 });
    let setup = Setup {
        config: &config,
        task: &task,
        source: &mut source,
        validation: None,
        seed: 3,
        recipe: String::new(),
        extra: BTreeMap::new(),
        checkpoints: Some(Folder::create(folder.path()).unwrap()),
        ranks: None,
        stop,
    };
    let outcome = train::train(TinyNet::new(1, 4, &Device::flex().autodiff()), setup, &mut ()).unwrap();
    assert!(outcome.stopped);
    assert_eq!((outcome.state.images, outcome.state.steps), (0, 0));
}

#[test]
fn accumulated_parts_give_the_gradient_of_the_whole_batch() {
    // The same 8 samples at once and in 4 parts: equal up to the order of summation, 1e-6 of weights of order 1 after
    // 60 steps. A forgotten division by the number of parts would show at once through the clip.
    let weights = |accumulation: usize| {
        let folder = tempfile::tempdir().unwrap();
        let outcome = run(folder.path(), &TrainConfig { accumulation, ..config() }, false, &mut ()).unwrap();
        outcome.state.network.input_weight().inner().into_data().try_to_vec::<f32>().unwrap()
    };
    let (whole, parts) = (weights(1), weights(4));
    let largest = whole.iter().zip(&parts).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest < 1e-4, "largest difference {largest}");
    assert_ne!(whole, vec![0.0; whole.len()]);
}

#[test]
fn training_lowers_the_validation_loss_and_events_come_when_due() {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainConfig { images: 8000, validate_every: 2000, sample_every: 4000, ..config() };
    let (mut validations, mut samples, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    let mut watch = |event: &Event<'_>| {
        match event {
            Event::Validation(v) => validations.push((v.images, v.loss)),
            Event::Samples { images, .. } => samples.push(*images),
            Event::Log(l) => rates.push((l.images, l.lr)),
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    };
    run(folder.path(), &config, false, &mut watch).unwrap();
    assert_eq!(validations.iter().map(|v| v.0).collect::<Vec<_>>(), [2000, 4000, 6000, 8000]);
    assert_eq!(samples, [4000, 8000]);
    assert!(validations[3].1 < 0.95 * validations[0].1, "{validations:?}");
    // Warm-up ends at 80 images; the log at 80 shows the peak times the cosine at 72 of 8000 images.
    let expected = 0.01 * 0.5 * (1.0 + (std::f64::consts::PI * 72.0 / 8000.0).cos());
    assert_eq!(rates[0].0, 80);
    assert!((rates[0].1 - expected).abs() < 1e-12, "{} {expected}", rates[0].1);
}

#[test]
fn a_time_limit_ends_the_run_and_the_schedule_follows_the_clock() {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainConfig { images: 0, seconds: 0.15, log_every: 1, ..config() };
    let mut last = f64::NAN;
    let mut watch = |event: &Event<'_>| {
        if let Event::Log(log) = event {
            last = log.lr;
        }
        Ok(ControlFlow::Continue(()))
    };
    let outcome = run(folder.path(), &config, false, &mut watch).unwrap();
    assert!(outcome.state.seconds >= 0.15 && outcome.state.steps > 3);
    assert!(last < 0.005, "the rate at the end is near zero: {last}");
    // The clock is in the checkpoint, so a resumed run has nothing left to do.
    let again = run(folder.path(), &config, true, &mut ()).unwrap();
    assert_eq!(again.state.steps, outcome.state.steps);
}

#[test]
fn keep_last_keeps_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainConfig { checkpoint: CheckpointConfig { every: 80, keep_last: 2 }, ..config() };
    run(folder.path(), &config, false, &mut ()).unwrap();
    let images: Vec<u64> = Folder::at(folder.path()).list().unwrap().iter().map(|f| f.0).collect();
    assert_eq!(images, [400, 480]);
}

#[test]
fn weights_load_by_average() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = run(folder.path(), &config(), false, &mut ()).unwrap();
    let checkpoint = Folder::at(folder.path()).latest().unwrap().unwrap().checkpoint;
    let load = |which| load_weights(TinyNet::new(7, 16, &Device::flex()), &checkpoint, which);
    let bits = |net: &TinyNet| testing::bits(&train::params::values(net));
    assert_eq!(bits(&load(Which::Raw).unwrap()), bits(&outcome.state.network));
    assert_eq!(bits(&load(Which::Best).unwrap()), bits(&outcome.state.sampler()));
    assert_eq!(bits(&load(Which::Ema(0.99)).unwrap()), bits(&outcome.state.sampler()));
    assert_ne!(bits(&load(Which::Ema(0.5)).unwrap()), bits(&outcome.state.sampler()));
    let error = load(Which::Ema(0.7)).unwrap_err().to_string();
    assert!(error.contains("0.7") && error.contains("[0.99, 0.5]"), "{error}");
}

/// A run that chooses its precision says so, keeps the choice in its checkpoints, and whatever continues it holds to it.
/// Mutants: the batch that was measured not given back; measured again on resuming.
#[test]
fn a_measured_precision_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let auto = TrainConfig { precision: TrainPrecision::Auto, ..config() };
    let mut notes = Vec::new();
    let mut listen = |event: &Event<'_>| {
        if let Event::Note { message, .. } = event {
            notes.push(message.clone());
        }
        Ok(ControlFlow::Continue(()))
    };
    let outcome = run(folder.path(), &auto, false, &mut listen).unwrap();
    let files = Folder::at(folder.path());
    let written = |images| train::checkpoint::Checkpoint::open(files.file(images)).unwrap().meta().precision;
    assert_eq!((written(80), written(480)), (outcome.precision, outcome.precision));
    match Precision::Bf16.is_native() {
        true => assert!(notes.len() == 1 && notes[0].contains(outcome.precision.name()), "{notes:?}"),
        false => assert!(notes.is_empty() && outcome.precision == Precision::F32),
    }
    // The same run with that precision said from the start has the same bits, and so has a run continued without measuring.
    let said = tempfile::tempdir().unwrap();
    run(said.path(), &TrainConfig { precision: outcome.precision.into(), ..config() }, false, &mut ()).unwrap();
    let bytes = |folder: &Path| std::fs::read(Folder::at(folder).file(480)).unwrap();
    assert!(bytes(said.path()) == bytes(folder.path()));
    for precision in [Precision::F32, Precision::Bf16] {
        let (begun, fixed) = (tempfile::tempdir().unwrap(), TrainConfig { precision: precision.into(), ..config() });
        run(begun.path(), &TrainConfig { images: 80, ..fixed.clone() }, false, &mut ()).unwrap();
        let mut warnings = 0;
        let mut listen = |event: &Event<'_>| {
            warnings += usize::from(matches!(event, Event::Note { .. } | Event::Warning { .. }));
            Ok(ControlFlow::Continue(()))
        };
        let outcome = run(begun.path(), &TrainConfig { images: 160, ..auto.clone() }, true, &mut listen).unwrap();
        assert_eq!(outcome.precision, precision);
        assert_eq!(warnings, usize::from(!precision.is_native()));
    }
}

/// A task whose losses leave something behind: it counts them.
struct Counting(TinyTask, std::cell::Cell<usize>);

impl train::Task<TinyNet> for Counting {
    fn loss(
        &self,
        live: &train::Live<'_, TinyNet>,
        batch: &train::Batch,
        device: &Device,
    ) -> Result<base::Tensor<1>, TrainError> {
        self.1.set(self.1.get() + 1);
        self.0.loss(live, batch, device)
    }

    fn loss_at(
        &self,
        live: &train::Live<'_, TinyNet>,
        batch: &train::Batch,
        times: &base::Times,
        device: &Device,
    ) -> Result<base::Tensor<1>, TrainError> {
        self.0.loss_at(live, batch, times, device)
    }

    fn identity(&self) -> (String, String) {
        train::Task::<TinyNet>::identity(&self.0)
    }

    fn remembers(&self) -> bool {
        true
    }
}

/// Mutant: asked for a loss to measure all the same.
#[test]
fn a_loss_that_remembers_is_not_asked_to_measure() {
    let task = Counting(TinyTask { seed: 3 }, std::cell::Cell::new(0));
    let auto =
        TrainConfig { precision: TrainPrecision::Auto, images: 80, validate_every: 0, sample_every: 0, ..config() };
    let mut source = TinySource::new(auto.micro_batch());
    let network = TinyNet::new(1, 16, &Device::flex().autodiff());
    let outcome = train::train(network, Setup::new(&auto, &task, &mut source), &mut ()).unwrap();
    assert_eq!((outcome.precision, task.1.get()), (Precision::F32, 10));
}
