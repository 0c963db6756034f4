//! The training task of flow-guided distillation: the loss on pairs, and the same loss on pairs that two steps of the
//! teacher make from fresh noise (see `methods::guide`).

use base::{Condition, Device, Key, NULL_CLASS, Network, Pass, Purpose, Tensor, Times};
use flow::PathField;
use methods::guide::GuideConfig;
use nets::Net;
use train::{Batch, FlowTask, Task, TrainError};

/// A flow task with a teacher at its side.
pub(crate) struct GuidedTask {
    /// The loss on pairs.
    pub flow: FlowTask,
    /// How the teacher guides.
    pub guide: GuideConfig,
    /// The teacher, without gradients.
    pub teacher: Net,
}

impl GuidedTask {
    /// The guiding term of each sample, `[b]`.
    fn guiding(&self, network: &dyn Network<4>, batch: &Batch, device: &Device) -> Result<Tensor<1>, TrainError> {
        let FlowTask { objective, seed, .. } = &self.flow;
        // Streams of their own: neither base training nor sampling draws this noise.
        let noise = Key::new(*seed, Purpose::Noise).fold(4);
        let x0: Tensor<4> = noise.normal_tensor(&batch.indices, batch.shape, device);
        let lengths = self.guide.lengths(Key::new(*seed, Purpose::Time).fold(4), &batch.indices);
        let (condition, plain) = (self.condition(batch, device), self.condition(batch, &plain(device)));
        let start = Times::all(0.0, batch.len());
        // Values only: no gradient flows into the target.
        let student = {
            let output = network.predict(x0.clone(), start.tensor(device), &condition, &Pass::Infer);
            objective.parameterization.to_velocity(&objective.path, x0.clone(), output, &start).without_autodiff()
        };
        let teacher = PathField::new(&self.teacher, objective.path.clone(), objective.parameterization);
        let target = self.guide.target(&teacher, student, x0.clone().without_autodiff(), &lengths, &plain);
        let x1 = x0.clone() + Tensor::from_data(target.into_data(), device);
        let pass = Pass::Train { dropout: Key::new(*seed, Purpose::Dropout).fold(4), samples: batch.indices.clone() };
        let loss = objective.loss(network, x0, x1, &condition, &start, &pass);
        loss.map_err(|error| TrainError::Objective(error.to_string()))
    }

    fn condition(&self, batch: &Batch, device: &Device) -> Condition {
        match self.flow.conditional && batch.classes.iter().any(|class| *class != NULL_CLASS) {
            true => Condition::classes(&batch.classes, device),
            false => Condition::none(),
        }
    }
}

fn plain(device: &Device) -> Device {
    device.clone().without_autodiff()
}

impl Task for GuidedTask {
    fn loss(&self, network: &dyn Network<4>, batch: &Batch, device: &Device) -> Result<Tensor<1>, TrainError> {
        let pairs = self.flow.loss(network, batch, device)?;
        Ok(pairs + self.guiding(network, batch, device)? * self.guide.weight)
    }

    fn loss_at(
        &self,
        network: &dyn Network<4>,
        batch: &Batch,
        times: &Times,
        device: &Device,
    ) -> Result<Tensor<1>, TrainError> {
        self.flow.loss_at(network, batch, times, device)
    }

    fn identity(&self) -> (String, String) {
        self.flow.identity()
    }
}
