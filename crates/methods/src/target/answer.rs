//! A target rule at work: its exercises, made without gradients, answered by the network in training with them.

use super::{Lesson, Part, Target};
use crate::MethodError;
use crate::tape::place;
use base::{Device, Network, Pass, Tensor};
use flow::{Beside, Exercise};

impl Target {
    /// The loss of each pair of a lesson, `[b]`. `network` lives on `device`, a tape in training; what the objective asks of the
    /// trainer stands `beside`.
    ///
    /// # Errors
    /// Those of the rule; a rule that asks nothing.
    pub fn loss<const D: usize>(
        &self,
        lesson: &Lesson<D>,
        (network, pass, device): (&dyn Network<D>, &Pass, &Device),
        beside: Beside<'_, D>,
    ) -> Result<Tensor<1>, MethodError> {
        let parts = match self.rule::<D>() {
            Some(rule) => rule.parts(lesson)?,
            None => vec![lesson.pairs()?.into()],
        };
        let one = |part: Part<D>| {
            lesson.objective.loss_on(network, placed(part.exercise, device), pass, beside) * part.weight
        };
        let nothing = || MethodError::Teacher(format!("target `{}` asks nothing of this batch", self.name()));
        parts.into_iter().map(one).reduce(|sum, loss| sum + loss).ok_or_else(nothing)
    }
}

/// The same exercise where the weights are.
fn placed<const D: usize>(exercise: Exercise<D>, device: &Device) -> Exercise<D> {
    Exercise {
        x: place(exercise.x, device),
        wanted: place(exercise.wanted, device),
        data: exercise.data.map(|data| place(data, device)),
        condition: exercise.condition.on(device),
        ..exercise
    }
}
