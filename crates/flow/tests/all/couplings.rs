//! Couplings: optimal transport against brute force, costs that never rise, classes that keep their noise.

use crate::common;

use base::{Key, Purpose};
use common::{gap, host, mean, points};
use flow::coupling::{Annealing, Draw, Sinkhorn, assign, assign_matrix};
use flow::{Coupling, FlowError, Pairing};
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

const OT: Coupling = Coupling::OptimalTransport { within_class: true, condition_weight: 0.0 };

fn pair(coupling: &Coupling, a: &[Vec<f64>], b: &[Vec<f64>], classes: Option<&[i64]>) -> Result<Pairing, FlowError> {
    let indices: Vec<u64> = (0..a.len() as u64).collect();
    coupling.pair(&points(a), &points(b), &Draw::new(7, &indices).with_classes(classes))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn optimal_transport_is_what_brute_force_finds(seed in 0u64..1000, n in 1usize..7, d in 1usize..4) {
        let (a, b) = (draw(seed, n, d), draw(seed + 5000, n, d));
        let pairing = pair(&OT, &a, &b, None).unwrap();
        let mut sorted = pairing.source.clone();
        sorted.sort();
        prop_assert_eq!(sorted, (0..n).collect::<Vec<_>>());
        prop_assert!((cost(&a, &b, &pairing.source) - brute(&a, &b)).abs() < 1e-9);
    }
}

#[test]
fn a_batch_gets_cheaper_and_rows_follow_the_pairing() {
    let (a, b) = (draw(1, 128, 3), draw(2, 128, 3));
    let pairing = pair(&OT, &a, &b, None).unwrap();
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
    let pairing = pair(&OT, &a, &b, Some(&classes)).unwrap();
    assert!(!pairing.is_identity());
    for (row, &source) in pairing.source.iter().enumerate() {
        assert_eq!(classes[row], classes[source], "row {row} took noise of another class");
    }
    let free = Coupling::OptimalTransport { within_class: false, condition_weight: 0.0 };
    let free = pair(&free, &a, &b, Some(&classes)).unwrap();
    let identity: Vec<usize> = (0..60).collect();
    let costs = [&free.source, &pairing.source, &identity].map(|p| cost(&a, &b, p));
    assert!(costs[0] < costs[1] && costs[1] < costs[2], "{costs:?}");
}

#[test]
fn independent_and_stored_pairs_stay_as_they_are() {
    let (a, b) = (draw(1, 8, 2), draw(2, 8, 2));
    for coupling in [Coupling::Independent {}, Coupling::Stored {}] {
        assert!(pair(&coupling, &a, &b, None).unwrap().is_identity());
        // Neither blends: only annealing does.
        assert_eq!(host(coupling.blend(points(&a), Key::new(1, Purpose::Noise), &[0; 8])), host(points(&a)));
    }
}

/// Minimal cost by the `pathfinding` crate's Hungarian method on costs scaled to integers: the slow reference.
fn reference(n: usize, costs: &[f64]) -> f64 {
    use pathfinding::prelude::{Matrix, kuhn_munkres_min};
    let scale = (1u64 << 40) as f64;
    let integers = Matrix::from_fn(n, n, |(i, j)| (costs[i * n + j] * scale).round() as i64);
    kuhn_munkres_min(&integers).1.into_iter().enumerate().map(|(i, j)| costs[i * n + j]).sum()
}

