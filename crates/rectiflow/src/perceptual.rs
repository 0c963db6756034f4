//! The perceptual distance that a recipe's `perceptual` weighs: LPIPS, on its own side of the seam `flow::Premetric`.

use crate::{Error, device::Chosen};
use flow::Premetric;

/// The distance, from the weights on this machine.
///
/// # Errors
/// [`Error::Failure`] where the weights are not here, with the command that brings them.
pub(crate) fn open(_: &Chosen) -> Result<Box<dyn Premetric<4>>, Error> {
    Err(Error::Failure("LPIPS is not in this build yet: leave `perceptual` out".into()))
}
