//! New candidates while a model learns: every so many steps it draws pairs as it stands, the judge scores them, and they take the place of
//! those it learned from.
//!
//! Learning from what the model draws now, and not from what it drew once, is what "online" means for preferences (Guo et al.,
//! arXiv 2402.04792); the reference stays the model before training. A round is drawn before the step that is the first to learn from it, by
//! the raw weights: the averages lag behind what is to be judged. Its samples lie in the run's folder and their digest in the checkpoints, so
//! that a run continued in the middle of a round learns from the same ones.

use super::drawing::{Drawing, Judged};
use crate::{
    Context, Error, Model,
    context::Event,
    device::Chosen,
    runs::{Resume, starting_point},
};
use base::{Device, Tensor, Times};
use burn::module::Module;
use nets::Net;
use serde::{Deserialize, Serialize};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};
use train::{Ahead, Live, Samples, Source, Task, TrainError, Turn, Work, checkpoint::Folder};

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
    /// Who draws and judges, for the fingerprint.
    pub by: String,
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
        format!("rounds of {} samples, {}", self.every, self.by)
    }
}

/// What a way learns from, made of judged candidates.
pub type Lesson<'a, B> = Box<dyn Fn(&Judged) -> Result<Box<dyn Source<B>>, Error> + 'a>;

/// The round that is learned from.
struct Held<B> {
    round: u64,
    source: Box<dyn Source<B>>,
}

/// What checkpoints keep of the rounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The round that was learned from.
    pub round: u64,
    /// Of its samples.
    pub digest: String,
    /// Pairs of the first round that were decided.
    pub first: usize,
}

/// Key of [`Kept`] in a checkpoint's metadata.
const KEPT: &str = "online_rounds";

impl Kept {
    /// What the checkpoint that a run in `folder` continues from keeps, where that lies in a later round than the first: then nobody asks for
    /// the first one again. A checkpoint of another kind of run keeps nothing, and is refused by its data.
    ///
    /// # Errors
    /// Those of finding where a run continues.
    pub fn later(folder: &Path, resume: Option<&Resume>, every: u64) -> Result<Option<Self>, Error> {
        let Some(from) = starting_point(folder, resume)?.filter(|from| from.meta().images >= every) else {
            return Ok(None);
        };
        let kept = from.meta().extra.get(KEPT).and_then(|text| serde_json::from_str(text).ok());
        Ok(Some(kept.unwrap_or_default()))
    }
}

/// Tells one round's samples from any other's.
fn digest(rows: &[f32]) -> String {
    let sum = |sum: u64, x: &f32| (sum.rotate_left(5) ^ u64::from(x.to_bits())).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{:016x}", rows.iter().fold(rows.len() as u64, sum))
}

/// What rounds are learned from first: the first one, or a later one that a run is continued in.
pub enum Begin<'a> {
    /// These candidates.
    First(&'a Judged),
    /// Those of a checkpoint.
    Later(Kept),
}

/// Where rounds are drawn, how long each is learned from, and who may stop it.
pub struct Place {
    /// Samples that a round is learned from.
    pub every: u64,
    /// The run's folder.
    pub folder: PathBuf,
    /// Where tensors live.
    pub device: Chosen,
    /// Set from outside to stop.
    pub stop: Arc<AtomicBool>,
}

/// A task on candidates that are drawn anew in every round.
pub struct OnlineTask<'a, T, B> {
    task: T,
    lesson: Lesson<'a, B>,
    drawing: &'a Drawing,
    /// The model without its weights.
    model: Model,
    place: Place,
    held: RefCell<Option<Held<B>>>,
    kept: RefCell<Kept>,
    /// Figures of the first round, until they are told.
    first: RefCell<Vec<(String, f64)>>,
}

fn failed(error: impl std::fmt::Display) -> TrainError {
    TrainError::Objective(error.to_string())
}

