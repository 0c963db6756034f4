//! Fused operations: how a kernel with its own gradient becomes an operation on tensors.
//!
//! A [`Kernel`] computes an output from its inputs and, given the gradient of the output, the gradients of the inputs.
//! [`apply`] runs it through Burn's backend extension mechanism, which routes plain tensors to the kernel and tensors
//! under automatic differentiation to a tape entry around it. Kernels see only arrays: the processor's [`Array`], or a
//! device's `Buffer`.

use std::fmt::Debug;
use std::sync::Arc;

use burn::backend::autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Backend, Dispatch, ExtensionType, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
#[cfg(feature = "gpu")]
use burn_cubecl::{CubeBackend, tensor::CubeTensor};
use burn_flex::FlexTensor;

#[cfg(feature = "gpu")]
use crate::gpu::Buffer;
use crate::host::Array;

/// A kernel and its gradient, on arrays of one kind.
pub(crate) trait Kernel<A = Array>: Send + Sync + Debug {
    /// The output, and what [`Kernel::backward`] needs if `save` (otherwise nothing need be kept).
    /// Inputs are given by value so that an unshared one may be overwritten when `save` is false.
    fn forward(&self, inputs: Vec<A>, save: bool) -> (A, Vec<A>);

    /// The gradients of the inputs, in their order, each asked for by `wanted`.
    fn backward(&self, saved: Vec<A>, grad: A, wanted: &[bool]) -> Vec<Option<A>>;
}

/// A shared kernel with its settings.
pub(crate) type Op<A> = Arc<dyn Kernel<A>>;

/// Arrays as a backend's tensors.
trait Storage<B: Backend>: Clone + Send + Sync + Debug + Sized + 'static {
    fn take(tensor: FloatTensor<B>) -> Self;
    fn give(self) -> FloatTensor<B>;
}

impl Storage<Flex> for Array {
    fn take(tensor: FlexTensor) -> Self {
        Self::new(tensor)
    }

    fn give(self) -> FlexTensor {
        self.into_inner()
    }
}

#[cfg(feature = "gpu")]
impl Storage<CubeBackend> for Buffer {
    fn take(tensor: CubeTensor) -> Self {
        Self::new(tensor)
    }

    fn give(self) -> CubeTensor {
        self.into_inner()
    }
}

/// A kernel for the processor, and for other devices too where this build has such.
#[cfg(not(feature = "gpu"))]
pub(crate) trait Anywhere: Kernel + Clone + 'static {}
#[cfg(not(feature = "gpu"))]
impl<K: Kernel + Clone + 'static> Anywhere for K {}

/// A kernel for the processor, and for other devices too where this build has such.
#[cfg(feature = "gpu")]
pub(crate) trait Anywhere: Kernel + Kernel<Buffer> + Clone + 'static {}
#[cfg(feature = "gpu")]
impl<K: Kernel + Kernel<Buffer> + Clone + 'static> Anywhere for K {}

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
pub struct Fused {
    host: Op<Array>,
    #[cfg(feature = "gpu")]
    device: Option<Op<Buffer>>,
}

#[cfg(feature = "gpu")]
impl Fused {
    fn on_device(self) -> Op<Buffer> {
        self.device.expect("operations without a kernel for the device take their composition before this")
    }
}

