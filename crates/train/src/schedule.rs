//! Learning-rate schedules: a factor of the peak rate as a function of samples seen and of progress through the run.

use serde::{Deserialize, Serialize};

/// How the learning rate falls after warm-up. Progress is 0 at the start of the run and 1 at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Decay {
    /// The peak rate throughout.
    Constant {},
    /// A straight line from 1 to `end`.
    Linear {
        /// Final rate as a fraction of the peak, in [0, 1].
        #[serde(default)]
        end: f64,
    },
    /// Half a cosine from 1 to `end` (Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5).
    Cosine {
        /// Final rate as a fraction of the peak, in [0, 1].
        #[serde(default)]
        end: f64,
    },
}

impl Decay {
    /// The factor at `progress` in [0, 1].
    pub fn factor(&self, progress: f64) -> f64 {
        let p = progress.clamp(0.0, 1.0);
        match self {
            Self::Constant {} => 1.0,
            Self::Linear { end } => 1.0 + (end - 1.0) * p,
            Self::Cosine { end } => end + (1.0 - end) * 0.5 * (1.0 + (std::f64::consts::PI * p).cos()),
        }
    }

    /// Refuses a final fraction outside [0, 1].
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Constant {} => Ok(()),
            Self::Linear { end } | Self::Cosine { end } if (0.0..=1.0).contains(end) => Ok(()),
            Self::Linear { end } | Self::Cosine { end } => {
                Err(format!("optim.schedule.end = {end} must lie between 0 and 1 (a fraction of optim.lr)"))
            }
        }
    }
}

/// The linear warm-up factor of the step that ends at `images` samples seen; 1 after `warmup` samples.
pub fn warmup_factor(images: u64, warmup: u64) -> f64 {
    if warmup == 0 { 1.0 } else { (images as f64 / warmup as f64).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_at_the_ends_and_in_the_middle() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        for (p, constant, linear, cosine) in
            [(0.0, 1.0, 1.0, 1.0), (0.5, 1.0, 0.55, 0.55), (1.0, 1.0, 0.1, 0.1), (2.0, 1.0, 0.1, 0.1)]
        {
            close(Decay::Constant {}.factor(p), constant);
            close(Decay::Linear { end: 0.1 }.factor(p), linear);
            close(Decay::Cosine { end: 0.1 }.factor(p), cosine);
        }
        // A quarter of the way the cosine is (1 + cos(pi/4))/2 = 0.8535..., not the line's 0.75.
        close(Decay::Cosine { end: 0.0 }.factor(0.25), 0.853_553_390_593_273_8);
        close(Decay::Linear { end: 0.0 }.factor(0.25), 0.75);
    }

    #[test]
    fn warmup_is_a_line_to_one() {
        assert_eq!(warmup_factor(0, 0), 1.0);
        assert_eq!(warmup_factor(32, 320), 0.1);
        assert_eq!(warmup_factor(320, 320), 1.0);
        assert_eq!(warmup_factor(640, 320), 1.0);
    }

    #[test]
    fn unknown_keys_and_bad_ends_are_refused() {
        assert!(serde_json::from_str::<Decay>(r#"{"type":"constant","end":0.1}"#).is_err());
        assert!(Decay::Cosine { end: 1.5 }.check().is_err());
        assert_eq!(serde_json::from_str::<Decay>(r#"{"type":"cosine"}"#).unwrap(), Decay::Cosine { end: 0.0 });
    }
}
