//! The one who draws. The networks share all processors already, so that two batches at once would only wait for each other.

use crate::{ask::How, job::State, queue::Batch, server::Server, shelf::Kind};
use rectiflow::{
    Context, Error, Event,
    device::{self, Chosen},
    released,
    serving::Wanted,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

/// Draws on `device` what comes until the queue is closed.
pub fn work(server: &Server, device: &Chosen) {
    let _end = End(server);
    while let Some(batch) = server.queue.take(|ask| server.shelf.at(ask.model).batch(ask.wanted.len())) {
        answer(server, &batch, device);
    }
}

/// Should drawing break, nobody waits for it for ever.
struct End<'a>(&'a Server);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn answer(server: &Server, batch: &Batch, device: &Chosen) {
    let (rows, ask, began) = (&batch.rows, batch.ask(), Instant::now());
    let name = &server.shelf.at(ask.model).name;
    rows.iter().for_each(|(job, _)| job.stepped(0, ask.steps()));
    match device::on_a_worker(|| draw(server, batch, device)) {
        Ok(pngs) => {
            server.metrics.drew(name, pngs.len(), began.elapsed().as_secs_f64());
            for ((job, at), png) in rows.iter().zip(pngs) {
                job.drawn(*at, png);
            }
        }
        Err(Error::Interrupted) => {} // nobody is left
        Err(error) => {
            let refusal = server.failure(ask.model, &error);
            for (job, _) in rows.iter().filter(|(job, _)| !job.is_over()) {
                server.queue.remove(job);
                job.end(State::Failed(refusal.clone()));
                server.metrics.lost(false);
            }
        }
    }
}

/// The pictures of a batch; [`Error::Interrupted`] once nobody wants them.
fn draw(server: &Server, batch: &Batch, device: &Chosen) -> Result<Vec<Vec<u8>>, Error> {
    let rows = &batch.rows;
    let served = server.shelf.at(batch.ask().model);
    let unwanted = || rows.iter().all(|(job, _)| job.is_over());
    match (&batch.ask().how, &served.kind) {
        (How::Run(config), Kind::Run(run)) => {
            let wanted: Vec<Wanted> = rows.iter().map(|(job, at)| job.ask.wanted[*at].clone()).collect();
            let mut watch = |step, steps| {
                rows.iter().for_each(|(job, _)| job.stepped(step, steps));
                if unwanted() { Err(Error::Interrupted) } else { Ok(()) }
            };
            let drawn = run.opened.draw(config, &wanted, Some(&mut watch))?;
            run.opened.pngs(&served.name, config, &wanted, &drawn)
        }
        (How::Released(order), _) => {
            let (request, prepared) = &**order;
            let stop = Arc::new(AtomicBool::new(false));
            let told = |event: Event<'_>| match event {
                Event::Advance { done } => {
                    let all = prepared.steps() * rows.len();
                    rows.iter().for_each(|(job, _)| job.stepped(done as usize, all));
                    stop.store(unwanted(), Ordering::Relaxed);
                }
                Event::Note(line) => server.say(&format!("{}: {line}", served.name)),
                _ => {}
            };
            let drawn = released::draw(request, prepared, &mut Context::new(device.clone(), stop.clone(), told))?;
            (0..rows.len()).map(|i| released::png(request, prepared, &drawn, i, &served.name)).collect()
        }
        // A model does not change its kind.
        (How::Run(_), Kind::Released { .. }) => Err(Error::Failure(format!("{} is no run", served.name))),
    }
}
