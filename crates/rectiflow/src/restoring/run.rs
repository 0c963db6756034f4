//! Pictures restored by one method, batch by batch.

use super::Goal;
use crate::{
    Context, Error, Model, Start,
    context::Event,
    device::Chosen,
    overrides::SampleOverrides,
    pipeline::Boxed,
    sampling::{self, Classes},
    steerable::{Steerable, Way},
};
use base::{Key, RandomStream};
use flow::Field;
use methods::steer::{Lifted, Problem, Steering};
use std::sync::atomic::Ordering;

/// Everything one method needs.
pub(crate) struct Run<'a> {
    pub model: &'a dyn Steerable,
    /// The same where there is a tape, and the device of its weights, for methods that differentiate the flow.
    pub taped: Option<&'a (Box<dyn Steerable>, Chosen)>,
    pub goal: &'a Goal,
    /// A number to each picture of the goal: its noise and its class or prompt depend on it alone.
    pub numbers: &'a [u64],
    pub classes: &'a Classes,
    pub overrides: &'a SampleOverrides,
    pub seed: u64,
}

impl Run<'_> {
    /// The restored pictures as a screen would show them (of sound as they are), evaluations, and how many were differentiated.
    pub fn restore(
        &self,
        steering: &Steering,
        steps: Option<usize>,
        context: &mut Context,
    ) -> Result<(Vec<f32>, usize, usize), Error> {
        let config = self.overrides.apply(&self.model.usual(self.overrides.steps.or(steps))?)?;
        let schedule = config.schedule.build(config.steps)?;
        self.model.hear(&[self.classes], context)?;
        let plain = context.device.device.clone();
        let (model, device) = match self.taped {
            Some((model, device)) => (&**model, device.device.clone()),
            None => (self.model, plain.clone()),
        };
        let field = Boxed(model.field(Way::Forth(&config.guidance), config.precision, None)?);
        let field: Box<dyn Field<2> + '_> =
            if self.taped.is_some() { Box::new(Lifted(field)) } else { Box::new(field) };
        let shape = model.moved();
        let start = Start::Noise { shape };
        let (total, together) = (self.goal.count(), self.goal.together(config.batch));
        let (mut moved, mut nfe, mut differentiated) = (Vec::with_capacity(total * shape.numel()), 0, 0);
        context.tell(Event::Begin { what: steering.name(), total: total as u64 });
        // A batch may be hundreds of evaluations.
        let switch = context.stop.clone();
        let stop = || switch.load(Ordering::Relaxed);
        for first in (0..total).step_by(together) {
            context.go_on()?;
            let rows = first..total.min(first + together);
            let (done, indices) = (rows.end as u64, &self.numbers[rows.clone()]);
            let condition = model.condition(self.classes, indices, &device)?;
            let cost = self.goal.cost(rows, &plain)?;
            let x = start.points(sampling::noise(self.seed), indices, model.path(), &plain)?;
            let key = Key::of(self.seed, RandomStream::RestoreNoise);
            let problem = Problem {
                field: &*field,
                condition: &condition,
                cost: &*cost,
                schedule: &schedule,
                key,
                indices,
                stop: &stop,
            };
            let steered = steering.run(&problem, x)?;
            (nfe, differentiated) = (steered.nfe, steered.differentiated);
            moved.extend(sampling::host(steered.x)?);
            context.tell(Event::Advance { done });
        }
        context.tell(Event::End);
        drop(field);
        let mut restored = self.model.decode(&moved, context)?;
        if self.model.hearing().is_none() {
            restored.iter_mut().for_each(|v| *v = v.clamp(-1.0, 1.0));
        }
        Ok((restored, nfe, differentiated))
    }
}

/// What the model is told of the pictures.
pub(crate) fn told(class: Option<&str>, prompts: &[String], model: &Model) -> Result<Classes, Error> {
    if !prompts.is_empty() {
        model.check_reads()?;
        return Ok(Classes::prompts(prompts.to_vec()));
    }
    let how = if model.words.is_some() { "--prompt" } else { "--class" };
    match class {
        Some(text) => Classes::parse(text, model),
        None if (model.classes() > 0 || model.words.is_some()) && model.recipe.train.condition_dropout == 0.0 => {
            Err(Error::Usage(format!(
                "this model was trained with train.condition_dropout = 0 and must be told what it restores: give {how}"
            )))
        }
        None => Ok(Classes::None),
    }
}
