//! New candidates while a model learns: every so many steps it draws pairs as it stands, the judge scores them, and they take the place of
//! those it learned from.
//!
//! Learning from what the model draws now, and not from what it drew once, is what "online" means for preferences (Guo et al.,
//! arXiv 2402.04792); the reference stays the model before training. A round is drawn inside the task, by the raw weights of that step:
//! the averages lag behind what is to be judged. Its samples lie in the run's folder, so that a run continued in the middle of a round learns
//! from the same ones.

use super::drawing::{Drawing, Judged};
use crate::{Context, Error, Model, device::Chosen};
use base::{Device, Tensor, Times};
use burn::module::Module;
use nets::Net;
use std::{
    cell::{Cell, RefCell},
    path::PathBuf,
    time::Instant,
};
use train::{Live, Samples, Source, Task, TrainError, Turn, checkpoint::Folder};

/// What a part of a batch is made of: counters, and the round whose candidates they are drawn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// Counter of each sample in the run.
    pub indices: Vec<u64>,
    /// Which round.
    pub round: u64,
}

impl Samples for Due {
    fn count(&self) -> usize {
        self.indices.len()
    }

    fn find_not_finite(&self) -> Option<String> {
        None // the task's own source holds the numbers, and a judge refuses those that are none
    }
}

/// The counters of a run, cut into rounds.
#[derive(Clone, Debug)]
pub struct Rounds {
    /// Samples that a round is learned from: its steps times the batch.
    pub every: u64,
    /// Samples computed at once.
    pub part: u64,
    /// The next sample's counter.
    pub next: u64,
    /// What the first round is, for the fingerprint.
    pub first: String,
}

impl Source<Due> for Rounds {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.next = images;
        Ok(())
    }

    fn next(&mut self) -> Result<Due, TrainError> {
        let round = self.next / self.every;
        let indices = (self.next..self.next + self.part).collect();
        self.next += self.part;
        Ok(Due { indices, round })
    }

    fn fingerprint(&self) -> String {
        format!("rounds of {}, the first {}", self.every, self.first)
    }
}

/// What a way learns from, made of judged candidates.
pub type Lesson<'a, B> = Box<dyn Fn(&Judged) -> Result<Box<dyn Source<B>>, Error> + 'a>;

/// The round that is learned from.
struct Held<B> {
    round: u64,
    source: Box<dyn Source<B>>,
}

/// What a round was worth when it was drawn.
struct Fresh {
    round: u64,
    decided: usize,
    rewards: Vec<f64>,
}

impl Fresh {
    fn of(judged: &Judged, round: u64) -> Self {
        let rewards = judged.candidates.scores.moments().iter().map(|[mean, _]| *mean).collect();
        Self { round, decided: judged.decided(), rewards }
    }
}

/// A task on candidates that are drawn anew in every round.
pub struct OnlineTask<'a, T, B> {
    task: T,
    lesson: Lesson<'a, B>,
    drawing: &'a Drawing,
    /// The model without its weights.
    model: Model,
    /// Samples that a round is learned from.
    every: u64,
    /// The run's folder.
    folder: PathBuf,
    device: Chosen,
    held: RefCell<Held<B>>,
    fresh: RefCell<Vec<Fresh>>,
    first: RefCell<Option<Fresh>>,
    aside: Cell<f64>,
}

fn failed(error: impl std::fmt::Display) -> TrainError {
    TrainError::Objective(error.to_string())
}

