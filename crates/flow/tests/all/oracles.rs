//! Oracles against each other and against finite differences: velocity, score, latent, density, divergence.

use crate::common;

use base::{Condition, Key, Purpose, Times};
use common::{gap, host, points};
use flow::exact::{Empirical, FullMixture, FullMixtureField, Gaussian, Kernel, Mixture, MixtureField, Posterior};
use flow::{Field, FlowError, Path, ScheduleConfig, ScoreField, Solver, solve};

fn paths() -> Vec<Path> {
    vec![Path::Linear {}, Path::Trigonometric {}, Path::vp(), Path::brownian(1.0)]
}

fn two_by_three() -> (Mixture, Mixture) {
    let source =
        Mixture::new(vec![0.4, 0.6], vec![vec![-1.0, 0.5], vec![2.0, 0.0]], vec![vec![0.3, 1.0], vec![0.5, 0.2]]);
    let target = Mixture::new(
        vec![0.2, 0.5, 0.3],
        vec![vec![-3.0, 1.0], vec![0.0, -2.0], vec![2.5, 2.0]],
        vec![vec![0.2, 0.4], vec![0.6, 0.3], vec![0.1, 0.9]],
    );
    (source.unwrap(), target.unwrap())
}

fn probes(n: u64, d: usize, spread: f64) -> Vec<Vec<f64>> {
    let key = Key::new(3, Purpose::Probe);
    (0..n).map(|i| key.normals(i, d).map(|z| spread * f64::from(z)).collect()).collect()
}

/// Central differences of width 1e-5: rounding about 1e-10, truncation about 1e-9.
fn gradient(f: impl Fn(&[f64]) -> f64, x: &[f64]) -> Vec<f64> {
    (0..x.len())
        .map(|k| {
            let shifted =
                |h: f64| f(&x.iter().enumerate().map(|(i, v)| v + if i == k { h } else { 0.0 }).collect::<Vec<_>>());
            (shifted(1e-5) - shifted(-1e-5)) / 2e-5
        })
        .collect()
}

#[test]
fn batches_and_single_points_say_the_same() {
    let (source, target) = two_by_three();
    for path in paths() {
        let field = MixtureField::between(path.clone(), source.clone(), target.clone()).unwrap();
        let x = probes(40, 2, 2.0);
        let times = Times::new((0..40).map(|i| i as f64 / 39.0).collect());
        let (b, s) = field.velocity_and_score(points(&x), &times, &Condition::none());
        let one: Vec<_> = x.iter().zip(times.values()).map(|(x, t)| field.posterior(x, *t)).collect();
        let scale = |v: &[f64]| v.iter().map(|v| v.abs()).fold(1.0, f64::max);
        let velocity: Vec<f64> = one.iter().flat_map(|p| p.velocity.clone()).collect();
        let score: Vec<f64> = one.iter().flat_map(|p| p.score.clone()).collect();
        assert!(gap(&host(b.clone()), &velocity) < 1e-12 * scale(&velocity), "{path:?}");
        assert!(gap(&host(s), &score) < 1e-12 * scale(&score), "{path:?}");
        assert_eq!(host(field.velocity(points(&x), &times, &Condition::none())), host(b));
        let gaussian = Gaussian::new(path, vec![1.0, -2.0], vec![0.5, 2.0]).unwrap();
        let (b, s) = gaussian.velocity_and_score(points(&x), &times, &Condition::none());
        for (i, (x, t)) in x.iter().zip(times.values()).enumerate() {
            assert_eq!(host(b.clone())[2 * i..2 * i + 2], gaussian.velocity_at(x, *t));
            assert_eq!(host(s.clone())[2 * i..2 * i + 2], gaussian.score_at(x, *t));
        }
    }
}

