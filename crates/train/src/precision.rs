//! What products in training passes round to, and which of the two is faster here.

use crate::error::TrainError;
use kernels::Precision;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// What the products of training passes round their operands to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainPrecision {
    /// Nothing is rounded.
    #[default]
    F32,
    /// To bfloat16 where the device has it.
    Bf16,
    /// Whichever trains faster on the device and network that a run begins with: measured on its first batch in about a second,
    /// logged, kept in the checkpoint's metadata, and held to by whatever continues it. F32 where a loss remembers what it drew (`align`).
    Auto,
}

impl From<Precision> for TrainPrecision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

impl TrainPrecision {
    /// The precision; `None` where it is to be measured.
    pub fn fixed(self) -> Option<Precision> {
        match self {
            Self::F32 => Some(Precision::F32),
            Self::Bf16 => Some(Precision::Bf16),
            Self::Auto => None,
        }
    }
}

/// Gains below this are noise, and not worth eight bits.
const WORTH: f64 = 0.95;

/// Which precision a pass takes less time in, and bf16's share of f32's time. Both run in turns, and the fastest of each counts: first
/// passes allocate, and what else a machine does only slows.
pub(crate) fn faster(
    mut pass: impl FnMut(Precision) -> Result<(), TrainError>,
) -> Result<(Precision, f64), TrainError> {
    let both = [Precision::F32, Precision::Bf16];
    let mut best = [f64::INFINITY; 2];
    for _ in 0..4 {
        for (best, precision) in best.iter_mut().zip(both) {
            let began = Instant::now();
            pass(precision)?;
            *best = best.min(began.elapsed().as_secs_f64());
        }
    }
    Ok(taken(best[1] / best[0].max(1e-9)))
}

/// What bf16's share of f32's time leads to.
fn taken(share: f64) -> (Precision, f64) {
    (if share < WORTH { Precision::Bf16 } else { Precision::F32 }, share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Mutants: the slower one taken; the slowest of each; gains of no worth taken.
    #[test]
    fn the_faster_one_is_taken_where_it_is_worth_it() {
        let chosen = |times: [u64; 2]| {
            let mut calls = [0; 2];
            let pass = |precision| {
                let at = usize::from(precision == Precision::Bf16);
                // The first pass, and one of the others, are slow for reasons of their own.
                let slow = if calls[at] == 0 || calls[at] == 2 { 40 } else { 0 };
                calls[at] += 1;
                std::thread::sleep(Duration::from_millis(times[at] + slow));
                Ok(())
            };
            faster(pass).unwrap()
        };
        let (quick, share) = chosen([30, 10]);
        assert!(quick == Precision::Bf16 && share < 0.8, "{share}");
        assert_eq!(chosen([10, 30]).0, Precision::F32);
        assert_eq!([0.94, 0.96].map(|share| taken(share).0), [Precision::Bf16, Precision::F32]);
        let failed = faster(|_| Err(TrainError::Config("no batch".into())));
        assert!(failed.unwrap_err().to_string().contains("no batch"));
    }
}
