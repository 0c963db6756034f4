//! Divergence of a velocity field: what a flow does to volume.
//!
//! FFJORD, arXiv 1810.01367, §3 (Hutchinson's estimate with one probe held along a solve); 2303.08797, §2.5.

use crate::{Field, FlowError, ScoreField, error::require, exact::MixtureField, rows};
use base::{Condition, Key, Tensor, TensorData, Times};
use serde::{Deserialize, Serialize};

/// How a divergence is found.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Divergence {
    /// Exactly: as many derivatives as a sample has values (or the closed form of an oracle). For a few dozen at most.
    Exact {},
    /// `e · (dv/dx) e` with random `e`, right on average and the same `e` along a whole trajectory, so that an adaptive
    /// solver sees a smooth field.
    Hutchinson {
        /// Distribution of `e`.
        #[serde(default)]
        probe: Probe,
        /// Probes averaged, at least 1.
        #[serde(default = "one")]
        probes: usize,
    },
}

fn one() -> usize {
    1
}

impl Default for Divergence {
    fn default() -> Self {
        Self::Hutchinson { probe: Probe::default(), probes: one() }
    }
}

/// Distribution of a probe: mean zero, covariance one.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// Signs: exact for diagonal Jacobians, and of the least variance.
    #[default]
    Rademacher,
    /// Standard normal numbers.
    Gaussian,
}

impl Divergence {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] for no probes at all.
    pub fn check(&self) -> Result<(), FlowError> {
        let probes = self.probes();
        let exact = *self == Self::Exact {};
        require(exact || (1..=1000).contains(&probes), "divergence.probes", probes, "it must be in [1, 1000]")
    }

    /// Number of probes; none for the exact divergence.
    pub fn probes(&self) -> usize {
        match *self {
            Self::Exact {} => 0,
            Self::Hutchinson { probes, .. } => probes,
        }
    }

    /// Probes of samples `indices`, each `[b n]` like the flattened `like`; row `i` depends on `key` and `indices[i]` alone.
    pub(super) fn draw(&self, key: Key, indices: &[u64], like: &Tensor<2>) -> Vec<Tensor<2>> {
        let Self::Hutchinson { probe, probes } = *self else { return Vec::new() };
        let one = |number: usize| {
            let normal = key.fold(number as u64).normal_tensor(indices, like.dims(), &like.device());
            let normal = normal.cast(like.dtype());
            if probe == Probe::Rademacher { normal.sign() } else { normal }
        };
        (0..probes).map(one).collect()
    }
}

/// A field that can say how it stretches space.
pub trait Divergent<const D: usize>: Field<D> {
    /// Velocity `[b ...]` and `e · (dv/dx) e` `[b]` for probes `e` of the shape of `x`.
    fn velocity_and_quadratic(
        &self,
        x: Tensor<D>,
        t: &Times,
        condition: &Condition,
        probe: Tensor<D>,
    ) -> (Tensor<D>, Tensor<1>);

