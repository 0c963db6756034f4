//! The training task of every target rule: exercises made from a batch by `methods::target`, answered with gradients.
//!
//! The rule sees the network as it is now, without gradients, and a teacher where there is one; path, parameterization,
//! loss and weighting of the objective judge the answers, as in plain flow matching.

use base::{Condition, Device, Key, Network, Pass, Purpose, Tensor, Times};
use flow::{Exercise, Field, Guided, PathField, Premetric, guidance::GuidanceConfig};
use methods::{Lesson, Part, Target};
use nets::Net;
use train::flow_task::Drawn;
use train::{Batch, FlowTask, Task, TrainError};

/// A network to learn from, and how its flow is asked.
pub(crate) struct Teacher {
    pub net: Net,
    /// What it was trained as.
    pub recipe: crate::Recipe,
    /// Guidance that the student takes over.
    pub guidance: GuidanceConfig,
}

impl Teacher {
    fn field(&self) -> Result<impl Field<2> + '_, TrainError> {
        let field = self.recipe.field(&self.net);
        Guided::new(field, self.guidance.scale, self.guidance.interval).map_err(failed)
    }
}

/// A flow task with a rule of its own.
pub(crate) struct TaughtTask {
    /// Pairs, times, objective.
    pub flow: FlowTask,
    /// The rule.
    pub target: Target,
    /// Whom to learn from.
    pub teacher: Option<Teacher>,
    /// A perceptual distance, where the objective weighs one.
    pub premetric: Option<Box<dyn Premetric<2>>>,
    /// Whether the network is told how far ahead it looks.
    pub reaching: bool,
}

fn failed(error: impl std::fmt::Display) -> TrainError {
    TrainError::Objective(error.to_string())
}

impl TaughtTask {
    /// The exercises of a batch, on the device without gradients.
    fn parts(
        &self,
        network: &dyn Network<2>,
        drawn: Drawn,
        batch: &Batch,
        device: &Device,
    ) -> Result<Vec<Part<2>>, TrainError> {
        let FlowTask { objective, seed, .. } = &self.flow;
        let Drawn { ends, times, condition } = drawn;
        let Some(rule) = self.target.rule::<2>() else {
            return Ok(vec![objective.exercise(ends, &times, &condition).map_err(failed)?.into()]);
        };
        let frozen = Frozen { network, device };
        let student = PathField::new(&frozen, objective.path.clone(), objective.parameterization)
            .native(objective.native.clone())
            .reaching(self.reaching);
        let teacher = self.teacher.as_ref().map(Teacher::field).transpose()?;
        let lesson = Lesson {
            objective,
            ends,
            times,
            condition,
            student: &student,
            teacher: teacher.as_ref().map(|field| field as &dyn Field<2>),
            // Streams of their own: neither base training nor sampling draws these numbers.
            key: Key::new(*seed, Purpose::Noise).fold(4),
            indices: &batch.indices,
        };
        rule.parts(&lesson).map_err(failed)
    }

    fn judge(
        &self,
        network: &dyn Network<2>,
        parts: Vec<Part<2>>,
        pass: &Pass,
        device: &Device,
    ) -> Result<Tensor<1>, TrainError> {
        let premetric = self.premetric.as_deref();
        let one = |part: Part<2>| {
            let exercise = lift(part.exercise, device);
            self.flow.objective.loss_on(network, exercise, pass, premetric) * part.weight
        };
        parts.into_iter().map(one).reduce(|sum, loss| sum + loss).ok_or_else(|| failed("the target rule asks nothing"))
    }
}

impl Task for TaughtTask {
    fn loss(&self, network: &dyn Network<2>, batch: &Batch, device: &Device) -> Result<Tensor<1>, TrainError> {
        let drawn = self.flow.draw(batch, &device.clone().without_autodiff())?;
        let parts = self.parts(network, drawn, batch, device)?;
        self.judge(network, parts, &self.flow.pass(batch), device)
    }

    fn loss_at(
        &self,
        network: &dyn Network<2>,
        batch: &Batch,
        times: &Times,
        device: &Device,
    ) -> Result<Tensor<1>, TrainError> {
        let drawn = self.flow.draw_at(batch, times, device)?;
        let parts = self.parts(network, drawn, batch, device)?;
        self.judge(network, parts, &Pass::Infer, device)
    }

    fn identity(&self) -> (String, String) {
        self.flow.identity()
    }
}

/// A network in training, asked for values only.
struct Frozen<'a> {
    network: &'a dyn Network<2>,
    /// Where its weights live.
    device: &'a Device,
}

impl Network<2> for Frozen<'_> {
    fn predict(&self, x: Tensor<2>, t: Tensor<1>, condition: &Condition, pass: &Pass) -> Tensor<2> {
        let on = |x: Tensor<2>| Tensor::from_data(x.into_data(), self.device);
        let t = Tensor::from_data(t.into_data(), self.device);
        self.network.predict(on(x), t, &condition.on(self.device), pass).without_autodiff()
    }
}

/// The same exercise on the device of the weights.
fn lift(exercise: Exercise<2>, device: &Device) -> Exercise<2> {
    let on = |x: Tensor<2>| Tensor::from_data(x.into_data(), device);
    Exercise {
        x: on(exercise.x),
        wanted: on(exercise.wanted),
        data: exercise.data.map(on),
        condition: exercise.condition.on(device),
        ..exercise
    }
}
