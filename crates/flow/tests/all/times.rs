//! Time laws: quantiles, densities and draws against closed forms; the shift in the right direction.

use base::{Key, Purpose};
use flow::time::{normal_cdf, normal_quantile, shift};
use flow::{TimeConfig, TimeLaw};
use std::f64::consts::{FRAC_PI_2, PI};

fn continuous() -> Vec<TimeConfig> {
    let laws = [
        TimeLaw::Uniform {},
        TimeLaw::LogitNormal { mean: 0.0, std: 1.0 },
        TimeLaw::LogitNormal { mean: 0.5, std: 0.6 },
        TimeLaw::UShaped { a: 4.0 },
        TimeLaw::Mode { scale: 1.29 },
        TimeLaw::Mode { scale: -0.5 },
        TimeLaw::CosMap {},
    ];
    let shifts = [1.0, 3.0, 0.5];
    laws.iter().flat_map(|law| shifts.map(|shift| TimeConfig { law: law.clone(), shift })).collect()
}

#[test]
fn the_normal_distribution_and_its_inverse() {
    // Tabulated: Φ(1.96) = 0.9750021048517795, Φ(-3) = 0.0013498980316300945, Φ(6) = 1 - 9.86587645037698e-10.
    for (x, p) in [(1.96, 0.9750021048517795), (-3.0, 0.0013498980316300945), (0.0, 0.5), (-6.0, 9.86587645037698e-10)]
    {
        assert!((normal_cdf(x) - p).abs() < 1e-14, "cdf({x}) = {}", normal_cdf(x));
    }
    assert!((normal_quantile(0.975) - 1.959963984540054).abs() < 1e-12);
    for i in 1..2000 {
        let u = i as f64 / 2000.0;
        assert!((normal_cdf(normal_quantile(u)) - u).abs() < 1e-13, "{u}");
    }
    assert!((normal_cdf(normal_quantile(1e-12)) / 1e-12 - 1.0).abs() < 1e-8);
}

#[test]
fn densities_integrate_to_the_inverse_of_quantiles() {
    for law in continuous() {
        for u in [0.05, 0.3, 0.5, 0.8, 0.95] {
            let end = law.quantile(u);
            // Midpoint rule on 4000 parts; integrands are smooth inside, error below 1e-5.
            let n = 4000;
            let area: f64 =
                (0..n).map(|i| law.density((i as f64 + 0.5) * end / n as f64).unwrap() * end / n as f64).sum();
            assert!((area - u).abs() < 2e-4, "{law:?}: {area} below the {u} quantile");
        }
    }
}

#[test]
fn draws_follow_their_law() {
    // Kolmogorov–Smirnov at the 0.1 % level: 1.95/√n. A law drawn in the wrong time direction is caught where asymmetric.
    let (n, key) = (20_000u64, Key::new(3, Purpose::Time));
    let indices: Vec<u64> = (0..n).collect();
    for law in continuous() {
        let mut draws = law.sample(key, &indices).values().to_vec();
        draws.sort_by(f64::total_cmp);
        for (rank, u) in [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99].into_iter().enumerate() {
            let below = draws.partition_point(|t| *t <= law.quantile(u)) as f64 / n as f64;
            assert!((below - u).abs() < 1.95 / (n as f64).sqrt(), "{law:?} quantile {rank}: {below} instead of {u}");
        }
    }
    // A draw depends on its index alone.
    let law = TimeConfig::default();
    assert_eq!(law.sample(key, &[7]).values()[0], law.sample(key, &indices).values()[7]);
}

#[test]
fn the_u_shaped_law_has_the_moments_of_its_closed_form() {
    let law = TimeLaw::UShaped { a: 4.0 };
    let n = 100_000;
    let t: Vec<f64> = (0..n).map(|i| law.quantile((i as f64 + 0.5) / n as f64)).collect();
    let variance = t.iter().map(|t| (t - 0.5).powi(2)).sum::<f64>() / n as f64;
    let ends = t.iter().filter(|t| **t < 0.1 || **t > 0.9).count() as f64 / n as f64;
    assert!((variance - 0.1157).abs() < 1e-4, "variance {variance}");
    assert!((ends - 0.345).abs() < 1e-3, "mass at the ends {ends}");
    let p = |t| law.density(t).unwrap();
    assert!((p(0.0) - 2.0746).abs() < 1e-4 && (p(0.5) - 0.5514).abs() < 1e-4 && (p(0.0) - p(1.0)).abs() < 1e-12);
}

