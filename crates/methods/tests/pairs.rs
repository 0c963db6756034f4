//! Pairs: the same whatever the batch, resumable, and what the checks say of spoilt ones.

use base::{Condition, Device, Key, NULL_CLASS, Purpose, Tensor, Times};
use flow::exact::{Mixture, MixtureField};
use flow::{Field, Objective, Parameterization, Path, Solver, rows};
use methods::{DistillConfig, Labels, MethodError, PairChunk, PairsConfig, ReflowConfig, checks, pairs};

fn teacher() -> MixtureField {
    MixtureField::new(Path::Linear {}, Mixture::ring(8, 4.0, 0.3).unwrap()).unwrap()
}

/// All pairs of a range, flattened: (indices, x0, x1, labels).
fn collect(
    field: &dyn Field<2>,
    labels: &Labels,
    config: &PairsConfig,
    range: std::ops::Range<u64>,
) -> (Vec<u64>, Vec<f64>, Vec<f64>, Vec<i64>) {
    let mut all = (vec![], vec![], vec![], vec![]);
    let mut sink = |chunk: PairChunk<2>| {
        all.0.extend(chunk.indices);
        all.1.extend(rows::host(chunk.x0)?);
        all.2.extend(rows::host(chunk.x1)?);
        all.3.extend(chunk.labels);
        Ok(())
    };
    pairs::generate(field, [0, 2], labels, config, range, &Device::flex(), &mut sink).unwrap();
    all
}

#[test]
fn pairs_do_not_depend_on_batches_or_on_where_a_run_stopped() {
    for solver in [Solver::Heun {}, Solver::dormand_prince()] {
        let config = |batch| PairsConfig { solver: solver.clone(), batch, ..PairsConfig::default() };
        let labels = Labels::Balanced { classes: 3 };
        let whole = collect(&teacher(), &labels, &config(50), 0..50);
        assert_eq!(whole.0, (0..50).collect::<Vec<_>>());
        assert_eq!(whole.3[..4], [0, 1, 2, 0]);
        for batch in [1, 7, 64] {
            assert_eq!(collect(&teacher(), &labels, &config(batch), 0..50), whole, "batch {batch}");
        }
        // A run that stopped after pair 19 goes on at 20.
        let rest = collect(&teacher(), &labels, &config(7), 20..50);
        assert_eq!((&rest.1[..], &rest.2[..]), (&whole.1[40..], &whole.2[40..]));
        // Another seed is other noise.
        let other = collect(&teacher(), &labels, &PairsConfig { seed: 2, ..config(50) }, 0..50);
        assert!(other.1.iter().zip(&whole.1).all(|(a, b)| a != b));
    }
}

#[test]
fn labels_reach_the_field_and_the_sink() {
    // A field that carries every point to its class.
    let field = |x: Tensor<2>, _: &Times, c: &Condition| {
        let class = c.class.clone().expect("labels make a condition").into_data().iter::<i64>().collect::<Vec<_>>();
        let class = rows::column(class.iter().map(|c| *c as f64).collect(), &x);
        x.zeros_like() + class
    };
    let weights = Labels::Weighted { weights: vec![0.0, 3.0, 1.0] };
    let (_, x0, x1, labels) = collect(&field, &weights, &PairsConfig::default(), 0..400);
    for (i, label) in labels.iter().enumerate() {
        assert!((x1[2 * i] - x0[2 * i] - *label as f64).abs() < 1e-5);
    }
    let ones = labels.iter().filter(|l| **l == 1).count();
    // 400 draws at 3/4: 300 ± 5·8.7; weight zero is never drawn.
    assert!((256..=344).contains(&ones) && !labels.contains(&0), "{ones}");
    let (.., none) = collect(&teacher(), &Labels::None {}, &PairsConfig::default(), 0..3);
    assert_eq!(none, [NULL_CLASS; 3]);
}

#[test]
fn a_failing_sink_stops_and_says_where() {
    let mut sink = |chunk: PairChunk<2>| if chunk.indices[0] < 20 { Ok(()) } else { Err("disk full".into()) };
    let config = PairsConfig { batch: 10, ..PairsConfig::default() };
    let error =
        pairs::generate(&teacher(), [0, 2], &Labels::None {}, &config, 0..100, &Device::flex(), &mut sink).unwrap_err();
    assert!(matches!(error, MethodError::Sink { index: 20, .. }) && error.to_string().contains("disk full"), "{error}");
}

