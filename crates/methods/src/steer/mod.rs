//! Steering: drawing samples of a trained flow that also answer to a cost, without training anything.
//!
//! A [`Cost`] says how well a data estimate fits what is known (a masked, shrunk or blurred picture, a class, a style); a
//! [`Steering`] says how the sampler listens to it. All methods share one problem and one answer, so that a table of them
//! compares like with like:
//!
//! | method | gradient through the network | evaluations per step | file |
//! |---|---|---|---|
//! | FlowChef (arXiv 2412.00100) | no | 1 | [`flowchef`] |
//! | MPGD (arXiv 2311.16424) | no | 1 | [`mpgd`] |
//! | DPS (arXiv 2209.14687) | yes | 1 | [`dps`] |
//! | FreeDoM (arXiv 2303.09833) | yes | 1 and those of its solver | [`freedom`] |
//! | OT-ODE (arXiv 2310.04432) | yes | 1 | [`ot_ode`] |
//! | PnP-Flow (arXiv 2410.02423) | no | one per draw | [`pnp_flow`] |
//! | FlowDPS (arXiv 2503.08136) | no | 1 | [`flow_dps`] |
//! | D-Flow (arXiv 2402.14017) | yes | two per step of every round, and more | [`d_flow`] |
//!
//! Step sizes are **κ**: the step times the largest curvature of the cost. It means the same at every resolution and for every
//! measurement; along a measured direction one step multiplies the residual by `1 - κ`.

pub mod conjugate;
pub mod cost;
pub mod d_flow;
pub mod decoded;
mod descent;
pub mod dps;
pub mod ends;
pub mod flow_dps;
pub mod flowchef;
pub mod freedom;
pub mod mpgd;
pub mod operator;
pub mod ot_ode;
pub mod pnp_flow;
pub mod preset;
pub mod sensor;
pub mod through;

pub use cost::{Cost, Linear, Measurement, Weighed};
pub use d_flow::DFlow;
pub use decoded::{Decode, Decoded};
pub use dps::Dps;
pub use flow_dps::FlowDps;
pub use flowchef::{FlowChef, Rule};
pub use freedom::FreeDom;
pub use mpgd::Mpgd;
pub use operator::Operator;
pub use ot_ode::OtOde;
pub use pnp_flow::PnpFlow;
pub use preset::Preset;
pub use sensor::Sensor;
pub use through::Lifted;

use crate::MethodError;
use base::{Condition, Key, Tensor, Times};
use flow::{Field, Schedule, rows};
use serde::{Deserialize, Serialize};

/// What is to be drawn, and what it must answer to.
#[derive(Clone, Copy)]
pub struct Problem<'a, const D: usize> {
    /// The flow; it must know its path.
    pub field: &'a dyn Field<D>,
    /// What the samples are asked for.
    pub condition: &'a Condition,
    /// What they must fit, on data estimates as rows `[b n]`.
    pub cost: &'a dyn Cost,
    /// The times to visit, from noise to data.
    pub schedule: &'a Schedule,
    /// Streams of fresh noise, for the methods that draw any.
    pub key: Key,
    /// Numbers of the samples, one per row: what they draw depends on these alone.
    pub indices: &'a [u64],
    /// Whether to stop, asked before every evaluation of the field.
    pub stop: &'a dyn Fn() -> bool,
}

impl<const D: usize> Problem<'_, D> {
    /// The velocity at `x`, times `t`.
    ///
    /// # Errors
    /// [`MethodError::Stopped`].
    pub(crate) fn velocity(&self, x: Tensor<D>, t: &Times) -> Result<Tensor<D>, MethodError> {
        self.go_on()?;
        Ok(self.field.velocity(x, t, self.condition))
    }

    /// [`MethodError::Stopped`] once somebody asked to stop.
    pub(crate) fn go_on(&self) -> Result<(), MethodError> {
        if (self.stop)() { Err(MethodError::Stopped) } else { Ok(()) }
    }
}

/// Steered samples and what they cost.
#[derive(Clone, Debug)]
pub struct Steered<const D: usize> {
    /// The samples, `[b ...]`.
    pub x: Tensor<D>,
    /// Evaluations of the field per sample.
    pub nfe: usize,
    /// How many of them were differentiated.
    pub differentiated: usize,
}

