//! Several rows of one pair as one pair: a row is a vote, and rows with the samples in the other order vote as well.

use super::{Pair, Said};
use crate::found::Found;
use std::collections::HashMap;

impl Said {
    /// Of the two samples in the other order.
    fn turned(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
            other => other,
        }
    }
}

impl Pair {
    fn turned(self) -> Self {
        let Self { paths: [a, b], said, scores, fps, frames, .. } = self;
        Self {
            paths: [b, a],
            said: said.into_iter().map(Said::turned).collect(),
            scores: scores.map(|[a, b]| [b, a]),
            fps: [fps[1], fps[0]],
            frames: [frames[1], frames[0]],
            ..self
        }
    }
}

/// `rows` with each pair once, and in `found` what no longer counts.
pub(super) fn counted(rows: Vec<Pair>, axes: &[String], found: &mut Found) -> Vec<Pair> {
    let mut groups: Vec<Vec<Pair>> = Vec::new();
    let mut places: HashMap<(String, String, String), usize> = HashMap::new();
    for row in rows {
        let [a, b] = row.paths.clone();
        if a == b {
            found.note("pairs of a sample with itself", format!("line {}", row.line), "nothing can be preferred");
            continue;
        }
        let key = if a < b { (a, b, row.prompt.clone()) } else { (b, a, row.prompt.clone()) };
        match places.get(&key) {
            None => {
                places.insert(key, groups.len());
                groups.push(vec![row]);
            }
            Some(&place) => {
                found.note("rows that judge a pair again", format!("line {}", row.line), "they count as votes on it");
                let same = groups[place][0].paths == row.paths;
                groups[place].push(if same { row } else { row.turned() });
            }
        }
    }
    let mut pairs = Vec::new();
    for group in groups {
        let one = voted(&group, axes, found);
        match one.said.iter().all(|said| *said == Said::Invalid) {
            true => {
                found.note("pairs without a valid answer", format!("line {}", one.line), "there is nothing to learn")
            }
            false => pairs.push(one),
        }
    }
    pairs
}

/// One pair of its rows, all in the order of the first.
fn voted(group: &[Pair], axes: &[String], found: &mut Found) -> Pair {
    let first = &group[0];
    if group.len() == 1 {
        return first.clone();
    }
    let winner = |axis: usize| {
        let votes = |said: Said| group.iter().filter(|row| row.said[axis] == said).count();
        let counts = [Said::A, Said::B, Said::Same].map(|said| (votes(said), said));
        let most = counts.iter().map(|(count, _)| *count).max().unwrap_or(0);
        let mut leading = counts.iter().filter(|(count, _)| *count == most && most > 0);
        match (leading.next(), leading.next()) {
            (Some((_, said)), None) => (*said, false),
            (first, _) => (Said::Invalid, first.is_some()),
        }
    };
    let mut said = Vec::new();
    for (at, axis) in axes.iter().enumerate() {
        let (winner, drawn) = winner(at);
        if drawn {
            let name = format!("line {} on {axis}", first.line);
            found.note(
                "answers that contradict each other",
                name,
                "as many votes for as against; the axis does not count",
            );
        }
        said.push(winner);
    }
    // A score is the mean of all that were given; without one anywhere there is none.
    let all: Option<Vec<&[Vec<f64>; 2]>> = group.iter().map(|row| row.scores.as_ref()).collect();
    let mean = |all: Vec<&[Vec<f64>; 2]>| {
        [0, 1].map(|side| {
            let of = |axis: usize| all.iter().map(|scores| scores[side][axis]).sum::<f64>() / all.len() as f64;
            (0..axes.len()).map(of).collect()
        })
    };
    Pair { said, scores: all.map(mean), ..first.clone() }
}
