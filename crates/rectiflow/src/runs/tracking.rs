//! Trackers that a run's numbers are told to beside its own files: `train.track`. None of them ends or delays a training.

use crate::Error;
use serde_json::Value;
use std::path::Path;
use train::{
    Event, Observer, TrainError,
    log::{Mlflow, TrackConfig, Wandb, mlflow::Patience},
};

/// The trackers of a run.
pub(crate) struct Tracking<'a> {
    config: &'a TrackConfig,
    /// The address of MLflow's server.
    address: Option<String>,
    mlflow: Option<Mlflow>,
    wandb: Option<Wandb>,
    /// What went wrong and was not told yet.
    troubles: Vec<TrainError>,
}

impl<'a> Tracking<'a> {
    /// Those that `config` names, none spoken to yet.
    ///
    /// # Errors
    /// [`Error::Usage`] where a server is wanted and nothing says which.
    pub fn of(config: &'a TrackConfig) -> Result<Self, Error> {
        let environment = std::env::var("MLFLOW_TRACKING_URI").ok();
        let address = config.mlflow.as_ref().map(|mlflow| mlflow.address(environment.as_deref()));
        let address = address.transpose().map_err(Error::Usage)?;
        Ok(Self { config, address, mlflow: None, wandb: None, troubles: Vec::new() })
    }

    /// Begins to tell them of the run in `folder`, which goes on after `images` samples.
    pub fn open(&mut self, folder: &Path, recipe: &str, images: u64) {
        let settings: Value = toml::from_str(recipe).unwrap_or_default();
        if let (Some(mlflow), Some(address)) = (&self.config.mlflow, &self.address) {
            match Mlflow::open(mlflow, address, folder, &settings, images, Patience::default()) {
                Ok(mlflow) => self.mlflow = Some(mlflow),
                Err(error) => self.troubles.push(error),
            }
        }
        if let Some(wandb) = &self.config.wandb {
            match Wandb::create(wandb, folder, &settings) {
                Ok(wandb) => self.wandb = Some(wandb),
                Err(error) => self.troubles.push(error),
            }
        }
    }

    /// Tells them, and gives back what is to be said of it, each trouble once.
    pub fn tell(&mut self, event: &Event<'_>) -> impl Iterator<Item = TrainError> + use<> {
        if let Some(mlflow) = &mut self.mlflow {
            self.troubles.extend(mlflow.event(event).err());
        }
        // A file that could not be written once is left as it is.
        if let Some(error) = self.wandb.as_mut().and_then(|wandb| wandb.event(event).err()) {
            self.troubles.push(error);
            self.wandb = None;
        }
        std::mem::take(&mut self.troubles).into_iter()
    }
}
