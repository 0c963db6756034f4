//! The one who draws. The networks share all processors already, so that two batches at once would only wait for each other.

use crate::{
    ask::How,
    job::{Job, State},
    queue::Batch,
    recent::Recent,
    refusal::Refusal,
    server::Server,
    shelf::{Kind, Run},
};
use rectiflow::{
    Context, Error, Event,
    device::{self, Chosen},
    released,
    serving::{File, Medium, Opened, Peek, Wanted},
};
use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// So long at least between two looks at pictures on their way.
const SHOWN: Duration = Duration::from_millis(250);

/// Draws on `device` what comes until the queue is closed.
pub fn work(server: &Server, device: &Chosen) {
    let _end = End(server);
    let mut recent = Recent::new(server.options.limits.weights.unwrap_or(u64::MAX));
    while let Some(batch) = server.queue.take(|ask| ask.batch(&server.shelf)) {
        answer(server, &batch, device, &mut recent);
        let (open, opened) = recent.counts();
        server.metrics.holds(open, opened);
    }
}

/// Should drawing break, nobody waits for it for ever.
struct End<'a>(&'a Server);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

fn answer(server: &Server, batch: &Batch, device: &Chosen, recent: &mut Recent<Opened>) {
    let (rows, ask, began) = (&batch.rows, batch.ask(), Instant::now());
    let name = &server.shelf.at(ask.model).name;
    let _left = Left { server, batch };
    told(&batch.jobs(), 0, ask.steps());
    match caught(|| device::on_a_worker(|| draw(server, batch, device, recent))) {
        Ok(files) => {
            server.metrics.drew(name, files.len(), began.elapsed().as_secs_f64());
            for ((job, at), file) in rows.iter().zip(files) {
                match file {
                    Ok(file) => job.drawn(*at, file),
                    Err(error) => lose(server, job, &server.failure(ask.model, &error)),
                }
            }
        }
        Err(Error::Interrupted) => {} // nobody is left
        Err(error) => fail(server, batch, &server.failure(ask.model, &error)),
    }
}

/// What `work` gives. Should it break, that is a failure of this batch and not the end of the server; the message is on the terminal.
fn caught<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let broken = |_| Err(Error::Failure("drawing broke: this is a mistake of the program".into()));
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(broken)
}

/// All jobs of a batch that have not ended end with `refusal`.
fn fail(server: &Server, batch: &Batch, refusal: &Refusal) {
    batch.jobs().iter().for_each(|(job, _)| lose(server, job, refusal));
}

/// A job that has not ended ends with `refusal`.
fn lose(server: &Server, job: &Arc<Job>, refusal: &Refusal) {
    if !job.is_over() {
        server.queue.remove(job);
        job.end(State::Failed(refusal.clone()));
        server.metrics.lost(false);
    }
}

/// However a batch ends, no job of it waits for a picture that nobody draws.
struct Left<'a> {
    server: &'a Server,
    batch: &'a Batch,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        let missing = |(job, at): &(Arc<Job>, usize)| !job.is_over() && job.progress().files[*at].is_none();
        if self.batch.rows.iter().any(missing) {
            fail(self.server, self.batch, &Refusal::new(500, "not_drawn", "this could not be drawn"));
        }
    }
}

/// Tells the jobs of a batch how far their pictures are.
fn told(jobs: &[(Arc<Job>, usize)], step: usize, steps: usize) {
    jobs.iter().for_each(|(job, drawing)| job.stepped(*drawing, step, steps));
}

