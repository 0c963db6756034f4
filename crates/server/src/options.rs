//! What is served, where, to whom, and how much of it at once.

use std::{path::PathBuf, time::Duration};

/// All that `rectiflow serve` is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Runs or checkpoint files, as `PATH` or `NAME=PATH`.
    pub models: Vec<String>,
    /// Where to listen, `127.0.0.1:7860`; port 0 takes a free one.
    pub listen: String,
    /// What clients must send as a bearer token.
    pub key: Option<String>,
    /// Names by which clients may call this server besides `localhost` and addresses.
    pub hosts: Vec<String>,
    /// A folder of runs that may be looked at.
    pub runs: Option<PathBuf>,
    /// A folder in which jobs outlive the server.
    pub state: Option<PathBuf>,
    /// How much at once.
    pub limits: Limits,
}

/// How much is taken at once.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Pictures that may wait to be drawn.
    pub queue: usize,
    /// Pictures drawn together; a model's recipe says how many without.
    pub batch: Option<usize>,
    /// Pictures of one request.
    pub images: usize,
    /// Steps of the solver.
    pub steps: usize,
    /// Pixels to a side of a picture.
    pub side: usize,
    /// Characters of a prompt.
    pub prompt: usize,
    /// Bytes of a request's body.
    pub body: usize,
    /// Bytes of a request with files.
    pub upload: usize,
    /// Bytes of all bodies that are held at a time.
    pub uploads: usize,
    /// Connections open at a time.
    pub connections: usize,
    /// Bytes of weights that are open at a time; all without.
    pub weights: Option<u64>,
    /// How long a request without a job may take.
    pub patience: Duration,
    /// Finished jobs that are kept.
    pub kept: usize,
    /// Bytes of their pictures that are kept.
    pub kept_bytes: usize,
    /// Bytes of those that lie in the folder of `state`.
    pub state_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue: 64,
            batch: None,
            images: 16,
            steps: 1000,
            side: 2048,
            prompt: 4000,
            body: 64 << 10,
            upload: 8 << 20,
            uploads: 64 << 20,
            connections: 256,
            weights: None,
            patience: Duration::from_secs(600),
            kept: 256,
            kept_bytes: 128 << 20,
            state_bytes: 256 << 20,
        }
    }
}
