//! The loop itself: steps, one after another.

use super::{Outcome, Setup, identity, together};
use crate::checkpoint::Meta;
use crate::error::TrainError;
use crate::event::{Event, Observer};
use crate::guard::Reading;
use crate::params;
use crate::params::Info;
use crate::precision::faster;
use crate::state::{State, device_of};
use crate::task::{Ahead, Live, Samples, Turn};
use crate::watchdog::Watchdog;
use base::{Device, Tensor};
use burn::module::Module;
use kernels::Precision;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// A run under way.
pub(super) struct Engine<'a, 'o, M, B> {
    pub(super) setup: Setup<'a, M, B>,
    /// The task's turns, each with which parameters it moves.
    turns: Vec<(Turn, Vec<bool>)>,
    observer: &'o mut dyn Observer,
    /// Taken out during a step only, so that the update owns the weights and may write in place.
    pub(super) state: Option<State<M>>,
    pub(super) identity: Meta,
    /// What products of training passes round to; measured before the first step where nothing says it.
    precision: Option<Precision>,
    pub(super) device: Device,
    pub(super) watchdog: Watchdog,
    /// Samples and file of the last checkpoint.
    pub(super) saved: Option<(u64, PathBuf)>,
    started: Instant,
    pub(super) interval: Interval,
    stop: bool,
    /// Whether some rank wished to stop, which all of them heard at the same step.
    called: bool,
}

/// Sums since the last log event.
#[derive(Default)]
pub(super) struct Interval {
    pub loss: f64,
    pub steps: u64,
    pub images: u64,
    pub seconds: f64,
}

/// What a finished step leaves for the log.
pub(super) struct Stepped {
    pub lr: f64,
    pub norm: f64,
}

impl<'a, 'o, M: Module, B: Samples> Engine<'a, 'o, M, B> {
    /// `precision`: what products round to, `None` to measure which is faster. `frozen`: the checksum of the weights beneath corrections,
    /// where the run had written them before.
    pub(super) fn new(
        setup: Setup<'a, M, B>,
        state: State<M>,
        precision: Option<Precision>,
        frozen: Option<&str>,
        observer: &'o mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let mut identity = identity(&setup);
        // A released model's weights stay where they are.
        let own = !identity.extra.contains_key(crate::checkpoint::BENEATH);
        if let Some(folder) = setup.checkpoints.as_ref().filter(|_| own) {
            identity.frozen = folder.save_frozen(&state.network, frozen)?;
        }
        let turns = shared_out(setup.task.turns(), state.infos())?;
        let device = device_of(&state.network);
        let factor = if setup.config.slow_step > 0.0 { setup.config.slow_step } else { f64::INFINITY };
        Ok(Self {
            setup,
            turns,
            observer,
            state: Some(state),
            identity,
            precision,
            device,
            watchdog: Watchdog::new(factor, 100),
            saved: None,
            started: Instant::now(),
            interval: Interval::default(),
            stop: false,
            called: false,
        })
    }

    pub(super) fn state(&self) -> &State<M> {
        self.state.as_ref().expect("the state is only away inside `step`, which puts it back")
    }

    /// Settles what products round to from here on: what is said, or what a pass over the first batch takes less time in, with bf16's
    /// share of f32's.
    fn settle(&mut self) -> Result<Option<f64>, TrainError> {
        self.identity.precision = self.precision.unwrap_or_default();
        if self.precision.is_some() || self.setup.task.remembers() || !Precision::Bf16.is_native_on(&self.device) {
            return Ok(None);
        }
        let images = self.state().images;
        let batch = self.draw(0)?;
        let (taken, share) = faster(|precision| {
            let network = &self.state().network;
            let live = Live::new(network, precision, self.setup.config.gradient_checkpointing, 0);
            let loss = live.with_terms(self.setup.task.loss(&live, &batch, &self.device)?.mean());
            let gradients = params::gradients(network, loss.backward());
            Reading::take(loss.without_autodiff(), &gradients); // waits for the device
            Ok(())
        })?;
        self.setup.source.seek(images)?;
        self.identity.precision = taken;
        Ok(Some(share))
    }

    pub(super) fn tell(&mut self, event: &Event<'_>) -> Result<(), TrainError> {
        if let ControlFlow::Break(()) = self.observer.event(event)? {
            self.stop = true;
        }
        Ok(())
    }

