//! Networks and their weights: configuration beside each module, PyTorch tensor layouts and names.
//!
//! A [`NetConfig`] knows its cost before anything is allocated and becomes a [`Net`], which is a Burn module and a
//! [`base::Network`] over rows `[b n]`. No network here knows of solvers, losses or files; [`weights`] maps a module
//! to named tensors and back.
//!
//! ```
//! use base::{Condition, Device, Network, Pass, Tensor};
//! use nets::{NetConfig, UnetConfig};
//!
//! let device = Device::flex();
//! let config = NetConfig::Unet(UnetConfig { channels: 16, ..UnetConfig::default() });
//! let net = config.init(7, [1, 8, 8], 10, &device)?;
//! let x = Tensor::<2>::ones([2, 64], &device);
//! let t = Tensor::<1>::from_floats([0.25, 0.75], &device);
//! let v = net.predict(x, t, &Condition::classes(&[3, base::NULL_CLASS], &device), &Pass::Infer);
//! assert_eq!(v.dims(), [2, 64]);
//! # Ok::<(), nets::NetsError>(())
//! ```

pub mod autoencoder;
pub mod clip_codec;
pub mod condition;
pub mod cost;
pub mod dinov2;
pub mod dit;
pub mod error;
pub mod flow_sep;
pub mod flux;
pub mod flux2;
pub mod init;
pub mod layers;
pub mod lora;
pub mod mlp;
pub mod mmdit;
mod names;
pub mod net;
mod patches;
pub mod precise;
pub mod published;
pub mod recompute;
pub mod released;
pub mod reward;
pub mod rotary;
pub mod shape;
pub mod single;
pub mod text;
pub mod text_unet;
pub mod triflow;
pub mod triplane;
pub mod triposg;
pub mod unet;
pub mod vocoder;
pub mod wan;
pub mod weights;
pub mod z_image;

pub use autoencoder::{Autoencoder, AutoencoderConfig, PatchedConfig};
pub use clip_codec::{ClipCodec, ClipCodecConfig};
pub use condition::ConditionConfig;
pub use cost::Cost;
pub use dinov2::{Dinov2, Dinov2Config};
pub use dit::{Dit, DitConfig, Positions};
pub use error::NetsError;
pub use flow_sep::FlowSep;
pub use flux::{Flux, FluxConfig, QwenImageConfig};
pub use flux2::{Flux2, Flux2Config};
pub use init::Init;
pub use lora::LoraConfig;
pub use mlp::{Mlp, MlpConfig};
pub use mmdit::{JointDit, JointDitConfig, Mmdit, MmditConfig};
pub use net::{Net, NetConfig};
pub use precise::Precise;
pub use recompute::Recomputing;
pub use released::{Released, ReleasedConfig};
pub use reward::{Reward, RewardConfig};
pub use shape::{ExpertsConfig, EyeConfig, SetTransformer, SetTransformerConfig, ShapeCodec, ShapeCodecConfig};
pub use text::TextEncoder;
pub use text_unet::{TextUnet, TextUnetConfig};
pub use triflow::{Triflow, TriflowConfig};
pub use triplane::{Lrm, LrmConfig};
pub use triposg::{TripoSg, TripoSgConfig, TripoSgDecoder, TripoSgVaeConfig};
pub use unet::{Resampling, Unet, UnetConfig};
pub use vocoder::{BigVgan, BigVganConfig, HifiGan, HifiGanConfig, Vocoder};
pub use wan::{Wan, WanConfig};
pub use z_image::{ZImage, ZImageConfig};

/// Every paper that a network or an encoder here is from.
pub fn papers() -> Vec<base::Paper> {
    let networks =
        [base::paper::DDPM, unet::ADM, dit::DIT, base::paper::SD3, shape::TRIPOSG, triflow::TRIFLOW, flux::FLUX];
    let parts = [shape::SWITCH];
    let encoders = [dinov2::DINOV2, lora::LORA, text::MINILM, text::SENTENCES];
    let released = [wan::WAN, z_image::Z_IMAGE, flux::QWEN_IMAGE, flux2::FLUX2];
    networks.into_iter().chain(parts).chain(encoders).chain(released).collect()
}
