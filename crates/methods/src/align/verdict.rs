//! What a judge said of two samples on one axis, and how often a reward says the same.
//!
//! Without ties (VideoAlign, arXiv 2501.13918, §3.3): of the pairs that were decided, the share whose reward difference has the
//! right sign. With ties: Deutsch, Foster, Freitag, *Ties Matter*, arXiv 2305.14324, §4: a difference within a threshold counts as
//! a tie, and the threshold is the one that agrees most.

use serde::{Deserialize, Serialize};

/// Which of two samples is better on one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The first.
    First,
    /// The second.
    Second,
    /// Neither.
    Tie,
    /// Not said, or not to be counted.
    Invalid,
}

impl Verdict {
    /// By two numbers of an oracle: a tie where they are no more than `band` apart, invalid where one is no number.
    pub fn of(first: f64, second: f64, band: f64) -> Self {
        match first - second {
            d if !d.is_finite() => Self::Invalid,
            d if d.abs() <= band => Self::Tie,
            d if d > 0.0 => Self::First,
            _ => Self::Second,
        }
    }

    /// The verdict with the two samples exchanged.
    pub fn turned(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
            other => other,
        }
    }

    /// 1, -1 or 0; `None` where nothing was said.
    pub fn sign(self) -> Option<i8> {
        match self {
            Self::First => Some(1),
            Self::Second => Some(-1),
            Self::Tie => Some(0),
            Self::Invalid => None,
        }
    }
}

/// How well a reward agrees with verdicts on one axis.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// Share of the decided pairs that are ordered rightly; an exactly equal reward is wrong. NaN without decided pairs.
    pub without_ties: f64,
    /// Share of all valid pairs, under the best threshold. NaN without valid pairs.
    pub with_ties: f64,
    /// That threshold: differences no larger are ties.
    pub threshold: f64,
    /// Pairs that were decided.
    pub decided: usize,
    /// Pairs that were valid.
    pub valid: usize,
}

/// Of reward differences (first minus second) and what the judge said. A difference that is no number agrees with nothing.
pub fn accuracy(differences: &[f64], verdicts: &[Verdict]) -> Accuracy {
    let said = differences.iter().zip(verdicts).filter_map(|(d, v)| Some((*d, v.sign()?)));
    let mut pairs: Vec<(f64, i8)> = said.collect();
    let right = |d: f64, sign: i8| (sign > 0 && d > 0.0) || (sign < 0 && d < 0.0);
    let valid = pairs.len();
    let decided = pairs.iter().filter(|(_, sign)| *sign != 0).count();
    let ordered = pairs.iter().filter(|(d, sign)| right(*d, *sign)).count();
    pairs.sort_by(|a, b| a.0.abs().total_cmp(&b.0.abs())); // NaN comes last and stays outside of every threshold

    // Before any threshold nothing is a tie. Raising it to a pair's own difference makes that pair one, with all that are equal.
    let (mut agree, mut best, mut threshold) = (ordered as i64, ordered as i64, -1.0);
    let mut at = 0;
    while at < pairs.len() && !pairs[at].0.is_nan() {
        let size = pairs[at].0.abs();
        while at < pairs.len() && pairs[at].0.abs() == size {
            let (d, sign) = pairs[at];
            agree += i64::from(sign == 0) - i64::from(right(d, sign));
            at += 1;
        }
        if agree > best {
            (best, threshold) = (agree, size);
        }
    }
    let share = |count: i64, of: usize| if of == 0 { f64::NAN } else { count as f64 / of as f64 };
    let threshold = threshold.max(0.0);
    Accuracy { without_ties: share(ordered as i64, decided), with_ties: share(best, valid), threshold, decided, valid }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{First, Invalid, Second, Tie};

    #[test]
    fn a_threshold_is_searched_and_equal_differences_go_together() {
        // Two decided rightly at 2 and 3, one wrongly at 0.5, ties at 0.5 and 1, one not valid.
        let differences = [2.0, -3.0, 0.5, -0.5, 1.0, 9.0];
        let verdicts = [First, Second, Second, Tie, Tie, Invalid];
        let found = accuracy(&differences, &verdicts);
        assert_eq!((found.decided, found.valid), (3, 5));
        assert!((found.without_ties - 2.0 / 3.0).abs() < 1e-12, "{found:?}");
        // At 1 both ties agree and both decided ones still do.
        assert!((found.with_ties - 0.8).abs() < 1e-12 && found.threshold == 1.0, "{found:?}");
        // Three pairs share |d| = 1: all become ties at once (one agrees, two are lost); counting them one by one would
        // find a threshold that splits them.
        let found = accuracy(&[1.0, 1.0, -1.0], &[Tie, First, Second]);
        assert!((found.with_ties - 2.0 / 3.0).abs() < 1e-12 && found.threshold == 0.0, "{found:?}");
    }

    /// The definition, over every threshold that could matter.
    fn slow(differences: &[f64], verdicts: &[Verdict]) -> f64 {
        let mut thresholds: Vec<f64> = differences.iter().map(|d| d.abs()).collect();
        thresholds.push(-1.0);
        let said = |d: f64, threshold: f64| match d {
            d if d.abs() <= threshold => 0,
            d if d > 0.0 => 1,
            d if d < 0.0 => -1,
            _ => 2,
        };
        let pairs: Vec<(f64, i8)> =
            differences.iter().zip(verdicts).filter_map(|(d, v)| Some((*d, v.sign()?))).collect();
        let agree = |threshold: f64| pairs.iter().filter(|(d, sign)| said(*d, threshold) == *sign).count();
        thresholds.into_iter().map(agree).max().unwrap() as f64 / pairs.len() as f64
    }

    #[test]
    fn it_is_the_definition() {
        let key = base::Key::new(5, base::Purpose::Probe);
        for round in 0..200u64 {
            let n = 1 + round % 17;
            let draw = |stream: u64, i: u64| key.fold(round).fold(stream).uniform(i);
            // Few values, so that many are equal.
            let differences: Vec<f64> = (0..n).map(|i| (draw(0, i) * 7.0).floor() - 3.0).collect();
            let verdicts: Vec<Verdict> = (0..n).map(|i| [First, Second, Tie][(draw(1, i) * 3.0) as usize]).collect();
            let found = accuracy(&differences, &verdicts).with_ties;
            assert!((found - slow(&differences, &verdicts)).abs() < 1e-12, "{differences:?} {verdicts:?}");
        }
    }

    #[test]
    fn no_number_and_no_pair_are_no_agreement() {
        let nothing = accuracy(&[], &[]);
        assert!(nothing.with_ties.is_nan() && nothing.without_ties.is_nan());
        let found = accuracy(&[f64::NAN, 1.0], &[First, First]);
        assert_eq!((found.without_ties, found.with_ties), (0.5, 0.5));
        assert_eq!(Verdict::of(f64::NAN, 1.0, 0.1), Invalid);
        assert_eq!([Verdict::of(1.0, 0.95, 0.1), Verdict::of(0.0, 1.0, 0.1), First.turned()], [Tie, Second, Second]);
    }
}