/// The files of a batch; [`Error::Interrupted`] once nobody wants them.
fn draw(
    server: &Server,
    batch: &Batch,
    device: &Chosen,
    recent: &mut Recent<Opened>,
) -> Result<Vec<Result<File, Error>>, Error> {
    let (rows, jobs) = (&batch.rows, batch.jobs());
    let served = server.shelf.at(batch.ask().model);
    let unwanted = || jobs.iter().all(|(job, _)| job.is_over());
    match (&batch.ask().how, &served.kind) {
        (How::Run(config), Kind::Run(run)) => {
            let wanted: Vec<Wanted> = rows.iter().map(|(job, at)| job.ask.wanted[*at].clone()).collect();
            let opened = &*weights(run, server, batch.ask().model, device, recent)?;
            let mut shown = Instant::now();
            let mut watch = |step, steps, peek: Peek<'_>| {
                told(&jobs, step, steps);
                let asks = |(job, _): &(Arc<Job>, usize)| job.ask.previews && !job.is_over();
                if step < steps
                    && shown.elapsed() > SHOWN
                    && rows.iter().any(asks)
                    && let Some(seen) = peek()?
                {
                    let pictures = opened.previews(seen)?;
                    for (row, picture) in rows.iter().zip(pictures).filter(|(row, _)| asks(row)) {
                        row.0.shows(row.1, picture);
                    }
                    shown = Instant::now();
                }
                if unwanted() { Err(Error::Interrupted) } else { Ok(()) }
            };
            let drawn = opened.draw(config, &wanted, Some(&mut watch))?;
            opened.files(&served.name, config, &wanted, &drawn, batch.ask().depth)
        }
        (How::Work(work), Kind::Run(run)) => {
            let mut watch = |done, total| {
                told(&jobs, done, total);
                if unwanted() { Err(Error::Interrupted) } else { Ok(()) }
            };
            if unwanted() {
                return Err(Error::Interrupted); // and what was sent is forgotten
            }
            let opened = weights(run, server, batch.ask().model, device, recent)?;
            let files = opened.work(work, &served.name, &mut watch)?;
            Ok(files.into_iter().map(Ok).collect())
        }
        (How::Released(order), _) => {
            let (request, prepared) = &**order;
            if unwanted() {
                return Err(Error::Interrupted); // and what was sent is let go of
            }
            let stop = Arc::new(AtomicBool::new(false));
            // What is decoded afterwards is counted anew, and nobody is told less than before.
            let mut most = 0;
            let heard = |event: Event<'_>| match event {
                Event::Advance { done } => {
                    most = most.max((done as usize).min(prepared.steps() * rows.len()));
                    told(&jobs, most, prepared.steps() * rows.len());
                    stop.store(unwanted(), Ordering::Relaxed);
                }
                Event::Note(line) => server.say(&format!("{}: {line}", served.name)),
                // What it quotes is a client's.
                Event::Quote(_) => {
                    server.say(&format!("{}: a prompt was too long and its end was not read", served.name))
                }
                _ => {}
            };
            let drawn = released::draw(request, prepared, &mut Context::new(device.clone(), stop.clone(), heard))?;
            let file = |i| {
                let bytes = released::png(request, prepared, &drawn, i, &served.name)?;
                Ok(File { medium: Medium::Png, bytes })
            };
            Ok((0..rows.len()).map(file).collect())
        }
        // A model does not change its kind.
        (How::Run(_) | How::Work(_), Kind::Released { .. }) => {
            Err(Error::Failure(format!("{} is no run", served.name)))
        }
    }
}

/// The model with its weights.
fn weights(
    run: &Run,
    server: &Server,
    at: usize,
    device: &Chosen,
    recent: &mut Recent<Opened>,
) -> Result<Arc<Opened>, Error> {
    match server.options.limits.weights {
        None => Ok(run.opened.clone()),
        // The file itself: a run may have newer ones by now.
        Some(_) => recent.get(at, run.opened.weight(), || Opened::open(&run.opened.model.file, device)),
    }
}

#[cfg(test)]
mod tests {
    use super::caught;
    use rectiflow::Error;

    /// Mutant: without the catch the panic ends the thread that draws, and the server with it.
    #[test]
    fn what_breaks_is_a_failure() {
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let broken = caught(|| -> Result<(), Error> { panic!("a mistake") });
        std::panic::set_hook(quiet);
        assert!(broken.is_err_and(|error| error.to_string().contains("broke")));
        assert_eq!(caught(|| Ok(3)).unwrap(), 3);
    }
}
