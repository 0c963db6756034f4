//! The guard against NaN and infinity: one reading per step gives the gradient norm for clipping and the verdict.

use crate::error::NotFinite;
use crate::params::Info;
use crate::task::Samples;
use base::{Device, Tensor};
use std::path::PathBuf;

/// Loss and gradient norm of a step, read from the device once.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Mean loss of the batch.
    pub loss: f32,
    /// Sum of squares of each parameter's gradient; `None` where the loss does not depend on it.
    pub squares: Vec<Option<f64>>,
}

impl Reading {
    /// Reads `loss` `[1]` and the sums of squares of `gradients`.
    pub fn take(loss: Tensor<1>, gradients: &[Option<Tensor<1>>]) -> Self {
        let loss = loss.without_autodiff();
        if loss.device() == Device::flex() {
            let squares = gradients.iter().map(|g| g.clone().map(kernels::sum_squares)).collect();
            return Self { loss: loss.into_scalar(), squares };
        }
        // On an accelerator each reading waits for the queue, so all numbers travel in one tensor.
        let sums = gradients.iter().flatten().map(|g| kernels::squares_there(g.clone()));
        let numbers = Tensor::cat(std::iter::once(loss).chain(sums).collect(), 0).into_data();
        let mut numbers = numbers.iter::<f32>();
        let loss = numbers.next().unwrap_or(f32::NAN);
        let squares = gradients.iter().map(|g| g.as_ref().and_then(|_| numbers.next()).map(f64::from)).collect();
        Self { loss, squares }
    }

    /// Global norm of the gradient.
    pub fn norm(&self) -> f64 {
        self.squares.iter().flatten().sum::<f64>().sqrt()
    }

    /// Whether the step may be taken.
    pub fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.norm().is_finite()
    }

    /// What is wrong, in full. `images` counts those seen before the step, `step` from 1.
    pub fn report<B: Samples>(
        &self,
        step: u64,
        images: u64,
        infos: &[Info],
        batches: &[B],
        checkpoint: Option<PathBuf>,
    ) -> NotFinite {
        let bad = |s: &Option<f64>| s.is_some_and(|s| !s.is_finite());
        let first = self.squares.iter().position(bad);
        NotFinite {
            step,
            images,
            loss: self.loss,
            parameter: first.and_then(|i| infos.get(i)).map(|i| i.name.clone()),
            affected: (self.squares.iter().filter(|s| bad(s)).count(), self.squares.len()),
            input: batches.iter().find_map(B::find_not_finite),
            checkpoint,
        }
    }
}
