//! A released model on disk, and what a training needs of it: a folder in diffusers' layout or a single file, opened as it came from its
//! authors; its prompts read by its own encoders, its network in this project's frame, its autoencoder as a codec.
//!
//! A folder says what it is in `model_index.json`; each part is read from its own folder by its own configuration. Drawing is
//! [`released`](crate::released), a floor up.

mod chat;
mod diffusion;
pub(crate) mod folder;
mod model;
mod network;
pub(crate) mod part;
mod recipe;
pub(crate) mod single;
mod text;
mod times;

pub use diffusion::Diffusion;
pub use folder::Folder;
pub use model::Release;
pub(crate) use network::{Beneath, beneath, fingerprint, marked, sizes};
pub use recipe::{correcting, layered, recipe};
pub use text::{Asked, encode};
pub use times::{multistep, schedule};
pub(crate) use times::{solver as flow_solver, wan as wan_scheduler};

use crate::Error;
use single::network_of;
use std::path::Path;

/// Models this program draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Stable Diffusion 3, 3.5 medium and large.
    Sd3,
    /// FLUX.1 schnell and dev.
    Flux,
    /// InstaFlow and 2-rectified flow on Stable Diffusion 1.5's parts.
    InstaFlow,
    /// Stable Diffusion 1.x and 2.x.
    StableDiffusion,
    /// Wan 2.1, clips from text.
    Wan,
    /// Z-Image and Z-Image-Turbo.
    ZImage,
    /// Qwen-Image.
    QwenImage,
    /// FLUX.2-klein, and its base model.
    Flux2 {
        /// Whether few steps and the guidance were distilled into it, as `model_index.json` says (`is_distilled`).
        distilled: bool,
    },
}

impl Family {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sd3 => "Stable Diffusion 3",
            Self::Flux => "FLUX",
            Self::InstaFlow => "InstaFlow",
            Self::StableDiffusion => "Stable Diffusion",
            Self::Wan => "Wan",
            Self::ZImage => "Z-Image",
            Self::QwenImage => "Qwen-Image",
            Self::Flux2 { .. } => "FLUX.2-klein",
        }
    }

    /// What guidance leads away from where nobody says: the empty prompt, which Qwen-Image's authors write as a space.
    pub fn silence(self) -> &'static str {
        if self == Self::QwenImage { " " } else { "" }
    }

    /// What `model_index.json` calls a model's pipeline.
    ///
    /// # Errors
    /// A pipeline that is not drawn from here, with those that are.
    pub fn of(folder: &Folder) -> Result<Self, Error> {
        match folder.class() {
            "StableDiffusion3Pipeline" => Ok(Self::Sd3),
            "FluxPipeline" => Ok(Self::Flux),
            "RectifiedFlowPipeline" => Ok(Self::InstaFlow),
            "StableDiffusionPipeline" | "LatentConsistencyModelPipeline" => Ok(Self::StableDiffusion),
            "WanPipeline" if folder.has("transformer_2") => Err(Error::Failure(format!(
                "{}: it has a second network for the low noise levels (`transformer_2`), as Wan 2.2 does; Wan 2.1, which has one, is drawn from",
                folder.path().join(folder::INDEX).display()
            ))),
            "WanPipeline" => Ok(Self::Wan),
            "ZImagePipeline" => Ok(Self::ZImage),
            "QwenImagePipeline" => Ok(Self::QwenImage),
            "Flux2KleinPipeline" => Ok(Self::Flux2 { distilled: folder.is_set("is_distilled") }),
            "WanImageToVideoPipeline" => Err(Error::Failure(format!(
                "{}: it draws clips from a picture, which it reads through an encoder that is not built here; Wan's text-to-video models \
                 (WanPipeline) are drawn from",
                folder.path().join(folder::INDEX).display()
            ))),
            other if folder.has("image_encoder_dinov2") => Err(Error::Failure(format!(
                "{}: it is a {other}, which draws shapes of pictures: `sample --image`, `plan` and `inspect` take it, this does not",
                folder.path().join(folder::INDEX).display()
            ))),
            other => Err(Error::Failure(format!(
                "{}: it is a {other}; StableDiffusion3Pipeline, FluxPipeline, Flux2KleinPipeline, StableDiffusionPipeline, \
                 LatentConsistencyModelPipeline, RectifiedFlowPipeline, WanPipeline, ZImagePipeline and QwenImagePipeline can be drawn from",
                folder.path().join(folder::INDEX).display()
            ))),
        }
    }
}

/// Whether `path` is a released model's folder or single file rather than a run or a checkpoint.
pub fn is_released(path: &Path) -> bool {
    // Nothing else here is kept in GGUF, so that a damaged file is told as such.
    let gguf = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"));
    path.join(folder::INDEX).is_file() || gguf || single::Single::is_one(path)
}

/// Whether `path` is a file of weights by its ending that cannot be opened: opening it says why.
pub fn is_damaged(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    let weights = ["safetensors", "ckpt", "pt", "bin"].iter().any(|known| ending == *known);
    weights && path.is_file() && nets::weights::Stored::open(path).is_err()
}

/// A family's parts with weights, the classes they may have, and what their weights are called in a folder.
pub(crate) fn weighty(family: Family) -> Vec<(&'static str, &'static [&'static str], &'static str)> {
    const CODEC: (&str, &[&str], &str) = ("vae", &["AutoencoderKL"], "diffusion_pytorch_model");
    const CLIP: &[&str] = &["CLIPTextModel", "CLIPTextModelWithProjection"];
    const T5: &[&str] = &["T5EncoderModel"];
    const READER: (&str, &[&str], &str) = ("text_encoder", &chat::CLASSES, "model");
    if family == Family::QwenImage {
        return vec![
            ("transformer", &["QwenImageTransformer2DModel"], "diffusion_pytorch_model"),
            ("vae", &["AutoencoderKLQwenImage"], "diffusion_pytorch_model"),
            READER,
        ];
    }
    if matches!(family, Family::Flux2 { .. }) {
        return vec![
            ("transformer", &["Flux2Transformer2DModel"], "diffusion_pytorch_model"),
            ("vae", &["AutoencoderKLFlux2"], "diffusion_pytorch_model"),
            READER,
        ];
    }
    if family == Family::ZImage {
        return vec![("transformer", &["ZImageTransformer2DModel"], "diffusion_pytorch_model"), CODEC, READER];
    }
    if family == Family::Wan {
        return vec![
            ("transformer", &["WanTransformer3DModel"], "diffusion_pytorch_model"),
            ("vae", &["AutoencoderKLWan"], "diffusion_pytorch_model"),
            ("text_encoder", &["UMT5EncoderModel"], "model"),
        ];
    }
    let network: &[&str] = match family {
        Family::Sd3 => &["SD3Transformer2DModel"],
        Family::Flux => &["FluxTransformer2DModel"],
        _ => &["UNet2DConditionModel"],
    };
    let mut parts =
        vec![(network_of(family), network, "diffusion_pytorch_model"), CODEC, ("text_encoder", CLIP, "model")];
    match family {
        Family::Sd3 => parts.extend([("text_encoder_2", CLIP, "model"), ("text_encoder_3", T5, "model")]),
        Family::Flux => parts.push(("text_encoder_2", T5, "model")),
        _ => {}
    }
    parts
}
