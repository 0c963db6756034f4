//! What a training step minimises, seen from the engine.
//!
//! The engine trains any module on any task: it draws batches, takes gradients of the task's loss, updates what learns and keeps
//! the books. What the module is (a flow, a reward, a codec with its critic) and what a batch holds, the task alone knows.

use crate::TrainError;
use crate::event::Work;
use crate::source::Batch;
use base::{Condition, Device, Network, Pass, Tensor, Terms, Times};
use burn::module::Module;
use kernels::Precision;
use nets::Precise;
use std::collections::BTreeMap;

/// A part of a batch, as the engine sees it.
pub trait Samples {
    /// Number of samples: what the samples of a run count.
    fn count(&self) -> usize;

    /// The first value that is NaN or infinite, described for a message.
    fn find_not_finite(&self) -> Option<String>;

    /// The counter of the first sample; `None` for samples whose stream several ranks cannot share.
    fn first(&self) -> Option<u64> {
        None
    }
}

/// A loss over batches `B` for a module `M`: the only thing that differs between base training, reflow, distillation, rewards and
/// alignment besides the [`Source`](crate::Source) and the first weights.
pub trait Task<M, B = Batch> {
    /// Loss of each sample, `[b]`, in training mode. All randomness is a function of the batch's counters.
    fn loss(&self, live: &Live<'_, M>, batch: &B, device: &Device) -> Result<Tensor<1>, TrainError>;

    /// Loss of each sample, `[b]`, at the given times, without dropout: what validation reports.
    fn loss_at(&self, live: &Live<'_, M>, batch: &B, times: &Times, device: &Device) -> Result<Tensor<1>, TrainError>;

    /// What the module is trained as, for checkpoints: `(path, parameterization)`, each its configuration as JSON.
    fn identity(&self) -> (String, String);

    /// The turns of a step, each with parameters of its own: one, with all of them, unless two parts learn against each other.
    fn turns(&self) -> Vec<Turn> {
        vec![Turn::default()]
    }

    /// The network that sample sheets draw with, where the module is one.
    fn network<'m>(&self, module: &'m M) -> Option<&'m dyn Network<2>> {
        let _ = module;
        None
    }

    /// Whether a loss leaves something behind that a later one reads, such as what was drawn for it. No pass is then made to measure, and
    /// `train.precision = "auto"` is f32.
    fn remembers(&self) -> bool {
        false
    }

    /// Numbers to log beside the loss since they were last asked for, by name.
    fn figures(&self) -> Vec<(String, f64)> {
        Vec::new()
    }

    /// What is done before the step that begins after `images` images, on the `module` as it then is, such as drawing what is learned from. Its
    /// time is none of training; `tell` hears how far it is. The same on every rank.
    ///
    /// # Errors
    /// What cannot be done; the run then ends with that error.
    fn before(&self, module: &M, images: u64, tell: &mut dyn FnMut(Work<'_>)) -> Result<Ahead, TrainError> {
        let _ = (module, images, tell);
        Ok(Ahead::default())
    }

    /// What checkpoints keep of it beside the state, by key.
    fn extra(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Why training should stop here, where it should: the run then ends as if it had been asked to.
    fn enough(&self) -> Option<String> {
        None
    }
}

/// What follows on [`Task::before`].
#[derive(Clone, Debug, PartialEq)]
pub enum Ahead {
    /// The step, with numbers of what was done before it, by name.
    Step(Vec<(String, f64)>),
    /// Nothing: somebody asked to stop meanwhile. The run ends with a checkpoint of the state before the step.
    Stop,
    /// Nothing: there is no more to learn, and why. The run ends likewise, and is told so.
    Over(String),
}

impl Default for Ahead {
    fn default() -> Self {
        Self::Step(Vec::new())
    }
}

/// Parameters that one loss moves.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// What the names of its parameters begin with; no two turns may share one.
    pub prefix: String,
    /// Factor of the learning rate.
    pub rate: f64,
}

impl Default for Turn {
    fn default() -> Self {
        Self { prefix: String::new(), rate: 1.0 }
    }
}

/// The module as it is now, and how its passes are to be computed.
#[derive(Debug)]
pub struct Live<'a, M> {
    module: &'a M,
    precision: Precision,
    recompute: bool,
    turn: usize,
    /// Where networks leave what they add to the loss of training passes.
    terms: Terms,
}

impl<'a, M> Live<'a, M> {
    /// In f32, nothing computed twice: for validation and tests.
    pub fn plain(module: &'a M) -> Self {
        Self { module, precision: Precision::F32, recompute: false, turn: 0, terms: Terms::default() }
    }

    pub(crate) fn new(module: &'a M, precision: Precision, recompute: bool, turn: usize) -> Self {
        Self { module, precision, recompute, turn, terms: Terms::open() }
    }

    /// The module itself; ask it within [`Live::within`], or its products are f32.
    pub fn module(&self) -> &'a M {
        self.module
    }

    /// Which of the task's turns this is.
    pub fn turn(&self) -> usize {
        self.turn
    }

    /// `f` of the module, products in the precision of the run.
    pub fn within<R>(&self, f: impl FnOnce(&'a M) -> R) -> R {
        self.precision.scope(|| f(self.module))
    }

    /// `pass`, with blocks that run again for the gradient where the run asks for it, and a place for the network's terms.
    pub fn pass(&self, pass: &Pass) -> Pass {
        pass.recomputing(self.recompute || pass.recomputes()).leaving(&self.terms)
    }

    /// `loss`, `[1]`, and what the networks asked for it added of their own (see [`Terms`]).
    pub(crate) fn with_terms(&self, loss: Tensor<1>) -> Tensor<1> {
        match self.terms.take() {
            Some(term) => loss + term,
            None => loss,
        }
    }
}

impl<M: Module> Live<'_, M> {
    /// The same weights off the tape, shared and not copied.
    pub fn still(&self) -> Still<M> {
        Still { module: self.module.valid(), precision: self.precision }
    }
}

impl<const D: usize, M: Network<D>> Network<D> for Live<'_, M> {
    fn predict(&self, x: Tensor<D>, t: Tensor<1>, condition: &Condition, pass: &Pass) -> Tensor<D> {
        Precise { network: self.module, precision: self.precision }.predict(x, t, condition, &self.pass(pass))
    }
}

/// A module in training, asked for values only: no tape is kept and nothing copied.
#[derive(Debug)]
pub struct Still<M> {
    module: M,
    precision: Precision,
}

impl<M> Still<M> {
    /// `f` of the module, products in the precision of the run.
    pub fn within<R>(&self, f: impl FnOnce(&M) -> R) -> R {
        self.precision.scope(|| f(&self.module))
    }
}

impl<const D: usize, M: Network<D>> Network<D> for Still<M> {
    fn predict(&self, x: Tensor<D>, t: Tensor<1>, condition: &Condition, pass: &Pass) -> Tensor<D> {
        Precise { network: &self.module, precision: self.precision }.predict(x, t, condition, pass)
    }
}
