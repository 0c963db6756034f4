//! Schedules: the grid of times a solver visits, forwards (noise to data) or backwards.

mod flow_match;

pub use flow_match::{FlowMatch, Sigma, TimeShift};

use crate::{FlowError, error::require, time};
use serde::{Deserialize, Serialize};

/// Finer grids differ by less than the rounding of 32-bit states, and a slip of the keyboard must not fill the memory.
const MOST_STEPS: usize = 1_000_000;

/// How a grid of times is laid out.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ScheduleConfig {
    /// Equal steps.
    Uniform {},
    /// Equal steps, then the resolution shift `sigma' = k sigma/(1+(k-1) sigma)` of the noise fraction `sigma = 1 - t`
    /// (SD3, arXiv 2403.03206, eq. 23): more steps near the noise for k > 1.
    Shifted {
        /// `k`, positive; 3 in SD3 at 1024².
        shift: f64,
    },
    /// Chebyshev's nodes, `t = (1 - cos(pi u))/2` for even `u`: steps in proportion to `√(t(1-t))`, short at both ends. For paths
    /// with a latent, whose score grows as `1/gamma` there, and noise mixed in while sampling.
    Chebyshev {},
    /// The sigma list that diffusers' flow-matching scheduler makes of these settings, as times.
    FlowMatch(FlowMatch),
    /// Exactly these times; the number of steps asked for is ignored.
    Custom {
        /// Strictly increasing or strictly decreasing times in [0, 1], at least two.
        times: Vec<f64>,
    },
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self::Uniform {}
    }
}

impl ScheduleConfig {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] or [`FlowError::Schedule`].
    pub fn check(&self) -> Result<(), FlowError> {
        match self {
            Self::Uniform {} | Self::Chebyshev {} => Ok(()),
            Self::Shifted { shift } => {
                require(shift.is_finite() && *shift > 0.0, "schedule.shift", shift, "it must be positive; 1 means none")
            }
            Self::FlowMatch(config) => config.check(),
            Self::Custom { times } => Schedule::new(times.clone()).map(drop),
        }
    }

    /// The grid of `steps` steps from noise (t = 0) to data (t = 1).
    ///
    /// # Errors
    /// [`FlowError::Schedule`] if `steps` is zero, and see [`ScheduleConfig::check`].
    pub fn build(&self, steps: usize) -> Result<Schedule, FlowError> {
        self.between(0.0, 1.0, steps)
    }

    /// The grid of `steps` steps from time `from` to time `to`, in either direction.
    ///
    /// # Errors
    /// [`FlowError::Schedule`] if `steps` is zero or beyond a million, or the ends are equal or outside [0, 1].
    pub fn between(&self, from: f64, to: f64, steps: usize) -> Result<Schedule, FlowError> {
        self.check()?;
        if steps == 0 {
            return Err(FlowError::Schedule("it has no steps; ask for at least one".into()));
        }
        if steps > MOST_STEPS {
            return Err(FlowError::Schedule(format!("{steps} steps were asked for; at most {MOST_STEPS} make sense")));
        }
        let k = match self {
            Self::Custom { times } => return Schedule::new(times.clone()),
            Self::FlowMatch(config) => {
                return match (from, to) {
                    (0.0, 1.0) => config.schedule(steps),
                    (1.0, 0.0) => Ok(config.schedule(steps)?.reversed()),
                    _ => Err(FlowError::Schedule("flow_match lays out whole runs only, from 0 to 1 or back".into())),
                };
            }
            Self::Chebyshev {} => {
                let share = |i: usize| 0.5 - 0.5 * (std::f64::consts::PI * i as f64 / steps as f64).cos();
                let mut times: Vec<f64> = (0..=steps).map(|i| from + (to - from) * share(i)).collect();
                (times[0], times[steps]) = (from, to);
                return Schedule::new(times);
            }
            Self::Uniform {} => 1.0,
            Self::Shifted { shift } => *shift,
        };
        // Laid out before the shift, so that the given ends are hit after it.
        let (a, b) = (time::shift(from, 1.0 / k), time::shift(to, 1.0 / k));
        let mut times: Vec<f64> = (0..=steps).map(|i| time::shift(a + (b - a) * i as f64 / steps as f64, k)).collect();
        (times[0], times[steps]) = (from, to);
        Schedule::new(times)
    }
}

/// A strictly monotone grid of at least two times in [0, 1].
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule(Vec<f64>);

impl Schedule {
    /// A schedule of exactly these times.
    ///
    /// # Errors
    /// [`FlowError::Schedule`] if there are fewer than two, one lies outside [0, 1], or they are not strictly monotone.
    pub fn new(times: Vec<f64>) -> Result<Self, FlowError> {
        let refuse = |why: String| Err(FlowError::Schedule(why));
        if times.len() < 2 {
            return refuse(format!("it has {} time(s); give at least two", times.len()));
        }
        if let Some(bad) = times.iter().find(|t| !(0.0..=1.0).contains(*t)) {
            return refuse(format!("time {bad} is outside [0, 1]; 0 is noise and 1 is data"));
        }
        let up = times[1] > times[0];
        for (i, pair) in times.windows(2).enumerate() {
            if pair[0] == pair[1] || (pair[1] > pair[0]) != up {
                let (a, b) = (pair[0], pair[1]);
                return refuse(format!("time {} ({a}) is followed by {b}; times must all rise or all fall", i + 1));
            }
        }
        Ok(Self(times))
    }

    /// The times, first visited first.
    pub fn times(&self) -> &[f64] {
        &self.0
    }

    /// Number of steps.
    pub fn steps(&self) -> usize {
        self.0.len() - 1
    }

    /// The same grid visited from its other end.
    pub fn reversed(&self) -> Self {
        Self(self.0.iter().rev().copied().collect())
    }

    /// First and last time.
    pub fn ends(&self) -> (f64, f64) {
        (self.0[0], self.0[self.0.len() - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chebyshev_steps_are_in_proportion_to_the_latent() {
        let times = ScheduleConfig::Chebyshev {}.build(6).unwrap();
        let known = [0.0, 0.5 - 0.75f64.sqrt() / 2.0, 0.25, 0.5, 0.75, 0.5 + 0.75f64.sqrt() / 2.0, 1.0];
        assert!(times.times().iter().zip(known).all(|(t, known)| (t - known).abs() < 1e-15), "{times:?}");
        assert_eq!(times.ends(), (0.0, 1.0));
        // Both ways and between any two times.
        let back = ScheduleConfig::Chebyshev {}.between(0.9, 0.1, 4).unwrap();
        assert_eq!((back.ends(), back.steps(), back.times()[2]), ((0.9, 0.1), 4, 0.5));
        // dt = pi √(t(1-t)) du.
        let fine = ScheduleConfig::Chebyshev {}.build(1000).unwrap();
        for pair in fine.times().windows(2).skip(40).take(920) {
            let middle = 0.5 * (pair[0] + pair[1]);
            let slope = (pair[1] - pair[0]) * 1000.0 / (middle * (1.0 - middle)).sqrt();
            assert!((slope / std::f64::consts::PI - 1.0).abs() < 1e-3, "{slope} at {middle}");
        }
    }
}
