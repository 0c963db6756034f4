//! The one way from a seed to samples: where a batch starts, the field it follows, how far it steps, and what decodes its end.
//!
//! Verbs, sample sheets and whoever serves samples hold a [`Pipeline`] and ask it for batches; what a method adds (guidance, another
//! path, one more step, a codec) is a part of it and no business of theirs.

use crate::{
    Error, Start,
    codec::Codec,
    host::host,
    recipe::SampleConfig,
    streams::{noise, stirred},
};
use base::{Condition, Device, Shape, Tensor, Times};
use flow::{
    Brownian, Field, Frame, Observation, Parameterization, Schedule, ScoreField, Solver, Stepper, path::Changed,
    solve_with, solver::Solution,
};

/// What a method does before the first step of every sample.
pub trait Before: Send + Sync {
    /// Whether it does anything to samples that start on `path` at time `t`.
    fn applies(&self, path: &flow::Path, t: f64) -> bool;

    /// Where the samples `indices` of `seed` start on `path` at time `t`, from their noise, rows `[b n]`; `None` where they start at the
    /// noise itself.
    ///
    /// # Errors
    /// What a network of its own may say.
    fn start(
        &self,
        path: &flow::Path,
        t: f64,
        noise: &Tensor<2>,
        condition: &Condition,
        seed: u64,
        indices: &[u64],
    ) -> Result<Option<Tensor<2>>, Error>;
}

/// What a method does to the field that samples follow.
pub trait Around: Send + Sync {
    /// `field`, bent.
    ///
    /// # Errors
    /// A field that it does not go with.
    fn around<'a>(&'a self, field: Box<dyn Field<2> + 'a>) -> Result<Box<dyn Field<2> + 'a>, Error>;

    /// What is to be said before it is used.
    fn advice(&self) -> Option<String>;
}

/// How samples are drawn.
pub(crate) struct Pipeline<'a> {
    field: Box<dyn Field<2> + 'a>,
    start: &'a Start,
    path: flow::Path,
    solver: Solver,
    schedule: Schedule,
    before: Option<&'a dyn Before>,
    end: End<'a>,
    shape: Shape,
    device: Device,
}

