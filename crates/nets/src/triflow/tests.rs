//! Three streams: what is heard, what is written at first, where things stand, and how the work grows.

use super::*;
use crate::{ConditionConfig, DitConfig};
use base::{Device, Int, Key, Purpose, Tokens};

const SHAPE: [usize; 4] = [3, 4, 4, 6];

fn small(tokens: usize) -> TriflowConfig {
    let condition = ConditionConfig { tokens, ..ConditionConfig::default() };
    TriflowConfig { width: 16, heads: 2, latents: 5, blocks: 1, condition, ..TriflowConfig::default() }
}

fn noise<const D: usize>(fold: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    let rows: Vec<u64> = (0..shape[0] as u64).collect();
    Key::new(2, Purpose::Noise).fold(fold).normal_tensor(&rows, shape, device)
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec().unwrap()
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// A network as if it had been trained: no gate and no last layer is zero.
fn awake(config: &TriflowConfig, device: &Device) -> Triflow {
    let mut net = config.init(5, SHAPE, 3, device).unwrap();
    let init = Init::new(9, device);
    let linear = |name: &str, from, to| Linear::new(&init.child(name), from, to, Weights::Xavier);
    let d = config.width;
    for (i, stage) in net.joint.iter_mut().enumerate() {
        stage.read.modulation.linear = linear(&format!("a{i}"), d, 6 * d);
        stage.write.modulation.linear = linear(&format!("b{i}"), d, 6 * d);
        for block in &mut stage.blocks {
            block.norm1.linear = linear(&format!("c{i}"), d, 6 * d);
            block.norm1_context.linear = linear(&format!("d{i}"), d, 6 * d);
        }
    }
    for (i, stage) in net.stages.iter_mut().enumerate() {
        stage.read.modulation.linear = linear(&format!("e{i}"), d, 6 * d);
        stage.write.modulation.linear = linear(&format!("f{i}"), d, 6 * d);
        stage.blocks.iter_mut().for_each(|block| block.modulation.linear = linear(&format!("g{i}"), d, 6 * d));
    }
    net.final_layer.linear = linear("last", d, SHAPE[1] * config.patch * config.patch);
    net
}

fn planes(b: usize, device: &Device) -> Tensor<5> {
    noise(0, [b, SHAPE[0], SHAPE[1], SHAPE[2], SHAPE[3]], device)
}

/// Mutants: the class left out of the text's stream and of the gates; masked tokens heard; text heard in the joint stage alone.
#[test]
fn time_class_and_tokens_are_heard_and_masked_tokens_are_not() {
    let device = Device::flex();
    let net = awake(&small(7), &device);
    let x = planes(1, &device);
    let tokens = |fold: u64, real: i32| Tokens {
        embedding: noise(fold, [1, 3, 7], &device),
        mask: Tensor::<2, Int>::from_ints([[real, real, 0]], &device).bool(),
    };
    let at = |time: f32, class: i64, tokens: Option<Tokens>| {
        let condition = Condition { tokens, ..Condition::classes(&[class], &device) };
        values(net.forward(x.clone(), Tensor::from_floats([time], &device), &condition))
    };
    let plain = at(0.3, 1, None);
    assert!(apart(&plain, &at(0.6, 1, None)) > 1e-3);
    assert!(apart(&plain, &at(0.3, 2, None)) > 1e-3);
    assert!(apart(&plain, &at(0.3, 1, Some(tokens(1, 1)))) > 1e-4);
    assert!(apart(&at(0.3, 1, Some(tokens(1, 1))), &at(0.3, 1, Some(tokens(2, 1)))) > 1e-4);
    assert!(apart(&plain, &at(0.3, 1, Some(tokens(1, 0)))) < 1e-5, "no caption and an empty one are the same");
}

/// Before training nothing is said, and nothing is written to the planes. Mutant: gates that start at one.
#[test]
fn a_fresh_network_says_nothing_and_writes_nothing() {
    let device = Device::flex();
    let mut net = small(0).init(5, SHAPE, 3, &device).unwrap();
    let (t, condition) = (Tensor::<1>::from_floats([0.4, 0.9], &device), Condition::classes(&[0, 2], &device));
    assert!(values(net.forward(planes(2, &device), t.clone(), &condition)).iter().all(|v| *v == 0.0));
    // With a last layer that speaks, each patch's answer depends on that patch alone.
    net.final_layer.linear = awake(&small(0), &device).final_layer.linear;
    let x = planes(2, &device);
    let said = net.forward(x.clone(), t.clone(), &condition);
    let other = Tensor::cat(vec![x.clone().narrow(1, 0, 2), noise(3, [2, 1, 4, 4, 6], &device)], 1);
    let changed = net.forward(other, t, &condition);
    let first_two = |x: Tensor<5>| values(x.narrow(1, 0, 2));
    assert_eq!(first_two(said.clone()), first_two(changed.clone()));
    assert!(apart(&values(said), &values(changed)) > 1e-3);
}

/// Once awake a patch hears of the others through the latents, and a plane is not exchanged for another. Mutants: planes that
/// write and do not read; plane embeddings left out.
#[test]
fn planes_hear_of_one_another_and_know_which_they_are() {
    let device = Device::flex();
    let net = awake(&small(0), &device);
    let (t, condition) = (Tensor::<1>::from_floats([0.4], &device), Condition::classes(&[1], &device));
    let x = planes(1, &device);
    let said = net.forward(x.clone(), t.clone(), &condition);
    let other = Tensor::cat(vec![x.clone().narrow(1, 0, 2), noise(3, [1, 1, 4, 4, 6], &device)], 1);
    let changed = net.forward(other, t.clone(), &condition);
    let first_two = |x: Tensor<5>| values(x.narrow(1, 0, 2));
    assert!(apart(&first_two(said.clone()), &first_two(changed)) > 1e-4);
    let turned = net.forward(x.flip([1]), t, &condition).flip([1]);
    assert!(apart(&values(said), &values(turned)) > 1e-4);
}

#[test]
fn a_sample_does_not_depend_on_its_batch() {
    let device = Device::flex();
    let net = awake(&small(0), &device);
    let (t, condition) = (Tensor::<1>::from_floats([0.2, 0.7], &device), Condition::classes(&[1, 2], &device));
    let both = net.forward(planes(2, &device), t.clone(), &condition);
    let second = net.forward(planes(2, &device).narrow(0, 1, 1), t.narrow(0, 1, 1), &Condition::classes(&[2], &device));
    assert!(apart(&values(both.narrow(0, 1, 1)), &values(second)) < 1e-5);
}

/// The work of a forward pass against the tokens of the planes, in log-log slopes of the last doubling (spec U4: 1.15 at most, and
/// 1.5 at least for a transformer whose tokens all attend to one another). That the count is the network's own is held by the count of
/// its parameters and by the times in papers/triflow.md. Mutant: planes that ask planes in a write.
#[test]
fn work_grows_linearly_with_the_planes() {
    let work = |side: usize| TriflowConfig::default().cost([3, 12, side, side], 10).unwrap().forward_flops_per_sample;
    let dit = DitConfig { patch: 2, width: 128, heads: 4, ..DitConfig::default() };
    let full = |rows: usize, columns: usize| dit.cost([12, rows, columns], 10).unwrap().forward_flops_per_sample;
    let slope = |small: u64, large: u64| (large as f64 / small as f64).log2();
    // 768 tokens at 32 pixels a side, four times as many at 64.
    assert!(slope(work(32), work(64)) / 2.0 <= 1.05, "{}", slope(work(32), work(64)) / 2.0);
    // 3072 and 6144 tokens.
    assert!(slope(full(64, 192), full(128, 192)) >= 1.5);
}

/// The planes' patches come back to their places: with an awake network and zero everything else, a change of one patch moves most
/// there. Mutant: rows and columns of planes that are not square exchanged.
#[test]
fn patches_stand_where_they_came_from() {
    let device = Device::flex();
    let mut net = small(0).init(5, SHAPE, 3, &device).unwrap();
    net.final_layer.linear = awake(&small(0), &device).final_layer.linear;
    let (t, condition) = (Tensor::<1>::from_floats([0.4], &device), Condition::classes(&[1], &device));
    let x = planes(1, &device);
    let mut moved = values(x.clone());
    // Plane 1, channel 2, row 3, column 4.
    moved[((4 + 2) * 4 + 3) * 6 + 4] += 1.0;
    let moved = Tensor::<1>::from_floats(moved.as_slice(), &device).reshape([1, 3, 4, 4, 6]);
    let (a, b) = (values(net.forward(x, t.clone(), &condition)), values(net.forward(moved, t, &condition)));
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        let (plane, row, column) = (i / 96, i / 6 % 4, i % 6);
        let same_patch = plane == 1 && row / 2 == 1 && column / 2 == 2;
        assert_eq!(a != b, same_patch, "plane {plane}, row {row}, column {column}");
    }
}

#[test]
fn parameters_are_counted_and_nonsense_is_refused() {
    let device = Device::flex();
    for (tokens, joint, stages) in [(0, 1, 2), (7, 2, 0), (7, 0, 1)] {
        let config = TriflowConfig { joint, stages, ..small(tokens) };
        let net = config.init(0, SHAPE, 3, &device).unwrap();
        assert_eq!(config.cost(SHAPE, 3).unwrap().parameters, net.num_params(), "{config:?}");
    }
    for (config, key) in [
        (TriflowConfig { latents: 0, ..small(0) }, "latents"),
        (TriflowConfig { heads: 3, ..small(0) }, "width"),
        (TriflowConfig { joint: 0, stages: 0, ..small(0) }, "stages"),
        (TriflowConfig { patch: 4, ..small(0) }, "patch"),
    ] {
        assert!(config.init(0, SHAPE, 3, &device).unwrap_err().to_string().contains(key));
    }
}
