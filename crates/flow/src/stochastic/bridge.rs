//! Brownian motion on an interval as two numbers, and how the two halves of an interval know of the whole.
//!
//! On an interval of length `h` a path has its increment `W ~ N(0, h)` and its space-time Lévy area
//! `H = (1/h) ∫ (W_r - (r/h) W) dr ~ N(0, h/12)`, independent of each other; `∫ W_r dr = h (W/2 + H)`. Given both, the
//! pair of any sub-interval is Gaussian: Foster, Lyons & Oberhauser, "An optimal polynomial approximation of Brownian
//! motion", SIAM J. Numer. Anal. 58 (2020), for the middle; here for any division, by conditioning four independent
//! normals on two sums.

/// Increment and space-time area of every value of a batch on one interval.
#[derive(Clone, Debug)]
pub(super) struct Arc {
    pub w: Vec<f32>,
    pub h: Vec<f32>,
}

/// Numbers of a division into lengths `a` and `b`, for `w_a = wa_w W + wa_h H + wa_z Z` and so on with independent standard
/// normal `Z`, `N`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Division {
    wa_w: f32,
    wa_h: f32,
    ha_h: f32,
    hb_h: f32,
    wa_z: f32,
    ha_z: f32,
    hb_z: f32,
    ha_n: f32,
    hb_n: f32,
}

impl Division {
    /// Division of an interval of length `a + b`.
    pub fn new(a: f64, b: f64) -> Self {
        let h = a + b;
        let cubes = a.powi(3) + b.powi(3);
        // What the whole does not tell is spanned by (1, -1, p, q) and (0, 0, b, -a) in (W_a, W_b, H_a, H_b), orthogonal
        // in the metric of the four independent normals.
        let z = (1.0 / (h / (a * b) + 3.0 * h * h / cubes)).sqrt();
        let n = (a * b / (12.0 * cubes)).sqrt();
        let k = -h / (2.0 * cubes);
        let values = [
            a / h,
            6.0 * a * b / (h * h),
            (a / h).powi(2),
            (b / h).powi(2),
            z,
            k * a * a * z,
            k * b * b * z,
            b * n,
            -a * n,
        ];
        let [wa_w, wa_h, ha_h, hb_h, wa_z, ha_z, hb_z, ha_n, hb_n] = values.map(|v| v as f32);
        Self { wa_w, wa_h, ha_h, hb_h, wa_z, ha_z, hb_z, ha_n, hb_n }
    }

    /// The same division with nothing left to chance: both parts of the parabola with the whole's `W` and `H`.
    pub fn smooth(a: f64, b: f64) -> Self {
        Self { wa_z: 0.0, ha_z: 0.0, hb_z: 0.0, ha_n: 0.0, hb_n: 0.0, ..Self::new(a, b) }
    }

    /// Divides `whole` with the standard normals `z` and `n`, which become the first part; `whole` becomes the second.
    pub fn apply(&self, whole: &mut Arc, mut z: Vec<f32>, mut n: Vec<f32>) -> Arc {
        let parts = whole.w.iter_mut().zip(&mut whole.h).zip(z.iter_mut().zip(&mut n));
        for ((w, h), (z, n)) in parts {
            let wa = self.wa_w * *w + self.wa_h * *h + self.wa_z * *z;
            let ha = self.ha_h * *h + self.ha_z * *z + self.ha_n * *n;
            let hb = self.hb_h * *h + self.hb_z * *z + self.hb_n * *n;
            (*w, *h) = (*w - wa, hb);
            (*z, *n) = (wa, ha);
        }
        Arc { w: z, h: n }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Covariance of (W_a, W_b, H_a, H_b) when (W, H) has that of the whole: it must be that of four independent normals.
    #[test]
    fn parts_are_independent_with_the_right_variances_and_add_up() {
        for (a, b) in [(0.5, 0.5), (0.3, 0.7), (2.0, 1.0), (0.01, 0.09)] {
            let (d, length) = (Division::new(a, b), a + b);
            let unit = |w: f32, h: f32, z: f32, n: f32| {
                let mut whole = Arc { w: vec![w], h: vec![h] };
                let first = d.apply(&mut whole, vec![z], vec![n]);
                [first.w[0], whole.w[0], first.h[0], whole.h[0]].map(f64::from)
            };
            let columns = [
                (unit(1.0, 0.0, 0.0, 0.0), length),
                (unit(0.0, 1.0, 0.0, 0.0), length / 12.0),
                (unit(0.0, 0.0, 1.0, 0.0), 1.0),
                (unit(0.0, 0.0, 0.0, 1.0), 1.0),
            ];
            let expected = [a, b, a / 12.0, b / 12.0];
            for i in 0..4 {
                for j in 0..4 {
                    let covariance: f64 = columns.iter().map(|(c, v)| c[i] * c[j] * v).sum();
                    let known = if i == j { expected[i] } else { 0.0 };
                    assert!((covariance - known).abs() < 1e-6, "({a}, {b}): {i} {j} {covariance} is not {known}");
                }
            }
            // ∫ over the parts is ∫ over the whole.
            for (c, w, h) in [(columns[0].0, 1.0, 0.0), (columns[1].0, 0.0, 1.0), (columns[2].0, 0.0, 0.0)] {
                let area = a * (c[0] / 2.0 + c[2]) + b * c[0] + b * (c[1] / 2.0 + c[3]);
                assert!((area - length * (w / 2.0 + h)).abs() < 1e-6);
            }
        }
    }
}
