//! A released model's autoencoder as a codec: its weights as they are, latents shifted and scaled as its own network reads them.

use super::{Codec, CodecConfig, CodecRecipe, KlConfig, Moments};
use crate::{
    Error,
    device::Chosen,
    release::{Release, fingerprint, marked},
};
use base::Shape;
use data::DataConfig;
use nets::AutoencoderConfig;
use std::path::Path;

/// The autoencoder of the model in `place`, for pictures of `data`'s size.
///
/// # Errors
/// A model without one, weights that do not fit; pictures of no size, or of one that cannot be halved so often.
pub(super) fn open(place: &Path, data: &DataConfig, device: &Chosen) -> Result<Codec, Error> {
    let model = Release::open(place, None)?;
    let part = model.part("vae", &["AutoencoderKL"])?;
    let config: AutoencoderConfig = part.config(&mut |_| ())?;
    let side = data.size.ok_or_else(|| {
        let place = place.display();
        Error::Usage(format!("codec {place}: a released autoencoder reads pictures of any size; set data.size to one"))
    })?;
    let sample = Shape::from([config.in_channels, side, side]);
    let sizes = KlConfig {
        channels: config.block_out_channels.clone(),
        blocks: config.layers_per_block,
        groups: config.norm_num_groups,
        attention: config.mid_block_add_attention,
        latent_channels: config.latent_channels,
        quant: config.use_quant_conv,
        ..KlConfig::default()
    };
    let latent = sizes.latent(sample)?;
    let (net, weights) = part
        .weights("diffusion_pytorch_model", |source| Ok((config.load(source, &device.device)?, fingerprint(source))))?;
    // Scale and shift are settings and no weights.
    let identity = marked(&[weights, format!("{config:?}")]);
    let coder = sizes.around(net, sample)?;
    let recipe = CodecRecipe {
        name: "released".into(),
        data: data.clone(),
        codec: CodecConfig::Autoencoder(sizes),
        ..CodecRecipe::default()
    };
    Ok(Codec {
        coder,
        recipe,
        sample,
        latent,
        moments: Moments::none(latent),
        file: part.path().to_path_buf(),
        identity,
    })
}
