//! Stochastic solvers: `dX = (b + ε s) dt + √(2ε) dW` towards the data, `dX = (b - ε s) dt + √(2ε) dW` towards the noise.
//!
//! Stochastic interpolants, arXiv 2303.08797, theorem 2.8 and §4; last steps after SiT, arXiv 2401.08740. With the exact
//! score every `ε` keeps the marginals, so the noise is additive (`ε` depends on time alone) and Itô and Stratonovich
//! agree. With `h` signed, both directions are `h (b + sign(h) ε s)` and a Brownian increment over `|h|`.

use super::curve::{Node, frame_of};
use super::method::Method;
use super::noise::{Increments, SCORE, SCORE_REMEDY};
use super::stepper::{Leg, Moved, Plan, Run};
use crate::{Diffusion, Field, FlowError, Parameterization, Schedule, error::require, path::INTERPOLANTS, rows};
use base::{Condition, Paper, Tensor, Times};
use serde::{Deserialize, Serialize};

/// SiT.
pub const SIT: Paper = Paper::arxiv(
    "ma2024sit",
    "Ma, Nanye and Goldstein, Mark and Albergo, Michael S. and Boffi, Nicholas M. and Vanden-Eijnden, Eric and Xie, Saining",
    "SiT: Exploring Flow and Diffusion-based Generative Models with Scalable Interpolant Transformers",
    (2024, "2401.08740"),
    "ECCV 2024",
);
const ROESSLER: Paper = Paper::printed(
    "rossler2010runge",
    "R{\\\"o}{\\ss}ler, Andreas",
    "Runge-Kutta Methods for the Strong Approximation of Solutions of Stochastic Differential Equations",
    2010,
    "SIAM Journal on Numerical Analysis 48(3)",
);

/// What the stochastic solvers share.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Sde {
    /// `ε(t)`.
    pub diffusion: Diffusion,
    /// How the last step is made.
    pub last_step: LastStep,
    /// Length of the last step, in (0, 1); the schedule's own last step when absent. The steps before are squeezed evenly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_step_size: Option<f64>,
}

/// How a stochastic solver finishes. Noise added by the last step would stay in the sample.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum LastStep {
    /// The drift without its noise: SiT's "Mean".
    #[default]
    Mean,
    /// `E[x1 | x]` where the schedule ends at the data, `E[x0 | x]` at the noise, and the curved Euler step towards either
    /// anywhere else (Tweedie's formula; the denoising step of 2303.08797, §4).
    Tweedie,
    /// The velocity alone.
    Euler,
    /// No step: what stands before the last step is taken for its end. SiT's "None".
    Stop,
    /// A step like the others, with its noise: right where the score is finite at the end.
    Same,
}

/// The method of the steps before the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// Strong order 1 (the noise is additive), weak order 1; one evaluation.
    EulerMaruyama,
    /// The noise first, then Heun's method on the drift (SiT's "Heun"): strong and weak order 1 with a smaller constant in
    /// the drift; two evaluations.
    Heun,
    /// Rößler 2010, SIAM J. Numer. Anal. 48(3), SRA1: strong order 1.5 for additive noise, weak order 2; two evaluations.
    RungeKutta,
}

impl Scheme {
    pub fn evaluations(self) -> usize {
        if self == Self::EulerMaruyama { 1 } else { 2 }
    }

    fn name(self) -> &'static str {
        match self {
            Self::EulerMaruyama => "euler_maruyama",
            Self::Heun => "sde_heun",
            Self::RungeKutta => "stochastic_rk",
        }
    }
}

/// A step for which `ε h |s|²` per value exceeds this multiplies deviations instead of damping them: against a Gaussian of
/// variance `v` it is `(ε h/v) χ²`, stable below `ε h/v = 2`; a stable step exceeds 32 once in 10^8 draws at 1.
const LONGEST: f64 = 32.0;

