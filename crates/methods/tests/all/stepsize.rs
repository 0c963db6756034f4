//! Bellman-optimal step sizes against exhaustive search, closed forms and toys on which they win and lose.
//!
//! Numbers of the one-dimensional rows follow from arXiv 2312.16414, eq. 6, on N(1, 0.1²) with `E x0² = 1`.

use base::{Condition, Device, Tensor, TensorData};
use burn::tensor::DType;
use flow::exact::{Gaussian, Mixture, MixtureField};
use flow::{Field, Path, Schedule, ScheduleConfig, Solver, solve};
use methods::MethodError;
use methods::stepsize::{self, Amplification, Candidate, Costs, Origin, cheapest, search};
use proptest::prelude::*;

fn uniform(cells: usize) -> Schedule {
    ScheduleConfig::Uniform {}.build(cells).unwrap()
}

/// The best of all routes, by trying each.
fn exhaustive(costs: &Costs, steps: usize) -> f64 {
    fn from(costs: &Costs, j: usize, steps: usize) -> f64 {
        let n = costs.cells();
        match steps {
            1 => costs.edge(j, n),
            _ => (j + 1..n).map(|h| costs.edge(j, h) + from(costs, h, steps - 1)).fold(f64::INFINITY, f64::min),
        }
    }
    from(costs, 0, steps)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_dynamic_program_equals_exhaustive_search(entries in prop::collection::vec(0u8..12, 81), steps in 1usize..=8) {
        // Small whole numbers make ties, and one-cell edges are free as on real trajectories.
        let costs = Costs::from_fn(uniform(8), |j, k| if k == j + 1 { 0.0 } else { f64::from(entries[j * 9 + k]) });
        let route = cheapest(&costs, steps).unwrap();
        prop_assert_eq!(route.anchors.len(), steps + 1);
        prop_assert_eq!((route.anchors[0], route.anchors[steps]), (0, 8));
        prop_assert!(route.anchors.windows(2).all(|w| w[0] < w[1]), "{:?}", route.anchors);
        let sum: f64 = route.anchors.windows(2).map(|w| costs.edge(w[0], w[1])).sum();
        prop_assert_eq!(sum, route.cost);
        prop_assert_eq!(route.cost, exhaustive(&costs, steps));
    }
}

#[test]
fn a_route_has_between_one_step_and_one_per_cell() {
    let costs = Costs::from_fn(uniform(5), |j, k| (k - j) as f64);
    assert_eq!(cheapest(&costs, 5).unwrap().anchors, [0, 1, 2, 3, 4, 5]);
    assert_eq!(cheapest(&costs, 1).unwrap().anchors, [0, 5]);
    for steps in [0, 6] {
        assert!(matches!(cheapest(&costs, steps), Err(MethodError::Setting { setting: "steps", .. })));
    }
}

fn points(values: &[f64], d: usize) -> Tensor<2> {
    let data = TensorData::new(values.to_vec(), [values.len() / d, d]);
    Tensor::from_data(data, (&Device::flex(), DType::F64))
}

#[test]
fn costs_of_the_narrow_gaussian_are_those_of_the_paper_formula() {
    let field = Gaussian::new(Path::Linear {}, vec![1.0], vec![0.1]).unwrap();
    // Costs are proportional to the mean of x0², so two points stand for all noise.
    let starts = [(points(&[1.0, -1.0], 1), Condition::none())];
    let costs = Costs::measure(&field, &uniform(100), starts).unwrap();
    assert_eq!(costs.samples(), 2);
    assert!((0..100).all(|j| costs.edge(j, j + 1) == 0.0));
    let expected: [(usize, f64, &[usize]); 5] = [
        (1, 0.00914486, &[0, 100]),
        (2, 0.00197415, &[0, 90, 100]),
        (3, 0.000727659, &[0, 82, 94, 100]),
        (4, 0.000339916, &[0, 74, 88, 95, 100]),
        (6, 0.000107205, &[0, 62, 80, 88, 93, 97, 100]),
    ];
    for (steps, cost, anchors) in expected {
        let route = cheapest(&costs, steps).unwrap();
        assert!((route.cost / cost - 1.0).abs() < 1e-5, "{steps}: {} for {cost}", route.cost);
        assert_eq!(route.anchors, anchors);
    }
}

#[test]
fn measured_costs_approach_the_closed_form_of_exact_trajectories() {
    // x_t - t m = S(t) x0 with S² = t² s² + (1-t)².
    let s: f64 = 0.1;
    let spread = |t: f64| (t * t * s * s + (1.0 - t) * (1.0 - t)).sqrt();
    let slope = |t: f64| (t * s * s - (1.0 - t)) / spread(t);
    let closed = |anchors: &Schedule| {
        let t = anchors.times().to_vec();
        Costs::from_fn(anchors.clone(), |j, k| (spread(t[k]) - spread(t[j]) - (t[k] - t[j]) * slope(t[j])).powi(2))
    };
    let hundred = closed(&uniform(100));
    for (steps, cost, anchors) in [
        (2, 0.00227830, vec![0, 91, 100]),
        (3, 0.000882205, vec![0, 83, 94, 100]),
        (4, 0.000441341, vec![0, 75, 89, 95, 100]),
    ] {
        let route = cheapest(&hundred, steps).unwrap();
        assert!((route.cost / cost - 1.0).abs() < 1e-5, "{steps}: {}", route.cost);
        assert_eq!(route.anchors, anchors);
    }
    let field = Gaussian::new(Path::Linear {}, vec![1.0], vec![s]).unwrap();
    let far = |cells: usize| {
        let anchors = uniform(cells);
        let exact = closed(&anchors);
        let measured = Costs::measure(&field, &anchors, [(points(&[1.0], 1), Condition::none())]).unwrap();
        // The same jumps of a tenth at every resolution.
        let tenth = cells / 10;
        (0..10)
            .map(|i| (measured.edge(i * tenth, (i + 1) * tenth) - exact.edge(i * tenth, (i + 1) * tenth)).abs())
            .fold(0.0, f64::max)
    };
    let (coarse, fine) = (far(50), far(400));
    assert!(fine < coarse / 4.0, "{coarse:e} {fine:e}");
}

