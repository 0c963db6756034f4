//! Fused operations: how a CPU kernel with its own gradient becomes an operation on tensors.
//!
//! A [`Kernel`] computes an output from its inputs and, given the gradient of the output, the gradients of the inputs.
//! [`apply`] runs it through Burn's backend extension mechanism, which routes plain tensors to the kernel and tensors
//! under automatic differentiation to a tape entry around it. Kernels see only [`Array`]s.

use std::sync::Arc;

use burn::backend::autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Backend, Dispatch, ExtensionType, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use crate::host::Array;

/// A CPU kernel and its gradient.
pub(crate) trait Kernel: Send + Sync + std::fmt::Debug {
    /// The output, and what [`Kernel::backward`] needs if `save` (otherwise nothing need be kept).
    /// Inputs are given by value so that an unshared one may be overwritten when `save` is false.
    fn forward(&self, inputs: Vec<Array>, save: bool) -> (Array, Vec<Array>);

    /// The gradients of the inputs, in their order, each asked for by `wanted`.
    fn backward(&self, saved: Vec<Array>, grad: Array, wanted: &[bool]) -> Vec<Option<Array>>;
}

/// A shared kernel with its settings.
pub(crate) type Op = Arc<dyn Kernel>;

/// The tensors an operation takes, any number from one to five.
#[derive(Clone, Debug, ExtensionType)]
#[allow(missing_docs)] // positions, nothing to say about each
pub enum Inputs<B: Backend> {
    One(FloatTensor<B>),
    Two(FloatTensor<B>, FloatTensor<B>),
    Three(FloatTensor<B>, FloatTensor<B>, FloatTensor<B>),
    Four(FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>),
    Five(FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>),
}

/// A kernel passed through the extension mechanism. Opaque: made only by this crate.
#[derive(Clone, Debug)]
pub struct Fused(pub(crate) Op);

/// Runs a kernel on a backend.
#[backend_extension(Flex, Autodiff)]
pub trait FusedOps: Backend {
    /// Applies `op` to `inputs`.
    fn fused(#[extension_type] inputs: Inputs<Self>, op: Fused) -> FloatTensor<Self>;
}

impl FusedOps for Flex {
    fn fused(inputs: Inputs<Self>, op: Fused) -> FloatTensor<Self> {
        let inputs = match inputs {
            Inputs::One(a) => vec![a],
            Inputs::Two(a, b) => vec![a, b],
            Inputs::Three(a, b, c) => vec![a, b, c],
            Inputs::Four(a, b, c, d) => vec![a, b, c, d],
            Inputs::Five(a, b, c, d, e) => vec![a, b, c, d, e],
        };
        op.0.forward(inputs.into_iter().map(Array::new).collect(), false).0.into_inner()
    }
}

// For `Autodiff<Flex>` and not for every `Autodiff<B>`: second derivatives of these operations do not exist, and this
// way asking for them does not compile instead of failing in the middle of a run.
impl<C: CheckpointStrategy> FusedOps for Autodiff<Flex, C> {
    fn fused(inputs: Inputs<Self>, op: Fused) -> FloatTensor<Self> {
        match inputs {
            Inputs::One(a) => record::<C, 1>([a], op.0),
            Inputs::Two(a, b) => record::<C, 2>([a, b], op.0),
            Inputs::Three(a, b, c) => record::<C, 3>([a, b, c], op.0),
            Inputs::Four(a, b, c, d) => record::<C, 4>([a, b, c, d], op.0),
            Inputs::Five(a, b, c, d, e) => record::<C, 5>([a, b, c, d, e], op.0),
        }
    }
}

/// The tape entry of a kernel with `N` inputs.
#[derive(Debug)]
struct Step;

impl<const N: usize> Backward<Flex, N> for Step {
    type State = (Op, Vec<Array>);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (op, saved) = ops.state;
        let grad = Array::new(grads.consume::<Flex>(&ops.node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        for (node, gradient) in ops.parents.into_iter().zip(op.backward(saved, grad, &wanted)) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node.id, gradient.into_inner());
            }
        }
    }
}

type Tracked<C> = FloatTensor<Autodiff<Flex, C>>;

/// Runs the kernel forward and puts its gradient on the tape.
fn record<C: CheckpointStrategy, const N: usize>(inputs: [Tracked<C>; N], op: Op) -> Tracked<C> {
    let mut arrays = Vec::with_capacity(N);
    let guards = inputs.map(|x| {
        let (x, guard): (FlexTensor, _) = x.into_parts();
        arrays.push(Array::new(x));
        guard
    });
    match Step.prepare::<C>(guards).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let (y, saved) = op.forward(arrays, true);
            prep.finish((op, saved), y.into_inner())
        }
        OpsKind::UnTracked(prep) => prep.finish(op.forward(arrays, false).0.into_inner()),
    }
}

/// Applies a kernel to tensors of the CPU backend.
pub(crate) fn apply<const D: usize>(inputs: Inputs<Dispatch>, kernel: impl Kernel + 'static) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused(inputs, Fused(Arc::new(kernel))))
}
