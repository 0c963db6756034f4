//! Tensors read back from their device.

use crate::Error;

/// A tensor's numbers on the host.
pub(crate) fn host<const D: usize>(tensor: base::Tensor<D>) -> Result<Vec<f32>, Error> {
    let read = tensor.try_into_vec_as::<f32>();
    read.map_err(|error| Error::Failure(format!("a tensor could not be read back from its device: {error}")))
}
