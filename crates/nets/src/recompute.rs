//! Gradient checkpointing: blocks of a network that run again in the backward pass instead of keeping what they computed.
//!
//! Chen, Xu, Zhang, Guestrin, *Training Deep Nets with Sublinear Memory Cost*, arXiv 1604.06174. A block's input and its
//! embedding are kept, everything between is not; one more forward pass per step, the same gradients.

use crate::weights::{ParamVisit, TapeMap, map_on_tape, visit_named};
use base::{Condition, Network, Pass, Tensor, Terms, condition::Tokens};
use burn::module::Module;
use kernels::Piece;

/// A network whose blocks run again for the gradient in training passes, if `on`.
///
/// ```
/// use base::{Condition, Device, Key, Network, Pass, Purpose, Tensor};
/// use nets::{NetConfig, Recomputing};
///
/// let device = Device::flex();
/// let net = NetConfig::Mlp(Default::default()).init(7, [2], 0, &device)?;
/// let lean = Recomputing { network: &net, on: true };
/// let (x, t) = (Tensor::<2>::ones([3, 2], &device), Tensor::<1>::zeros([3], &device));
/// let pass = Pass::train(Key::new(0, Purpose::Dropout), vec![0, 1, 2]);
/// assert_eq!(lean.predict(x, t, &Condition::none(), &pass).dims(), [3, 2]);
/// # Ok::<(), nets::NetsError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Recomputing<'a, N: ?Sized> {
    /// The network.
    pub network: &'a N,
    /// Whether its blocks run again.
    pub on: bool,
}

impl<const D: usize, N: Network<D> + ?Sized> Network<D> for Recomputing<'_, N> {
    fn predict(&self, x: Tensor<D>, t: Tensor<1>, condition: &Condition, pass: &Pass) -> Tensor<D> {
        match self.on {
            true => self.network.predict(x, t, condition, &pass.recomputing(true)),
            false => self.network.predict(x, t, condition, pass),
        }
    }
}

/// `run` of `module` at `x` and the embedding `[b e]`; where the pass says so, keeping only these two for the gradient.
/// `run` must be a function of its arguments: dropout by counter is, whatever else is random is not. Nothing but `x`, the
/// embedding and the module's weights gets a gradient.
pub(crate) fn run<const D: usize, M: Module + Sync + 'static>(
    module: &M,
    x: Tensor<D>,
    embedding: &Tensor<2>,
    pass: &Pass,
    run: impl Fn(&M, Tensor<D>, Tensor<2>, &Pass) -> Tensor<D> + Send + Sync + 'static,
) -> Tensor<D> {
    if !pass.recomputes() {
        return run(module, x, embedding.clone(), pass);
    }
    struct OffTape;
    impl TapeMap for OffTape {
        fn map<const D: usize>(&mut self, _: &str, tensor: Tensor<D>) -> Tensor<D> {
            if tensor.device().is_autodiff() { tensor.inner() } else { tensor }
        }
    }
    let learns = learning(module);
    let weights = flat(module, &learns);
    // What a block leaves is off the tape in its first run, and would be there twice after its second.
    let pass = pass.leaving(&Terms::default());
    let module = map_on_tape(module.clone(), &mut OffTape);
    kernels::recompute(x, embedding.clone(), weights, Again { module, learns, run, pass })
}

/// [`run`] for a module without an embedding.
pub(crate) fn alone<const D: usize, M: Module + Sync + 'static>(
    module: &M,
    x: Tensor<D>,
    pass: &Pass,
    once: impl Fn(&M, Tensor<D>) -> Tensor<D> + Send + Sync + 'static,
) -> Tensor<D> {
    if !pass.recomputes() {
        return once(module, x);
    }
    let none = Tensor::zeros([x.dims()[0], 1], &x.device());
    run(module, x, &none, pass, move |module, x, _, _| once(module, x))
}

