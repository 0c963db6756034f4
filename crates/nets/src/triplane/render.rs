//! Density and colour along rays to a picture on white: the absorption of light in a cloud (Max 1995; Mildenhall et al. 2020,
//! arXiv:2003.08934, eq. 3).

use base::{Tensor, TensorData};

/// What rays see.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// Red, green and blue on white, `[b r 3]`.
    pub colour: Tensor<3>,
    /// How much of the light behind is kept away, `[b r]` in [0, 1].
    pub opacity: Tensor<2>,
}

/// Of `density` `[b r s]` and `colour` `[b r s 3]` at `s` places along each ray, the nearest first, each standing for a piece of
/// the length `step` `[b r]`.
pub fn render(density: Tensor<3>, colour: Tensor<4>, step: Tensor<2>) -> Rendered {
    let [b, r, s] = density.dims();
    let depth = (density * step.unsqueeze_dim::<3>(2)).reshape([b * r, s]);
    // What lies before each place: a sum over the nearer ones, as a product with a triangle of ones.
    let nearer: Vec<f32> = (0..s * s).map(|i| if i / s < i % s { 1.0 } else { 0.0 }).collect();
    let nearer = Tensor::<2>::from_data(TensorData::new(nearer, [s, s]), &depth.device());
    let before = depth.clone().matmul(nearer);
    let share = before.neg().exp() * (depth.clone().neg().exp().neg() + 1.0); // [br s]
    let through = depth.sum_dim(1).neg().exp(); // [br 1]
    let seen: Tensor<2> = (share.unsqueeze_dim::<3>(2) * colour.reshape([b * r, s, 3])).sum_dim(1).squeeze_dim::<2>(1);
    Rendered { colour: (seen + through.clone()).reshape([b, r, 3]), opacity: (through.neg() + 1.0).reshape([b, r]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Device;

    fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
        x.into_data().iter::<f64>().collect()
    }

    /// A slab of one density and colour keeps `1 - e^(-density length)` of the light away, however finely it is cut.
    /// Mutants: a piece's own absorption counted before it; a black background.
    #[test]
    fn a_slab_has_the_opacity_of_the_law_at_any_number_of_places() {
        let device = Device::flex();
        let (sigma, length, red) = (1.7, 0.9, 0.2);
        let wanted = 1.0 - f64::exp(-sigma * length);
        for s in [1, 4, 31] {
            let density = Tensor::<3>::full([1, 2, s], sigma, &device);
            let colour = Tensor::<4>::full([1, 2, s, 3], red, &device);
            let seen = render(density, colour, Tensor::full([1, 2], length / s as f64, &device));
            assert!(values(seen.opacity).iter().all(|v| (v - wanted).abs() < 1e-6));
            let mixed = wanted * red + (1.0 - wanted);
            assert!(values(seen.colour).iter().all(|v| (v - mixed).abs() < 1e-6));
        }
    }

    /// Mutant: the order of the places turned round.
    #[test]
    fn the_nearer_hides_the_farther() {
        let device = Device::flex();
        let density = Tensor::<3>::from_floats([[[0.0, 50.0, 50.0]]], &device);
        let colour = Tensor::<4>::from_floats([[[[0.0; 3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]], &device);
        let seen = values(render(density, colour, Tensor::full([1, 1], 1.0, &device)).colour);
        assert!(seen.iter().zip([1.0, 0.0, 0.0]).all(|(a, b)| (a - b).abs() < 1e-6), "{seen:?}");
    }

    /// Against central differences of the loss. Mutant: the sum of the nearer ones cut from the tape.
    #[test]
    fn gradients_are_those_of_the_picture() {
        let device = Device::flex().autodiff();
        let s = 5;
        let start: Vec<f32> = (0..4 * s).map(|i| 0.5 + 0.4 * (i as f32 * 1.3).sin()).collect();
        let loss = |x: Tensor<1>| {
            let density: Tensor<3> = x.clone().narrow(0, 0, s).reshape([1, 1, s]);
            let colour: Tensor<4> = x.narrow(0, s, 3 * s).reshape([1, 1, s, 3]);
            let seen = render(density, colour, Tensor::full([1, 1], 0.4, &device));
            let weight = Tensor::<1>::from_floats([0.3, -1.0, 2.0], &device).reshape([1, 1, 3]);
            (seen.colour * weight).sum() + seen.opacity.sum()
        };
        let at = |values: Vec<f32>| Tensor::<1>::from_data(TensorData::new(values, [4 * s]), &device);
        let x = at(start.clone()).require_grad();
        let exact = values(x.grad(&loss(x.clone()).backward()).unwrap());
        for i in 0..4 * s {
            let moved = |by: f32| {
                let mut values = start.clone();
                values[i] += by;
                f64::from(loss(at(values)).into_scalar::<f32>())
            };
            let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((slope - exact[i]).abs() < 1e-3, "{i}: {slope} {}", exact[i]);
        }
    }
}
