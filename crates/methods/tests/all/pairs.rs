//! Pairs: the same whatever the batch, resumable, and what the checks say of spoilt ones.

use base::{Condition, Device, Key, NULL_CLASS, Purpose, Tensor, Times};
use flow::exact::{Gaussian, Mixture, MixtureField};
use flow::{Field, Objective, Parameterization, Path, Solver, rows};
use methods::{
    DistillConfig, Failure, Labels, MethodError, PairChunk, PairsConfig, ReflowConfig, Supply, Target, checks, pairs,
};

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

/// Points whose number can be told from them: sources `(n, -n)/100`, data `(m + n/100, m)` of class `n`.
struct Numbered;

impl Supply<2> for Numbered {
    fn source(&mut self, numbers: &[u64]) -> Result<Tensor<2>, Failure> {
        let values: Vec<f32> = numbers.iter().flat_map(|&n| [n as f32 / 100.0, n as f32 / -100.0]).collect();
        Ok(Tensor::<1>::from_floats(&values[..], &Device::flex()).reshape([numbers.len(), 2]))
    }

    fn data(&mut self, numbers: &[u64]) -> Result<(Tensor<2>, Vec<i64>), Failure> {
        let values: Vec<f32> = numbers.iter().flat_map(|&n| [2.0 + n as f32 / 100.0, 2.0]).collect();
        let points = Tensor::<1>::from_floats(&values[..], &Device::flex()).reshape([numbers.len(), 2]);
        Ok((points, numbers.iter().map(|&n| n as i64).collect()))
    }
}

/// Between N(0, 1) and N(2, 1/4) the flow is `x1 = 2 + x0/2` in closed form: forwards and backwards to 1e-4, whichever batch.
/// Mutants: the forward schedule for inverted pairs; inverted pairs left at the end of their batch.
#[test]
fn inverted_pairs_are_the_inverse_map_and_stand_in_their_places() {
    let teacher = Gaussian::new(Path::Linear {}, vec![2.0, 2.0], vec![0.5, 0.5]).unwrap();
    let mut seen = Vec::new();
    for batch in [3, 64] {
        let config = PairsConfig { inverted: 0.3, batch, steps: 100, ..PairsConfig::default() };
        let mut all = Vec::new();
        let mut sink = |chunk: PairChunk<2>| {
            let (x0, x1) = (rows::host(chunk.x0)?, rows::host(chunk.x1)?);
            for (i, (&index, &label)) in chunk.indices.iter().zip(&chunk.labels).enumerate() {
                all.push((index, label, [x0[2 * i], x0[2 * i + 1]], [x1[2 * i], x1[2 * i + 1]]));
            }
            Ok(())
        };
        let device = Device::flex();
        let labels = Labels::None {};
        pairs::generate_from(&teacher, &mut Numbered, &labels, &config, 0..40, &device, &mut sink).unwrap();
        let (mut forward, mut backward) = (0, 0);
        for (i, (index, label, x0, x1)) in all.iter().enumerate() {
            assert_eq!(*index, i as u64);
            for axis in 0..2 {
                assert!((x1[axis] - 2.0 - x0[axis] / 2.0).abs() < 1e-4, "{index}: {x0:?} {x1:?}");
            }
            if config.is_inverted(*index) {
                assert!(*label == backward && (x1[0] - 2.0 - backward as f64 / 100.0).abs() < 1e-6, "{index}");
                backward += 1;
            } else {
                assert!(*label == NULL_CLASS && (x0[0] - f64::from(forward) / 100.0).abs() < 1e-6, "{index}");
                forward += 1;
            }
        }
        assert_eq!((forward, backward), (28, 12));
        seen.push(all);
    }
    assert_eq!(seen[0], seen[1]);
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
    assert!(run(&Labels::None {}, &PairsConfig { inverted: 1.5, ..good.clone() }).is_err());
    let stirred = PairsConfig { inverted: 0.5, solver: Solver::NoiseRefresh { rate: 1.0 }, ..good.clone() };
    assert!(run(&Labels::None {}, &stirred).unwrap_err().to_string().contains("no way back"));
    // Without data there is nothing to invert.
    let error = run(&Labels::None {}, &PairsConfig { inverted: 1.0, ..good.clone() }).unwrap_err();
    assert!(error.to_string().contains("there are none"), "{error}");
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
    let latent = Objective { path: Path::brownian(1.0), ..Objective::default() };
    let refused = |error: MethodError| error.to_string();
    assert!(refused(ReflowConfig::default().stage(&latent).unwrap_err()).contains("latent"));
    let noise = Objective { parameterization: Parameterization::Noise {}, ..Objective::default() };
    assert!(ReflowConfig::default().stage(&noise).is_ok());
    assert!(matches!(DistillConfig::default().stage(&noise, false), Err(MethodError::Teacher(_))));
    // A path that keeps a trace of data at t = 0 leaves a noise network something to say there.
    let vp = Objective { path: Path::vp(), ..noise.clone() };
    assert!(DistillConfig::default().stage(&vp, false).is_ok());
    assert!(DistillConfig { steps: 0, ..DistillConfig::default() }.stage(&Objective::default(), false).is_err());
    let with = |target: Target, steps, cut| {
        DistillConfig { target, steps, ..DistillConfig::default() }.stage(&Objective::default(), cut)
    };
    assert!(refused(with(Target::Guided(Default::default()), 2, false).unwrap_err()).contains("one step"));
    assert!(refused(with(Target::Consistency(Default::default()), 1, true).unwrap_err()).contains("cuts"));
    assert!(refused(with(Target::Path, 4, true).unwrap_err()).contains("distill.steps"));
    // Every piece is learned at its start. Mutant: times spread over the piece.
    assert_eq!(with(Target::Path, 1, true).unwrap().objective.time.law, flow::TimeLaw::Constant { t: 0.0 });
    assert_eq!(with(Target::Path, 4, false).unwrap().objective.time.law, flow::TimeLaw::Steps { count: 4 });
    // A perceptual distance reaches the objective; there is nothing it could see of a mean velocity.
    let seen = DistillConfig { perceptual: Some(flow::Perceptual::default()), ..DistillConfig::default() };
    assert_eq!(seen.stage(&Objective::default(), false).unwrap().objective.perceptual, seen.perceptual);
    let blind = DistillConfig { target: Target::MeanFlow(Default::default()), ..seen };
    assert!(refused(blind.stage(&Objective::default(), false).unwrap_err()).contains("perceptual"));
}

