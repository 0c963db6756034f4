//! What waits to be drawn: bounded, in the order it came, and taken in batches that whoever is in them does not notice.

use crate::{ask::Ask, job::Job};
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

/// Jobs of which some pictures wait.
pub struct Queue {
    inner: Mutex<Inner>,
    more: Condvar,
    most: usize,
}

struct Inner {
    jobs: VecDeque<Waiting>,
    open: bool,
}

struct Waiting {
    job: Arc<Job>,
    /// The first picture that nobody has taken.
    next: usize,
}

impl Waiting {
    fn left(&self) -> usize {
        self.job.ask.wanted.len() - self.next
    }
}

/// Why a job may not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// This many pictures wait already.
    Full(usize),
    /// The server is closing.
    Closed,
}

/// Pictures to draw together: of which job, and which of it.
pub struct Batch {
    /// One or more.
    pub rows: Vec<(Arc<Job>, usize)>,
}

impl Batch {
    /// What they have in common.
    pub fn ask(&self) -> &Ask {
        &self.rows[0].0.ask
    }

    /// Its jobs, and of how many pictures of each it is.
    pub fn jobs(&self) -> Vec<(Arc<Job>, usize)> {
        let each = |rows: &[(Arc<Job>, usize)]| (rows[0].0.clone(), rows.len());
        self.rows.chunk_by(|a, b| Arc::ptr_eq(&a.0, &b.0)).map(each).collect()
    }
}

impl Queue {
    /// For `most` pictures.
    pub fn new(most: usize) -> Self {
        Self { inner: Mutex::new(Inner { jobs: VecDeque::new(), open: true }), more: Condvar::new(), most }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pictures that wait.
    pub fn len(&self) -> usize {
        self.lock().jobs.iter().map(Waiting::left).sum()
    }

    /// Whether jobs are still taken.
    pub fn is_open(&self) -> bool {
        self.lock().open
    }

    /// Lets `job` wait.
    pub fn push(&self, job: &Arc<Job>) -> Result<(), Turned> {
        let mut inner = self.lock();
        let waiting: usize = inner.jobs.iter().map(Waiting::left).sum();
        if !inner.open {
            return Err(Turned::Closed);
        }
        if waiting + job.ask.wanted.len() > self.most {
            return Err(Turned::Full(waiting));
        }
        inner.jobs.push_back(Waiting { job: job.clone(), next: 0 });
        self.more.notify_one();
        Ok(())
    }

    /// Takes the job that has waited longest, and what goes with it, `size` pictures at most for its model; waits for the first.
    /// `None` once the queue is closed and no job is left of which some pictures were taken.
    pub fn take(&self, size: impl Fn(&Ask) -> usize) -> Option<Batch> {
        let mut inner = self.lock();
        loop {
            if let Some(first) = inner.jobs.front() {
                let first = first.job.clone();
                let most = size(&first.ask).max(1);
                return Some(inner.batch(&first.ask, most));
            }
            if !inner.open {
                return None;
            }
            inner = self.more.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nobody waits for `job` any more.
    pub fn remove(&self, job: &Arc<Job>) {
        self.lock().jobs.retain(|waiting| !Arc::ptr_eq(&waiting.job, job));
    }

    /// Takes no more and gives back the jobs none of whose pictures was taken; the others are still served.
    pub fn close(&self) -> Vec<Arc<Job>> {
        let mut inner = self.lock();
        inner.open = false;
        self.more.notify_all();
        let (begun, waiting): (VecDeque<_>, VecDeque<_>) = inner.jobs.drain(..).partition(|waiting| waiting.next > 0);
        inner.jobs = begun;
        waiting.into_iter().map(|waiting| waiting.job).collect()
    }

    /// Takes no more and gives back all that nobody will draw.
    pub fn abandon(&self) -> Vec<Arc<Job>> {
        let turned = self.close();
        let begun = self.lock().jobs.drain(..).map(|waiting| waiting.job).collect::<Vec<_>>();
        turned.into_iter().chain(begun).collect()
    }
}

impl Inner {
    fn batch(&mut self, ask: &Ask, most: usize) -> Batch {
        let mut rows = Vec::new();
        for waiting in &mut self.jobs {
            if waiting.job.ask.goes_with(ask) {
                let taken = waiting.left().min(most - rows.len());
                rows.extend((waiting.next..waiting.next + taken).map(|at| (waiting.job.clone(), at)));
                waiting.next += taken;
            }
            if rows.len() == most {
                break;
            }
        }
        self.jobs.retain(|waiting| waiting.left() > 0);
        Batch { rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::How;
    use rectiflow::{
        recipe::SampleConfig,
        serving::{Asked, Wanted},
    };

    fn job(model: usize, steps: usize, count: u64, asked: Asked) -> Arc<Job> {
        let wanted = (0..count).map(|index| Wanted { seed: 0, index, asked: asked.clone() }).collect();
        let how = How::Run(Box::new(SampleConfig { steps, ..Default::default() }));
        Job::new(Ask { model, how, wanted, seed: 0, depth: 7, previews: false, note: None, permit: Default::default() })
    }

    fn class(model: usize, steps: usize, count: u64) -> Arc<Job> {
        job(model, steps, count, Asked::Class(1))
    }

    /// Mutants: a batch over settings or models that differ; one that takes from the end; a job left behind half drawn.
    #[test]
    fn batches_hold_what_goes_together_and_the_oldest_first() {
        let queue = Queue::new(100);
        let none = job(0, 5, 1, Asked::Nothing);
        let jobs = [class(0, 5, 2), class(0, 9, 1), class(1, 5, 1), none, class(0, 5, 3)];
        jobs.iter().for_each(|job| queue.push(job).unwrap());
        let number = |job: &Arc<Job>| jobs.iter().position(|other| Arc::ptr_eq(job, other)).unwrap();
        let taken = || {
            let rows = queue.take(|_| 4).unwrap().rows;
            rows.iter().map(|(job, at)| (number(job), *at)).collect::<Vec<_>>()
        };
        assert_eq!(queue.len(), 8);
        assert_eq!(taken(), [(0, 0), (0, 1), (4, 0), (4, 1)]);
        assert_eq!([taken(), taken(), taken(), taken()], [[(1, 0)], [(2, 0)], [(3, 0)], [(4, 2)]]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_full_queue_and_a_closed_one_turn_jobs_away() {
        let queue = Queue::new(3);
        let (first, second) = (class(0, 1, 2), class(0, 1, 1));
        queue.push(&first).unwrap();
        assert_eq!(queue.push(&class(0, 1, 2)), Err(Turned::Full(2)));
        queue.push(&second).unwrap();
        queue.remove(&first);
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.close().len(), 1);
        assert_eq!(queue.push(&second), Err(Turned::Closed));
        assert!(queue.take(|_| 1).is_none());
    }

    /// Mutants: `close` gives back all; `take` gives nothing once closed; `abandon` leaves what was begun.
    #[test]
    fn what_was_begun_is_served_after_closing() {
        let queue = Queue::new(10);
        let (begun, waiting) = (class(0, 5, 3), class(0, 9, 1));
        [&begun, &waiting].iter().for_each(|job| queue.push(job).unwrap());
        assert_eq!(queue.take(|_| 1).unwrap().rows[0].1, 0);
        let turned = queue.close();
        assert!(turned.len() == 1 && Arc::ptr_eq(&turned[0], &waiting));
        assert_eq!(queue.take(|_| 1).unwrap().rows[0].1, 1);
        assert!(Arc::ptr_eq(&queue.abandon()[0], &begun));
        assert!(queue.take(|_| 1).is_none());
    }
}
