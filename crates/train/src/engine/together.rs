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

/// What a step came to on all ranks.
pub(super) struct Summed {
    /// Sum of the losses, `[1]`.
    pub loss: Tensor<1>,
    /// Sums of the gradients; none where no rank has one.
    pub gradients: Vec<Option<Tensor<1>>>,
    /// Whether some rank wishes to stop.
    pub called: bool,
}

/// Loss and gradients of a rank become the sums over all. `sizes` are the numbers of each parameter: where a loss does not touch it on one
/// rank (prompts that were all dropped there) it may on another, so that ranks first say which they have.
pub(super) fn summed(
    ranks: &dyn Ranks,
    loss: Tensor<1>,
    gradients: Vec<Option<Tensor<1>>>,
    sizes: &[usize],
    wishes: bool,
    device: &Device,
) -> Result<Summed, TrainError> {
    let numbers = |tensor: &Tensor<1>| {
        let data = tensor.clone().into_data().try_to_vec::<f32>();
        data.map_err(|error| TrainError::Objective(format!("gradients are not f32: {error:?}")))
    };
    let flag = |yes: bool| f32::from(u8::from(yes));
    let mut said = vec![flag(wishes)];
    said.extend(numbers(&loss.without_autodiff())?);
    said.extend(gradients.iter().map(|gradient| flag(gradient.is_some())));
    ranks.sum(&mut said).map_err(lost)?;
    let touched = || said[2..].iter().map(|ranks| *ranks > 0.0);
    let mut values = Vec::new();
    for ((gradient, size), touched) in gradients.iter().zip(sizes).zip(touched()) {
        match gradient {
            Some(gradient) => values.extend(numbers(gradient)?),
            None if touched => values.resize(values.len() + size, 0.0),
            None => {}
        }
    }
    ranks.sum(&mut values).map_err(lost)?;
    let device = device.clone().without_autodiff();
    let mut rest = &values[..];
    let mut next = |count: usize| {
        let (part, after) = rest.split_at(count);
        rest = after;
        Tensor::<1>::from_data(TensorData::new(part.to_vec(), [count]), &device)
    };
    let gradients = sizes.iter().zip(touched()).map(|(size, touched)| touched.then(|| next(*size))).collect();
    let loss = Tensor::<1>::from_data(TensorData::new(vec![said[1]], [1]), &device);
    Ok(Summed { loss, gradients, called: said[0] > 0.0 })
}

/// The seconds that rank 0 measured: rates that follow the clock follow one.
pub(super) fn clock(ranks: &dyn Ranks, seconds: f64) -> Result<f64, TrainError> {
    let mut bytes = seconds.to_le_bytes().to_vec();
    ranks.share(&mut bytes).map_err(lost)?;
    Ok(bytes.try_into().map_or(seconds, f64::from_le_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ranks::{Meeting, Place};

    /// Mutants: what one rank lacks is left out (the other's numbers land in the wrong parameter, or the ranks part); what none has is
    /// called nothing but zeros.
    #[test]
    fn a_rank_may_lack_what_another_has() {
        let at = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let one = |rank: usize| {
            let device = Device::flex();
            let tensor = |values: &[f32]| Tensor::<1>::from_floats(values, &device);
            let met = Meeting::new(Place { rank, size: 2 }, &at).hold(|| false).unwrap();
            let own = match rank {
                0 => vec![Some(tensor(&[1.0, 2.0])), None, None, Some(tensor(&[5.0]))],
                _ => vec![None, Some(tensor(&[3.0, 4.0, 6.0])), None, Some(tensor(&[7.0]))],
            };
            let all = summed(&met, tensor(&[0.5]), own, &[2, 3, 1, 1], rank == 1, &device).unwrap();
            let read = |tensor: Tensor<1>| tensor.into_data().try_to_vec::<f32>().unwrap();
            (read(all.loss), all.gradients.into_iter().map(|g| g.map(read)).collect::<Vec<_>>(), all.called)
        };
        let wanted = (vec![1.0], vec![Some(vec![1.0, 2.0]), Some(vec![3.0, 4.0, 6.0]), None, Some(vec![12.0])], true);
        std::thread::scope(|scope| {
            let (one, ranks) = (&one, [0, 1]);
            let ranks = ranks.map(|rank| scope.spawn(move || one(rank)));
            ranks.into_iter().for_each(|rank| assert_eq!(rank.join().unwrap(), wanted));
        });
    }
}
