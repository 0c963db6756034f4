//! The loss of any codec as a task of the engine. A training step draws (latents' noise, points, rays) by the samples' counters;
//! validation leaves nothing to chance.

use base::{Device, Tensor, Times};
use serde::Serialize;
use train::{Batch, Live, Task, TrainError};

/// What a codec `M` loses of a sample on the way there and back.
pub trait Loses<M> {
    /// Sizes and weights of the losses.
    type Config: Serialize;

    /// Those that checkpoints are held to.
    fn config(&self) -> &Self::Config;

    /// The loss of each sample of `batch`, `[b]`; what is drawn is drawn by counter, and where not `draws` nothing is.
    ///
    /// # Errors
    /// [`TrainError::Objective`] for rows that are not this codec's.
    fn lost(&self, net: &M, batch: &Batch, device: &Device, draws: bool) -> Result<Tensor<1>, TrainError>;
}

/// A codec's loss, to be trained on.
pub struct Learned<L>(pub L);

impl<M, L: Loses<M>> Task<M> for Learned<L> {
    fn loss(&self, live: &Live<'_, M>, batch: &Batch, device: &Device) -> Result<Tensor<1>, TrainError> {
        live.within(|net| self.0.lost(net, batch, device, true))
    }

    fn loss_at(&self, live: &Live<'_, M>, batch: &Batch, _: &Times, device: &Device) -> Result<Tensor<1>, TrainError> {
        live.within(|net| self.0.lost(net, batch, device, false))
    }

    fn identity(&self) -> (String, String) {
        (serde_json::to_string(self.0.config()).expect("sizes and weights are JSON"), "codec".into())
    }
}