/// Candidates for `steps` on `field`, costs from 100 trajectories, compared on `validation` others.
fn candidates(field: &dyn Field<2>, d: usize, steps: usize, growth: bool) -> Vec<Candidate> {
    let device = Device::flex();
    let anchors = uniform(100);
    let device = &device;
    let starts = |seed, count| {
        stepsize::numbers(count, 100).map(move |numbers| {
            let x0: Tensor<2> = stepsize::key(seed).normal_tensor(&numbers, [0, d], device);
            (x0, Condition::none())
        })
    };
    let costs = Costs::measure(field, &anchors, starts(1, 100)).unwrap();
    let (x0, none) = starts(2, 50).next().unwrap();
    let growth = growth.then(|| Amplification::measure(field, &anchors, x0, &none, 8).unwrap());
    let reference = uniform(200);
    let validation: Vec<_> = starts(3, 200)
        .map(|(x0, c)| {
            let end = solve(field, x0.clone(), &c, &Solver::Rk4 {}, &reference, None).unwrap().x;
            ((x0, c), end)
        })
        .collect();
    search(field, &costs, growth.as_ref(), steps, &validation).unwrap()
}

fn of(candidates: &[Candidate], origin: Origin) -> &Candidate {
    candidates.iter().find(|c| c.origin == origin).unwrap()
}

/// End error of Bellman's steps over that of uniform ones.
fn ratio(candidates: &[Candidate]) -> f64 {
    let (bellman, uniform) = (of(candidates, Origin::Bellman), of(candidates, Origin::Uniform));
    assert!(bellman.local_cost <= uniform.local_cost, "the additive cost is what was minimised");
    bellman.end_error / uniform.end_error
}

#[test]
fn on_a_narrow_gaussian_bellman_steps_win_end_to_end() {
    let field = Gaussian::new(Path::Linear {}, vec![1.0], vec![0.1]).unwrap();
    for (steps, limit) in [(2, 0.60), (4, 0.45), (8, 0.45)] {
        let ratio = ratio(&candidates(&field, 1, steps, false));
        assert!(ratio <= limit, "{steps} steps: {ratio}");
    }
}

#[test]
fn on_narrow_templates_bellman_steps_win_end_to_end() {
    let field = MixtureField::new(Path::Linear {}, templates(0.05)).unwrap();
    for steps in [3, 4] {
        let ratio = ratio(&candidates(&field, 64, steps, false));
        println!("{steps} {ratio}");
        assert!(ratio <= 0.92, "{steps} steps: {ratio}");
    }
}

/// 32 blocky pictures of 8x8: a random level for each 2x2 block.
fn templates(std: f64) -> Mixture {
    let levels: Vec<f64> = base::Key::new(5, base::Purpose::Class).normals(0, 32 * 16).map(f64::from).collect();
    let picture = |blocks: &[f64]| (0..64).map(|i| blocks[i / 16 * 4 + i % 8 / 2]).collect();
    Mixture::new(vec![1.0; 32], levels.chunks(16).map(picture).collect(), vec![vec![std * std; 64]; 32]).unwrap()
}

#[test]
fn the_additive_cost_can_lose_and_uniform_steps_are_then_chosen() {
    // Eight very narrow modes on a ring: defects near the branching grow until the end, which the additive cost ignores.
    let field = MixtureField::new(Path::Linear {}, Mixture::ring(8, 4.0, 0.02).unwrap()).unwrap();
    let found = candidates(&field, 2, 10, true);
    let ratio = ratio(&found);
    assert!(ratio > 1.2, "{ratio}");
    assert_ne!(found[0].origin, Origin::Bellman);
    assert!(found[0].end_error <= of(&found, Origin::Uniform).end_error);
}

#[test]
fn growth_of_errors_is_that_of_the_affine_flow() {
    // The flow to N(m, s²) maps a push at time t to push · s / S(t).
    let s: f64 = 0.5;
    let field = Gaussian::new(Path::Linear {}, vec![1.0, -1.0], vec![s, s]).unwrap();
    let x0 = points(&[1.0, 0.3, -0.7, 2.0], 2);
    let growth = Amplification::measure(&field, &uniform(400), x0, &Condition::none(), 8).unwrap();
    for t in [0.1, 0.4, 0.7, 0.95] {
        let expected = s * s / (t * t * s * s + (1.0 - t) * (1.0 - t));
        assert!((growth.at(t) / expected - 1.0).abs() < 0.06, "{t}: {} for {expected}", growth.at(t));
    }
    assert_eq!(growth.at(1.0), 1.0);
}
