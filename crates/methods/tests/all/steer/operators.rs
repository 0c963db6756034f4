//! Every operator: its adjoint is its transpose, its bound the largest eigenvalue, flat means flat.

use super::oracle::{dense, host, tensor};
use base::{Key, Purpose};
use methods::steer::operator::{Grey, Kernel, Mask, Sampled, Separable, Waves, Whole};
use methods::steer::sensor::{Magnitudes, Rounded};
use methods::steer::{Cost, Measurement, Operator, Sensor, conjugate, cost::ByTape};
use std::sync::Arc;

fn all() -> Vec<Box<dyn Operator>> {
    vec![
        Box::new(Mask::hole([2, 4, 6], [1, 2], [2, 3]).unwrap()),
        Box::new(Separable::pooling([2, 4, 6], 2).unwrap()),
        Box::new(Separable::blur([2, 4, 6], 3, 0.8).unwrap()),
        Box::new(Separable::blur([1, 8, 8], 7, 1.0).unwrap()),
        Box::new(Grey::new([3, 4, 2]).unwrap()),
        Box::new(Mask::scattered([2, 4, 6], 0.6, key()).unwrap()),
        Box::new(Mask::strokes([2, 12, 9], 0.3, key()).unwrap()),
        Box::new(Separable::bicubic([2, 4, 8], 2).unwrap()),
        Box::new(Separable::cosines([2, 6, 5], 4)),
        Box::new(Sampled::new([2, 4, 6], 0.4, key()).unwrap()),
        Box::new(Whole(5)),
        Box::new(Waves::new([2, 3, 4])),
        Box::new(Kernel::motion([2, 7, 6], 4.0, 30.0).unwrap()),
        Box::new(Kernel::new([1, 5, 6], &[0.1, 0.4, -0.2, 0.0, 0.3, 0.2, 0.1, 0.0, 0.5], [3, 3]).unwrap()),
    ]
}

fn key() -> Key {
    Key::new(3, Purpose::Probe).fold(7)
}

fn random(count: usize, n: usize, stream: u64) -> Vec<Vec<f64>> {
    let key = Key::new(2, Purpose::Probe).fold(stream);
    (0..count as u64).map(|i| key.normals(i, n).map(f64::from).collect()).collect()
}

#[test]
fn adjoints_are_transposes() {
    for operator in all() {
        let (n, m) = operator.sizes();
        let matrix = dense(&*operator);
        let r = random(1, m, 0);
        let back = host(operator.adjoint(tensor(&r)));
        for j in 0..n {
            let known: f64 = (0..m).map(|i| matrix[i][j] * r[0][i]).sum();
            assert!((back[j] - known).abs() < 1e-12, "{}: {} is not {known}", operator.name(), back[j]);
        }
    }
}

/// `bound` by power iteration on the whole matrix, and `A Aᵀ A x = bound A x` where an operator says it is flat.
#[test]
fn bounds_are_the_largest_eigenvalues() {
    for operator in all() {
        let (n, _) = operator.sizes();
        let mut v = random(1, n, 1);
        let mut size = 0.0;
        for _ in 0..400 {
            let next = host(operator.adjoint(operator.forward(tensor(&v))));
            size = next.iter().map(|x| x * x).sum::<f64>().sqrt();
            v = vec![next.iter().map(|x| x / size).collect()];
        }
        let name = operator.name();
        assert!((operator.bound() / size - 1.0).abs() < 1e-6, "{name}: {} is not {size}", operator.bound());
        let y = operator.forward(tensor(&random(3, n, 2)));
        let again = host(operator.forward(operator.adjoint(y.clone())) - y.clone() * operator.bound());
        let worst = again.iter().map(|v| v.abs()).fold(0.0, f64::max);
        assert_eq!(worst < 1e-12, operator.is_flat(), "{name}: {worst}");
    }
}

/// Pooling of a ramp and blurring of a point, by hand; a blur shifted by half a pixel (the published kernel) would not be
/// symmetric.
#[test]
fn values_known_by_hand() {
    let pooled = Separable::pooling([1, 2, 4], 2).unwrap();
    assert_eq!(host(pooled.forward(tensor(&[vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]))), [2.5, 4.5]);
    assert_eq!((pooled.bound(), pooled.measured()), (0.25, [1, 1, 2]));
    let blur = Separable::blur([1, 1, 5], 3, 1.0).unwrap();
    let y = host(blur.forward(tensor(&[vec![0.0, 0.0, 1.0, 0.0, 0.0]])));
    let side = (-0.5f64).exp();
    let total = 1.0 + 2.0 * side;
    // The single row keeps the middle weight of its own direction.
    for (y, known) in y.iter().zip([0.0, side, 1.0, side, 0.0]) {
        assert!((y - known / total / total).abs() < 1e-12, "{y}");
    }
    let grey = Grey::new([3, 1, 1]).unwrap();
    assert_eq!(host(grey.forward(tensor(&[vec![0.3, 0.6, 0.9]])))[0], 0.6);
}

