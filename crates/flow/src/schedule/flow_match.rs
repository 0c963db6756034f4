//! The sigma lists of diffusers' `FlowMatchEulerDiscreteScheduler`, as its `scheduler_config.json` describes them.
//!
//! Only here does noise stand at one: [`Sigma`] is the noise fraction `1 - t` of the linear path. Shifts: SD3, arXiv
//! 2403.03206, eq. 23 (static) and FLUX (from the number of tokens). Behaviour, including the shift that is applied twice,
//! after diffusers at commit 58eb52c.

use super::Schedule;
use crate::{FlowError, error::require};
use serde::{Deserialize, Serialize};

/// A noise level as diffusers counts it: 1 is noise, 0 data.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Sigma(pub f64);

impl Sigma {
    /// The time of this project's frame.
    pub fn time(self) -> f64 {
        1.0 - self.0
    }
}

/// How the shift follows from `mu` when it depends on the number of tokens.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum TimeShift {
    /// `k = e^mu`.
    #[default]
    Exponential,
    /// `k = mu`.
    Linear,
}

/// A sigma list by its settings. Names are those of `scheduler_config.json`, but for the last two.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct FlowMatch {
    /// Levels in training: the last one before the data is `1/num_train_timesteps`. At least 2.
    pub num_train_timesteps: usize,
    /// Static shift `k` of `sigma' = k sigma/(1 + (k-1) sigma)`, positive; 3 in SD3.
    pub shift: f64,
    /// Whether the shift follows from [`image_seq_len`](Self::image_seq_len) in place of [`shift`](Self::shift).
    pub use_dynamic_shifting: bool,
    /// `mu` at `base_image_seq_len` tokens.
    pub base_shift: f64,
    /// `mu` at `max_image_seq_len` tokens.
    pub max_shift: f64,
    /// Tokens of the smallest training images.
    pub base_image_seq_len: usize,
    /// Tokens of the largest training images; more than the smallest.
    pub max_image_seq_len: usize,
    /// How `mu` becomes a shift.
    pub time_shift_type: TimeShift,
    /// Stretches the list so that its last level before zero is this one, in (0, 1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shift_terminal: Option<f64>,
    /// Levels of Karras et al. 2022, arXiv 2206.00364, eq. 5, between the ends of the shifted list.
    pub use_karras_sigmas: bool,
    /// Levels even in their logarithm between the ends of the shifted list.
    pub use_exponential_sigmas: bool,
    /// Tokens of the image to draw, for dynamic shifting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_seq_len: Option<usize>,
    /// Applies the static shift twice to the lower end, as diffusers does when asked for a number of steps (its issue
    /// 13243): to reproduce its samples, not to improve on them.
    pub legacy_double_shift: bool,
}

impl Default for FlowMatch {
    fn default() -> Self {
        Self {
            num_train_timesteps: 1000,
            shift: 1.0,
            use_dynamic_shifting: false,
            base_shift: 0.5,
            max_shift: 1.15,
            base_image_seq_len: 256,
            max_image_seq_len: 4096,
            time_shift_type: TimeShift::default(),
            shift_terminal: None,
            use_karras_sigmas: false,
            use_exponential_sigmas: false,
            image_seq_len: None,
            legacy_double_shift: false,
        }
    }
}

