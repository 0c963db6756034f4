//! What the ranks of a run do for each other: begin with the same state, move by the same gradient, stop together.
//!
//! Data parallel training: of the parts that a batch is computed in each rank takes its own, by counter, and the gradients are added in
//! the order of ranks. `n` ranks therefore do to the bit what one process does that computes the batch in `n` parts
//! (`train.accumulation = n`), one part a rank.

use crate::TrainConfig;
use crate::checkpoint::{self, Blob, Checkpoint, CheckpointError, Meta};
use crate::error::TrainError;
use base::{Device, Tensor, TensorData};
use ranks::{Lost, Ranks};
use std::io::Write;

/// Key of the state that rank 0 gives out: how all train.
const HOW: &str = "ranks.train";

/// A rank that cannot go on.
pub(super) fn lost(lost: Lost) -> TrainError {
    TrainError::Lost { lost, checkpoint: None }
}

fn how(config: &TrainConfig) -> String {
    let (version, config) = (env!("CARGO_PKG_VERSION"), serde_json::to_string(config).unwrap_or_default());
    format!("version {version}, {config}")
}

/// Rank 0 gives the others its state and what it trains.
pub(super) fn give(ranks: &dyn Ranks, meta: Meta, blobs: &[Blob], config: &TrainConfig) -> Result<(), TrainError> {
    let mut meta = meta;
    meta.extra.insert(HOW.into(), how(config));
    let mut bytes = Vec::new();
    checkpoint::encode(&meta, blobs, &mut bytes)
        .map_err(|error| TrainError::Config(format!("the state for the other ranks: {error}")))?;
    ranks.share(&mut bytes).map_err(lost)
}

/// Another rank takes it, and refuses to train in another way.
pub(super) fn take(ranks: &dyn Ranks, config: &TrainConfig) -> Result<Checkpoint, TrainError> {
    let mut bytes = Vec::new();
    ranks.share(&mut bytes).map_err(lost)?;
    let io = |error| CheckpointError::Io { action: "write", path: std::env::temp_dir(), error };
    let mut file = tempfile::NamedTempFile::new().map_err(io)?;
    file.write_all(&bytes).and_then(|()| file.flush()).map_err(io)?;
    let state = Checkpoint::open(file.path())?;
    let (theirs, own) = (state.meta().extra.get(HOW).cloned().unwrap_or_default(), how(config));
    if theirs != own {
        let (rank, at) = (ranks.rank(), theirs.bytes().zip(own.bytes()).take_while(|(a, b)| a == b).count());
        let near = |text: &str| text.chars().skip(at.saturating_sub(30)).take(60).collect::<String>();
        return Err(TrainError::Config(format!(
            "rank {rank} would train in another way than rank 0: `{}` and not `{}`; give all ranks the same recipe",
            near(&own),
            near(&theirs)
        )));
    }
    Ok(state)
}

/// Loss and gradients of a rank become the sums over all. Also says whether some rank wishes to stop.
#[allow(clippy::type_complexity)] // one caller, which takes it apart at once
pub(super) fn summed(
    ranks: &dyn Ranks,
    loss: Tensor<1>,
    gradients: Vec<Option<Tensor<1>>>,
    wishes: bool,
    device: &Device,
) -> Result<(Tensor<1>, Vec<Option<Tensor<1>>>, bool), TrainError> {
    let numbers = |tensor: &Tensor<1>| {
        let data = tensor.clone().into_data().try_to_vec::<f32>();
        data.map_err(|error| TrainError::Objective(format!("gradients are not f32: {error:?}")))
    };
    let mut values = vec![f32::from(u8::from(wishes))];
    values.extend(numbers(&loss.without_autodiff())?);
    for gradient in gradients.iter().flatten() {
        values.extend(numbers(gradient)?);
    }
    ranks.sum(&mut values).map_err(lost)?;
    let device = device.clone().without_autodiff();
    let mut rest = &values[1..];
    let mut next = |count: usize| {
        let (part, after) = rest.split_at(count);
        rest = after;
        Tensor::<1>::from_data(TensorData::new(part.to_vec(), [count]), &device)
    };
    let loss = next(1);
    let gradients = gradients.into_iter().map(|g| g.map(|g| next(g.dims()[0]))).collect();
    Ok((loss, gradients, values[0] > 0.0))
}

/// The seconds that rank 0 measured: rates that follow the clock follow one.
pub(super) fn clock(ranks: &dyn Ranks, seconds: f64) -> Result<f64, TrainError> {
    let mut bytes = seconds.to_le_bytes().to_vec();
    ranks.share(&mut bytes).map_err(lost)?;
    Ok(bytes.try_into().map_or(seconds, f64::from_le_bytes))
}
