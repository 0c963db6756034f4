//! The waist: a field is a velocity as a function of point, time and condition, and a solver sees nothing else.
//!
//! A network with its path is a field; guidance is a field around a field; closed-form mixtures are fields; so is any
//! closure of the right shape.

use crate::native::{Native, Port};
use crate::{Parameterization, Path, ScoreField};
use base::{Condition, Network, Pass, Taps, Tensor, Times};

/// A velocity field over batches of rank `D`.
///
/// Besides its velocity a field may say what it knows of its making; solvers that need more than a velocity ask, and
/// refuse a field that does not know. A closure knows nothing.
pub trait Field<const D: usize> {
    /// Velocity `dx/dt` towards the data at points `x` `[b ...]` and times `t` (one per row); same shape as `x`.
    /// Each row must depend on its own point, time and condition alone.
    fn velocity(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D>;

    /// Mean velocity of the flow on its way from times `t` to times `until` (one per row), started at `x`: what an Euler
    /// step takes. The velocity at `t` stands for it, unless the field knows better (MeanFlow, shortcut models).
    fn average_velocity(&self, x: Tensor<D>, t: &Times, until: &Times, condition: &Condition) -> Tensor<D> {
        let _ = until;
        self.velocity(x, t, condition)
    }

    /// The path whose velocity this is, for solvers that follow its curve (DDIM, DPM-Solver++, UniPC).
    fn frame(&self) -> Option<Frame<'_>> {
        None
    }

    /// The field with its score, for stochastic solvers. A field without one may still have a [`Frame`] with an
    /// independent normal source, from which the score follows.
    fn score_field(&self) -> Option<&dyn ScoreField<D>> {
        None
    }
}

/// What a field knows of the pairs it was made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame<'a> {
    /// The path between source and data.
    pub path: &'a Path,
    /// Whether the source is standard normal **and** drawn independently of the data. Only then is the score
    /// `-E[x0|x]/alpha`: after reflow, or with optimal-transport pairs, the same velocity says nothing about the score.
    pub independent: bool,
}

impl<const D: usize, F: Fn(Tensor<D>, &Times, &Condition) -> Tensor<D>> Field<D> for F {
    fn velocity(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D> {
        self(x, t, condition)
    }
}

/// A network read as a velocity field on its path.
///
/// Times are held to the parameterization's [`domain`](Parameterization::domain), for the network and the conversion
/// alike, so that a noise network is not asked for a velocity where its output says nothing about the data.
#[derive(Clone, Debug)]
pub struct PathField<'a, N: ?Sized> {
    network: &'a N,
    path: Path,
    parameterization: Parameterization,
    independent: bool,
    native: Option<Native>,
    reaching: bool,
    pass: Pass,
}

impl<'a, N: ?Sized> PathField<'a, N> {
    /// `network` was trained on `path` to output `parameterization`, from independent pairs.
    pub fn new(network: &'a N, path: Path, parameterization: Parameterization) -> Self {
        Self { network, path, parameterization, independent: true, native: None, reaching: false, pass: Pass::Infer }
    }

    /// The same network, first trained on another path and asked there (see [`Native`]).
    pub fn native(self, native: Option<Native>) -> Self {
        Self { native, ..self }
    }

    /// Whether the network is told how far ahead it looks, so that it knows mean velocities over a step; see
    /// [`Field::average_velocity`].
    pub fn reaching(self, reaching: bool) -> Self {
        Self { reaching, ..self }
    }

    /// The same network, trained on pairs whose source points were (`true`) or were not drawn independently of the data.
    /// Reflow, distillation and optimal-transport couplings are not independent; see [`Frame::independent`].
    pub fn independent(self, independent: bool) -> Self {
        Self { independent, ..self }
    }

    /// The same network, its attention layers read or replaced by `taps`.
    pub fn tapped(self, taps: Option<Taps>) -> Self {
        Self { pass: taps.map_or(Pass::Infer, Pass::Tapped), ..self }
    }

    /// The network.
    pub fn network(&self) -> &'a N {
        self.network
    }

    /// The path it was trained on.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it outputs.
    pub fn parameterization(&self) -> &Parameterization {
        &self.parameterization
    }

    /// The network's own output at points `x` `[b ...]` of the path and times `t` within its domain.
    pub fn output<const D: usize>(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D>
    where
        N: Network<D>,
    {
        let port = Port { path: &self.path, parameterization: self.parameterization, native: self.native.as_ref() };
        port.ask(self.network, x, t, condition, &self.pass)
    }
}

impl<const D: usize, N: Network<D> + ?Sized> Field<D> for PathField<'_, N> {
    fn velocity(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D> {
        let t = self.parameterization.clamp(&self.path, t);
        let output = self.output(x.clone(), &t, condition);
        self.parameterization.to_velocity(&self.path, x, output, &t)
    }

    fn average_velocity(&self, x: Tensor<D>, t: &Times, until: &Times, condition: &Condition) -> Tensor<D> {
        if !self.reaching {
            return self.velocity(x, t, condition);
        }
        // Ahead only: backwards in time, and at the data, a mean over nothing is the velocity itself.
        let reach = t.values().iter().zip(until.values()).map(|(t, until)| (until - t).max(0.0)).collect();
        let reach = Times::new(reach).tensor(&x.device());
        self.velocity(x, t, &condition.clone().reaching(reach))
    }

    fn frame(&self) -> Option<Frame<'_>> {
        Some(Frame { path: &self.path, independent: self.independent && !self.path.has_latent() })
    }

    fn score_field(&self) -> Option<&dyn ScoreField<D>> {
        // A latent is independent of any pair; a source is where it was drawn so.
        let known = self.independent || self.path.has_latent();
        let reads = |wanted| self.parameterization.reads(wanted, &self.path);
        if known && reads(Parameterization::Score {}) && reads(Parameterization::Velocity {}) {
            Some(self)
        } else {
            None
        }
    }
}