impl FlowMatch {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), FlowError> {
        let levels = self.num_train_timesteps;
        require(levels >= 2, "schedule.num_train_timesteps", levels, "it must be at least 2; 1000 is customary")?;
        let k = self.shift;
        require(k.is_finite() && k > 0.0, "schedule.shift", k, "it must be positive; 1 means none")?;
        if let Some(last) = self.shift_terminal {
            require(last > 0.0 && last < 1.0, "schedule.shift_terminal", last, "it must lie between 0 and 1")?;
        }
        let both = self.use_karras_sigmas && self.use_exponential_sigmas;
        require(!both, "schedule.use_karras_sigmas", true, "choose either karras or exponential sigmas")?;
        if self.use_dynamic_shifting {
            let rising = self.max_image_seq_len > self.base_image_seq_len;
            let remedy = "it must be more than base_image_seq_len";
            require(rising, "schedule.max_image_seq_len", self.max_image_seq_len, remedy)?;
            let remedy = "use_dynamic_shifting takes the shift from the image's number of tokens; set image_seq_len";
            require(self.image_seq_len.is_some_and(|n| n > 0), "schedule.image_seq_len", "none", remedy)?;
            let k = self.dynamic();
            let remedy = "they must give a positive shift";
            require(k.is_finite() && k > 0.0, "schedule.base_shift and max_shift", k, remedy)?;
        }
        Ok(())
    }

    /// The shift for the image's number of tokens.
    fn dynamic(&self) -> f64 {
        let tokens = self.image_seq_len.unwrap_or(self.base_image_seq_len) as f64;
        let (low, high) = (self.base_image_seq_len as f64, self.max_image_seq_len as f64);
        let mu = self.base_shift + (self.max_shift - self.base_shift) * (tokens - low) / (high - low);
        match self.time_shift_type {
            TimeShift::Exponential => mu.exp(),
            TimeShift::Linear => mu,
        }
    }

    /// The `steps + 1` levels of a run, from 1 down to 0.
    ///
    /// # Errors
    /// [`FlowError::Schedule`] without steps, and see [`FlowMatch::check`].
    pub fn sigmas(&self, steps: usize) -> Result<Vec<Sigma>, FlowError> {
        self.check()?;
        if steps == 0 {
            return Err(FlowError::Schedule("it has no steps; ask for at least one".into()));
        }
        self.laid_out(self.levels(steps))
    }

    /// The `steps` levels before any shift, 1 first: what diffusers' `set_timesteps(sigmas=...)` must be given for the list of
    /// [`FlowMatch::sigmas`].
    pub fn levels(&self, steps: usize) -> Vec<f64> {
        let lowest = 1.0 / self.num_train_timesteps as f64;
        // diffusers keeps the ends of its statically shifted list and shifts what lies between them once more.
        let twice = self.legacy_double_shift && !self.use_dynamic_shifting;
        even(1.0, if twice { self.shifted(lowest) } else { lowest }, steps)
    }

    /// A level after the shift.
    pub fn shifted(&self, sigma: f64) -> f64 {
        let k = self.factor();
        k * sigma / (1.0 + (k - 1.0) * sigma)
    }

    /// The level that the shift takes to `sigma`.
    pub fn unshifted(&self, sigma: f64) -> f64 {
        let k = self.factor();
        sigma / (1.0 + (k - 1.0) * (1.0 - sigma)) // exactly one at one
    }

    fn factor(&self) -> f64 {
        if self.use_dynamic_shifting { self.dynamic() } else { self.shift }
    }

    /// Shift, stretch and respacing of given levels, and the zero that follows them: what diffusers makes of `sigmas`.
    ///
    /// # Errors
    /// [`FlowError::Schedule`] without levels or with one outside (0, 1], and see [`FlowMatch::check`].
    pub fn laid_out(&self, levels: Vec<f64>) -> Result<Vec<Sigma>, FlowError> {
        self.check()?;
        if let Some(bad) = levels.iter().find(|sigma| !(**sigma > 0.0 && **sigma <= 1.0)) {
            let rule = "1 is noise, and the 0 of the data is added at the end";
            return Err(FlowError::Schedule(format!("level {bad} is outside (0, 1]; {rule}")));
        }
        if levels.is_empty() {
            return Err(FlowError::Schedule("it has no steps; ask for at least one".into()));
        }
        let steps = levels.len();
        let from_noise = levels[0] == 1.0;
        let mut sigmas: Vec<f64> = levels.into_iter().map(|sigma| self.shifted(sigma)).collect();
        if let Some(last) = self.shift_terminal {
            let scale = (1.0 - sigmas[steps - 1]) / (1.0 - last);
            // A single level is the noise itself and has nothing to stretch.
            if scale > 0.0 {
                sigmas.iter_mut().for_each(|sigma| *sigma = 1.0 - (1.0 - *sigma) / scale);
            }
        }
        let (high, low) = (sigmas[0], sigmas[steps - 1]);
        if self.use_karras_sigmas {
            let power = |sigma: f64| sigma.powf(1.0 / 7.0);
            sigmas = even(power(high), power(low), steps).into_iter().map(|root| root.powi(7)).collect();
        }
        if self.use_exponential_sigmas {
            sigmas = even(high.ln(), low.ln(), steps).into_iter().map(f64::exp).collect();
        }
        sigmas.push(0.0);
        if from_noise {
            sigmas[0] = 1.0; // respacing leaves its rounding there
        }
        Ok(sigmas.into_iter().map(Sigma).collect())
    }

    /// The same as times, noise first.
    ///
    /// # Errors
    /// Those of [`FlowMatch::sigmas`]; [`FlowError::Schedule`] where levels coincide.
    pub fn schedule(&self, steps: usize) -> Result<Schedule, FlowError> {
        Schedule::new(self.sigmas(steps)?.into_iter().map(Sigma::time).collect())
    }
}

