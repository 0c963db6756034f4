//! U-Net of the DDPM++ / ADM family (Song et al., 2021, app. H; Dhariwal and Nichol, 2021, sec. 3).
//!
//! Tensor names follow diffusers' `UNet2DModel` (`down_blocks.0.resnets.0.conv1.weight`), with two differences: the
//! attention's queries, keys and values are one `qkv`, and resampling is `down_blocks.0.resample.conv`.

mod block;
mod config;

pub use block::{Direction, ResBlock, Resample, SelfAttention};
pub use config::{ADM, Resampling, UnetConfig};

use crate::condition::Conditioner;
use crate::init::{Init, Weights};
use crate::layers::{Conv2d, GroupNorm};
use base::{Condition, Network, Pass, Tensor};
use burn::module::Module;
use std::cell::Cell;

/// The blocks of one resolution.
#[derive(Module, Debug)]
pub struct Level {
    /// Residual blocks.
    pub resnets: Vec<ResBlock>,
    /// One after each residual block, or none.
    pub attentions: Vec<SelfAttention>,
    /// The way to the next level, after the blocks.
    pub resample: Option<Resample>,
}

/// The network of [`UnetConfig`].
#[derive(Module, Debug)]
pub struct Unet {
    /// Time, class and vector.
    pub conditioner: Conditioner,
    /// Image to channels.
    pub conv_in: Conv2d,
    /// From fine to coarse.
    pub down_blocks: Vec<Level>,
    /// The coarsest resolution: two residual blocks around an optional attention.
    pub mid_block: Level,
    /// From coarse to fine.
    pub up_blocks: Vec<Level>,
    /// Before the last convolution.
    pub conv_norm_out: GroupNorm,
    /// Channels to image; starts at zero.
    pub conv_out: Conv2d,
    patch: usize,
    /// `[c h w]` of the map beside each image; no channels for none.
    beside: [usize; 3],
    bounded: bool,
}

impl Unet {
    pub(crate) fn new(config: &UnetConfig, init: &Init, [image, h, w]: [usize; 3], classes: usize) -> Self {
        let block = |place: &Init, i: usize, input, output| {
            ResBlock::new(&place.child("resnets").child(i), config, input, output, Direction::Level)
        };
        // Made in the order of a forward pass, so that they can be numbered here.
        let made = Cell::new(0);
        let attention = |place: &Init, i: usize, width| {
            SelfAttention::new(&place.child("attentions").child(i), config, width, made.replace(made.get() + 1))
        };
        let [folded, beside] = [image, config.condition.dense].map(|channels| channels * config.patch * config.patch);
        let widths = config.widths();
        let last = widths.len() - 1;

        let mut width = config.channels;
        let mut skips = vec![width];
        let mut down_blocks = Vec::with_capacity(widths.len());
        for (i, &next) in widths.iter().enumerate() {
            let place = init.child("down_blocks").child(i);
            let mut level = Level { resnets: vec![], attentions: vec![], resample: None };
            for j in 0..config.blocks {
                level.resnets.push(block(&place, j, width, next));
                width = next;
                if config.attends(i) {
                    level.attentions.push(attention(&place, j, width));
                }
                skips.push(width);
            }
            if i < last {
                level.resample = Some(Resample::new(&place.child("resample"), config, width, Direction::Down));
                skips.push(width);
            }
            down_blocks.push(level);
        }

        let place = init.child("mid_block");
        let mid_block = Level {
            resnets: (0..2).map(|j| block(&place, j, width, width)).collect(),
            attentions: config.middle_attends().then(|| attention(&place, 0, width)).into_iter().collect(),
            resample: None,
        };

        let mut up_blocks = Vec::with_capacity(widths.len());
        for (i, &next) in widths.iter().enumerate().rev() {
            let place = init.child("up_blocks").child(last - i);
            let mut level = Level { resnets: vec![], attentions: vec![], resample: None };
            let skip_widths: Vec<usize> = skips.drain(skips.len() - config.blocks - 1..).rev().collect();
            for (j, skip) in skip_widths.into_iter().enumerate() {
                level.resnets.push(block(&place, j, width + skip, next));
                width = next;
                if config.attends(i) {
                    level.attentions.push(attention(&place, j, width));
                }
            }
            if i > 0 {
                level.resample = Some(Resample::new(&place.child("resample"), config, width, Direction::Up));
            }
            up_blocks.push(level);
        }

        Self {
            conditioner: Conditioner::new(
                init,
                &config.condition,
                2 * config.channels,
                config.embedding(),
                classes,
                Weights::Torch,
            ),
            conv_in: Conv2d::new(&init.child("conv_in"), folded + beside, config.channels, 3, 1, Weights::Torch),
            down_blocks,
            mid_block,
            up_blocks,
            conv_norm_out: GroupNorm::new(&init.child("conv_norm_out"), width, config.groups),
            conv_out: Conv2d::new(&init.child("conv_out"), width, folded, 3, 1, Weights::Zero),
            patch: config.patch,
            beside: [config.condition.dense, h, w],
            bounded: config.bounded,
        }
    }