impl<'a, T, B> OnlineTask<'a, T, B> {
    /// `task` on what `lesson` makes of each round that `drawing` has `model` draw, from where `begin` says on.
    ///
    /// # Errors
    /// A first round of which nothing can be learned.
    pub fn new(
        (task, lesson): (T, Lesson<'a, B>),
        (drawing, model): (&'a Drawing, Model),
        begin: Begin<'_>,
        place: Place,
    ) -> Result<Self, Error> {
        let (held, kept, first) = match begin {
            Begin::Later(kept) => (None, kept, Vec::new()),
            Begin::First(judged) => {
                let (digest, decided) = (digest(&judged.candidates.drawn.rows), judged.decided());
                let held = Held { round: 0, source: lesson(judged)? };
                (Some(held), Kept { round: 0, digest, first: decided }, figures(judged, 0))
            }
        };
        let (held, kept, first) = (RefCell::new(held), RefCell::new(kept), RefCell::new(first));
        Ok(Self { task, lesson, drawing, model, place, held, kept, first })
    }

    /// The counters of its run, `part` at a time; `by` is the model before training.
    pub fn rounds(&self, part: usize, by: &str) -> Rounds {
        let by = format!("{} of {by}", self.drawing.identity());
        Rounds { every: self.place.every, part: part as u64, next: 0, by }
    }

    fn file(&self, round: u64) -> PathBuf {
        self.place.folder.join("rounds").join(format!("{round:06}.npy"))
    }

    /// Has the module as it is draw a round.
    fn draw(&self, net: Net, round: u64, tell: &mut dyn FnMut(Work<'_>)) -> Result<Judged, Error> {
        // Weights that are multiplied out once are read at every step of the solver.
        let mut model = self.model.hollow(&self.place.device.device)?;
        model.net = nets::lora::merged(net);
        let hear = |event: Event| match event {
            Event::Begin { what, total } => tell(Work::Begin { what, total }),
            Event::Advance { done } => tell(Work::Advance { done }),
            Event::End => tell(Work::End),
            _ => {} // its notes were told of the first round
        };
        let mut context = Context::new(self.place.device.clone(), self.place.stop.clone(), hear);
        let judged = self.drawing.draw(&model, round, &mut context);
        drop(context);
        if judged.is_err() {
            tell(Work::End); // what was begun is shown no longer
        }
        judged
    }

    /// Keeps the samples of a round.
    fn keep(&self, judged: &Judged, round: u64) -> Result<(), Error> {
        let (drawn, file) = (&judged.candidates.drawn, self.file(round));
        let folder = file.parent().unwrap_or(&self.place.folder);
        std::fs::create_dir_all(folder).map_err(|error| Error::Failure(format!("{}: {error}", folder.display())))?;
        media::arrays::save_npy(&file, &[drawn.len(), drawn.shape.numel()], &drawn.rows)?;
        self.forget(round);
        Ok(())
    }

    /// Removes rounds that no checkpoint can be continued in. What cannot be removed stays.
    fn forget(&self, round: u64) {
        let checkpoints = Folder::at(self.place.folder.join("checkpoints")).list().unwrap_or_default();
        let oldest = checkpoints.first().map_or(0, |(images, _)| images / self.place.every);
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
                self.place.every
            ))
        };
        let (axes, rows) = media::arrays::read_npy(&file).map_err(|error| fail(error.to_string()))?;
        let shape = self.model.subject.shape;
        let wanted = [self.drawing.samples(), shape.numel()];
        if axes != wanted {
            return Err(fail(format!("it holds {axes:?} numbers and not {wanted:?}")));
        }
        let kept = self.kept.borrow();
        if (kept.round, &kept.digest) != (round, &digest(&rows)) {
            return Err(fail("it holds other samples than the checkpoint says".into()));
        }
        self.drawing.again(rows, shape, round).map_err(|error| fail(error.to_string()))
    }
}

/// What a round was worth when it was drawn, by name.
fn figures(judged: &Judged, round: u64) -> Vec<(String, f64)> {
    let scores = &judged.candidates.scores;
    let axes = scores.axes.iter().zip(scores.moments()).map(|(axis, [mean, _])| (format!("reward_{axis}"), mean));
    let of = [("round".to_string(), round as f64), ("pairs_decided".to_string(), judged.decided() as f64)];
    of.into_iter().chain(axes).collect()
}

