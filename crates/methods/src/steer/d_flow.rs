//! D-Flow: the starting noise itself is moved until what it flows to fits what is known.
//!
//! Ben-Hamu et al., "D-Flow: Differentiating through flows for controlled generation", arXiv 2402.14017: `min over x0 of L(x1(x0))` by
//! L-BFGS, where `x1` is the end of a few steps of the flow. The gradient is that of those very steps, walked back one at a time from
//! points that were kept: each is evaluated again with a tape and forgotten, so that the tape never holds more than one evaluation, however
//! many steps there are, at the price of evaluating twice.
//!
//! It begins near the noise that the measurement itself flows from, walked back by the same steps: `blend` of that and the rest fresh noise.
//! The way back begins at the last step's beginning, with that step's share of the noise, since at the data itself many a path has no noise
//! to read a velocity from (EDM), and a network that predicts data none to tell its velocity by.

use super::descent::{Memory, dot};
use super::ends::{Ends, path_of};
use super::through::{Recorded, pull, recorded};
use super::{Problem, Steered, gradient, shaped};
use crate::MethodError;
use base::{Tensor, TensorData, Times};
use flow::{Path, rows};
use serde::{Deserialize, Serialize};

/// D-Flow: Differentiating through Flows for Controlled Generation.
pub const D_FLOW: base::Paper = base::Paper::arxiv(
    "benhamu2024dflow",
    "Ben-Hamu, Heli and Puny, Omri and Gat, Itai and Karrer, Brian and Singer, Uriel and Lipman, Yaron",
    "D-Flow: Differentiating through Flows for Controlled Generation",
    (2024, "2402.14017"),
    "ICML 2024",
);

/// Rounds in which a row finds no step that goes down before it is left alone: its second such round has forgotten the last pair and walks
/// down the gradient itself.
const IDLE: usize = 2;
/// Halvings of a step that does not go down.
const HALVINGS: usize = 5;
/// Share of the slope that a step must keep (Armijo).
const ENOUGH: f64 = 1e-4;
/// Of the noise's length that the very first step is long.
const FIRST: f64 = 0.1;

/// Settings of D-Flow.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct DFlow {
    /// Steps of the flow, at least 1; of the schedule's, evenly.
    pub steps: usize,
    /// Moves of the noise, at least 1.
    pub rounds: usize,
    /// Moves that L-BFGS remembers.
    pub memory: usize,
    /// Share, from 0 to 1, of the start that is what a sample looking like the measurement flows back to; the rest is noise. Of costs that are no
    /// linear measurement there is no such sample, and the start is noise alone.
    pub blend: f64,
}

impl Default for DFlow {
    fn default() -> Self {
        Self { steps: 6, rounds: 20, memory: 10, blend: 0.05 }
    }
}

/// A walk of the flow and what its end costs.
struct Walk<const D: usize> {
    points: Vec<Tensor<D>>,
    value: Vec<f64>,
}

impl DFlow {
    pub(super) fn check(&self) -> Result<(), MethodError> {
        for (setting, value) in [("steps", self.steps), ("rounds", self.rounds), ("memory", self.memory)] {
            if value == 0 {
                let remedy = "it must be at least 1";
                return Err(MethodError::Setting { setting, value: "0".into(), remedy });
            }
        }
        if !(0.0..=1.0).contains(&self.blend) {
            let remedy =
                "it is a share, from 0 (noise alone) to 1 (the measurement walked back alone); the usual one is 0.05";
            return Err(MethodError::Setting { setting: "blend", value: self.blend.to_string(), remedy });
        }
        Ok(())
    }

    /// The schedule's times that it steps through.
    fn times(&self, all: &[f64]) -> Vec<f64> {
        let last = all.len() - 1;
        let steps = self.steps.min(last);
        (0..=steps).map(|k| all[(k * last + steps / 2) / steps]).collect()
    }