impl Sde {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), FlowError> {
        self.diffusion.check()?;
        let size = self.last_step_size.unwrap_or(0.5);
        require(size > 0.0 && size < 1.0, "solver.last_step_size", size, "it must lie between 0 and 1; 0.04 is SiT's")
    }

    /// Evaluations of the field in a run of `steps` steps.
    pub(super) fn evaluations(&self, scheme: Scheme, steps: usize) -> usize {
        let last = match self.last_step {
            LastStep::Stop => 0,
            LastStep::Same => scheme.evaluations(),
            LastStep::Mean | LastStep::Tweedie | LastStep::Euler => 1,
        };
        (steps - 1) * scheme.evaluations() + last
    }

    /// The grid with its last step as long as wanted.
    fn grid(&self, schedule: &Schedule) -> Result<Schedule, FlowError> {
        let Some(size) = self.last_step_size else { return Ok(schedule.clone()) };
        let (times, (start, end)) = (schedule.times(), schedule.ends());
        let span = (end - start).abs();
        require(size < span, "solver.last_step_size", size, "it must be shorter than the schedule")?;
        if schedule.steps() == 1 {
            return Ok(schedule.clone());
        }
        let before = times[times.len() - 2];
        let stretch = (end - (end - start).signum() * size - start) / (before - start);
        let mut times: Vec<f64> = times[..times.len() - 1].iter().map(|t| start + (t - start) * stretch).collect();
        times.push(end);
        Schedule::new(times)
    }
}

/// A field as a stochastic solver asks it.
struct Drift<'a, const D: usize> {
    field: &'a dyn Field<D>,
    condition: &'a Condition,
    sde: Sde,
}

/// Velocity and score at one point, and the diffusion there.
struct Local<const D: usize> {
    velocity: Tensor<D>,
    score: Tensor<D>,
    epsilon: f64,
}

impl<const D: usize> Local<D> {
    /// `b ± ε s`, plus towards the data.
    fn drift(self, h: f64) -> Tensor<D> {
        if self.epsilon == 0.0 { self.velocity } else { self.velocity + self.score * (h.signum() * self.epsilon) }
    }
}

impl<const D: usize> Drift<'_, D> {
    fn epsilon(&self, t: f64) -> Result<f64, FlowError> {
        self.sde.diffusion.at(t, self.field.frame().map(|f| f.path))
    }

    fn at(&self, x: &Tensor<D>, t: f64) -> Result<Local<D>, FlowError> {
        let epsilon = self.epsilon(t)?;
        let times = Times::all(t, x.dims()[0]);
        let (velocity, score) = match (self.field.score_field(), self.field.frame()) {
            (Some(field), _) => field.velocity_and_score(x.clone(), &times, self.condition),
            (None, Some(frame)) => {
                // The score that a velocity stands for on its path, held where both are finite.
                let score = Parameterization::Score {};
                let times = score.clamp(frame.path, &times);
                let velocity = self.field.velocity(x.clone(), &times, self.condition);
                let read = Parameterization::Velocity {}.read(score, frame.path, x.clone(), velocity.clone(), &times);
                (velocity, read)
            }
            (None, None) => (x.clone(), x.clone()), // refused in `solve`
        };
        Ok(Local { velocity, score, epsilon })
    }

    /// [`Drift::at`] the start of a step, whose length it refuses where it is too long.
    fn begin(&self, x: &Tensor<D>, leg: &Leg) -> Result<Local<D>, FlowError> {
        let local = self.at(x, leg.from)?;
        self.check_step(&local, leg)?;
        Ok(local)
    }

    fn check_step(&self, local: &Local<D>, leg: &Leg) -> Result<(), FlowError> {
        if local.epsilon == 0.0 {
            return Ok(());
        }
        let step = leg.h().abs();
        let squares = rows::host(rows::mean(local.score.clone().square()))?;
        match squares.iter().position(|s| local.epsilon * step * s > LONGEST) {
            Some(sample) => Err(FlowError::StepTooLong { epsilon: local.epsilon, step, t: leg.from, sample }),
            None => Ok(()),
        }
    }
}

/// A scheme with its settings.
pub(super) struct Stochastic<'s>(pub Scheme, pub &'s Sde);

impl Method for Stochastic<'_> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn order(&self) -> Option<f64> {
        Some(if self.0 == Scheme::RungeKutta { 1.5 } else { 1.0 })
    }

    fn papers(&self) -> Vec<Paper> {
        let own = (self.0 == Scheme::RungeKutta).then_some(ROESSLER);
        [INTERPOLANTS, SIT].into_iter().chain(own).collect()
    }

    fn evaluations(&self, steps: usize) -> Option<usize> {
        Some(self.1.evaluations(self.0, steps))
    }

    fn is_stochastic(&self) -> bool {
        true
    }

    fn check(&self) -> Result<(), FlowError> {
        self.1.check()
    }

    fn plan<'a, const D: usize>(&self, run: Run<'a, '_, D>) -> Result<Plan<'a, D>, FlowError> {
        plan(self.0, self.1.clone(), run)
    }
}

