//! Recomputation: a piece of a network that keeps its inputs alone for the backward pass and runs again there.
//!
//! Gradient checkpointing (Chen, Xu, Zhang, Guestrin, arXiv 1604.06174): memory of one piece at a time instead of all, for
//! one more forward pass. The second run is the first to the bit, so gradients are those of the plain network, but for the
//! order of sums where an input is used more than once.

use std::{fmt, sync::Arc};

use burn::tensor::{Device, Tensor, TensorData};

use crate::fused::{Inputs, Kernel, apply};
use crate::host::{Array, is_fast};
use crate::precision::Precision;

/// A piece of a network as a function of two inputs and its own weights. Off the tape: it holds plain weights.
pub trait Piece<const D: usize>: Send + Sync + 'static {
    /// All weights one after another, `[n]`.
    fn weights(&self) -> Tensor<1>;

    /// The output at `x` `[b ...]` and the embedding `y` `[b e]`, with `weights` in place of its own where given. On the
    /// tape where the inputs are, and random numbers the same at every call.
    fn run(&self, x: Tensor<D>, y: Tensor<2>, weights: Option<Tensor<1>>) -> Tensor<D>;
}

/// `piece` at `x` and `y`, keeping only those two for the backward pass. `weights` are its weights one after another on the
/// tape of the network, which their gradients take to wherever they came from.
pub fn recompute<const D: usize>(x: Tensor<D>, y: Tensor<2>, weights: Tensor<1>, piece: impl Piece<D>) -> Tensor<D> {
    if !(is_fast(&x) && is_fast(&y) && is_fast(&weights)) {
        return piece.run(x, y, Some(weights));
    }
    let inputs = Inputs::Three(x.into_dispatch(), y.into_dispatch(), weights.into_dispatch());
    apply(inputs, Again { piece: Arc::new(piece), precision: Precision::here() })
}

struct Again<const D: usize> {
    piece: Arc<dyn Piece<D>>,
    /// Of the forward pass: the backward pass may run outside its scope.
    precision: Precision,
}

impl<const D: usize> fmt::Debug for Again<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Again")
    }
}

fn tensor<const D: usize>(array: &Array, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(array.data().to_vec(), array.dims()), device)
}

fn array<const D: usize>(tensor: Tensor<D>) -> Array {
    let dims = tensor.dims();
    let data = tensor.into_data().try_into_vec().expect("a piece of f32 inputs is f32");
    Array::from_vec(data, &dims)
}

impl<const D: usize> Kernel for Again<D> {
    fn forward(&self, inputs: Vec<Array>, save: bool) -> (Array, Vec<Array>) {
        let device = Device::flex();
        let y = self.piece.run(tensor(&inputs[0], &device), tensor(&inputs[1], &device), None);
        (array(y), if save { inputs[..2].to_vec() } else { Vec::new() })
    }

    fn backward(&self, saved: Vec<Array>, grad: Array, wanted: &[bool]) -> Vec<Option<Array>> {
        let device = Device::flex().autodiff();
        let leaf = |tracked: bool, t: Tensor<1>| if tracked { t.require_grad() } else { t };
        let inner =
            |at: usize| Tensor::<1>::from_data(TensorData::new(saved[at].data().to_vec(), [saved[at].len()]), &device);
        let x = leaf(wanted[0], inner(0));
        let y = leaf(wanted[1], inner(1));
        let weights = leaf(wanted[2], Tensor::from_data(self.piece.weights().into_data(), &device));
        let dims = |at: usize| saved[at].dims();
        let shaped = x.clone().reshape::<D, _>(<[usize; D]>::try_from(dims(0)).expect("rank is kept"));
        let beside = y.clone().reshape::<2, _>(<[usize; 2]>::try_from(dims(1)).expect("rank is kept"));
        let gradients = self.precision.scope(|| {
            let output = self.piece.run(shaped, beside, Some(weights.clone()));
            // The gradient of a sum of products with `grad` is what `grad` becomes on the way back.
            (output * tensor::<D>(&grad, &device)).sum().backward()
        });
        let of = |at: usize, leaf: &Tensor<1>| {
            let gradient = leaf.grad(&gradients).filter(|_| wanted[at])?;
            let dims = if at < 2 { saved[at].dims().to_vec() } else { leaf.dims().to_vec() };
            Some(Array::from_vec(gradient.into_data().try_into_vec().expect("f32 in, f32 out"), &dims))
        };
        vec![of(0, &x), of(1, &y), of(2, &weights)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// `silu(x w) + y` with a matrix of weights, counting its runs.
    #[derive(Clone)]
    struct Layer {
        weights: Tensor<1>,
        runs: Arc<AtomicUsize>,
    }

    impl Piece<2> for Layer {
        fn weights(&self) -> Tensor<1> {
            self.weights.clone()
        }

        fn run(&self, x: Tensor<2>, y: Tensor<2>, weights: Option<Tensor<1>>) -> Tensor<2> {
            self.runs.fetch_add(1, Ordering::Relaxed);
            let [_, d] = x.dims();
            let weights = weights.unwrap_or_else(|| self.weights.clone());
            crate::silu(crate::linear(x, weights.reshape([d, d]), None)) + y
        }
    }

    #[test]
    fn outputs_and_all_gradients_are_the_plain_ones_to_the_bit() {
        let device = Device::flex();
        let values = |n: usize, by: f32| (0..n).map(|i| ((i * 7 % 11) as f32 - 5.0) * by).collect::<Vec<_>>();
        let tape = device.clone().autodiff();
        let layer = |by| Layer {
            weights: Tensor::from_floats(values(16, by).as_slice(), &device),
            runs: Arc::new(AtomicUsize::new(0)),
        };
        let layers = [layer(0.03), layer(-0.05), layer(0.02)];
        let answer = |again: bool| {
            let x = Tensor::<1>::from_floats(values(12, 0.1).as_slice(), &tape).reshape([3, 4]).require_grad();
            let y = Tensor::<1>::from_floats(values(12, 0.2).as_slice(), &tape).reshape([3, 4]).require_grad();
            let weights: Vec<Tensor<1>> =
                layers.iter().map(|l| Tensor::from_data(l.weights.clone().into_data(), &tape).require_grad()).collect();
            let mut h = x.clone();
            for (layer, weights) in layers.iter().zip(&weights) {
                h = match again {
                    true => recompute(h, y.clone(), weights.clone(), layer.clone()),
                    false => layer.run(h, y.clone(), Some(weights.clone())),
                };
            }
            let gradients = (h.clone() * h.clone()).sum().backward();
            let host = |t: Tensor<1>| t.into_data().try_to_vec::<f32>().unwrap();
            let flat = |t: &Tensor<2>| host(t.grad(&gradients).unwrap().reshape([12]));
            let mut all = vec![host(h.inner().reshape([12])), flat(&x), flat(&y)];
            all.extend(weights.iter().map(|w| host(w.grad(&gradients).unwrap())));
            all
        };
        let (plain, again) = (answer(false), answer(true));
        assert_eq!(plain, again);
        assert!(plain.iter().flatten().any(|v| *v != 0.0));
        // Once plainly, once forward, once backward: a piece that kept its tape would have run twice.
        assert!(layers.iter().all(|layer| layer.runs.load(Ordering::Relaxed) == 3));
    }
}