/// A point comes out as the kernel's own picture; a motion along the row, along the column and slanting; a ramp stays one in bicubic pixels
/// and a wave that they cannot show is gone; cosines of a torn square are its own.
///
/// Mutants: the kernel read the other way round; rows and columns of an angle swapped; the cubic's support not stretched by the factor.
#[test]
fn kernels_pixels_and_cosines_known_by_hand() {
    let point: Vec<f64> = (0..35).map(|i| if i == 17 { 1.0 } else { 0.0 }).collect();
    let weights: Vec<f64> = (1..=9).map(f64::from).collect();
    let seen = host(Kernel::new([1, 5, 7], &weights, [3, 3]).unwrap().forward(tensor(std::slice::from_ref(&point))));
    for k in 0..9 {
        assert!((seen[(1 + k / 3) * 7 + 2 + k % 3] - (k + 1) as f64 / 45.0).abs() < 1e-12, "{seen:?}");
    }
    let moved =
        |angle: f64| host(Kernel::motion([1, 5, 7], 3.0, angle).unwrap().forward(tensor(std::slice::from_ref(&point))));
    for (angle, ends) in [(0.0, [16, 18]), (90.0, [10, 24]), (45.0, [11, 23])] {
        let seen = moved(angle);
        let side = |at: usize| seen[at] / seen.iter().sum::<f64>();
        assert!((side(ends[0]) - side(ends[1])).abs() < 1e-9 && side(ends[0]) > 0.05, "{angle}: {seen:?}");
        assert!(seen.iter().filter(|v| **v > 0.05).count() <= 7 && side(17) > 0.3, "{angle}: {seen:?}");
    }
    assert!(moved(45.0)[25].abs() < 1e-9, "up to the right, not down");
    let fewer = Separable::bicubic([1, 2, 16], 2).unwrap();
    let ramp = host(fewer.forward(tensor(&[(0..32).map(|i| (i % 16) as f64).collect()])));
    assert!((2..6).all(|i| (ramp[i] - (2.0 * i as f64 + 0.5)).abs() < 1e-9), "{ramp:?}");
    let wave = host(fewer.forward(tensor(&[(0..32).map(|i| f64::from(i % 2 * 2) - 1.0).collect()])));
    assert!((2..6).all(|i| wave[i].abs() < 0.1), "{wave:?}");
    let flat = host(Separable::cosines([1, 1, 6], 4).forward(tensor(&[vec![1.0, 1.0, 1.0, 1.0, 3.0, 3.0]])));
    for (a, b) in flat.iter().zip([2.0, 0.0, 0.0, 0.0, 3.0 * 2.0f64.sqrt(), 0.0]) {
        assert!((a - b).abs() < 1e-12, "{flat:?}");
    }
}

/// Drawn masks hide about the share asked for, all channels alike, the same at every call and others under other keys; strokes hang
/// together.
///
/// Mutants: a mask per channel; strokes that all start at one place.
#[test]
fn masks_are_drawn_by_counter() {
    let hidden = |mask: &Mask| mask.known().iter().filter(|known| !**known).count() as f64 / mask.known().len() as f64;
    for share in [0.2, 0.5, 0.9] {
        let (dots, brush) =
            (Mask::scattered([2, 40, 40], share, key()).unwrap(), Mask::strokes([2, 40, 40], share, key()).unwrap());
        assert!((hidden(&dots) - share).abs() < 0.05, "{}", hidden(&dots));
        assert!((share..share + 0.15).contains(&hidden(&brush)), "{share}: {}", hidden(&brush));
        for mask in [&dots, &brush] {
            assert_eq!(mask.known()[..1600], mask.known()[1600..]);
        }
        assert_eq!(brush, Mask::strokes([2, 40, 40], share, key()).unwrap());
        assert_ne!(dots, Mask::scattered([2, 40, 40], share, key().fold(1)).unwrap());
        // Neighbours in a row agree far more often than those of scattered pixels.
        let torn = |mask: &Mask| (0..1599).filter(|i| mask.known()[*i] != mask.known()[i + 1]).count();
        assert!(3 * torn(&brush) < torn(&dots) || share == 0.9, "{} {}", torn(&brush), torn(&dots));
    }
}

