//! Everything a run carries from one step to the next: weights, moments, averages and the cursor.

use crate::checkpoint::{Blob, Checkpoint, CheckpointError, Meta, restore};
use crate::ema::Ema;
use crate::optim::{MatrixRule, Moments, OptimConfig};
use crate::params::{self, Info};
use crate::{TrainConfig, checkpoint};
use base::{Device, Tensor};
use burn::module::Module;

/// The state of a run.
#[derive(Debug)]
pub struct State<M> {
    /// The network, on an autodiff device.
    pub network: M,
    /// Optimiser moments.
    pub moments: Moments,
    /// Averages of the weights.
    pub ema: Ema,
    /// Samples seen.
    pub images: u64,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Seconds of training steps, over all processes of the run.
    pub seconds: f64,
    infos: Vec<Info>,
}

impl<M: Module> State<M> {
    /// The state before the first step.
    pub fn new(network: M, config: &TrainConfig) -> Self {
        let network = network.train();
        let infos = params::infos(&network);
        let weights = params::values(&network);
        let moments = Moments::new(&config.optim, &infos, &weights);
        let ema = Ema::new(&config.ema, &weights);
        Self { network, moments, ema, images: 0, steps: 0, seconds: 0.0, infos }
    }

    /// The state a checkpoint holds. `network` supplies names and shapes.
    ///
    /// # Errors
    /// When the tensors are those of another network, or the averages are not those of `config`.
    pub fn resume(network: M, config: &TrainConfig, from: &Checkpoint) -> Result<Self, CheckpointError> {
        let network = network.train();
        let infos = params::infos(&network);
        let device = device_of(&network).without_autodiff();
        let frozen = params::frozen_infos(&network);
        if !frozen.is_empty() && checkpoint::is_older(from, "raw.") {
            return Err(CheckpointError::Older { path: from.path().to_path_buf() });
        }
        let under = checkpoint::restore_frozen(from, &frozen, &device)?;
        let found = from.meta().ema.clone();
        if found != config.ema.decays {
            return Err(CheckpointError::OtherTraining {
                path: from.path().to_path_buf(),
                what: "ema.decays",
                found: format!("{found:?}"),
                expected: format!("{:?}", config.ema.decays),
            });
        }
        let raw = restore(from, "raw.", &infos, &device)?;
        let m = restore(from, "adam.m.", &infos, &device)?;
        let v = second_moments(from, config, &infos, &device)?;
        let averages = found.iter().map(|d| restore(from, &checkpoint::ema_prefix(*d), &infos, &device));
        let ema = Ema::restore(&config.ema, averages.collect::<Result<_, _>>()?);
        let (all, known) = (from.infos("").len(), infos.len() * (2 + found.len()) + v.iter().flatten().count());
        if all != known {
            return Err(CheckpointError::OtherNetwork {
                path: from.path().to_path_buf(),
                differences: format!("it holds {all} tensors where this run has {known}"),
                recipe: from.meta().recipe.clone(),
            });
        }
        let meta = from.meta();
        let network = params::replace(network, &raw);
        Ok(Self {
            network: match under {
                Some(under) => params::replace_frozen(network, &under),
                None => network,
            },
            moments: Moments::restore(&config.optim, &infos, m, v),
            ema,
            images: meta.images,
            steps: meta.steps,
            seconds: meta.seconds.unwrap_or(0.0),
            infos,
        })
    }

    /// A turn of the next optimiser step: the parameters that are its `own`, with `gradients` multiplied by `scale`. The step is
    /// counted by whoever takes its last turn.
    pub fn turn(
        mut self,
        config: &TrainConfig,
        own: &[bool],
        mut gradients: Vec<Option<Tensor<1>>>,
        lr: f64,
        scale: f64,
    ) -> Self {
        let (moments, ema, step) = (&mut self.moments, &mut self.ema, self.steps + 1);
        self.network = params::update(self.network, |index, weight| {
            if !own[index] {
                return weight;
            }
            let weight = match gradients[index].take() {
                Some(gradient) => moments.step(&config.optim, index, weight, gradient, step, lr, scale),
                None => weight,
            };
            ema.update(step, index, &weight);
            weight
        });
        self
    }

