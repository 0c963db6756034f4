//! Loading: everything is compared by name and shape first, so a module is replaced whole or not at all.

use super::{ParamMap, TensorSource, map_named, named_shapes};
use crate::NetsError;
use crate::error::Mismatch;
use base::{Tensor, TensorData};
use burn::module::Module;
use std::collections::HashSet;

/// What may differ between module and store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strict {
    /// Nothing: the names are the same set.
    Exact,
    /// The store may hold more: a file with several networks, or buffers of another framework.
    AllowUnexpected,
}

/// The module with every parameter replaced by the stored tensor of its name, on the module's device; gradients are
/// wanted where they were before.
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

    struct Reader<'a, S: ?Sized> {
        source: &'a S,
        error: Option<NetsError>,
    }
    impl<S: TensorSource + ?Sized> ParamMap for Reader<'_, S> {
        fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
            if self.error.is_some() {
                return tensor;
            }
            match self.source.read(name) {
                Ok(values) if values.len() == tensor.shape().num_elements() => {
                    Tensor::from_data(TensorData::new(values, tensor.dims()), &tensor.device())
                }
                Ok(values) => {
                    let problem =
                        format!("holds {} numbers for shape {:?}; the file is damaged", values.len(), tensor.dims());
                    self.error = Some(NetsError::Tensor { name: name.to_owned(), problem });
                    tensor
                }
                Err(error) => {
                    self.error = Some(error);
                    tensor
                }
            }
        }
    }
    let mut reader = Reader { source, error: None };
    let module = map_named(module, &mut reader);
    match reader.error {
        Some(error) => Err(error),
        None => Ok(module),
    }
}