#[test]
fn stages_of_the_other_targets_train_on_data() {
    use flow::{Coupling, Loss, Native};
    let teacher = Objective::default();
    let stage = |target: Target, steps| {
        DistillConfig { target, steps, ..DistillConfig::default() }.stage(&teacher, false).unwrap()
    };
    let segments = stage(Target::Segments(Default::default()), 4);
    let Target::Segments(rule) = &segments.target else { panic!("{segments:?}") };
    assert_eq!((rule.times.len(), &segments.coupling), (5, &Coupling::Independent {}));
    assert_eq!(segments.objective.time.law, flow::TimeLaw::Constant { t: 0.0 });
    let consistent = stage(Target::Consistency(Default::default()), 1);
    assert_eq!(consistent.objective.measure, Some(Parameterization::Data {}));
    // A diffusion model straightened along the linear path keeps its own inputs and output.
    let edm = Path::Edm { sigma_max: 80.0, rho: 7.0 };
    let output = Parameterization::Preconditioned { sigma_data: 0.5 };
    let diffusion = Objective { path: edm.clone(), parameterization: output, ..Objective::default() };
    let wrapped = ReflowConfig { linear: true, ..ReflowConfig::default() }.stage(&diffusion).unwrap().objective;
    assert_eq!((&wrapped.path, wrapped.parameterization), (&Path::Linear {}, Parameterization::Velocity {}));
    assert_eq!(wrapped.native, Some(Native { path: edm.clone(), parameterization: output }));
    // Along its own path it is Rectified Diffusion.
    let loss = Loss::PseudoHuber { c: 0.001 };
    let config = ReflowConfig { loss, measure: Some(Parameterization::Data {}), ..ReflowConfig::default() };
    let own = config.stage(&diffusion).unwrap().objective;
    assert_eq!((own.path, own.native, own.measure), (edm, None, Some(Parameterization::Data {})));
}

#[test]
fn pieces_of_trajectories_join_up_and_do_not_depend_on_batches() {
    let config =
        PairsConfig { solver: Solver::Euler {}, steps: 20, batch: 64, cuts: vec![0.25, 0.6], ..Default::default() };
    assert_eq!((config.pieces(), config.times()), (3, vec![0.0, 0.25, 0.6, 1.0]));
    let made = |config: &PairsConfig, range: std::ops::Range<u64>| {
        let mut rows = Vec::new();
        let mut sink = |chunk: PairChunk<2>| {
            let (x0, x1) = (rows::host(chunk.x0)?, rows::host(chunk.x1)?);
            let pairs = x0.chunks(2).zip(x1.chunks(2)).map(|(a, b)| (a.to_vec(), b.to_vec()));
            rows.extend(chunk.indices.into_iter().zip(pairs).zip(chunk.labels));
            Ok(())
        };
        let labels = Labels::Balanced { classes: 3 };
        pairs::generate(&teacher(), [0, 2], &labels, config, range, &Device::flex(), &mut sink).unwrap();
        rows
    };
    let all = made(&config, 0..30);
    let small = PairsConfig { batch: 4, ..config.clone() };
    assert_eq!(made(&small, 0..30), all);
    assert_eq!(made(&config, 7..11), all[7..11]);
    // The same trajectories, whole: cuts on the grid of the steps change nothing.
    let whole = made(&PairsConfig { cuts: vec![], ..config.clone() }, 0..10);
    for (i, ((_, (x0, x1)), label)) in whole.iter().enumerate() {
        let piece = |k: usize| &all[3 * i + k];
        assert_eq!(piece(0).0.1.0, *x0);
        assert_eq!((&piece(0).0.1.1, &piece(1).0.1.1), (&piece(1).0.1.0, &piece(2).0.1.0));
        let end = piece(2).0.1.1.iter().zip(x1);
        assert!(end.clone().all(|(a, b)| (a - b).abs() < 1e-5), "{:?}", end.collect::<Vec<_>>());
        assert!((0..3).all(|k| piece(k).1 == *label));
    }
    for cuts in [vec![0.5, 0.5], vec![0.0], vec![1.0], vec![0.7, 0.2]] {
        let error = PairsConfig { cuts, ..PairsConfig::default() }.check().unwrap_err().to_string();
        assert!(error.contains("pairs.generate.cuts"), "{error}");
    }
}
