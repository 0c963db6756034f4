//! The one who draws. The networks share all processors already, so that two batches at once would only wait for each other.

use crate::{job::State, queue::Batch, server::Server};
use rectiflow::{Error, device, serving::Wanted};

/// Draws what comes until the queue is closed.
pub fn work(server: &Server) {
    let _end = End(server);
    while let Some(batch) = server.queue.take(|ask| server.shelf.at(ask.model).batch) {
        draw(server, &batch);
    }
}

/// Should drawing break, nobody waits for it for ever.
struct End<'a>(&'a Server);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn draw(server: &Server, batch: &Batch) {
    let (rows, ask) = (&batch.rows, batch.ask());
    let served = server.shelf.at(ask.model);
    let wanted: Vec<Wanted> = rows.iter().map(|(job, at)| job.ask.wanted[*at].clone()).collect();
    rows.iter().for_each(|(job, _)| job.stepped(0, ask.config.steps));
    let drawn = device::on_a_worker(|| {
        let mut watch = |step, steps| {
            rows.iter().for_each(|(job, _)| job.stepped(step, steps));
            match rows.iter().all(|(job, _)| job.is_over()) {
                true => Err(Error::Interrupted),
                false => Ok(()),
            }
        };
        let drawn = served.opened.draw(&ask.config, &wanted, Some(&mut watch))?;
        let pngs = served.opened.pngs(&served.name, &ask.config, &wanted, &drawn)?;
        Ok((pngs, drawn.seconds))
    });
    match drawn {
        Ok((pngs, seconds)) => {
            server.metrics.drew(&served.name, pngs.len(), seconds);
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