/// `n` even numbers from `a` to `b`, both included; `a` alone for one.
fn even(a: f64, b: f64, n: usize) -> Vec<f64> {
    (0..n).map(|i| if n == 1 { a } else { a + (b - a) * i as f64 / (n as f64 - 1.0) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(config: &FlowMatch, steps: usize) -> Vec<f64> {
        let sigmas = config.sigmas(steps).unwrap();
        sigmas[sigmas.len() - 4..].iter().map(|s| (s.0 * 1e4).round() / 1e4).collect()
    }

    #[test]
    fn the_double_shift_is_reproduced_on_demand_only() {
        let once = FlowMatch { shift: 3.0, ..FlowMatch::default() };
        let twice = FlowMatch { legacy_double_shift: true, ..once.clone() };
        assert_eq!(tail(&once, 1000), [0.0089, 0.006, 0.003, 0.0]);
        assert_eq!(tail(&twice, 1000), [0.0148, 0.0119, 0.0089, 0.0]);
        let lowest = twice.sigmas(28).unwrap()[27].0;
        assert!((lowest - 0.008929).abs() < 1e-6, "{lowest}");
    }

    #[test]
    fn levels_before_the_shift_give_the_list() {
        for k in [0.5, 1.0, 3.0] {
            let config = FlowMatch { shift: k, legacy_double_shift: true, ..FlowMatch::default() };
            assert_eq!(config.laid_out(config.levels(7)).unwrap(), config.sigmas(7).unwrap());
            assert!((config.unshifted(config.shifted(0.3)) - 0.3).abs() < 1e-15);
        }
        let refused = |levels| FlowMatch::default().laid_out(levels).unwrap_err().to_string();
        assert!(refused(vec![]).contains("no steps") && refused(vec![1.0, 0.0]).contains("level 0"));
        assert!(refused(vec![f64::NAN]).contains("NaN"));
    }

    #[test]
    fn tokens_set_the_shift() {
        let at = |tokens, time_shift_type| FlowMatch {
            use_dynamic_shifting: true,
            image_seq_len: Some(tokens),
            time_shift_type,
            ..FlowMatch::default()
        };
        let middle = |config: FlowMatch| {
            let k = config.dynamic();
            let sigma = config.sigmas(3).unwrap()[1].0;
            let before = 0.5 * (1.0 + 0.001);
            assert!((sigma - k * before / (1.0 + (k - 1.0) * before)).abs() < 1e-12);
            k
        };
        assert!((middle(at(256, TimeShift::Exponential)) - 0.5_f64.exp()).abs() < 1e-12);
        assert!((middle(at(4096, TimeShift::Exponential)) - 1.15_f64.exp()).abs() < 1e-12);
        assert!((middle(at(4096, TimeShift::Linear)) - 1.15).abs() < 1e-12);
        let none = FlowMatch { use_dynamic_shifting: true, ..FlowMatch::default() };
        assert!(none.check().unwrap_err().to_string().contains("image_seq_len"));
    }

    #[test]
    fn terminal_karras_and_exponential_lists_keep_their_ends() {
        let last = FlowMatch { shift: 2.0, shift_terminal: Some(0.1), ..FlowMatch::default() };
        let sigmas = last.sigmas(10).unwrap();
        assert!((sigmas[9].0 - 0.1).abs() < 1e-12 && sigmas[0].0 == 1.0 && sigmas[10].0 == 0.0);
        let karras = FlowMatch { use_karras_sigmas: true, ..FlowMatch::default() }.sigmas(3).unwrap();
        let middle = (0.5 * (1.0 + 0.001_f64.powf(1.0 / 7.0))).powi(7);
        assert!((karras[1].0 - middle).abs() < 1e-12);
        let exponential = FlowMatch { use_exponential_sigmas: true, ..FlowMatch::default() }.sigmas(3).unwrap();
        assert!((exponential[1].0 - 0.001_f64.sqrt()).abs() < 1e-12);
        for config in [last, FlowMatch { use_karras_sigmas: true, ..FlowMatch::default() }] {
            for steps in [1, 2, 50] {
                let schedule = config.schedule(steps).unwrap();
                assert_eq!((schedule.ends(), schedule.steps()), ((0.0, 1.0), steps));
            }
        }
    }
}
