//! Small pictures of a Gaussian mixture, measured, with the exact posterior given the measurement.

use base::{Condition, Device, Key, Purpose, Tensor, TensorData};
use burn::tensor::DType;
use flow::exact::{FullMixture, FullMixtureField};
use flow::{Field, Path, Schedule, ScheduleConfig, rows};
use methods::steer::{Cost, Measurement, Operator, Problem, Steered, Steering};
use std::sync::Arc;

/// Square matrices in row-major order and vectors, as the closed forms need them.
pub type Vector = Vec<f64>;

/// `L` with `L Lᵀ = m`.
fn cholesky(m: &[f64], n: usize) -> Vector {
    let mut l = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| l[i * n + k] * l[j * n + k]).sum();
            l[i * n + j] = if i == j { (m[i * n + i] - sum).sqrt() } else { (m[i * n + j] - sum) / l[j * n + j] };
        }
    }
    l
}

/// `m⁻¹ v` by its factor, and `log det m`.
fn solve(l: &[f64], n: usize, v: &[f64]) -> (Vector, f64) {
    let mut y = v.to_vec();
    for i in 0..n {
        y[i] = (y[i] - (0..i).map(|k| l[i * n + k] * y[k]).sum::<f64>()) / l[i * n + i];
    }
    for i in (0..n).rev() {
        y[i] = (y[i] - (i + 1..n).map(|k| l[k * n + i] * y[k]).sum::<f64>()) / l[i * n + i];
    }
    (y, 2.0 * (0..n).map(|i| l[i * n + i].ln()).sum::<f64>())
}

/// A mixture with its parts in reach.
pub struct Pictures {
    pub weights: Vector,
    pub means: Vec<Vector>,
    pub covariances: Vec<Vector>,
    pub mixture: FullMixture,
}

impl Pictures {
    pub fn new(weights: Vector, means: Vec<Vector>, covariances: Vec<Vector>) -> Self {
        let mixture = FullMixture::new(weights.clone(), means.clone(), covariances.clone()).unwrap();
        Self { weights, means, covariances, mixture }
    }

    /// Six kinds of smooth 8x8 pictures: covariances with a power law over the cosine transform, deviation 0.3 a pixel.
    pub fn smooth() -> Self {
        const SIDE: usize = 8;
        let n = SIDE * SIDE;
        let wave = |k: usize, i: usize| {
            let scale = if k == 0 { 1.0 / SIDE as f64 } else { 2.0 / SIDE as f64 };
            scale.sqrt() * (std::f64::consts::PI * k as f64 * (i as f64 + 0.5) / SIDE as f64).cos()
        };
        let table: Vector =
            (0..n * n).map(|ki| wave(ki / n / SIDE, ki % n / SIDE) * wave(ki / n % SIDE, ki % SIDE)).collect();
        let basis = |k: usize, i: usize| table[k * n + i];
        let frequency = |k: usize| ((k / SIDE).pow(2) + (k % SIDE).pow(2)) as f64;
        let kind = |c: usize| {
            let power = 1.9 + 0.1 * c as f64;
            let spectrum: Vector = (0..n).map(|k| (1.0 + frequency(k)).powf(-power)).collect();
            let scale = 0.3f64.powi(2) * n as f64 / spectrum.iter().sum::<f64>();
            let covariance = (0..n * n)
                .map(|ij| (0..n).map(|k| scale * spectrum[k] * basis(k, ij / n) * basis(k, ij % n)).sum())
                .collect::<Vector>();
            let draws: Vector = Key::new(3, Purpose::Probe).normals(c as u64, 6).map(f64::from).collect();
            let low = [0, 1, SIDE, SIDE + 1, 2, 2 * SIDE];
            let mean = (0..n).map(|i| low.iter().zip(&draws).map(|(k, z)| 0.8 * z * basis(*k, i)).sum()).collect();
            (mean, covariance)
        };
        let (means, covariances) = (0..6).map(kind).unzip();
        Self::new(vec![1.0 / 6.0; 6], means, covariances)
    }

    pub fn field(&self) -> FullMixtureField {
        FullMixtureField::new(Path::Linear {}, self.mixture.clone()).unwrap()
    }

    /// Pictures `from..from + count`.
    pub fn draw(&self, from: u64, count: usize) -> Vec<Vector> {
        (from..from + count as u64).map(|i| self.mixture.sample(Key::new(11, Purpose::Probe), i)).collect()
    }