fn plan<'a, const D: usize>(scheme: Scheme, sde: Sde, run: Run<'a, '_, D>) -> Result<Plan<'a, D>, FlowError> {
    let Run { field, x, condition, schedule, noise } = run;
    let solver = scheme.name();
    let scored = field.score_field().is_some() || field.frame().is_some_and(|f| f.independent);
    if !scored {
        return Err(FlowError::Needs { solver, what: SCORE, remedy: SCORE_REMEDY });
    }
    if sde.last_step == LastStep::Tweedie {
        frame_of(field, solver)?;
    }
    let grid = sde.grid(schedule)?;
    let drift = Drift { field, condition, sde };
    let mut increments = noise.start(true, solver, &grid, x)?.expect("they were asked for");
    let last = grid.steps() - 1;
    let step = Box::new(move |leg: &Leg, x| {
        if leg.step == last && drift.sde.last_step != LastStep::Same {
            return finish(&drift, x, leg);
        }
        match scheme {
            Scheme::EulerMaruyama => euler_maruyama(&drift, x, leg, &mut increments),
            Scheme::Heun => heun(&drift, x, leg, &mut increments),
            Scheme::RungeKutta => runge_kutta(&drift, x, leg, &mut increments),
        }
    });
    Ok(Plan { grid, step })
}

fn euler_maruyama<const D: usize>(
    drift: &Drift<'_, D>,
    x: Tensor<D>,
    leg: &Leg,
    noise: &mut Increments,
) -> Result<Moved<D>, FlowError> {
    let local = drift.begin(&x, leg)?;
    let (velocity, spread) = (local.velocity.clone(), (2.0 * local.epsilon).sqrt());
    let dw = noise.change(&x);
    Ok(Moved { velocity, next: x + local.drift(leg.h()) * leg.h() + dw * spread, evaluations: 1 })
}

/// The velocity it shows is that of the stirred point, where the step evaluates first.
fn heun<const D: usize>(
    drift: &Drift<'_, D>,
    x: Tensor<D>,
    leg: &Leg,
    noise: &mut Increments,
) -> Result<Moved<D>, FlowError> {
    let h = leg.h();
    let dw = noise.change(&x);
    let stirred = x + dw * (2.0 * drift.epsilon(leg.from)?).sqrt();
    let local = drift.begin(&stirred, leg)?;
    let velocity = local.velocity.clone();
    let first = local.drift(h);
    let second = drift.at(&(stirred.clone() + first.clone() * h), leg.to)?.drift(h);
    Ok(Moved { velocity, next: stirred + (first + second) * (h / 2.0), evaluations: 2 })
}

fn runge_kutta<const D: usize>(
    drift: &Drift<'_, D>,
    x: Tensor<D>,
    leg: &Leg,
    noise: &mut Increments,
) -> Result<Moved<D>, FlowError> {
    let h = leg.h();
    let local = drift.begin(&x, leg)?;
    let velocity = local.velocity.clone();
    let (before, after) = ((2.0 * local.epsilon).sqrt(), (2.0 * drift.epsilon(leg.to)?).sqrt());
    let (dw, area) = noise.next(&x);
    let mean = area / h.abs(); // of the path over the step
    let first = local.drift(h);
    let middle = x.clone() + first.clone() * (0.75 * h) + mean.clone() * (1.5 * after);
    let second = drift.at(&middle, leg.from + 0.75 * h)?.drift(h);
    let next = x + first * (h / 3.0) + second * (2.0 * h / 3.0) + (dw - mean.clone()) * after + mean * before;
    Ok(Moved { velocity, next, evaluations: 2 })
}

fn finish<const D: usize>(drift: &Drift<'_, D>, x: Tensor<D>, leg: &Leg) -> Result<Moved<D>, FlowError> {
    let h = leg.h();
    if drift.sde.last_step == LastStep::Stop {
        return Ok(Moved { velocity: x.zeros_like(), next: x, evaluations: 0 });
    }
    let local = drift.at(&x, leg.from)?;
    let velocity = local.velocity.clone();
    let next = match (drift.sde.last_step, drift.field.frame()) {
        (LastStep::Tweedie, Some(frame)) => {
            let (from, to) = (Node::at(frame.path, leg.from), Node::at(frame.path, leg.to));
            from.step(x, local.velocity, &to, 1.0)
        }
        (LastStep::Euler, _) => x + local.velocity * h,
        _ => {
            drift.check_step(&local, leg)?;
            x + local.drift(h) * h
        }
    };
    Ok(Moved { velocity, next, evaluations: 1 })
}
