//! A blur by any kernel, zeros outside the image: motion in a straight line, or weights that somebody brought.
//!
//! `(A x)(p) = Σ_k w(k) x(p - k)`, so that a point comes out as the kernel's own picture; the adjoint reads the weights the other way round.

use super::{Operator, norm};
use crate::MethodError;
use base::Tensor;

/// Multiplications that finding the bound may take.
const EFFORT: usize = 2_000_000_000;
/// Rounds that are worth beginning it: after fewer it may be short of the eigenvalue, and a bound must not be.
const LEAST: usize = 40;
/// Weights at most: each is an operation on the whole image, twice in every step.
const TAPS: usize = 4096;
/// Points that a pixel of a motion is sampled at.
const FINE: usize = 64;

/// Convolution of every channel with one kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    shape: [usize; 3],
    /// Rows and columns from the middle to an end.
    reach: [usize; 2],
    /// Offsets in the kernel and their weights, those that are not zero.
    taps: Vec<([usize; 2], f64)>,
    bound: f64,
}

impl Kernel {
    /// Of images `[c h w]`: `weights` of `height` by `width`, odd, row by row; brought to the sum one.
    ///
    /// # Errors
    /// [`MethodError::Steering`] for an even size, one beyond the image, and weights that are no numbers or sum to nothing.
    pub fn new(shape: [usize; 3], weights: &[f64], [height, width]: [usize; 2]) -> Result<Self, MethodError> {
        let [_, h, w] = shape;
        let refuse = |why: String| Err(MethodError::Steering(format!("a kernel of {height} x {width}: {why}")));
        if height.is_multiple_of(2) || width.is_multiple_of(2) {
            return refuse("give odd sides, so that it has a middle".into());
        }
        if height > h || width > w || weights.len() != height * width {
            return refuse(format!("it must have a weight for each pixel and fit an image of {h} x {w}"));
        }
        let (total, size) = (weights.iter().sum::<f64>(), weights.iter().map(|v| v.abs()).sum::<f64>());
        if !size.is_finite() || total.abs() < 1e-6 * size || size == 0.0 {
            return refuse("its weights must be numbers whose sum is not zero".into());
        }
        let taps: Vec<_> = (weights.iter().enumerate())
            .filter(|(_, v)| **v != 0.0)
            .map(|(k, v)| ([k / width, k % width], v / total))
            .collect();
        if taps.len() == 1 && taps[0].0 == [height / 2, width / 2] {
            return refuse("only its middle weighs anything, so that it changes nothing".into());
        }
        if taps.len() > TAPS {
            return refuse(format!(
                "{} of its weights are not zero, and each moves the whole image; give at most {TAPS}",
                taps.len()
            ));
        }
        let mut kernel = Self { shape, reach: [height / 2, width / 2], taps, bound: 0.0 };
        kernel.bound = kernel.largest();
        Ok(kernel)
    }

    /// Of images `[c h w]`: moved in a straight line of `length` pixels while the shutter was open, `angle` degrees against the clock from
    /// the row.
    ///
    /// # Errors
    /// [`MethodError::Steering`] for a length that is no motion or leaves the image.
    pub fn motion(shape: [usize; 3], length: f64, angle: f64) -> Result<Self, MethodError> {
        let [_, h, w] = shape;
        if !(length > 1.0 && length <= h.min(w) as f64 && angle.is_finite()) {
            return Err(MethodError::Steering(format!(
                "a motion of {length} pixels at {angle} degrees: give more than 1 pixel, at most the {} of the image, and any angle",
                h.min(w)
            )));
        }
        let (sine, cosine) = angle.to_radians().sin_cos();
        let reach = |along: f64| (along.abs() * (length - 1.0) / 2.0 - 1e-9).ceil().max(0.0) as usize;
        let reach = [reach(sine), reach(cosine)];
        let [height, width] = reach.map(|reach| 2 * reach + 1);
        if height > h || width > w {
            return Err(MethodError::Steering(format!(
                "a motion of {length} pixels at {angle} degrees touches {height} x {width} pixels, more than the {h} x {w} of the image; \
                 give a shorter one"
            )));
        }
        let mut weights = vec![0.0; height * width];
        let points = (length * FINE as f64) as usize;
        for k in 0..points {
            // A point shares its weight with the four pixels around it.
            let at = ((k as f64 + 0.5) / points as f64 - 0.5) * (length - 1.0);
            let (y, x) = (reach[0] as f64 - at * sine, reach[1] as f64 + at * cosine);
            let near = |i: usize, at: f64| (1.0 - (i as f64 - at).abs()).max(0.0);
            for i in y.floor().max(0.0) as usize..height.min(y.floor() as usize + 2) {
                for j in x.floor().max(0.0) as usize..width.min(x.floor() as usize + 2) {
                    weights[i * width + j] += near(i, y) * near(j, x);
                }
            }
        }
        Self::new(shape, &weights, [height, width])
    }

