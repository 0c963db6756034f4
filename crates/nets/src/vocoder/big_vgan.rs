//! BigVGAN's generator (Lee et al., 2023, arXiv:2206.04658): HiFi-GAN's shape with anti-aliased snakes for activations, in the layout of
//! its authors: `bigvgan_generator` with weights under weight normalisation, which is folded in as they are read.

use super::layers::{Conv1d, ConvTranspose1d};
use super::snake::Snake;
use crate::NetsError;
use crate::init::Init;
use crate::net::positive;
use crate::published::{Published, only};
use crate::weights::{Folded, Part, Renamed, Strict, TensorSource, load};
use base::{Device, Tensor};
use burn::module::Module;
use serde::{Deserialize, Serialize};

/// Sizes of a [`BigVgan`], under the names of its published config.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BigVganConfig {
    /// Kind of its residual blocks; "1".
    pub resblock: String,
    /// By how much each transposed convolution lengthens the signal.
    pub upsample_rates: Vec<usize>,
    /// Window of each of them.
    pub upsample_kernel_sizes: Vec<usize>,
    /// Channels before the first lengthening; each halves them.
    pub upsample_initial_channel: usize,
    /// Windows of the residual blocks after each.
    pub resblock_kernel_sizes: Vec<usize>,
    /// Dilations within each residual block.
    pub resblock_dilation_sizes: Vec<Vec<usize>>,
    /// "snakebeta", or "snake", whose height is one over its frequency.
    pub activation: String,
    /// Whether frequencies and heights are stored as logarithms.
    pub snake_logscale: bool,
    /// The hyperbolic tangent at the end, or samples cut off at -1 and 1.
    pub use_tanh_at_final: bool,
    /// Whether the last convolution has a bias.
    pub use_bias_at_final: bool,
    /// Bands of the mel picture.
    pub num_mels: usize,
    /// Samples of the waveform to a second.
    pub sampling_rate: u32,
    /// Samples of the picture's window.
    pub n_fft: usize,
    /// Its lowest frequency.
    pub fmin: f64,
    /// Its highest; half of the rate where absent.
    pub fmax: Option<f64>,
}

impl Default for BigVganConfig {
    /// That of FlowSep: 64 bands at 16 kHz, hop 160.
    fn default() -> Self {
        Self {
            resblock: "1".into(),
            upsample_rates: vec![5, 4, 2, 2, 2],
            upsample_kernel_sizes: vec![16, 16, 8, 4, 4],
            upsample_initial_channel: 512,
            resblock_kernel_sizes: vec![3, 7, 11],
            resblock_dilation_sizes: vec![vec![1, 3, 5]; 3],
            activation: "snakebeta".into(),
            snake_logscale: true,
            use_tanh_at_final: true,
            use_bias_at_final: true,
            num_mels: 64,
            sampling_rate: 16_000,
            n_fft: 1024,
            fmin: 0.0,
            fmax: None,
        }
    }
}

impl Published for BigVganConfig {
    // How it was trained, and what the rates and the window already say.
    const IDLE: &'static [&'static str] = &[
        "hop_size",
        "win_size",
        "segment_size",
        "seed",
        "num_gpus",
        "num_workers",
        "num_freq",
        "batch_size",
        "learning_rate",
        "adam_b1",
        "adam_b2",
        "lr_decay",
        "clip_grad_norm",
        "lambda_melloss",
        "use_multiscale_melloss",
        "fmax_for_loss",
        "normalize_volume",
        "resolutions",
        "mpd_reshapes",
        "use_spectral_norm",
        "discriminator_channel_mult",
        "use_cqtd_instead_of_mrd",
        "cqtd_filters",
        "cqtd_max_filters",
        "cqtd_filters_scale",
        "cqtd_dilations",
        "cqtd_hop_lengths",
        "cqtd_n_octaves",
        "cqtd_bins_per_octaves",
        "dist_config",
    ];

    fn check(&self) -> Result<(), NetsError> {
        only("resblock", &self.resblock.as_str(), &["1"])?;
        only("activation", &self.activation.as_str(), &["snakebeta", "snake"])?;
        positive("num_mels", self.num_mels)?;
        positive("upsample_rates (their number)", self.upsample_rates.len())?;
        let (rates, windows) = (&self.upsample_rates, &self.upsample_kernel_sizes);
        if rates.len() != windows.len() || rates.iter().zip(windows).any(|(rate, window)| *rate == 0 || window < rate) {
            return Err(NetsError::config(format!(
                "upsample_kernel_sizes {windows:?} and upsample_rates {rates:?}: each rate needs a window at least as long"
            )));
        }
        if rates.len() > 16 || self.upsample_initial_channel >> rates.len() == 0 {
            return Err(NetsError::config(format!(
                "upsample_initial_channel is {}, which {} halvings leave without channels",
                self.upsample_initial_channel,
                rates.len()
            )));
        }
        let (windows, dilations) = (&self.resblock_kernel_sizes, &self.resblock_dilation_sizes);
        let full = |dilations: &Vec<usize>| !dilations.is_empty() && dilations.iter().all(|d| *d > 0);
        let odd = !windows.is_empty() && windows.iter().all(|window| window % 2 == 1);
        match odd && windows.len() == dilations.len() && dilations.iter().all(full) {
            true => Ok(()),
            false => Err(NetsError::config(format!(
                "resblock_kernel_sizes {windows:?} and resblock_dilation_sizes {dilations:?}: windows must be odd, each with its \
                 list of dilations"
            ))),
        }
    }
}

