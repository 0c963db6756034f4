//! HiFi-GAN's generator (Kong, Kim and Bae, 2020, arXiv:2010.05646): from a mel picture to its waveform, in the layout of
//! `SpeechT5HifiGan` in `transformers`, as AudioLDM has it.
//!
//! Transposed convolutions lengthen the signal by the product of their strides (the hop of the picture); after each, residual
//! blocks of several windows and dilations are averaged ("multi-receptive field fusion", sec. 2.2).

use super::layers::{Conv1d, ConvTranspose1d};
use crate::NetsError;
use crate::init::Init;
use crate::net::positive;
use crate::weights::{Strict, TensorSource, load};
use base::{Device, Tensor};
use burn::module::{Module, Param};
use burn::tensor::activation::leaky_relu;
use serde::{Deserialize, Serialize};

/// The slope below zero before the last convolution, PyTorch's default: the published code does not give its own there.
const LAST_SLOPE: f64 = 0.01;

/// Sizes of a [`HifiGan`], under the names of its published config.json; other keys of that file are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HifiGanConfig {
    /// Bands of the mel picture.
    pub model_in_dim: usize,
    /// Samples of the waveform to a second.
    pub sampling_rate: u32,
    /// Channels before the first lengthening; each halves them.
    pub upsample_initial_channel: usize,
    /// By how much each transposed convolution lengthens the signal.
    pub upsample_rates: Vec<usize>,
    /// Window of each of them.
    pub upsample_kernel_sizes: Vec<usize>,
    /// Windows of the residual blocks after each.
    pub resblock_kernel_sizes: Vec<usize>,
    /// Dilations within each residual block.
    pub resblock_dilation_sizes: Vec<Vec<usize>>,
    /// Slope of the activations below zero.
    pub leaky_relu_slope: f64,
    /// Whether pictures are brought to mean 0 and scale 1 first, by the stored `mean` and `scale`.
    pub normalize_before: bool,
}

impl Default for HifiGanConfig {
    /// That of AudioLDM: 64 bands at 16 kHz, hop 160.
    fn default() -> Self {
        Self {
            model_in_dim: 64,
            sampling_rate: 16_000,
            upsample_initial_channel: 1024,
            upsample_rates: vec![5, 4, 2, 2, 2],
            upsample_kernel_sizes: vec![16, 16, 8, 4, 4],
            resblock_kernel_sizes: vec![3, 7, 11],
            resblock_dilation_sizes: vec![vec![1, 3, 5]; 3],
            leaky_relu_slope: 0.1,
            normalize_before: false,
        }
    }
}

impl HifiGanConfig {
    /// Ranges.
    ///
    /// # Errors
    /// Names the key, its value and its range.
    pub fn check(&self) -> Result<(), NetsError> {
        let (rates, windows) = (&self.upsample_rates, &self.upsample_kernel_sizes);
        positive("vocoder.model_in_dim", self.model_in_dim)?;
        positive("vocoder.upsample_rates (their number)", rates.len())?;
        positive("vocoder.resblock_kernel_sizes (their number)", self.resblock_kernel_sizes.len())?;
        if rates.len() != windows.len() || rates.iter().zip(windows).any(|(rate, window)| *rate == 0 || window < rate) {
            return Err(NetsError::config(format!(
                "vocoder.upsample_kernel_sizes {windows:?} and upsample_rates {rates:?}: give each rate a window at least as long"
            )));
        }
        if rates.len() > 16 || self.upsample_initial_channel >> rates.len() == 0 {
            return Err(NetsError::config(format!(
                "vocoder.upsample_initial_channel is {}, which {} halvings leave without channels",
                self.upsample_initial_channel,
                rates.len()
            )));
        }
        positive("vocoder.upsample_initial_channel", self.upsample_initial_channel)?;
        let odd = self.resblock_kernel_sizes.iter().all(|window| window % 2 == 1);
        let full = |dilations: &Vec<usize>| !dilations.is_empty() && dilations.iter().all(|d| *d > 0);
        let dilations = &self.resblock_dilation_sizes;
        if !odd || dilations.len() != self.resblock_kernel_sizes.len() || !dilations.iter().all(full) {
            return Err(NetsError::config(format!(
                "vocoder.resblock_kernel_sizes {:?} and resblock_dilation_sizes {dilations:?}: use odd windows and a list of \
                 dilations for each",
                self.resblock_kernel_sizes
            )));
        }
        Ok(())
    }

    /// Samples that one column of the picture becomes (the ends add a few where a window is not of its rate's parity).
    pub fn stride(&self) -> usize {
        self.upsample_rates.iter().product()
    }
}

/// Two convolutions for each dilation, the first dilated, each pair with a shortcut.
#[derive(Module, Debug)]
struct ResBlock {
    convs1: Vec<Conv1d>,
    convs2: Vec<Conv1d>,
    slope: f64,
}

