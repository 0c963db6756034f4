//! A run's numbers on a server of MLflow, over its REST interface: `train.track.mlflow`.
//!
//! A server that is away, slow or unwilling is told of once and never holds a training up: a thread of its own speaks, holds what it cannot
//! deliver, tries again, and at the end waits ten seconds at most. Every number is in `stats.jsonl` anyway.

mod client;
mod sender;

pub use sender::Patience;

use super::{MlflowConfig, numbers::numbers};
use crate::{
    TrainError,
    event::{Event, Observer},
};
use client::{Client, Metric, now};
use sender::{Sender, Told, allowed, flattened};
use serde_json::Value;
use std::{
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, channel, sync_channel},
    },
    thread,
};

/// The file in a run's folder that remembers its run on the server.
pub const MEMORY: &str = "mlflow.json";

/// Moments that may wait for the thread.
const WAITING: usize = 10_000;

/// Tells a server of MLflow.
#[derive(Debug)]
pub struct Mlflow {
    address: String,
    told: SyncSender<Told>,
    over: Receiver<usize>,
    trouble: Arc<Mutex<Option<String>>>,
    spoken: bool,
    ended: bool,
    dropped: usize,
    patience: Patience,
}

impl Mlflow {
    /// Begins to tell the server at `address` of the run in `folder`, whose settings are `recipe`. After `images` samples the run that the folder
    /// remembers is continued.
    ///
    /// # Errors
    /// A thread that cannot be started.
    pub fn open(
        config: &MlflowConfig,
        address: &str,
        folder: &Path,
        recipe: &Value,
        images: u64,
        patience: Patience,
    ) -> Result<Self, TrainError> {
        let memory = folder.join(MEMORY);
        let remembered = std::fs::read(&memory).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let run = remembered
            .filter(|kept| images > 0 && kept["uri"] == address)
            .and_then(|kept| kept["run_id"].as_str().map(str::to_string));
        let name =
            std::path::absolute(folder).ok().and_then(|path| path.file_name().map(|n| n.to_string_lossy().into()));
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let sender = Sender {
            client: Client::new(address, patience.answer).with_keys(variable),
            address: address.into(),
            experiment: config.experiment.clone(),
            name: name.unwrap_or_else(|| "run".into()),
            run,
            params: flattened(recipe),
            memory,
            patience,
        };
        let trouble = Arc::new(Mutex::new(None));
        let (told, hears) = sync_channel(WAITING);
        let (says, over) = channel();
        let seen = trouble.clone();
        thread::Builder::new()
            .name("mlflow".into())
            .spawn(move || says.send(sender.speak(&hears, &seen)))
            .map_err(TrainError::io("start a thread for MLflow beside", folder))?;
        let address = address.into();
        Ok(Self { address, told, over, trouble, spoken: false, ended: false, dropped: 0, patience })
    }

    fn end(&mut self, status: &'static str) -> Result<(), TrainError> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        let lost = match self.told.try_send(Told::End(status)) {
            Ok(()) => self.over.recv_timeout(self.patience.farewell).ok(),
            Err(_) => None,
        };
        match lost.map(|lost| lost + self.dropped) {
            Some(0) => Ok(()),
            Some(lost) => {
                let why = self.trouble().filter(|_| !self.spoken).map(|why| format!(" ({why})")).unwrap_or_default();
                Err(self.said(&format!("{lost} numbers were not delivered{why}")))
            }
            None => Err(self.said("it does not answer, and the last numbers were not delivered")),
        }
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.lock().map_or(None, |mut trouble| trouble.take())
    }

    fn said(&self, what: &str) -> TrainError {
        TrainError::Tracker { name: "MLflow", place: self.address.clone(), what: what.into() }
    }
}

impl Observer for Mlflow {
    fn event(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>, TrainError> {
        if let Some((step, values)) = numbers(event) {
            let timestamp = now();
            let metric = |(key, value): (String, f64)| Metric { key: allowed(&key), value, timestamp, step };
            let finite = values.into_iter().filter(|(_, value)| value.is_finite()).map(metric).collect::<Vec<_>>();
            let many = finite.len();
            if self.told.try_send(Told::Numbers(finite)).is_err() {
                self.dropped += many;
            }
        }
        if let Event::Finished { stopped, .. } = event {
            self.end(if *stopped { "KILLED" } else { "FINISHED" })?;
        }
        match self.trouble() {
            Some(what) if !std::mem::replace(&mut self.spoken, true) => Err(self.said(&what)),
            _ => Ok(ControlFlow::Continue(())),
        }
    }
}

/// A run that ends with an error never says so itself.
impl Drop for Mlflow {
    fn drop(&mut self) {
        let _ = self.end("FAILED");
    }
}
