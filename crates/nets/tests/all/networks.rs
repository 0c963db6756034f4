//! Every network under every option: shapes, promised zeros, conditions, independence of batch mates, gradients, cost.

use base::{Condition, Dense, Device, Key, NULL_CLASS, Network, Pass, Purpose, Shape, Tensor, TensorData, Tokens};
use burn::module::Module;
use burn::tensor::Gradients;
use nets::weights::{ParamMap, ParamVisit, map_named, visit_named};
use nets::{
    ConditionConfig, Dit, DitConfig, JointDitConfig, MlpConfig, NetConfig, Positions, Resampling, SetTransformerConfig,
    TriflowConfig, UnetConfig,
};

const VECTOR: usize = 3;
const TOKEN: usize = 5;

fn condition(tokens: bool) -> ConditionConfig {
    ConditionConfig { vector: VECTOR, tokens: if tokens { TOKEN } else { 0 }, ..ConditionConfig::default() }
}

/// Small networks that between them turn every option on and off, with a shape each.
fn zoo() -> Vec<(&'static str, NetConfig, Shape)> {
    let unet = UnetConfig { channels: 8, groups: 4, heads: 2, condition: condition(false), ..UnetConfig::default() };
    let dit = DitConfig { width: 16, depth: 2, heads: 2, patch: 2, condition: condition(true), ..DitConfig::default() };
    let mmdit = JointDitConfig { width: 16, depth: 2, heads: 2, patch: 2, condition: condition(true), qk_norm: true };
    let image = |shape: [usize; 3]| Shape::from(shape);
    vec![
        ("mlp", NetConfig::Mlp(MlpConfig { width: 16, depth: 2, condition: condition(false) }), Shape::from([2])),
        ("unet", NetConfig::Unet(unet.clone()), image([1, 8, 8])),
        ("unet one level", NetConfig::Unet(UnetConfig { multipliers: vec![1], ..unet.clone() }), image([1, 5, 7])),
        (
            "unet attention",
            NetConfig::Unet(UnetConfig {
                multipliers: vec![1, 2, 2],
                attention: vec![2, 4],
                blocks: 2,
                ..unet.clone()
            }),
            image([3, 28, 28]),
        ),
        (
            "unet residual resampling",
            NetConfig::Unet(UnetConfig { resampling: Resampling::Residual {}, skip_rescale: true, ..unet.clone() }),
            image([1, 8, 4]),
        ),
        (
            "unet additive, patch, dropout",
            NetConfig::Unet(UnetConfig { scale_shift: false, patch: 2, dropout: 0.1, ..unet.clone() }),
            image([1, 28, 28]),
        ),
        (
            "set transformer",
            NetConfig::SetTransformer(SetTransformerConfig {
                width: 16,
                heads: 2,
                depth: 3,
                condition: condition(true),
                ..SetTransformerConfig::default()
            }),
            Shape::from([5, 6]),
        ),
        (
            "set transformer with experts",
            NetConfig::SetTransformer(SetTransformerConfig {
                width: 16,
                heads: 2,
                depth: 3,
                experts: Some(nets::shape::ExpertsConfig { count: 3, blocks: 1, ..Default::default() }),
                condition: condition(true),
                ..SetTransformerConfig::default()
            }),
            Shape::from([5, 6]),
        ),
        (
            "triflow",
            NetConfig::Triflow(TriflowConfig {
                width: 16,
                heads: 2,
                latents: 5,
                blocks: 1,
                condition: condition(true),
                ..TriflowConfig::default()
            }),
            Shape::from([3, 2, 4, 6]),
        ),
        (
            "unet beside a map",
            NetConfig::Unet(UnetConfig {
                patch: 2,
                condition: ConditionConfig { dense: 3, ..condition(false) },
                ..unet
            }),
            image([2, 12, 8]),
        ),
        ("dit", NetConfig::Dit(dit.clone()), image([1, 8, 8])),
        (
            "dit learned, no norm, dropout",
            NetConfig::Dit(DitConfig { positions: Positions::Learned {}, qk_norm: false, dropout: 0.1, ..dit }),
            image([3, 4, 6]),
        ),
        ("mmdit", NetConfig::Mmdit(mmdit.clone()), image([1, 8, 8])),
        ("mmdit no norm", NetConfig::Mmdit(JointDitConfig { qk_norm: false, ..mmdit }), image([3, 4, 6])),
    ]
}

