//! The unitary Fourier transform of images in a frame of zeros as wide again, real parts before imaginary ones: twice as many frequencies
//! on both sides, without which magnitudes alone would fit too much.
//!
//! Of real images `AᵀA` is the identity.

use super::Operator;
use super::separable::{Matrix, Separable};
use base::Tensor;
use std::f64::consts::PI;

/// Fourier's sums over rows and columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Waves {
    /// Cosines and sines along rows and columns: `cc`, `ss`, `cs`, `sc`.
    parts: [Separable; 4],
    sizes: [usize; 2],
}

impl Waves {
    /// Of images `[c h w]`; `c (2h) (2w)` frequencies.
    pub fn new([c, h, w]: [usize; 3]) -> Self {
        let wave = |n: usize, of: fn(f64) -> f64| {
            let angle = move |i: usize, j: usize| PI * (i * j % (2 * n)) as f64 / n as f64;
            Matrix::new(2 * n, n, |i, j| of(angle(i, j)) / (2.0 * n as f64).sqrt())
        };
        let [cosine, sine]: [fn(f64) -> f64; 2] = [f64::cos, f64::sin];
        let part = |down, across| Separable::of("waves", c, [wave(h, down), wave(w, across)], Some(1.0));
        let parts = [part(cosine, cosine), part(sine, sine), part(cosine, sine), part(sine, cosine)];
        Self { parts, sizes: [c * h * w, c * 4 * h * w] }
    }
}

impl Operator for Waves {
    fn name(&self) -> &'static str {
        "the Fourier transform"
    }

    fn sizes(&self) -> (usize, usize) {
        (self.sizes[0], 2 * self.sizes[1])
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let [cc, ss, cs, sc] = &self.parts;
        let real = cc.forward(x.clone()) - ss.forward(x.clone());
        let imaginary = (cs.forward(x.clone()) + sc.forward(x)).neg();
        Tensor::cat(vec![real, imaginary], 1)
    }

    fn adjoint(&self, r: Tensor<2>) -> Tensor<2> {
        let ([cc, ss, cs, sc], [b, _], m) = (&self.parts, r.dims(), self.sizes[1]);
        let (real, imaginary) = (r.clone().slice([0..b, 0..m]), r.slice([0..b, m..2 * m]));
        cc.adjoint(real.clone()) - ss.adjoint(real) - cs.adjoint(imaginary.clone()) - sc.adjoint(imaginary)
    }

    fn bound(&self) -> f64 {
        1.0
    }

    fn is_flat(&self) -> bool {
        true
    }
}
