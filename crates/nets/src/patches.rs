//! What transformers over pictures have in common: sizes of squares, tokens and heads, and how many squares a picture has.

use crate::{NetsError, net::positive};

/// The sizes of a transformer over squares of pixels; `name` is the network's in messages.
pub(crate) struct Patches {
    pub name: &'static str,
    /// Side of the square of pixels that becomes one token.
    pub patch: usize,
    /// Features of a token.
    pub width: usize,
    pub depth: usize,
    pub heads: usize,
}

impl Patches {
    /// Ranges, apart from what depends on the image size.
    ///
    /// # Errors
    /// Names the key, its value and its range.
    pub fn check(&self) -> Result<(), NetsError> {
        let Self { name, patch, width, depth, heads } = *self;
        for (key, value) in [("patch", patch), ("width", width), ("depth", depth), ("heads", heads)] {
            positive(&format!("{name}.{key}"), value)?;
        }
        if !width.is_multiple_of(heads) || !width.is_multiple_of(4) {
            return Err(NetsError::config(format!(
                "{name}.width is {width}; it must be a multiple of {name}.heads ({heads}) and of 4"
            )));
        }
        Ok(())
    }

    /// Rows and columns of tokens for images `[c h w]`.
    ///
    /// # Errors
    /// Images whose sides the patch does not divide.
    pub fn grid(&self, [c, h, w]: [usize; 3]) -> Result<[usize; 2], NetsError> {
        positive("the number of image channels", c)?;
        let (name, p) = (self.name, self.patch);
        if h == 0 || w == 0 || !h.is_multiple_of(p) || !w.is_multiple_of(p) {
            return Err(NetsError::config(format!(
                "images of {h}x{w} do not divide into squares of {name}.patch = {p}; resize the images to a multiple of {p} \
                 or choose a patch that divides both sides"
            )));
        }
        Ok([h / p, w / p])
    }
}