#[test]
fn score_and_divergence_are_the_derivatives_they_claim_to_be() {
    let (source, target) = two_by_three();
    for path in paths() {
        let field = MixtureField::between(path.clone(), source.clone(), target.clone()).unwrap();
        for (x, t) in probes(20, 2, 2.0).iter().zip([0.05, 0.3, 0.6, 0.9].into_iter().cycle()) {
            let p = field.posterior(x, t);
            let s = gradient(|x| field.posterior(x, t).log_density, x);
            assert!(gap(&p.score, &s) < 1e-6 * (1.0 + s[0].abs().max(s[1].abs())), "{path:?} {x:?} {t}");
            let divergence: f64 = (0..2).map(|k| gradient(|x| field.posterior(x, t).velocity[k], x)[k]).sum();
            assert!((p.divergence - divergence).abs() < 1e-6 * (1.0 + divergence.abs()), "{path:?} {x:?} {t}");
            // b = v - gamma gamma' s, and alpha E[x0] + beta E[x1] + gamma E[z] = x.
            let c = path.at(t);
            let v = p.interpolant(&c);
            for k in 0..2 {
                let b = v[k] - c.gamma_d_gamma * p.score[k];
                assert!((p.velocity[k] - b).abs() / (1.0 + b.abs()) < 1e-12, "{path:?} {t}");
                let whole = c.alpha * p.source[k] + c.beta * p.data[k] + c.gamma * p.latent[k];
                assert!((whole - x[k]).abs() < 1e-12 * (1.0 + x[k].abs()), "{path:?} {t}");
            }
        }
    }
}

/// Score, divergence and both identities of one posterior, by finite differences of width 1e-5 where `scale` is the
/// smallest length of the density.
fn consistent(posterior: &dyn Fn(&[f64], f64) -> Posterior, path: &Path, x: &[f64], t: f64, what: &str) {
    let p = posterior(x, t);
    let s = gradient(|x| posterior(x, t).log_density, x);
    let size = |v: &[f64]| 1.0 + v.iter().map(|v| v.abs()).fold(0.0, f64::max);
    assert!(gap(&p.score, &s) < 2e-6 * size(&s), "{what} {path:?} {x:?} {t}: {:?} {s:?}", p.score);
    let parts: Vec<f64> = (0..x.len()).map(|k| gradient(|x| posterior(x, t).velocity[k], x)[k]).collect();
    let divergence: f64 = parts.iter().sum();
    assert!((p.divergence - divergence).abs() < 2e-6 * size(&parts), "{what} {t}: {} {divergence}", p.divergence);
    let c = path.at(t);
    let v = p.interpolant(&c);
    for k in 0..x.len() {
        let b = v[k] - c.gamma_d_gamma * p.score[k];
        assert!((p.velocity[k] - b).abs() < 1e-10 * size(&p.velocity), "{what} {path:?} {t}: b");
    }
}

/// Continuity `∂ log ρ/∂t + v·s + div v = 0` by a central difference in time.
fn continuous(posterior: &dyn Fn(&[f64], f64) -> Posterior, x: &[f64], t: f64, what: &str) {
    let h = 1e-5;
    let p = posterior(x, t);
    let change = (posterior(x, t + h).log_density - posterior(x, t - h).log_density) / (2.0 * h);
    let flow: f64 = p.velocity.iter().zip(&p.score).map(|(v, s)| v * s).sum();
    let scale = 1.0 + change.abs() + flow.abs() + p.divergence.abs();
    assert!((change + flow + p.divergence).abs() < 1e-5 * scale, "{what} {x:?} {t}: {change} {flow} {}", p.divergence);
}

