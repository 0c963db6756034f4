//! A network seen through a precision.

use base::{Condition, Network, Pass, Tensor};
use kernels::Precision;

/// A network whose convolutions and linear maps read their operands in `precision`, forward and in the gradient of
/// what was computed forward; weights, activations and everything else stay f32. See [`Precision`].
///
/// ```
/// use base::{Condition, Device, Network, Pass, Tensor};
/// use kernels::Precision;
/// use nets::{NetConfig, Precise};
///
/// let device = Device::flex();
/// let net = NetConfig::Mlp(Default::default()).init(7, [2], 0, &device)?;
/// let rounded = Precise { network: &net, precision: Precision::Bf16 };
/// let (x, t) = (Tensor::<2>::ones([3, 2], &device), Tensor::<1>::zeros([3], &device));
/// assert_eq!(rounded.predict(x, t, &Condition::none(), &Pass::Infer).dims(), [3, 2]);
/// # Ok::<(), nets::NetsError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Precise<'a, N: ?Sized> {
    /// The network.
    pub network: &'a N,
    /// The precision of the operands of its products.
    pub precision: Precision,
}

impl<const D: usize, N: Network<D> + ?Sized> Network<D> for Precise<'_, N> {
    fn predict(&self, x: Tensor<D>, t: Tensor<1>, condition: &Condition, pass: &Pass) -> Tensor<D> {
        self.precision.scope(|| self.network.predict(x, t, condition, pass))
    }
}
