//! From a checkpoint to the tensors of a network, refusing any other network by name and shape.

use super::frozen::{is_older, older_names, restore_frozen};
use super::{Checkpoint, CheckpointError};
use crate::params::{self, Info};
use base::{Device, Tensor};
use burn::module::Module;
use std::collections::BTreeMap;

/// Which weights of a checkpoint to use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Which {
    /// The average of the first decay, or the raw weights of a run without averages.
    #[default]
    Best,
    /// The weights the optimiser works on.
    Raw,
    /// The average with this decay.
    Ema(f64),
}

impl Which {
    /// What the names of these weights begin with in `checkpoint`.
    ///
    /// # Errors
    /// [`CheckpointError::Absent`] for an average that it does not hold.
    pub fn prefix(self, checkpoint: &Checkpoint) -> Result<String, CheckpointError> {
        let decays = &checkpoint.meta().ema;
        match self {
            Self::Raw => Ok("raw.".to_string()),
            Self::Best => Ok(decays.first().map(|d| ema_prefix(*d)).unwrap_or("raw.".to_string())),
            Self::Ema(decay) if decays.contains(&decay) => Ok(ema_prefix(decay)),
            Self::Ema(decay) => Err(CheckpointError::Absent {
                path: checkpoint.path().to_path_buf(),
                what: format!("average with decay {decay}"),
                available: if decays.is_empty() { "no averages".into() } else { format!("decays {decays:?}") },
            }),
        }
    }
}

pub(crate) fn ema_prefix(decay: f64) -> String {
    format!("ema.{decay}.")
}

/// The network with the weights `which` of `checkpoint`; names and shapes must agree exactly. It may be only declared so far.
///
/// # Errors
/// [`CheckpointError::OtherNetwork`] names what is missing, additional or of another shape, and quotes the recipe.
pub fn load_weights<M: Module>(module: M, checkpoint: &Checkpoint, which: Which) -> Result<M, CheckpointError> {
    let prefix = which.prefix(checkpoint)?;
    if nets::weights::is_declared(&module) {
        let shapes = nets::weights::named_shapes(&module).into_iter();
        check(checkpoint, &prefix, &shapes.map(|(name, shape)| Info::new(name, shape)).collect::<Vec<_>>())?;
        return nets::weights::fill(module, |name, shape| checkpoint.shaped(&format!("{prefix}{name}"), shape));
    }
    let (infos, frozen) = (params::infos(&module), params::frozen_infos(&module));
    let device = module.devices().first().cloned().unwrap_or_default().without_autodiff();
    if !frozen.is_empty() && is_older(checkpoint, &prefix) {
        let values = restore(checkpoint, &prefix, &older_names(&infos, &frozen), &device)?;
        let (values, under) = values.split_at(infos.len());
        return Ok(params::replace_frozen(params::replace(module, values), under));
    }
    let values = restore(checkpoint, &prefix, &infos, &device)?;
    let under = restore_frozen(checkpoint, &frozen, &device)?;
    let module = params::replace(module, &values);
    Ok(match under {
        Some(under) => params::replace_frozen(module, &under),
        None => module,
    })
}

/// Tensors `prefix + name` for every parameter, flattened, on `device`.
pub fn restore(
    checkpoint: &Checkpoint,
    prefix: &str,
    infos: &[Info],
    device: &Device,
) -> Result<Vec<Tensor<1>>, CheckpointError> {
    check(checkpoint, prefix, infos)?;
    infos
        .iter()
        .map(|info| Ok(Tensor::from_data(checkpoint.read(&format!("{prefix}{}", info.name))?, device)))
        .collect()
}

/// Refuses another network's checkpoint.
fn check(checkpoint: &Checkpoint, prefix: &str, infos: &[Info]) -> Result<(), CheckpointError> {
    let Some(differences) = differences(infos, &checkpoint.infos(prefix)) else { return Ok(()) };
    let recipe = checkpoint.meta().recipe.clone();
    Err(CheckpointError::OtherNetwork { path: checkpoint.path().to_path_buf(), differences, recipe })
}

/// What distinguishes the wanted parameters from those found, in words; `None` when they agree.
fn differences(wanted: &[Info], found: &[Info]) -> Option<String> {
    let index = |infos: &[Info]| -> BTreeMap<String, Vec<usize>> {
        infos.iter().map(|i| (i.name.clone(), i.shape.clone())).collect()
    };
    let (wanted, found) = (index(wanted), index(found));
    let missing: Vec<String> = wanted.keys().filter(|n| !found.contains_key(*n)).map(|n| format!("`{n}`")).collect();
    let extra: Vec<String> = found.keys().filter(|n| !wanted.contains_key(*n)).map(|n| format!("`{n}`")).collect();
    let misshapen: Vec<String> = wanted
        .iter()
        .filter_map(|(name, shape)| {
            let other = found.get(name)?;
            (other != shape).then(|| format!("`{name}` is {other:?}, this network needs {shape:?}"))
        })
        .collect();
    let say = |what: &str, mut list: Vec<String>| {
        let all = list.len();
        list.truncate(3);
        let more = if all > list.len() { format!(" and {} more", all - list.len()) } else { String::new() };
        (all > 0).then(|| format!("{what}{}{more}", list.join(", ")))
    };
    let said: Vec<String> = [say("it lacks ", missing), say("it has unknown ", extra), say("tensor ", misshapen)]
        .into_iter()
        .flatten()
        .collect();
    (!said.is_empty()).then(|| said.join("; "))
}
