//! Which pairs are shown: of one prompt each, prompts in turn, drawn under a seed.

use rectiflow::align::found::Sample;
use rectiflow::base::{Key, RandomStream};
use std::collections::{BTreeMap, BTreeSet};

/// Of a prompt with more pairs than this they are drawn one by one.
const LISTED: usize = 20_000;

/// Samples that are alone in their prompt: there is nothing to compare them with.
pub fn alone(samples: &[Sample]) -> usize {
    let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
    samples.iter().for_each(|sample| *groups.entry(&sample.prompt).or_default() += 1);
    groups.values().filter(|group| **group == 1).count()
}

/// At most `most` pairs of places in `samples`, no two of them the same; which of a pair stands left is drawn as well.
pub fn pairs(samples: &[Sample], most: usize, seed: u64) -> Vec<[usize; 2]> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, sample) in samples.iter().enumerate() {
        groups.entry(&sample.prompt).or_default().push(place);
    }
    let stream = Key::of(seed, RandomStream::LabelledPairs);
    let mut queues: Vec<Vec<[usize; 2]>> = groups
        .values()
        .filter(|group| group.len() > 1)
        .enumerate()
        .map(|(number, group)| drawn(group, most, stream.fold(number as u64)))
        .collect();
    let mut chosen = Vec::new();
    while chosen.len() < most && queues.iter().any(|queue| !queue.is_empty()) {
        for queue in &mut queues {
            chosen.extend(queue.pop().filter(|_| chosen.len() < most));
        }
    }
    chosen
}

/// Pairs of `group`, the last one to be shown first.
fn drawn(group: &[usize], most: usize, key: Key) -> Vec<[usize; 2]> {
    let n = group.len();
    let turned =
        |[a, b]: [usize; 2], i: u64| if key.bits(i) & 1 == 0 { [group[a], group[b]] } else { [group[b], group[a]] };
    if n * (n - 1) / 2 <= LISTED {
        let mut all: Vec<[usize; 2]> = (0..n).flat_map(|a| (a + 1..n).map(move |b| [a, b])).collect();
        all.sort_by_cached_key(|[a, b]| key.bits((a * n + b) as u64) >> 1);
        return all.into_iter().map(|pair| turned(pair, (pair[0] * n + pair[1]) as u64)).take(most).rev().collect();
    }
    let (mut seen, mut all) = (BTreeSet::new(), Vec::new());
    let mut next = 0;
    // Not half of all pairs are asked for, so that one in two draws is new.
    while all.len() < most.min(n * (n - 1) / 4) {
        let [a, b] = [2 * next, 2 * next + 1].map(|i| key.uniform(i));
        let a = (a * n as f64) as usize;
        let b = (b * (n - 1) as f64) as usize;
        let b = b + usize::from(b >= a);
        if seen.insert([a.min(b), a.max(b)]) {
            all.push([group[a], group[b]]);
        }
        next += 1;
    }
    all.reverse();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use rectiflow::align::found::Kind;

    fn samples(prompts: &[&str]) -> Vec<Sample> {
        let sample = |(i, prompt): (usize, &&str)| Sample {
            path: format!("{i}.png").into(),
            kind: Kind::Picture,
            prompt: prompt.to_string(),
        };
        prompts.iter().enumerate().map(sample).collect()
    }

    /// Mutants: a pair of two prompts; a pair twice, once turned round; the first prompt until it is used up; always the same side left.
    #[test]
    fn pairs_are_of_one_prompt_and_differ() {
        let all = samples(&["a", "b", "a", "a", "b", "c", "a", "a", "b"]);
        let found = pairs(&all, 100, 1);
        assert_eq!(found.len(), 10 + 3, "all there are: five of a, three of b, and c alone");
        assert_eq!(alone(&all), 1);
        let unordered: BTreeSet<[usize; 2]> = found.iter().map(|[a, b]| [*a.min(b), *a.max(b)]).collect();
        assert_eq!(unordered.len(), found.len());
        assert!(found.iter().all(|[a, b]| a != b && all[*a].prompt == all[*b].prompt));
        let turns: Vec<&str> = found[..4].iter().map(|[a, _]| all[*a].prompt.as_str()).collect();
        assert_eq!(turns, ["a", "b", "a", "b"]);
        let turned = found.iter().filter(|[a, b]| a > b).count();
        assert!((1..found.len()).contains(&turned), "{found:?}");
        assert_eq!(pairs(&all, 5, 1), found[..5]);
        assert_ne!(pairs(&all, 100, 2), found);
        // So many that they are not listed.
        let many = samples(&["x"; 400]);
        let found = pairs(&many, 500, 1);
        let unordered: BTreeSet<[usize; 2]> = found.iter().map(|[a, b]| [*a.min(b), *a.max(b)]).collect();
        assert!(unordered.len() == 500 && unordered.iter().all(|[a, b]| a != b));
        assert_eq!(pairs(&many, 300, 1), found[..300]);
    }
}