#[test]
fn points_and_kernels_are_consistent_flows() {
    let (data, source) = (probes(12, 3, 1.5), probes(12, 3, 1.0));
    for path in paths() {
        for bandwidth in [0.0, 0.4] {
            let field = Empirical::new(path.clone(), data.clone(), bandwidth).unwrap();
            let posterior = |x: &[f64], t: f64| field.posterior(x, t);
            for (x, t) in probes(12, 3, 1.2).iter().zip([0.1, 0.4, 0.8].into_iter().cycle()) {
                consistent(&posterior, &path, x, t, "empirical");
                continuous(&posterior, x, t, "empirical");
            }
        }
        if path.has_latent() {
            assert!(matches!(Kernel::new(path, &source, &data, 0.5, 100), Err(FlowError::Setting { .. })));
            continue;
        }
        let field = Kernel::new(path.clone(), &source, &data, 0.5, 100).unwrap();
        let posterior = |x: &[f64], t: f64| field.posterior(x, t);
        for (x, t) in probes(12, 3, 1.0).iter().zip([0.1, 0.4, 0.8].into_iter().cycle()) {
            consistent(&posterior, &path, x, t, "kernel");
            continuous(&posterior, x, t, "kernel");
        }
    }
}

#[test]
fn blurred_points_are_the_mixture_of_their_kernels() {
    let data = probes(5, 2, 2.0);
    let mixture = Mixture::new(vec![1.0; 5], data.clone(), vec![vec![0.09; 2]; 5]).unwrap();
    for path in paths() {
        let (a, b) = (
            Empirical::new(path.clone(), data.clone(), 0.3).unwrap(),
            MixtureField::new(path, mixture.clone()).unwrap(),
        );
        for (x, t) in probes(10, 2, 1.5).iter().zip([0.0, 0.3, 0.9, 1.0].into_iter().cycle()) {
            let (p, q) = (a.posterior(x, t), b.posterior(x, t));
            for (left, right) in
                [(&p.velocity, &q.velocity), (&p.score, &q.score), (&p.data, &q.data), (&p.source, &q.source)]
            {
                assert!(gap(left, right) < 1e-9 * (1.0 + right[0].abs() + right[1].abs()), "{t}: {left:?} {right:?}");
            }
            assert!(
                (p.log_density - q.log_density).abs() < 1e-9
                    && (p.divergence - q.divergence).abs() < 1e-8 * (1.0 + q.divergence.abs())
            );
        }
    }
    // Rank four, as networks see images, in single and mixed times.
    let field = Empirical::new(Path::Linear {}, data, 0.3).unwrap();
    let x = probes(4, 2, 1.0);
    let times = Times::new(vec![0.2, 0.2, 0.7, 0.2]);
    let (b, s) = field.velocity_and_score(points(&x).reshape([4, 2, 1, 1]), &times, &Condition::none());
    let one: Vec<Posterior> = x.iter().zip(times.values()).map(|(x, t)| field.posterior(x, *t)).collect();
    assert!(gap(&host(b), &one.iter().flat_map(|p| p.velocity.clone()).collect::<Vec<_>>()) < 1e-10);
    assert!(gap(&host(s), &one.iter().flat_map(|p| p.score.clone()).collect::<Vec<_>>()) < 1e-10);
}

#[test]
fn a_flow_to_points_ends_at_the_points() {
    let data = probes(6, 2, 2.0);
    let field = Empirical::new(Path::Linear {}, data.clone(), 0.0).unwrap();
    let schedule = ScheduleConfig::Uniform {}.between(0.0, 0.999, 200).unwrap();
    let end =
        solve(&field, points(&probes(40, 2, 1.0)), &Condition::none(), &Solver::Heun {}, &schedule, None).unwrap().x;
    for x in host(end).chunks(2) {
        let nearest = data.iter().map(|p| (p[0] - x[0]).hypot(p[1] - x[1])).fold(f64::INFINITY, f64::min);
        assert!(nearest < 0.02, "{x:?} is {nearest} from every point");
    }
    // At the data end itself nothing is infinite.
    assert!(field.posterior(&[0.3, 0.1], 1.0).velocity.iter().all(|v| v.is_finite()));
}