impl<'a, T, B> OnlineTask<'a, T, B> {
    /// `task` on what `lesson` makes of each round that `drawing` has `model` draw, beginning with `first`. Rounds are kept in `folder`.
    ///
    /// # Errors
    /// A first round of which nothing can be learned.
    pub fn new(
        (task, lesson): (T, Lesson<'a, B>),
        (drawing, model): (&'a Drawing, Model),
        first: &Judged,
        (every, folder): (u64, PathBuf),
        device: Chosen,
    ) -> Result<Self, Error> {
        let held = RefCell::new(Held { round: 0, source: lesson(first)? });
        let (fresh, first) = (RefCell::default(), RefCell::new(Some(Fresh::of(first, 0))));
        let aside = Cell::default();
        Ok(Self { task, lesson, drawing, model, every, folder, device, held, fresh, first, aside })
    }

    /// The counters of its run, `part` at a time.
    pub fn rounds(&self, part: usize) -> Rounds {
        let first = self.held.borrow().source.fingerprint();
        Rounds { every: self.every, part: part as u64, next: 0, first }
    }

    fn file(&self, round: u64) -> PathBuf {
        self.folder.join("rounds").join(format!("{round:06}.npy"))
    }

    /// Has the module as it is draw a round, and keeps its samples.
    fn draw(&self, net: Net, round: u64) -> Result<Judged, Error> {
        // Weights that are multiplied out once are read at every step of the solver.
        let mut model = self.model.hollow(&self.device.device)?;
        model.net = nets::lora::merged(net);
        // A wish to stop is heard after the step, with a checkpoint; half a round is of no use.
        let judged =
            self.drawing.draw(&model, round, &mut Context::new(self.device.clone(), Default::default(), |_| ()))?;
        let (drawn, file) = (&judged.candidates.drawn, self.file(round));
        let folder = file.parent().unwrap_or(&self.folder);
        std::fs::create_dir_all(folder).map_err(|error| Error::Failure(format!("{}: {error}", folder.display())))?;
        media::arrays::save_npy(&file, &[drawn.len(), drawn.shape.numel()], &drawn.rows)?;
        self.forget(round);
        Ok(judged)
    }

    /// Removes rounds that no checkpoint can be continued in. What cannot be removed stays.
    fn forget(&self, round: u64) {
        let checkpoints = Folder::at(self.folder.join("checkpoints")).list().unwrap_or_default();
        let oldest = checkpoints.first().map_or(0, |(images, _)| images / self.every);
        (1..oldest.min(round)).rev().map(|old| self.file(old)).take_while(|file| file.exists()).for_each(|file| {
            let _ = std::fs::remove_file(file);
        });
    }

    /// A round that a run which is continued had drawn.
    fn read(&self, round: u64) -> Result<Judged, Error> {
        let file = self.file(round);
        let fail = |why: String| {
            Error::Failure(format!(
                "{}: {why}; these are the candidates of round {round}, which this run was learning from: continue from a checkpoint at \
                 the beginning of a round (a multiple of {} samples) with --resume FILE, or begin anew",
                file.display(),
                self.every
            ))
        };
        let (axes, rows) = media::arrays::read_npy(&file).map_err(|error| fail(error.to_string()))?;
        let shape = self.model.subject.shape;
        let wanted = [self.drawing.samples(), shape.numel()];
        if axes != wanted {
            return Err(fail(format!("it holds {axes:?} numbers and not {wanted:?}")));
        }
        self.drawing.again(rows, shape, round).map_err(|error| fail(error.to_string()))
    }
}

impl<T: Task<Net, B>, B> OnlineTask<'_, T, B> {
    /// The batch that is due, of the round that is due.
    fn batch(&self, live: &Live<'_, Net>, due: &Due) -> Result<B, TrainError> {
        let first = due.indices.first().copied().unwrap_or_default();
        if first == 0 {
            self.fresh.borrow_mut().extend(self.first.take());
        }
        if self.held.borrow().round != due.round {
            let began = Instant::now();
            let judged = match first == due.round * self.every {
                true => self.draw(live.module().valid(), due.round).inspect(|judged| {
                    self.fresh.borrow_mut().push(Fresh::of(judged, due.round));
                }),
                false => self.read(due.round),
            };
            let source = (self.lesson)(&judged.map_err(failed)?).map_err(failed)?;
            *self.held.borrow_mut() = Held { round: due.round, source };
            self.aside.set(self.aside.get() + began.elapsed().as_secs_f64());
        }
        let mut held = self.held.borrow_mut();
        held.source.seek(first)?;
        held.source.next()
    }
}

impl<T: Task<Net, B>, B> Task<Net, Due> for OnlineTask<'_, T, B> {
    fn loss(&self, live: &Live<'_, Net>, due: &Due, device: &Device) -> Result<Tensor<1>, TrainError> {
        self.task.loss(live, &self.batch(live, due)?, device)
    }

    fn loss_at(&self, _: &Live<'_, Net>, _: &Due, _: &Times, _: &Device) -> Result<Tensor<1>, TrainError> {
        Err(failed("there is nothing held out from a model's own samples; set train.validate_every = 0"))
    }

    fn identity(&self) -> (String, String) {
        self.task.identity()
    }

    fn turns(&self) -> Vec<Turn> {
        self.task.turns()
    }

    fn figures(&self) -> Vec<(String, f64)> {
        let mut figures = self.task.figures();
        // Of several rounds between two lines of the log the last.
        if let Some(Fresh { round, decided, rewards }) = self.fresh.take().pop() {
            figures.push(("round".to_string(), round as f64));
            figures.push(("pairs_decided".to_string(), decided as f64));
            let axes = self.drawing.judge().axes();
            figures.extend(axes.iter().zip(rewards).map(|(axis, mean)| (format!("reward_{axis}"), mean)));
        }
        figures
    }

    fn enough(&self) -> Option<String> {
        self.task.enough()
    }

    fn aside(&self) -> f64 {
        self.aside.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: a round that begins a part late; counters that begin anew in every round.
    #[test]
    fn rounds_follow_the_counter() {
        let mut rounds = Rounds { every: 8, part: 4, next: 0, first: "duels".into() };
        let all: Vec<Due> = (0..5).map(|_| rounds.next().unwrap()).collect();
        assert_eq!(all.iter().map(|due| due.round).collect::<Vec<_>>(), [0, 0, 1, 1, 2]);
        assert_eq!(all[2].indices, [8, 9, 10, 11]);
        rounds.seek(12).unwrap();
        assert_eq!(rounds.next().unwrap(), all[3]);
        assert!(rounds.fingerprint().contains("rounds of 8, the first duels"));
    }
}
