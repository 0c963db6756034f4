//! A solver as an object that one may stop between steps: advance it, read its state, put another in its place.
//!
//! Every method on a fixed grid is a grid and a closure that makes one step ([`Plan`]); [`solve_with`](super::solve_with) is a
//! loop over it. Who steers a sample, blends in an original or draws time back stands between two steps and needs nothing
//! else of the solver. Adaptive methods have no step that all samples share, and are refused.

use super::{Observation, Solver, noise::Noise};
use crate::{Brownian, Field, FlowError, Schedule, rows};
use base::{Condition, Tensor, Times};

/// One step of the grid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leg {
    /// Number of the step, from 0.
    pub step: usize,
    /// Time before.
    pub from: f64,
    /// Time after.
    pub to: f64,
    /// Whether the point is not where the last step ended: what a method remembers of its past is then of another path.
    pub replaced: bool,
}

impl Leg {
    /// Signed length of the step: negative backwards in time.
    pub fn h(&self) -> f64 {
        self.to - self.from
    }
}

/// What a step found: the velocity where it began and the point where it ended.
pub(super) struct Moved<const D: usize> {
    pub velocity: Tensor<D>,
    pub next: Tensor<D>,
    /// How often it asked the field.
    pub evaluations: usize,
}

/// One step from a point `[b ...]`.
pub(super) type Step<'a, const D: usize> = Box<dyn FnMut(&Leg, Tensor<D>) -> Result<Moved<D>, FlowError> + 'a>;

/// A method made ready: the times it visits and its step.
pub(super) struct Plan<'a, const D: usize> {
    pub grid: Schedule,
    pub step: Step<'a, D>,
}

/// What a method is made ready with.
pub(super) struct Run<'a, 'b, const D: usize> {
    pub field: &'a dyn Field<D>,
    /// Where it begins, `[b ...]`.
    pub x: &'b Tensor<D>,
    pub condition: &'a Condition,
    pub schedule: &'b Schedule,
    pub noise: Noise<'b>,
}

impl<'a, const D: usize> Run<'a, '_, D> {
    /// `step` on the schedule's own grid.
    pub fn on_grid(&self, step: Step<'a, D>) -> Plan<'a, D> {
        Plan { grid: self.schedule.clone(), step }
    }
}

/// A solver under way over a fixed grid.
///
/// ```
/// use flow::{Field, ScheduleConfig, Solver, Stepper, exact};
/// use base::{Condition, Device, Key, Purpose};
///
/// let field = exact::Gaussian::new(flow::Path::Linear {}, vec![3.0], vec![0.5])?;
/// let noise = Key::new(0, Purpose::Noise).normal_tensor::<2>(&[0, 1], [0, 1], &Device::flex());
/// let (none, schedule) = (Condition::none(), ScheduleConfig::Uniform {}.build(10)?);
/// let mut stepper = Stepper::new(&field, noise, &none, &Solver::Midpoint {}, &schedule, None)?;
/// while stepper.advance()?.is_some() {
///     let positive = stepper.state().clone().abs();
///     stepper.replace(positive)?;
/// }
/// assert_eq!(stepper.solution().nfe, 20);
/// # Ok::<(), flow::FlowError>(())
/// ```
pub struct Stepper<'a, const D: usize> {
    plan: Plan<'a, D>,
    x: Tensor<D>,
    done: usize,
    nfe: usize,
    replaced: bool,
}

impl<'a, const D: usize> Stepper<'a, D> {
    /// `solver` about to carry `x` `[b ...]` over `schedule`; a stochastic one reads `brownian`, one path per row.
    ///
    /// # Errors
    /// As [`solve_with`](super::solve_with), and [`FlowError::Needs`] for an adaptive solver.
    pub fn new(
        field: &'a dyn Field<D>,
        x: Tensor<D>,
        condition: &'a Condition,
        solver: &'a Solver,
        schedule: &Schedule,
        brownian: Option<&Brownian>,
    ) -> Result<Self, FlowError> {
        solver.check()?;
        if x.dims()[0] == 0 {
            let step: Step<'a, D> = Box::new(|_, x| Ok(Moved { velocity: x.clone(), next: x, evaluations: 0 }));
            let plan = Plan { grid: schedule.clone(), step };
            return Ok(Self { done: schedule.steps(), plan, x, nfe: 0, replaced: false });
        }
        rows::check_finite(&x, &Times::all(schedule.ends().0, x.dims()[0]), "the initial state")?;
        let run = Run { field, x: &x, condition, schedule, noise: Noise(brownian) };
        let plan = solver.plan(run)?;
        Ok(Self { plan, x, done: 0, nfe: 0, replaced: false })
    }

    /// The times of its steps: the schedule's, but for stochastic solvers with a last step of their own.
    pub fn grid(&self) -> &Schedule {
        &self.plan.grid
    }

    /// The time it has reached.
    pub fn time(&self) -> f64 {
        self.plan.grid.times()[self.done]
    }

    /// Steps made so far.
    pub fn done(&self) -> usize {
        self.done
    }

    /// The points it has reached, `[b ...]`.
    pub fn state(&self) -> &Tensor<D> {
        &self.x
    }

    /// Goes on from `x` instead. A method that remembers earlier steps forgets them: it goes on as it would start there.
    ///
    /// # Errors
    /// [`FlowError::Shape`] for points of another shape.
    pub fn replace(&mut self, x: Tensor<D>) -> Result<(), FlowError> {
        rows::same_shape("the state", &self.x, "its replacement", &x)?;
        (self.x, self.replaced) = (x, true);
        Ok(())
    }

    /// Makes the next step and shows it; `None` at the end of the grid.
    ///
    /// # Errors
    /// Those of the step: [`FlowError::NotFinite`] and, from stochastic solvers, [`FlowError::Diffusion`] and
    /// [`FlowError::StepTooLong`].
    pub fn advance(&mut self) -> Result<Option<Observation<D>>, FlowError> {
        let times = self.plan.grid.times();
        let Some(&to) = times.get(self.done + 1) else { return Ok(None) };
        let leg = Leg { step: self.done, from: times[self.done], to, replaced: self.replaced };
        let batch = self.x.dims()[0];
        let Moved { velocity, next, evaluations } = (self.plan.step)(&leg, self.x.clone())?;
        rows::check_finite(&next, &Times::all(leg.from, batch), "the state after the step")?;
        let x = std::mem::replace(&mut self.x, next);
        (self.done, self.nfe, self.replaced) = (self.done + 1, self.nfe + evaluations, false);
        Ok(Some(Observation {
            step: leg.step,
            rows: (0..batch).collect(),
            t: Times::all(leg.from, batch),
            dt: vec![leg.h(); batch],
            x,
            velocity,
            next: self.x.clone(),
        }))
    }

    /// Where it stands and what that cost.
    pub fn solution(self) -> super::Solution<D> {
        let batch = self.x.dims()[0];
        super::Solution { x: self.x, nfe: self.nfe, nfe_per_sample: vec![self.nfe; batch] }
    }
}