fn noise<const D: usize>(shape: [usize; D], stream: u64) -> Tensor<D> {
    let indices: Vec<u64> = (0..shape[0] as u64).collect();
    Key::new(stream, Purpose::Noise).normal_tensor(&indices, shape, &Device::flex())
}

fn inputs(b: usize, shape: Shape, config: &NetConfig) -> (Tensor<2>, Tensor<1>, Condition) {
    let device = Device::flex();
    let times: Vec<f32> = (0..b).map(|i| (i as f32 + 0.5) / b as f32).collect();
    let classes: Vec<i64> = (0..b as i64).map(|i| i % 3).collect();
    let mut condition = Condition::classes(&classes, &device);
    condition.vector = Some(noise([b, VECTOR], 2));
    if matches!(config, NetConfig::Dit(_) | NetConfig::Mmdit(_) | NetConfig::SetTransformer(_) | NetConfig::Triflow(_))
    {
        let mask = Tensor::<2>::ones([b, 4], &device).greater_elem(0.0);
        condition.tokens = Some(Tokens { embedding: noise([b, 4, TOKEN], 3), mask });
    }
    if config.condition().dense > 0 {
        let [_, h, w] = shape.image().unwrap();
        let map = Shape::from([config.condition().dense, h, w]);
        condition.dense = Some(Dense { rows: noise([b, map.numel()], 4), shape: map });
    }
    (noise([b, shape.numel()], 1), Tensor::from_data(TensorData::new(times, [b]), &device), condition)
}

/// Adds a little noise to every parameter, so that zero-initialised layers pass signals and gradients.
fn shaken<M: Module>(net: M) -> M {
    struct Shake(u64);
    impl ParamMap for Shake {
        fn map<const D: usize>(&mut self, _: &str, tensor: Tensor<D>) -> Tensor<D> {
            self.0 += 1;
            let noise: Vec<f32> = Key::new(self.0, Purpose::Init).normals(0, tensor.shape().num_elements()).collect();
            let shape = tensor.dims();
            tensor.clone() + Tensor::from_data(TensorData::new(noise, shape), &tensor.device()) * 0.1
        }
    }
    map_named(net, &mut Shake(100))
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec().unwrap()
}

fn distance<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
    (a - b).abs().max().into_scalar::<f32>()
}

