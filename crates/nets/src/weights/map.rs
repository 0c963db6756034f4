//! Visiting and replacing parameters by name, on and off the gradient tape.
//!
//! Burn keeps three things beside a parameter's numbers: an identity, whether it wants gradients, and whether it lives
//! on an autodiff device. All three survive the maps here: the function sees and returns the plain tensor, and what comes
//! back is again a leaf of the gradient tape if the parameter was one. (A plain `Param::map` would leave a leaf's child
//! in its place, and the next backward pass would find no gradient.)
//!
//! To train a module made on a plain device call `module.train()`; for evaluation `module.valid()`, which is cheap.

use base::{Tensor, TensorData};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Gradients};

/// Looks at each parameter.
pub trait ParamVisit {
    /// Called once per parameter, with the tensor as stored (on the tape if the module trains).
    fn visit<const D: usize>(&mut self, name: &str, tensor: &Tensor<D>);
}

/// Replaces each parameter.
pub trait ParamMap {
    /// The new value of a parameter, from its old one; both off the tape.
    fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D>;
}

/// Replaces each parameter given its gradient: what an optimiser is.
pub trait GradientMap {
    /// The new value of a parameter, from its old one and its gradient (absent where the loss did not reach it or
    /// the parameter is frozen); all off the tape. The old value is passed by value and usually unshared, so it may be
    /// updated in place.
    fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>, gradient: Option<Tensor<D>>) -> Tensor<D>;
}

/// Calls `visit` for every float parameter of `module`, in traversal order (which is fixed by the module's fields).
pub fn visit_named<M: Module, V: ParamVisit>(module: &M, visit: &mut V) {
    module.visit(&mut Visitor { path: Vec::new(), only: None, visit });
}

/// The same for those that training moves: all but the frozen ones, on the tape or off it.
pub fn visit_trained<M: Module, V: ParamVisit>(module: &M, visit: &mut V) {
    module.visit(&mut Visitor { path: Vec::new(), only: Some(true), visit });
}

/// The same for the frozen ones.
pub fn visit_frozen<M: Module, V: ParamVisit>(module: &M, visit: &mut V) {
    module.visit(&mut Visitor { path: Vec::new(), only: Some(false), visit });
}

/// Replaces every float parameter of `module` by what `map` makes of it.
pub fn map_named<M: Module, P: ParamMap>(module: M, map: &mut P) -> M {
    module.map(&mut Mapper { path: Vec::new(), gradients: None, only: None, map: &mut WithoutGradient(map) })
}

/// Replaces every parameter that training moves (`trained`), or every frozen one, by what `map` makes of it.
pub fn map_some<M: Module, P: ParamMap>(module: M, trained: bool, map: &mut P) -> M {
    module.map(&mut Mapper { path: Vec::new(), gradients: None, only: Some(trained), map: &mut WithoutGradient(map) })
}

struct WithoutGradient<'a, P>(&'a mut P);

impl<P: ParamMap> GradientMap for WithoutGradient<'_, P> {
    fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>, _: Option<Tensor<D>>) -> Tensor<D> {
        self.0.map(name, tensor)
    }
}

/// Replaces every float parameter of `module` by what `map` makes of it and of its gradient, which is taken out of
/// `gradients`.
pub fn map_gradients<M: Module, P: GradientMap>(module: M, gradients: &mut Gradients, map: &mut P) -> M {
    module.map(&mut Mapper { path: Vec::new(), gradients: Some(gradients), only: None, map })
}

/// Gives every float parameter of `module` the value that `value` has for its name and shape, whether it had one or was only
/// [declared](crate::init::Init::declared). Matrices, kernels and tables keep the element type of what they are given
/// (f32, bf16 or f16; layers widen it as they use it), vectors become f32. Gradients are wanted where they were before.
///
/// # Errors
/// The first one of `value`; the module is then lost.
///
/// # Panics
/// If `value` answers with another shape.
pub fn fill<M: Module, E>(module: M, mut value: impl FnMut(&str, &[usize]) -> Result<TensorData, E>) -> Result<M, E> {
    fill_some(module, |name, shape| value(name, shape).map(Some))
}

