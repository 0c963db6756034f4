//! The convolutional workload W4: the U-Net of the substrate's first measurements (5.07 M parameters), of this project's blocks.
//!
//! Two residual blocks a level on the way down and up, attention after the second block of the middle level on the way
//! down, skips from the residual blocks alone. The house's own U-Net has one more block a level on the way up; this one
//! stays as it was, so that its figures can be followed from the first measurement on.

use base::{Condition, Device, Network, Pass, Tensor};
use burn::module::Module;
use nets::condition::Conditioner;
use nets::init::{Init, Weights};
use nets::layers::{Conv2d, GroupNorm};
use nets::unet::{Direction, ResBlock, SelfAttention};
use nets::{ConditionConfig, UnetConfig};

/// See the file.
#[derive(Module, Debug)]
pub struct ConvUnet {
    conditioner: Conditioner,
    conv_in: Conv2d,
    down: Vec<ResBlock>,
    halve: Vec<Conv2d>,
    attention: SelfAttention,
    mid: Vec<ResBlock>,
    up: Vec<ResBlock>,
    double: Vec<Conv2d>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl ConvUnet {
    /// For images `[3 32 32]`.
    pub fn new(device: &Device) -> Self {
        let config = UnetConfig { channels: 64, scale_shift: false, groups: 32, heads: 4, ..UnetConfig::default() };
        let init = Init::new(4, device);
        let block = |place: &str, i: usize, input, output| {
            ResBlock::new(&init.child(place).child(i), &config, input, output, Direction::Level)
        };
        let blocks = |place: &'static str, widths: &[(usize, usize)]| -> Vec<ResBlock> {
            widths.iter().enumerate().map(|(i, &(input, output))| block(place, i, input, output)).collect()
        };
        let conv = |name: String, input, output, stride| {
            Conv2d::new(&init.child(name), input, output, 3, stride, Weights::Torch)
        };
        let condition = ConditionConfig::default();
        Self {
            conditioner: Conditioner::new(&init, &condition, 64, config.embedding(), 0, Weights::Torch),
            conv_in: conv("conv_in".into(), 3, 64, 1),
            down: blocks("down", &[(64, 64), (64, 64), (64, 128), (128, 128), (128, 128), (128, 128)]),
            halve: vec![conv("halve.0".into(), 64, 64, 2), conv("halve.1".into(), 128, 128, 2)],
            attention: SelfAttention::new(&init.child("attention"), &config, 128, 0),
            mid: blocks("mid", &[(128, 128), (128, 128)]),
            up: blocks("up", &[(256, 128), (256, 128), (256, 128), (256, 128), (192, 64), (128, 64)]),
            double: (0..2).map(|i| conv(format!("double.{i}"), 128, 128, 1)).collect(),
            norm_out: GroupNorm::new(&init.child("norm_out"), 64, 32),
            conv_out: conv("conv_out".into(), 64, 3, 1),
        }
    }
}

impl Network<2> for ConvUnet {
    fn predict(&self, x: Tensor<2>, t: Tensor<1>, condition: &Condition, pass: &Pass) -> Tensor<2> {
        let [b, n] = x.dims();
        let e = kernels::silu(self.conditioner.forward(t, condition));
        let mut h = self.conv_in.forward(x.reshape([b, 3, 32, 32]));
        let mut skips = Vec::new();
        for level in 0..3 {
            for i in 0..2 {
                h = self.down[2 * level + i].forward(h, &e, pass);
                if (level, i) == (1, 1) {
                    h = self.attention.forward(h, pass);
                }
                skips.push(h.clone());
            }
            if let Some(halve) = self.halve.get(level) {
                h = halve.forward(h);
            }
        }
        for block in &self.mid {
            h = block.forward(h, &e, pass);
        }
        for level in 0..3 {
            for i in 0..2 {
                let skip = skips.pop().expect("six blocks down, six up");
                h = self.up[2 * level + i].forward(Tensor::cat(vec![h, skip], 1), &e, pass);
            }
            if let Some(double) = self.double.get(level) {
                h = double.forward_upsampled(h);
            }
        }
        self.conv_out.forward(self.norm_out.forward(h, None, true)).reshape([b, n])
    }
}