/// Gradient checkpointing changes what is kept, not what is computed: outputs to the bit, and gradients of every parameter
/// and of the input to rounding (a block's several gradients of its input are added up before, not after, the skip's),
/// with dropout, conditions and tokens.
#[test]
fn blocks_that_run_again_have_the_same_gradients() {
    struct Learned(Vec<(String, Vec<f32>)>, Gradients);
    impl ParamVisit for Learned {
        fn visit<const D: usize>(&mut self, name: &str, tensor: &Tensor<D>) {
            let gradient = tensor.grad(&self.1).unwrap_or_else(|| panic!("{name} has no gradient"));
            self.0.push((name.to_owned(), values(gradient)));
        }
    }
    for (name, config, shape) in zoo() {
        let device = Device::flex().autodiff();
        let net = shaken(config.init(1, shape, 3, &Device::flex()).unwrap()).train();
        let run = |recompute: bool, tracked: bool| {
            let (x, t, mut c) = inputs(3, shape, &config);
            let on = |x: Tensor<2>| Tensor::<2>::from_data(x.into_data(), &device);
            c = Condition {
                class: c.class.map(|c| Tensor::from_data(c.into_data(), &device)),
                vector: c.vector.map(on),
                dense: c.dense.map(|map| Dense { rows: on(map.rows), ..map }),
                ..c
            };
            c.tokens = c.tokens.map(|t| Tokens {
                embedding: Tensor::from_data(t.embedding.into_data(), &device),
                mask: Tensor::from_data(t.mask.into_data(), &device),
            });
            let x = Tensor::<2>::from_data(x.into_data(), &device);
            let x = if tracked { x.require_grad() } else { x };
            let t = Tensor::<1>::from_data(t.into_data(), &device);
            let pass = Pass::train(Key::new(5, Purpose::Dropout), vec![4, 5, 6]).recomputing(recompute);
            let y = net.predict(x.clone(), t, &c, &pass);
            let gradients = (y.clone() * y.clone()).sum().backward();
            let of_input = x.grad(&gradients).map(values);
            let mut all = Learned(Vec::new(), gradients);
            visit_named(&net, &mut all);
            (values(y.inner()), of_input, all.0)
        };
        for tracked in [true, false] {
            let (plain, again) = (run(false, tracked), run(true, tracked));
            assert!(plain.0.iter().any(|y| *y != 0.0) && plain.1.is_some() == tracked, "{name}");
            assert_eq!(plain.0, again.0, "{name}");
            let close = |what: &str, a: &[f32], b: &[f32]| {
                let size = a.iter().fold(1e-3f32, |size, v| size.max(v.abs()));
                let apart = a.iter().zip(b).fold(0f32, |apart, (a, b)| apart.max((a - b).abs()));
                assert!(a.len() == b.len() && apart <= 2e-5 * size, "{name}: {what} {apart} of {size}");
            };
            close("input", &plain.1.unwrap_or_default(), &again.1.unwrap_or_default());
            assert_eq!(plain.2.len(), again.2.len(), "{name}");
            plain.2.iter().zip(&again.2).for_each(|(a, b)| close(&a.0, &a.1, &b.1));
        }
        let cost = config.cost(shape, 3).unwrap();
        assert!(cost.checkpointed_bytes_per_sample <= cost.activation_bytes_per_sample, "{name}");
    }
}

#[test]
fn outputs_have_the_inputs_shape_and_start_at_zero_where_promised() {
    for (name, config, shape) in zoo() {
        let net = config.init(1, shape, 3, &Device::flex()).unwrap();
        let (x, t, c) = inputs(2, shape, &config);
        let y = net.predict(x.clone(), t.clone(), &c, &Pass::Infer);
        assert_eq!(y.dims(), x.dims(), "{name}");
        let largest = y.abs().max().into_scalar::<f32>();
        assert_eq!(largest == 0.0, !matches!(config, NetConfig::Mlp(_)), "{name}: {largest}");
        let y = shaken(net).predict(x, t, &c, &Pass::Infer).abs().max().into_scalar::<f32>();
        assert!(y.is_finite() && y > 1e-3, "{name}: {y}");
    }
}

#[test]
fn every_part_of_the_input_changes_the_output_and_null_differs_from_every_class() {
    for (name, config, shape) in zoo() {
        let net = shaken(config.init(1, shape, 3, &Device::flex()).unwrap());
        let (x, t, c) = inputs(2, shape, &config);
        let run = |x: &Tensor<2>, t: &Tensor<1>, c: &Condition| net.predict(x.clone(), t.clone(), c, &Pass::Infer);
        let y = run(&x, &t, &c);
        let mut changed = vec![
            ("x", run(&(x.clone() + 0.1), &t, &c)),
            ("t", run(&x, &(t.clone() * 0.9), &c)),
            ("class", run(&x, &t, &Condition { class: Some(c.class.clone().unwrap() + 1), ..c.clone() })),
            ("vector", run(&x, &t, &Condition { vector: c.vector.clone().map(|v| v + 1.0), ..c.clone() })),
        ];
        if let Some(tokens) = &c.tokens {
            let other = Tokens { embedding: tokens.embedding.clone() * 2.0, mask: tokens.mask.clone() };
            changed.push(("tokens", run(&x, &t, &Condition { tokens: Some(other), ..c.clone() })));
        }
        if let Some(map) = &c.dense {
            let other = Dense { rows: map.rows.clone() * 2.0, ..*map };
            changed.push(("map", run(&x, &t, &Condition { dense: Some(other), ..c.clone() })));
            // Silence beside the sample and nothing beside it are the same; guidance keeps the map.
            let silent = Dense { rows: map.rows.zeros_like(), ..*map };
            let [silent, none] = [Some(silent), None].map(|dense| run(&x, &t, &Condition { dense, ..c.clone() }));
            assert_eq!(values(silent), values(none), "{name}");
        }
        for class in 0..3 {
            let of = |class| Condition::classes(&[class, class], &Device::flex());
            assert!(distance(run(&x, &t, &of(class)), run(&x, &t, &of(NULL_CLASS))) > 1e-4, "{name}: class {class}");
        }
        for (what, other) in changed {
            assert!(distance(y.clone(), other) > 1e-4, "{name}: {what} does not matter");
        }
        // An absent condition and the null condition are the same to the network; a map is there in both.
        let none = Condition { dense: c.dense.clone(), ..Condition::none() };
        let (none, null) = (run(&x, &t, &none), run(&x, &t, &c.null()));
        assert!(distance(none, null) < 1e-5, "{name}: null is not none");
    }
}