    /// Every channel shifted by every tap and summed; `ahead` reads the kernel the other way round.
    fn apply(&self, x: Tensor<2>, ahead: bool) -> Tensor<2> {
        let ([c, h, w], [ry, rx], b) = (self.shape, self.reach, x.dims()[0]);
        let zeros = Tensor::<4>::zeros([b, c, h + 2 * ry, w + 2 * rx], (&x.device(), x.dtype()));
        let inside = [0..b, 0..c, ry..ry + h, rx..rx + w];
        let wide = zeros.slice_assign(inside, x.clone().reshape([b, c, h, w]));
        let mut sum = None;
        for ([i, j], weight) in &self.taps {
            let (top, left) = if ahead { (*i, *j) } else { (2 * ry - i, 2 * rx - j) };
            let moved = wide.clone().slice([0..b, 0..c, top..top + h, left..left + w]) * *weight;
            sum = Some(match sum {
                None => moved,
                Some(sum) => sum + moved,
            });
        }
        sum.map_or_else(|| x.zeros_like(), |sum| sum.reshape([b, c * h * w]))
    }

    /// The largest eigenvalue of `A Aᵀ`, of one channel; where finding it is too much work, what it does not exceed.
    fn largest(&self) -> f64 {
        let [_, h, w] = self.shape;
        let rounds = (EFFORT / (2 * self.taps.len() * h * w)).min(norm::rounds(h * w));
        if rounds < LEAST {
            return self.around();
        }
        let one = Self { shape: [1, h, w], ..self.clone() };
        norm::largest(h * w, rounds, |v| one.walk(&one.walk(v, true), false))
    }

    /// The largest square of the kernel's Fourier transform over an image that is so much wider that its ends may meet: this one's blur is part
    /// of that one's, and large images come near it.
    fn around(&self) -> f64 {
        let ([_, h, w], [ry, rx]) = (self.shape, self.reach);
        let (tall, wide) = (h + 2 * ry, w + 2 * rx);
        let turn = |k: usize, all: usize| {
            let angle = std::f64::consts::TAU * (k % all) as f64 / all as f64;
            (angle.cos(), angle.sin())
        };
        let (rows, columns): (Vec<_>, Vec<_>) =
            ((0..tall).map(|k| turn(k, tall)).collect(), (0..wide).map(|k| turn(k, wide)).collect());
        let mut most = 0.0f64;
        for v in 0..=wide / 2 {
            // A kernel's row at this frequency across, then its rows at all frequencies down.
            let mut lines = vec![(0.0, 0.0); 2 * ry + 1];
            for ([i, j], weight) in &self.taps {
                let (cosine, sine) = columns[j * v % wide];
                lines[*i].0 += weight * cosine;
                lines[*i].1 -= weight * sine;
            }
            for u in 0..tall {
                let (mut real, mut imaginary) = (0.0, 0.0);
                for (i, (a, b)) in lines.iter().enumerate() {
                    let (cosine, sine) = rows[i * u % tall];
                    real += a * cosine + b * sine;
                    imaginary += b * cosine - a * sine;
                }
                most = most.max(real * real + imaginary * imaginary);
            }
        }
        most
    }

