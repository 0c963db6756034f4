//! Parameters of a network as a flat list: names, shapes and values in the order the module declares them.
//!
//! Those that training moves, that is: frozen ones (beneath corrections of low rank, [`nets::lora`]) have lists of their own
//! ([`frozen_infos`]), so that they get no moments, no averages and no copy in each checkpoint. The optimiser, the moving averages and the checkpoint all see parameters as this list, so none of them knows
//! the rank of a tensor or what kind of layer it belongs to.

use burn::module::Module;
use burn::tensor::{Gradients, Tensor};
use nets::weights::{
    ParamMap, ParamVisit, all_maps, map_some, named_shapes, trained_maps, visit_frozen, visit_trained,
};

/// Name and shape of a parameter; the name is the dotted path of struct fields (`blocks.3.conv1.weight`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Info {
    /// Dotted path of fields, as it appears in checkpoints.
    pub name: String,
    /// Shape; matrices and convolutions have rank 2 or more, biases and gains rank 1.
    pub shape: Vec<usize>,
    /// Whether it is the weight of a linear layer or a convolution.
    pub is_map: bool,
}

impl Info {
    /// A parameter that is no linear map's.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        Self { name: name.into(), shape: shape.into(), is_map: false }
    }

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

#[derive(Default)]
struct Infos(Vec<Info>);

impl ParamVisit for Infos {
    fn visit<const D: usize>(&mut self, name: &str, tensor: &Tensor<D>) {
        self.0.push(Info::new(name, tensor.dims()));
    }
}

#[derive(Default)]
struct Values(Vec<Tensor<1>>);

impl ParamVisit for Values {
    fn visit<const D: usize>(&mut self, _: &str, tensor: &Tensor<D>) {
        self.0.push(flat(tensor.clone().inner()));
    }
}

/// Names and shapes of the parameters that training moves, in declaration order.
pub fn infos<M: Module>(module: &M) -> Vec<Info> {
    let mut infos = Infos::default();
    visit_trained(module, &mut infos);
    let maps = trained_maps(module);
    infos.0.into_iter().zip(maps).map(|(info, is_map)| Info { is_map, ..info }).collect()
}

/// As [`infos`] of a network whose weights are declared only, none of them frozen: no weight is drawn for it.
pub fn declared<M: Module>(module: &M) -> Vec<Info> {
    let maps = all_maps(module);
    let shapes = named_shapes(module).into_iter();
    shapes.zip(maps).map(|((name, shape), is_map)| Info { name, shape, is_map }).collect()
}

/// Names and shapes of the frozen parameters, in declaration order.
pub fn frozen_infos<M: Module>(module: &M) -> Vec<Info> {
    let mut infos = Infos::default();
    visit_frozen(module, &mut infos);
    infos.0
}

/// Values of the parameters that training moves, flattened to rank 1, without autodiff, in declaration order.
pub fn values<M: Module>(module: &M) -> Vec<Tensor<1>> {
    let mut values = Values::default();
    visit_trained(module, &mut values);
    values.0
}

/// The same of the frozen parameters.
pub fn frozen_values<M: Module>(module: &M) -> Vec<Tensor<1>> {
    let mut values = Values::default();
    visit_frozen(module, &mut values);
    values.0
}

/// Takes the gradient of every parameter that training moves out of `gradients`, flattened, in declaration order; `None` where the loss
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
    visit_trained(module, &mut take);
    take.taken
}

/// Applies `update(index, value)` to every parameter that training moves, flattened and without autodiff, in declaration
/// order. Shapes, names and whether a parameter is trained stay as they are.
pub fn update<M: Module>(module: M, update: impl FnMut(usize, Tensor<1>) -> Tensor<1>) -> M {
    map_some(module, true, &mut Update { index: 0, update })
}

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

/// The module with `values` (as [`values`] returns them) in place of its own.
///
/// The caller has compared names and shapes; a list of another length is a bug.
pub fn replace<M: Module>(module: M, values: &[Tensor<1>]) -> M {
    update(module, |index, _| values[index].clone())
}

/// The same for the frozen parameters.
pub fn replace_frozen<M: Module>(module: M, values: &[Tensor<1>]) -> M {
    map_some(module, false, &mut Update { index: 0, update: |index: usize, _| values[index].clone() })
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
