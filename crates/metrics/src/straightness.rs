//! How straight a flow is, how much its couplings cross, and what they cost
//! (Liu et al. 2022, arXiv 2209.03003, sections 2.2 and 3.2).
//!
//! With `Z` the flow's own path and `(X0, X1)` the coupling it was trained on, the ledger
//! `E|X1 - X0|^2 - E|Z1 - Z0|^2 = S(Z) + V(X0, X1)` holds exactly for the exact velocity.

use crate::MetricsError;

/// Straightness `S = int_0^1 E|(Z1 - Z0) - v(Z_t, t)|^2 dt`, summed from a solver's velocities as it runs.
///
/// Expanded as `E|D|^2 - 2 E D.(int v) + E int |v|^2` with `D = Z1 - Z0`, so no trajectory is kept: memory is one
/// number per pixel. Fifty or more steps are needed; few Euler steps make `S` too small.
///
/// ```
/// use metrics::Straightness;
/// // One sample in one dimension that moves by 1, at speed 0 for half the time and 2 for the other half.
/// let mut s = Straightness::new(1, 1);
/// s.observe(0.5, &[0.0])?;
/// s.observe(0.5, &[2.0])?;
/// assert_eq!(s.finish(&[0.0], &[1.0])?, [1.0]);
/// # Ok::<(), metrics::MetricsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Straightness {
    dim: usize,
    time: f64,
    path: Vec<f64>,
    energy: Vec<f64>,
}

impl Straightness {
    /// Nothing observed yet, for `batch` samples of `dim` numbers.
    pub fn new(batch: usize, dim: usize) -> Self {
        Self { dim, time: 0.0, path: vec![0.0; batch * dim], energy: vec![0.0; batch] }
    }

    /// The velocity `[b d]` that held for a time `dt > 0` (each step's, or a quadrature node's with its weight).
    pub fn observe(&mut self, dt: f64, velocity: &[f32]) -> Result<(), MetricsError> {
        if !(dt.is_finite() && dt > 0.0) {
            return Err(MetricsError::Range { name: "dt", value: dt.to_string(), range: "finite and above 0" });
        }
        check_length("straightness", velocity.len(), self.path.len())?;
        self.time += dt;
        for (i, row) in velocity.chunks_exact(self.dim.max(1)).enumerate() {
            for (path, &v) in self.path[i * self.dim..].iter_mut().zip(row) {
                *path += dt * f64::from(v);
            }
            self.energy[i] += dt * row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
        }
        Ok(())
    }

    /// `S` of each sample from its end points `[b d]`; the observed times must add up to one.
    pub fn finish(&self, z0: &[f32], z1: &[f32]) -> Result<Vec<f64>, MetricsError> {
        check_length("straightness", z0.len(), self.path.len())?;
        check_length("straightness", z1.len(), self.path.len())?;
        // Steps that add up to one in floating point miss it by far less than this; a forgotten step by far more.
        if (self.time - 1.0).abs() > 1e-3 {
            let value = self.time.to_string();
            return Err(MetricsError::Range { name: "observed time", value, range: "1 in total" });
        }
        let difference: Vec<f64> = z1.iter().zip(z0).map(|(a, b)| f64::from(*a) - f64::from(*b)).collect();
        let rows = difference.chunks_exact(self.dim.max(1)).zip(self.path.chunks_exact(self.dim.max(1)));
        let per_row = rows.zip(&self.energy).map(|((d, path), energy)| {
            let squared: f64 = d.iter().map(|x| x * x).sum();
            let along: f64 = d.iter().zip(path).map(|(x, y)| x * y).sum();
            (squared - 2.0 * along + energy).max(0.0)
        });
        Ok(per_row.collect())
    }
}

