//! `winrate`: how often a judge prefers one model's sample to another's, same noise and same class.

use crate::{
    Context, Error, Model,
    align::{Judge, judge::weights},
    recipe::SampleConfig,
    sampling::{Classes, draw},
};
use methods::align::Verdict;
use serde::Serialize;

/// One axis, or their mean.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Win {
    /// Its name.
    pub axis: String,
    /// Share of pairs the first model wins, ties counted half.
    pub rate: f64,
    /// Half the width of the 95 % interval, `1.96 sqrt(p (1 - p) / n)`.
    pub half_width: f64,
    /// Share of ties.
    pub ties: f64,
    /// Mean of both models.
    pub means: [f64; 2],
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct WinReport {
    /// Who judged.
    pub judge: String,
    /// Pairs.
    pub pairs: usize,
    /// For each axis, and last for their mean in standard deviations.
    pub wins: Vec<Win>,
}

/// Draws `pairs` samples of both models under `seed` and has them judged.
///
/// # Errors
/// Models of other shapes or classes; those of drawing and of judging.
pub fn winrate(
    (first, second): (&Model, &Model),
    judge: &str,
    weighing: Option<&str>,
    (config, pairs, seed): (&SampleConfig, usize, u64),
    context: &mut Context,
) -> Result<WinReport, Error> {
    if pairs == 0 {
        return Err(Error::Usage("--num 0: give at least one pair".into()));
    }
    let (a, b) = (&first.subject, &second.subject);
    if a.shape != b.shape || a.classes != b.classes {
        return Err(Error::Usage(format!(
            "{} makes {} in {} classes and {} makes {} in {}: only samples of one kind can be compared",
            first.file.display(),
            a.shape,
            a.classes.len(),
            second.file.display(),
            b.shape,
            b.classes.len()
        )));
    }
    let judge = Judge::parse(judge, first, &context.device)?;
    let weights = weights(weighing, &judge.axes())?;
    let classes = Classes::all(first)?;
    if let Classes::Prompts(texts) = &classes {
        judge.check_texts(texts)?;
    }
    let mut scores = Vec::new();
    for model in [first, second] {
        scores.push(judge.score(&draw(model, config, &classes, seed, 0..pairs as u64, context)?)?);
    }
    let axes = judge.axes();
    let column = |side: usize, axis: usize| (0..pairs).map(move |i| (i, axis, side));
    let value = |(i, axis, side): (usize, usize, usize)| scores[side].of(i)[axis];
    let mut wins: Vec<Win> = axes
        .iter()
        .enumerate()
        .map(|(axis, name)| {
            win(name, &column(0, axis).map(value).collect::<Vec<_>>(), &column(1, axis).map(value).collect::<Vec<_>>())
        })
        .collect();
    if axes.len() > 1 {
        // Both models in the deviations of both together.
        let together = crate::align::Scores {
            axes,
            values: scores.iter().flat_map(|scores| scores.values.iter().copied()).collect(),
        };
        let all = together.weighted(&weights);
        wins.push(win("mean", &all[..pairs], &all[pairs..]));
    }
    Ok(WinReport { judge: judge.label(), pairs, wins })
}

/// How often `a` is above `b`.
fn win(axis: &str, a: &[f64], b: &[f64]) -> Win {
    let n = a.len().max(1) as f64;
    let verdicts = a.iter().zip(b).map(|(a, b)| Verdict::of(*a, *b, 0.0));
    let (mut won, mut tied) = (0.0, 0.0);
    for verdict in verdicts {
        won += f64::from(u8::from(verdict == Verdict::First));
        tied += f64::from(u8::from(verdict == Verdict::Tie));
    }
    let rate = (won + 0.5 * tied) / n;
    let mean = |x: &[f64]| x.iter().sum::<f64>() / n;
    let half_width = 1.96 * (rate * (1.0 - rate) / n).sqrt();
    Win { axis: axis.into(), rate, half_width, ties: tied / n, means: [mean(a), mean(b)] }
}

impl std::fmt::Display for WinReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} pairs, judged by {}", self.pairs, self.judge)?;
        for Win { axis, rate, half_width, ties, means } in &self.wins {
            writeln!(
                f,
                "{axis:<12} {:5.1} % ± {:.1}   ties {:4.1} %   means {:.4} and {:.4}",
                rate * 100.0,
                half_width * 100.0,
                ties * 100.0,
                means[0],
                means[1]
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_count_half_and_the_interval_is_the_normal_one() {
        let found = win("x", &[2.0, 1.0, 3.0, 0.0], &[1.0, 1.0, 5.0, -1.0]);
        assert_eq!((found.rate, found.ties, found.means), (0.625, 0.25, [1.5, 1.5]));
        assert!((found.half_width - 1.96 * (0.625f64 * 0.375 / 4.0).sqrt()).abs() < 1e-12);
        let turned = win("x", &[1.0, 1.0, 5.0, -1.0], &[2.0, 1.0, 3.0, 0.0]);
        assert_eq!(turned.rate, 1.0 - found.rate);
    }
}
