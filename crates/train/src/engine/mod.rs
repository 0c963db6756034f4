//! The training loop, one for every module and every task.
//!
//! A step draws a batch by counter, takes the gradient of the task's mean loss, reads the loss and the gradient's norm
//! once, refuses what is not finite, clips, updates weights and averages, and moves the cursor. Everything random is a
//! function of the seed and the sample counter, and everything carried over is in the checkpoint: that is why a
//! resumed run ends with the same bits.

mod due;
mod steps;
mod together;

use crate::TrainConfig;
use crate::checkpoint::{Checkpoint, CheckpointError, Folder, Meta};
use crate::error::TrainError;
use crate::event::{Event, Observer};
use crate::params;
use crate::source::{Batch, Source};
use crate::state::State;
use crate::task::{Samples, Task};
use burn::module::Module;
use kernels::Precision;
use ranks::Ranks;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use steps::Engine;

/// What a run is made of, besides its network.
pub struct Setup<'a, M, B = Batch> {
    /// Length, optimiser, averages, intervals.
    pub config: &'a TrainConfig,
    /// What is minimised.
    pub task: &'a dyn Task<M, B>,
    /// Where samples come from; its batches have `config.micro_batch()` samples.
    pub source: &'a mut dyn Source<B>,
    /// Held-out samples; `None` for no validation.
    pub validation: Option<&'a B>,
    /// Seed of the run, kept in checkpoints.
    pub seed: u64,
    /// The resolved recipe, kept in checkpoints.
    pub recipe: String,
    /// Further metadata for checkpoints.
    pub extra: BTreeMap<String, String>,
    /// Folder for checkpoints; `None` keeps everything in memory.
    pub checkpoints: Option<Folder>,
    /// The processes that train together, of which this is one; `None` for one alone. The source gives this rank's share.
    pub ranks: Option<Arc<dyn Ranks>>,
    /// Set from outside (Ctrl-C) to write a checkpoint and stop after the current step.
    pub stop: Arc<AtomicBool>,
}