impl ResBlock {
    fn new(init: &Init, channels: usize, window: usize, dilations: &[usize], slope: f64) -> Self {
        let conv = |place: &str, i: usize, dilation| {
            Conv1d::new(&init.child(place).child(i), channels, channels, window, dilation)
        };
        Self {
            convs1: dilations.iter().enumerate().map(|(i, d)| conv("convs1", i, *d)).collect(),
            convs2: (0..dilations.len()).map(|i| conv("convs2", i, 1)).collect(),
            slope,
        }
    }

    /// Same shape as `x` `[b c l]`.
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.convs1.iter().zip(&self.convs2).fold(x, |x, (first, second)| {
            let y = first.forward(leaky_relu(x.clone(), self.slope));
            x + second.forward(leaky_relu(y, self.slope))
        })
    }
}

/// The generator.
#[derive(Module, Debug)]
pub struct HifiGan {
    conv_pre: Conv1d,
    upsampler: Vec<ConvTranspose1d>,
    resblocks: Vec<ResBlock>,
    conv_post: Conv1d,
    /// Mean of each band, `[bands]`.
    mean: Param<Tensor<1>>,
    /// Scale of each band, `[bands]`.
    scale: Param<Tensor<1>>,
    slope: f64,
    normalize: bool,
}

impl HifiGan {
    /// With random weights that are a function of `seed` and their names.
    ///
    /// # Errors
    /// As [`HifiGanConfig::check`].
    pub fn new(config: &HifiGanConfig, seed: u64, device: &Device) -> Result<Self, NetsError> {
        config.check()?;
        let init = Init::new(seed, device);
        let widths: Vec<usize> =
            (0..=config.upsample_rates.len()).map(|i| config.upsample_initial_channel >> i).collect();
        let strides = config.upsample_rates.iter().zip(&config.upsample_kernel_sizes).enumerate();
        let upsampler = strides.map(|(i, (rate, window))| {
            ConvTranspose1d::new(&init.child("upsampler").child(i), widths[i], widths[i + 1], *window, *rate)
        });
        let windows = config.resblock_kernel_sizes.iter().zip(&config.resblock_dilation_sizes);
        let blocks = widths[1..].iter().flat_map(|width| windows.clone().map(move |(window, d)| (*width, *window, d)));
        let resblocks = blocks.enumerate().map(|(i, (width, window, dilations))| {
            ResBlock::new(&init.child("resblocks").child(i), width, window, dilations, config.leaky_relu_slope)
        });
        Ok(Self {
            conv_pre: Conv1d::new(&init.child("conv_pre"), config.model_in_dim, widths[0], 7, 1),
            upsampler: upsampler.collect(),
            resblocks: resblocks.collect(),
            conv_post: Conv1d::new(&init.child("conv_post"), widths[widths.len() - 1], 1, 7, 1),
            mean: init.child("mean").constant([config.model_in_dim], 0.0).set_require_grad(false),
            scale: init.child("scale").constant([config.model_in_dim], 1.0).set_require_grad(false),
            slope: config.leaky_relu_slope,
            normalize: config.normalize_before,
        })
    }

    /// The same with pictures of this `mean` and `scale` in every band, where it brings them to 0 and 1 first.
    #[must_use]
    pub fn centred(self, mean: f32, scale: f32) -> Self {
        let all = |param: &Param<Tensor<1>>, value: f32| {
            let full = Tensor::full(param.val().dims(), value, &param.val().device());
            Param::from_tensor(full).set_require_grad(false)
        };
        Self { mean: all(&self.mean, mean), scale: all(&self.scale, scale), ..self }
    }

    /// Reads published weights (weight normalisation already folded in, as `save_pretrained` writes them).
    ///
    /// # Errors
    /// As [`HifiGanConfig::check`]; tensors that are missing, too many or of another shape.
    pub fn load<S: TensorSource + ?Sized>(
        config: &HifiGanConfig,
        source: &S,
        device: &Device,
    ) -> Result<Self, NetsError> {
        load(Self::new(config, 0, device)?, source, Strict::Exact)
    }

    /// A log-mel picture `[b frames bands]` to its waveform `[b samples]` in [-1, 1].
    pub fn forward(&self, picture: Tensor<3>) -> Tensor<2> {
        let x = match self.normalize {
            true => (picture - self.mean.val().unsqueeze()) / self.scale.val().unsqueeze(),
            false => picture,
        };
        let mut x = self.conv_pre.forward(x.swap_dims(1, 2)); // [b c frames]
        let together = self.resblocks.len() / self.upsampler.len();
        for (upsample, blocks) in self.upsampler.iter().zip(self.resblocks.chunks(together)) {
            x = upsample.forward(leaky_relu(x, self.slope));
            let sum = blocks.iter().map(|block| block.forward(x.clone())).reduce(|sum, y| sum + y);
            x = sum.map_or(x, |sum| sum / blocks.len() as f64);
        }
        let x = self.conv_post.forward(leaky_relu(x, LAST_SLOPE)).tanh(); // [b 1 samples]
        let [b, _, samples] = x.dims();
        x.reshape([b, samples])
    }
}
