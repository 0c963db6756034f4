//! Densities of clouds: a histogram for the eye, a kernel estimate and the Kullback–Leibler divergence for the record.

use super::Cloud;

/// Half the side of the window that pictures show.
pub const WINDOW: f32 = 5.5;

/// Share of a cloud in each cell of a grid of `side` by `side` over the window, smoothed by a Gaussian of one cell.
/// Rows from the top.
pub fn histogram(cloud: &Cloud, side: usize) -> Vec<f32> {
    let mut cells = vec![0.0; side * side];
    for [x, y] in cloud {
        let place = |v: f32| (v + WINDOW) / (2.0 * WINDOW) * side as f32;
        let (column, row) = (place(*x), place(-*y));
        if (0.0..side as f32).contains(&column) && (0.0..side as f32).contains(&row) {
            cells[row as usize * side + column as usize] += 1.0 / cloud.len() as f32;
        }
    }
    let kernel = [0.054_5, 0.244_2, 0.402_6, 0.244_2, 0.054_5]; // a Gaussian of one cell, sum 1
    let smooth = |cells: &[f32], step: usize, along: fn(usize, usize) -> usize| -> Vec<f32> {
        let value = |i: usize| {
            let place = along(i, side) as isize;
            let inside = |k: isize| (0..side as isize).contains(&(place + k));
            let at = |k: isize| cells[(i as isize + k * step as isize) as usize];
            (-2..=2).filter(|k| inside(*k)).map(|k| kernel[(k + 2) as usize] * at(k)).sum()
        };
        (0..cells.len()).map(value).collect()
    };
    let cells = smooth(&cells, 1, |i, side| i % side);
    smooth(&cells, side, |i, side| i / side)
}

/// A Gaussian kernel estimate of a cloud's density. The bandwidth is a third of Scott's (`n^(-1/6)` deviations in the plane),
/// which is meant for one bump and would blur a board of squares into one.
#[derive(Clone, Debug)]
pub struct Kernel<'a> {
    cloud: &'a Cloud,
    precision: [f64; 2],
    normal: f64,
}

impl<'a> Kernel<'a> {
    /// The estimate from `cloud`, with the bandwidths of `like` so that two estimates are blurred alike.
    pub fn new(cloud: &'a Cloud, like: &Cloud) -> Self {
        let n = like.len().max(1) as f64;
        let bandwidth = |k: usize| {
            let mean = like.iter().map(|p| f64::from(p[k])).sum::<f64>() / n;
            let variance = like.iter().map(|p| (f64::from(p[k]) - mean).powi(2)).sum::<f64>() / n;
            (variance * n.powf(-1.0 / 3.0) / 9.0).max(1e-12)
        };
        let (a, b) = (bandwidth(0), bandwidth(1));
        let normal = 1.0 / (2.0 * std::f64::consts::PI * (a * b).sqrt() * cloud.len().max(1) as f64);
        Self { cloud, precision: [1.0 / a, 1.0 / b], normal }
    }

    /// The density at a point.
    pub fn at(&self, [x, y]: [f32; 2]) -> f64 {
        let [a, b] = self.precision;
        let term = |p: &[f32; 2]| {
            let (dx, dy) = (f64::from(p[0] - x), f64::from(p[1] - y));
            (-0.5 * (a * dx * dx + b * dy * dy)).exp()
        };
        self.normal * self.cloud.iter().map(term).sum::<f64>()
    }
}

/// `KL(p | q)` between the laws of two clouds from kernel estimates, averaged over `at` drawn from `p`.
///
/// Each term carries the control variate `q/p - 1`, whose mean is zero: `log p - log q - 1 + q/p` is never negative, so the
/// estimate is not either (stochastic interpolants, arXiv 2303.08797, §7). The blur of the estimates makes it a little small.
pub fn divergence(p: &Cloud, q: &Cloud, at: &Cloud) -> f64 {
    let (p, q) = (Kernel::new(p, p), Kernel::new(q, p));
    // Where hardly a particle came near, a ratio of two estimates says nothing: a tenth of one particle is everywhere.
    let floor = 0.1 * p.normal;
    let term = |x: &[f32; 2]| {
        let (p, q) = (p.at(*x) + floor, q.at(*x) + floor);
        p.ln() - q.ln() - 1.0 + q / p
    };
    at.iter().map(term).sum::<f64>() / at.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy::noise;

    #[test]
    fn a_histogram_keeps_its_mass_and_its_sides() {
        let cells = histogram(&vec![[3.1, 4.1]; 10], 22);
        assert!((cells.iter().sum::<f32>() - 1.0).abs() < 1e-3);
        let top = cells.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        assert_eq!((top % 22, top / 22), (17, 2), "x to the right, y upwards");
    }

    #[test]
    fn the_divergence_of_shifted_gaussians_is_half_the_square_of_the_shift() {
        let (p, at) = (noise(1, 20_000), noise(2, 800));
        let shifted: Cloud = noise(3, 20_000).iter().map(|[x, y]| [x + 1.0, *y]).collect();
        let (same, apart) = (divergence(&p, &noise(4, 20_000), &at), divergence(&p, &shifted, &at));
        assert!((0.0..0.2).contains(&same), "{same}");
        // One half, plus what two finite clouds differ by anyway.
        assert!((apart - same - 0.5).abs() < 0.15, "{apart} {same}");
    }
}