#[test]
fn bad_settings_are_refused() {
    let device = Device::flex();
    let run = |labels: &Labels, config: &PairsConfig| {
        pairs::generate(&teacher(), [0, 2], labels, config, 0..1, &device, &mut |_| Ok(()))
    };
    let good = PairsConfig::default();
    assert!(run(&Labels::None {}, &PairsConfig { batch: 0, ..good.clone() }).is_err());
    assert!(run(&Labels::None {}, &PairsConfig { steps: 0, ..good.clone() }).is_err());
    assert!(run(&Labels::Balanced { classes: 0 }, &good).is_err());
    assert!(run(&Labels::Weighted { weights: vec![0.0] }, &good).is_err());
    assert!(toml::from_str::<PairsConfig>("stepz = 3").is_err());
}

fn tensors(n: u64) -> (Tensor<2>, Tensor<2>) {
    let (_, x0, x1, _) =
        collect(&teacher(), &Labels::None {}, &PairsConfig { batch: 500, ..PairsConfig::default() }, 0..n);
    let tensor = |v: Vec<f64>| {
        let v: Vec<f32> = v.iter().map(|v| *v as f32).collect();
        Tensor::<1>::from_floats(&v[..], &Device::flex()).reshape([n as usize, 2])
    };
    (tensor(x0), tensor(x1))
}

#[test]
fn true_pairs_pass_and_swapped_scaled_or_shuffled_ones_do_not() {
    let (x0, x1) = tensors(1000);
    checks::check_orientation(&x0, &x1).unwrap();
    checks::check_coupled(&x0, &x1).unwrap();
    let swapped = checks::check_orientation(&x1, &x0).unwrap_err().to_string();
    assert!(swapped.contains("swapped"), "{swapped}");
    for spoilt in [x0.clone() * 1.5, x0.clone() + 0.5, x0.clone().sign(), x0.clone() * f32::NAN] {
        let error = checks::check_orientation(&spoilt, &x1).unwrap_err().to_string();
        assert!(error.contains("not standard normal"), "{error}");
    }
    // Neighbours that move together, with the right mean and variance.
    let smooth = x0.clone().narrow(1, 0, 1).repeat_dim(1, 2);
    assert!(checks::check_orientation(&smooth, &x1).is_err());
    let fresh = Key::new(99, Purpose::Noise).normal_tensor(&(0..1000).collect::<Vec<_>>(), [0, 2], &Device::flex());
    checks::check_orientation(&fresh, &x1).unwrap();
    let error = checks::check_coupled(&fresh, &x1).unwrap_err().to_string();
    assert!(error.contains("unrelated"), "{error}");
}

#[test]
fn pairs_of_another_path_or_network_are_refused() {
    let stage = ReflowConfig::default().stage(&Objective::default()).unwrap();
    let velocity = Parameterization::Velocity {};
    checks::check_provenance(&stage, &Path::Linear {}, velocity).unwrap();
    let path = checks::check_provenance(&stage, &Path::vp(), velocity).unwrap_err().to_string();
    assert!(path.contains("vp") && path.contains("linear"), "{path}");
    assert!(checks::check_provenance(&stage, &Path::Linear {}, Parameterization::Data {}).is_err());
}

#[test]
fn stages_refuse_teachers_they_cannot_use() {
    let curved = Objective { path: Path::Trigonometric {}, ..Objective::default() };
    assert!(matches!(ReflowConfig::default().stage(&curved), Err(MethodError::Teacher(_))));
    assert!(matches!(DistillConfig::default().stage(&curved), Err(MethodError::Teacher(_))));
    let noise = Objective { parameterization: Parameterization::Noise {}, ..Objective::default() };
    assert!(ReflowConfig::default().stage(&noise).is_ok());
    assert!(matches!(DistillConfig::default().stage(&noise), Err(MethodError::Teacher(_))));
    assert!(DistillConfig { steps: 0, ..DistillConfig::default() }.stage(&Objective::default()).is_err());
}
