//! `rectiflow serve`: trained models answering over HTTP, to OpenAI's clients, to programs that watch jobs, and to a page.
//!
//! Connections read and check requests, each on its own thread ([`http`]). What is to be drawn waits in one bounded queue, from
//! which one worker takes batches that go together; every picture is the command line's of the same seed, to the bit.

mod a1111;
mod ask;
mod fields;
mod guard;
mod http;
mod job;
mod label;
mod metrics;
mod native;
mod openai;
mod openapi;
mod options;
mod page;
mod queue;
mod recent;
mod refusal;
mod routes;
mod runs;
mod server;
mod shelf;
mod state;
mod store;
mod worker;

pub use label::{LabelOptions, label};
pub use options::{Limits, Options};

use http::Listener;
use rectiflow::{Error, device::Chosen};
use server::Server;
use shelf::Shelf;
use state::Disk;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// So often the server looks whether it should stop.
const LOOK: Duration = Duration::from_millis(30);
/// At the end, answers have so long to be taken.
const LAST: Duration = Duration::from_secs(5);

/// Opens the models, tells `ready` where it listens, and serves until `stop` is set; then what was begun is finished and
/// answered, and what waits is turned away. `tell` gets lines for a log.
///
/// # Errors
/// Models that cannot be opened or are no models of pictures, limits that make no sense, an address that cannot be listened at.
pub fn serve(
    options: Options,
    device: &Chosen,
    stop: &AtomicBool,
    tell: impl Fn(&str) + Send + Sync + 'static,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), Error> {
    check(&options)?;
    if let Some(folder) = options.runs.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(Error::Usage(format!(
            "--runs {}: no such folder; give the one that runs lie in",
            folder.display()
        )));
    }
    let shelf = Shelf::open(&options.models, &options.limits, device, &tell)?;
    let refused = |error: std::io::Error| {
        let remedy = "give a free address of this machine as HOST:PORT, or port 0 for any";
        Error::Failure(format!("--listen {}: {error}; {remedy}", options.listen))
    };
    let listener = Listener::bind(options.listen.as_str(), options.limits.connections).map_err(refused)?;
    let tell = Arc::new(tell);
    let disk = match &options.state {
        None => None,
        Some(folder) => {
            let tell = tell.clone();
            Some(Arc::new(Disk::open(folder, options.limits.state_bytes, Box::new(move |line| tell(line)))?))
        }
    };
    let server = Server::new(options, shelf, disk, Box::new(move |line| tell(line)));
    ready(listener.address());
    if !listener.address().ip().is_loopback() && !server.guard.locked() {
        server.say("whoever reaches this address may draw; --api-key KEY asks for a key");
    }
    thread::scope(|scope| {
        let worker = scope.spawn(|| worker::work(&server, device));
        let listening = scope.spawn(|| listener.run(&server));
        while !stop.load(Ordering::Relaxed) && !worker.is_finished() {
            thread::sleep(LOOK);
        }
        server.close();
        let drew = worker.join();
        listener.close();
        let until = Instant::now() + LAST;
        while !listening.is_finished() && Instant::now() < until {
            thread::sleep(LOOK);
        }
        listener.cut();
        let answered = listening.join();
        match (drew, answered) {
            (Ok(()), Ok(())) => Ok(()),
            _ => Err(Error::Failure("a thread of the server broke; its message is above".into())),
        }
    })
}

/// Refuses limits under which nothing could be served.
fn check(options: &Options) -> Result<(), Error> {
    let Limits { queue, batch, images, steps, side, connections, .. } = options.limits;
    let all = [
        ("--queue", queue),
        ("--batch-size", batch.unwrap_or(1)),
        ("--max-images", images),
        ("--max-steps", steps),
        ("--max-side", side),
        ("--max-connections", connections),
        ("--max-upload", options.limits.upload),
        ("--patience", options.limits.patience.as_secs() as usize),
    ];
    if let Some((name, _)) = all.iter().find(|(_, value)| *value == 0) {
        return Err(Error::Usage(format!("{name} 0: use at least 1")));
    }
    if images > queue {
        return Err(Error::Usage(format!(
            "--max-images {images}: the queue holds {queue}, so that such a request could never wait; raise --queue"
        )));
    }
    if options.key.as_ref().is_some_and(|key| key.trim().is_empty()) {
        return Err(Error::Usage("--api-key: the key is empty; leave it out to ask for none".into()));
    }
    Ok(())
}