    /// Velocity and divergence `[b]`; by default one derivative along each axis.
    fn velocity_and_divergence(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> (Tensor<D>, Tensor<1>) {
        let (dims, device, dtype) = (x.dims(), x.device(), x.dtype());
        let n: usize = dims[1..].iter().product();
        let mut total: Option<(Tensor<D>, Tensor<1>)> = None;
        for axis in 0..n {
            let mut unit = vec![0.0; dims[0] * n];
            unit.iter_mut().skip(axis).step_by(n).for_each(|e| *e = 1.0);
            let probe = Tensor::from_data(TensorData::new(unit, dims), (&device, dtype));
            let (velocity, part) = self.velocity_and_quadratic(x.clone(), t, condition, probe);
            total = Some(match total {
                None => (velocity, part),
                Some((_, sum)) => (velocity, sum + part),
            });
        }
        total.unwrap_or_else(|| (x.clone(), rows::sum(x)))
    }
}

/// A field made of tensor operations (a network), differentiated by the tape.
///
/// The network's weights must lie on an autodiff device. A field that computes on the host leaves no tape; its divergence
/// is then not a number, which the solver reports.
#[derive(Clone, Debug)]
pub struct ByAutodiff<F>(pub F);

impl<const D: usize, F: Field<D>> Field<D> for ByAutodiff<F> {
    fn velocity(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D> {
        self.0.velocity(x, t, condition)
    }
}

impl<const D: usize, F: Field<D>> Divergent<D> for ByAutodiff<F> {
    fn velocity_and_quadratic(
        &self,
        x: Tensor<D>,
        t: &Times,
        condition: &Condition,
        probe: Tensor<D>,
    ) -> (Tensor<D>, Tensor<1>) {
        let taped = x.is_autodiff();
        let leaf = x.clone().detach().autodiff().require_grad();
        let velocity = self.0.velocity(leaf.clone(), t, condition);
        let gradient = match velocity.is_autodiff() && velocity.is_tracked() {
            // Rows are independent, so the sum over rows gives every row its own derivative.
            true => leaf.grad(&(velocity.clone() * probe.clone().autodiff()).sum().backward()),
            false => None,
        };
        // Back to where the caller's points live.
        let home = |v: Tensor<D>| if taped { v.autodiff().detach() } else { v.inner() };
        let velocity = if velocity.is_autodiff() { home(velocity.detach()) } else { velocity };
        let quadratic = match gradient {
            None => rows::sum(x) * f64::NAN,
            Some(gradient) => {
                let gradient = if taped { gradient.autodiff() } else { gradient };
                rows::sum(gradient * probe)
            }
        };
        (velocity, quadratic)
    }
}

/// Any field, differentiated by central differences; for oracles in double precision.
#[derive(Clone, Debug)]
pub struct ByDifferences<F> {
    /// The field.
    pub field: F,
    /// Half the distance of the two points, positive; 1e-4 leaves errors of 1e-8 in double precision.
    pub step: f64,
}

fn quadratic_by_differences<const D: usize>(
    field: &impl Field<D>,
    step: f64,
    x: &Tensor<D>,
    t: &Times,
    condition: &Condition,
    probe: Tensor<D>,
) -> Tensor<1> {
    let at = |side: f64| field.velocity(x.clone() + probe.clone() * (side * step), t, condition);
    rows::sum((at(1.0) - at(-1.0)) * probe.clone()) / (2.0 * step)
}

impl<const D: usize, F: Field<D>> Field<D> for ByDifferences<F> {
    fn velocity(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D> {
        self.field.velocity(x, t, condition)
    }
}

impl<const D: usize, F: Field<D>> Divergent<D> for ByDifferences<F> {
    fn velocity_and_quadratic(
        &self,
        x: Tensor<D>,
        t: &Times,
        condition: &Condition,
        probe: Tensor<D>,
    ) -> (Tensor<D>, Tensor<1>) {
        let quadratic = quadratic_by_differences(&self.field, self.step, &x, t, condition, probe);
        (self.field.velocity(x, t, condition), quadratic)
    }
}

/// Mixtures know their divergence in closed form; probes go by differences.
impl Divergent<2> for MixtureField {
    fn velocity_and_quadratic(
        &self,
        x: Tensor<2>,
        t: &Times,
        condition: &Condition,
        probe: Tensor<2>,
    ) -> (Tensor<2>, Tensor<1>) {
        let quadratic = quadratic_by_differences(self, 1e-4, &x, t, condition, probe);
        (self.velocity(x, t, condition), quadratic)
    }

    fn velocity_and_divergence(&self, x: Tensor<2>, t: &Times, condition: &Condition) -> (Tensor<2>, Tensor<1>) {
        let [batch, d] = x.dims();
        let points = x.clone().into_data().iter::<f64>().collect::<Vec<_>>();
        let divergence: Vec<f64> =
            (points.chunks(d.max(1)).zip(t.values())).map(|(x, &t)| self.posterior(x, t).divergence).collect();
        let divergence = Tensor::from_data(TensorData::new(divergence, [batch]), (&x.device(), x.dtype()));
        (self.velocity(x, t, condition), divergence)
    }
}

/// The drift `b + ε s` of the forward SDE as a field.
#[derive(Clone, Debug)]
pub struct ForwardDrift<F> {
    /// Velocity and score.
    pub field: F,
    /// `ε`, constant.
    pub diffusion: f64,
}

impl<const D: usize, F: ScoreField<D>> Field<D> for ForwardDrift<F> {
    fn velocity(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D> {
        let (velocity, score) = self.field.velocity_and_score(x, t, condition);
        velocity + score * self.diffusion
    }
}
