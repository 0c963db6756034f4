//! One request on its way: what has become of it, told to whoever waits for it.

use crate::{ask::Ask, refusal::Refusal, state::Disk};
use rectiflow::serving::File;
use serde_json::Value;
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// None of it is being drawn.
    Queued,
    /// Some of it is.
    Running,
    /// All files are there.
    Done,
    /// There will be none.
    Failed(Refusal),
    /// Nobody wants it any more.
    Cancelled,
}

impl State {
    /// In a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it will not change.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Done | Self::Failed(_) | Self::Cancelled)
    }
}

/// What is known of a job.
#[derive(Clone, Debug)]
pub struct Progress {
    /// How far it is.
    pub state: State,
    /// Files that are there: pictures, sounds, shapes.
    pub files: Vec<Option<Arc<File>>>,
    /// What those that are being drawn will be, as it looks, as PNG.
    pub previews: Vec<Option<Arc<Vec<u8>>>>,
    /// Steps done of those pictures that are being drawn.
    pub step: usize,
    /// Steps that they take.
    pub steps: usize,
    /// Pictures that are being drawn.
    pub drawing: usize,
    /// Grows with every change.
    pub version: u64,
}

impl Progress {
    /// Files that are there, counted.
    pub fn done(&self) -> usize {
        self.files.iter().flatten().count()
    }

    /// How much of it is done, 0 to 1.
    pub fn share(&self) -> f64 {
        let (done, all) = (self.done() as f64, self.files.len() as f64);
        let begun = match self.steps {
            0 => 0.0,
            steps => self.drawing as f64 * self.step as f64 / steps as f64,
        };
        if all > 0.0 { (done + begun) / all } else { 1.0 }
    }
}

/// One request.
pub struct Job {
    /// 128 random bits: whoever knows it may see the pictures.
    pub id: String,
    /// What is drawn.
    pub ask: Ask,
    /// Seconds since 1970 when it came.
    pub made: u64,
    progress: Mutex<Progress>,
    news: Condvar,
    /// Where its end is written, with what else is known of it.
    kept: OnceLock<(Arc<Disk>, Value)>,
}

impl Job {
    /// A job that waits.
    pub fn new(ask: Ask) -> Arc<Self> {
        let made = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
        let (files, steps) = (vec![None; ask.wanted.len()], ask.steps());
        let previews = vec![None; ask.wanted.len()];
        let progress =
            Mutex::new(Progress { state: State::Queued, files, previews, step: 0, steps, drawing: 0, version: 0 });
        // Not by counter: nobody should guess it. No sample depends on it.
        let id = format!("{:032x}", rand::random::<u128>());
        Arc::new(Self { id, ask, made, progress, news: Condvar::new(), kept: OnceLock::new() })
    }

    /// Lies on `disk` from now on.
    pub fn lies(&self, disk: &Arc<Disk>, facts: Value) -> std::io::Result<()> {
        disk.begins(&self.id, &facts, self.ask.wanted.len())?;
        let _ = self.kept.set((disk.clone(), facts)); // said once
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known now.
    pub fn progress(&self) -> Progress {
        self.lock().clone()
    }

    /// Waits for a change after `version`, or `patience`.
    pub fn wait(&self, version: u64, patience: Duration) -> Progress {
        let held = self.lock();
        let waited = self.news.wait_timeout_while(held, patience, |progress| progress.version == version);
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        let mut progress = self.lock();
        if !progress.state.is_final() {
            change(&mut progress);
            if progress.state.is_final() {
                self.ask.forget();
                // Before anybody hears of it: who was told that it is done finds it again.
                if let Some((disk, facts)) = self.kept.get() {
                    disk.ended(&self.id, facts, &progress);
                }
            }
            progress.version += 1;
            self.news.notify_all();
        }
    }

    /// So many pictures of it are being drawn and have had `step` of `steps`.
    pub fn stepped(&self, drawing: usize, step: usize, steps: usize) {
        self.change(|progress| {
            (progress.state, progress.drawing) = (State::Running, drawing);
            (progress.step, progress.steps) = (step, steps);
        });
    }

    /// File `at` looks like this on its way.
    pub fn shows(&self, at: usize, png: Vec<u8>) {
        self.change(|progress| progress.previews[at] = Some(Arc::new(png)));
    }

    /// File `at` is there.
    pub fn drawn(&self, at: usize, file: File) {
        self.change(|progress| {
            progress.files[at] = Some(Arc::new(file));
            progress.previews[at] = None;
            // The others of its batch have had their steps: they stay.
            progress.drawing = progress.drawing.saturating_sub(1);
            if progress.files.iter().all(Option::is_some) {
                progress.state = State::Done;
            }
        });
    }

    /// It ends like this, unless it has ended.
    pub fn end(&self, state: State) {
        self.change(|progress| {
            progress.state = state;
            progress.previews.fill(None);
        });
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.lock().state.is_final()
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> usize {
        self.lock().files.iter().flatten().map(|file| file.bytes.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ask::How, http::Permit};
    use rectiflow::{
        separator::Resynthesis,
        serving::{Asked, Medium, Separate, Wanted, Work},
    };
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A request for `files` sounds, with 50 bytes of its own.
    fn ask(files: u64) -> Ask {
        let work = Separate {
            bytes: vec![0; 50].into(),
            queries: vec!["low".into()],
            resynthesis: Resynthesis::Mask,
            overrides: Default::default(),
            seed: 0,
        };
        let how = How::Work(Box::new(Work::Separate(work)));
        let wanted = (0..files).map(|index| Wanted { seed: 0, index, asked: Asked::Nothing }).collect();
        Ask { model: 0, how, wanted, seed: 0, depth: 7, previews: false, permit: Default::default() }
    }

    /// Files of a batch become known one after another, and whoever looks in between sees no less than before. Mutant: the steps of
    /// all forgotten with the first file.
    #[test]
    fn the_share_does_not_fall_between_two_files() {
        let job = Job::new(ask(3));
        let mut seen = vec![job.progress().share()];
        let mut look = |change: &dyn Fn()| {
            change();
            seen.push(job.progress().share());
        };
        let file = || File { medium: Medium::Wav, bytes: vec![] };
        for step in 0..=4 {
            look(&|| job.stepped(2, step, 4));
        }
        look(&|| job.drawn(0, file()));
        look(&|| job.drawn(1, file()));
        look(&|| job.stepped(1, 0, 4));
        look(&|| job.stepped(1, 2, 4));
        look(&|| job.drawn(2, file()));
        let thirds = [0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0, 2.5, 3.0];
        assert!(seen.iter().zip(thirds).all(|(share, third)| (share - third / 3.0).abs() < 1e-12), "{seen:?}");
    }

    /// Mutants: what was sent kept with the job; its leave given back while the job waits, or never.
    #[test]
    fn what_was_sent_is_held_until_the_job_ends() {
        let held = Arc::new(AtomicUsize::new(0));
        let job = Job::new(ask(1).holding(Permit::new(&held, 50, 64).map(Arc::new)));
        let bytes = || match &job.ask.how {
            How::Work(work) => match &**work {
                Work::Separate(work) => work.bytes.get().len(),
                _ => 0,
            },
            _ => 0,
        };
        job.stepped(1, 1, 2);
        assert_eq!((bytes(), held.load(Ordering::Relaxed)), (50, 50));
        job.end(State::Cancelled);
        assert_eq!((bytes(), held.load(Ordering::Relaxed)), (0, 0));
        assert_eq!(job.ask.done(), "separate");
    }
}