/// Tokens on the tape that `x` is on, if it is on one; no gradient reaches them: they come from an encoder that does not
/// learn.
pub(crate) fn beside<const D: usize>(tokens: &Tokens, x: &Tensor<D>) -> Tokens {
    Tokens { embedding: on(&tokens.embedding, x), mask: tokens.mask.clone() }
}

/// A constant of a block on the tape that `x` is on, if it is on one; no gradient reaches it.
pub(crate) fn on<const C: usize, const D: usize>(constant: &Tensor<C>, x: &Tensor<D>) -> Tensor<C> {
    let constant = constant.clone();
    let off = if constant.device().is_autodiff() { constant.inner() } else { constant };
    if x.device().is_autodiff() { Tensor::from_inner(off) } else { off }
}

struct Again<M, F> {
    module: M,
    /// Which of its parameters get a gradient, in order; the others are constants of the block.
    learns: Vec<bool>,
    run: F,
    pass: Pass,
}

impl<const D: usize, M: Module + Sync + 'static, F> Piece<D> for Again<M, F>
where
    F: Fn(&M, Tensor<D>, Tensor<2>, &Pass) -> Tensor<D> + Send + Sync + 'static,
{
    fn weights(&self) -> Tensor<1> {
        flat(&self.module, &self.learns)
    }

    fn run(&self, x: Tensor<D>, y: Tensor<2>, weights: Option<Tensor<1>>) -> Tensor<D> {
        match weights {
            None => (self.run)(&self.module, x, y, &self.pass),
            Some(weights) => {
                let mut unfold = Unfold { weights, learns: &self.learns, parameter: 0, at: 0 };
                (self.run)(&map_on_tape(self.module.clone(), &mut unfold), x, y, &self.pass)
            }
        }
    }
}

/// For each parameter in order whether it gets a gradient; off the tape all do, so that the answer is the same.
fn learning<M: Module>(module: &M) -> Vec<bool> {
    struct Learning(Vec<bool>);
    impl ParamVisit for Learning {
        fn visit<const D: usize>(&mut self, _: &str, tensor: &Tensor<D>) {
            self.0.push(!tensor.is_autodiff() || tensor.is_require_grad());
        }
    }
    let mut learning = Learning(Vec::new());
    visit_named(module, &mut learning);
    learning.0
}

/// The parameters of a module that learn, one after another, on the tape where they are.
fn flat<M: Module>(module: &M, learns: &[bool]) -> Tensor<1> {
    struct Collect<'a> {
        learns: std::slice::Iter<'a, bool>,
        found: Vec<Tensor<1>>,
        device: Option<base::Device>,
    }
    impl ParamVisit for Collect<'_> {
        fn visit<const D: usize>(&mut self, _: &str, tensor: &Tensor<D>) {
            let len: usize = tensor.dims().iter().product();
            self.device.get_or_insert_with(|| tensor.device());
            if self.learns.next() == Some(&true) {
                self.found.push(tensor.clone().reshape([len]));
            }
        }
    }
    let mut all = Collect { learns: learns.iter(), found: Vec::new(), device: None };
    visit_named(module, &mut all);
    if all.found.is_empty() {
        return Tensor::zeros([0], &all.device.unwrap_or_default());
    }
    Tensor::cat(all.found, 0)
}

/// The parameters that learn back at their places, and the others beside them on the same tape.
struct Unfold<'a> {
    weights: Tensor<1>,
    learns: &'a [bool],
    /// Number of the next parameter, and where the next that learns begins.
    parameter: usize,
    at: usize,
}

impl TapeMap for Unfold<'_> {
    fn map<const D: usize>(&mut self, _: &str, tensor: Tensor<D>) -> Tensor<D> {
        self.parameter += 1;
        if self.learns.get(self.parameter - 1) == Some(&false) {
            return if self.weights.is_autodiff() { Tensor::from_inner(tensor) } else { tensor };
        }
        let dims = tensor.dims();
        let len: usize = dims.iter().product();
        self.at += len;
        self.weights.clone().narrow(0, self.at - len, len).reshape(dims)
    }
}
