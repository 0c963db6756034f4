//! Three-dimensional convolution (cross-correlation) of clips, NCFHW, as one two-dimensional convolution.
//!
//! `y[b, o, f, r, c] = bias[o] + sum_{i, kf, ky, kx} weight[o, i, kf, ky, kx] x[b, i, f sf + kf - pf, r s + ky - p, c s + kx - p]`
//!
//! The frames under a kernel are channels of one image: with `[b f'] [kf i] h w` as input the sum over `kf` and `i` is a sum over
//! channels, which [`conv2d`] computes at the rate of a matrix product. Images are copied `kf` times, the only cost beside it.

use burn::tensor::Tensor;

use crate::conv2d;

/// How a kernel moves along one kind of axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Positions from one output to the next, at least 1.
    pub stride: usize,
    /// Zeros before the first and after the last position.
    pub padding: usize,
}

/// Cross-correlation: `x` `[b i f h w]`, `weight` `[o i kf kh kw]`, `bias` `[o]`; `frames` says how the kernel moves in time,
/// `space` how it moves along both axes of an image.
/// The output is `[b o (f + 2 pf - kf) / sf + 1 (h + 2 p - kh) / s + 1 (w + 2 p - kw) / s + 1]`.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use kernels::{Sweep, conv3d};
///
/// let device = Device::flex();
/// let clip = Tensor::<5>::ones([1, 2, 4, 8, 8], &device);
/// let weight = Tensor::<5>::ones([3, 2, 3, 3, 3], &device);
/// let sweep = Sweep { stride: 1, padding: 1 };
/// let y = conv3d(clip, weight, None, sweep, sweep);
/// assert_eq!(y.dims(), [1, 3, 4, 8, 8]);
/// ```
pub fn conv3d(x: Tensor<5>, weight: Tensor<5>, bias: Option<Tensor<1>>, frames: Sweep, space: Sweep) -> Tensor<5> {
    let ([b, i, f, h, w], [o, wi, kf, kh, kw]) = (x.dims(), weight.dims());
    assert_eq!(i, wi, "conv3d: the input has {i} channels, the weight {:?} takes {wi}", weight.dims());
    let Sweep { stride, padding } = frames;
    let fits = stride > 0 && kf > 0 && f + 2 * padding >= kf;
    assert!(fits, "conv3d: {kf} frames of the kernel, stride {stride}, padding {padding} do not fit {f} frames");
    let count = (f + 2 * padding - kf) / stride + 1;

    let x = if padding == 0 {
        x
    } else {
        let zeros = Tensor::zeros([b, i, padding, h, w], &x.device());
        Tensor::cat(vec![zeros.clone(), x, zeros], 2) // [b i f+2pf h w]
    };
    let x = x.swap_dims(1, 2); // [b f+2pf i h w]
    let under = |k: usize| {
        let span = (count - 1) * stride + 1;
        let taken = x.clone().narrow(1, k, span);
        if stride == 1 {
            return taken;
        }
        // Every `stride`-th frame: fill up to whole strides, then take the first of each.
        let missing = count * stride - span;
        let filled = match missing {
            0 => taken,
            _ => Tensor::cat(vec![taken, Tensor::zeros([b, missing, i, h, w], &x.device())], 1),
        };
        filled.reshape([b, count, stride * i, h, w]).narrow(2, 0, i)
    };
    let images = Tensor::cat((0..kf).map(under).collect(), 2); // [b f' kf*i h w]
    let images: Tensor<4> = images.reshape([b * count, kf * i, h, w]);
    let weight: Tensor<4> = weight.swap_dims(1, 2).reshape([o, kf * i, kh, kw]); // [o kf*i kh kw]
    let y = conv2d(images, weight, bias, space.stride, space.padding); // [b*f' o h' w']
    let [_, _, rows, columns] = y.dims();
    y.reshape([b, count, o, rows, columns]).swap_dims(1, 2)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::{Sweep, conv3d};
    use crate::reference;
    use crate::testing::{assert_differences, assert_same, tensor};

    fn leaves(x: &[Tensor<1>], input: [usize; 5], weight: [usize; 5]) -> (Tensor<5>, Tensor<5>, Option<Tensor<1>>) {
        (x[0].clone().reshape(input), x[1].clone().reshape(weight), x.get(2).cloned())
    }

    #[test]
    fn agrees_with_the_reference() {
        let cases = [
            ([1, 1, 1, 1, 1], [1, 1, 1, 1, 1], (1, 0), (1, 0)),
            ([2, 3, 5, 6, 7], [4, 3, 3, 3, 3], (1, 1), (1, 1)),
            ([1, 2, 7, 8, 6], [3, 2, 3, 3, 3], (2, 1), (2, 1)),
            ([2, 2, 5, 4, 4], [3, 2, 2, 3, 1], (3, 0), (1, 0)),
            ([1, 4, 4, 5, 5], [2, 4, 1, 1, 1], (1, 0), (1, 0)),
        ];
        for (input, weight, (sf, pf), (s, p)) in cases {
            let sizes = [input.iter().product(), weight.iter().product(), weight[0]];
            let (frames, space) = (Sweep { stride: sf, padding: pf }, Sweep { stride: s, padding: p });
            let fast = |x: Vec<Tensor<1>>| {
                let (x, w, bias) = leaves(&x, input, weight);
                conv3d(x, w, bias, frames, space)
            };
            let slow = |x: Vec<Tensor<1>>| {
                let (x, w, bias) = leaves(&x, input, weight);
                reference::conv3d(x, w, bias, frames, space)
            };
            assert_same(&sizes, fast, slow);
            assert_same(&sizes[..2], fast, slow);
        }
    }

    #[test]
    fn its_gradients_are_those_of_differences() {
        let sweep = Sweep { stride: 1, padding: 1 };
        assert_differences(&[2 * 3 * 3 * 3, 2 * 2 * 8, 2], |x| {
            let (x, w, bias) = leaves(&x, [1, 2, 3, 3, 3], [2, 2, 2, 2, 2]);
            conv3d(x, w, bias, sweep, sweep)
        });
    }

    #[test]
    fn no_clip_at_all_is_no_clip() {
        let sweep = Sweep { stride: 1, padding: 1 };
        let y = conv3d(tensor(1, [0, 2, 4, 4, 4]), tensor(2, [3, 2, 3, 3, 3]), None, sweep, sweep);
        assert_eq!(y.dims(), [0, 3, 4, 4, 4]);
    }
}
