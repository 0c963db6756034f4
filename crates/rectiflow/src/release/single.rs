//! A single file that holds a released network, alone or with its text encoders and its autoencoder: what is in it is told from the
//! names of its tensors, and its configuration from their shapes.
//!
//! Networks stand bare or behind `model.diffusion_model.`, autoencoders behind `first_stage_model.` or `vae.`, text encoders behind
//! `text_encoders.clip_l.transformer.` and so on, or `cond_stage_model.transformer.` in Stable Diffusion 1.

use super::{Family, folder::at};
use crate::Error;
use nets::{
    AutoencoderConfig, FluxConfig, MmditConfig, NetsError, TextUnetConfig,
    published::Published,
    single::{Layout, Map, autoencoder, count, shapes},
    text::{ClipConfig, T5Config},
    weights::{Renamed, Stored, TensorSource},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Where networks stand.
const NETWORK: [&str; 2] = ["model.diffusion_model.", ""];
/// Where autoencoders stand.
const CODEC: [&str; 2] = ["first_stage_model.", "vae."];
/// Where text encoders stand, by the encoder.
const CLIP_L: [&str; 2] = ["text_encoders.clip_l.transformer.", "cond_stage_model.transformer."];
const CLIP_G: [&str; 1] = ["text_encoders.clip_g.transformer."];
/// CLIP's projection. Files carry it wherever they carry CLIP, and only SD3 reads what it makes.
const PROJECTION: &str = "text_projection.weight";
const T5: [&str; 1] = ["text_encoders.t5xxl.transformer."];

/// A file's tensors and what they are.
#[derive(Debug)]
pub(crate) struct Single {
    stored: Stored,
    family: Family,
    held: BTreeMap<&'static str, Held>,
    /// Tensors of nothing that is drawn with.
    others: Vec<String>,
}

/// A part that the file holds.
#[derive(Debug)]
struct Held {
    prefix: &'static str,
    map: Option<Map>,
}

impl Single {
    /// Opens a file.
    ///
    /// # Errors
    /// One that cannot be read or holds no network that is known here, with what was looked for.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let stored = Stored::open(path)?;
        let names: BTreeSet<String> = stored.names().into_iter().collect();
        let behind = |prefix: &str| -> BTreeSet<String> {
            names.iter().filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect()
        };
        let network = NETWORK.iter().find_map(|prefix| {
            let names = behind(prefix);
            Some((*prefix, Layout::of(&names)?, names))
        });
        let Some((prefix, layout, inside)) = network else {
            let diffusers = names.contains("transformer_blocks.0.attn.to_q.weight") || names.contains("conv_in.weight");
            let why = match diffusers {
                true => "its names are diffusers', so it is a part of a folder: give the folder with model_index.json",
                false => {
                    "it holds no network of Stable Diffusion 1 to 3.5 or FLUX under its authors' names \
                     (`joint_blocks.0.x_block.attn.qkv.weight`, `double_blocks.0.img_attn.qkv.weight`, \
                     `input_blocks.0.0.weight`, bare or behind `model.diffusion_model.`)"
                }
            };
            return Err(Error::Failure(format!("{}: {why}", path.display())));
        };
        if layout == Layout::Unet && inside.contains("middle_block.3.in_layers.0.weight") {
            // Two transformers at a place: AudioLDM 2 and FlowSep, which draw no pictures.
            return Err(Error::Failure(format!(
                "{}: it is a network of sound, as FlowSep's; `rectiflow separate` takes such a checkpoint",
                path.display()
            )));
        }
        let family = match layout {
            Layout::Sd3 => Family::Sd3,
            Layout::Flux => Family::Flux,
            Layout::Unet => Family::StableDiffusion,
        };
        let mut held = BTreeMap::from([(network_of(family), Held { prefix, map: Some(layout.map(&inside)) })]);
        if let Some(prefix) = CODEC.into_iter().find(|prefix| !behind(prefix).is_empty()) {
            let levels = count(&behind(prefix), "decoder.up.");
            held.insert("vae", Held { prefix, map: Some(Map::new(autoencoder(levels))) });
        }
        let encoders: &[(&'static str, &[&'static str])] = match family {
            Family::Sd3 => &[("text_encoder", &CLIP_L), ("text_encoder_2", &CLIP_G), ("text_encoder_3", &T5)],
            Family::Flux => &[("text_encoder", &CLIP_L), ("text_encoder_2", &T5)],
            _ => &[("text_encoder", &CLIP_L)],
        };
        for (name, prefixes) in encoders {
            if let Some(prefix) = prefixes.iter().find(|prefix| !behind(prefix).is_empty()) {
                held.insert(name, Held { prefix, map: None });
            }
        }
        let of_a_part =
            |name: &String| held.values().any(|held| held.prefix.is_empty() || name.starts_with(held.prefix));
        let unread = held.get("text_encoder").filter(|_| family != Family::Sd3);
        let unread = unread.map(|held| format!("{}{PROJECTION}", held.prefix));
        let others = names.iter().filter(|name| !of_a_part(name) || unread.as_ref() == Some(*name)).cloned().collect();
        Ok(Self { stored, family, held, others })
    }

    /// Whether a file's names are those of a released network.
    pub(crate) fn is_one(path: &Path) -> bool {
        path.is_file() && Self::open(path).is_ok()
    }

    pub(crate) fn path(&self) -> &Path {
        self.stored.path()
    }

    pub(crate) fn family(&self) -> Family {
        self.family
    }

    /// Whether it holds a part.
    pub(crate) fn has(&self, part: &str) -> bool {
        self.held.contains_key(part)
    }

    /// The names of its parts.
    pub(crate) fn parts(&self) -> Vec<&'static str> {
        self.held.keys().copied().collect()
    }

    /// A line on the tensors that belong to nothing that is drawn with.
    pub(crate) fn passed_over(&self) -> Option<String> {
        const SHOWN: usize = 4;
        let first = self.others.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if self.others.len() > SHOWN { " and so on" } else { "" };
        let count = self.others.len();
        let tensors = (count > 0).then(|| format!("{count} of its tensors passed over: {first}{more}"));
        let said: Vec<String> = tensors.into_iter().chain(self.stored.passed_over()).collect();
        (!said.is_empty()).then(|| format!("{}: {}", self.path().display(), said.join("; ")))
    }

    /// Whether the stored `name` belongs to the part `held`; without a prefix of its own a network is what has none of the others'.
    fn belongs(&self, held: &Held, name: &str) -> bool {
        let elsewhere = || self.held.values().any(|other| !other.prefix.is_empty() && name.starts_with(other.prefix));
        name.starts_with(held.prefix) && !(held.prefix.is_empty() && elsewhere())
    }

    /// Stored tensors of a part.
    fn of_part<'a>(&'a self, part: &str) -> impl Iterator<Item = (String, &'a Held)> {
        let held = self.held.get(part);
        self.stored.names().into_iter().filter_map(move |name| {
            let held = held.filter(|held| self.belongs(held, &name))?;
            Some((name, held))
        })
    }

    /// Stored tensors of a part that have no place in diffusers' layout.
    pub(crate) fn unplaced(&self, part: &str) -> Vec<String> {
        let known = |name: &str, held: &Held| held.map.as_ref().is_none_or(|map| map.knows(&name[held.prefix.len()..]));
        self.of_part(part).filter(|(name, held)| !known(name, held)).map(|(name, _)| name).collect()
    }

    /// Refuses a part with numbers that are not read, by tensor.
    ///
    /// # Errors
    /// Those of [`Stored::check_read`].
    pub(crate) fn check_read(&self, part: &str) -> Result<(), NetsError> {
        self.of_part(part).try_for_each(|(name, _)| self.stored.check_read(&name))
    }

    /// A part's tensors under diffusers' or transformers' names.
    ///
    /// # Errors
    /// A part that is not here; two tensors that claim one name.
    pub(crate) fn view(&self, part: &str) -> Result<Renamed<'_, Stored>, NetsError> {
        let Some(held) = self.held.get(part) else {
            let problem = "is not in the file".into();
            return Err(NetsError::Tensor { name: part.to_owned(), problem });
        };
        let deaf = part == "text_encoder" && self.family != Family::Sd3;
        Renamed::new(&self.stored, |name| match name.strip_prefix(held.prefix) {
            Some(_) if !self.belongs(held, name) => Vec::new(),
            Some(PROJECTION) if deaf => Vec::new(),
            Some(name) => match &held.map {
                Some(map) => map.parts(name),
                None => vec![(name.to_owned(), nets::weights::Part::Whole)],
            },
            None => Vec::new(),
        })
    }

    /// What a part is, as its shapes say; what they leave open is taken from `known`, a folder's configuration of the part.
    ///
    /// # Errors
    /// Tensors that are missing, sizes that cannot be told.
    pub(crate) fn config(&self, part: &str, known: Option<&[u8]>) -> Result<Described, Error> {
        let failed = |error: NetsError| at(self.path(), error);
        let view = self.view(part).map_err(failed)?;
        let told = match (self.family, part) {
            (Family::Sd3, "transformer") => {
                told::<MmditConfig>("SD3Transformer2DModel", known, |known| shapes::mmdit(&view, known))
            }
            (Family::Flux, "transformer") => {
                told::<FluxConfig>("FluxTransformer2DModel", known, |known| shapes::flux(&view, known))
            }
            (_, "unet") => told::<TextUnetConfig>("UNet2DConditionModel", known, |known| shapes::unet(&view, known)),
            (_, "vae") => told::<AutoencoderConfig>("AutoencoderKL", known, |known| {
                shapes::autoencoder(&view, known, self.scales())
            }),
            (Family::Sd3, "text_encoder" | "text_encoder_2") | (_, "text_encoder") => {
                let projected = view.shape("text_projection.weight").is_some();
                let class = if projected { "CLIPTextModelWithProjection" } else { "CLIPTextModel" };
                told::<ClipConfig>(class, known, |known| shapes::clip(&view, known, part == "text_encoder_2"))
            }
            _ => told::<T5Config>("T5EncoderModel", known, |_| shapes::t5(&view)),
        };
        told.map_err(failed)
    }

    /// Features of a text token that a U-Net reads.
    pub(crate) fn text_width(&self) -> Option<usize> {
        let keys = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight";
        self.view("unet").ok()?.shape(keys)?.get(1).copied()
    }

    /// Scale and shift of the family's latents.
    fn scales(&self) -> (f64, Option<f64>) {
        match self.family {
            Family::Sd3 => (1.5305, Some(0.0609)),
            Family::Flux => (0.3611, Some(0.1159)),
            _ => (0.18215, None),
        }
    }
}

/// The name of a family's network among its parts.
pub(crate) fn network_of(family: Family) -> &'static str {
    match family {
        Family::Sd3 | Family::Flux | Family::Wan | Family::ZImage | Family::QwenImage | Family::Flux2 { .. } => {
            "transformer"
        }
        Family::InstaFlow | Family::StableDiffusion => "unet",
    }
}

/// What the shapes of a part say.
pub(crate) struct Described {
    /// What its library calls it.
    pub class: &'static str,
    /// Its configuration.
    pub config: Value,
    /// Whether that is the known one.
    pub known: bool,
}

/// A part of this class with the configuration that `infer` makes of a known one; one that cannot be read says nothing.
fn told<T: Published + PartialEq>(
    class: &'static str,
    known: Option<&[u8]>,
    infer: impl FnOnce(Option<&T>) -> Result<T, NetsError>,
) -> Result<Described, NetsError> {
    let known = known.and_then(|json| nets::published::read::<T>(json).ok()).map(|(config, _)| config);
    let config = infer(known.as_ref())?;
    let same = known.as_ref() == Some(&config);
    let config = serde_json::to_value(config).map_err(|error| NetsError::Config(error.to_string()))?;
    Ok(Described { class, config, known: same })
}
