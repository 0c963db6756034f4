//! A run of the engine in a folder: any module, any task; a lock, logs, sample sheets, checkpoints, resume.

use super::{
    DataRecord, Lineage, Resume, TrainReport,
    resume::{followed, report, starting_point},
    tracking::Tracking,
};
use crate::{Context, Error, context::Event, report::page_of_run as page};
use base::Network;
use burn::module::Module;
use std::{collections::BTreeMap, ops::ControlFlow, path::Path};
use train::{
    Batch, Observer, RunDir, Samples, Setup, Source, Task, TrainConfig, TrainError, Work,
    checkpoint::{Checkpoint, Folder},
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

/// A sheet as a picture.
pub(crate) struct DrawnSheet {
    pub png: Vec<u8>,
    /// Width and height in pixels.
    pub size: [usize; 2],
}

/// Who draws sample sheets while a run trains.
pub(crate) trait Sheet {
    /// The sheet after `images` training images, written and given back.
    ///
    /// # Errors
    /// Samples that cannot be drawn or written.
    fn draw(&self, images: u64, network: &dyn Network<2>) -> Result<DrawnSheet, TrainError>;
}

/// What is learned, from what, and what is shown of it.
pub(crate) struct Learning<'a, M, B = Batch> {
    pub task: &'a dyn Task<M, B>,
    pub source: &'a mut dyn Source<B>,
    /// What validation watches.
    pub validation: Option<&'a B>,
    /// What is told and kept of the data.
    pub data: Option<&'a DataRecord>,
    /// Where its beginnings lie, for who continues it.
    pub lineage: Option<&'a Lineage>,
    /// Who draws, where the recipe asks for sheets.
    pub sheets: Option<&'a dyn Sheet>,
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
        self.run_after(None, module, task, source, context)
    }

    /// The same, with where it comes from, for who continues it.
    ///
    /// # Errors
    /// Those of [`Stage::run`].
    pub fn run_after<M: Module, B: Samples>(
        self,
        lineage: Option<&Lineage>,
        module: M,
        task: &dyn Task<M, B>,
        source: &mut dyn Source<B>,
        context: &mut Context,
    ) -> Result<TrainReport, Error> {
        let from = starting_point(self.folder, self.resume)?;
        let learning = Learning { task, source, validation: None, data: None, lineage, sheets: None };
        self.from(from, module, learning, context)
    }

    /// The same on all of `learning`, from a checkpoint that was found.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn from<M: Module, B: Samples>(
        self,
        from: Option<Checkpoint>,
        module: M,
        learning: Learning<'_, M, B>,
        context: &mut Context,
    ) -> Result<TrainReport, Error> {
        let Self { name, recipe, config, seed, extra, folder, .. } = self;
        let Learning { task, source, validation, data, lineage, sheets } = learning;
        let ranks = context.ranks.clone();
        if !context.leads() {
            // No folder, no log, no sheet: what this rank does is in the gradients that it sends.
            let (checkpoints, validation, stop) = (None, None, context.stop.clone());
            let setup = Setup { config, task, source, validation, seed, recipe, extra, checkpoints, ranks, stop };
            return followed(::train::train(module, setup, &mut ())?, folder);
        }
        let mut tracking = Tracking::of(&config.track)?;
        if let Some(ranks) = &ranks {
            let (size, batch) = (ranks.size(), config.batch);
            context.note(format!("{size} ranks, each of which computes {} of {batch} samples a step", batch / size));
        }
        data.iter().flat_map(|data| data.lines()).for_each(|line| context.note(line));
        let is_new = !folder.exists();
        let run = RunDir::create(folder)?;
        let mut lock = run.hold()?;
        let images = from.as_ref().map_or(0, |found| found.meta().images);
        let checkpoints = Some(Folder::create(run.checkpoints())?);
        let (kept, stop) = (recipe.clone(), context.stop.clone());
        let setup =
            Setup { config, task, source, validation, seed, recipe, extra, checkpoints, ranks: ranks.clone(), stop };
        context.tell(Event::Stage { name });
        // Opened at the first event: until then a run may be refused, and a refused command changes no file.
        let mut logs: Option<(Stats, EventFile)> = None;
        let mut log_failed = false;
        let mut observer = |event: &::train::Event<'_>| {
            if let ::train::Event::Work(work) = event {
                context.tell(match *work {
                    Work::Begin { what, total } => Event::Begin { what, total },
                    Work::Advance { done } => Event::Advance { done },
                    Work::End => Event::End,
                });
                return Ok(ControlFlow::Continue(()));
            }
            let (stats, events) = match &mut logs {
                Some(logs) => logs,
                None => {
                    lock.sign()?;
                    run.write(&run.recipe(), &kept)?;
                    if let Some(data) = data {
                        run.write(&run.data(), &data.to_json())?;
                    }
                    if let Some(lineage) = lineage {
                        run.write(&Lineage::place(run.path()), &lineage.to_json())?;
                    }
                    let (stats, mut events) = (Stats::open(run.stats(), images)?, EventFile::create(run.path())?);
                    events.text(images, "recipe", &as_code(&kept))?;
                    tracking.open(run.path(), &kept, images);
                    logs.insert((stats, events))
                }
            };
            // Files, trackers and the sheet are told before the listener, which may print that they exist. They never ask to stop,
            // and a full disk under them does not stop training: what cannot be lost is in the checkpoints.
            let drawn = match (event, sheets) {
                (::train::Event::Samples { images, network }, Some(sheets)) => {
                    Some((*images, sheets.draw(*images, *network)?))
                }
                _ => None,
            };
            let shown = drawn.and_then(|(images, DrawnSheet { png, size: [w, h] })| {
                events.image(images, "samples", (w as u32, h as u32), png).err()
            });
            let told = [stats.event(event).err(), events.event(event).err(), shown];
            if let Some(error) = told.into_iter().flatten().next().filter(|_| !log_failed) {
                log_failed = true;
                context.note(format!("warning: {error}; training goes on without that log"));
            }
            tracking.tell(event).for_each(|error| context.note(format!("warning: {error}")));
            context.tell(Event::Train(event));
            Ok(ControlFlow::Continue(()))
        };
        let outcome = match from {
            Some(from) => ::train::resume(module, from, setup, &mut observer),
            None => ::train::train(module, setup, &mut observer),
        };
        if outcome.is_err() && logs.is_none() && is_new {
            run.abandon();
        }
        let outcome = outcome?;
        if let Some(ranks) = ranks {
            let [sent, received] = ranks.moved().map(|bytes| bytes as f64 / 1e6);
            context.note(format!("rank 0 sent {sent:.1} MB to the others and received {received:.1} MB"));
        }
        // A page is a convenience: what it is made of lies in the folder.
        if let Err(error) = page::leave(folder) {
            context.note(format!("warning: no {}: {error}", page::NAME));
        }
        report(outcome, folder)
    }
}

/// Markdown that shows `text` as it is.
fn as_code(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