#[test]
fn mode_and_cosmap_have_sd3_densities() {
    let mode = |s: f64, t: f64| TimeLaw::Mode { scale: s }.density(t).unwrap();
    for (s, p) in [(0.5, 1.399), (1.0, 2.330), (1.29, 3.793)] {
        assert!((mode(s, 0.5) - p).abs() < 1e-3, "mode({s}) at 1/2: {}", mode(s, 0.5));
        assert!((mode(s, 1e-9) - 1.0 / (1.0 + s)).abs() < 1e-6);
    }
    let cosmap = |t| TimeLaw::CosMap {}.density(t).unwrap();
    assert!((cosmap(0.5) - 4.0 / PI).abs() < 1e-12 && (cosmap(0.0) - 2.0 / PI).abs() < 1e-12);
    // SD3's sampler in its own frame: sigma = 1 - 1/(tan(πu/2)+1); ours at u is 1 - sigma at 1-u by symmetry.
    let sigma = |u: f64| 1.0 - 1.0 / ((FRAC_PI_2 * u).tan() + 1.0);
    assert!((TimeLaw::CosMap {}.quantile(0.3) - (1.0 - sigma(0.7))).abs() < 1e-12);
}

#[test]
fn the_shift_is_sd3s_on_the_noise_fraction() {
    for k in [0.5, 1.0, 3.0] {
        for sigma in [0.0, 0.1, 0.5, 0.9, 1.0] {
            let shifted = k * sigma / (1.0 + (k - 1.0) * sigma);
            assert!((1.0 - shift(1.0 - sigma, k) - shifted).abs() < 1e-15, "k = {k}, sigma = {sigma}");
        }
    }
    assert!(shift(0.5, 3.0) < 0.5, "a shift above one moves times towards the noise (t = 0)");
    // logit(sigma) moves by +ln k, so logit-normal(m) in t becomes logit-normal(m - ln k).
    let shifted = TimeConfig { law: TimeLaw::LogitNormal { mean: 0.2, std: 0.7 }, shift: 3.0 };
    let direct = TimeConfig::new(TimeLaw::LogitNormal { mean: 0.2 - 3f64.ln(), std: 0.7 });
    for u in [0.1, 0.5, 0.9] {
        assert!((shifted.quantile(u) - direct.quantile(u)).abs() < 1e-13);
    }
}

#[test]
fn discrete_laws_give_exact_times() {
    let key = Key::new(0, Purpose::Time);
    let indices: Vec<u64> = (0..400).collect();
    assert!(TimeConfig::new(TimeLaw::Constant { t: 0.0 }).sample(key, &indices).values().iter().all(|t| *t == 0.0));
    let steps = TimeConfig::new(TimeLaw::Steps { count: 4 }).sample(key, &indices);
    for wanted in [0.0, 0.25, 0.5, 0.75] {
        // 400 draws with probability 1/4: 100 ± 5·8.7.
        let count = steps.values().iter().filter(|t| **t == wanted).count();
        assert!((57..=143).contains(&count), "{wanted}: {count}");
    }
    assert_eq!(TimeLaw::Steps { count: 4 }.quantile(1.0), 0.75);
}

#[test]
fn settings_out_of_range_are_refused() {
    let laws = [
        TimeLaw::LogitNormal { mean: f64::NAN, std: 1.0 },
        TimeLaw::LogitNormal { mean: 0.0, std: 0.0 },
        TimeLaw::UShaped { a: 0.0 },
        TimeLaw::Mode { scale: 1.8 },
        TimeLaw::Constant { t: 1.5 },
        TimeLaw::Steps { count: 0 },
    ];
    for law in laws {
        assert!(law.check().is_err(), "{law:?}");
    }
    assert!(TimeConfig { law: TimeLaw::Uniform {}, shift: 0.0 }.check().is_err());
    assert!(TimeConfig { law: TimeLaw::Constant { t: 0.0 }, shift: 3.0 }.check().is_err());
}

/// Draws against distribution functions written down here, not against the quantiles that made them. Mutants: the mean's sign, the
/// deviation squared.
#[test]
fn draws_follow_distribution_functions_of_their_own() {
    let (n, key) = (20_000u64, Key::new(5, Purpose::Time));
    let indices: Vec<u64> = (0..n).collect();
    let logit = |t: f64| (t / (1.0 - t)).ln();
    type Known = Box<dyn Fn(f64) -> f64>;
    let laws: [(TimeLaw, Known); 3] = [
        (TimeLaw::Uniform {}, Box::new(|t| t)),
        (TimeLaw::LogitNormal { mean: 0.0, std: 1.0 }, Box::new(move |t| normal_cdf(logit(t)))),
        (TimeLaw::LogitNormal { mean: 0.5, std: 0.6 }, Box::new(move |t| normal_cdf((logit(t) - 0.5) / 0.6))),
    ];
    for (law, known) in laws {
        let mut draws = TimeConfig { law: law.clone(), shift: 1.0 }.sample(key, &indices).values().to_vec();
        draws.sort_by(f64::total_cmp);
        let gap =
            draws.iter().enumerate().map(|(i, t)| (known(*t) - (i as f64 + 0.5) / n as f64).abs()).fold(0.0, f64::max);
        assert!(gap < 1.95 / (n as f64).sqrt(), "{law:?}: {gap}");
    }
}
