//! Time laws: the distribution of training times.
//!
//! Logit-normal, mode and CosMap: SD3, arXiv 2403.03206, §3.1 and appendix; U-shaped: 2-rectified flow++, arXiv
//! 2405.20320, §4.1; resolution shift: SD3 eq. 23. SD3 counts the **noise fraction** `sigma = 1 - t`; here t points to the
//! data, so a logit-normal mean changes sign against SD3 while the symmetric laws do not change.

mod law;
mod normal;

pub use law::TimeLaw;
pub use normal::{normal_cdf, normal_quantile};

use crate::{FlowError, error::require};
use base::{Key, Paper, Times, paper::SD3};
use serde::{Deserialize, Serialize};

/// A time law and its resolution shift.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct TimeConfig {
    /// The law before the shift.
    pub law: TimeLaw,
    /// Moves times towards the noise for large images: `sigma' = k sigma / (1 + (k-1) sigma)` on the noise fraction
    /// `sigma = 1 - t`. 1 leaves them alone; 3 is SD3's choice at 1024². Positive.
    pub shift: f64,
}

impl Default for TimeConfig {
    fn default() -> Self {
        Self { law: TimeLaw::default(), shift: 1.0 }
    }
}

/// `sigma' = k sigma / (1 + (k-1) sigma)` in terms of `t = 1 - sigma`: `t' = t / (t + k (1-t))`.
pub fn shift(t: f64, k: f64) -> f64 {
    if k == 1.0 { t } else { t / (t + k * (1.0 - t)) }
}

impl TimeConfig {
    /// `law` without shift.
    pub fn new(law: TimeLaw) -> Self {
        Self { law, shift: 1.0 }
    }

    /// The papers it is from.
    pub fn papers(&self) -> Vec<Paper> {
        let shifted = (self.shift != 1.0).then_some(SD3);
        self.law.papers().into_iter().chain(shifted).collect()
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), FlowError> {
        self.law.check()?;
        let k = self.shift;
        require(k.is_finite() && k > 0.0, "time.shift", k, "it must be positive; 1 means no shift")?;
        let free = !matches!(self.law, TimeLaw::Constant { .. } | TimeLaw::Steps { .. });
        require(free || k == 1.0, "time.shift", k, "constant times and steps are exact; leave the shift at 1")
    }

    /// The time below which a fraction `u` in [0, 1] of the draws lies.
    pub fn quantile(&self, u: f64) -> f64 {
        shift(self.law.quantile(u), self.shift)
    }

    /// Probability density at `t` in (0, 1); `None` for discrete laws.
    pub fn density(&self, t: f64) -> Option<f64> {
        // The shift by 1/k undoes the shift by k; the density divides by the slope of the map.
        let k = self.shift;
        let before = shift(t, 1.0 / k);
        let slope = {
            let d = before + k * (1.0 - before);
            k / (d * d) // dt/dbefore
        };
        self.law.density(before).map(|p| p / slope)
    }

    /// One time per sample; sample `i` depends on `key` and `indices[i]` alone.
    pub fn sample(&self, key: Key, indices: &[u64]) -> Times {
        Times::new(indices.iter().map(|&i| self.quantile(key.uniform(i))).collect())
    }
}
