//! What the engine tells the outside while it trains. The engine knows no bars, files or pictures; observers do.

use crate::TrainError;
use crate::memory::Memory;
use base::Network;
use std::ops::ControlFlow;
use std::path::Path;

/// Figures of the last steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Log {
    /// Samples seen.
    pub images: u64,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Mean training loss since the last log.
    pub loss: f64,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Global norm of the last gradient, before clipping.
    pub gradient_norm: f64,
    /// Seconds of training in this process.
    pub seconds: f64,
    /// Samples per second since the last log.
    pub images_per_second: f64,
    /// Optimiser steps per second since the last log.
    pub steps_per_second: f64,
    /// Estimated seconds to the end.
    pub seconds_left: Option<f64>,
    /// Progress of the run in [0, 1].
    pub progress: f64,
    /// Memory of the process.
    pub memory: Memory,
}

/// Loss on the held-out batch.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidationLog {
    /// Samples seen.
    pub images: u64,
    /// Seconds of training in this process.
    pub seconds: f64,
    /// Mean over times.
    pub loss: f64,
    /// `(t, loss)` for each fixed time.
    pub by_time: Vec<(f64, f64)>,
}

/// Work between steps that takes its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work<'a> {
    /// It begins.
    Begin {
        /// What: "samples".
        what: &'a str,
        /// How many in all.
        total: u64,
    },
    /// So many are done.
    Advance {
        /// Done so far.
        done: u64,
    },
    /// It is over.
    End,
}

/// Something that happened.
pub enum Event<'a> {
    /// The loop starts.
    Started {
        /// Samples already seen (0, or the cursor of the checkpoint a run resumes from).
        images: u64,
        /// Samples the run ends at; `None` when only time limits it.
        total: Option<u64>,
        /// Number of trained parameters.
        parameters: u64,
    },
    /// Figures, every `log_every` steps.
    Log(Log),
    /// Validation loss.
    Validation(ValidationLog),
    /// How far the task is with what it does between steps.
    Work(Work<'a>),
    /// What the task says of itself: at each log, and of what it did before a step.
    Figures {
        /// Samples seen.
        images: u64,
        /// Name and value.
        values: &'a [(String, f64)],
    },
    /// Time for sample grids: the network with the weights that samples use.
    Samples {
        /// Samples seen.
        images: u64,
        /// The network, without automatic differentiation.
        network: &'a dyn Network<2>,
    },
    /// A checkpoint is safe on disk.
    Checkpoint {
        /// Samples seen.
        images: u64,
        /// Seconds of training in this process.
        seconds: f64,
        /// The file.
        path: &'a Path,
    },
    /// Something the engine has settled.
    Note {
        /// Images seen.
        images: u64,
        /// What.
        message: String,
    },
    /// Something worth knowing that does not stop the run.
    Warning {
        /// Samples seen.
        images: u64,
        /// Seconds of training in this process.
        seconds: f64,
        /// What and what to do.
        message: String,
    },
    /// The loop has ended.
    Finished {
        /// Samples seen.
        images: u64,
        /// Seconds of training in this process.
        seconds: f64,
        /// Whether it was asked to stop before its end.
        stopped: bool,
    },
}

/// Watches a run. `Break` asks the engine to write a checkpoint and stop; an error ends the run with that error.
pub trait Observer {
    /// Called at each event, on the training thread.
    fn event(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>, TrainError>;
}

/// Watches nothing.
impl Observer for () {
    fn event(&mut self, _event: &Event<'_>) -> Result<ControlFlow<()>, TrainError> {
        Ok(ControlFlow::Continue(()))
    }
}

/// Any closure watches.
impl<F: FnMut(&Event<'_>) -> Result<ControlFlow<()>, TrainError>> Observer for F {
    fn event(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>, TrainError> {
        self(event)
    }
}

/// Several observers, all told of each event in order.
impl Observer for Vec<Box<dyn Observer + '_>> {
    fn event(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>, TrainError> {
        let mut flow = ControlFlow::Continue(());
        for observer in self {
            if observer.event(event)?.is_break() {
                flow = ControlFlow::Break(());
            }
        }
        Ok(flow)
    }
}