impl BigVganConfig {
    /// Samples that one column of the picture becomes.
    pub fn stride(&self) -> usize {
        self.upsample_rates.iter().product()
    }

    fn snake(&self, init: &Init, channels: usize) -> Snake {
        Snake::new(init, channels, self.activation == "snakebeta", self.snake_logscale)
    }
}

/// Two convolutions for each dilation, a snake before each, each pair with a shortcut (the paper calls it an AMP block).
#[derive(Module, Debug)]
struct AmpBlock {
    convs1: Vec<Conv1d>,
    convs2: Vec<Conv1d>,
    /// Of the first and the second convolution in turn.
    activations: Vec<Snake>,
}

impl AmpBlock {
    fn new(init: &Init, config: &BigVganConfig, channels: usize, window: usize, dilations: &[usize]) -> Self {
        let conv = |place: &str, i: usize, dilation| {
            Conv1d::new(&init.child(place).child(i), channels, channels, window, dilation)
        };
        let snake = |i: usize| config.snake(&init.child("activations").child(i), channels);
        Self {
            convs1: dilations.iter().enumerate().map(|(i, d)| conv("convs1", i, *d)).collect(),
            convs2: (0..dilations.len()).map(|i| conv("convs2", i, 1)).collect(),
            activations: (0..2 * dilations.len()).map(snake).collect(),
        }
    }

    /// Same shape as `x` `[b c l]`.
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let pairs = self.convs1.iter().zip(&self.convs2).zip(self.activations.chunks_exact(2));
        pairs.fold(x, |x, ((first, second), snakes)| {
            let y = first.forward(snakes[0].forward(x.clone()));
            x + second.forward(snakes[1].forward(y))
        })
    }
}

/// The generator.
#[derive(Module, Debug)]
pub struct BigVgan {
    conv_pre: Conv1d,
    ups: Vec<ConvTranspose1d>,
    resblocks: Vec<AmpBlock>,
    activation_post: Snake,
    conv_post: Conv1d,
    tanh: bool,
}

impl BigVgan {
    /// With random weights that are a function of `seed` and their names.
    ///
    /// # Errors
    /// As [`Published::check`].
    pub fn new(config: &BigVganConfig, seed: u64, device: &Device) -> Result<Self, NetsError> {
        config.check()?;
        let init = Init::new(seed, device);
        let width = |level: usize| config.upsample_initial_channel >> level;
        let last = width(config.upsample_rates.len());
        let strides = config.upsample_rates.iter().zip(&config.upsample_kernel_sizes).enumerate();
        let ups = strides.map(|(i, (rate, window))| {
            ConvTranspose1d::new(&init.child("ups").child(i), width(i), width(i + 1), *window, *rate)
        });
        let windows = config.resblock_kernel_sizes.iter().zip(&config.resblock_dilation_sizes);
        let levels = 1..=config.upsample_rates.len();
        let blocks = levels.flat_map(|level| windows.clone().map(move |(window, d)| (width(level), *window, d)));
        let resblocks = blocks.enumerate().map(|(i, (width, window, dilations))| {
            AmpBlock::new(&init.child("resblocks").child(i), config, width, window, dilations)
        });
        let conv_post = Conv1d::new(&init.child("conv_post"), last, 1, 7, 1);
        Ok(Self {
            conv_pre: Conv1d::new(&init.child("conv_pre"), config.num_mels, width(0), 7, 1),
            ups: ups.collect(),
            resblocks: resblocks.collect(),
            activation_post: config.snake(&init.child("activation_post"), last),
            conv_post: if config.use_bias_at_final { conv_post } else { conv_post.unbiased() },
            tanh: config.use_tanh_at_final,
        })
    }

    /// Reads published weights, weight normalisation folded in or not.
    ///
    /// # Errors
    /// As [`Published::check`]; tensors that are missing, too many or of another shape.
    pub fn load<S: TensorSource + ?Sized>(
        config: &BigVganConfig,
        source: &S,
        device: &Device,
    ) -> Result<Self, NetsError> {
        let folded = Folded::new(source);
        let renamed = Renamed::new(&folded, |theirs| {
            if theirs.ends_with(".filter") {
                return Vec::new(); // the low-pass, which is the same in all of them
            }
            let mut name = theirs.replace(".act.", ".");
            // `ups.3.0` of a list within a list.
            if let Some(("ups", rest)) = theirs.split_once('.') {
                name = format!("ups.{}", rest.replacen(".0.", ".", 1));
            }
            vec![(name, Part::Whole)]
        })?;
        load(Self::new(config, 0, device)?, &renamed, Strict::Exact)
    }

    /// A log-mel picture `[b frames bands]` to its waveform `[b samples]` in [-1, 1].
    pub fn forward(&self, picture: Tensor<3>) -> Tensor<2> {
        let mut x = self.conv_pre.forward(picture.swap_dims(1, 2)); // [b c frames]
        let together = self.resblocks.len() / self.ups.len();
        for (up, blocks) in self.ups.iter().zip(self.resblocks.chunks(together)) {
            x = up.forward(x);
            let sum = blocks.iter().map(|block| block.forward(x.clone())).reduce(|sum, y| sum + y);
            x = sum.map_or(x, |sum| sum / blocks.len() as f64);
        }
        let x = self.conv_post.forward(self.activation_post.forward(x)); // [b 1 samples]
        let x = if self.tanh { x.tanh() } else { x.clamp(-1.0, 1.0) };
        let [b, _, samples] = x.dims();
        x.reshape([b, samples])
    }
}
