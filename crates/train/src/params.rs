//! Parameters of a network as a flat list: names, shapes and values in the order the module declares them.
//!
//! The optimiser, the moving averages and the checkpoint all see parameters as this list, so none of them knows
//! the rank of a tensor or what kind of layer it belongs to.

use burn::module::Module;
use burn::tensor::{Gradients, Tensor};
use nets::weights::{ParamMap, ParamVisit, map_named, named_shapes, visit_named};

/// Name and shape of a parameter; the name is the dotted path of struct fields (`blocks.3.conv1.weight`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Info {
    /// Dotted path of fields, as it appears in checkpoints.
    pub name: String,
    /// Shape; matrices and convolutions have rank 2 or more, biases and gains rank 1.
    pub shape: Vec<usize>,
}

impl Info {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the parameter has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let len = tensor.shape().num_elements();
    tensor.reshape([len])
}

/// Names and shapes of all parameters, in declaration order.
pub fn infos<M: Module>(module: &M) -> Vec<Info> {
    named_shapes(module).into_iter().map(|(name, shape)| Info { name, shape }).collect()
}

/// Values of all parameters, flattened to rank 1, without autodiff, in declaration order.
pub fn values<M: Module>(module: &M) -> Vec<Tensor<1>> {
    struct Values(Vec<Tensor<1>>);
    impl ParamVisit for Values {
        fn visit<const D: usize>(&mut self, _: &str, tensor: &Tensor<D>) {
            self.0.push(flat(tensor.clone().inner()));
        }
    }
    let mut values = Values(Vec::new());
    visit_named(module, &mut values);
    values.0
}

/// Takes the gradient of every parameter out of `gradients`, flattened, in declaration order; `None` where the loss
/// does not depend on the parameter.
pub fn gradients<M: Module>(module: &M, gradients: Gradients) -> Vec<Option<Tensor<1>>> {
    struct Take {
        gradients: Gradients,
        taken: Vec<Option<Tensor<1>>>,
    }
    impl ParamVisit for Take {
        fn visit<const D: usize>(&mut self, _: &str, tensor: &Tensor<D>) {
            self.taken.push(tensor.grad_remove(&mut self.gradients).map(flat));
        }
    }
    let mut take = Take { gradients, taken: Vec::new() };
    visit_named(module, &mut take);
    take.taken
}

/// Applies `update(index, value)` to every parameter, flattened and without autodiff, in declaration order. Shapes,
/// names and whether a parameter is trained stay as they are.
pub fn update<M: Module>(module: M, update: impl FnMut(usize, Tensor<1>) -> Tensor<1>) -> M {
    struct Update<F> {
        index: usize,
        update: F,
    }
    impl<F: FnMut(usize, Tensor<1>) -> Tensor<1>> ParamMap for Update<F> {
        fn map<const D: usize>(&mut self, _: &str, tensor: Tensor<D>) -> Tensor<D> {
            let (index, shape) = (self.index, tensor.dims());
            self.index += 1;
            (self.update)(index, flat(tensor)).reshape(shape)
        }
    }
    map_named(module, &mut Update { index: 0, update })
}

/// The module with `values` (as [`values`] returns them) in place of its own.
///
/// The caller has compared names and shapes; a list of another length is a bug.
pub fn replace<M: Module>(module: M, values: &[Tensor<1>]) -> M {
    update(module, |index, _| values[index].clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TinyNet, bits};
    use burn::tensor::Device;

    #[test]
    fn names_are_dotted_fields_in_declaration_order() {
        let names: Vec<String> = infos(&TinyNet::new(1, 4, &Device::flex())).into_iter().map(|i| i.name).collect();
        assert_eq!(names, ["input.weight", "input.bias", "output.weight", "output.bias", "classes"]);
    }

    #[test]
    fn replacing_values_keeps_training_and_shapes() {
        let device = Device::flex().autodiff();
        let net = TinyNet::new(1, 4, &device);
        let other = TinyNet::new(2, 4, &device);
        let wanted = values(&other);
        let net = replace(net, &wanted);
        assert_eq!(infos(&net), infos(&other));
        assert_eq!(bits(&values(&net)), bits(&wanted));
        assert!(net.input_weight().is_require_grad());
    }
}
