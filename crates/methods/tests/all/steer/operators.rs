//! Every operator: its adjoint is its transpose, its bound the largest eigenvalue, flat means flat.

use super::oracle::{dense, host, tensor};
use base::{Key, Purpose};
use methods::steer::operator::{Grey, Mask, Separable};
use methods::steer::{Cost, Measurement, Operator, conjugate, cost::ByTape};
use std::sync::Arc;

fn all() -> Vec<Box<dyn Operator>> {
    vec![
        Box::new(Mask::hole([2, 4, 6], [1, 2], [2, 3]).unwrap()),
        Box::new(Separable::pooling([2, 4, 6], 2).unwrap()),
        Box::new(Separable::blur([2, 4, 6], 3, 0.8).unwrap()),
        Box::new(Separable::blur([1, 8, 8], 7, 1.0).unwrap()),
        Box::new(Grey::new([3, 4, 2]).unwrap()),
    ]
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
    let mask = || Arc::new(Mask::hole([1, 2, 2], [0, 0], [1, 1]).unwrap()) as Arc<dyn Operator>;
    says(Measurement::new(mask(), tensor(&[vec![0.0; 3]]), 0.0).map(drop), "measures 4 values");
    says(Measurement::new(mask(), tensor(&[vec![0.0; 4]]), f64::NAN).map(drop), "noise");
}