    pub(super) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    pub(super) fn run(mut self) -> Result<Outcome<M>, TrainError> {
        let config = self.setup.config;
        let images = self.state().images;
        config.share(self.size()).map_err(TrainError::Config)?;
        self.setup.source.seek(images)?;
        let measured = self.settle()?;
        if let Some(ranks) = self.setup.ranks.as_ref().filter(|ranks| ranks.leads()) {
            let state = self.state();
            together::give(&**ranks, state.meta(&self.identity, config), &state.blobs(), config)?;
        }
        let parameters = self.state().parameters();
        self.tell(&Event::Started { images, total: config.total_images(), parameters })?;
        if let Some(share) = measured {
            let taken = self.identity.precision.name();
            let message = format!("train.precision: {taken}, where bf16 takes {share:.2} of f32's time");
            self.tell(&Event::Note { images, message })?;
        }
        if let Some(reason) = self.identity.precision.fallback(&self.device) {
            let message = format!("train.precision: {reason}");
            self.tell(&Event::Warning { images, seconds: self.seconds(), message })?;
        }
        while config.progress(self.state().images, self.state().seconds) < 1.0 {
            if self.setup.ranks.as_ref().map_or_else(|| self.wishes(), |_| self.called) {
                self.stop = true;
                break;
            }
            if !self.ahead()? {
                break;
            }
            let before = self.state().images;
            let begun = Instant::now();
            let (stepped, seconds) = match self.step().and_then(|stepped| Ok((stepped, self.clock(begun)?))) {
                Err(TrainError::Lost { lost, .. }) => return Err(self.left_alone(lost)?),
                other => other?,
            };
            self.after_step(before, seconds, &stepped)?;
            if let Some(message) = self.setup.task.enough() {
                let (images, seconds) = (self.state().images, self.seconds());
                self.tell(&Event::Warning { images, seconds, message })?;
                break;
            }
        }
        if self.setup.checkpoints.is_some() && self.saved.as_ref().map(|s| s.0) != Some(self.state().images) {
            self.save()?;
        }
        let (images, stopped, seconds) = (self.state().images, self.stop, self.seconds());
        self.tell(&Event::Finished { images, seconds, stopped })?;
        let state = self.state.take().expect("the state is only away inside `step`, which puts it back");
        let (checkpoint, precision) = (self.saved.map(|s| s.1), self.identity.precision);
        Ok(Outcome { state, stopped, checkpoint, precision })
    }

    /// Has the task do what comes before the step; whether the step comes.
    fn ahead(&mut self) -> Result<bool, TrainError> {
        let images = self.state().images;
        let state = self.state.as_ref().expect("put back by the previous step");
        let (observer, mut told) = (&mut *self.observer, Ok(ControlFlow::Continue(())));
        let ahead = self.setup.task.before(&state.network, images, &mut |work| {
            if told.is_ok() {
                told = observer.event(&Event::Work(work));
            }
        })?;
        self.stop |= told?.is_break();
        match ahead {
            Ahead::Step(values) if values.is_empty() => Ok(true),
            Ahead::Step(values) => self.tell(&Event::Figures { images, values: &values }).map(|()| true),
            Ahead::Stop => {
                self.stop = true;
                Ok(false)
            }
            Ahead::Over(message) => {
                let seconds = self.seconds();
                self.tell(&Event::Warning { images, seconds, message }).map(|()| false)
            }
        }
    }

    /// How many processes train together.
    fn size(&self) -> usize {
        self.setup.ranks.as_ref().map_or(1, |ranks| ranks.size())
    }

    /// Whether this one was asked to stop.
    fn wishes(&self) -> bool {
        self.stop || self.setup.stop.load(Ordering::Relaxed)
    }

    /// Seconds since `begun`, by the clock of rank 0 where they matter.
    fn clock(&self, begun: Instant) -> Result<f64, TrainError> {
        let seconds = begun.elapsed().as_secs_f64();
        match &self.setup.ranks {
            Some(ranks) if self.setup.config.seconds > 0.0 => together::clock(&**ranks, seconds),
            _ => Ok(seconds),
        }
    }

    /// A rank is gone: what was trained until here is saved, unless a turn of the step has already moved something.
    fn left_alone(&mut self, lost: ranks::Lost) -> Result<TrainError, TrainError> {
        let images = self.state().images;
        if self.turns.len() == 1 && self.saved.as_ref().map(|saved| saved.0) != Some(images) {
            self.save()?;
        }
        Ok(TrainError::Lost { lost, checkpoint: self.saved.as_ref().map(|saved| saved.1.clone()) })
    }

    /// The next part of a batch, which must be this rank's.
    fn draw(&mut self, part: usize) -> Result<B, TrainError> {
        let batch = self.setup.source.next()?;
        let Some(ranks) = &self.setup.ranks else { return Ok(batch) };
        let own = self.setup.config.share(ranks.size()).map_err(TrainError::Config)?;
        let due = self.state().images + ((part * ranks.size() + ranks.rank()) * own) as u64;
        match batch.first() {
            Some(first) if first == due && batch.count() == own => Ok(batch),
            Some(first) => Err(TrainError::Source(format!(
                "rank {} was given {} samples from number {first} on, where {own} from {due} on are its share",
                ranks.rank(),
                batch.count()
            ))),
            None => {
                Err(TrainError::Source("what this trains on cannot be shared by ranks; train it in one process".into()))
            }
        }
    }

