//! A released model where a run's model could stand: to restore, invert or edit with.

use super::{Beside, Change, Pictures};
use crate::{Context, Error, overrides::SampleOverrides};
use std::path::Path;

/// A released model, for pictures of `size`; what only runs know is refused.
///
/// # Errors
/// [`Error::Usage`] for weights or classes that it does not have; what opening says.
pub(crate) fn steered(
    model: &Path,
    (ema, class): (Option<&str>, Option<&str>),
    beside: &Beside,
    overrides: &SampleOverrides,
    size: Option<[usize; 2]>,
    context: &mut Context,
) -> Result<Pictures, Error> {
    for (option, given, why) in [
        ("--ema", ema.is_some(), "its weights are one set"),
        ("--class", class.is_some(), "it is asked in words; use --prompt"),
    ] {
        if given {
            return Err(Error::Usage(format!("{option}: {} is a released model: {why}", model.display())));
        }
    }
    let (steps, guidance) = (overrides.steps, overrides.guidance);
    let precision = overrides.precision.unwrap_or_default();
    Pictures::open(&Change { model, beside, size, steps, guidance, precision }, context)
}