    /// `x` `[b c h w]` with the channels of the condition's map behind its own, for networks that read one. Without a map its
    /// channels are zero: nothing is heard beside the sample.
    fn with_map(&self, x: Tensor<4>, condition: &Condition) -> Tensor<4> {
        let [channels, h, w] = self.beside;
        if channels == 0 {
            return x;
        }
        let [b, ..] = x.dims();
        let map = match &condition.dense {
            Some(map) => map.rows.clone().reshape([b, channels, h, w]),
            None => Tensor::zeros([b, channels, h, w], &x.device()),
        };
        Tensor::cat(vec![x, map], 1)
    }

    /// What the network says, or the condition's map lowered by as much as that, where its output is bounded.
    fn below_map(&self, y: Tensor<4>, condition: &Condition) -> Tensor<4> {
        if !self.bounded {
            return y;
        }
        let lowered = y.clone().clamp_min(0.0) + (-y.abs()).exp().log1p(); // softplus that does not overflow
        match &condition.dense {
            Some(map) => map.rows.clone().reshape(lowered.dims()) - lowered,
            None => -lowered,
        }
    }
}

impl Network<4> for Unet {
    fn predict(&self, x: Tensor<4>, t: Tensor<1>, condition: &Condition, pass: &Pass) -> Tensor<4> {
        // Every block reads the embedding through SiLU and a projection; the SiLU is shared.
        let embedding = kernels::silu(self.conditioner.forward(t, condition));
        let mut h = self.conv_in.forward(fold(self.with_map(x, condition), self.patch));
        let mut skips = vec![h.clone()];
        for level in &self.down_blocks {
            for (i, block) in level.resnets.iter().enumerate() {
                h = block.forward(h, &embedding, pass);
                if let Some(attention) = level.attentions.get(i) {
                    h = attention.forward(h, pass);
                }
                skips.push(h.clone());
            }
            if let Some(resample) = &level.resample {
                h = resample.forward(h, &embedding, pass);
                skips.push(h.clone());
            }
        }
        for (i, block) in self.mid_block.resnets.iter().enumerate() {
            h = block.forward(h, &embedding, pass);
            if let Some(attention) = self.mid_block.attentions.get(i) {
                h = attention.forward(h, pass);
            }
        }
        for level in &self.up_blocks {
            for (i, block) in level.resnets.iter().enumerate() {
                let skip = skips.pop().expect("the way down pushed one skip for each block of the way up");
                h = block.forward(Tensor::cat(vec![h, skip], 1), &embedding, pass);
                if let Some(attention) = level.attentions.get(i) {
                    h = attention.forward(h, pass);
                }
            }
            if let Some(resample) = &level.resample {
                h = resample.forward(h, &embedding, pass);
            }
        }
        let y = unfold(self.conv_out.forward(self.conv_norm_out.forward(h, None, true)), self.patch);
        self.below_map(y, condition)
    }
}

/// Squares of `p` x `p` pixels to channels: `[b c h w]` to `[b c*p*p h/p w/p]`, PyTorch's `pixel_unshuffle`.
pub(crate) fn fold(x: Tensor<4>, p: usize) -> Tensor<4> {
    if p == 1 {
        return x;
    }
    let [b, c, h, w] = x.dims();
    let x: Tensor<6> = x.reshape([b, c, h / p, p, w / p, p]);
    x.permute([0, 1, 3, 5, 2, 4]).reshape([b, c * p * p, h / p, w / p]) // [b c p p h/p w/p]
}