fn distances(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<f64> {
    let one = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>();
    a.iter().flat_map(|x| b.iter().map(|y| one(x, y)).collect::<Vec<_>>()).collect()
}

#[test]
fn two_hundred_points_are_assigned_as_the_reference_assigns_them() {
    let n = 200;
    for seed in 0..6 {
        let mut costs = distances(&draw(seed, n, 1 + seed as usize), &draw(seed + 50, n, 1 + seed as usize));
        if seed == 5 {
            costs.iter_mut().for_each(|c| *c = c.round()); // ties everywhere
        }
        let chosen = assign_matrix(n, &costs).unwrap();
        let mut sorted = chosen.clone();
        sorted.sort();
        assert_eq!(sorted, (0..n).collect::<Vec<_>>());
        let found: f64 = chosen.iter().enumerate().map(|(i, j)| costs[i * n + j]).sum();
        assert!((found - reference(n, &costs)).abs() < 1e-8 * (1.0 + found), "seed {seed}");
    }
}

/// 2048 points: prints the time, which `scipy` and POT are compared with, and holds it to a generous band.
#[test]
fn two_thousand_points_are_assigned_at_once() {
    let n = 2048;
    for d in [2, 32] {
        let costs = distances(&draw(1, n, d), &draw(2, n, d));
        let began = std::time::Instant::now();
        let chosen = assign_matrix(n, &costs).unwrap();
        let seconds = began.elapsed().as_secs_f64();
        let found: f64 = chosen.iter().enumerate().map(|(i, j)| costs[i * n + j]).sum();
        println!("2048 points in {d} dimensions: {seconds:.3} s, cost {:.6}", found / n as f64);
        assert!(seconds < 30.0, "{seconds} s"); // the reference takes minutes
    }
}

#[test]
fn sinkhorn_becomes_exact_transport_as_entropy_vanishes() {
    let n = 24;
    let costs = distances(&draw(1, n, 2), &draw(2, n, 2));
    let exact: f64 = assign_matrix(n, &costs).unwrap().into_iter().enumerate().map(|(i, j)| costs[i * n + j]).sum();
    let exact = exact / n as f64;
    let mut before = f64::INFINITY;
    for epsilon in [1.0, 0.1, 0.01, 0.001] {
        let settings = Sinkhorn { iterations: 200_000, tolerance: 1e-9, ..Sinkhorn::new(epsilon) };
        let plan = settings.solve(n, n, &costs).unwrap();
        // The iteration converges ever more slowly as entropy vanishes: at 0.01 it ends for want of iterations.
        let band = if epsilon < 0.05 { 1e-3 } else { 1e-6 };
        for sum in plan.row_sums().into_iter().chain(plan.column_sums()) {
            assert!((sum * n as f64 - 1.0).abs() < band, "epsilon {epsilon}: {sum}");
        }
        let gap = plan.cost(&costs) - exact;
        // An entropic plan is never cheaper than the best, and dearer by at most epsilon times the entropy log n.
        assert!(gap > -1e-3 * exact && gap < epsilon * (n as f64).ln() && gap < before, "epsilon {epsilon}: {gap}");
        before = gap;
    }
    assert!(before < 1e-3 * exact, "{before} of {exact}");
    // Infinite entropy is independence.
    let plan = Sinkhorn::new(1e6).solve(n, n, &costs).unwrap();
    assert!(plan.mass.iter().all(|m| (m * (n * n) as f64 - 1.0).abs() < 1e-4));
}

#[test]
fn sinkhorn_solves_two_points_by_hand() {
    // Two points each, costs 0 on the diagonal and 1 off it: P_off/P_on = exp(-1/ε).
    let plan = Sinkhorn { tolerance: 1e-14, ..Sinkhorn::new(0.5) }.solve(2, 2, &[0.0, 1.0, 1.0, 0.0]).unwrap();
    let on = 0.5 / (1.0 + (-2.0f64).exp());
    assert!(gap(&plan.mass, &[on, 0.5 - on, 0.5 - on, on]) < 1e-12, "{:?}", plan.mass);
    // One point each with relaxed marginals and cost c: d/dm of c m + ε m log m + 2τ KL(m|1) vanishes.
    let relaxed = Sinkhorn { relaxation: Some(2.0), tolerance: 1e-14, ..Sinkhorn::new(0.5) };
    let plan = relaxed.solve(1, 1, &[3.0]).unwrap();
    assert!((plan.mass[0] - (-3.0f64 / (0.5 + 2.0 * 2.0)).exp()).abs() < 1e-12, "{:?}", plan.mass);
}

#[test]
fn relaxed_marginals_leave_the_outlier_out() {
    let (a, mut b) = (draw(1, 64, 2), draw(2, 64, 2));
    b[0] = vec![60.0, 0.0];
    let costs = distances(&b, &a);
    let share = |relaxation| {
        let plan = Sinkhorn { relaxation, ..Sinkhorn::new(0.2) }.solve(64, 64, &costs).unwrap();
        plan.row_sums()[0] * 64.0
    };
    assert!((share(None) - 1.0).abs() < 1e-4);
    assert!(share(Some(2.0)) < 1e-3, "{}", share(Some(2.0)));
    assert!(share(Some(1e7)) > 0.99);
    let coupling = Coupling::Unbalanced {
        epsilon: 0.01,
        relaxation: 0.05,
        iterations: 500,
        within_class: true,
        condition_weight: 0.0,
    };
    let pairing = pair(&coupling, &a, &b, None).unwrap();
    assert!(!pairing.data.contains(&0), "the outlier was drawn");
    // Data and source rows are those that the plan brings together: near ones.
    let moved: f64 = pairing.data.iter().zip(&pairing.source).map(|(&i, &j)| costs[i * 64 + j]).sum();
    assert!(moved / 64.0 < 1.0, "{}", moved / 64.0);
}

#[test]
fn entropic_partners_have_the_plan_s_frequencies() {
    // The same batch drawn again and again under other counters: frequencies follow the plan.
    let n = 6;
    let (a, b) = (draw(1, n, 2), draw(2, n, 2));
    let coupling = Coupling::Sinkhorn {
        epsilon: 0.3,
        relative: true,
        iterations: 5000,
        within_class: true,
        condition_weight: 0.0,
    };
    let unit = distances(&b, &a).iter().sum::<f64>() / 36.0;
    let plan = Sinkhorn { tolerance: 1e-3, ..Sinkhorn::new(0.3 * unit) }.solve(n, n, &distances(&b, &a)).unwrap();
    let draws = 4000;
    let mut counts = vec![0.0; n * n];
    for round in 0..draws {
        let indices: Vec<u64> = (0..n as u64).map(|i| round * n as u64 + i).collect();
        let pairing = coupling.pair(&points(&a), &points(&b), &Draw::new(5, &indices)).unwrap();
        assert_eq!(pairing.data, (0..n).collect::<Vec<_>>());
        pairing.source.iter().enumerate().for_each(|(row, source)| counts[row * n + source] += 1.0 / draws as f64);
    }
    for (count, mass) in counts.iter().zip(&plan.mass) {
        let wanted = mass * n as f64;
        // Five standard errors of a frequency over 4000 draws.
        assert!(
            (count - wanted).abs() < 5.0 * (wanted * (1.0 - wanted) / draws as f64).sqrt() + 1e-3,
            "{count} {wanted}"
        );
    }
}

#[test]
fn a_price_on_unlike_conditions_lies_between_none_and_classes_alone() {
    let (a, b) = (draw(3, 60, 2), draw(4, 60, 2));
    let classes: Vec<i64> = (0..60).map(|i| i % 3).collect();
    let unlike = |weight: f64| {
        let coupling = Coupling::OptimalTransport { within_class: false, condition_weight: weight };
        let pairing = pair(&coupling, &a, &b, Some(&classes)).unwrap();
        pairing.source.iter().enumerate().filter(|(row, source)| classes[*row] != classes[**source]).count()
    };
    let counts = [0.0, 0.05, 100.0].map(unlike);
    assert!(counts[0] > counts[1] && counts[1] > counts[2] && counts[2] == 0, "{counts:?}");
    // Vectors: with a high price a row exchanges noise with its neighbours in condition only.
    let vectors: Vec<Vec<f64>> = (0..60).map(|i| vec![(i / 2) as f64]).collect();
    let indices: Vec<u64> = (0..60).collect();
    let coupling = Coupling::OptimalTransport { within_class: false, condition_weight: 1e6 };
    let given = Draw::new(7, &indices).with_vectors(points(&vectors));
    let pairing = coupling.pair(&points(&a), &points(&b), &given).unwrap();
    assert!(pairing.source.iter().enumerate().all(|(row, source)| row / 2 == source / 2), "{:?}", pairing.source);
    assert!(!pairing.is_identity());
}

#[test]
fn annealing_blends_noise_and_keeps_its_law() {
    let schedules = [
        (Annealing::Linear { images: 100 }, [1.0, 0.5, 0.0]),
        (Annealing::Cosine { images: 100 }, [1.0, 0.5, 0.0]),
        (Annealing::Exponential { images: 100 }, [1.0, (-0.5f64).exp(), (-5.0f64).exp()]),
        (Annealing::Constant { beta: 0.2 }, [0.2; 3]),
    ];
    for (schedule, wanted) in schedules {
        assert!(gap(&[0, 50, 500].map(|i| schedule.beta(i)), &wanted) < 1e-12, "{schedule:?}");
    }
    let (key, n) = (Key::new(9, Purpose::Noise), 20_000);
    let z = draw(1, n, 1);
    let blend = |beta: f64| {
        host(Coupling::Annealed { schedule: Annealing::Constant { beta } }.blend(
            points(&z),
            key,
            &(0..n as u64).collect::<Vec<_>>(),
        ))
    };
    assert_eq!(blend(0.0), host(points(&z)), "no share of fresh noise leaves the pair as it is");
    let z = z.concat();
    for beta in [0.3, 1.0] {
        let blended = blend(beta);
        let variance = mean(&blended.iter().map(|v| v * v).collect::<Vec<_>>());
        let correlation = mean(&blended.iter().zip(&z).map(|(a, b)| a * b).collect::<Vec<_>>());
        // Five standard errors: 5 √(2/n) and 5 √(1/n).
        assert!((variance - 1.0).abs() < 0.05, "beta {beta}: {variance}");
        assert!((correlation - (1.0 - beta * beta).sqrt()).abs() < 0.05, "beta {beta}: {correlation}");
    }
}

#[test]
fn bad_input_is_refused() {
    let (a, b) = (points(&draw(1, 4, 2)), points(&draw(2, 3, 2)));
    let none = Draw::new(0, &[]);
    assert!(matches!(OT.pair(&a, &b, &none), Err(FlowError::Shape { .. })));
    assert!(matches!(OT.pair(&a, &a, &none.clone().with_classes(Some(&[0, 1]))), Err(FlowError::Shape { .. })));
    let weighted = Coupling::OptimalTransport { within_class: false, condition_weight: 1.0 };
    assert!(matches!(weighted.pair(&a, &a, &none.clone().with_vectors(b.clone())), Err(FlowError::Shape { .. })));
    // A price on conditions that nobody brought would do nothing.
    let error = weighted.pair(&a, &a, &none).unwrap_err();
    assert!(matches!(error, FlowError::Setting { .. }) && error.to_string().contains("no conditions"), "{error}");
    assert!(matches!(assign(2, |_, _| f64::NAN), Err(FlowError::NotFinite { .. })));
    assert!(matches!(assign_matrix(2, &[0.0; 3]), Err(FlowError::Shape { .. })));
    assert_eq!(assign(3, |_, _| 1.0).unwrap().len(), 3);
    assert_eq!(assign(0, |_, _| 0.0).unwrap(), Vec::<usize>::new());
    let nan = points(&[vec![0.0, f64::NAN], vec![0.0, 0.0], vec![1.0, 0.0], vec![0.0, 1.0]]);
    let entropic =
        Coupling::Sinkhorn { epsilon: 0.05, relative: true, iterations: 10, within_class: true, condition_weight: 0.0 };
    for coupling in [&OT, &entropic] {
        assert!(matches!(coupling.pair(&nan, &a, &none), Err(FlowError::NotFinite { .. })));
        assert!(coupling.pair(&a, &a, &none).is_ok(), "points that coincide");
    }
    for text in [
        "type = 'sinkhorn'\nepsilon = 0.0",
        "type = 'sinkhorn'\niterations = 0",
        "type = 'unbalanced'\nrelaxation = -1.0",
        "type = 'optimal_transport'\ncondition_weight = -1.0",
        "type = 'annealed'\nschedule = { type = 'linear', images = 0 }",
        "type = 'annealed'\nschedule = { type = 'constant', beta = 1.5 }",
    ] {
        let coupling: Coupling = toml::from_str(text).unwrap();
        assert!(matches!(coupling.check(), Err(FlowError::Setting { .. })), "{text}");
    }
    assert!(toml::from_str::<Coupling>("type = 'sinkhorn'\nepsilno = 1.0").is_err());
    assert_eq!(toml::from_str::<Coupling>("type = 'optimal_transport'").unwrap(), Coupling::optimal_transport());
}

/// The price of unlike classes is counted in mean squared distances: the same points in other units are paired alike. Mutant: a
/// price that does not grow with the data, which decides everything for small numbers and nothing for large ones.
#[test]
fn the_price_of_unlike_classes_has_the_units_of_the_data() {
    let (a, b) = (draw(31, 24, 2), draw(32, 24, 2));
    let classes: Vec<i64> = (0..24).map(|i| i % 3).collect();
    let paired = |scale: f64, weight: f64| {
        let scaled = |rows: &[Vec<f64>]| -> Vec<Vec<f64>> {
            rows.iter().map(|row| row.iter().map(|v| v * scale).collect()).collect()
        };
        let coupling = Coupling::OptimalTransport { within_class: false, condition_weight: weight };
        pair(&coupling, &scaled(&a), &scaled(&b), Some(&classes)).unwrap().source
    };
    let dear = paired(1.0, 0.6);
    assert_ne!(dear, paired(1.0, 0.0), "the price decides nothing here");
    assert_eq!(dear, paired(64.0, 0.6));
    assert_eq!(dear, paired(1.0 / 64.0, 0.6));
}
