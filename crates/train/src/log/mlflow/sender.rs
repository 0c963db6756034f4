//! The thread that speaks with the server, so that training never waits for it: what cannot be delivered now is held and tried again.

use super::client::{Client, Metric, Refused};
use crate::run_dir::replace_file;
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Mutex,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

/// What the training thread tells.
pub enum Told {
    /// Numbers of one moment.
    Numbers(Vec<Metric>),
    /// The run is over, with this status.
    End(&'static str),
}

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For one answer.
    pub answer: Duration,
    /// Before an absent server is tried again.
    pub again: Duration,
    /// For numbers to come together into one call.
    pub gather: Duration,
    /// At the end of a training, in all.
    pub farewell: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { answer: seconds(5), again: seconds(30), gather: seconds(1), farewell: seconds(10) }
    }
}

/// Numbers held for an absent server; older ones go first, and are in `stats.jsonl`.
pub const HELD: usize = 100_000;
/// Numbers in one call, MLflow's own limit.
const BATCH: usize = 1000;
/// Settings in one call, MLflow's own limit.
const PARAMS: usize = 100;

/// What is to be known of a run to speak of it.
pub struct Sender {
    /// The server.
    pub client: Client,
    /// Where it is, for the file that remembers the run.
    pub address: String,
    /// The experiment's name.
    pub experiment: String,
    /// The run's name.
    pub name: String,
    /// The run to continue.
    pub run: Option<String>,
    /// Settings.
    pub params: Vec<(String, String)>,
    /// Where the run's number is kept.
    pub memory: PathBuf,
    /// How long is waited.
    pub patience: Patience,
}

/// Where the run on the server stands.
#[derive(Default)]
struct Standing {
    run: Option<String>,
    /// Settings that the new run still lacks.
    params: usize,
    held: VecDeque<Metric>,
    lost: usize,
}

impl Sender {
    /// Speaks until it is told the end. The first trouble is left in `trouble` for the training thread to tell; what comes back is how many
    /// numbers did not arrive.
    pub fn speak(self, told: &Receiver<Told>, trouble: &Mutex<Option<String>>) -> usize {
        let mut standing = Standing::default();
        let mut next = Instant::now();
        loop {
            let mut ending = None;
            let first = match told.recv_timeout(self.patience.gather) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Told::End("FAILED")),
            };
            for told in first.into_iter().chain(told.try_iter()) {
                match told {
                    Told::Numbers(numbers) => standing.held.extend(numbers),
                    Told::End(status) => ending = Some(status),
                }
            }
            let over = standing.held.len().saturating_sub(HELD);
            standing.held.drain(..over);
            standing.lost += over;
            if ending.is_some() || Instant::now() >= next {
                if let Err(refused) = self.deliver(&mut standing, ending) {
                    trouble.lock().unwrap_or_else(|poison| poison.into_inner()).get_or_insert(refused.to_string());
                    next = Instant::now() + self.patience.again;
                } else {
                    next = Instant::now() + self.patience.gather;
                }
            }
            if ending.is_some() {
                return standing.lost + standing.held.len();
            }
        }
    }

    /// Brings what is held to the server, and the end where it has come.
    fn deliver(&self, standing: &mut Standing, ending: Option<&str>) -> Result<(), Refused> {
        let run = match &standing.run {
            Some(run) => run.clone(),
            None => {
                let (run, params) = self.begin()?;
                standing.params = params;
                standing.run.insert(run).clone()
            }
        };
        while standing.params > 0 {
            let from = self.params.len() - standing.params;
            let part = &self.params[from..self.params.len().min(from + PARAMS)];
            // Settings that it does not want are no trouble: the recipe lies in the folder.
            if let Err(away @ Refused::Away(_)) = self.client.log_batch(&run, &[], part) {
                return Err(away);
            }
            standing.params -= part.len();
        }
        let mut refusal = None;
        while !standing.held.is_empty() {
            let batch: Vec<Metric> = standing.held.iter().take(BATCH).cloned().collect();
            match self.client.log_batch(&run, &batch, &[]) {
                // What it does not want today it will not want tomorrow.
                Err(refused @ Refused::No { .. }) => {
                    standing.lost += batch.len();
                    refusal.get_or_insert(refused);
                }
                delivered => delivered?,
            }
            standing.held.drain(..batch.len());
        }
        if let Some(status) = ending {
            self.client.update_run(&run, status)?;
        }
        refusal.map_or(Ok(()), Err)
    }

    /// The run on the server, and how many settings it lacks: the one that is continued, where it is still there, or a new one.
    fn begin(&self) -> Result<(String, usize), Refused> {
        if let Some(run) = &self.run {
            match self.client.update_run(run, "RUNNING") {
                Ok(()) => return Ok((run.clone(), 0)),
                Err(Refused::No { code, .. }) if code == "RESOURCE_DOES_NOT_EXIST" => {}
                Err(refused) => return Err(refused),
            }
        }
        let experiment = self.client.experiment(&self.experiment)?;
        let run = self.client.create_run(&experiment, &self.name)?;
        let kept = json!({"uri": self.address, "experiment_id": experiment, "run_id": run});
        // Only a later resume looks here; without it, that begins a run of its own.
        let _ = replace_file(&self.memory, format!("{kept}\n").as_bytes());
        Ok((run, self.params.len()))
    }
}

/// The leaves of `value` as `a.b.c` and text, in MLflow's alphabet and length.
pub fn flattened(value: &Value) -> Vec<(String, String)> {
    fn walk(value: &Value, at: &str, found: &mut Vec<(String, String)>) {
        match value {
            Value::Object(table) => {
                for (key, value) in table {
                    let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                    walk(value, &at, found);
                }
            }
            leaf => {
                let text = leaf.as_str().map_or_else(|| leaf.to_string(), str::to_string);
                found.push((allowed(at), text.chars().take(500).collect()));
            }
        }
    }
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found
}

/// `name` in the letters that MLflow allows.
pub fn allowed(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | '/');
    name.chars().map(|c| if fits(c) { c } else { '_' }).take(250).collect()
}