/// The same for the parameters that `value` has one for; the others stay what they are.
pub(super) fn fill_some<M: Module, E>(
    module: M,
    value: impl FnMut(&str, &[usize]) -> Result<Option<TensorData>, E>,
) -> Result<M, E> {
    struct Filler<F, E> {
        path: Vec<String>,
        value: F,
        error: Option<E>,
    }
    impl<E, F: FnMut(&str, &[usize]) -> Result<Option<TensorData>, E>> ModuleMapper for Filler<F, E> {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            enter(&mut self.path, name, container_type);
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if self.error.is_some() {
                return param;
            }
            let (name, shape) = (dotted(&self.path), param.lazy_shape().to_vec());
            let data = match (self.value)(&name, &shape) {
                Ok(Some(data)) => data,
                Ok(None) => return param,
                Err(error) => {
                    self.error = Some(error);
                    return param;
                }
            };
            assert_eq!(data.shape().to_vec(), shape, "{name} was given another shape");
            let device = param.lazy_device();
            let dtype = if D == 1 { DType::F32 } else { data.dtype() };
            if param.is_initialized() {
                let plain = device.without_autodiff();
                return replaced(param, |_, _| Tensor::from_data(data, (&plain, dtype)));
            }
            Param::initialized(param.id, Tensor::from_data(data, (&device, dtype))).set_require_grad(true)
        }
    }
    let mut filler = Filler { path: Vec::new(), value, error: None };
    let module = module.map(&mut filler);
    match filler.error {
        Some(error) => Err(error),
        None => Ok(module),
    }
}

/// Whether a parameter of `module` is only [declared](crate::init::Init::declared).
pub fn is_declared<M: Module>(module: &M) -> bool {
    struct Declared(bool);
    impl ModuleVisitor for Declared {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 |= !param.is_initialized();
        }
    }
    let mut declared = Declared(false);
    module.visit(&mut declared);
    declared.0
}

/// Name and shape of every parameter, in traversal order, of declared ones as well. Reads no values.
pub fn named_shapes<M: Module>(module: &M) -> Vec<(String, Vec<usize>)> {
    struct Shapes {
        path: Vec<String>,
        found: Vec<(String, Vec<usize>)>,
    }
    impl ModuleVisitor for Shapes {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            enter(&mut self.path, name, container_type);
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.found.push((dotted(&self.path), param.lazy_shape().to_vec()));
        }
    }
    let mut shapes = Shapes { path: Vec::new(), found: Vec::new() };
    module.visit(&mut shapes);
    shapes.found
}

/// For each parameter that training moves, in the order of [`visit_trained`], whether it multiplies what passes: the weight of a linear
/// layer or of a convolution, and no table, bias or gain.
pub fn trained_maps<M: Module>(module: &M) -> Vec<bool> {
    maps(module, true)
}

/// The same for every parameter, in the order of [`named_shapes`]; no weight is drawn that is declared only.
pub fn all_maps<M: Module>(module: &M) -> Vec<bool> {
    maps(module, false)
}

fn maps<M: Module>(module: &M, trained: bool) -> Vec<bool> {
    const LAYERS: [&str; 5] = ["Linear", "Conv2d", "Conv3d", "Conv1d", "ConvTranspose1d"];
    struct Maps {
        trained: bool,
        inside: Vec<bool>,
        found: Vec<bool>,
    }
    impl ModuleVisitor for Maps {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            let layer = container_type.strip_prefix("Struct:").is_some_and(|layer| LAYERS.contains(&layer));
            self.inside.push(layer && name == "weight");
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.inside.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if !self.trained || is_trained(param) {
                self.found.push(D > 1 && self.inside.last() == Some(&true));
            }
        }
    }
    let mut maps = Maps { trained, inside: Vec::new(), found: Vec::new() };
    module.visit(&mut maps);
    maps.found
}

