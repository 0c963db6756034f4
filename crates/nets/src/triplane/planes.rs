//! Three planes of features, and what they say of a point: bilinear samples of all three, joined, through a small perceptron.
//!
//! Axes and edges are InstantMesh's (`src/models/renderer/synthesizer.py`): the planes are XY, XZ and ZY, the first axis of each
//! runs along its columns, a plane covers [-1, 1]² to the outer edges of its pixels ("align_corners = False"), and what lies
//! beyond is zero. Its perceptron has ReLU where this one has SiLU.

use crate::init::{Init, Weights};
use crate::layers::Linear;
use base::{Device, Int, Tensor, TensorData};
use burn::module::Module;
use kernels::Activation;

/// How many planes there are.
pub const PLANES: usize = 3;
/// Which coordinates run along the columns and rows of each.
pub const AXES: [[usize; 2]; PLANES] = [[0, 1], [0, 2], [2, 1]];
/// Places that a sample is mixed from.
const CORNERS: usize = 4;

/// Where points fall on the planes of each object of a batch, computed once on the host: points learn nothing.
#[derive(Clone, Debug)]
pub struct Places {
    /// Rows of the table of all planes' places.
    at: Vec<i64>,
    /// Shares of those rows.
    share: Vec<f32>,
    objects: usize,
    sides: [usize; 2],
}

impl Places {
    /// Of `points`, as many for each of `objects`, on planes of `sides` (rows, columns).
    pub fn of(points: &[[f32; 3]], objects: usize, sides: [usize; 2]) -> Self {
        let [rows, columns] = sides;
        let each = points.len() / objects.max(1);
        let count = points.len() * PLANES * CORNERS;
        let (mut at, mut share) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (i, point) in points.iter().enumerate() {
            for (plane, [u, v]) in AXES.iter().enumerate() {
                let first = ((i / each.max(1)) * PLANES + plane) * rows * columns;
                // A pixel's middle lies half a pixel from its edge.
                let place = |x: f32, side: usize| ((x + 1.0) * side as f32 - 1.0) / 2.0;
                let (x, y) = (place(point[*u], columns), place(point[*v], rows));
                let (left, top) = (x.floor(), y.floor());
                for (dy, dx) in [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)] {
                    let (column, row) = (left + dx, top + dy);
                    let inside = column >= 0.0 && row >= 0.0 && column < columns as f32 && row < rows as f32;
                    at.push(if inside {
                        (first + row as usize * columns + column as usize) as i64
                    } else {
                        first as i64
                    });
                    let mix = (1.0 - (x - column).abs()) * (1.0 - (y - row).abs());
                    share.push(if inside { mix } else { 0.0 });
                }
            }
        }
        Self { at, share, objects, sides }
    }
}

/// The features of `planes` `[b 3 c rows columns]` at `places`: `[b n 3c]`, plane after plane.
pub fn sample(planes: Tensor<5>, places: &Places) -> Tensor<3> {
    let [b, _, c, rows, columns] = planes.dims();
    debug_assert!(b == places.objects && [rows, columns] == places.sides);
    let device = planes.device();
    let all = places.at.len();
    let at = Tensor::<1, Int>::from_data(TensorData::new(places.at.clone(), [all]), &device);
    let share = Tensor::<2>::from_data(TensorData::new(places.share.clone(), [all, 1]), &device);
    let table = planes.permute([0, 1, 3, 4, 2]).reshape([b * PLANES * rows * columns, c]);
    let mixed = (table.select(0, at) * share).reshape([all / CORNERS, CORNERS, c]).sum_dim(1);
    mixed.reshape([b, all / (b * PLANES * CORNERS), PLANES * c])
}

/// Features of a point to its density and colour, through two hidden layers.
#[derive(Module, Debug)]
pub struct PlaneField {
    /// Features to hidden.
    pub fc1: Linear,
    /// Hidden to hidden.
    pub fc2: Linear,
    /// Hidden to density and colour.
    pub fc3: Linear,
}

/// What a field says of points.
#[derive(Clone, Debug)]
pub struct Said {
    /// Of each unit of length, `[b n]`, not negative.
    pub density: Tensor<2>,
    /// Red, green and blue in [0, 1], `[b n 3]`.
    pub colour: Tensor<3>,
}

/// Colours reach a little beyond [0, 1], so that black and white are reached at all.
const BEYOND: f64 = 0.001;

impl PlaneField {
    /// For planes of `channels` features.
    pub(crate) fn new(init: &Init, channels: usize, hidden: usize) -> Self {
        let linear = |name: &str, from, to| Linear::new(&init.child(name), from, to, Weights::Xavier);
        Self {
            fc1: linear("fc1", PLANES * channels, hidden),
            fc2: linear("fc2", hidden, hidden),
            fc3: linear("fc3", hidden, 4),
        }
    }