#[test]
fn a_sample_does_not_see_its_batch_mates() {
    for (name, config, shape) in zoo() {
        let net = shaken(config.init(1, shape, 3, &Device::flex()).unwrap());
        let (x, t, c) = inputs(3, shape, &config);
        let pass = |samples: &[u64]| Pass::train(Key::new(5, Purpose::Dropout), samples.to_vec());
        let together = net.predict(x.clone(), t.clone(), &c, &pass(&[7, 8, 9]));
        let alone = net.predict(x.narrow(0, 1, 1), t.narrow(0, 1, 1), &c.slice(1..2), &pass(&[8]));
        // Sums in another order differ by rounding, about 1e-6 of numbers near 1; another sample's data by far more.
        let scale = 1.0 + alone.clone().abs().max().into_scalar::<f32>();
        let difference = distance(together.narrow(0, 1, 1), alone);
        assert!(difference < 2e-5 * scale, "{name}: {difference}");
    }
}

#[test]
fn dropout_acts_in_training_only_and_repeats() {
    for (name, config, shape) in zoo().into_iter().filter(|(name, ..)| name.contains("dropout")) {
        let net = shaken(config.init(1, shape, 3, &Device::flex()).unwrap());
        let (x, t, c) = inputs(2, shape, &config);
        let run = |pass: &Pass| values(net.predict(x.clone(), t.clone(), &c, pass));
        let train = |samples: [u64; 2]| Pass::train(Key::new(5, Purpose::Dropout), samples.into());
        assert_eq!(run(&train([0, 1])), run(&train([0, 1])), "{name}");
        assert_ne!(run(&train([0, 1])), run(&train([2, 3])), "{name}");
        assert_ne!(run(&train([0, 1])), run(&Pass::Infer), "{name}");
    }
}

#[test]
fn gradients_reach_every_parameter() {
    for (name, config, shape) in zoo() {
        let net = shaken(config.init(1, shape, 3, &Device::flex().autodiff()).unwrap());
        let (x, t, c) = inputs(4, shape, &config);
        // Sample 3 is unconditional so that the null row is reached too; sums of squares have no symmetric zero.
        let class = Condition::classes(&[0, 1, 2, NULL_CLASS], &Device::flex()).class;
        let y = net.predict(x, t, &Condition { class, ..c }, &Pass::Infer);
        let gradients = y.square().sum().backward();
        struct Reached<'a> {
            gradients: &'a burn::tensor::Gradients,
            lost: Vec<String>,
        }
        impl ParamVisit for Reached<'_> {
            fn visit<const D: usize>(&mut self, name: &str, tensor: &Tensor<D>) {
                match tensor.grad(self.gradients) {
                    Some(gradient) if gradient.clone().abs().max().into_scalar::<f32>() > 1e-7 => {
                        assert!(gradient.sum().into_scalar::<f32>().is_finite());
                    }
                    _ => self.lost.push(name.to_owned()),
                }
            }
        }
        let mut reached = Reached { gradients: &gradients, lost: vec![] };
        visit_named(&net, &mut reached);
        assert!(reached.lost.is_empty(), "{name}: no gradient in {:?}", reached.lost);
    }
}