/// What becomes of the end of a trajectory.
#[derive(Clone, Copy)]
pub(crate) enum End<'a> {
    /// It is the sample.
    Plain,
    /// It is a latent, and what this codec decodes is the sample.
    Decoded(&'a Codec),
    /// It is a latent, wanted as it is, at its own width.
    Latent(&'a Codec),
}

/// Who is told after a step how many of how many are done and may look at the samples, and may end the walk with an error.
pub type Watch<'w> = Option<&'w mut dyn FnMut(usize, usize, Peek<'_>) -> Result<(), Error>>;

/// What the samples will be, as it looks from the last step: rows as the pipeline's end gives them; none where the path cannot say.
pub type Peek<'w> = &'w dyn Fn() -> Result<Option<Vec<f32>>, Error>;

/// Samples drawn together.
pub(crate) struct Piece {
    /// Where they started, rows `[b m]` of what the field moves.
    pub x0: Tensor<2>,
    /// The samples, decoded where they are to be, one row after another.
    pub rows: Vec<f32>,
    /// Evaluations of the field per sample (the largest).
    pub nfe: usize,
}

impl<'a> Pipeline<'a> {
    /// Samples of `shape` along `field`, which knows its guidance and, where `config` asks for another path than the `trained` one, runs
    /// [`along`] it, as `config` says.
    ///
    /// # Errors
    /// Settings out of range.
    pub fn new(
        field: Box<dyn Field<2> + 'a>,
        trained: &flow::Path,
        config: &SampleConfig,
        start: &'a Start,
        shape: Shape,
        device: &Device,
    ) -> Result<Self, Error> {
        config.check().map_err(Error::Usage)?;
        let (schedule, device) = (config.schedule.build(config.steps)?, device.clone());
        let (path, solver) = (config.path.as_ref().unwrap_or(trained).clone(), config.solver.clone());
        Ok(Self { field, start, path, solver, schedule, before: None, end: End::Plain, shape, device })
    }

    /// With something done before the first step.
    pub fn after(self, before: Option<&'a dyn Before>) -> Self {
        Self { before, ..self }
    }

    /// With a decoder at the end, where there is one.
    pub fn decoded(self, codec: Option<&'a Codec>) -> Self {
        self.ending(codec.map_or(End::Plain, End::Decoded))
    }

    /// With this end.
    pub fn ending(self, end: End<'a>) -> Self {
        Self { end, ..self }
    }

    /// Whether a step before the first would change nothing, because this path starts in pure noise.
    pub fn before_is_idle(&self) -> bool {
        self.before.is_some_and(|before| !before.applies(&self.path, self.schedule.ends().0))
    }

    /// The path that is sampled along.
    pub fn path(&self) -> &flow::Path {
        &self.path
    }

    /// The samples numbered `indices` under `seed`: each the same whatever its batch.
    ///
    /// # Errors
    /// What the solver may say; a source that cannot be read.
    pub fn draw(&self, seed: u64, indices: &[u64], condition: &Condition) -> Result<Piece, Error> {
        let rows: Vec<(u64, u64)> = indices.iter().map(|index| (seed, *index)).collect();
        self.draw_each(&rows, condition, None)
    }

    /// Samples of several seeds together, `(seed, number)` each, and each the one that [`Pipeline::draw`] gives alone. An adaptive
    /// solver, whose steps are not shared, tells nobody.
    ///
    /// # Errors
    /// As [`Pipeline::draw`], and what `watch` says.
    pub fn draw_each(&self, rows: &[(u64, u64)], condition: &Condition, watch: Watch<'_>) -> Result<Piece, Error> {
        let x0 = self.starts(rows, condition)?;
        let brownian = Brownian::each(rows.iter().map(|(seed, index)| (stirred(*seed), *index)));
        let end = self.walk(x0.clone(), condition, &brownian, watch)?;
        let nfe = end.nfe_per_sample.iter().copied().max().unwrap_or(0);
        Ok(Piece { x0, rows: host(self.finished(end.x))?, nfe })
    }

    /// Where `rows` start, `[b m]`, neighbours of one seed at a time.
    fn starts(&self, rows: &[(u64, u64)], condition: &Condition) -> Result<Tensor<2>, Error> {
        let (mut parts, mut from) = (Vec::new(), 0);
        for part in rows.chunk_by(|a, b| a.0 == b.0) {
            let indices: Vec<u64> = part.iter().map(|(_, index)| *index).collect();
            let asked = match part.len() == rows.len() {
                true => condition.clone(),
                false => condition.slice(from..from + part.len()),
            };
            parts.push(self.start_of(part[0].0, &indices, &asked)?);
            from += part.len();
        }
        match parts.len() {
            1 => Ok(parts.remove(0)),
            _ => Ok(Tensor::cat(parts, 0)),
        }
    }

    fn start_of(&self, seed: u64, indices: &[u64], condition: &Condition) -> Result<Tensor<2>, Error> {
        let key = noise(seed);
        let before = match self.before {
            Some(before) => {
                let own = key.normal_tensor(indices, [0, self.shape.numel()], &self.device);
                before.start(&self.path, self.schedule.ends().0, &own, condition, seed, indices)?
            }
            None => None,
        };
        match before {
            Some(x0) => Ok(x0),
            None => self.start.points(key, indices, &self.path, &self.device),
        }
    }

    /// The end that a step's point and velocity stand for.
    fn seen(&self, step: &Observation<2>) -> Result<Option<Vec<f32>>, Error> {
        if self.path.has_latent() {
            return Ok(None);
        }
        let (x, velocity) = (step.x.clone(), step.velocity.clone());
        let data = Parameterization::Velocity {}.read(Parameterization::Data {}, &self.path, x, velocity, &step.t);
        host(self.finished(data)).map(Some)
    }

    /// The sample of the end of a trajectory.
    fn finished(&self, x: Tensor<2>) -> Tensor<2> {
        match self.end {
            End::Plain => x,
            End::Decoded(codec) => codec.decode(x),
            End::Latent(codec) => codec.raw(x),
        }
    }

    fn walk(
        &self,
        x0: Tensor<2>,
        condition: &Condition,
        brownian: &Brownian,
        watch: Watch<'_>,
    ) -> Result<Solution<2>, Error> {
        let (field, solver, schedule) = (&*self.field, &self.solver, &self.schedule);
        let Some(watch) = watch.filter(|_| !solver.is_adaptive()) else {
            return Ok(solve_with(field, x0, condition, solver, schedule, brownian, None)?);
        };
        let mut stepper = Stepper::new(field, x0, condition, solver, schedule, Some(brownian))?;
        let steps = stepper.grid().steps();
        while let Some(step) = stepper.advance()? {
            let peek = || self.seen(&step);
            watch(stepper.done(), steps, &peek)?;
        }
        Ok(stepper.solution())
    }
}

/// A field of the `trained` path, read along another one if asked.
///
/// # Errors
/// Paths that are not the same flow at another pace.
pub(crate) fn along<'a>(
    field: impl Field<2> + 'a,
    trained: &flow::Path,
    other: Option<&flow::Path>,
) -> Result<Box<dyn Field<2> + 'a>, flow::FlowError> {
    Ok(match other {
        None => Box::new(field),
        Some(other) => Box::new(Changed::new(field, trained.clone(), other.clone())?),
    })
}

/// A field behind a pointer, as methods hand it on.
pub(crate) struct Boxed<'a>(pub Box<dyn Field<2> + 'a>);

impl Field<2> for Boxed<'_> {
    fn velocity(&self, x: Tensor<2>, t: &Times, condition: &Condition) -> Tensor<2> {
        self.0.velocity(x, t, condition)
    }

    fn average_velocity(&self, x: Tensor<2>, t: &Times, until: &Times, condition: &Condition) -> Tensor<2> {
        self.0.average_velocity(x, t, until, condition)
    }

    fn frame(&self) -> Option<Frame<'_>> {
        self.0.frame()
    }

    fn score_field(&self) -> Option<&dyn ScoreField<2>> {
        self.0.score_field()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: the noisy state in place of the data that it stands for; the other end.
    #[test]
    fn what_is_seen_on_the_way_is_the_data() {
        let path = flow::Path::Linear {};
        let field = flow::exact::Gaussian::new(path.clone(), vec![3.0, -1.0], vec![0.01; 2]).unwrap();
        let (shape, config) = (Shape::from([1, 1, 2]), SampleConfig { steps: 8, ..SampleConfig::default() });
        let start = Start::Noise { shape };
        let pipeline = Pipeline::new(Box::new(field), &path, &config, &start, shape, &Device::flex()).unwrap();
        let mut seen = Vec::new();
        let mut watch = |_: usize, _: usize, peek: Peek<'_>| {
            seen.push(peek()?.unwrap());
            Ok(())
        };
        pipeline.draw_each(&[(0, 0), (0, 1)], &Condition::none(), Some(&mut watch)).unwrap();
        assert_eq!(seen.len(), 8);
        let near =
            |rows: &Vec<f32>| rows.iter().zip([3.0, -1.0, 3.0, -1.0]).all(|(value, mean)| (value - mean).abs() < 0.1);
        assert!(seen.iter().all(near), "{seen:?}");
    }
}