#[test]
fn full_covariances_are_consistent_and_contain_the_diagonal_ones() {
    let turn = |a: f64, b: f64, c: f64| vec![a, b, b, c];
    let source = FullMixture::new(
        vec![0.4, 0.6],
        vec![vec![-1.0, 0.5], vec![2.0, 0.0]],
        vec![turn(0.5, 0.3, 1.0), turn(0.5, -0.1, 0.2)],
    )
    .unwrap();
    let target = FullMixture::new(
        vec![0.3, 0.7],
        vec![vec![-3.0, 1.0], vec![2.5, 2.0]],
        vec![turn(0.6, -0.4, 0.5), turn(0.2, 0.1, 0.9)],
    )
    .unwrap();
    for path in paths() {
        let field = FullMixtureField::between(path.clone(), source.clone(), target.clone()).unwrap();
        let posterior = |x: &[f64], t: f64| field.posterior(x, t);
        let x = probes(12, 2, 2.0);
        for (x, t) in x.iter().zip([0.1, 0.4, 0.8].into_iter().cycle()) {
            consistent(&posterior, &path, x, t, "full");
            continuous(&posterior, x, t, "full");
        }
        let times = Times::all(0.4, 12);
        let (b, s) = field.velocity_and_score(points(&x), &times, &Condition::none());
        let one: Vec<Posterior> = x.iter().map(|x| field.posterior(x, 0.4)).collect();
        assert!(gap(&host(b), &one.iter().flat_map(|p| p.velocity.clone()).collect::<Vec<_>>()) < 1e-10);
        assert!(gap(&host(s), &one.iter().flat_map(|p| p.score.clone()).collect::<Vec<_>>()) < 1e-10);
        let (diagonal_source, diagonal_target) = two_by_three();
        let diagonal = |m: &Mixture| {
            let covariance = |v: &Vec<f64>| vec![v[0], 0.0, 0.0, v[1]];
            FullMixture::new(m.weights().to_vec(), m.means().to_vec(), m.variances().iter().map(covariance).collect())
                .unwrap()
        };
        let full =
            FullMixtureField::between(path.clone(), diagonal(&diagonal_source), diagonal(&diagonal_target)).unwrap();
        let plain = MixtureField::between(path, diagonal_source, diagonal_target).unwrap();
        for (x, t) in x.iter().zip([0.0, 0.5, 1.0].into_iter().cycle()) {
            let (p, q) = (full.posterior(x, t), plain.posterior(x, t));
            assert!(gap(&p.velocity, &q.velocity) < 1e-9 * (1.0 + q.velocity[0].abs() + q.velocity[1].abs()));
            assert!(
                (p.log_density - q.log_density).abs() < 1e-9
                    && (p.divergence - q.divergence).abs() < 1e-8 * (1.0 + q.divergence.abs())
            );
        }
    }
    // Draws have the covariance they are drawn from: five standard errors of 20 000.
    let one = FullMixture::new(vec![1.0], vec![vec![1.0, -1.0]], vec![turn(0.6, -0.4, 0.5)]).unwrap();
    let key = Key::new(3, Purpose::Noise);
    let drawn: Vec<Vec<f64>> = (0..20_000).map(|i| one.sample(key, i)).collect();
    let moment =
        |a: usize, b: usize| drawn.iter().map(|x| (x[a] - [1.0, -1.0][a]) * (x[b] - [1.0, -1.0][b])).sum::<f64>() / 2e4;
    assert!(gap(&[moment(0, 0), moment(0, 1), moment(1, 1)], &[0.6, -0.4, 0.5]) < 0.03);
}

