//! Experts in a network: where they begin, what they cost, what they leave for the loss.

use base::{Condition, Device, Key, Network, Pass, Purpose, Shape, Tensor, Terms};
use burn::module::Module;
use nets::{
    ConditionConfig, DitConfig, Net, NetConfig, SetTransformerConfig,
    shape::ExpertsConfig,
    weights::{ParamMap, ParamVisit, map_named, named_tensors, visit_named},
};

const SHAPE: [usize; 2] = [6, 4];

fn dense() -> SetTransformerConfig {
    SetTransformerConfig { width: 16, heads: 2, depth: 5, ..SetTransformerConfig::default() }
}

fn with(experts: ExpertsConfig) -> NetConfig {
    NetConfig::SetTransformer(SetTransformerConfig { experts: Some(experts), ..dense() })
}

fn four(shared: bool) -> ExpertsConfig {
    ExpertsConfig { count: 4, blocks: 2, shared, ..ExpertsConfig::default() }
}

/// A network in which nothing is zero by construction.
fn trained(config: &NetConfig) -> Net {
    struct Shake(u64);
    impl ParamMap for Shake {
        fn map<const D: usize>(&mut self, _: &str, tensor: Tensor<D>) -> Tensor<D> {
            self.0 += 1;
            let noise: Vec<f32> = Key::new(self.0, Purpose::Init).normals(0, tensor.shape().num_elements()).collect();
            let shape = tensor.dims();
            tensor.clone() + Tensor::from_data(base::TensorData::new(noise, shape), &tensor.device()) * 0.2
        }
    }
    map_named(config.init(1, SHAPE, 3, &Device::flex()).unwrap(), &mut Shake(50))
}

fn ask(net: &Net, pass: &Pass, device: &Device) -> Tensor<2> {
    let n = net.shape().numel();
    let x: Tensor<2> = Key::new(2, Purpose::Noise).normal_tensor(&[0, 1, 2], [3, n], device);
    let t = Tensor::<1>::from_floats([0.1, 0.5, 0.9], device);
    net.predict(x, t, &Condition::classes(&[0, 1, 2], device), pass)
}

fn apart(a: Tensor<2>, b: Tensor<2>) -> f32 {
    (a - b).abs().max().into_scalar()
}

/// Mutants: the second layers not halved beside a shared expert; the first halved as well; experts fresh and not copies.
#[test]
fn experts_begin_as_the_perceptron_and_the_answer_is_the_same() {
    let device = Device::flex();
    let (theirs, net) = (NetConfig::SetTransformer(dense()), trained(&NetConfig::SetTransformer(dense())));
    let before = ask(&net, &Pass::Infer, &device);
    for shared in [true, false] {
        let config = with(four(shared));
        let grown = config.beginning_as((&theirs, &net), (9, 3, SHAPE.into()), &device).unwrap().unwrap();
        let gap = apart(before.clone(), ask(&grown, &Pass::Infer, &device));
        assert!(gap < 1e-5 * before.clone().abs().max().into_scalar::<f32>(), "{shared}: {gap}");
        // Another balance is the same network; told how far ahead it looks, it says the same at first.
        let other = with(ExpertsConfig { balance: 0.5, ..four(shared) });
        let next = other.beginning_as((&config, &grown), (9, 3, SHAPE.into()), &device).unwrap().unwrap();
        assert_eq!(named_tensors(&next), named_tensors(&grown));
        let reaching = config.clone().reaching(true);
        let told = reaching.beginning_as((&config, &grown), (9, 3, SHAPE.into()), &device).unwrap().unwrap();
        assert!(apart(before.clone(), ask(&told, &Pass::Infer, &device)) < 1e-4);
    }
    // More vectors are the same weights; a network of pictures has none of them.
    let more = theirs.beginning_as((&theirs, &net), (9, 3, [11, 4].into()), &device).unwrap().unwrap();
    assert_eq!((more.shape(), named_tensors(&more)), (Shape::from([11, 4]), named_tensors(&net)));
    let narrow = with(four(true));
    let wide = NetConfig::SetTransformer(SetTransformerConfig { width: 32, ..dense() });
    assert!(narrow.beginning_as((&wide, &net), (9, 3, SHAPE.into()), &device).unwrap().is_none());
    // Experts are no perceptron: there is no way back, nor to another number of them.
    for config in [NetConfig::SetTransformer(dense()), with(ExpertsConfig { count: 5, ..four(true) })] {
        assert!(config.beginning_as((&narrow, &net), (9, 3, SHAPE.into()), &device).unwrap().is_none());
    }
    let dit = NetConfig::Dit(DitConfig::default());
    assert!(dit.beginning_as((&theirs, &net), (9, 3, SHAPE.into()), &device).unwrap().is_none());
}