#[test]
fn cost_counts_the_parameters_there_are() {
    for classes in [0, 3] {
        for (name, config, shape) in zoo() {
            let net = config.init(1, shape, classes, &Device::flex()).unwrap();
            assert_eq!(config.cost(shape, classes).unwrap().parameters, net.num_params(), "{name}");
        }
    }
    // The network of benches/versus-pytorch/fashion.py has the same count.
    let house = NetConfig::default().cost([1, 28, 28], 10).unwrap();
    assert_eq!(house.parameters, 1_555_489);
}

#[test]
fn networks_of_images_refuse_what_is_none() {
    for (name, config, _) in zoo() {
        let (built, cost) = (config.init(1, [6], 3, &Device::flex()), config.cost([6], 3));
        match config {
            NetConfig::Mlp(_) => assert!(built.is_ok() && cost.is_ok()),
            NetConfig::SetTransformer(_) => {
                let said = built.unwrap_err().to_string();
                assert!(said.contains("[6]") && said.contains("[n d]") && cost.is_err(), "{said}");
            }
            _ => {
                let said = built.unwrap_err().to_string();
                assert!(said.contains("[6]") && said.contains("mlp") && cost.is_err(), "{name}: {said}");
            }
        }
    }
}

#[test]
fn networks_that_read_no_map_refuse_one() {
    let condition = ConditionConfig { dense: 1, ..ConditionConfig::default() };
    let mlp = NetConfig::Mlp(MlpConfig { condition: condition.clone(), ..MlpConfig::default() });
    let dit = NetConfig::Dit(DitConfig { condition, ..DitConfig::default() });
    for config in [mlp, dit] {
        let said = config.init(1, [1, 4, 8], 0, &Device::flex()).unwrap_err().to_string();
        assert!(said.contains("takes no map") && said.contains("unet"), "{said}");
    }
}

/// Mutant: rows read as `[b h w c]`.
#[test]
fn the_door_restores_the_shape() {
    let config = UnetConfig { channels: 8, groups: 4, ..UnetConfig::default() };
    let inside = shaken(config.init(1, [3, 4, 8], 0, &Device::flex()).unwrap());
    let net = shaken(NetConfig::Unet(config).init(1, [3, 4, 8], 0, &Device::flex()).unwrap());
    let (x, t) = (noise([2, 3, 4, 8], 1), Tensor::<1>::from_floats([0.5, 0.1], &Device::flex()));
    let rows = net.predict(x.clone().reshape([2, 96]), t.clone(), &Condition::none(), &Pass::Infer);
    assert_eq!(values(rows), values(inside.predict(x, t, &Condition::none(), &Pass::Infer)));
}

#[test]
fn fixed_positions_serve_images_of_another_size() {
    let config = DitConfig { patch: 2, width: 8, heads: 2, depth: 1, ..DitConfig::default() };
    let small = config.init(1, [1, 4, 8], 0, &Device::flex()).unwrap();
    let large = config.init(1, [1, 8, 4], 0, &Device::flex()).unwrap();
    let (x, t) = (noise([1, 1, 8, 4], 1), Tensor::<1>::from_floats([0.5], &Device::flex()));
    let run = |net: Dit| shaken(net).predict(x.clone(), t.clone(), &Condition::none(), &Pass::Infer);
    assert_eq!(values(run(small)), values(run(large)));
}

/// Padding is nothing, in a caption of any length, and the order of samples' captions is theirs.
///
/// Mutants: the mask forgotten; set beside the wrong end of the joint sequence; the image masked with the text.
#[test]
fn an_mmdit_does_not_read_padding() {
    let (_, config, shape) = zoo().into_iter().find(|(name, ..)| *name == "mmdit").unwrap();
    let net = shaken(config.init(1, shape, 3, &Device::flex()).unwrap());
    let (x, t, c) = inputs(2, shape, &config);
    let tokens = c.tokens.clone().unwrap(); // [2 4 5]
    let masked = |embedding: Tensor<3>, real: [usize; 2]| {
        let n = embedding.dims()[1];
        let mask: Vec<f32> = real.iter().flat_map(|real| (0..n).map(|i| f32::from(u8::from(i < *real)))).collect();
        let mask = Tensor::<2>::from_data(TensorData::new(mask, [2, n]), &Device::flex()).greater_elem(0.5);
        let tokens = Some(Tokens { embedding, mask });
        net.predict(x.clone(), t.clone(), &Condition { tokens, ..c.clone() }, &Pass::Infer)
    };
    let junk = noise([2, 3, TOKEN], 9) * 5.0;
    let long = Tensor::cat(vec![tokens.embedding.clone(), junk], 1);
    let all = masked(tokens.embedding.clone(), [4, 4]);
    assert!(distance(all.clone(), masked(long.clone(), [4, 4])) < 1e-5);
    // Two tokens of the second sample alone: the first sample says what it said, the second something else.
    let fewer = masked(long, [4, 2]);
    assert!(distance(all.clone().narrow(0, 0, 1), fewer.clone().narrow(0, 0, 1)) < 1e-5);
    assert!(distance(all.narrow(0, 1, 1), fewer.narrow(0, 1, 1)) > 1e-4);
}

