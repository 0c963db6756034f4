//! The training task of every target rule: who teaches, and what the trainer and the rule say to each other.
//!
//! The rule (`methods::target`) sees the network as it is now, without a tape, and a teacher where there is one; path,
//! parameterization, loss and weighting of the objective judge the answers, as in plain flow matching.

use crate::codec::{Glimpse, Rendering};
use base::{Device, Key, Network, Pass, RandomStream, Tensor, Times};
use burn::module::Module;
use flow::{Beside, Field, Gauge, Guided, Onlooker, PathField, Premetric, guidance::GuidanceConfig};
use methods::{Lesson, Target};
use nets::Net;
use train::flow_task::Drawn;
use train::{Batch, FlowTask, Live, Task, TrainError};

/// A network to learn from, and how its flow is asked. Its weights are plain tensors: no tape is kept of it.
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

/// A flow task with a rule of its own, or with a distance beside its loss.
pub(crate) struct TaughtTask {
    /// Pairs, times, objective.
    pub flow: FlowTask,
    /// The rule.
    pub target: Target,
    /// Whom to learn from.
    pub teacher: Option<Teacher>,
    /// A perceptual distance, where the objective weighs one.
    pub premetric: Option<Box<dyn Premetric<2>>>,
    /// What the loss looks through, where samples are latents that it weighs.
    pub gauge: Option<Box<dyn Gauge<2>>>,
    /// What latents are rendered for, where their rendering has a loss.
    pub rendering: Option<Rendering>,
    /// Whether the network is told how far ahead it looks.
    pub reaching: bool,
}

/// The task of `recipe` with `classes`, with whom and what it needs beside: a plain flow where that is nothing.
pub(crate) fn task(
    recipe: &crate::Recipe,
    classes: usize,
    teacher: Option<Teacher>,
    premetric: Option<Box<dyn Premetric<2>>>,
    gauge: Option<Box<dyn Gauge<2>>>,
    rendering: Option<Rendering>,
) -> Box<dyn Task<Net>> {
    let flow = recipe.flow_task(classes);
    let (target, reaching) = (recipe.target.clone(), recipe.network.reaches());
    match (&target, &premetric, &gauge, &rendering) {
        (Target::Path, None, None, None) => Box::new(flow),
        _ => Box::new(TaughtTask { flow, target, teacher, premetric, gauge, rendering, reaching }),
    }
}

fn failed(error: impl std::fmt::Display) -> TrainError {
    TrainError::Objective(error.to_string())
}

impl TaughtTask {
    fn beside(&self) -> Beside<'_, 2> {
        Beside { premetric: self.premetric.as_deref(), gauge: self.gauge.as_deref(), onlooker: None }
    }

    /// The windows through which the rendering of `batch` is looked at, its data points the `rows` that the coupling made of them.
    fn glimpse(&self, batch: &Batch, rows: Option<&[usize]>) -> Result<Option<Glimpse<'_>>, TrainError> {
        let Some(rendering) = &self.rendering else { return Ok(None) };
        let places: Vec<u64> = match rows {
            Some(rows) => rows.iter().map(|row| batch.places[*row]).collect(),
            None => batch.places.clone(),
        };
        rendering.glimpse(&batch.indices, &places).map(Some).map_err(|error| TrainError::Source(error.to_string()))
    }

    /// The loss of pairs drawn without a tape.
    fn judged<M: Module + Network<2>>(
        &self,
        live: &Live<'_, M>,
        drawn: Drawn,
        batch: &Batch,
        (pass, device): (&Pass, &Device),
    ) -> Result<Tensor<1>, TrainError> {
        let FlowTask { objective, seed, .. } = &self.flow;
        let Drawn { ends, times, condition, .. } = drawn;
        let still = live.still();
        let student = PathField::new(&still, objective.path.clone(), objective.parameterization)
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
            key: Key::of(*seed, RandomStream::LessonNoise),
            indices: &batch.indices,
        };
        self.target.loss(&lesson, (live, pass, device), self.beside()).map_err(failed)
    }

    /// The loss of the pairs themselves: everything the objective says of them, reflected latents included.
    fn seen<M: Network<2>>(
        &self,
        live: &Live<'_, M>,
        Drawn { ends, times, condition, .. }: Drawn,
        pass: &Pass,
        glimpse: Option<&Glimpse<'_>>,
    ) -> Result<Tensor<1>, TrainError> {
        let beside = Beside { onlooker: glimpse.map(|glimpse| glimpse as &dyn Onlooker<2>), ..self.beside() };
        self.flow.objective.loss_seen(live, ends, &condition, &times, pass, beside).map_err(failed)
    }
}

impl<M: Module + Network<2>> Task<M> for TaughtTask {
    fn loss(&self, live: &Live<'_, M>, batch: &Batch, device: &Device) -> Result<Tensor<1>, TrainError> {
        let pass = self.flow.pass(batch);
        if self.target == Target::Path {
            let drawn = self.flow.draw(batch, device)?;
            let glimpse = self.glimpse(batch, drawn.rows.as_deref())?;
            return self.seen(live, drawn, &pass, glimpse.as_ref());
        }
        let drawn = self.flow.draw(batch, &device.clone().without_autodiff())?;
        self.judged(live, drawn, batch, (&pass, device))
    }

    fn loss_at(
        &self,
        live: &Live<'_, M>,
        batch: &Batch,
        times: &Times,
        device: &Device,
    ) -> Result<Tensor<1>, TrainError> {
        let drawn = self.flow.draw_at(batch, times, device)?;
        match self.target {
            // What is held out has no pictures here: validation says how well latents are moved.
            Target::Path => self.seen(live, drawn, &Pass::Infer, None),
            _ => self.judged(live, drawn, batch, (&Pass::Infer, device)),
        }
    }

    fn identity(&self) -> (String, String) {
        self.flow.names()
    }

    fn network<'m>(&self, module: &'m M) -> Option<&'m dyn Network<2>> {
        Some(module)
    }
}
