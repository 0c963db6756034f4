//! What a codec of shapes is trained on (TripoSG, arXiv:2502.06608, eq. 5 to 8): distance, normals, eikonal equation, and nearness of
//! the tokens to a standard normal distribution.
//!
//! The paper leaves two things open. Its field is a truncated distance divided by the truncation, whose gradient has length
//! `1 / truncation`: the eikonal term here asks that of the gradient times the truncation, and only where the true distance is
//! below it, since the field is flat beyond. And the term of the tokens is a mean over their numbers, so that its weight does not
//! depend on how many there are.

use super::Moments;
use base::Tensor;
use serde::{Deserialize, Serialize};

/// Weights of the terms; the paper's by default.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShapeWeights {
    /// Of the normals.
    pub normal: f64,
    /// Of the eikonal equation.
    pub eikonal: f64,
    /// Of the tokens' distribution.
    pub kl: f64,
}

impl Default for ShapeWeights {
    fn default() -> Self {
        Self { normal: 10.0, eikonal: 0.1, kl: 0.001 }
    }
}

/// What the field is held to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShapeTarget {
    /// The signed distance, cut and divided by the truncation (eq. 5).
    #[default]
    Distance,
    /// Inside or outside, as the codecs had it that the paper compares with (3DShape2VecSet, arXiv:2301.11445): the field is the negative
    /// logit of being inside.
    Occupancy,
}

/// Gradients shorter than this have no direction.
const SHORTEST: f64 = 1e-6;

/// Mean of `|s - s'| + (s - s')²` over each sample's points: fields `[b n]` to `[b]`.
pub fn distance(field: Tensor<2>, truth: Tensor<2>) -> Tensor<1> {
    let gap = field - truth;
    mean(gap.clone().abs() + gap.clone() * gap)
}

/// Mean over each sample's points of the cross-entropy between the field's sign, as the negative logit of being inside, and the sign of the true
/// distance: fields `[b n]` to `[b]`.
pub fn occupancy(field: Tensor<2>, truth: Tensor<2>) -> Tensor<1> {
    let outside = truth.greater_elem(0.0).float();
    // -log sigmoid(field) outside, -log sigmoid(-field) inside, without overflow.
    mean(field.clone().clamp_min(0.0) - field.clone() * outside + (field.abs().neg().exp() + 1.0).log())
}

/// Mean of one less the cosine between the gradient `[b n 3]` and the true unit normal `[b n 3]`, at each sample's points of the
/// surface: `[b]`.
pub fn normal(gradient: Tensor<3>, normals: Tensor<3>) -> Tensor<1> {
    let along: Tensor<2> = (gradient.clone() * normals).sum_dim(2).squeeze_dim::<2>(2);
    mean(along / length(gradient)).neg() + 1.0
}

/// Mean of `(|truncation gradient| - 1)²` over each sample's points whose true field `[b n]` is not cut, `[b]`; 0 where there is
/// none.
pub fn eikonal(gradient: Tensor<3>, truth: Tensor<2>, truncation: f64) -> Tensor<1> {
    let inside = truth.abs().lower_elem(0.999).float(); // [b n]
    let gap = length(gradient) * truncation - 1.0;
    sum(gap.clone() * gap * inside.clone()) / sum(inside).clamp_min(1.0)
}

/// Mean over the numbers of each sample's tokens of their divergence from a standard normal distribution: `[b]`.
pub fn kl(moments: &Moments) -> Tensor<1> {
    let Moments { mean: middle, log_variance } = moments;
    let terms = middle.clone() * middle.clone() + log_variance.clone().exp() - 1.0 - log_variance.clone();
    mean(terms.flatten::<2>(1, 2)) * 0.5
}

/// `[b n]` to `[b]`.
fn sum(x: Tensor<2>) -> Tensor<1> {
    x.sum_dim(1).squeeze_dim::<1>(1)
}

/// `[b n]` to `[b]`.
fn mean(x: Tensor<2>) -> Tensor<1> {
    x.mean_dim(1).squeeze_dim::<1>(1)
}

