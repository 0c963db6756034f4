//! Costs through a decoder: on a linear one they are costs of the composed measurement.

use super::oracle::{dense, host, tensor};
use base::{Condition, Key, Purpose, Tensor};
use flow::{Path, ScheduleConfig, exact::Gaussian};
use methods::steer::{Cost, Decoded, FlowChef, Measurement, Operator, Problem, Steering, decoded, operator::Mask};

const LATENT: usize = 4;
const PIXELS: usize = 6;

/// The decoder's matrix, `[latent pixels]`.
fn matrix() -> Vec<Vec<f64>> {
    let key = Key::new(5, Purpose::Init);
    (0..LATENT as u64).map(|i| key.normals(i, PIXELS).map(f64::from).collect()).collect()
}

fn decode(z: Tensor<2>) -> Tensor<2> {
    let map = tensor(&matrix());
    z.clone().matmul(if z.is_autodiff() { map.autodiff() } else { map })
}

/// A mask of decoded pixels as one operator on latents.
struct Composed(Mask);

impl Operator for Composed {
    fn name(&self) -> &'static str {
        "a mask of decoded pixels"
    }
    fn sizes(&self) -> (usize, usize) {
        (LATENT, PIXELS)
    }
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.0.forward(x.matmul(tensor(&matrix())))
    }
    fn adjoint(&self, r: Tensor<2>) -> Tensor<2> {
        self.0.adjoint(r).matmul(tensor(&matrix()).transpose())
    }
    fn bound(&self) -> f64 {
        let rows = dense(self);
        let mut v = vec![1.0; LATENT];
        let mut size = 0.0;
        for _ in 0..500 {
            let seen: Vec<f64> = rows.iter().map(|row| row.iter().zip(&v).map(|(a, b)| a * b).sum()).collect();
            let next: Vec<f64> = (0..LATENT).map(|j| rows.iter().zip(&seen).map(|(row, s)| row[j] * s).sum()).collect();
            size = next.iter().map(|x: &f64| x * x).sum::<f64>().sqrt();
            v = next.iter().map(|x| x / size).collect();
        }
        size
    }
    fn is_flat(&self) -> bool {
        false
    }
}

/// Gradient, curvature and a whole run of FlowChef are those of the composed measurement.
///
/// Mutants: the covector not masked; the decoder's transpose left out; the curvature of the mask alone.
#[test]
fn a_linear_decoder_is_part_of_the_measurement() {
    let mask = || Mask::new(vec![true, true, false, true, true, false]).unwrap();
    let known = tensor(&[vec![0.4, -0.3, 0.0, 1.1, 0.2, 0.0], vec![-0.9, 0.1, 0.0, 0.3, 0.7, 0.0]]);
    let composed =
        Measurement::new(std::sync::Arc::new(Composed(mask())) as std::sync::Arc<dyn Operator>, known.clone(), 0.1)
            .unwrap();
    let plain =
        || Measurement::new(std::sync::Arc::new(mask()) as std::sync::Arc<dyn Operator>, known.clone(), 0.1).unwrap();
    let key = Key::new(6, Purpose::Probe);
    let draw = |i: u64| -> Vec<f64> { key.normals(i, LATENT).map(f64::from).collect() };
    let one = || {
        let first = known.clone().narrow(0, 0, 1);
        Measurement::new(std::sync::Arc::new(mask()) as std::sync::Arc<dyn Operator>, first, 0.1).unwrap()
    };
    let found = decoded::curvature(&decode, &one(), &tensor(&[draw(0)]), tensor(&[draw(1)])).unwrap();
    assert!((found / composed.curvature() - 1.0).abs() < 0.02, "{found} is not {}", composed.curvature());
    let through = Decoded::new(&decode, Box::new(plain()), composed.curvature());
    let z = tensor(&[draw(2), draw(3)]);
    let gap = |a: Tensor<2>, b: Tensor<2>| host(a - b).iter().map(|v| v.abs()).fold(0.0, f64::max);
    assert!(gap(through.gradient(z.clone()), composed.gradient(z.clone())) < 1e-10);
    let values = |cost: &dyn Cost| cost.value(z.clone()).into_data().iter::<f64>().collect::<Vec<_>>();
    assert!(values(&through).iter().zip(values(&composed)).all(|(a, b)| (a - b).abs() < 1e-10));
    assert_eq!((through.noise(), through.linear().is_none()), (0.1, true));

    let field = Gaussian::new(Path::Linear {}, vec![0.2; LATENT], vec![0.7; LATENT]).unwrap();
    let schedule = ScheduleConfig::Uniform {}.build(12).unwrap();
    let run = |cost: &dyn Cost| {
        let condition = Condition::none();
        let problem = Problem {
            field: &field,
            condition: &condition,
            cost,
            schedule: &schedule,
            key,
            indices: &[0, 1],
            stop: &|| false,
        };
        Steering::FlowChef(FlowChef::new(0.5)).run(&problem, z.clone()).unwrap().x
    };
    assert!(gap(run(&through), run(&composed)) < 1e-9);
    // A decoder that is deaf to its latent has no curvature to step by.
    let deaf = |z: Tensor<2>| z.clone().matmul(Tensor::<2>::zeros([LATENT, PIXELS], (&z.device(), z.dtype())));
    let said = decoded::curvature(&deaf, &one(), &tensor(&[draw(0)]), tensor(&[draw(1)])).unwrap_err().to_string();
    assert!(said.contains("does not depend"), "{said}");
}
