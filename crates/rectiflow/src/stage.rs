//! A run of the engine in a folder: any module, any task. What every verb that trains does around it.

use crate::{
    Context, Error,
    context::Event,
    verbs::train::{Resume, TrainReport, report, starting_point},
};
use burn::module::Module;
use std::{collections::BTreeMap, ops::ControlFlow, path::Path};
use train::{
    Observer, RunDir, Samples, Setup, Source, Task, TrainConfig,
    checkpoint::Folder,
    log::{EventFile, Stats},
};

/// What a run is called and where it lies.
pub(crate) struct Stage<'a> {
    /// Told to whoever listens.
    pub name: &'a str,
    /// The resolved recipe, kept in the folder and in every checkpoint.
    pub recipe: String,
    pub config: &'a TrainConfig,
    pub seed: u64,
    /// What the checkpoints say of their subject.
    pub extra: BTreeMap<String, String>,
    pub folder: &'a Path,
    pub resume: Option<&'a Resume>,
}

impl Stage<'_> {
    /// Trains `module`, or continues its run.
    ///
    /// # Errors
    /// A folder that holds another run; those of the engine.
    pub fn run<M: Module, B: Samples>(
        self,
        module: M,
        task: &dyn Task<M, B>,
        source: &mut dyn Source<B>,
        context: &mut Context,
    ) -> Result<TrainReport, Error> {
        let Self { name, recipe, config, seed, extra, folder, resume } = self;
        let checkpoint = starting_point(folder, resume)?;
        let is_new = !folder.exists();
        let run = RunDir::create(folder)?;
        let mut lock = run.hold()?;
        let images = checkpoint.as_ref().map_or(0, |found| found.meta().images);
        let checkpoints = Some(Folder::create(run.checkpoints())?);
        let stop = context.stop.clone();
        let kept = recipe.clone();
        let setup = Setup { seed, recipe, extra, checkpoints, stop, ..Setup::new(config, task, source) };
        context.tell(Event::Stage { name });
        // Opened at the first event: until then a run may be refused, and a refused command changes no file.
        let mut logs: Option<(Stats, EventFile)> = None;
        let mut observer = |event: &::train::Event<'_>| {
            let (stats, events) = match &mut logs {
                Some(logs) => logs,
                None => {
                    lock.sign()?;
                    run.write(&run.recipe(), &kept)?;
                    logs.insert((Stats::open(run.stats(), images)?, EventFile::create(run.path())?))
                }
            };
            // Both files are told before the listener, which may print that they exist.
            let _ = stats.event(event)?; // they never ask to stop
            let _ = events.event(event)?;
            context.tell(Event::Train(event));
            Ok(ControlFlow::Continue(()))
        };
        let outcome = match checkpoint {
            Some(from) => ::train::resume(module, from, setup, &mut observer),
            None => ::train::train(module, setup, &mut observer),
        };
        if outcome.is_err() && logs.is_none() && is_new {
            run.abandon();
        }
        report(outcome?, folder)
    }
}