/// Gradients of the misfit by the tape are those of the adjoint.
#[test]
fn the_gradient_is_that_of_the_value() {
    for operator in all() {
        let (n, m) = operator.sizes();
        let y = tensor(&random(2, m, 3));
        let bound = operator.bound();
        let x = tensor(&random(2, n, 4));
        let cost = Measurement::new(operator, y.clone(), 0.0).unwrap();
        let linear = cost.linear().unwrap();
        let value = |x: base::Tensor<2>| {
            let y = if x.is_autodiff() { y.clone().autodiff() } else { y.clone() };
            flow::rows::sum((linear.operator.forward(x) - y).square()) * 0.5
        };
        let taped = ByTape { cost: value, curvature: bound };
        let (a, b) = (host(cost.gradient(x.clone())), host(taped.gradient(x.clone())));
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-12), "{}", linear.operator.name());
        assert_eq!(flow::rows::host(cost.value(x.clone())).unwrap(), flow::rows::host(taped.value(x)).unwrap());
    }
}

/// What is not linear: the original costs nothing, the gradient is the value's slope, no slope changes faster than the curvature says, and
/// what was measured of what was measured is the same.
///
/// Mutants: a box as wide as two steps; the distance to its middle; phases turned round; the half of `u` forgotten.
#[test]
fn rounding_and_lost_phases_cost_what_they_say() {
    let shape = [2, 9, 12];
    let pixels =
        |stream: u64| random(2, 216, stream).into_iter().map(|row| row.iter().map(|v| (0.5 * v).tanh()).collect());
    let sensors = [
        ("levels", Sensor::Rounded(Rounded::levels(shape, 2).unwrap())),
        ("jpeg", Sensor::Rounded(Rounded::jpeg(shape, 20).unwrap())),
        ("phase", Sensor::Magnitudes(Magnitudes::new(shape))),
    ];
    for (name, sensor) in sensors {
        let (x, other) = (tensor(&pixels(6).collect::<Vec<_>>()), tensor(&pixels(7).collect::<Vec<_>>()));
        let y = sensor.forward(x.clone());
        assert_eq!((y.dims(), sensor.operator().is_none()), ([2, sensor.sizes().1], true), "{name}");
        let cost = sensor.cost(y.clone(), 0.0).unwrap();
        let value = |x: &base::Tensor<2>| flow::rows::host(cost.value(x.clone())).unwrap();
        assert!(value(&x).iter().all(|v| *v < 1e-12), "{name}: {:?}", value(&x));
        assert!(value(&other).iter().all(|v| *v > 0.05), "{name}: {:?}", value(&other));
        let (g, step) = (cost.gradient(other.clone()), 1e-5);
        for direction in 0..4 {
            let v = tensor(&random(2, 216, 20 + direction));
            let ends = [step, -step].map(|step| value(&(other.clone() + v.clone() * step)));
            let slopes = flow::rows::host(flow::rows::sum(g.clone() * v.clone())).unwrap();
            for (row, slope) in slopes.iter().enumerate() {
                let known = (ends[0][row] - ends[1][row]) / (2.0 * step);
                assert!((slope - known).abs() < 1e-4 * (1.0 + known.abs()), "{name}: {slope} is not {known}");
            }
            let turned = host(cost.gradient(other.clone() + v.clone() * 0.3) - g.clone());
            let length = |x: &[f64]| x.iter().map(|v| v * v).sum::<f64>().sqrt();
            assert!(length(&turned) <= cost.curvature() * 0.3 * length(&host(v)) * (1.0 + 1e-9), "{name}");
        }
        // A step of κ = 1 never costs more, whichever way phases lie.
        let after = other.clone() - g / cost.curvature();
        assert!(value(&after).iter().zip(value(&other)).all(|(a, b)| *a < b), "{name}");
        let (weight, operator) = sensor.steepest();
        assert!((weight * operator.bound() - cost.curvature()).abs() < 1e-12);
        if name != "phase" {
            let again = sensor.forward(y.clone()) - y;
            assert!(host(again).iter().all(|v| v.abs() < 1e-6), "{name}");
        }
    }
    // Two bits are four levels, and grey bytes at JPEG's mean stay what they are: 16 at quality 50, over 8 pixels.
    let levels = Sensor::Rounded(Rounded::levels([1, 1, 4], 2).unwrap());
    let seen = host(levels.forward(tensor(&[vec![-0.9, -0.2, 0.4, 0.9]])));
    assert!(seen.iter().zip([-1.0, -1.0 / 3.0, 1.0 / 3.0, 1.0]).all(|(a, b)| (a - b).abs() < 1e-6), "{seen:?}");
    // Half a step past the edge of its box costs half of that squared; inside nothing does.
    let cost = levels.cost(tensor(&[vec![-1.0 / 3.0; 4]]), 0.0).unwrap();
    let past = flow::rows::host(cost.value(tensor(&[vec![1.0 / 3.0, -0.01, -1.0 / 3.0, -0.66]]))).unwrap();
    assert!((past[0] - 1.0 / 18.0).abs() < 1e-6, "{past:?}");
    let jpeg = Sensor::Rounded(Rounded::jpeg([1, 8, 8], 50).unwrap());
    let grey = |byte: f64| host(jpeg.forward(tensor(&[vec![byte / 127.5 - 1.0; 64]])))[63] * 127.5 + 127.5;
    assert!(
        (grey(128.0) - 128.0).abs() < 1e-4 && (grey(130.9) - 130.0).abs() < 1e-4,
        "{} {}",
        grey(128.0),
        grey(130.9)
    );
    assert!(Rounded::levels([1, 2, 2], 8).is_err() && Rounded::jpeg([1, 2, 2], 0).is_err());
}

