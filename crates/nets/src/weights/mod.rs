//! Modules as named tensors, and named tensors as modules.
//!
//! A parameter's name is the path of fields to it, joined by dots, with list indices as numbers and without the variant
//! names of enums: `down_blocks.0.resnets.1.conv1.weight`. Names and layouts are those of the checkpoint on disk.

mod load;
mod map;
mod source;

pub use load::{Strict, load};
pub use map::{GradientMap, ParamMap, ParamVisit, map_gradients, map_named, visit_named};
pub use source::{Prefixed, TensorSource};

use base::Tensor;
use burn::module::Module;

/// Name, shape and row-major values of one tensor.
pub type NamedTensor = (String, Vec<usize>, Vec<f32>);

/// Name and shape of every parameter, in traversal order. Copies no values.
pub fn named_shapes<M: Module>(module: &M) -> Vec<(String, Vec<usize>)> {
    struct Shapes(Vec<(String, Vec<usize>)>);
    impl ParamVisit for Shapes {
        fn visit<const D: usize>(&mut self, name: &str, tensor: &Tensor<D>) {
            self.0.push((name.to_owned(), tensor.dims().to_vec()));
        }
    }
    let mut shapes = Shapes(Vec::new());
    visit_named(module, &mut shapes);
    shapes.0
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