/// The likelihood along the flow: `log ρ1(x) = log ρ0(x(0)) - ∫ div v` by the exact divergence.
#[test]
fn exact_divergence_integrates_to_the_exact_likelihood() {
    let (source, target) = two_by_three();
    let field = MixtureField::between(Path::Linear {}, source, target).unwrap();
    for x in probes(8, 2, 1.5) {
        let (mut x, mut integral, steps) = (x, 0.0, 400);
        let wanted = field.posterior(&x, 1.0).log_density;
        for step in (0..steps).rev() {
            // Midpoint rule backwards for the point and the integral alike: error O(h²) = 1e-5.
            let (t, h) = ((step + 1) as f64 / steps as f64, 1.0 / steps as f64);
            let here = field.posterior(&x, t);
            let middle: Vec<f64> = x.iter().zip(&here.velocity).map(|(x, v)| x - 0.5 * h * v).collect();
            let middle = field.posterior(&middle, t - 0.5 * h);
            x.iter_mut().zip(&middle.velocity).for_each(|(x, v)| *x -= h * v);
            integral += h * middle.divergence;
        }
        let found = field.posterior(&x, 0.0).log_density - integral;
        assert!((found - wanted).abs() < 2e-3, "{found} {wanted}");
    }
}

#[test]
fn bad_oracles_are_refused() {
    let path = || Path::Linear {};
    assert!(matches!(Empirical::new(path(), vec![], 0.1), Err(FlowError::Setting { .. })));
    assert!(matches!(Empirical::new(path(), vec![vec![0.0], vec![0.0, 1.0]], 0.1), Err(FlowError::Shape { .. })));
    assert!(matches!(Empirical::new(path(), vec![vec![f64::NAN]], 0.1), Err(FlowError::Setting { .. })));
    assert!(matches!(Empirical::new(path(), vec![vec![0.0]], -0.1), Err(FlowError::Setting { .. })));
    let one = vec![vec![0.0]];
    assert!(matches!(Kernel::new(path(), &one, &[], 0.1, 1), Err(FlowError::Shape { .. })));
    assert!(matches!(Kernel::new(path(), &one, &one, 0.0, 1), Err(FlowError::Setting { .. })));
    assert!(matches!(Kernel::new(path(), &one, &one, 0.1, 0), Err(FlowError::Setting { .. })));
    let full = |c: Vec<f64>| FullMixture::new(vec![1.0], vec![vec![0.0, 0.0]], vec![c]).err();
    assert!(matches!(full(vec![1.0, 2.0, 2.0, 1.0]), Some(FlowError::Setting { .. })), "not positive definite");
    assert!(matches!(full(vec![1.0, 0.5, 0.0, 1.0]), Some(FlowError::Setting { .. })), "not symmetric");
    assert!(matches!(full(vec![1.0]), Some(FlowError::Shape { .. })));
}

/// Twenty thousand points a thousand times on a mixture of six pairs in one dimension is the speed that figures need.
#[test]
fn a_mixture_is_fast_enough_for_a_thousand_steps() {
    let source = Mixture::new(vec![0.5, 0.5], vec![vec![-3.0], vec![3.0]], vec![vec![0.25], vec![0.25]]).unwrap();
    let means = vec![vec![-6.0], vec![0.0], vec![6.0]];
    let target = Mixture::new(vec![1.0; 3], means, vec![vec![0.5], vec![0.33], vec![0.5]]).unwrap();
    let field = MixtureField::between(Path::Linear {}, source, target).unwrap();
    let x = points(&probes(20_000, 1, 4.0));
    // The quickest of twenty: other tests run beside this one.
    let quickest = (0..20).map(|step| {
        let t = Times::all((step as f64 + 0.5) / 20.0, 20_000);
        let began = std::time::Instant::now();
        let (b, _) = field.velocity_and_score(x.clone(), &t, &Condition::none());
        assert!(host(b)[0].is_finite());
        began.elapsed().as_secs_f64()
    });
    let seconds = 1000.0 * quickest.fold(f64::INFINITY, f64::min);
    println!("{seconds:.2} s for 1000 steps");
    // Two seconds for a thousand steps are usual; ten times that would be a defect and not a busy machine.
    assert!(seconds < 20.0, "{seconds} s for 1000 steps");
}