/// A way of listening to a cost.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Steering {
    /// The gradient at the data estimate with the velocity held still.
    #[serde(rename = "flowchef")]
    FlowChef(FlowChef),
    /// The same on the data estimate alone: the noise stays where it is.
    Mpgd(Mpgd),
    /// The gradient through the network.
    Dps(Dps),
    /// The same before every step of any solver, which then asks for the velocity anew.
    #[serde(rename = "freedom")]
    FreeDom(FreeDom),
    /// The velocity corrected by the likelihood of a linear measurement.
    OtOde(OtOde),
    /// Gradient step, fresh noise, denoising, again and again.
    PnpFlow(PnpFlow),
    /// Gradient steps on the data estimate, weighed by its noise, and fresh noise in the other.
    FlowDps(FlowDps),
    /// The starting noise moved until what it flows to fits.
    DFlow(DFlow),
}

impl Steering {
    /// Name as in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FlowChef(_) => "flowchef",
            Self::Mpgd(_) => "mpgd",
            Self::Dps(_) => "dps",
            Self::FreeDom(_) => "freedom",
            Self::OtOde(_) => "ot_ode",
            Self::PnpFlow(_) => "pnp_flow",
            Self::FlowDps(_) => "flow_dps",
            Self::DFlow(_) => "d_flow",
        }
    }

    /// All of them, with their usual settings.
    pub fn all() -> Vec<Self> {
        vec![
            Self::FlowChef(FlowChef::default()),
            Self::Mpgd(Mpgd::default()),
            Self::Dps(Dps::default()),
            Self::FreeDom(FreeDom::default()),
            Self::OtOde(OtOde::default()),
            Self::PnpFlow(PnpFlow::default()),
            Self::FlowDps(FlowDps::default()),
            Self::DFlow(DFlow::default()),
        ]
    }

    /// Whether it has a `κ`. OT-ODE's steps follow from the noise, D-Flow's from a line search.
    pub fn has_kappa(&self) -> bool {
        !matches!(self, Self::OtOde(_) | Self::DFlow(_))
    }

    /// Its `κ`, where its steps are measured by one.
    pub fn kappa(&self) -> Option<f64> {
        match self {
            Self::FlowChef(FlowChef { rule: Rule::Descent { kappa }, .. }) => Some(*kappa),
            Self::FlowChef(_) | Self::OtOde(_) | Self::DFlow(_) => None,
            Self::Mpgd(m) => Some(m.kappa),
            Self::Dps(m) => Some(m.kappa),
            Self::FreeDom(m) => Some(m.kappa),
            Self::PnpFlow(m) => Some(m.kappa),
            Self::FlowDps(m) => Some(m.kappa),
        }
    }

    /// The same with `κ`, where it has one, and with leave to use 2 and more if `unstable`.
    pub fn with(mut self, kappa: Option<f64>, unstable: bool) -> Self {
        let (own, free) = match &mut self {
            Self::FlowChef(m) => {
                if let Some(kappa) = kappa {
                    m.rule = Rule::Descent { kappa };
                }
                m.unstable |= unstable;
                return self;
            }
            Self::OtOde(_) | Self::DFlow(_) => return self,
            Self::FlowDps(m) => (&mut m.kappa, &mut m.unstable),
            Self::Mpgd(m) => (&mut m.kappa, &mut m.unstable),
            Self::Dps(m) => (&mut m.kappa, &mut m.unstable),
            Self::FreeDom(m) => (&mut m.kappa, &mut m.unstable),
            Self::PnpFlow(m) => (&mut m.kappa, &mut m.unstable),
        };
        *own = kappa.unwrap_or(*own);
        *free |= unstable;
        self
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`MethodError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), MethodError> {
        match self {
            Self::FlowChef(method) => method.check(),
            Self::Mpgd(method) => check_kappa(method.kappa, method.unstable),
            Self::Dps(method) => check_kappa(method.kappa, method.unstable),
            Self::FreeDom(method) => method.check(),
            Self::OtOde(method) => method.check(),
            Self::PnpFlow(method) => method.check(),
            Self::FlowDps(method) => method.check(),
            Self::DFlow(method) => method.check(),
        }
    }

    /// Whether it differentiates the field, whose weights must then lie where there is a tape.
    pub fn differentiates(&self) -> bool {
        matches!(self, Self::Dps(_) | Self::FreeDom(_) | Self::OtOde(_) | Self::DFlow(_))
    }

    /// Whether it looks at the noise in what is known; the others take what is known for exact.
    pub fn hears_noise(&self) -> bool {
        matches!(self, Self::FlowChef(_) | Self::OtOde(_))
    }

    /// Whether it can be asked for nothing but the misfit to a linear measurement.
    pub fn needs_linear(&self) -> bool {
        match self {
            Self::OtOde(_) | Self::PnpFlow(_) => true,
            Self::FlowChef(method) => method.project,
            Self::Mpgd(_) | Self::Dps(_) | Self::FreeDom(_) | Self::FlowDps(_) | Self::DFlow(_) => false,
        }
    }

    /// Carries `x` `[b ...]`, points at the schedule's first time, to samples that answer to the cost.
    ///
    /// # Errors
    /// [`MethodError::Setting`] for settings out of range; [`MethodError::Flow`] for a field that does not know its path, a
    /// state that runs away, or what a solver says; [`MethodError::Steering`] for a cost that the method cannot read;
    /// [`MethodError::Stopped`] where somebody asked to stop.
    pub fn run<const D: usize>(&self, problem: &Problem<'_, D>, x: Tensor<D>) -> Result<Steered<D>, MethodError> {
        if problem.indices.len() != x.dims()[0] {
            let (points, numbers) = (x.dims()[0], problem.indices.len());
            return Err(MethodError::Steering(format!("{points} points were given with {numbers} sample numbers")));
        }
        match self {
            Self::FlowChef(method) => method.run(problem, x),
            Self::Mpgd(method) => method.run(problem, x),
            Self::Dps(method) => method.run(problem, x),
            Self::FreeDom(method) => method.run(problem, x),
            Self::OtOde(method) => method.run(problem, x),
            Self::PnpFlow(method) => method.run(problem, x),
            Self::FlowDps(method) => method.run(problem, x),
            Self::DFlow(method) => method.run(problem, x),
        }
    }
}

/// Refuses a κ that is not positive, or that multiplies the residual instead of shrinking it.
pub(crate) fn check_kappa(kappa: f64, unstable: bool) -> Result<(), MethodError> {
    let refuse = |remedy| Err(MethodError::Setting { setting: "kappa", value: kappa.to_string(), remedy });
    if !(kappa.is_finite() && kappa > 0.0) {
        return refuse("it must be positive; 0.08 is the published step, 1 removes the residual at once");
    }
    if kappa >= 2.0 && !unstable {
        return refuse(
            "every step multiplies the residual by 1 - kappa, so from 2 on it grows and the samples are destroyed; use 0.05 to 1, \
             or force it",
        );
    }
    Ok(())
}

/// Refuses a window that is none.
pub(crate) fn check_window(window: Option<(f64, f64)>) -> Result<(), MethodError> {
    match window {
        Some((from, to)) if !(0.0 <= from && from <= to && to <= 1.0) => {
            let remedy = "it must be [from, to] with 0 <= from <= to <= 1 (t = 1 at the data)";
            Err(MethodError::Setting { setting: "window", value: format!("[{from}, {to}]"), remedy })
        }
        _ => Ok(()),
    }
}

/// Whether a step that begins at `t` is steered.
pub(crate) fn within(window: Option<(f64, f64)>, t: f64) -> bool {
    window.is_none_or(|(from, to)| (from..=to).contains(&t))
}

/// Rows `[b n]` in the shape of `like`.
pub(crate) fn shaped<const D: usize>(x: Tensor<2>, like: &Tensor<D>) -> Tensor<D> {
    x.reshape(like.dims())
}

/// The cost's gradient at data estimates `[b ...]`, in their shape.
pub(crate) fn gradient<const D: usize>(cost: &dyn Cost, data: &Tensor<D>) -> Tensor<D> {
    shaped(cost.gradient(rows::flatten(data.clone())), data)
}
