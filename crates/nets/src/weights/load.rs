//! Loading: everything is compared by name and shape first, so a module is replaced whole or not at all.

use super::map::fill_some;
use super::{TensorSource, named_shapes};
use crate::NetsError;
use crate::error::Mismatch;
use crate::layers::in_blocks;
use burn::module::Module;
use kernels::Blocks;
use std::collections::HashSet;

/// What may differ between module and store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strict {
    /// Nothing: the names are the same set.
    Exact,
    /// The store may hold more: a file with several networks, or buffers of another framework.
    AllowUnexpected,
}

/// The module with every parameter replaced by the stored tensor of its name, on the module's device, in its stored type where
/// the source keeps it (see [`fill`](super::fill)), matrices in their blocks; gradients are wanted where they were before.
///
/// # Errors
/// [`NetsError::Weights`] listing what is missing, unexpected or of another shape; [`NetsError::Tensor`] for an element
/// type that is not a float.
///
/// ```
/// use base::Device;
/// use nets::{MlpConfig, weights};
/// use std::collections::BTreeMap;
///
/// let device = Device::flex();
/// let net = MlpConfig::default().init(1, 2, 0, &device)?;
/// let store: BTreeMap<_, _> =
///     weights::named_tensors(&net).into_iter().map(|(name, shape, values)| (name, (shape, values))).collect();
/// let copy = weights::load(MlpConfig::default().init(2, 2, 0, &device)?, &store, weights::Strict::Exact)?;
/// assert_eq!(weights::named_tensors(&copy), weights::named_tensors(&net));
/// # Ok::<(), nets::NetsError>(())
/// ```
pub fn load<M: Module, S: TensorSource + ?Sized>(module: M, source: &S, strict: Strict) -> Result<M, NetsError> {
    let wanted = named_shapes(&module);
    let mut mismatch = Mismatch::default();
    for (name, shape) in &wanted {
        match source.shape(name) {
            None => mismatch.missing.push(name.clone()),
            Some(found) if found != *shape => mismatch.shapes.push((name.clone(), shape.clone(), found)),
            Some(_) => {}
        }
    }
    if strict == Strict::Exact {
        let known: HashSet<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        mismatch.unexpected = source.names().into_iter().filter(|name| !known.contains(name.as_str())).collect();
        mismatch.unexpected.sort();
    }
    if !mismatch.is_empty() {
        return Err(NetsError::Weights(Box::new(mismatch)));
    }

    // What is stored in blocks stays in them, and is not widened here.
    let blocks: Vec<Option<Blocks>> = wanted.iter().map(|(name, _)| source.blocks(name)).collect();
    let kept: HashSet<String> =
        wanted.iter().zip(&blocks).filter(|(_, blocks)| blocks.is_some()).map(|((name, _), _)| name.clone()).collect();
    let module = if kept.is_empty() { module } else { in_blocks(module, blocks) };
    fill_some(module, |name, shape| {
        if kept.contains(name) {
            return Ok(None);
        }
        let data = source.data(name)?;
        if data.num_elements() == shape.iter().product::<usize>() {
            return Ok(Some(data));
        }
        let problem = format!("holds {} numbers for shape {shape:?}; the file is damaged", data.num_elements());
        Err(NetsError::Tensor { name: name.to_owned(), problem })
    })
}