    /// Of features `[b n 3c]`.
    pub fn forward(&self, features: Tensor<3>) -> Said {
        let hidden = self.fc2.activated(self.fc1.activated(features, Activation::Silu), Activation::Silu);
        let four = self.fc3.forward(hidden); // [b n 4]
        let density: Tensor<2> = four.clone().narrow(2, 0, 1).squeeze_dim::<2>(2);
        let colour = burn::tensor::activation::sigmoid(four.narrow(2, 1, 3));
        Said { density: softplus(density - 1.0), colour: colour * (1.0 + 2.0 * BEYOND) - BEYOND }
    }

    /// The device the weights live on.
    pub fn device(&self) -> Device {
        self.fc1.weight.val().device()
    }
}

/// `ln(1 + e^x)`, without overflow.
fn softplus(x: Tensor<2>) -> Tensor<2> {
    x.clone().clamp_min(0.0) + x.abs().neg().exp().log1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planes(values: Vec<f32>, [c, rows, columns]: [usize; 3], device: &Device) -> Tensor<5> {
        let b = values.len() / (PLANES * c * rows * columns);
        Tensor::from_data(TensorData::new(values, [b, PLANES, c, rows, columns]), device)
    }

    fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().try_to_vec().unwrap()
    }

    /// Planes that hold the coordinates of their pixels' middles give back a point's own coordinates, in the order XY, XZ, ZY.
    /// Mutants: rows and columns exchanged; ZY read as YZ; middles of pixels at the edges ("align_corners").
    #[test]
    fn a_point_finds_its_own_coordinates_on_the_planes() {
        let device = Device::flex();
        let (rows, columns) = (6, 4);
        let middle = |i: usize, side: usize| (2 * i + 1) as f32 / side as f32 - 1.0;
        let one: Vec<f32> = (0..2 * rows * columns)
            .map(|i| {
                let (row, column) = (i / columns % rows, i % columns);
                if i < rows * columns { middle(column, columns) } else { middle(row, rows) }
            })
            .collect();
        let all = planes([&one[..]; 3].concat(), [2, rows, columns], &device);
        let points = [[0.1, -0.4, 0.5], [-0.7, 0.2, 0.0], [0.0, 0.0, 0.0]];
        let found = values(sample(all.clone(), &Places::of(&points, 1, [rows, columns])));
        for (point, found) in points.iter().zip(found.chunks(6)) {
            let [x, y, z] = *point;
            for (found, wanted) in found.iter().zip([x, y, x, z, z, y]) {
                assert!((found - wanted).abs() < 1e-6, "{found} {wanted} of {point:?}");
            }
        }
        // At the edge a pixel counts half, beyond there is nothing.
        let ones = planes(vec![1.0; 3 * rows * columns], [1, rows, columns], &device);
        let found = values(sample(ones, &Places::of(&[[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]], 1, [rows, columns])));
        for (found, wanted) in found.iter().zip([0.5, 0.5, 1.0, 1.0, 0.0, 0.0]) {
            assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
        }
    }

    /// Mutant: all points read from the first object's planes.
    #[test]
    fn each_object_has_planes_of_its_own() {
        let device = Device::flex();
        let both = planes((0..2 * PLANES * 4).map(|i| (i / 12) as f32 + 1.0).collect(), [1, 2, 2], &device);
        let found = values(sample(both, &Places::of(&[[0.0; 3], [0.1; 3], [0.2; 3], [0.3; 3]], 2, [2, 2])));
        assert_eq!(found, [[1.0; 6], [2.0; 6]].concat());
    }

    #[test]
    fn gradients_of_planes_are_those_of_the_samples() {
        let device = Device::flex().autodiff();
        let start: Vec<f32> = (0..PLANES * 2 * 9).map(|i| (i as f32 * 0.7).sin()).collect();
        let places = Places::of(&[[0.3, -0.2, 0.6], [-0.9, 0.8, 0.1]], 1, [3, 3]);
        let loss = |x: Tensor<5>| {
            let y = sample(x, &places);
            (y.clone() * y).sum()
        };
        let x = planes(start.clone(), [2, 3, 3], &device).require_grad();
        let exact = values(x.grad(&loss(x.clone()).backward()).unwrap());
        let at = |values: Vec<f32>| f64::from(loss(planes(values, [2, 3, 3], &device)).into_scalar::<f32>());
        for i in (0..start.len()).step_by(5) {
            let moved = |by: f32| {
                let mut values = start.clone();
                values[i] += by;
                at(values)
            };
            let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((slope - f64::from(exact[i])).abs() < 1e-3, "{i}: {slope} {}", exact[i]);
        }
    }

    #[test]
    fn densities_are_positive_and_large_numbers_do_not_overflow() {
        let x = Tensor::<2>::from_floats([[-200.0, -1.0, 0.0, 3.0, 200.0]], &Device::flex());
        let found = values(softplus(x));
        for (found, x) in found.iter().zip([-200.0f64, -1.0, 0.0, 3.0, 200.0]) {
            let wanted = if x > 100.0 { x } else { x.exp().ln_1p() };
            assert!((f64::from(*found) - wanted).abs() < 1e-6 * (1.0 + wanted), "{found} {wanted}");
        }
    }
}