/// The inverse of [`fold`], PyTorch's `pixel_shuffle`.
pub(crate) fn unfold(x: Tensor<4>, p: usize) -> Tensor<4> {
    if p == 1 {
        return x;
    }
    let [b, c, h, w] = x.dims();
    let c = c / (p * p);
    let x: Tensor<6> = x.reshape([b, c, p, p, h, w]);
    x.permute([0, 1, 4, 2, 5, 3]).reshape([b, c, h * p, w * p]) // [b c h p w p]
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Device;

    #[test]
    fn folding_places_pixels_as_pytorch_does_and_unfolding_restores_them() {
        let device = Device::flex();
        let values: Vec<f32> = (0..32).map(|i| i as f32).collect();
        let x = Tensor::<1>::from_floats(values.as_slice(), &device).reshape([1, 2, 4, 4]);
        let folded = fold(x, 2);
        assert_eq!(folded.dims(), [1, 8, 2, 2]);
        let y: Vec<f32> = folded.clone().into_data().try_to_vec().unwrap();
        // Channel 1 of pixel_unshuffle holds column offset 1 of image channel 0.
        assert_eq!(y[4..8], [1.0, 3.0, 9.0, 11.0]);
        assert_eq!(unfold(folded, 2).into_data().try_to_vec::<f32>().unwrap(), values);
    }

    /// Mutants: the map before the sample, its axes exchanged, another sample's map.
    #[test]
    fn a_map_stands_behind_the_channels_of_its_sample() {
        use base::{Dense, Shape};
        let device = Device::flex();
        let condition = crate::ConditionConfig { dense: 2, ..Default::default() };
        let config = UnetConfig { channels: 4, groups: 2, multipliers: vec![1], condition, ..UnetConfig::default() };
        let net = config.init(1, [1, 2, 3], 0, &device).unwrap();
        let count = |from: i32, to: i32| (from..to).map(|i| i as f32).collect::<Vec<f32>>();
        let rows = Tensor::<1>::from_floats(count(0, 24).as_slice(), &device).reshape([2, 12]);
        let map = Condition { dense: Some(Dense { rows, shape: Shape::from([2, 2, 3]) }), ..Condition::none() };
        let x = Tensor::<1>::from_floats(count(100, 112).as_slice(), &device).reshape([2, 1, 2, 3]);
        let both = net.with_map(x.clone(), &map);
        assert_eq!(both.dims(), [2, 3, 2, 3]);
        let values: Vec<f32> = both.into_data().try_to_vec().unwrap();
        let want = [count(100, 106), count(0, 12), count(106, 112), count(12, 24)].concat();
        assert_eq!(values, want);
        let alone: Vec<f32> = net.with_map(x, &Condition::none()).into_data().try_to_vec().unwrap();
        assert_eq!(alone, [count(100, 106), vec![0.0; 12], count(106, 112), vec![0.0; 12]].concat());
    }

    /// Mutants: the map added unlowered; softplus without its rest; another sample's map; a bound that overflows.
    #[test]
    fn a_bounded_output_is_a_mask_on_the_map() {
        use base::{Dense, Shape};
        let device = Device::flex();
        let condition = crate::ConditionConfig { dense: 1, ..Default::default() };
        let config = UnetConfig {
            channels: 4,
            groups: 2,
            multipliers: vec![1],
            condition,
            bounded: true,
            ..UnetConfig::default()
        };
        let net = config.init(1, [1, 2, 2], 0, &device).unwrap();
        let map = [3.0f32, -2.0, 0.5, 7.0, 1.0, 1.0, 1.0, 1.0];
        let rows = Tensor::<1>::from_floats(map, &device).reshape([2, 4]);
        let condition = Condition { dense: Some(Dense { rows, shape: Shape::from([1, 2, 2]) }), ..Condition::none() };
        let said = [0.0f32, 1.0, -1.0, 200.0, -200.0, 3.0, -3.0, 0.5];
        let y = Tensor::<1>::from_floats(said, &device).reshape([2, 1, 2, 2]);
        let got: Vec<f32> = net.below_map(y, &condition).into_data().try_to_vec().unwrap();
        for ((got, map), y) in got.iter().zip(map).zip(said) {
            // The magnitude under the map's is the sigmoid of minus what the network says.
            let mask = 1.0 / (1.0 + f64::from(y).exp());
            assert!((f64::from(*got) - (f64::from(map) + mask.max(1e-300).ln())).abs() < 1e-4, "{got} {map} {y}");
        }
        // Fresh weights end in zeros: half of the mixture, whatever the noise.
        let x = Tensor::<4>::ones([2, 1, 2, 2], &device);
        let fresh = net.predict(x, Tensor::zeros([2], &device), &condition, &Pass::Infer);
        let fresh: Vec<f32> = fresh.into_data().try_to_vec().unwrap();
        assert!(fresh.iter().zip(map).all(|(got, map)| (got - map + 2f32.ln()).abs() < 1e-5), "{fresh:?}");
        let refused = UnetConfig { condition: crate::ConditionConfig::default(), ..config };
        assert!(refused.init(1, [1, 2, 2], 0, &device).unwrap_err().to_string().contains("condition.dense is 0"));
    }
}
