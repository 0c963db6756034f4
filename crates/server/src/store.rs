//! Jobs that may be asked about: all that have not ended, and the latest that have.

use crate::{job::Job, options::Limits};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Jobs by id, the oldest forgotten first.
pub struct Store {
    inner: Mutex<Inner>,
    most: usize,
    bytes: usize,
}

#[derive(Default)]
struct Inner {
    jobs: HashMap<String, Arc<Job>>,
    order: Vec<String>,
}

impl Store {
    /// As the limits say.
    pub fn new(limits: &Limits) -> Self {
        Self { inner: Mutex::default(), most: limits.kept, bytes: limits.kept_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `job`, and forgets what is too much.
    pub fn keep(&self, job: &Arc<Job>) {
        let mut inner = self.lock();
        inner.jobs.insert(job.id.clone(), job.clone());
        inner.order.push(job.id.clone());
        let over: Vec<Arc<Job>> =
            inner.order.iter().filter_map(|id| inner.jobs.get(id)).filter(|job| job.is_told()).cloned().collect();
        let (mut count, mut bytes) = (over.len(), over.iter().map(|job| job.bytes()).sum::<usize>());
        let older = over.len().saturating_sub(1); // the newest is still to be fetched, however large
        for job in over.into_iter().take(older) {
            if count <= self.most && bytes <= self.bytes {
                break;
            }
            (count, bytes) = (count - 1, bytes - job.bytes());
            inner.jobs.remove(&job.id);
        }
        let Inner { jobs, order } = &mut *inner;
        order.retain(|id| jobs.contains_key(id));
    }

    /// The job of this id.
    pub fn find(&self, id: &str) -> Option<Arc<Job>> {
        self.lock().jobs.get(id).cloned()
    }

    /// All that are known, in the order they came.
    pub fn all(&self) -> Vec<Arc<Job>> {
        let inner = self.lock();
        inner.order.iter().filter_map(|id| inner.jobs.get(id).cloned()).collect()
    }

    /// Forgets a job that was turned away.
    pub fn forget(&self, job: &Job) {
        self.lock().jobs.remove(&job.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ask::{Ask, How},
        job::State,
    };
    use rectiflow::serving::{Asked, File, Medium, Wanted};

    /// Mutant: bytes counted of the job that comes instead of those that are kept.
    #[test]
    fn the_oldest_that_have_ended_are_forgotten() {
        let job = || {
            let wanted = vec![Wanted { seed: 0, index: 0, asked: Asked::Nothing }];
            Job::new(Ask {
                model: 0,
                how: How::Run(Default::default()),
                wanted,
                seed: 0,
                depth: 7,
                previews: false,
                note: None,
                permit: Default::default(),
            })
        };
        let file = |size| File { medium: Medium::Png, bytes: vec![0; size] };
        let store = Store::new(&Limits { kept: 2, kept_bytes: 25, ..Limits::default() });
        let jobs: Vec<_> = (0..4).map(|_| job()).collect();
        let known = || jobs.iter().map(|job| store.find(&job.id).is_some()).collect::<Vec<_>>();
        store.keep(&jobs[0]); // never ends
        for (job, size) in [(&jobs[1], 10), (&jobs[2], 10)] {
            store.keep(job);
            job.drawn(0, file(size));
        }
        store.keep(&jobs[3]);
        assert_eq!(known(), [true; 4]);
        jobs[3].drawn(0, file(10));
        let last = job();
        store.keep(&last);
        assert_eq!(known(), [true, false, true, true], "three have ended, of 30 bytes");
        assert_eq!(jobs[3].progress().state, State::Done);
    }
}