/// Replaces a parameter by something that depends on others.
pub trait TapeMap {
    /// The tensor to use in place of a parameter's own, which is on the tape if the module trains; so may the new one be.
    fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D>;
}

/// `module` for one forward pass, with every float parameter replaced by what `map` makes of it, on the tape: gradients
/// reach whatever `map` used. Not a module to train: its parameters are no leaves.
pub fn map_on_tape<M: Module, P: TapeMap>(module: M, map: &mut P) -> M {
    struct OnTape<'a, P> {
        path: Vec<String>,
        map: &'a mut P,
    }
    impl<P: TapeMap> ModuleMapper for OnTape<'_, P> {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            enter(&mut self.path, name, container_type);
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, tensor, mapper) = param.consume();
            Param::from_mapped_value(id, self.map.map(&dotted(&self.path), tensor), mapper)
        }
    }
    module.map(&mut OnTape { path: Vec::new(), map })
}

/// Names of the fields entered so far; an enum's variant is not a field, and a [`Net`](crate::Net) or a [`Released`](crate::Released) is the network inside it.
fn enter(path: &mut Vec<String>, name: &str, container: &str) {
    let silent = container.starts_with("Enum:") || ["Struct:Net", "Struct:Released"].contains(&container);
    path.push(if silent { String::new() } else { name.to_owned() });
}

fn dotted(path: &[String]) -> String {
    path.iter().filter(|name| !name.is_empty()).map(String::as_str).collect::<Vec<_>>().join(".")
}

/// Whether training moves a parameter. A plain device keeps the answer beside the numbers, where only `train` reads it.
fn is_trained<const D: usize>(param: &Param<Tensor<D>>) -> bool {
    let here = param.base();
    if here.is_autodiff() { here.is_require_grad() } else { param.clone().train().base().is_require_grad() }
}

struct Visitor<'a, V> {
    path: Vec<String>,
    /// Those that are trained, those that are not, or all.
    only: Option<bool>,
    visit: &'a mut V,
}

impl<V: ParamVisit> ModuleVisitor for Visitor<'_, V> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        enter(&mut self.path, name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.only.is_none_or(|trained| trained == is_trained(param)) {
            self.visit.visit(&dotted(&self.path), &param.val());
        }
    }
}

struct Mapper<'a, P> {
    path: Vec<String>,
    gradients: Option<&'a mut Gradients>,
    only: Option<bool>,
    map: &'a mut P,
}

impl<P: GradientMap> ModuleMapper for Mapper<'_, P> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        enter(&mut self.path, name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.only.is_some_and(|trained| trained != is_trained(&param)) {
            return param;
        }
        let name = dotted(&self.path);
        let Self { gradients, map, .. } = self;
        replaced(param, |tensor, wants_gradient| {
            let gradient = match gradients {
                Some(gradients) if wants_gradient => tensor.grad_remove(gradients),
                _ => None,
            };
            map.map(&name, tensor.inner(), gradient)
        })
    }
}

/// The parameter with the value that `new` makes of its own (on the tape if the module trains) and of whether it wants
/// gradients: again a leaf of the tape if it was one.
fn replaced<const D: usize>(
    param: Param<Tensor<D>>,
    new: impl FnOnce(Tensor<D>, bool) -> Tensor<D>,
) -> Param<Tensor<D>> {
    let (id, tensor, mapper) = param.consume();
    let (on_tape, wants_gradient) = (tensor.is_autodiff(), tensor.is_require_grad());
    let strategy = tensor.gradient_checkpointing_strategy();
    let mut tensor = new(tensor, wants_gradient).inner();
    if on_tape {
        tensor = Tensor::from_inner(tensor);
        if let Some(strategy) = strategy {
            tensor = tensor.with_gradient_checkpointing_strategy(strategy);
        }
        tensor = tensor.set_require_grad(wants_gradient);
    }
    Param::from_mapped_value(id, tensor, mapper)
}
