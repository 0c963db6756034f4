//! FlowSep's checkpoint (Yuan et al., 2024, arXiv:2409.07614): a U-Net that hears one sound's latent in a mixture's, the codec of mel pictures,
//! the text encoder and the vocoder, each under the names of its authors' program.
//!
//! | names begin with | are |
//! |---|---|
//! | `model_ema.diffusion_model` (no dots behind it), else `model.diffusion_model.` | the U-Net's averages, else its weights: latent diffusion's names, two transformers at a place, the first of pixels alone |
//! | `first_stage_model.` | the codec; `.vocoder.` in it BigVGAN, weight normalisation folded |
//! | `cond_stage_models.0.model.` | FLAN-T5's encoder |
//! | `scale_factor` | what latents are multiplied by |
//!
//! Times run as in this project, noise at 0, and the network is told them as they are, not in thousandths.

use crate::autoencoder::Autoencoder;
use crate::single::{Layout, Map, autoencoder, count, shapes};
use crate::text::T5;
use crate::text_unet::TextUnet;
use crate::weights::{Part, Renamed, TensorSource};
use crate::{BigVgan, BigVganConfig, NetsError};
use base::{Device, Tensor};
use std::collections::{BTreeMap, BTreeSet};

const NETWORK: &str = "model.diffusion_model.";
const AVERAGES: &str = "model_ema.diffusion_model";
const CODEC: &str = "first_stage_model.";
const VOCODER: &str = "first_stage_model.vocoder.";
const TEXT: &str = "cond_stage_models.0.model.";
const SCALE: &str = "scale_factor";

/// The networks of a checkpoint.
#[derive(Debug)]
pub struct FlowSep {
    /// Latents, the mixture's behind the noisy one's, to the velocity.
    pub unet: TextUnet,
    /// Mel pictures to latents and back.
    pub codec: Autoencoder,
    /// Words to tokens, where the checkpoint holds it.
    pub text: Option<T5>,
    /// Mel pictures to waveforms, where the checkpoint holds it.
    pub vocoder: Option<BigVgan>,
    /// Tensors of nothing that is computed here: schedules, discriminators, counters.
    pub passed_over: Vec<String>,
}

impl FlowSep {
    /// Whether `source` has this layout.
    pub fn is_one<S: TensorSource + ?Sized>(source: &S) -> bool {
        let has = |name: String| source.shape(&name).is_some();
        has(format!("{NETWORK}middle_block.3.in_layers.0.weight")) && has(format!("{CODEC}decoder.conv_in.weight"))
    }

    /// Reads a checkpoint whose vocoder, if it holds one, has the sizes `vocoder`: how far it lengthens is not in the shapes of its weights.
    ///
    /// # Errors
    /// Tensors that are missing, too many or of another shape, each by name.
    pub fn load<S: TensorSource + ?Sized>(
        source: &S,
        vocoder: &BigVganConfig,
        device: &Device,
    ) -> Result<Self, NetsError> {
        let names: BTreeSet<String> = source.names().into_iter().collect();
        let behind = |place: &str| names.iter().any(|name| name.starts_with(place));
        let (unet, averaged) = network(source, &names, device)?;
        let codec = codec(source, &names, device)?;
        let text = behind(TEXT)
            .then(|| {
                let seen = stripped(source, TEXT, |_| true)?;
                shapes::t5(&seen)?.load(&seen, device)
            })
            .transpose()?;
        let vocoder = behind(VOCODER)
            .then(|| BigVgan::load(vocoder, &stripped(source, VOCODER, |_| true)?, device))
            .transpose()?;
        // Weights beside their averages are the same network earlier in its training, and no other.
        let read = |name: &str| {
            name.starts_with(NETWORK)
                || averaged && name.starts_with(AVERAGES)
                || [VOCODER, TEXT].iter().any(|place| name.starts_with(place))
                || name.strip_prefix(CODEC).is_some_and(of_codec)
                || name == SCALE
        };
        let passed_over = names.iter().filter(|name| !read(name)).cloned().collect();
        Ok(Self { unet, codec, text, vocoder, passed_over })
    }

    /// The velocity at noisy latents `x` `[b c h w]` of a target, heard in the latents `mixture` `[b c h w]`, at times `t` `[b]` in [0, 1];
    /// `text` `[b m e]` are the query's tokens without padding.
    pub fn velocity(&self, x: Tensor<4>, mixture: Tensor<4>, t: Tensor<1>, text: Tensor<3>) -> Tensor<4> {
        let channels = x.dims()[1];
        let answer = self.unet.forward(Tensor::cat(vec![x, mixture], 1), t, text, None);
        answer.narrow(1, 0, channels) // the rest was never trained
    }

    /// Mel pictures `[b 1 frames bands]` to latents as the flow sees them: the mean, where the authors' program draws.
    pub fn encode(&self, pictures: Tensor<4>) -> Tensor<4> {
        self.codec.scaled(self.codec.encode(pictures).mean)
    }

    /// Latents to mel pictures `[b 1 frames bands]`.
    pub fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        self.codec.decode(latents)
    }
}

/// The tensors behind `place` that are `wanted`, by what their names say behind it.
fn stripped<'a, S: TensorSource + ?Sized>(
    source: &'a S,
    place: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<Renamed<'a, S>, NetsError> {
    Renamed::new(source, |name| {
        let inside = name.strip_prefix(place).filter(|name| wanted(name));
        inside.map(|name| (name.to_owned(), Part::Whole)).into_iter().collect()
    })
}

/// The U-Net, and whether it was read from averages.
fn network<S: TensorSource + ?Sized>(
    source: &S,
    names: &BTreeSet<String>,
    device: &Device,
) -> Result<(TextUnet, bool), NetsError> {
    let inside: BTreeSet<String> =
        names.iter().filter_map(|name| name.strip_prefix(NETWORK)).map(str::to_owned).collect();
    // Averages are named without dots, so their names are told from those of the weights beside them.
    let short: BTreeMap<String, &String> =
        inside.iter().map(|name| (format!("{AVERAGES}{}", name.replace('.', "")), name)).collect();
    let averaged = short.keys().any(|name| names.contains(name));
    if let Some(missing) = short.keys().find(|name| averaged && !names.contains(*name)) {
        let problem = "is missing beside other averages; fetch the checkpoint again".to_owned();
        return Err(NetsError::Tensor { name: missing.clone(), problem });
    }
    let seen = Renamed::new(source, |name| {
        let theirs = if averaged { short.get(name).map(|name| name.as_str()) } else { name.strip_prefix(NETWORK) };
        theirs.map(|name| (name.to_owned(), Part::Whole)).into_iter().collect()
    })?;
    let mapped = Layout::Unet.map(&inside).apply(&seen)?;
    Ok((shapes::unet(&mapped, None)?.load(&mapped, device)?, averaged))
}

/// Whether a name behind [`CODEC`] is one of the codec's own.
fn of_codec(name: &str) -> bool {
    ["encoder.", "decoder.", "quant_conv.", "post_quant_conv."].iter().any(|place| name.starts_with(place))
}

fn codec<S: TensorSource + ?Sized>(
    source: &S,
    names: &BTreeSet<String>,
    device: &Device,
) -> Result<Autoencoder, NetsError> {
    let scale = source.read(SCALE)?.first().copied().unwrap_or(f32::NAN);
    let levels = count(names, &format!("{CODEC}decoder.up."));
    let seen = stripped(source, CODEC, of_codec)?;
    let mapped = Map::new(autoencoder(levels)).apply(&seen)?;
    shapes::autoencoder(&mapped, None, (f64::from(scale), None))?.load(&mapped, device)
}
