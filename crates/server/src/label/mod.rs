//! `rectiflow label`: two samples side by side on a page of this machine, and what somebody says of them, each answer on the disk before
//! the next pair is shown.

mod book;
mod choose;
mod desk;

use crate::{
    http::Listener,
    {LAST, LOOK},
};
use book::Book;
use desk::Desk;
use rectiflow::{Error, align::found::find};
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

/// What is labelled, on which axes, and where the answers go.
#[derive(Clone, Debug)]
pub struct LabelOptions {
    /// The folder of samples.
    pub folder: PathBuf,
    /// The pair file, `.jsonl`; one that is there is gone on with.
    pub output: PathBuf,
    /// What is asked of each pair.
    pub axes: Vec<String>,
    /// Pairs at most.
    pub pairs: usize,
    /// Seed of which pairs.
    pub seed: u64,
    /// Whether the innermost folders are clips, whose pictures are their frames.
    pub folders_are_clips: bool,
    /// Where to listen; port 0 takes a free one.
    pub listen: String,
    /// Names by which browsers may call this server besides `localhost` and addresses.
    pub hosts: Vec<String>,
}

/// Connections open at a time: those of a few browsers.
const CONNECTIONS: usize = 32;

/// Finds samples, tells `ready` where it listens, and asks until `stop` is set. `tell` gets lines for a log.
///
/// # Errors
/// A folder without two samples of one prompt, a pair file of other axes or that somebody else is writing, an address that cannot be
/// listened at.
pub fn label(
    options: &LabelOptions,
    stop: &AtomicBool,
    tell: impl Fn(&str) + Send + Sync + 'static,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), Error> {
    check(options)?;
    let (samples, left_out) = find(&options.folder, &options.output, options.folders_are_clips)?;
    left_out.iter().for_each(|line| tell(line));
    let pairs = choose::pairs(&samples, options.pairs, options.seed);
    if pairs.is_empty() {
        return Err(Error::Usage(format!(
            "{}: {} samples, and no two of one prompt: give a folder of pictures, sounds or clips, those of one prompt in a folder of \
             their own or with their prompt in a .txt beside each",
            options.folder.display(),
            samples.len()
        )));
    }
    let refused = |error: std::io::Error| {
        let remedy = "give a free address of this machine as HOST:PORT, or port 0 for any";
        Error::Failure(format!("--listen {}: {error}; {remedy}", options.listen))
    };
    match choose::alone(&samples) {
        0 => {}
        alone => tell(&format!("not shown: {alone} samples that are alone in their prompt")),
    }
    let listener = Listener::bind(options.listen.as_str(), CONNECTIONS).map_err(refused)?;
    let book = Book::open(&options.output, &options.axes, &tell)?;
    let desk = Desk::new(options, samples, pairs, book, Box::new(tell));
    desk.greet();
    ready(listener.address());
    if !listener.address().ip().is_loopback() {
        desk.say("whoever reaches this address sees the samples and may answer; listen at 127.0.0.1 to be alone");
    }
    thread::scope(|scope| {
        let listening = scope.spawn(|| listener.run(&desk));
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(LOOK);
        }
        listener.close();
        let until = Instant::now() + LAST;
        while !listening.is_finished() && Instant::now() < until {
            thread::sleep(LOOK);
        }
        listener.cut();
        listening.join().map_err(|_| Error::Failure("a thread of the server broke; its message is above".into()))
    })
}

fn check(options: &LabelOptions) -> Result<(), Error> {
    let LabelOptions { axes, output, .. } = options;
    let refuse = |why: String| Err(Error::Usage(why));
    for (at, axis) in axes.iter().enumerate() {
        let plain = !axis.is_empty() && axis.chars().all(|c| c.is_alphanumeric() || "_- ".contains(c));
        let taken = ["path_A", "path_B", "prompt"].contains(&axis.as_str()) || axes[..at].contains(axis);
        if !plain || taken {
            return refuse(format!("--axes {axis}: an axis is a word of its own, such as VQ"));
        }
    }
    if axes.is_empty() || options.pairs == 0 {
        return refuse("--axes and --num: ask for at least one axis of one pair".into());
    }
    rectiflow::output::file(output, &["jsonl"])
}