    /// The exact posterior given `operator` of each of `truth`, with noise of deviation `noise` already in `measured`: its mean
    /// and one draw.
    pub fn posterior(&self, operator: &dyn Operator, measured: &[Vector], noise: f64) -> (Vec<Vector>, Vec<Vector>) {
        // Of masks the known values alone, or the measurement's covariance would be singular.
        let dense = dense(operator);
        let used: Vec<usize> = (0..dense.len()).filter(|i| dense[*i].iter().any(|v| *v != 0.0)).collect();
        let a: Vec<&Vector> = used.iter().map(|i| &dense[*i]).collect();
        let (n, m) = (self.means[0].len(), a.len());
        let floor = (noise * noise).max(1e-9);
        let parts: Vec<(Vec<Vector>, Vector)> = (self.covariances.iter())
            .map(|c| {
                let ca: Vec<Vector> =
                    a.iter().map(|row| (0..n).map(|i| (0..n).map(|j| c[i * n + j] * row[j]).sum()).collect()).collect();
                let inner = (0..m * m).map(|ij| {
                    let (i, j) = (ij / m, ij % m);
                    let sum: f64 = a[i].iter().zip(&ca[j]).map(|(x, y)| x * y).sum();
                    sum + if i == j { floor } else { 0.0 }
                });
                let inner: Vector = inner.collect();
                (ca, cholesky(&inner, m))
            })
            .collect();
        let roots: Vec<Vector> = self.covariances.iter().map(|c| cholesky(c, n)).collect();
        let measure = |x: &[f64]| a.iter().map(|row| row.iter().zip(x).map(|(p, q)| p * q).sum()).collect::<Vector>();
        let condition = |k: usize, x: &[f64], y: &[f64]| {
            let gap: Vector = y.iter().zip(measure(x)).map(|(y, z)| y - z).collect();
            let (z, log) = solve(&parts[k].1, m, &gap);
            let moved = (0..n).map(|i| x[i] + (0..m).map(|j| parts[k].0[j][i] * z[j]).sum::<f64>()).collect::<Vector>();
            (moved, -0.5 * (gap.iter().zip(&z).map(|(g, z)| g * z).sum::<f64>() + log))
        };
        let one = |row: usize, y: &Vector| {
            let y: Vector = used.iter().map(|i| y[*i]).collect();
            let found: Vec<_> = (0..self.means.len()).map(|k| condition(k, &self.means[k], &y)).collect();
            let logs: Vector = found.iter().zip(&self.weights).map(|((_, l), w)| l + w.ln()).collect();
            let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let shares: Vector = logs.iter().map(|l| (l - most).exp()).collect();
            let total: f64 = shares.iter().sum();
            let mean =
                (0..n).map(|i| found.iter().zip(&shares).map(|((x, _), s)| s / total * x[i]).sum::<f64>()).collect();
            let key = Key::new(23, Purpose::Probe);
            let (mut u, mut k) = (key.fold(0).uniform(row as u64) * total, 0);
            while k + 1 < shares.len() && u >= shares[k] {
                u -= shares[k];
                k += 1;
            }
            // A prior draw, moved by the same gain as its mean (Matheron's rule).
            let root = &roots[k];
            let z: Vector = key.fold(1).normals(row as u64, n).map(f64::from).collect();
            let prior: Vector =
                (0..n).map(|i| self.means[k][i] + (0..=i).map(|j| root[i * n + j] * z[j]).sum::<f64>()).collect();
            let e: Vector = key.fold(2).normals(row as u64, m).map(|e| f64::from(e) * noise).collect();
            let y: Vector = y.iter().zip(e).map(|(y, e)| y - e).collect();
            (mean, condition(k, &prior, &y).0)
        };
        measured.iter().enumerate().map(|(row, y)| one(row, y)).unzip()
    }
}

/// The matrix of an operator, a row per measured value.
pub fn dense(operator: &dyn Operator) -> Vec<Vector> {
    let (n, m) = operator.sizes();
    let unit = |i: usize| (0..n).map(|j| if i == j { 1.0 } else { 0.0 }).collect::<Vector>();
    let columns = host(operator.forward(tensor(&(0..n).map(unit).collect::<Vec<_>>())));
    (0..m).map(|i| (0..n).map(|j| columns[j * m + i]).collect()).collect()
}

pub fn tensor(values: &[Vector]) -> Tensor<2> {
    let data = TensorData::new(values.concat(), [values.len(), values[0].len()]);
    Tensor::from_data(data, (&Device::flex(), DType::F64))
}

pub fn host(x: Tensor<2>) -> Vector {
    rows::host(x).unwrap()
}

/// What `operator` measures of `truth`, with noise of deviation `noise`.
pub fn measure(operator: &dyn Operator, truth: &[Vector], noise: f64) -> Vec<Vector> {
    let m = operator.sizes().1;
    let clean = host(operator.forward(tensor(truth)));
    let key = Key::new(31, Purpose::Probe);
    (clean.chunks(m).enumerate())
        .map(|(i, y)| y.iter().zip(key.normals(i as u64, m)).map(|(y, e)| y + noise * f64::from(e)).collect())
        .collect()
}

pub fn uniform(steps: usize) -> Schedule {
    ScheduleConfig::Uniform {}.build(steps).unwrap()
}

/// Noise of samples `from..from + count` in `n` dimensions.
pub fn noise(from: u64, count: usize, n: usize) -> Tensor<2> {
    let indices: Vec<u64> = (from..from + count as u64).collect();
    Key::new(41, Purpose::Noise).normal_tensor(&indices, [0, n], &Device::flex()).cast(DType::F64)
}

/// Samples of `field` steered towards `cost` from `x`.
pub fn steer(field: &dyn Field<2>, cost: &dyn Cost, steering: &Steering, steps: usize, x: Tensor<2>) -> Steered<2> {
    let indices: Vec<u64> = (0..x.dims()[0] as u64).collect();
    let (condition, schedule) = (Condition::none(), uniform(steps));
    let key = Key::new(47, Purpose::Noise);
    let problem =
        Problem { field, condition: &condition, cost, schedule: &schedule, key, indices: &indices, stop: &|| false };
    steering.run(&problem, x).unwrap()
}

/// The misfit to `measured`.
pub fn misfit(operator: impl Operator + 'static, measured: &[Vector], noise: f64) -> Measurement {
    Measurement::new(Arc::new(operator) as Arc<dyn Operator>, tensor(measured), noise).unwrap()
}

/// PSNR of a peak of 2 over the values `used` of all pictures.
pub fn psnr(x: &[f64], truth: &[Vector], used: impl Fn(usize) -> bool) -> f64 {
    let n = truth[0].len();
    let (mut sum, mut count) = (0.0, 0.0);
    for (row, truth) in x.chunks(n).zip(truth) {
        for (_, (a, b)) in row.iter().zip(truth).enumerate().filter(|(i, _)| used(*i)) {
            sum += (a - b).powi(2);
            count += 1.0;
        }
    }
    10.0 * (4.0 * count / sum).log10()
}
