//! The threads that kernels share their work among, kept awake between kernels.
//!
//! A thread of the pool that finds nothing to do goes to sleep after some microseconds, and most gaps between two kernels
//! are longer. Waking it takes up to fifty, as long as many a kernel.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a thread looks for work in vain before it rests: longer than gaps within a step of training.
const PATIENCE: Duration = Duration::from_millis(20);
/// Longest rest. Whoever has work meanwhile does it alone.
const REST: Duration = Duration::from_millis(10);

/// Runs `f` on one of the threads that the kernels share their work among, and keeps the others awake until it ends. From any
/// other thread each kernel would have to wake them and be woken again: a tenth of the time of a single pass of a U-Net. What
/// waits there for another thread should do the pool's work meanwhile (`rayon::yield_now`), or a pool of one thread waits
/// for itself.
///
/// ```
/// let index = kernels::on_a_worker(rayon::current_thread_index);
/// assert!(index.is_some());
/// ```
pub fn on_a_worker<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    let done = &AtomicBool::new(false);
    rayon::scope(|scope| {
        let own = rayon::current_thread_index();
        scope.spawn_broadcast(move |_, others| {
            if Some(others.index()) != own {
                attend(done);
            }
        });
        let _end = End(done);
        f()
    })
}

/// Ends the attendance, also where the work panics.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Does the pool's work as it comes. Where none comes for long (one that waits for a GPU, say) it looks ever less often, and
/// so late by a twentieth of the time without work at most.
fn attend(done: &AtomicBool) {
    let mut busy = Instant::now();
    while !done.load(Relaxed) {
        if rayon::yield_now() == Some(rayon::Yield::Executed) {
            busy = Instant::now();
            continue;
        }
        let idle = busy.elapsed();
        match idle < PATIENCE {
            // Another thread of this machine may want the processor.
            true => std::thread::yield_now(),
            false => std::thread::sleep((idle / 20).min(REST)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::on_a_worker;

    /// Without an end to the attendance these would not return.
    #[test]
    fn work_is_shared_and_the_pool_is_free_again() {
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let sum = || (0..10_000_u64).into_par_iter().map(|i| i * i).sum::<u64>();
            let twice = || on_a_worker(|| sum() + on_a_worker(sum));
            assert_eq!(pool.install(twice), 2 * 333_283_335_000);
            let broken = || on_a_worker(|| -> u64 { panic!("the work fails") });
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.install(broken))).is_err());
            assert_eq!(pool.install(|| on_a_worker(sum)), 333_283_335_000);
        }
    }

    /// While one thread waits without a word to the pool, another does the work; one that only attended would not.
    #[test]
    fn the_others_do_what_comes() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
        let (send, receive) = std::sync::mpsc::channel();
        pool.install(move || {
            on_a_worker(move || {
                rayon::spawn(move || send.send(rayon::current_thread_index()).expect("somebody waits"));
                let other = receive.recv().expect("somebody sends");
                assert_ne!(other, rayon::current_thread_index());
            })
        });
    }
}
