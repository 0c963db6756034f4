//! Oracles against each other and against finite differences: velocity, score, latent, density, divergence.

mod common;

use base::{Condition, Key, Purpose, Times};
use common::{gap, host, points};
use flow::exact::{Gaussian, Mixture, MixtureField};
use flow::{Field, Path, ScoreField};

fn paths() -> Vec<Path> {
    vec![Path::Linear {}, Path::Trigonometric {}, Path::vp()]
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

/// Twenty thousand points a thousand times on a mixture of six pairs in one dimension is the speed that figures need.
#[test]
fn a_mixture_is_fast_enough_for_a_thousand_steps() {
    let source = Mixture::new(vec![0.5, 0.5], vec![vec![-3.0], vec![3.0]], vec![vec![0.25], vec![0.25]]).unwrap();
    let means = vec![vec![-6.0], vec![0.0], vec![6.0]];
    let target = Mixture::new(vec![1.0; 3], means, vec![vec![0.5], vec![0.33], vec![0.5]]).unwrap();
    let field = MixtureField::between(Path::Linear {}, source, target).unwrap();
    let x = points(&probes(20_000, 1, 4.0));
    let began = std::time::Instant::now();
    for step in 0..20 {
        let t = Times::all((step as f64 + 0.5) / 20.0, 20_000);
        let (b, _) = field.velocity_and_score(x.clone(), &t, &Condition::none());
        assert!(host(b)[0].is_finite());
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{:.2} s for 1000 steps", seconds * 50.0);
    // Two seconds for a thousand steps are usual; ten times that would be a defect and not a busy machine.
    assert!(seconds < 20.0 / 50.0, "{seconds} s for 20 evaluations");
}
