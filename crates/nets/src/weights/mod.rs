//! Modules as named tensors, and named tensors as modules.
//!
//! A parameter's name is the path of fields to it, joined by dots, with list indices as numbers and without the variant
//! names of enums: `down_blocks.0.resnets.1.conv1.weight`. Names and layouts are those of the checkpoint on disk.
//!
//! A network that is only opened is [declared](crate::init::Init::declared), then [`load`]ed: no random number is drawn and
//! no value is written twice. [`Stored`] maps safetensors files, one or sharded, GGUF and PyTorch's files, and keeps their element
//! types and blocks; [`Renamed`] sees a file of another layout under our names, [`Folded`] with weight normalisation folded in,
//! [`Corrected`] with corrections of low rank added.

mod corrected;
mod gguf;
mod load;
mod map;
mod normed;
mod rename;
mod source;
mod stored;
mod torch;

pub use corrected::{Corrected, Corrections, flux_authors};
pub use load::{Strict, load};
pub use map::{
    GradientMap, ParamMap, ParamVisit, TapeMap, all_maps, fill, is_declared, map_gradients, map_named, map_on_tape,
    map_some, named_shapes, trained_maps, visit_frozen, visit_named, visit_trained,
};
pub use normed::Folded;
pub use rename::{Part, Renamed};
pub use source::{Prefixed, TensorSource};
pub use stored::Stored;

use base::Tensor;
use burn::module::Module;

/// Name, shape and row-major values of one tensor.
pub type NamedTensor = (String, Vec<usize>, Vec<f32>);

/// `module` with every parameter that `from` has by the same name and shape taken from there: how a network that gained a
/// part starts from one without it.
pub fn graft<M: Module, F: Module>(module: M, from: &F) -> M {
    graft_as(module, from, |name| (name.to_owned(), 1.0))
}

/// The same where `whence` says of each parameter which of `from` it begins as, and times what; several may begin as one.
pub fn graft_as<M: Module, F: Module>(module: M, from: &F, whence: impl Fn(&str) -> (String, f32)) -> M {
    struct Graft<W>(std::collections::HashMap<String, (Vec<usize>, Vec<f32>)>, W);
    impl<W: Fn(&str) -> (String, f32)> ParamMap for Graft<W> {
        fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
            let (theirs, factor) = (self.1)(name);
            match self.0.get(&theirs) {
                Some((shape, values)) if *shape == tensor.dims() => {
                    let values: Vec<f32> = values.iter().map(|value| value * factor).collect();
                    Tensor::from_data(base::TensorData::new(values, shape.clone()), &tensor.device())
                }
                _ => tensor,
            }
        }
    }
    let known = named_tensors(from).into_iter().map(|(name, shape, values)| (name, (shape, values)));
    map_named(module, &mut Graft(known.collect(), whence))
}

/// `module` with every parameter in f32: what learns cannot be a half.
pub fn whole<M: Module>(module: M) -> M {
    struct Whole;
    impl ParamMap for Whole {
        fn map<const D: usize>(&mut self, _: &str, tensor: Tensor<D>) -> Tensor<D> {
            crate::layers::widen(tensor)
        }
    }
    map_named(module, &mut Whole)
}

/// Name, shape and values of every parameter, in traversal order, copied to the host as f32.
pub fn named_tensors<M: Module>(module: &M) -> Vec<NamedTensor> {
    struct Tensors(Vec<NamedTensor>);
    impl ParamVisit for Tensors {
        fn visit<const D: usize>(&mut self, name: &str, tensor: &Tensor<D>) {
            let values = tensor.clone().inner().into_data().iter::<f32>().collect();
            self.0.push((name.to_owned(), tensor.dims().to_vec(), values));
        }
    }
    let mut tensors = Tensors(Vec::new());
    visit_named(module, &mut tensors);
    tensors.0
}