/// Residual `|X1 - X0 - v(X_t, t)|^2` of each sample, all `[b d]`. Averaged over `t` uniform and the coupling, with the
/// exact velocity, it is the crossing `V`; with a trained network it is an upper bound (the training loss).
pub fn crossing(x0: &[f32], x1: &[f32], velocity: &[f32], dim: usize) -> Result<Vec<f64>, MetricsError> {
    check_length("crossing", x1.len(), x0.len())?;
    check_length("crossing", velocity.len(), x0.len())?;
    check_rows("crossing", x0.len(), dim)?;
    let residual: Vec<f64> =
        x0.iter().zip(x1).zip(velocity).map(|((a, b), v)| f64::from(*b) - f64::from(*a) - f64::from(*v)).collect();
    Ok(residual.chunks_exact(dim).map(|r| r.iter().map(|v| v * v).sum()).collect())
}

/// Mean transport cost `E |X1 - X0|^p` over samples of `dim` numbers, with the Euclidean norm and `p > 0`.
///
/// ```
/// // One sample moves by (3, 4), one stays.
/// let cost = metrics::transport_cost(&[0.0; 4], &[3.0, 4.0, 0.0, 0.0], 2, 1.0)?;
/// assert_eq!(cost, 2.5);
/// # Ok::<(), metrics::MetricsError>(())
/// ```
pub fn transport_cost(x0: &[f32], x1: &[f32], dim: usize, p: f64) -> Result<f64, MetricsError> {
    if !(p.is_finite() && p > 0.0) {
        return Err(MetricsError::Range { name: "p", value: p.to_string(), range: "finite and above 0" });
    }
    let squared = squared_distances("transport cost", x0, x1, dim)?;
    Ok(squared.iter().map(|s| s.powf(p / 2.0)).sum::<f64>() / squared.len() as f64)
}

/// Mean squared distance `E |a - b|^2` of two solves from the same noise, such as one step against the full solve.
pub fn mean_squared_distance(a: &[f32], b: &[f32], dim: usize) -> Result<f64, MetricsError> {
    let squared = squared_distances("distance of two solves", a, b, dim)?;
    Ok(squared.iter().sum::<f64>() / squared.len() as f64)
}

fn squared_distances(what: &'static str, a: &[f32], b: &[f32], dim: usize) -> Result<Vec<f64>, MetricsError> {
    check_length(what, b.len(), a.len())?;
    check_rows(what, a.len(), dim)?;
    let row = |(x, y): (&[f32], &[f32])| x.iter().zip(y).map(|(p, q)| (f64::from(*p) - f64::from(*q)).powi(2)).sum();
    Ok(a.chunks_exact(dim).zip(b.chunks_exact(dim)).map(row).collect())
}

fn check_length(what: &'static str, got: usize, expected: usize) -> Result<(), MetricsError> {
    if got == expected {
        return Ok(());
    }
    Err(MetricsError::Shape { what, message: format!("{got} numbers where {expected} belong") })
}

