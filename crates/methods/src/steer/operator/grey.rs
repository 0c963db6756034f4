//! The mean of the channels is known: colourisation.

use super::Operator;
use crate::MethodError;
use base::Tensor;

/// The mean over the channels of images `[c h w]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grey {
    shape: [usize; 3],
}

impl Grey {
    /// Of images `[c h w]`.
    ///
    /// # Errors
    /// [`MethodError::Steering`] for images of one channel, which are grey already.
    pub fn new(shape: [usize; 3]) -> Result<Self, MethodError> {
        if shape[0] < 2 {
            return Err(MethodError::Steering("images of one channel have no colour to restore".into()));
        }
        Ok(Self { shape })
    }
}

impl Operator for Grey {
    fn name(&self) -> &'static str {
        "grey"
    }

    fn sizes(&self) -> (usize, usize) {
        let [c, h, w] = self.shape;
        (c * h * w, h * w)
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let ([c, h, w], b) = (self.shape, x.dims()[0]);
        x.reshape([b, c, h * w]).mean_dim(1).reshape([b, h * w])
    }

    fn adjoint(&self, r: Tensor<2>) -> Tensor<2> {
        r.repeat_dim(1, self.shape[0]) / self.shape[0] as f64
    }

    fn bound(&self) -> f64 {
        1.0 / self.shape[0] as f64
    }

    fn is_flat(&self) -> bool {
        true
    }
}