#[test]
fn conjugate_gradients_solve_and_project() {
    for operator in all() {
        let (n, _) = operator.sizes();
        let r = operator.forward(tensor(&random(2, n, 5)));
        let z = conjugate::solve(&*operator, 0.7, 0.05, r.clone()).unwrap();
        let back = operator.forward(operator.adjoint(z.clone())) * 0.7 + z * 0.05;
        let off = host(back - r.clone()).iter().map(|v| v.abs()).fold(0.0, f64::max);
        assert!(off < 1e-5, "{}: {off}", operator.name());
    }
    let mask = Mask::hole([1, 2, 2], [0, 0], [1, 1]).unwrap();
    let y = mask.forward(tensor(&[vec![9.0, 2.0, 3.0, 4.0]]));
    let cost = Measurement::new(Arc::new(mask) as Arc<dyn Operator>, y, 0.0).unwrap();
    let x = conjugate::project(&cost, tensor(&[vec![1.0, 0.0, 0.0, 0.0]])).unwrap();
    assert_eq!(host(x), [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let says = |result: Result<(), methods::MethodError>, word: &str| {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
    };
    says(Mask::new(vec![true; 4]).map(drop), "every value");
    says(Mask::new(vec![false; 4]).map(drop), "no value");
    says(Mask::hole([1, 8, 8], [5, 5], [4, 2]).map(drop), "leaves an image of 8 x 8");
    says(Mask::hole([1, 8, 8], [usize::MAX, 0], [2, 2]).map(drop), "leaves");
    says(Separable::pooling([1, 9, 8], 2).map(drop), "divides");
    says(Separable::pooling([1, 8, 8], 1).map(drop), "divides");
    says(Separable::blur([1, 8, 8], 4, 1.0).map(drop), "odd");
    says(Separable::blur([1, 8, 8], 5, f64::NAN).map(drop), "positive deviation");
    says(Grey::new([1, 8, 8]).map(drop), "no colour");
    says(Separable::bicubic([1, 9, 8], 2).map(drop), "divides");
    says(Mask::scattered([1, 8, 8], 1.0, key()).map(drop), "between 0 and 1");
    says(Mask::strokes([1, 8, 8], f64::NAN, key()).map(drop), "between 0 and 1");
    says(Sampled::new([1, 8, 8], 0.001, key()).map(drop), "something to measure");
    says(Sampled::new([1, 8, 8], -1.0, key()).map(drop), "share = -1");
    says(Kernel::motion([1, 8, 8], 9.0, 0.0).map(drop), "at most the 8");
    says(Kernel::motion([1, 8, 8], 1.0, 0.0).map(drop), "more than 1");
    says(Kernel::motion([1, 8, 8], 8.0, 0.0).map(drop), "touches 1 x 9 pixels");
    says(Kernel::new([1, 65, 65], &[1.0; 65 * 65], [65, 65]).map(drop), "give at most 4096");
    says(Kernel::new([1, 8, 8], &[1.0; 4], [2, 2]).map(drop), "odd");
    says(Kernel::new([1, 8, 8], &[1.0; 81], [9, 9]).map(drop), "8 x 8");
    says(Kernel::new([1, 8, 8], &[1.0, 0.0, -1.0], [1, 3]).map(drop), "not zero");
    says(Kernel::new([1, 8, 8], &[f64::NAN, 0.0, 1.0], [1, 3]).map(drop), "numbers");
    says(Kernel::new([1, 8, 8], &[0.0, 1.0, 0.0], [1, 3]).map(drop), "changes nothing");
    let mask = || Arc::new(Mask::hole([1, 2, 2], [0, 0], [1, 1]).unwrap()) as Arc<dyn Operator>;
    says(Measurement::new(mask(), tensor(&[vec![0.0; 3]]), 0.0).map(drop), "measures 4 values");
    says(Measurement::new(mask(), tensor(&[vec![0.0; 4]]), f64::NAN).map(drop), "noise");
}