/// Runs a kernel on a backend.
#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff)]
pub trait FusedOps: Backend {
    /// Applies `op` to `inputs`.
    fn fused(#[extension_type] inputs: Inputs<Self>, op: Fused) -> FloatTensor<Self>;
}

/// The output of a kernel for tensors without a tape.
fn plain<B: Backend, A: Storage<B>>(inputs: Inputs<B>, op: &dyn Kernel<A>) -> FloatTensor<B> {
    let inputs = match inputs {
        Inputs::One(a) => vec![a],
        Inputs::Two(a, b) => vec![a, b],
        Inputs::Three(a, b, c) => vec![a, b, c],
        Inputs::Four(a, b, c, d) => vec![a, b, c, d],
        Inputs::Five(a, b, c, d, e) => vec![a, b, c, d, e],
    };
    op.forward(inputs.into_iter().map(A::take).collect(), false).0.give()
}

/// The same with an entry on the tape.
fn taped<B: Backend, A: Storage<B>, C: CheckpointStrategy>(inputs: Inputs<Autodiff<B, C>>, op: Op<A>) -> Tracked<B, C> {
    match inputs {
        Inputs::One(a) => record::<B, A, C, _>([a], op),
        Inputs::Two(a, b) => record::<B, A, C, _>([a, b], op),
        Inputs::Three(a, b, c) => record::<B, A, C, _>([a, b, c], op),
        Inputs::Four(a, b, c, d) => record::<B, A, C, _>([a, b, c, d], op),
        Inputs::Five(a, b, c, d, e) => record::<B, A, C, _>([a, b, c, d, e], op),
    }
}

impl FusedOps for Flex {
    fn fused(inputs: Inputs<Self>, op: Fused) -> FloatTensor<Self> {
        plain(inputs, &*op.host)
    }
}

#[cfg(feature = "gpu")]
impl FusedOps for CubeBackend {
    fn fused(inputs: Inputs<Self>, op: Fused) -> FloatTensor<Self> {
        plain(inputs, &*op.on_device())
    }
}

// For `Autodiff<Flex>` and not for every `Autodiff<B>`: second derivatives of these operations do not exist, and this
// way asking for them does not compile instead of failing in the middle of a run.
impl<C: CheckpointStrategy> FusedOps for Autodiff<Flex, C> {
    fn fused(inputs: Inputs<Self>, op: Fused) -> FloatTensor<Self> {
        taped(inputs, op.host)
    }
}

#[cfg(feature = "gpu")]
impl<C: CheckpointStrategy> FusedOps for Autodiff<CubeBackend, C> {
    fn fused(inputs: Inputs<Self>, op: Fused) -> FloatTensor<Self> {
        taped(inputs, op.on_device())
    }
}

/// The tape entry of a kernel on arrays of kind `A`.
#[derive(Debug)]
struct Step<A>(std::marker::PhantomData<A>);

impl<B: Backend, A: Storage<B>, const N: usize> Backward<B, N> for Step<A> {
    type State = (Op<A>, Vec<A>);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (op, saved) = ops.state;
        let grad = A::take(grads.consume::<B>(&ops.node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        for (node, gradient) in ops.parents.into_iter().zip(op.backward(saved, grad, &wanted)) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<B>(node.id, gradient.give());
            }
        }
    }
}

type Tracked<B, C> = FloatTensor<Autodiff<B, C>>;

/// Runs the kernel forward and puts its gradient on the tape.
fn record<B: Backend, A: Storage<B>, C: CheckpointStrategy, const N: usize>(
    inputs: [Tracked<B, C>; N],
    op: Op<A>,
) -> Tracked<B, C> {
    let mut arrays = Vec::with_capacity(N);
    let guards = inputs.map(|x| {
        let (x, guard) = x.into_parts();
        arrays.push(A::take(x));
        guard
    });
    match Backward::<B, N>::prepare::<C>(Step::<A>(std::marker::PhantomData), guards).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let (y, saved) = op.forward(arrays, true);
            prep.finish((op, saved), y.give())
        }
        OpsKind::UnTracked(prep) => prep.finish(op.forward(arrays, false).0.give()),
    }
}

fn run<const D: usize>(inputs: Inputs<Dispatch>, op: Fused) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused(inputs, op))
}

/// Applies a kernel to tensors of the CPU backend.
pub(crate) fn apply<const D: usize>(inputs: Inputs<Dispatch>, kernel: impl Kernel + 'static) -> Tensor<D> {
    run(
        inputs,
        Fused {
            host: Arc::new(kernel),
            #[cfg(feature = "gpu")]
            device: None,
        },
    )
}

/// Applies a kernel to tensors of the CPU backend or of a device that has kernels.
pub(crate) fn apply_anywhere<const D: usize>(inputs: Inputs<Dispatch>, kernel: impl Anywhere) -> Tensor<D> {
    run(
        inputs,
        Fused {
            host: Arc::new(kernel.clone()),
            #[cfg(feature = "gpu")]
            device: Some(Arc::new(kernel)),
        },
    )
}