/// All weights are counted, and the work of those that hear a token. Mutants: all experts worked; one counted.
#[test]
fn experts_cost_their_weights_and_a_part_of_their_work() {
    let cost = |config: &NetConfig| config.cost(SHAPE, 3).unwrap();
    let (plain, config) = (cost(&NetConfig::SetTransformer(dense())), with(four(true)));
    let (found, net) = (cost(&config), config.init(1, SHAPE, 3, &Device::flex()).unwrap());
    assert_eq!(found.parameters, net.num_params());
    let (d, n) = (16, SHAPE[0] as u64 + 1);
    // One perceptron became three that work, in two blocks, and a router.
    let perceptron = 2 * n * 2 * (d * 4 * d);
    assert_eq!(found.forward_flops_per_sample - plain.forward_flops_per_sample, 2 * (2 * perceptron + 2 * n * d * 4));
    let lora = nets::LoraConfig { rank: 2, ..nets::LoraConfig::default() };
    let (before, after) = (net.num_params(), lora.init(net, 5, &Device::flex()).unwrap().num_params());
    assert_eq!(after - before, 2 * found.adapted);
}

/// Training passes with a place find one term there, `balance` times the sum over blocks, whose gradient moves routers; others find none.
/// Mutants: left in every pass; the weight forgotten; the last block's alone.
#[test]
fn uneven_choices_are_left_where_they_are_asked_for() {
    let device = Device::flex();
    let term = |config: &NetConfig, pass: &Pass, place: &Terms| {
        let net = trained(&with(four(true)));
        let net = config.beginning_as((&with(four(true)), &net), (1, 3, SHAPE.into()), &device).unwrap().unwrap();
        ask(&net, &pass.leaving(place), &device);
        place.take().map(|term| term.into_scalar::<f32>())
    };
    let training = Pass::train(Key::new(0, Purpose::Dropout), vec![0, 1, 2]);
    let (small, large) = (with(four(true)), with(ExpertsConfig { balance: 0.5, ..four(true) }));
    let found = term(&small, &training, &Terms::open()).unwrap() / 0.01;
    // Two blocks of four experts, two chosen: each between 1, or a little less, and 2.
    assert!((1.8..4.0).contains(&found), "{found}");
    assert!((term(&large, &training, &Terms::open()).unwrap() / 0.5 - found).abs() < 1e-4);
    assert_eq!(term(&small, &Pass::Infer, &Terms::open()), None);
    assert_eq!(term(&small, &training, &Terms::default()), None);
    assert_eq!(term(&with(ExpertsConfig { balance: 0.0, ..four(true) }), &training, &Terms::open()), None);

    let (net, place) = (trained(&small).train(), Terms::open());
    let tape = device.clone().autodiff();
    ask(&net, &training.leaving(&place), &tape);
    let gradients = place.take().unwrap().backward();
    struct Moved<'a>(&'a burn::tensor::Gradients, Vec<String>);
    impl ParamVisit for Moved<'_> {
        fn visit<const D: usize>(&mut self, name: &str, tensor: &Tensor<D>) {
            let most = tensor.grad(self.0).map(|gradient| gradient.abs().max().into_scalar::<f32>());
            if most.is_some_and(|most| most > 0.0) {
                self.1.push(name.to_owned());
            }
        }
    }
    let mut moved = Moved(&gradients, Vec::new());
    visit_named(&net, &mut moved);
    for block in [3, 4] {
        assert!(moved.1.contains(&format!("blocks.{block}.ff.router.weight")), "{:?}", moved.1);
    }
    assert!(!moved.1.iter().any(|name| name.starts_with("blocks.4.ff.each")), "{:?}", moved.1);
}

/// Mutant: blocks before the middle one taken too.
#[test]
fn experts_stand_after_the_middle_block() {
    let said = with(ExpertsConfig { blocks: 3, ..four(true) }).check().unwrap_err().to_string();
    assert!(said.contains("experts.blocks is 3") && said.contains("1 to 2"), "{said}");
    let eye = SetTransformerConfig { condition: ConditionConfig::default(), experts: Some(four(true)), ..dense() };
    let net = NetConfig::SetTransformer(eye).init(1, SHAPE, 0, &Device::flex()).unwrap();
    let names: Vec<String> = named_tensors(&net).into_iter().map(|(name, ..)| name).collect();
    assert!(names.contains(&"blocks.2.ff.fc1.weight".into()) && names.contains(&"blocks.3.ff.each.3.fc2.bias".into()));
    assert!(
        names.contains(&"blocks.4.ff.shared.fc1.weight".into()) && !names.contains(&"blocks.3.ff.fc1.weight".into())
    );
}
