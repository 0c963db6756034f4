//! A thread that works ahead: it fills a bounded channel with batches while the caller computes.

use crate::{DataError, Result};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a thread that others may need waits before it looks for their work.
const NAP: Duration = Duration::from_micros(200);

/// Items of `produce`, made ahead by a thread of its own. The thread ends when this is dropped.
pub(crate) struct Prefetch<T> {
    name: String,
    receiver: Option<Receiver<Result<T>>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Prefetch<T> {
    /// Calls `produce` until it returns `None` or an error, keeping up to `ahead` items ready.
    pub(crate) fn new(
        name: &str,
        ahead: usize,
        mut produce: impl FnMut() -> Option<Result<T>> + Send + 'static,
    ) -> Result<Self> {
        let (sender, receiver) = sync_channel(ahead.max(1));
        let work = move || {
            while let Some(item) = produce() {
                let last = item.is_err();
                // A closed channel means nobody listens any more.
                if sender.send(item).is_err() || last {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("data".to_string())
            .spawn(work)
            .map_err(|e| DataError::LoaderStopped { name: name.to_string(), what: format!("no thread: {e}") })?;
        Ok(Self { name: name.to_string(), receiver: Some(receiver), thread: Some(thread) })
    }
}

/// The next item, `None` once there will be no more. Where the caller is a thread that work is shared among, it does what is
/// waiting there meanwhile: that may be the very decoding it waits for.
fn receive<T>(receiver: &Receiver<T>) -> Option<T> {
    if rayon::current_thread_index().is_none() {
        return receiver.recv().ok();
    }
    loop {
        match receiver.recv_timeout(NAP) {
            Ok(item) => return Some(item),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => help(),
        }
    }
}

/// Does the work that waits for this thread, if any does.
fn help() {
    while rayon::yield_now() == Some(rayon::Yield::Executed) {}
}

impl<T> Iterator for Prefetch<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(item) = receive(self.receiver.as_ref()?) {
            return Some(item);
        }
        self.receiver = None;
        let panic = self.thread.take()?.join().err()?;
        let what = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let what = what.unwrap_or("it panicked").to_string();
        Some(Err(DataError::LoaderStopped { name: self.name.clone(), what }))
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        self.receiver = None; // first: it wakes a thread that waits to send
        if let Some(thread) = self.thread.take() {
            while rayon::current_thread_index().is_some() && !thread.is_finished() {
                help();
                std::thread::sleep(NAP);
            }
            let _ = thread.join(); // a panic here has nobody left to hear it
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn dropping_ends_the_thread_even_while_it_waits() {
        let alive = Arc::new(());
        let held = alive.clone();
        let mut stream = Prefetch::new("test", 2, move || Some(Ok(Arc::strong_count(&held)))).unwrap();
        assert!(stream.next().is_some());
        drop(stream);
        assert_eq!(Arc::strong_count(&alive), 1);
    }

    /// With one thread to share work among, and that one waiting, the producer's own parallel work must still be done.
    #[test]
    fn the_only_worker_helps_while_it_waits() {
        use rayon::prelude::*;
        let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread"));
        let shared = pool.clone();
        let (done, all) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            pool.install(|| {
                let work = move || shared.install(|| Some(Ok((0..100).into_par_iter().sum::<i32>())));
                let mut stream = Prefetch::new("test", 1, work).expect("a thread");
                let first: Vec<_> = stream.by_ref().take(3).map(|item| item.expect("a sum")).collect();
                drop(stream); // while the next one is being made
                let _ = done.send(first);
            });
        });
        assert_eq!(all.recv_timeout(Duration::from_secs(20)).expect("no deadlock"), [4950; 3]);
    }

    #[test]
    fn an_error_and_a_panic_each_arrive_once_and_end_the_stream() {
        let mut left = 1;
        let mut stream = Prefetch::new("test", 4, move || {
            left -= 1;
            Some(if left < 0 { Err(DataError::config("x", "y", "z")) } else { Ok(7) })
        })
        .unwrap();
        assert_eq!(stream.next().unwrap().unwrap(), 7);
        assert!(stream.next().unwrap().is_err());
        assert!(stream.next().is_none());

        let mut stream = Prefetch::<u8>::new("test", 4, || panic!("a broken decoder")).unwrap();
        let message = stream.next().unwrap().unwrap_err().to_string();
        assert!(message.contains("a broken decoder"), "{message}");
        assert!(stream.next().is_none());
    }
}
