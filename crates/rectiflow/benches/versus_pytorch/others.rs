//! What is timed beside networks: the matrix product, exact coupling, the Fréchet distance.

use crate::Phases;
use base::{Device, Key, Purpose, Tensor};
use flow::Coupling;
use flow::coupling::Draw;
use metrics::{Matrix, frechet_distance_of};
use std::error::Error;

/// The phases of a workload; `None` if there is none of this name.
///
/// # Errors
/// None but mistakes in this file.
pub fn phases(name: &str, device: &Device) -> Result<Option<Phases>, Box<dyn Error>> {
    let normal = |seed: u64, rows: usize, columns: usize| -> Tensor<2> {
        let indices: Vec<u64> = (0..rows as u64).collect();
        Key::new(seed, Purpose::Noise).normal_tensor(&indices, [rows, columns], device)
    };
    Ok(match name {
        "product" => {
            let (a, b, device) = (normal(1, 2048, 2048), normal(2, 2048, 2048), device.clone());
            let run = move || {
                std::hint::black_box(a.clone().matmul(b.clone()));
                device.sync().expect("the device works");
            };
            Some(vec![("2048", Box::new(run))])
        }
        "coupling" => {
            let phase = |points: usize| -> Box<dyn FnMut()> {
                let (x0, x1) = (normal(1, points, 32), normal(2, points, 32));
                let indices: Vec<u64> = (0..points as u64).collect();
                Box::new(move || {
                    let pairing = Coupling::optimal_transport().pair(&x0, &x1, &Draw::new(0, &indices));
                    std::hint::black_box(pairing.expect("finite points can be paired"));
                })
            };
            Some(vec![("512", phase(512)), ("2048", phase(2048))])
        }
        "frechet" => {
            let matrix = |seed| -> Result<Matrix, Box<dyn Error>> {
                let values = normal(seed, 10_000, 2048).into_data().iter::<f32>().collect();
                Ok(Matrix::new(values, 10_000, 2048)?)
            };
            let (a, b) = (matrix(1)?, matrix(2)?);
            let run = move || drop(std::hint::black_box(frechet_distance_of(&a, &b)));
            Some(vec![("10000x2048", Box::new(run))])
        }
        _ => None,
    })
}
