//! The one way from a seed to samples: where a batch starts, the field it follows, how far it steps, and what decodes its end.
//!
//! Verbs, sample sheets and whoever serves samples hold a [`Pipeline`] and ask it for batches; what a method adds (guidance, another
//! path, one more step, a codec) is a part of it and no business of theirs.

use crate::{
    Error, Start,
    codec::Codec,
    prelude::Prelude,
    recipe::SampleConfig,
    sampling::{host, noise, paths},
};
use base::{Condition, Device, Shape, Tensor};
use flow::{Field, Schedule, Solver, path::Changed, solve_with};

/// How samples are drawn.
pub(crate) struct Pipeline<'a> {
    field: Box<dyn Field<2> + 'a>,
    start: &'a Start,
    path: flow::Path,
    solver: Solver,
    schedule: Schedule,
    prelude: Option<&'a Prelude>,
    end: End<'a>,
    shape: Shape,
    seed: u64,
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
        seed: u64,
        device: &Device,
    ) -> Result<Self, Error> {
        config.check().map_err(Error::Usage)?;
        let (schedule, device) = (config.schedule.build(config.steps)?, device.clone());
        let (path, solver) = (config.path.as_ref().unwrap_or(trained).clone(), config.solver.clone());
        Ok(Self { field, start, path, solver, schedule, prelude: None, end: End::Plain, shape, seed, device })
    }

    /// With one more step before the first.
    pub fn after(self, prelude: Option<&'a Prelude>) -> Self {
        Self { prelude, ..self }
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
    pub fn prelude_is_idle(&self) -> bool {
        self.prelude.is_some() && !methods::OneMoreStep::applies(&self.path, self.schedule.ends().0)
    }

    /// The path that is sampled along.
    pub fn path(&self) -> &flow::Path {
        &self.path
    }

    /// The samples numbered `indices`: each the same whatever its batch.
    ///
    /// # Errors
    /// What the solver may say; a source that cannot be read.
    pub fn draw(&self, indices: &[u64], condition: &Condition) -> Result<Piece, Error> {
        let key = noise(self.seed);
        let before = match self.prelude {
            Some(prelude) => {
                let own = key.normal_tensor(indices, [0, self.shape.numel()], &self.device);
                prelude.start(&self.path, self.schedule.ends().0, &own, condition, self.seed, indices)?
            }
            None => None,
        };
        let x0 = match before {
            Some(x0) => x0,
            None => self.start.points(key, indices, &self.path, &self.device)?,
        };
        let brownian = paths(self.seed, indices);
        let end = solve_with(&*self.field, x0.clone(), condition, &self.solver, &self.schedule, &brownian, None)?;
        let nfe = end.nfe_per_sample.iter().copied().max().unwrap_or(0);
        let rows = match self.end {
            End::Plain => end.x,
            End::Decoded(codec) => codec.decode(end.x),
            End::Latent(codec) => codec.raw(end.x),
        };
        Ok(Piece { x0, rows: host(rows)?, nfe })
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