mod random {
    use super::*;
    use proptest::prelude::*;

    fn unet() -> impl Strategy<Value = UnetConfig> {
        let levels = prop::collection::vec(1usize..3, 1..4);
        (levels, 1usize..3, 0usize..8, 1usize..3, any::<[bool; 4]>(), 1usize..9).prop_map(
            |(multipliers, blocks, attention, patch, [scale_shift, residual, skip_rescale, drop], groups)| UnetConfig {
                channels: 4,
                attention: (0..multipliers.len()).filter(|i| attention >> i & 1 == 1).map(|i| 1 << i).collect(),
                multipliers,
                blocks,
                heads: 2,
                dropout: if drop { 0.2 } else { 0.0 },
                scale_shift,
                resampling: if residual { Resampling::Residual {} } else { Resampling::Conv {} },
                patch,
                skip_rescale,
                groups,
                bounded: false,
                condition: condition(false),
            },
        )
    }

    fn dit() -> impl Strategy<Value = DitConfig> {
        (1usize..4, 1usize..4, 1usize..3, 1usize..5, any::<[bool; 3]>()).prop_map(
            |(patch, depth, heads, mlp_ratio, [qk_norm, learned, tokens])| DitConfig {
                patch,
                width: 8,
                depth,
                heads,
                mlp_ratio,
                qk_norm,
                positions: if learned { Positions::Learned {} } else { Positions::SinCos {} },
                dropout: 0.1,
                condition: condition(tokens),
            },
        )
    }

    fn mmdit() -> impl Strategy<Value = JointDitConfig> {
        (1usize..4, 1usize..4, 1usize..3, any::<bool>()).prop_map(|(patch, depth, heads, qk_norm)| JointDitConfig {
            patch,
            width: 8,
            depth,
            heads,
            qk_norm,
            condition: condition(true),
        })
    }

    fn any_net() -> impl Strategy<Value = NetConfig> {
        prop_oneof![
            unet().prop_map(NetConfig::Unet),
            dit().prop_map(NetConfig::Dit),
            mmdit().prop_map(NetConfig::Mmdit)
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Shapes are kept, costs are exact, whatever the options.
        #[test]
        fn any_combination_of_options_works(config in any_net(), c in 1usize..4, h in 1usize..3, w in 1usize..3) {
            let step = match &config {
                NetConfig::Unet(unet) => unet.patch << (unet.multipliers.len() - 1),
                NetConfig::Dit(dit) => dit.patch,
                NetConfig::Mmdit(mmdit) => mmdit.patch,
                NetConfig::Mlp(_) | NetConfig::SetTransformer(_) | NetConfig::Triflow(_) | NetConfig::Released(_) => 1,
            };
            let shape = Shape::from([c, h * step, w * step]);
            let net = config.init(1, shape, 3, &Device::flex()).unwrap();
            prop_assert_eq!(config.cost(shape, 3).unwrap().parameters, net.num_params());
            let (x, t, condition) = inputs(2, shape, &config);
            let pass = Pass::train(Key::new(0, Purpose::Dropout), vec![0, 1]);
            prop_assert_eq!(net.predict(x.clone(), t, &condition, &pass).dims(), x.dims());
            if step > 1 {
                prop_assert!(config.init(1, [c, h * step + 1, w * step], 3, &Device::flex()).is_err());
            }
        }
    }
}
