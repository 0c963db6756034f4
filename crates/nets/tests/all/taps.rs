//! Taps: every attention layer offers itself once per pass, in order; what is put back is what the network goes on with.

use base::{Condition, Device, Features, Key, Network, Pass, Purpose, Tap, Taps, Tensor};
use nets::{ConditionConfig, DitConfig, JointDitConfig, Net, NetConfig, UnetConfig};
use std::sync::{Arc, Mutex};

/// Writes down who was asked, and changes the part of one layer.
#[derive(Default)]
struct Scribe {
    asked: Mutex<Vec<(usize, [usize; 3])>>,
    /// Layer and part (query, key, value) to be changed.
    change: Option<(usize, usize)>,
    /// Layers that are wanted; all when absent.
    only: Option<usize>,
}

impl Tap for Scribe {
    fn wants(&self, block: usize) -> bool {
        self.only.is_none_or(|only| only == block)
    }

    fn attend(&self, block: usize, mut features: Features) -> Features {
        self.asked.lock().unwrap().push((block, features.value.dims()));
        if let Some((_, part)) = self.change.filter(|(number, _)| *number == block) {
            let part = [&mut features.query, &mut features.key, &mut features.value].into_iter().nth(part).unwrap();
            // Not the same for all tokens: twice the queries are twice the keys.
            let n = part.dims()[1] as i64;
            let ramp = Tensor::<1, base::Int>::arange(0..n, &part.device()).float().reshape([1, n as usize, 1]);
            *part = part.clone() * (ramp * 0.5 + 1.0);
        }
        features
    }
}

/// Networks whose last layers do not start at zero, or nothing inside would show.
fn networks() -> Vec<(Net, Vec<[usize; 3]>)> {
    let device = Device::flex();
    let dit = DitConfig { patch: 2, width: 16, depth: 3, heads: 2, qk_norm: false, ..DitConfig::default() };
    let unet = UnetConfig {
        channels: 8,
        multipliers: vec![1, 2],
        blocks: 1,
        attention: vec![1],
        groups: 4,
        heads: 2,
        ..UnetConfig::default()
    };
    let made = |config: NetConfig| {
        let net = config.init(3, [1, 8, 8], 0, &device).unwrap();
        stirred(net)
    };
    let condition = ConditionConfig { tokens: 5, ..ConditionConfig::default() };
    let mmdit = JointDitConfig { patch: 2, width: 16, depth: 3, heads: 2, qk_norm: false, condition };
    vec![
        (made(NetConfig::Dit(dit)), vec![[2, 16, 16]; 3]),
        (made(NetConfig::Mmdit(mmdit)), vec![[2, 16, 16]; 3]),
        (made(NetConfig::Unet(unet)), vec![]),
    ]
}

/// The same network with every parameter moved a little.
fn stirred(net: Net) -> Net {
    struct Stir(u64);
    impl burn::module::ModuleMapper for Stir {
        fn map_float<const D: usize>(
            &mut self,
            param: burn::module::Param<Tensor<D>>,
        ) -> burn::module::Param<Tensor<D>> {
            self.0 += 1;
            let key = Key::new(9, Purpose::Init).fold(self.0);
            param.map(|tensor| {
                let dims = tensor.dims();
                let noise = key.normal_tensor::<2>(&[0], [0, dims.iter().product()], &tensor.device());
                tensor + noise.reshape(dims) * 0.1
            })
        }
    }
    burn::module::Module::map(net, &mut Stir(0))
}

fn say(net: &Net, pass: &Pass) -> Vec<f32> {
    let device = Device::flex();
    let x: Tensor<2> = Key::new(1, Purpose::Noise).normal_tensor(&[0, 1], [0, 64], &device);
    let t = Tensor::<1>::from_floats([0.3, 0.8], &device);
    net.predict(x, t, &Condition::none(), pass).into_data().try_to_vec().unwrap()
}

fn tapped(scribe: &Arc<Scribe>) -> Pass {
    Pass::Tapped(Taps(scribe.clone()))
}

#[test]
fn every_layer_is_offered_once_and_in_order() {
    for (net, shapes) in networks() {
        let count = net.attentions();
        assert!(count >= 3, "{count}");
        let scribe = Arc::new(Scribe::default());
        // Looking changes nothing, to the bit.
        assert_eq!(say(&net, &tapped(&scribe)), say(&net, &Pass::Infer));
        let asked = scribe.asked.lock().unwrap().clone();
        assert_eq!(asked.iter().map(|(block, _)| *block).collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
        assert!(shapes.is_empty() || asked.iter().map(|(_, dims)| *dims).eq(shapes), "{asked:?}");
    }
}

#[test]
fn what_is_put_back_is_used_and_what_is_not_wanted_is_not_shown() {
    for (net, _) in networks() {
        let plain = say(&net, &Pass::Infer);
        let mut seen = vec![plain];
        for block in 0..net.attentions() {
            for part in 0..3 {
                let scribe = Arc::new(Scribe { change: Some((block, part)), only: Some(block), ..Scribe::default() });
                let changed = say(&net, &tapped(&scribe));
                // Every layer and every part says something of its own.
                assert!(seen.iter().all(|other| *other != changed), "layer {block}, part {part}");
                seen.push(changed);
                assert_eq!(scribe.asked.lock().unwrap().len(), 1);
            }
        }
    }
}
