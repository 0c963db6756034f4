//! Parameters of a network as a flat list: names, shapes and values in the order the module declares them.
//!
//! The optimiser, the moving averages and the checkpoint all see parameters as this list, so none of them knows
//! the rank of a tensor or what kind of layer it belongs to.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};

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

/// The dotted path of the field being visited. Enum variants (which network it is) are left out of names, so that
/// a checkpoint of a U-Net reads the same whether it was trained alone or as a `Net`.
#[derive(Default)]
struct Scope(Vec<Option<String>>);

impl Scope {
    fn enter(&mut self, name: &str, container: &str) {
        self.0.push((!container.starts_with("Enum")).then(|| name.to_string()));
    }

    fn exit(&mut self) {
        self.0.pop();
    }

    fn path(&self) -> String {
        self.0.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(".")
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let len = tensor.shape().num_elements();
    tensor.reshape([len])
}

struct Visitor<F> {
    scope: Scope,
    visit: F,
}

trait Visit {
    fn visit<const D: usize>(&mut self, scope: &Scope, param: &Param<Tensor<D>>);
}

impl<F: Visit> ModuleVisitor for Visitor<F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.scope.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.scope.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.visit.visit(&self.scope, param);
    }
}

fn visit<M: Module, F: Visit>(module: &M, visit: F) -> F {
    let mut visitor = Visitor { scope: Scope::default(), visit };
    module.visit(&mut visitor);
    visitor.visit
}

/// Names and shapes of all parameters, in declaration order.
pub fn infos<M: Module>(module: &M) -> Vec<Info> {
    struct Collect(Vec<Info>);
    impl Visit for Collect {
        fn visit<const D: usize>(&mut self, scope: &Scope, param: &Param<Tensor<D>>) {
            self.0.push(Info { name: scope.path(), shape: param.lazy_shape().to_vec() });
        }
    }
    visit(module, Collect(Vec::new())).0
}

/// Values of all parameters, flattened to rank 1, without autodiff, in declaration order.
pub fn values<M: Module>(module: &M) -> Vec<Tensor<1>> {
    struct Collect(Vec<Tensor<1>>);
    impl Visit for Collect {
        fn visit<const D: usize>(&mut self, _: &Scope, param: &Param<Tensor<D>>) {
            self.0.push(flat(param.val().inner()));
        }
    }
    visit(module, Collect(Vec::new())).0
}

/// Takes the gradient of every parameter out of `gradients`, flattened, in declaration order; `None` where the loss
/// does not depend on the parameter.
pub fn gradients<M: Module>(module: &M, gradients: Gradients) -> Vec<Option<Tensor<1>>> {
    struct Collect {
        gradients: Gradients,
        taken: Vec<Option<Tensor<1>>>,
    }
    impl Visit for Collect {
        fn visit<const D: usize>(&mut self, _: &Scope, param: &Param<Tensor<D>>) {
            let gradient = param.val().grad_remove(&mut self.gradients);
            self.taken.push(gradient.map(flat));
        }
    }
    visit(module, Collect { gradients, taken: Vec::new() }).taken
}

/// Applies `update(index, value)` to every parameter, flattened and without autodiff, in declaration order. Shapes,
/// names and whether a parameter is trained stay as they are.
pub fn update<M: Module>(module: M, update: impl FnMut(usize, Tensor<1>) -> Tensor<1>) -> M {
    struct Mapper<F> {
        index: usize,
        update: F,
    }
    impl<F: FnMut(usize, Tensor<1>) -> Tensor<1>> ModuleMapper for Mapper<F> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let index = self.index;
            self.index += 1;
            let (id, tensor, mapper) = param.consume();
            let (shape, device, trained) = (tensor.dims(), tensor.device(), tensor.is_require_grad());
            let strategy = tensor.gradient_checkpointing_strategy();
            let value = (self.update)(index, flat(tensor.inner())).reshape(shape);
            let value = match strategy {
                Some(strategy) => value.autodiff().with_gradient_checkpointing_strategy(strategy),
                None => value,
            };
            debug_assert!(value.device() == device, "an update stays on its device");
            let value = if trained { value.require_grad() } else { value };
            Param::from_mapped_value(id, value, mapper)
        }
    }
    module.map(&mut Mapper { index: 0, update })
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