    /// One optimiser step: the turns of the task one after another, on the same batches.
    fn step(&mut self) -> Result<Stepped, TrainError> {
        let (config, parts) = (self.setup.config, self.setup.config.accumulation);
        let all = parts * self.size();
        let mut batches: Vec<B> = Vec::with_capacity(parts);
        let mut stepped: Option<(Stepped, f32)> = None;
        for turn in 0..self.turns.len() {
            let mut sum: Option<(Tensor<1>, Vec<Option<Tensor<1>>>)> = None;
            for part in 0..parts {
                if batches.len() == part {
                    batches.push(self.draw(part)?);
                }
                let network = &self.state().network;
                let live = Live::new(network, self.identity.precision, config.gradient_checkpointing, turn);
                let loss = live.with_terms(self.setup.task.loss(&live, &batches[part], &self.device)?.mean());
                let gradients = params::gradients(network, loss.backward());
                let loss = loss.without_autodiff();
                sum = Some(match sum {
                    None => (loss, gradients),
                    Some((total, totals)) => (total + loss, add(totals, gradients)),
                });
            }
            let (loss, mut gradients) = sum.expect("accumulation is at least 1, `check` sees to it");
            let own = &self.turns[turn].1;
            gradients.iter_mut().zip(own).filter(|(_, own)| !**own).for_each(|(gradient, _)| *gradient = None);
            let mut loss = loss;
            if let Some(ranks) = &self.setup.ranks {
                let sizes = self.state().sizes();
                let all = together::summed(&**ranks, loss, gradients, &sizes, self.wishes(), &self.device)?;
                (loss, gradients) = (all.loss, all.gradients);
                self.called |= all.called;
            }
            let reading = Reading::take(loss / all as f64, &gradients);
            let taken = self.turn(turn, &batches, &reading, gradients)?;
            stepped.get_or_insert((taken, reading.loss));
        }
        let size = self.size() * batches.iter().map(B::count).sum::<usize>();
        let state = self.state.as_mut().expect("put back by every turn");
        state.steps += 1;
        state.images += size as u64;
        let (stepped, loss) = stepped.expect("a task has at least one turn, `new` sees to it");
        self.interval.loss += f64::from(loss);
        self.interval.steps += 1;
        self.interval.images += size as u64;
        Ok(stepped)
    }

    /// What a turn's gradients move.
    fn turn(
        &mut self,
        turn: usize,
        batches: &[B],
        reading: &Reading,
        gradients: Vec<Option<Tensor<1>>>,
    ) -> Result<Stepped, TrainError> {
        let (config, parts) = (self.setup.config, self.setup.config.accumulation * self.size());
        let state = self.state();
        let size = self.size() * batches.iter().map(B::count).sum::<usize>();
        let (images, step) = (state.images + size as u64, state.steps + 1);
        if reading.squares.iter().all(Option::is_none) {
            return Err(TrainError::Objective("the loss does not depend on any parameter of the network".to_string()));
        }
        if !reading.is_finite() {
            let checkpoint = self.saved.as_ref().map(|s| s.1.clone());
            let report = reading.report(step, state.images, state.infos(), batches, checkpoint);
            return Err(TrainError::NotFinite(Box::new(report)));
        }
        let norm = reading.norm() / parts as f64;
        let (Turn { rate, .. }, own) = &self.turns[turn];
        let lr = rate * config.optim.rate(images, config.progress(state.images, state.seconds));
        let scale = config.optim.clip_factor(norm) / parts as f64;
        let state = self.state.take().expect("put back by the previous step");
        self.state = Some(state.turn(config, own, gradients, lr, scale));
        Ok(Stepped { lr, norm })
    }
}

/// Which parameters each turn moves: every one belongs to exactly one.
fn shared_out(turns: Vec<Turn>, infos: &[Info]) -> Result<Vec<(Turn, Vec<bool>)>, TrainError> {
    let own = |turn: &Turn| infos.iter().map(|info| info.name.starts_with(&turn.prefix)).collect::<Vec<bool>>();
    let turns: Vec<(Turn, Vec<bool>)> = turns.into_iter().map(|turn| (turn.clone(), own(&turn))).collect();
    for (i, info) in infos.iter().enumerate() {
        let owners = turns.iter().filter(|(_, own)| own[i]).count();
        if owners != 1 {
            let name = &info.name;
            let why = format!("{owners} turns of the task move the parameter `{name}`; exactly one must");
            return Err(TrainError::Objective(why));
        }
    }
    if turns.is_empty() {
        return Err(TrainError::Objective("the task has no turn".into()));
    }
    Ok(turns)
}

/// Sums of gradients, parameter by parameter.
fn add(a: Vec<Option<Tensor<1>>>, b: Vec<Option<Tensor<1>>>) -> Vec<Option<Tensor<1>>> {
    a.into_iter()
        .zip(b)
        .map(|pair| match pair {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        })
        .collect()
}
