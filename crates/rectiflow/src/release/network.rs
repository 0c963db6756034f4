//! Its network as one that is trained: sizes from its configuration, weights as they are stored, a fingerprint that tells them apart.

use super::{Diffusion, Family, Release, part::Part, single::network_of};
use crate::{Error, Recipe};
use base::{Device, Shape, TensorData};
use kernels::Blocks;
use nets::{Net, NetConfig, NetsError, ReleasedConfig, released::Sizes, weights::TensorSource};
use std::{collections::BTreeMap, path::Path};
use train::checkpoint::BENEATH;

/// What its weights are called in a folder.
const CALLED: &str = "diffusion_pytorch_model";

/// A model's network as its files describe it, and its diffusion where it is one.
///
/// # Errors
/// A part that is missing, of another class, or asks for what is not built here.
pub(crate) fn sizes(model: &Release, note: &mut dyn FnMut(String)) -> Result<(Part, Sizes, Option<Diffusion>), Error> {
    let family = model.family();
    let part = |class: &'static str| model.part(network_of(family), &[class]);
    const UNET: &str = "UNet2DConditionModel";
    Ok(match family {
        Family::Sd3 => {
            let part = part("SD3Transformer2DModel")?;
            let sizes = Sizes::Mmdit(part.config(note)?);
            (part, sizes, None)
        }
        Family::Flux => {
            let part = part("FluxTransformer2DModel")?;
            let sizes = Sizes::Flux(part.config(note)?);
            (part, sizes, None)
        }
        Family::InstaFlow => {
            let part = part(UNET)?;
            let sizes = Sizes::Unet(Box::new(part.config(note)?));
            (part, sizes, None)
        }
        Family::StableDiffusion => {
            let part = part(UNET)?;
            let diffusion = Diffusion::of(model, note)?;
            let sizes = Sizes::Unet(Box::new(part.config(note)?));
            (part, sizes, Some(diffusion))
        }
        Family::Flux2 { .. } => {
            return Err(Error::Usage(format!(
                "{}: FLUX.2-klein is drawn from (`rectiflow sample`); to train it, or to take it for a teacher, gradients of its blocks would \
                 have to be run again piece by piece and its texts of 512 tokens to be kept beside samples, and that is not here",
                model.path().display()
            )));
        }
        Family::ZImage | Family::QwenImage => {
            return Err(Error::Usage(format!(
                "{}: {} is drawn from (`rectiflow sample`); to train it, or to take it for a teacher, captions of unequal length would have to \
                 be kept beside samples, and that is not here",
                model.path().display(),
                family.name()
            )));
        }
        Family::Wan => {
            return Err(Error::Usage(format!(
                "{}: clips are drawn from Wan (`rectiflow sample`); to train it, or to take it for a teacher, its clips would have to be \
                 read and its codec to stand before a run, and that is not here",
                model.path().display()
            )));
        }
    })
}

/// A network that a training starts from.
pub(crate) struct Beneath {
    /// It, its weights as they are stored (mapped), those in blocks widened.
    pub net: Net,
    /// The same for the same weights.
    pub identity: String,
    /// Bytes that its weights take.
    pub bytes: u64,
}

impl Beneath {
    /// Refuses to lie beneath the corrections in `file`, whose metadata `extra` name other weights.
    ///
    /// # Errors
    /// [`Error::Failure`] with both.
    pub fn check(&self, extra: &BTreeMap<String, String>, file: &Path) -> Result<(), Error> {
        match extra.get(BENEATH) {
            Some(known) if *known != self.identity => Err(Error::Failure(format!(
                "{}: it corrects weights of the fingerprint {known}, and the released model's are {} now; give it back that model",
                file.display(),
                self.identity
            ))),
            _ => Ok(()),
        }
    }
}

/// The network of the released model that `recipe` starts from, for latents of `shape`; `None` where it starts from none.
///
/// # Errors
/// A model that is gone, or another than the recipe's; weights that cannot be read or do not fit, by name.
pub(crate) fn beneath(recipe: &Recipe, shape: Shape, device: &Device) -> Result<Option<Beneath>, Error> {
    let (Some(place), NetConfig::Released(config)) = (&recipe.from, &recipe.network) else { return Ok(None) };
    let model = Release::open(place, None)?;
    let (part, sizes, diffusion) = sizes(&model, &mut |_| ())?;
    let steps = diffusion.map(|diffusion| diffusion.path.steps);
    let found = ReleasedConfig { guidance: config.guidance, ..ReleasedConfig::new(sizes, steps) };
    if found != **config {
        return Err(Error::Usage(format!(
            "`from` = {}: its network is not the recipe's `network`; leave `network` out, or name the model that the recipe was made for",
            place.display()
        )));
    }
    let image = shape.image()?;
    part.weights(CALLED, |source| {
        let net = Net::released(config.load(&Unblocked(source), image, device)?, shape);
        Ok(Some(Beneath { net, identity: fingerprint(source), bytes: stored(source) }))
    })
}

/// Bytes in memory of a source's tensors, those in blocks widened.
fn stored(source: &dyn TensorSource) -> u64 {
    let of = |name: &String| match (source.blocks(name), source.shape(name)) {
        (Some(_), Some(shape)) => 4 * shape.iter().product::<usize>() as u64,
        _ => source.data(name).map_or(0, |data| data.as_bytes().len() as u64),
    };
    source.names().iter().map(of).sum()
}

/// Weights whose blocks are widened: nothing is trained beside numbers in blocks here.
struct Unblocked<'a>(&'a dyn TensorSource);

impl TensorSource for Unblocked<'_> {
    fn names(&self) -> Vec<String> {
        self.0.names()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.shape(name)
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, NetsError> {
        self.0.read(name)
    }

    fn data(&self, name: &str) -> Result<TensorData, NetsError> {
        match self.0.blocks(name) {
            None => self.0.data(name),
            Some(_) => Ok(TensorData::new(self.0.read(name)?, self.0.shape(name).unwrap_or_default())),
        }
    }

    fn blocks(&self, _: &str) -> Option<Blocks> {
        None
    }
}

/// Bytes of a tensor's beginning and end that its fingerprint sees, so that a mapped file is not read whole.
const SEEN: usize = 4096;

/// What tells settings apart that stand beside weights.
pub(crate) fn marked(settings: &[String]) -> String {
    let bytes = settings.iter().flat_map(|text| text.bytes().chain([0xff])); // in no text
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    format!("{:016x}", bytes.fold(0xcbf2_9ce4_8422_2325, step))
}

/// What tells weights apart: names, shapes, and the first and last bytes of every tensor, by FNV-1a.
pub(crate) fn fingerprint(source: &dyn TensorSource) -> String {
    let mut names = source.names();
    names.sort();
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        hash = bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    };
    for name in names {
        add(name.as_bytes());
        add(format!("{:?}", source.shape(&name)).as_bytes());
        // Of blocks the shape alone: to look at their numbers is to widen them all.
        if source.blocks(&name).is_none()
            && let Ok(data) = source.data(&name)
        {
            let bytes = data.as_bytes();
            add(&bytes[..bytes.len().min(SEEN)]);
            add(&bytes[bytes.len().saturating_sub(SEEN)..]);
        }
    }
    format!("{hash:016x}")
}