    /// [`Kernel::apply`] on plain numbers of one channel.
    fn walk(&self, x: &[f64], ahead: bool) -> Vec<f64> {
        let ([_, h, w], [ry, rx]) = (self.shape, self.reach);
        let mut y = vec![0.0; h * w];
        for ([i, j], weight) in &self.taps {
            let (top, left) = if ahead { (*i, *j) } else { (2 * ry - i, 2 * rx - j) };
            for row in ry.saturating_sub(top)..h.min((h + ry).saturating_sub(top)) {
                let from = (row + top - ry) * w;
                for column in rx.saturating_sub(left)..w.min((w + rx).saturating_sub(left)) {
                    y[row * w + column] += weight * x[from + column + left - rx];
                }
            }
        }
        y
    }
}

impl Operator for Kernel {
    fn name(&self) -> &'static str {
        "the kernel"
    }

    fn sizes(&self) -> (usize, usize) {
        let n = self.shape.iter().product();
        (n, n)
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.apply(x, false)
    }

    fn adjoint(&self, r: Tensor<2>) -> Tensor<2> {
        self.apply(r, true)
    }

    fn bound(&self) -> f64 {
        self.bound
    }

    fn is_flat(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands for the bound of large images: never below the bound itself, and near it, also for kernels of both signs, of which the sum of
    /// all sizes is far too much.
    ///
    /// Mutants: rounds that only the effort counts; named and not run: that sum squared (1.7 times too much for this edge); a transform on the
    /// image's own size, which the ends of a small image exceed; rows and columns of the kernel exchanged.
    #[test]
    fn kernels_of_large_images_are_bounded_by_their_waves() {
        let edge = [-1.0, -1.0, -1.0, -1.0, 9.0, -1.0, -1.0, -1.0, -1.0];
        let key = base::Key::new(5, base::Purpose::Probe);
        let rough: Vec<f64> = key.normals(0, 35).map(f64::from).collect();
        let flat = vec![1.0; 35];
        let line: Vec<f64> = (0..35).map(|i| if i % 5 == 2 { 1.0 + f64::from(i % 2) } else { 0.0 }).collect();
        for (weights, size) in [(&edge[..], [3, 3]), (&rough, [7, 5]), (&flat, [7, 5]), (&line, [7, 5])] {
            let kernel = Kernel::new([2, 40, 30], weights, size).unwrap();
            let share = kernel.around() / kernel.bound;
            assert!((1.0 - 1e-9..1.3).contains(&share), "{size:?}: {share} times {}", kernel.bound);
        }
        // And beyond the effort it is what is said.
        let many: Vec<f64> = key.normals(1, 33 * 33).map(f64::from).collect();
        let kernel = Kernel::new([1, 200, 200], &many, [33, 33]).unwrap();
        assert_eq!(kernel.bound, kernel.around());
        // Also where memory, not effort, leaves too few rounds: of the slowest wave down and the fastest across, which the edge makes largest, the
        // eigenvalue is known, and 32 rounds end below it.
        let (h, w) = (512, 512);
        let kernel = Kernel::new([1, h, w], &edge, [3, 3]).unwrap();
        let sine = |i: usize, k: usize| (std::f64::consts::PI * ((i + 1) * k) as f64 / 513.0).sin();
        let wave: Vec<f64> = (0..h * w).map(|i| sine(i / w, 1) * sine(i % w, 512)).collect();
        let square = |x: &[f64]| x.iter().map(|v| v * v).sum::<f64>();
        assert!(square(&kernel.walk(&wave, true)) <= kernel.bound * square(&wave));
        assert_eq!(kernel.bound, kernel.around());
    }
}
