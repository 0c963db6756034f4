//! Step sizes: where the few steps of a sampler should lie, without training.
//!
//! Bellman optimal stepsize straightening, arXiv 2312.16414 (BOSS), stage 1: measure the cost of every jump on fine
//! trajectories ([`Costs`]), take the cheapest route of the wanted number of jumps ([`cheapest`]). The additive cost is not
//! the end error and can mislead, so [`search`] also offers the propagation-aware cost ([`Amplification`]) and measures all
//! candidates end to end on noise that the costs have not seen; uniform steps win where they are better.

mod amplification;
mod bellman;
mod cost;

pub use amplification::Amplification;
pub use bellman::{Route, cheapest};
pub use cost::{Costs, key, numbers};

use crate::MethodError;
use base::{Condition, Tensor};
use flow::{Field, Schedule, ScheduleConfig, Solver, diagnostics};
use serde::{Deserialize, Serialize};

/// Bellman Optimal Stepsize Straightening of Flow-Matching Models.
pub const BOSS: base::Paper = base::Paper::arxiv(
    "nguyen2023bellman",
    "Nguyen, Bao and Nguyen, Binh and Nguyen, Viet Anh",
    "Bellman Optimal Stepsize Straightening of Flow-Matching Models",
    (2023, "2312.16414"),
    "ICLR 2024",
);

/// How a schedule is searched.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct StepsizeConfig {
    /// Cells between the anchors of the fine trajectories; ten per wanted step or more, 100 in the paper.
    pub anchors: usize,
    /// Trajectories that costs are averaged over, 100 in the paper.
    pub samples: u64,
    /// Further trajectories on which candidates are compared.
    pub validation: u64,
    /// Trajectories computed together.
    pub batch: usize,
    /// Times at which the growth of errors is measured; 0 leaves the propagation-aware candidate out.
    pub growth_points: usize,
    /// Seed of the noise.
    pub seed: u64,
}

impl Default for StepsizeConfig {
    fn default() -> Self {
        Self { anchors: 100, samples: 100, validation: 100, batch: 50, growth_points: 8, seed: 0 }
    }
}

impl StepsizeConfig {
    /// Refuses settings that cannot serve a schedule of `steps` steps.
    ///
    /// # Errors
    /// [`MethodError::Setting`] naming the setting.
    pub fn check(&self, steps: usize) -> Result<(), MethodError> {
        let refuse = |setting, value: String, remedy| Err(MethodError::Setting { setting, value, remedy });
        if steps == 0 {
            return refuse("steps", "0".into(), "a schedule has at least one step");
        }
        if self.anchors < steps || self.anchors > 10_000 {
            let remedy = "there must be at least one cell per step, better ten, and at most 10 000 in all";
            return refuse("anchors", self.anchors.to_string(), remedy);
        }
        if self.samples == 0 || self.validation == 0 || self.batch == 0 {
            let value = format!("{}, {}, {}", self.samples, self.validation, self.batch);
            return refuse(
                "samples, validation, batch",
                value,
                "each must be at least 1; 100, 100 and 50 are customary",
            );
        }
        Ok(())
    }
}

/// Where a schedule came from.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Equal steps.
    Uniform,
    /// The cheapest route by the additive cost of the paper.
    Bellman,
    /// The cheapest route by the cost weighted with the growth of errors.
    Propagated,
}

impl Origin {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Bellman => "bellman",
            Self::Propagated => "propagated",
        }
    }
}

/// A schedule and what it costs.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Where it came from.
    pub origin: Origin,
    /// Its times, noise first.
    pub times: Vec<f64>,
    /// Sum of the local defects over the costs' trajectories (the paper's objective).
    pub local_cost: f64,
    /// Root-mean-square distance, per value, of its ends from the fine solution on the validation noise.
    pub end_error: f64,
}

/// A batch of starting points: noise `[b ...]` and its condition.
pub type Start<const D: usize> = (Tensor<D>, Condition);

/// Candidates for a schedule of `steps` Euler steps, best end error first.
///
/// `costs` and `growth` come from [`Costs::measure`] and [`Amplification::measure`]; one pair serves every budget.
/// `validation` holds starts that neither has seen with where the fine flow ends from them.
///
/// # Errors
/// Those of solving; [`MethodError::Setting`] if `steps` does not fit the anchors.
pub fn search<const D: usize>(
    field: &dyn Field<D>,
    costs: &Costs,
    growth: Option<&Amplification>,
    steps: usize,
    validation: &[(Start<D>, Tensor<D>)],
) -> Result<Vec<Candidate>, MethodError> {
    let times = costs.anchors().times();
    let along = |route: &Route| route.anchors.iter().map(|&a| times[a]).collect::<Vec<_>>();
    let mut routes = vec![(Origin::Bellman, along(&cheapest(costs, steps)?))];
    if let Some(growth) = growth {
        routes.push((Origin::Propagated, along(&cheapest(&costs.weighted(|t| growth.at(t)), steps)?)));
    }
    let (from, to) = costs.anchors().ends();
    routes.push((Origin::Uniform, ScheduleConfig::Uniform {}.between(from, to, steps)?.times().to_vec()));
    let mut candidates = Vec::with_capacity(routes.len());
    for (origin, times) in routes {
        let schedule = Schedule::new(times.clone())?;
        let (mut sum, mut values) = (0.0, 0);
        for ((x0, condition), end) in validation {
            let errors = diagnostics::step_error(field, x0.clone(), condition, &Solver::Euler {}, &schedule, end)?;
            sum += errors.iter().sum::<f64>();
            values += x0.dims().iter().product::<usize>();
        }
        let local_cost = local_cost(costs, &times);
        candidates.push(Candidate { origin, times, local_cost, end_error: (sum / values.max(1) as f64).sqrt() });
    }
    candidates.sort_by(|a, b| a.end_error.total_cmp(&b.end_error));
    Ok(candidates)
}

/// The paper's objective for any times, at the nearest anchors.
fn local_cost(costs: &Costs, times: &[f64]) -> f64 {
    let anchors = costs.anchors().times();
    let nearest = |t: &f64| {
        let distance = |i: &usize| (anchors[*i] - t).abs();
        (0..anchors.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0)
    };
    let route: Vec<usize> = times.iter().map(nearest).collect();
    route.windows(2).filter(|w| w[0] < w[1]).map(|w| costs.edge(w[0], w[1])).sum()
}
