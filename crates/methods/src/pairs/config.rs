//! How pairs are generated: solver, steps, pieces of trajectories, the share made backwards.

use crate::MethodError;
use flow::{Schedule, ScheduleConfig, Solver};
use serde::{Deserialize, Serialize};

/// How pairs are generated.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct PairsConfig {
    /// Seed of noise and labels. Never the training seed: pairs must not repeat noise that training drew.
    pub seed: u64,
    /// Solver of the teacher's flow; accurate rather than fast. A stochastic one gives pairs whose ends are right but whose
    /// data end is not a function of the noise alone.
    pub solver: Solver,
    /// Layout of its steps.
    pub schedule: ScheduleConfig,
    /// Number of steps (an adaptive solver chooses its own).
    pub steps: usize,
    /// Share of the pairs, in [0, 1], whose data end is real and whose source end the backward flow finds; spread evenly.
    pub inverted: f64,
    /// Pairs per batch; changes speed and memory, not the pairs.
    pub batch: usize,
    /// Times, rising within (0, 1), at which every trajectory is cut: its pieces become pairs of their own, each between its
    /// own two times. None by default: a pair is a whole trajectory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<f64>,
}

impl Default for PairsConfig {
    // A seed nobody picks for training by hand, so that a teacher's recipe and these defaults go together.
    fn default() -> Self {
        let (solver, schedule) = (Solver::Heun {}, ScheduleConfig::Uniform {});
        Self { seed: 1_000_003, solver, schedule, steps: 20, inverted: 0.0, batch: 64, cuts: Vec::new() }
    }
}

impl PairsConfig {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`MethodError`] naming the setting.
    pub fn check(&self) -> Result<(), MethodError> {
        self.solver.check()?;
        self.schedule.build(self.steps)?;
        if !self.cuts.is_empty() {
            let times = self.times();
            let rising = times.windows(2).all(|w| w[0] < w[1]) && times.iter().all(|t| (0.0..=1.0).contains(t));
            if !rising {
                let (value, remedy) = (format!("{:?}", self.cuts), "they must rise and lie strictly between 0 and 1");
                return Err(MethodError::Setting { setting: "pairs.generate.cuts", value, remedy });
            }
            if self.schedule != (ScheduleConfig::Uniform {}) {
                let (value, remedy) =
                    (format!("{:?}", self.schedule), "with cuts the steps between them are equal; use uniform");
                return Err(MethodError::Setting { setting: "pairs.generate.schedule", value, remedy });
            }
            if self.inverted > 0.0 {
                let (value, remedy) =
                    (self.inverted.to_string(), "with cuts every trajectory runs forwards; set it to 0");
                return Err(MethodError::Setting { setting: "pairs.generate.inverted", value, remedy });
            }
        }
        if !(0.0..=1.0).contains(&self.inverted) {
            let (setting, value) = ("pairs.generate.inverted", self.inverted.to_string());
            return Err(MethodError::Setting { setting, value, remedy: "it is a share, from 0 (none) to 1 (all)" });
        }
        if self.inverted > 0.0 && self.solver.is_stochastic() {
            let (setting, value) = ("pairs.generate.solver with inverted pairs", self.solver.name().into());
            let remedy = "a stochastic solver has no way back; set a deterministic one, for instance heun";
            return Err(MethodError::Setting { setting, value, remedy });
        }
        match self.batch {
            0 => {
                Err(MethodError::Setting { setting: "pairs.batch", value: "0".into(), remedy: "it must be at least 1" })
            }
            _ => Ok(()),
        }
    }

    /// Where pairs begin and end: 0, the cuts, 1. Pair `i` is piece `i % n` of trajectory `i / n`, `n` the number of pieces.
    pub fn times(&self) -> Vec<f64> {
        [&[0.0], self.cuts.as_slice(), &[1.0]].concat()
    }

    /// Pieces per trajectory.
    pub fn pieces(&self) -> usize {
        self.cuts.len() + 1
    }

    /// The times of all steps, with every end of a piece among them: `steps` in all, shared out in proportion, at least one
    /// per piece. Cuts on the grid of equal steps change no step.
    pub(super) fn grid(&self) -> Result<Vec<Schedule>, MethodError> {
        if self.cuts.is_empty() {
            return Ok(vec![self.schedule.build(self.steps)?]);
        }
        let of = |w: &[f64]| {
            let steps = ((w[1] - w[0]) * self.steps as f64).round().max(1.0) as usize;
            Ok(self.schedule.between(w[0], w[1], steps)?)
        };
        self.times().windows(2).map(of).collect()
    }

    /// How many of the first `count` pairs are inverted.
    pub fn inverted_of(&self, count: u64) -> u64 {
        // A tenth of ten is one, whatever a tenth is in binary.
        (count as f64 * self.inverted + 1e-6).floor() as u64
    }

    /// Whether pair `index` is made backwards, from real data.
    pub fn is_inverted(&self, index: u64) -> bool {
        self.inverted_of(index + 1) > self.inverted_of(index)
    }
}