/// `[b n 3]` to `[b n]`; never zero, and with a gradient everywhere.
fn length(v: Tensor<3>) -> Tensor<2> {
    let squared: Tensor<2> = (v.clone() * v).sum_dim(2).squeeze_dim::<2>(2);
    (squared + SHORTEST * SHORTEST).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Device, TensorData};

    fn device() -> Device {
        Device::flex().autodiff()
    }

    fn number(loss: &Tensor<1>) -> f64 {
        f64::from(loss.clone().into_scalar::<f32>())
    }

    fn two<const N: usize>(values: [f32; N]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), [1, N]), &device())
    }

    fn three<const N: usize>(values: [[f32; 3]; N]) -> Tensor<3> {
        Tensor::from_data(TensorData::new(values.concat(), [1, N, 3]), &device())
    }

    /// Of a field far on the right side nothing, far on the wrong side its length, of zero log 2. Mutants: inside and outside exchanged; an exponential
    /// that overflows.
    #[test]
    fn occupancy_is_the_cross_entropy_of_the_sign() {
        let found = number(&occupancy(two([200.0, -200.0]), two([0.3, -0.1])));
        assert!(found.abs() < 1e-6, "{found}");
        let found = number(&occupancy(two([-200.0, 200.0]), two([0.3, -0.1])));
        assert!((found - 200.0).abs() < 1e-4, "{found}");
        let found = number(&occupancy(two([0.0, 1.5]), two([0.3, 1.0])));
        assert!((found - (2f64.ln() + (1.0 + (-1.5f64).exp()).ln()) / 2.0).abs() < 1e-6, "{found}");
        let field = two([0.7]).require_grad();
        let slope = occupancy(field.clone(), two([-1.0])).sum().backward();
        let slope = f64::from(field.grad(&slope).unwrap().into_scalar::<f32>());
        assert!((slope - 1.0 / (1.0 + (-0.7f64).exp())).abs() < 1e-6, "{slope}");
    }

    #[test]
    fn values_are_those_of_the_formulas() {
        let found = number(&distance(two([0.5, -0.25]), two([0.0, 0.25])));
        assert!((found - 0.75).abs() < 1e-6, "{found}"); // |.5| + .25 of both
        // Along, against, at right angles and at 60 degrees: 0, 2, 1, 0.5.
        let gradients = three([[0.0, 0.0, 4.0], [0.0, 0.0, -0.1], [2.0, 0.0, 0.0], [3f32.sqrt(), 0.0, 1.0]]);
        let found = number(&normal(gradients, three([[0.0, 0.0, 1.0]; 4])));
        assert!((found - 3.5 / 4.0).abs() < 1e-5, "{found}");
        // Lengths 4 and 6 at truncation 0.25 miss 1 by 0 and 0.5; the third is cut and does not count.
        let gradients = three([[4.0, 0.0, 0.0], [0.0, -6.0, 0.0], [0.0, 0.0, 0.0]]);
        let found = number(&eikonal(gradients, two([0.1, -0.9, 1.0]), 0.25));
        assert!((found - 0.125).abs() < 1e-6, "{found}");
        let moments = Moments { mean: three([[1.0, 0.0, 2.0]]), log_variance: three([[0.0, 0.0, 4f32.ln()]]) };
        let found = number(&kl(&moments));
        let wanted = 0.5 * (1.0 + 0.0 + (4.0 + 4.0 - 1.0 - 4f64.ln())) / 3.0;
        assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
    }

    /// The gradient of `loss` by autodiff against central differences of the loss.
    fn holds(values: &[f32], loss: impl Fn(Tensor<1>) -> Tensor<1>) {
        let at = |values: &[f32]| Tensor::<1>::from_data(TensorData::new(values.to_vec(), [values.len()]), &device());
        let x = at(values).require_grad();
        let exact: Vec<f32> = x.grad(&loss(x.clone()).backward()).unwrap().into_data().try_to_vec().unwrap();
        let step = 1e-2;
        for i in 0..values.len() {
            let moved = |by: f32| {
                let mut values = values.to_vec();
                values[i] += by;
                number(&loss(at(&values)))
            };
            let slope = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
            assert!((slope - f64::from(exact[i])).abs() < 2e-3 * (1.0 + slope.abs()), "{i}: {slope} {}", exact[i]);
        }
    }

    #[test]
    fn gradients_are_those_of_the_values() {
        let values = [0.3, -0.8, 1.2, 0.5, 0.9, -0.4];
        holds(&values, |x| distance(x.reshape([1, 6]), two([0.0, 0.1, 0.2, 0.9, 0.0, -0.9])));
        let up = three([[0.0, 0.6, 0.8], [1.0, 0.0, 0.0]]);
        holds(&values, |x| normal(x.reshape([1, 2, 3]), up.clone()));
        holds(&values, |x| eikonal(x.reshape([1, 2, 3]), two([0.5, 0.2]), 0.5));
        holds(&values, |x| {
            let both: Tensor<3> = x.reshape([1, 2, 3]);
            kl(&Moments { mean: both.clone().narrow(1, 0, 1), log_variance: both.narrow(1, 1, 1) })
        });
    }

    /// Mutant: a mean over the whole batch.
    #[test]
    fn each_sample_has_a_loss_of_its_own() {
        let of = |rows: [[f32; 2]; 2]| Tensor::<2>::from_floats(rows, &device());
        let values = |x: Tensor<1>| x.into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(values(distance(of([[0.0, 0.0], [1.0, 1.0]]), of([[0.0; 2]; 2]))), [0.0, 2.0]);
        let up = Tensor::<3>::from_floats([[[0.0, 0.0, 4.0]], [[0.0, 0.0, -8.0]]], &device());
        let normals = Tensor::<3>::from_floats([[[0.0, 0.0, 1.0]]; 2], &device());
        for (found, wanted) in values(normal(up.clone(), normals)).into_iter().zip([0.0, 2.0]) {
            assert!((found - wanted).abs() < 1e-6);
        }
        let truth = Tensor::<2>::from_floats([[0.0], [0.0]], &device());
        assert_eq!(values(eikonal(up, truth, 0.25)), [0.0, 1.0]);
        let mean = Tensor::<3>::from_floats([[[0.0]], [[2.0]]], &device());
        assert_eq!(values(kl(&Moments { mean: mean.clone(), log_variance: mean.zeros_like() })), [0.0, 2.0]);
    }

    #[test]
    fn a_gradient_of_zero_has_a_loss_and_a_finite_slope() {
        let x = three([[0.0; 3]]).require_grad();
        let loss = normal(x.clone(), three([[0.0, 0.0, 1.0]])) + eikonal(x.clone(), two([0.0]), 0.25);
        assert!((number(&loss) - 2.0).abs() < 1e-3);
        let slope: Vec<f32> = x.grad(&loss.backward()).unwrap().into_data().try_to_vec().unwrap();
        assert!(slope.iter().all(|v| v.is_finite()), "{slope:?}");
    }
}