fn check_rows(what: &'static str, length: usize, dim: usize) -> Result<(), MetricsError> {
    if dim > 0 && length >= dim && length.is_multiple_of(dim) {
        return Ok(());
    }
    Err(MetricsError::Shape { what, message: format!("{length} numbers are not one or more samples of {dim}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Key, Purpose};
    use std::f64::consts::PI;

    const N: usize = 20_000;

    fn normals(seed: u64) -> Vec<f32> {
        Key::new(seed, Purpose::Noise).normals(0, N).collect()
    }

    /// Exact 1-rectified velocity from N(0,1) to N(m, s^2): `m + (t s^2 - (1 - t)) / A (x - t m)`,
    /// `A = t^2 s^2 + (1 - t)^2`.
    fn velocity(x: f64, t: f64, m: f64, s: f64) -> f64 {
        let a = t * t * s * s + (1.0 - t).powi(2);
        m + (t * s * s - (1.0 - t)) / a * (x - t * m)
    }

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    /// `S = s (2 - pi/2)`, `V = s pi/2` and the ledger, for three widths and a shifted mean. Mutants: `S` about the
    /// velocity's own mean, `Z0 - Z1`, an unweighted sum over steps, `V` against `X0 - X1`.
    #[test]
    fn gaussians_have_their_closed_straightness_and_crossing_and_the_ledger_balances() {
        for (m, s) in [(0.0, 1.0), (0.7, 0.5), (-1.0, 2.0)] {
            let (z0, steps) = (normals(1), 400);
            let mut straightness = Straightness::new(N, 1);
            let mut crossed = Vec::new();
            let (x0, x1) = (normals(2), normals(3).iter().map(|z| (m + s * f64::from(*z)) as f32).collect::<Vec<_>>());
            let dt = 1.0 / steps as f64;
            for i in 0..steps {
                // The exact path is t m + sqrt(A) z0, sampled at the middle of each step: error O(dt^2).
                let t = (i as f64 + 0.5) * dt;
                let root = (t * t * s * s + (1.0 - t).powi(2)).sqrt();
                let v: Vec<f32> = z0.iter().map(|z| velocity(t * m + root * f64::from(*z), t, m, s) as f32).collect();
                straightness.observe(dt, &v).unwrap();
                let at = |a: &f32, b: &f32| velocity(t * f64::from(*b) + (1.0 - t) * f64::from(*a), t, m, s) as f32;
                let v: Vec<f32> = x0.iter().zip(&x1).map(|(a, b)| at(a, b)).collect();
                crossed.push(mean(&crossing(&x0, &x1, &v, 1).unwrap()));
            }
            let z1: Vec<f32> = z0.iter().map(|z| (m + s * f64::from(*z)) as f32).collect();
            let straight = mean(&straightness.finish(&z0, &z1).unwrap());
            let crossed = mean(&crossed);
            // Both are means of squares of 20 000 normals: relative standard error sqrt(2/N) = 1 %; four of them.
            assert!((straight / (s * (2.0 - PI / 2.0)) - 1.0).abs() < 0.04, "S {straight} s {s}");
            assert!((crossed / (s * PI / 2.0) - 1.0).abs() < 0.04, "V {crossed} s {s}");
            let drop = transport_cost(&x0, &x1, 1, 2.0).unwrap() - transport_cost(&z0, &z1, 1, 2.0).unwrap();
            // The three estimates use two independent sets, so sampling leaves 2-3 % of the larger cost.
            let scale = transport_cost(&x0, &x1, 1, 2.0).unwrap();
            assert!((drop - straight - crossed).abs() < 0.04 * scale, "{drop} {straight} {crossed}");
        }
    }

    #[test]
    fn a_straight_flow_scores_zero_and_missing_time_is_refused() {
        let mut s = Straightness::new(2, 2);
        for dt in [0.1, 0.2, 0.7] {
            s.observe(dt, &[1.0, 2.0, -3.0, 0.5]).unwrap();
        }
        let got = s.finish(&[0.0; 4], &[1.0, 2.0, -3.0, 0.5]).unwrap();
        assert!(got.iter().all(|&v| v < 1e-12), "{got:?}");
        let mut half = Straightness::new(1, 1);
        half.observe(0.5, &[1.0]).unwrap();
        assert!(half.finish(&[0.0], &[1.0]).unwrap_err().to_string().contains("0.5"));
        assert!(half.observe(-0.5, &[1.0]).is_err());
        assert!(half.observe(0.5, &[1.0, 2.0]).is_err());
    }

    #[test]
    fn costs_follow_the_euclidean_norm() {
        let (a, b) = ([0.0, 0.0, 1.0, 1.0], [3.0, 4.0, 1.0, 3.0]);
        assert_eq!(transport_cost(&a, &b, 2, 2.0).unwrap(), (25.0 + 4.0) / 2.0);
        assert_eq!(transport_cost(&a, &b, 2, 4.0).unwrap(), (625.0 + 16.0) / 2.0);
        assert_eq!(mean_squared_distance(&a, &b, 2).unwrap(), 14.5);
        assert!(transport_cost(&a, &b, 3, 2.0).is_err());
        assert!(transport_cost(&a, &b, 2, 0.0).is_err());
    }
}
