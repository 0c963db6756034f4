//! The waist: a field is a velocity as a function of point, time and condition, and a solver sees nothing else.
//!
//! A network with its path is a field; guidance is a field around a field; closed-form mixtures are fields; so is any
//! closure of the right shape.

use crate::{Parameterization, Path, ScoreField, objective::input};
use base::{Condition, Network, Pass, Tensor, Times};

/// A velocity field over batches of rank `D`.
///
/// Besides its velocity a field may say what it knows of its making; solvers that need more than a velocity ask, and
/// refuse a field that does not know. A closure knows nothing.
pub trait Field<const D: usize> {
    /// Velocity `dx/dt` towards the data at points `x` `[b ...]` and times `t` (one per row); same shape as `x`.
    /// Each row must depend on its own point, time and condition alone.
    fn velocity(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D>;

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
}

impl<'a, N: ?Sized> PathField<'a, N> {
    /// `network` was trained on `path` to output `parameterization`, from independent pairs.
    pub fn new(network: &'a N, path: Path, parameterization: Parameterization) -> Self {
        Self { network, path, parameterization, independent: true }
    }

    /// The same network, trained on pairs whose source points were (`true`) or were not drawn independently of the data.
    /// Reflow, distillation and optimal-transport couplings are not independent; see [`Frame::independent`].
    pub fn independent(self, independent: bool) -> Self {
        Self { independent, ..self }
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
        let device = x.device();
        self.network.predict(input(&self.path, x, t), t.tensor(&device), condition, &Pass::Infer)
    }
}

impl<const D: usize, N: Network<D> + ?Sized> Field<D> for PathField<'_, N> {
    fn velocity(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D> {
        let t = self.parameterization.clamp(&self.path, t);
        let output = self.output(x.clone(), &t, condition);
        self.parameterization.to_velocity(&self.path, x, output, &t)
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
