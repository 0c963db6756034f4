//! What the tests of rectification share: the eight-mode ring, its pairs, and kernel regression in place of a network.
#![allow(dead_code)] // each test uses some of it

use base::{Condition, Device, Key, Purpose, Tensor, TensorData, Times};
use flow::exact::Mixture;
use flow::exercise::source_of_start;
use flow::{Field, Frame, Path, rows};
use methods::{Labels, PairChunk, PairsConfig, pairs};

/// Eight modes of deviation 0.3 on a circle of radius 4.
pub fn ring() -> Mixture {
    Mixture::ring(8, 4.0, 0.3).unwrap()
}

/// Noise that no pair has seen, `[n 2]`.
pub fn fresh(n: u64) -> Tensor<2> {
    Key::new(77, Purpose::Noise).normal_tensor(&(0..n).collect::<Vec<_>>(), [0, 2], &Device::flex())
}

/// Both ends of `n` pairs of `field`.
pub fn stored(field: &dyn Field<2>, config: &PairsConfig, n: u64) -> Vec<[f64; 4]> {
    let mut stored = Vec::new();
    let mut sink = |chunk: PairChunk<2>| {
        let (x0, x1) = (rows::host(chunk.x0)?, rows::host(chunk.x1)?);
        stored.extend(x0.chunks(2).zip(x1.chunks(2)).map(|(a, b)| [a[0], a[1], b[0], b[1]]));
        Ok(())
    };
    pairs::generate(field, [0, 2], &Labels::None {}, config, 0..n, &Device::flex(), &mut sink).unwrap();
    stored
}

/// Kernel regression of the velocity of stored pairs on their points (Nadaraya–Watson): what a network of unlimited capacity
/// learns from them.
pub struct Kernel {
    path: Path,
    /// Source and data of each pair's curve.
    pairs: Vec<[f64; 4]>,
    /// In units of the network's input.
    width: f64,
    /// Whether the data is regressed and the source read off the point, as where errors are measured in the data estimate; the
    /// velocity is otherwise.
    of_data: bool,
}

impl Kernel {
    /// On the curves of `path` from where the pairs' samples start.
    pub fn new(path: Path, pairs: &[[f64; 4]], width: f64) -> Self {
        let ends = |at: usize| {
            let values = pairs.iter().flat_map(|pair| [pair[at] as f32, pair[at + 1] as f32]).collect();
            Tensor::<2>::from_data(TensorData::new::<f32, _>(values, [pairs.len(), 2]), &Device::flex())
        };
        let sources = rows::host(source_of_start(&path, ends(0), ends(2))).expect("the CPU can be read");
        let pairs = pairs.iter().zip(sources.chunks(2)).map(|(pair, x0)| [x0[0], x0[1], pair[2], pair[3]]).collect();
        Self { path, pairs, width, of_data: false }
    }

    /// The same with the data regressed.
    pub fn of_data(self) -> Self {
        Self { of_data: true, ..self }
    }
}

impl Field<2> for Kernel {
    fn velocity(&self, x: Tensor<2>, t: &Times, _: &Condition) -> Tensor<2> {
        let (device, n) = (x.device(), x.dims()[0]);
        let points = rows::host(x).expect("the CPU can be read");
        let mut values = Vec::with_capacity(2 * n);
        for (p, &t) in points.chunks(2).zip(t.values()) {
            let (c, width) = (self.path.at(t), self.width / self.path.input_scale(t));
            let at = |pair: &[f64; 4], k: usize| c.alpha * pair[k] + c.beta * pair[k + 2];
            let distance = |q: &[f64; 4]| (p[0] - at(q, 0)).powi(2) + (p[1] - at(q, 1)).powi(2);
            let nearest = self.pairs.iter().map(distance).fold(f64::INFINITY, f64::min);
            let (mut total, mut mean) = (0.0, [0.0; 4]);
            for q in &self.pairs {
                let d = distance(q) - nearest;
                if d < 40.0 * width * width {
                    let w = (-d / (2.0 * width * width)).exp();
                    total += w;
                    mean.iter_mut().zip(q).for_each(|(mean, q)| *mean += w * q);
                }
            }
            for k in 0..2 {
                let (x0, x1) = (mean[k] / total, mean[k + 2] / total);
                let x0 = if self.of_data { (p[k] - c.beta * x1) / c.alpha } else { x0 };
                values.push((c.d_alpha * x0 + c.d_beta * x1) as f32);
            }
        }
        Tensor::from_data(TensorData::new(values, [n, 2]), &device)
    }

    fn frame(&self) -> Option<Frame<'_>> {
        Some(Frame { path: &self.path, independent: false })
    }
}
