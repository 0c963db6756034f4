//! The cost of every jump between two anchors, measured on the flow's own trajectories.
//!
//! Bellman optimal stepsize straightening, arXiv 2312.16414, eq. 6: `c(j, k) = E|x_k - x_j - (t_k - t_j) v(x_j, t_j)|²`,
//! summed over the values of a sample, averaged over samples, not divided by the step. One matrix serves every budget.
//!
//! On an Euler trajectory `x_k - x_j` is the sum of `Δt_i v_i`, so a defect is a running sum of `Δt_i (v_i - v_j)`: nothing
//! cancels, and a jump of one cell costs exactly zero.

use crate::MethodError;
use base::{Condition, Key, RandomStream, Tensor};
use flow::{Field, FlowError, Schedule, Solver, rows, solve};

/// Costs of all jumps forwards between the anchors of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Costs {
    anchors: Schedule,
    /// `[n+1, n+1]`, row-major; zero on and below the diagonal.
    matrix: Vec<f64>,
    samples: usize,
}

impl Costs {
    /// Costs given entry by entry: `edge(j, k)` for `j < k`.
    pub fn from_fn(anchors: Schedule, edge: impl Fn(usize, usize) -> f64) -> Self {
        let n = anchors.steps() + 1;
        let matrix = (0..n * n).map(|i| if i / n < i % n { edge(i / n, i % n) } else { 0.0 }).collect();
        Self { anchors, matrix, samples: 0 }
    }

    /// The times jumped between.
    pub fn anchors(&self) -> &Schedule {
        &self.anchors
    }

    /// Number of cells between anchors.
    pub fn cells(&self) -> usize {
        self.anchors.steps()
    }

    /// Number of trajectories averaged over; zero for costs that were not measured.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Cost of the jump from anchor `from` to anchor `to > from`.
    pub fn edge(&self, from: usize, to: usize) -> f64 {
        self.matrix[from * (self.cells() + 1) + to]
    }

    /// The same costs with every jump that lands at anchor `k` weighted by `weight(t_k)`.
    pub fn weighted(&self, weight: impl Fn(f64) -> f64) -> Self {
        let times = self.anchors.times();
        let weights: Vec<f64> = times.iter().map(|&t| weight(t)).collect();
        let weighted = Self::from_fn(self.anchors.clone(), |j, k| self.edge(j, k) * weights[k]);
        Self { samples: self.samples, ..weighted }
    }

    /// The mean over several measurements along the same anchors, each weighted by its number of samples.
    ///
    /// # Errors
    /// [`MethodError::Setting`] if there is none, or their anchors differ.
    pub fn mean(parts: Vec<Self>) -> Result<Self, MethodError> {
        let refuse = |value: String, remedy| Err(MethodError::Setting { setting: "costs", value, remedy });
        let Some(first) = parts.first() else {
            return refuse("none".into(), "a mean needs at least one measurement");
        };
        if parts.iter().any(|part| part.anchors != first.anchors) {
            return refuse("mixed".into(), "measurements along different anchors have no mean");
        }
        let samples: usize = parts.iter().map(|part| part.samples).sum();
        let mut mean = Self { samples, matrix: vec![0.0; first.matrix.len()], anchors: first.anchors.clone() };
        for part in &parts {
            let share = part.samples as f64 / samples.max(1) as f64;
            mean.matrix.iter_mut().zip(&part.matrix).for_each(|(sum, c)| *sum += share * c);
        }
        Ok(mean)
    }

    /// Measures the costs on Euler trajectories along `anchors` from the starting points in `starts`, a batch at a time.
    ///
    /// Memory: one velocity per anchor and sample of a batch. Evaluations: one per anchor and batch.
    ///
    /// # Errors
    /// Those of [`solve`]; [`MethodError::Setting`] if there is no sample.
    pub fn measure<const D: usize>(
        field: &dyn Field<D>,
        anchors: &Schedule,
        starts: impl IntoIterator<Item = (Tensor<D>, Condition)>,
    ) -> Result<Self, MethodError> {
        let n = anchors.steps() + 1;
        let (mut matrix, mut samples) = (vec![0.0; n * n], 0);
        let times = anchors.times();
        for (x0, condition) in starts {
            samples += x0.dims()[0];
            let mut velocities = Vec::with_capacity(anchors.steps());
            let mut observe = |o: flow::Observation<D>| velocities.push(o.velocity);
            solve(field, x0, &condition, &Solver::Euler {}, anchors, Some(&mut observe))?;
            for j in 0..anchors.steps() {
                let mut defect: Option<Tensor<D>> = None;
                for k in j + 1..anchors.steps() {
                    let part = (velocities[k].clone() - velocities[j].clone()) * (times[k + 1] - times[k]);
                    let sum = defect.map_or_else(|| part.clone(), |d| d + part.clone());
                    matrix[j * n + k + 1] += total(sum.clone())?;
                    defect = Some(sum);
                }
            }
        }
        if samples == 0 {
            return Err(MethodError::Setting {
                setting: "samples",
                value: "0".into(),
                remedy: "costs are means over trajectories; 100 are customary",
            });
        }
        matrix.iter_mut().for_each(|c| *c /= samples as f64);
        Ok(Self { anchors: anchors.clone(), matrix, samples })
    }
}

/// Sum of squares over a whole batch.
fn total<const D: usize>(x: Tensor<D>) -> Result<f64, FlowError> {
    Ok(rows::host(rows::sum(x.square()))?.iter().sum())
}

/// The streams of a search's noise under `seed`, which neither training nor sampling uses.
pub fn key(seed: u64) -> Key {
    Key::of(seed, RandomStream::ScheduleNoise)
}

/// The numbers of `count` samples in batches.
pub fn numbers(count: u64, batch: usize) -> impl Iterator<Item = Vec<u64>> {
    let batch = batch.max(1) as u64;
    (0..count.div_ceil(batch)).map(move |i| (i * batch..count.min((i + 1) * batch)).collect())
}