    /// One optimiser step of all parameters at once, with `gradients` multiplied by `scale`.
    pub fn step(self, config: &TrainConfig, gradients: Vec<Option<Tensor<1>>>, lr: f64, scale: f64) -> Self {
        let own = vec![true; gradients.len()];
        let mut state = self.turn(config, &own, gradients, lr, scale);
        state.steps += 1;
        state
    }

    /// The network that samples and validation use: the first average, or the raw weights without one; without
    /// automatic differentiation.
    pub fn sampler(&self) -> M {
        let network = self.network.valid();
        match self.ema.primary() {
            Some(average) => params::replace(network, average),
            None => network,
        }
    }

    /// Names and shapes of the parameters that learn.
    pub fn infos(&self) -> &[Info] {
        &self.infos
    }

    /// Number of scalar parameters that learn.
    pub fn parameters(&self) -> u64 {
        self.infos.iter().map(|i| i.len() as u64).sum()
    }

    /// Numbers of each parameter that learns, in declaration order.
    pub fn sizes(&self) -> Vec<usize> {
        self.infos.iter().map(Info::len).collect()
    }

    /// All tensors of a checkpoint.
    pub fn blobs(&self) -> Vec<Blob> {
        let blob = |prefix: &str, info: &Info, value: &Tensor<1>| {
            let info = Info { name: format!("{prefix}{}", info.name), ..info.clone() };
            Blob { info, data: value.clone().into_data() }
        };
        let group = |prefix: &str, values: &[Tensor<1>]| -> Vec<Blob> {
            self.infos.iter().zip(values).map(|(info, value)| blob(prefix, info, value)).collect()
        };
        let mut blobs = group("raw.", &params::values(&self.network));
        blobs.extend(group("adam.m.", &self.moments.m));
        let second = self.infos.iter().zip(&self.moments.v);
        blobs.extend(second.filter_map(|(info, v)| Some(blob("adam.v.", info, v.as_ref()?))));
        for (decay, average) in self.ema.averages() {
            blobs.extend(group(&checkpoint::ema_prefix(decay), average));
        }
        blobs
    }

    /// The metadata's cursor, on top of what identifies the run.
    pub fn meta(&self, identity: &Meta, config: &TrainConfig) -> Meta {
        Meta {
            images: self.images,
            steps: self.steps,
            seconds: (config.seconds > 0.0).then_some(self.seconds),
            ema: config.ema.decays.clone(),
            ..identity.clone()
        }
    }
}

/// The second moments of what AdamW moves. A run whose matrices another rule moves has others.
fn second_moments(
    from: &Checkpoint,
    config: &TrainConfig,
    infos: &[Info],
    device: &Device,
) -> Result<Vec<Option<Tensor<1>>>, CheckpointError> {
    let kept = Moments::second(&config.optim, infos);
    let of = |matrices: MatrixRule| Moments::second(&OptimConfig { matrices, ..config.optim.clone() }, infos);
    let count = |kept: &[bool]| kept.iter().filter(|kept| **kept).count();
    let found = from.infos("adam.v.").len();
    let other = [MatrixRule::Adamw {}, MatrixRule::muon()].into_iter().find(|rule| count(&of(*rule)) == found);
    if let Some(other) = other.filter(|_| found != count(&kept)) {
        return Err(CheckpointError::OtherTraining {
            path: from.path().to_path_buf(),
            what: "optim.matrices.type",
            found: other.name().into(),
            expected: config.optim.matrices.name().into(),
        });
    }
    let wanted: Vec<Info> = infos.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(info, _)| info.clone()).collect();
    let mut read = restore(from, "adam.v.", &wanted, device)?.into_iter();
    Ok(kept.into_iter().map(|kept| kept.then(|| read.next()).flatten()).collect())
}

/// The device a network lives on.
pub(crate) fn device_of<M: Module>(network: &M) -> Device {
    network.devices().into_iter().next().unwrap_or_default()
}
