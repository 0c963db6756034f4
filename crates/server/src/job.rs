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
    held: Mutex<Held>,
    news: Condvar,
    /// Where its end is written, with what else is known of it.
    kept: OnceLock<(Arc<Disk>, Value)>,
}

struct Held {
    progress: Progress,
    /// Its end is being written, and nothing changes it any more. Nobody is told before it is written.
    ending: bool,
}

impl Job {
    /// A job that waits.
    pub fn new(ask: Ask) -> Arc<Self> {
        let made = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
        let (files, steps) = (vec![None; ask.wanted.len()], ask.steps());
        let previews = vec![None; ask.wanted.len()];
        let progress = Progress { state: State::Queued, files, previews, step: 0, steps, drawing: 0, version: 0 };
        let held = Mutex::new(Held { progress, ending: false });
        // Not by counter: nobody should guess it. No sample depends on it.
        let id = format!("{:032x}", rand::random::<u128>());
        Arc::new(Self { id, ask, made, held, news: Condvar::new(), kept: OnceLock::new() })
    }

    /// Lies on `disk` from now on.
    pub fn lies(&self, disk: &Arc<Disk>, facts: Value) -> std::io::Result<()> {
        disk.begins(&self.id, &facts, self.ask.wanted.len())?;
        let _ = self.kept.set((disk.clone(), facts)); // said once
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known now.
    pub fn progress(&self) -> Progress {
        self.lock().progress.clone()
    }

    /// Waits for a change after `version`, or `patience`.
    pub fn wait(&self, version: u64, patience: Duration) -> Progress {
        let held = self.lock();
        let waited = self.news.wait_timeout_while(held, patience, |held| held.progress.version == version);
        waited.unwrap_or_else(PoisonError::into_inner).0.progress.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        let mut held = self.lock();
        if held.progress.state.is_final() || held.ending {
            return;
        }
        let mut next = held.progress.clone();
        change(&mut next);
        next.version += 1;
        if next.state.is_final() {
            held.ending = true;
            drop(held); // whoever asks meanwhile does not wait for the disk
            self.ask.forget();
            // Before anybody hears of it: who was told that it is done finds it again.
            if let Some((disk, facts)) = self.kept.get() {
                disk.ended(&self.id, facts, &next);
            }
            held = self.lock();
        }
        held.progress = next;
        self.news.notify_all();
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

    /// Whether it has ended, or its end is being written.
    pub fn is_over(&self) -> bool {
        let held = self.lock();
        held.ending || held.progress.state.is_final()
    }

    /// Whether everybody knows that it has ended.
    pub fn is_told(&self) -> bool {
        self.lock().progress.state.is_final()
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> usize {
        self.lock().progress.files.iter().flatten().map(|file| file.bytes.len()).sum()
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
        Ask { model: 0, how, wanted, seed: 0, depth: 7, previews: false, note: None, permit: Default::default() }
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

    /// While a job's end is written it can be asked about, is as it was, and is ended by nobody else. Mutants: the end written under the job's lock, or
    /// told before it is written; a second end that takes its place.
    #[test]
    fn a_job_can_be_asked_about_while_its_end_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (written, place) = (Arc::new(Mutex::new(Vec::new())), folder.path().join("state"));
        let job = Job::new(ask(1));
        let (asked, seen) = (job.clone(), written.clone());
        // The disk complains of what cannot be written, and so we are there while it is.
        let tell = move |_: &str| {
            let (job, (said, heard)) = (asked.clone(), std::sync::mpsc::channel());
            std::thread::spawn(move || {
                job.end(State::Cancelled);
                let _ = said.send((job.progress().state, job.is_over(), job.is_told()));
            });
            seen.lock().unwrap().push(heard.recv_timeout(Duration::from_secs(20)).expect("an answer meanwhile"));
        };
        let disk = Arc::new(Disk::open(&place, 1 << 20, Box::new(tell)).unwrap());
        job.lies(&disk, serde_json::json!({ "id": job.id })).unwrap();
        std::fs::remove_dir_all(place.join(&job.id)).unwrap();
        job.stepped(1, 1, 2);
        job.drawn(0, File { medium: Medium::Wav, bytes: vec![1; 8] });
        assert_eq!(*written.lock().unwrap(), [(State::Running, true, false)]);
        assert_eq!((job.progress().state, job.is_told(), job.bytes()), (State::Done, true, 8));
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