impl<T: Task<Net, B>, B> OnlineTask<'_, T, B> {
    /// The batch that is due, of the round that is due.
    fn batch(&self, due: &Due) -> Result<B, TrainError> {
        let mut held = self.held.borrow_mut();
        let held = held.as_mut().filter(|held| held.round == due.round);
        let Held { source, .. } = held.ok_or_else(|| failed(format!("round {} was not drawn", due.round)))?;
        source.seek(due.indices.first().copied().unwrap_or_default())?;
        source.next()
    }
}

impl<T: Task<Net, B>, B> Task<Net, Due> for OnlineTask<'_, T, B> {
    fn loss(&self, live: &Live<'_, Net>, due: &Due, device: &Device) -> Result<Tensor<1>, TrainError> {
        self.task.loss(live, &self.batch(due)?, device)
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

    fn remembers(&self) -> bool {
        true
    }

    fn figures(&self) -> Vec<(String, f64)> {
        self.task.figures()
    }

    fn enough(&self) -> Option<String> {
        self.task.enough()
    }

    /// Draws a round where one begins, or reads the one that a run is continued in.
    fn before(&self, net: &Net, images: u64, tell: &mut dyn FnMut(Work<'_>)) -> Result<Ahead, TrainError> {
        let round = images / self.place.every;
        if self.held.borrow().as_ref().is_some_and(|held| held.round == round) {
            let first = self.first.take();
            return Ok(Ahead::Step(if images == 0 { first } else { Vec::new() }));
        }
        let begins = images == round * self.place.every;
        let judged = match begins {
            true => match self.draw(net.valid(), round, tell) {
                Err(Error::Interrupted) => return Ok(Ahead::Stop),
                judged => judged.map_err(failed)?,
            },
            false => self.read(round).map_err(failed)?,
        };
        if judged.decided() == 0 {
            return Ok(Ahead::Over(format!(
                "of the {} pairs drawn after {images} samples none is preferred by {}: training ends here, with what was learned until now; \
                 ask for more pairs, or weigh other axes",
                judged.candidates.pairs(),
                self.drawing.judge().label()
            )));
        }
        let source = (self.lesson)(&judged).map_err(failed)?;
        let mut told = Vec::new();
        if begins {
            self.keep(&judged, round).map_err(failed)?;
            let mut kept = self.kept.borrow_mut();
            (kept.round, kept.digest) = (round, digest(&judged.candidates.drawn.rows));
            told = figures(&judged, round);
        }
        *self.held.borrow_mut() = Some(Held { round, source });
        Ok(Ahead::Step(told))
    }

    fn extra(&self) -> BTreeMap<String, String> {
        let kept = serde_json::to_string(&*self.kept.borrow()).unwrap_or_default();
        [(KEPT.to_string(), kept)].into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: a round that begins a part late; counters that begin anew in every round.
    #[test]
    fn rounds_follow_the_counter() {
        let mut rounds = Rounds { every: 8, part: 4, next: 0, by: "duels".into() };
        let all: Vec<Due> = (0..5).map(|_| rounds.next().unwrap()).collect();
        assert_eq!(all.iter().map(|due| due.round).collect::<Vec<_>>(), [0, 0, 1, 1, 2]);
        assert_eq!(all[2].indices, [8, 9, 10, 11]);
        rounds.seek(12).unwrap();
        assert_eq!(rounds.next().unwrap(), all[3]);
        assert!(rounds.fingerprint().contains("rounds of 8 samples, duels"));
    }

    /// Mutants: an order of samples that does not matter; rows alone, whatever their number.
    #[test]
    fn a_digest_tells_rounds_apart() {
        let all = [&[0.0, 1.0][..], &[1.0, 0.0], &[0.0, 1.0, 0.0], &[]].map(digest);
        assert!((0..4).all(|i| (0..i).all(|j| all[i] != all[j])), "{all:?}");
        assert_eq!(digest(&[0.0, 1.0]), all[0]);
    }
}