    pub(super) fn run<const D: usize>(
        &self,
        problem: &Problem<'_, D>,
        x: Tensor<D>,
    ) -> Result<Steered<D>, MethodError> {
        self.check()?;
        let path = path_of(problem.field, "d_flow")?;
        let times = self.times(problem.schedule.times());
        let (mut walks, mut pulls, mut before_them) = (1, 0, 0);
        let x = match problem.cost.linear().filter(|_| self.blend > 0.0) {
            None => x,
            Some(linear) => {
                before_them = times.len() - 2;
                let back = linear.operator.adjoint(linear.measured.clone()) / linear.operator.bound();
                inverted(problem, path, &times, shaped(back, &x), &x)? * self.blend + x * (1.0 - self.blend)
            }
        };
        let like = x.clone();
        let mut here = walk(problem, path, &times, x)?;
        for (point, t) in here.points.iter().zip(&times) {
            rows::check_finite(point, &Times::all(*t, point.dims()[0]), "the steered state")?;
        }
        let mut idle = vec![0; like.dims()[0]];
        let mut memory = Memory::new(self.memory);
        let mut before: Option<(Tensor<2>, Tensor<2>)> = None; // the last point and its gradient
        for _ in 0..self.rounds {
            let point = rows::flatten(here.points[0].clone());
            let slope = rows::flatten(back(problem, path, &times, &here.points)?);
            pulls += 1;
            if let Some((last, old)) = before.replace((point.clone(), slope.clone())) {
                memory.add(point.clone() - last, slope.clone() - old);
            }
            // Of a row that fits already the gradient is nothing, and no length must be divided by it.
            let size = dot(&slope, &slope).sqrt();
            let size = size.clone().mask_fill(size.lower_equal_elem(0.0), 1.0);
            let way = memory.direction(&slope, dot(&point, &point).sqrt() / size * FIRST);
            let down = rows::host(dot(&slope, &way))?;
            // A row that does not go down halves its step; one that never does stays where it is.
            let b = idle.len();
            let first = |i: usize| if down[i] < 0.0 && idle[i] < IDLE { 1.0 } else { 0.0 };
            let mut lengths: Vec<f64> = (0..b).map(first).collect();
            let mut halving = 0;
            while lengths.iter().any(|length| *length > 0.0) {
                let along = TensorData::new(lengths.clone(), [b, 1]);
                let along = Tensor::<2>::from_data(along, (&point.device(), point.dtype()));
                let still = along.clone().lower_equal_elem(0.0).expand(point.dims());
                let moved = (point.clone() + way.clone() * along).mask_where(still, point.clone());
                let next = walk(problem, path, &times, shaped(moved, &like))?;
                walks += 1;
                // A step so long that nothing is a number any more fails like one that goes up.
                let fails = |i: usize| {
                    !next.value[i].is_finite() || next.value[i] > here.value[i] + ENOUGH * lengths[i] * down[i]
                };
                let failing: Vec<usize> = (0..b).filter(|i| lengths[*i] > 0.0 && fails(*i)).collect();
                if failing.is_empty() {
                    here = next;
                    break;
                }
                halving += 1;
                failing.into_iter().for_each(|i| lengths[i] = if halving >= HALVINGS { 0.0 } else { 0.5 * lengths[i] });
            }
            idle.iter_mut().zip(&lengths).for_each(|(idle, length)| *idle = if *length > 0.0 { 0 } else { *idle + 1 });
            if idle.iter().all(|idle| *idle >= IDLE) {
                break;
            }
        }
        let (steps, x) = (times.len() - 1, here.points.pop().unwrap_or(like));
        Ok(Steered { x, nfe: before_them + (walks + pulls) * steps, differentiated: pulls * steps })
    }
}

/// The points of the flow from `x` on, the last at the data, and its cost; no number where it ran away.
fn walk<const D: usize>(
    problem: &Problem<'_, D>,
    path: &Path,
    times: &[f64],
    x: Tensor<D>,
) -> Result<Walk<D>, MethodError> {
    let mut points = vec![x];
    for (k, leg) in times.windows(2).enumerate() {
        let (x, from) = (points[k].clone(), Times::all(leg[0], points[k].dims()[0]));
        let velocity = problem.velocity(x.clone(), &from)?;
        let next = Ends::of(path, x, velocity, leg[0]).at(path, leg[1]);
        points.push(next);
    }
    let end = rows::flatten(points[times.len() - 1].clone());
    let value = problem.cost.value(end.clone()) + rows::sum(end * 0.0);
    Ok(Walk { value: rows::host(value)?, points })
}

/// Where the flow came from to be near `data` in the end: from the point at the last step's beginning that has `data` and `noise`, a point of
/// the first time, for its ends, the same steps walked back, each with the velocity at its end. A row longer than its noise is brought to its
/// length, so that a blend of both starts no farther out than the flow does; one that is no number is the noise.
fn inverted<const D: usize>(
    problem: &Problem<'_, D>,
    path: &Path,
    times: &[f64],
    data: Tensor<D>,
    noise: &Tensor<D>,
) -> Result<Tensor<D>, MethodError> {
    let inner = &times[..times.len() - 1];
    let source = noise.clone() / path.at(times[0]).alpha;
    let mut x = Ends { source, data }.at(path, inner[inner.len() - 1]);
    for leg in inner.windows(2).rev() {
        let from = Times::all(leg[1], x.dims()[0]);
        let velocity = problem.velocity(x.clone(), &from)?;
        x = Ends::of(path, x, velocity, leg[1]).at(path, leg[0]);
    }
    let square = |x: &Tensor<D>| rows::host(rows::sum(x.clone() * x.clone()));
    let (found, known) = (square(&x)?, square(noise)?);
    let lost: Vec<usize> = (0..found.len()).filter(|i| !found[*i].is_finite()).collect();
    let share = |(found, known): (&f64, &f64)| if found > known { (known / found).sqrt() } else { 1.0 };
    let x = rows::scale(x, found.iter().zip(&known).map(share).collect());
    Ok(if lost.is_empty() { x } else { rows::replace(x, &lost, rows::select(noise.clone(), &lost)) })
}

/// The cost's gradient at the end of a walk, pulled back to its beginning step by step.
fn back<const D: usize>(
    problem: &Problem<'_, D>,
    path: &Path,
    times: &[f64],
    points: &[Tensor<D>],
) -> Result<Tensor<D>, MethodError> {
    let mut covector = gradient(problem.cost, &points[times.len() - 1]);
    for (k, leg) in times.windows(2).enumerate().rev() {
        let Recorded { leaf, ends, .. } = recorded(problem, path, &points[k], leg[0])?;
        covector = pull(&leaf, ends.at(path, leg[1]), covector);
    }
    Ok(covector)
}