impl<'a, M, B> Setup<'a, M, B> {
    /// A run in memory: no validation, no checkpoints, seed 0.
    pub fn new(config: &'a TrainConfig, task: &'a dyn Task<M, B>, source: &'a mut dyn Source<B>) -> Self {
        let (recipe, extra, stop) = (String::new(), BTreeMap::new(), Arc::default());
        let (validation, checkpoints, ranks) = (None, None, None);
        Self { config, task, source, validation, seed: 0, recipe, extra, checkpoints, ranks, stop }
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome<M> {
    /// The final state; `state.sampler()` is the network to use.
    pub state: State<M>,
    /// Whether it was asked to stop before its end.
    pub stopped: bool,
    /// The last checkpoint.
    pub checkpoint: Option<PathBuf>,
    /// What products of training passes were rounded to, where the device could.
    pub precision: Precision,
}

/// Trains `network` from its present weights.
///
/// ```
/// use train::{FlowTask, SampleSource, Setup, TrainConfig};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = TrainConfig { images: 64, batch: 32, ..TrainConfig::default() };
/// let dataset = data::open(&data::DataConfig { limit: Some(64), ..Default::default() })?;
/// let loader = data::LoaderConfig { batch: config.micro_batch(), seed: 1, ..Default::default() };
/// let mut source = SampleSource::new(dataset.clone(), loader);
/// let task = FlowTask {
///     origin: train::Origin::Noise,
///     objective: flow::Objective::default(),
///     coupling: flow::Coupling::Independent {},
///     condition_dropout: config.condition_dropout,
///     conditional: true,
///     seed: 1,
/// };
/// let device = base::Device::flex().autodiff();
/// let network = nets::NetConfig::Mlp(Default::default()).init(1, dataset.shape(), dataset.classes(), &device)?;
/// let setup = Setup {
///     config: &config,
///     task: &task,
///     source: &mut source,
///     validation: None,
///     seed: 1,
///     recipe: String::new(),
///     extra: Default::default(),
///     checkpoints: None,
///     ranks: None,
///     stop: Default::default(),
/// };
/// let outcome = train::train(network, setup, &mut ())?;
/// assert_eq!((outcome.state.images, outcome.state.steps), (64, 2));
/// let network = outcome.state.sampler(); // the averaged weights, ready for a solver
/// # drop(network);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`TrainError::NotFinite`] when the guard stops the run; errors of the source, the observers and the checkpoint folder.
pub fn train<M: Module, B: Samples>(
    network: M,
    setup: Setup<'_, M, B>,
    observer: &mut dyn Observer,
) -> Result<Outcome<M>, TrainError> {
    setup.config.check().map_err(TrainError::Config)?;
    check_whole(&network, &setup)?;
    setup.config.optim.check_parameters(&params::infos(&network)).map_err(TrainError::Config)?;
    if let Some(ranks) = setup.ranks.clone().filter(|ranks| !ranks.leads()) {
        let from = together::take(&*ranks, setup.config)?;
        check_same(from.meta(), &identity(&setup), Path::new("(the state of rank 0)"))?;
        let state = State::resume(network, setup.config, &from)?;
        return Engine::new(setup, state, Some(from.meta().precision), None, observer)?.run();
    }
    let state = State::new(network, setup.config);
    let precision = setup.config.precision.fixed();
    Engine::new(setup, state, precision, None, observer)?.run()
}

/// Continues the run that wrote `from`. `network` supplies names and shapes; its weights are replaced.
///
/// # Errors
/// As [`train`], and when the checkpoint belongs to another network, path, parameterization, seed or data.
pub fn resume<M: Module, B: Samples>(
    network: M,
    from: Checkpoint,
    setup: Setup<'_, M, B>,
    observer: &mut dyn Observer,
) -> Result<Outcome<M>, TrainError> {
    setup.config.check().map_err(TrainError::Config)?;
    check_whole(&network, &setup)?;
    setup.config.optim.check_parameters(&params::infos(&network)).map_err(TrainError::Config)?;
    let wanted = identity(&setup);
    check_same(from.meta(), &wanted, from.path())?;
    let found = from.meta();
    let mut changes = Vec::new();
    let precision = setup.config.precision.fixed().unwrap_or(found.precision);
    if found.precision != precision {
        let (before, now) = (found.precision.name(), precision.name());
        changes.push(format!(
            "the checkpoint was trained with train.precision = {before}, the rest of the run uses {now}"
        ));
    } else if found.recipe != wanted.recipe {
        changes.push("the recipe differs from the checkpoint's; the rest of the run follows the new one".to_string());
    }
    let state = State::resume(network, setup.config, &from)?;
    for message in changes {
        // A wish to stop is heard at the first step.
        let _ = observer.event(&Event::Warning { images: state.images, seconds: 0.0, message })?;
    }
    let mut engine = Engine::new(setup, state, Some(precision), found.frozen.as_deref(), observer)?;
    engine.saved = Some((engine.state().images, from.path().to_path_buf()));
    engine.run()
}

/// Refuses to share what ranks do not give each other: weights beneath corrections.
fn check_whole<M: Module, B>(network: &M, setup: &Setup<'_, M, B>) -> Result<(), TrainError> {
    if setup.ranks.is_some() && !params::frozen_infos(network).is_empty() {
        let remedy = "train them in one process, or all weights in several";
        return Err(TrainError::Config(format!("ranks cannot train corrections of frozen weights; {remedy}")));
    }
    Ok(())
}

/// Refuses the state of another run, which lies at `path`.
fn check_same(found: &Meta, wanted: &Meta, path: &Path) -> Result<(), TrainError> {
    let compare = [
        ("path", &found.path, &wanted.path),
        ("parameterization", &found.parameterization, &wanted.parameterization),
        ("data", &found.data, &wanted.data),
        ("seed", &found.seed.to_string(), &wanted.seed.to_string()),
    ];
    for (what, found, expected) in compare {
        let same = if what == "data" { crate::streams::same(found, expected) } else { found == expected };
        if !same {
            let (found, expected) = (found.clone(), expected.clone());
            let path = path.to_path_buf();
            return Err(CheckpointError::OtherTraining { path, what, found, expected }.into());
        }
    }
    Ok(())
}

fn identity<M, B>(setup: &Setup<'_, M, B>) -> Meta {
    let (path, parameterization) = setup.task.identity();
    Meta {
        seed: setup.seed,
        recipe: setup.recipe.clone(),
        data: setup.source.fingerprint(),
        precision: setup.config.precision.fixed().unwrap_or_default(),
        path,
        parameterization,
        extra: setup.extra.clone(),
        ..Meta::default()
    }
}
