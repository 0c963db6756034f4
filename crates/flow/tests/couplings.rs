//! Couplings: optimal transport against brute force, costs that never rise, classes that keep their noise.

mod common;

use base::{Key, Purpose};
use common::{host, points};
use flow::coupling::assign;
use flow::{Coupling, FlowError};
use proptest::prelude::*;

fn draw(seed: u64, n: usize, d: usize) -> Vec<Vec<f64>> {
    let key = Key::new(seed, Purpose::Coupling);
    (0..n as u64).map(|i| key.normals(i, d).map(f64::from).collect()).collect()
}

fn cost(a: &[Vec<f64>], b: &[Vec<f64>], source: &[usize]) -> f64 {
    let one = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>();
    b.iter().zip(source).map(|(y, &s)| one(&a[s], y)).sum()
}

/// Least cost over all permutations, by trying them.
fn brute(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    fn search(a: &[Vec<f64>], b: &[Vec<f64>], used: &mut Vec<usize>, best: &mut f64) {
        if used.len() == a.len() {
            *best = best.min(cost(a, b, used));
            return;
        }
        for i in 0..a.len() {
            if !used.contains(&i) {
                used.push(i);
                search(a, b, used, best);
                used.pop();
            }
        }
    }
    let mut best = f64::INFINITY;
    search(a, b, &mut Vec::new(), &mut best);
    best
}

const OT: Coupling = Coupling::OptimalTransport { within_class: true };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn optimal_transport_is_what_brute_force_finds(seed in 0u64..1000, n in 1usize..7, d in 1usize..4) {
        let (a, b) = (draw(seed, n, d), draw(seed + 5000, n, d));
        let pairing = OT.pair(&points(&a), &points(&b), None).unwrap();
        let mut sorted = pairing.source.clone();
        sorted.sort();
        prop_assert_eq!(sorted, (0..n).collect::<Vec<_>>());
        prop_assert!((cost(&a, &b, &pairing.source) - brute(&a, &b)).abs() < 1e-9);
    }
}

#[test]
fn a_batch_gets_cheaper_and_rows_follow_the_pairing() {
    let (a, b) = (draw(1, 128, 3), draw(2, 128, 3));
    let pairing = OT.pair(&points(&a), &points(&b), None).unwrap();
    let identity: Vec<usize> = (0..128).collect();
    // In three dimensions 128 points find partners at well under half of the mean squared distance 6.
    assert!(cost(&a, &b, &pairing.source) < 0.5 * cost(&a, &b, &identity));
    let moved = host(pairing.apply(points(&a)));
    for (row, &source) in pairing.source.iter().enumerate() {
        assert_eq!(moved[3 * row..3 * row + 3], a[source]);
    }
}

#[test]
fn within_classes_a_class_keeps_the_noise_it_was_drawn() {
    let (a, b) = (draw(3, 60, 2), draw(4, 60, 2));
    let classes: Vec<i64> = (0..60).map(|i| i % 3).collect();
    let pairing = OT.pair(&points(&a), &points(&b), Some(&classes)).unwrap();
    assert!(!pairing.is_identity());
    for (row, &source) in pairing.source.iter().enumerate() {
        assert_eq!(classes[row], classes[source], "row {row} took noise of another class");
    }
    let free =
        Coupling::OptimalTransport { within_class: false }.pair(&points(&a), &points(&b), Some(&classes)).unwrap();
    let identity: Vec<usize> = (0..60).collect();
    let costs = [&free.source, &pairing.source, &identity].map(|p| cost(&a, &b, p));
    assert!(costs[0] < costs[1] && costs[1] < costs[2], "{costs:?}");
}

#[test]
fn independent_and_stored_pairs_stay_as_they_are() {
    let (a, b) = (points(&draw(1, 8, 2)), points(&draw(2, 8, 2)));
    for coupling in [Coupling::Independent {}, Coupling::Stored {}] {
        assert!(coupling.pair(&a, &b, None).unwrap().is_identity());
    }
}

#[test]
fn bad_input_is_refused() {
    let (a, b) = (points(&draw(1, 4, 2)), points(&draw(2, 3, 2)));
    assert!(matches!(OT.pair(&a, &b, None), Err(FlowError::Shape { .. })));
    assert!(matches!(OT.pair(&a, &a, Some(&[0, 1])), Err(FlowError::Shape { .. })));
    assert!(matches!(assign(2, |_, _| f64::NAN), Err(FlowError::NotFinite { .. })));
    assert_eq!(assign(3, |_, _| 1.0).unwrap(), [0, 1, 2]);
    assert_eq!(assign(0, |_, _| 0.0).unwrap(), Vec::<usize>::new());
}