/// What is left of a standard deviation after Euler steps along the exact velocity: latents whose directions differ much in width
/// lose the narrow and the wide ones even to a perfect network, which is why TriFlow (arXiv:2501.00651) whitens them.
/// Mutant: the velocity of unit width for all.
#[test]
fn directions_of_another_width_are_lost_to_few_steps() {
    for (variance, left) in [
        (1e-4, [0.0895, 0.2314, 0.4274, 0.6564, 0.8515]),
        (1e-2, [0.6172, 0.8345, 0.9143, 0.9563, 0.9823]),
        (1.0, [0.879, 0.9499, 0.9746, 0.9872, 0.9949]),
        (1e2, [0.6172, 0.8345, 0.9143, 0.9563, 0.9823]),
        (1e4, [0.0895, 0.2314, 0.4274, 0.6564, 0.8515]),
    ] {
        let std = f64::sqrt(variance);
        let field = Gaussian::new(Path::Linear {}, vec![0.0], vec![std]).unwrap();
        for (steps, wanted) in [10, 25, 50, 100, 250].into_iter().zip(left) {
            let schedule = ScheduleConfig::Uniform {}.between(0.0, 1.0, steps).unwrap();
            let end =
                solve(&field, points(&[vec![1.0]]), &Condition::none(), &Solver::Euler {}, &schedule, None).unwrap();
            let found = host(end.x)[0] / std;
            assert!((found - wanted).abs() < 1e-3, "variance {variance}, {steps} steps: {found}, not {wanted}");
        }
    }
}

/// FlowSep's path (arXiv:2409.07614), `x_t = (1 - (1 - s) t) x0 + t x1` with `s = 1e-4`: U1 to U3 of its specification. Mutants: `s`
/// left out of the velocity, time run backwards, the last step skipped, steps taken at their ends.
#[test]
fn a_path_that_keeps_a_little_noise() {
    use flow::path::Expressions;
    let path = Path::Custom(Expressions::new("1 - (1 - 1e-4)*t", "t", None).unwrap());
    // U1: where it starts and ends, and its velocity against differences.
    let (x0, x1) = (points(&[vec![0.7, -1.3]]), points(&[vec![-0.4, 2.1]]));
    let at = |t: f64| path.point(x0.clone(), x1.clone(), &Times::all(t, 1)).unwrap();
    assert!(gap(&host(at(0.0).xt), &[0.7, -1.3]) < 1e-12);
    assert!(gap(&host(at(1.0).xt), &[-0.4 + 0.7e-4, 2.1 - 1.3e-4]) < 1e-12);
    for t in [0.1, 0.5, 0.93] {
        let slope = (at(t + 1e-5).xt - at(t - 1e-5).xt) / 2e-5;
        assert!(gap(&host(slope), &host(at(t).dxt)) < 1e-8);
    }
    // U2: towards one point, any number of Euler steps ends at z1 + s z0.
    let end = |std: f64, mean: Vec<f64>, from: &[f64], steps: usize| {
        let field = Gaussian::new(path.clone(), mean.clone(), vec![std; mean.len()]).unwrap();
        let grid = ScheduleConfig::Uniform {}.build(steps).unwrap();
        host(solve(&field, points(&[from.to_vec()]), &Condition::none(), &Solver::Euler {}, &grid, None).unwrap().x)
    };
    for steps in [1, 3, 10, 50] {
        let found = end(1e-9, vec![-0.4, 2.1], &[0.7, -1.3], steps);
        assert!(gap(&found, &[-0.4 + 0.7e-4, 2.1 - 1.3e-4]) < 1e-5, "{steps}: {found:?}");
    }
    // U3: what Euler loses of the spread of N(0, 1).
    for (steps, known) in [(10, 0.879), (25, 0.950), (50, 0.975)] {
        let found = end(1.0, vec![0.0], &[1.0], steps)[0];
        assert!((found - known).abs() < 6e-4, "{steps}: {found}");
    }
}
