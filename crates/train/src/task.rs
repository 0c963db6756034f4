//! What a training step minimises, seen from the engine.

use crate::TrainError;
use crate::source::Batch;
use base::{Device, Network, Tensor, Times};

/// A loss over batches: the only thing that differs between base training, reflow and distillation besides the
/// [`Source`](crate::Source) and the first weights.
pub trait Task {
    /// Loss of each sample, `[b]`, in training mode. All randomness is a function of the batch's counters.
    fn loss(&self, network: &dyn Network<2>, batch: &Batch, device: &Device) -> Result<Tensor<1>, TrainError>;

    /// Loss of each sample, `[b]`, at the given times, without dropout: what validation reports.
    fn loss_at(
        &self,
        network: &dyn Network<2>,
        batch: &Batch,
        times: &Times,
        device: &Device,
    ) -> Result<Tensor<1>, TrainError>;

    /// What the network is trained as, for checkpoints: `(path, parameterization)`, each its configuration as JSON.
    fn identity(&self) -> (String, String);
}
