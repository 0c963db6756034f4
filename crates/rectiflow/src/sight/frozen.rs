//! What reads a picture before the network does: nothing, so that its patches are the tokens, or a frozen encoder in DINOv2's layout, as TripoSG
//! (arXiv:2502.06608) has one.
//!
//! An encoder says of a picture what it said before, and a training sees each many times: what it said is kept, up to a limit.

use crate::{
    Error,
    host::host,
    recipe::PictureConfig,
    release::{fingerprint, marked, part::Part},
};
use base::{Condition, Device, Tensor, TensorData, Tokens};
use nets::{Dinov2, Dinov2Config};
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

/// Bytes of tokens that are kept at most.
const KEPT: usize = 1 << 29;
/// What the encoder's pictures were normalised by, each colour.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

/// How a flow sees pictures.
pub struct Sight {
    config: PictureConfig,
    frozen: Option<Frozen>,
}

struct Frozen {
    net: Dinov2,
    /// Tokens of a picture, numbers of a token.
    shape: [usize; 2],
    /// Tells its weights and its configuration from others.
    identity: String,
    said: Mutex<Kept>,
}

/// What was said of pictures, by their numbers; as much as `most` bytes hold. A training goes through its pictures in turn, so that what came
/// first is as good to keep as what came last.
struct Kept {
    said: HashMap<u64, Arc<Vec<f32>>>,
    bytes: usize,
    most: usize,
}

impl Kept {
    fn up_to(most: usize) -> Self {
        Self { said: HashMap::new(), bytes: 0, most }
    }

    fn keep(&mut self, key: u64, said: &Arc<Vec<f32>>) {
        let bytes = size_of_val(said.as_slice()) + size_of::<(u64, Arc<Vec<f32>>, Vec<f32>)>();
        if self.bytes + bytes <= self.most && self.said.insert(key, said.clone()).is_none() {
            self.bytes += bytes;
        }
    }
}

impl std::fmt::Debug for Sight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Sight").field(&self.config).finish()
    }
}

impl PartialEq for Sight {
    fn eq(&self, other: &Self) -> bool {
        self.config == other.config
    }
}

impl Sight {
    /// As `config` says, for a network that reads `tokens` numbers a token; keys of the encoder's configuration that are not known here are told to
    /// `note`.
    ///
    /// # Errors
    /// An encoder that cannot be read, or whose tokens the network does not read.
    pub fn open(config: &PictureConfig, tokens: usize, note: &mut dyn FnMut(String)) -> Result<Self, Error> {
        let Some(folder) = &config.encoder else { return Ok(Self { config: config.clone(), frozen: None }) };
        let place = folder.display();
        if !folder.is_dir() {
            return Err(Error::Failure(format!(
                "task.picture.encoder = {place}: no such folder; name one with config.json and model.safetensors in DINOv2's layout"
            )));
        }
        let part = Part::folder(folder.clone(), "Dinov2Model");
        let sizes: Dinov2Config = part.config(note)?;
        if config.size == 0 || !config.size.is_multiple_of(sizes.patch_size) || sizes.num_channels != 3 {
            return Err(Error::Usage(format!(
                "task.picture.size = {}: {place} reads patches of {} pixels in {} colours; give a multiple of these pixels, in three colours",
                config.size, sizes.patch_size, sizes.num_channels
            )));
        }
        let width = sizes.hidden_size;
        if width != tokens {
            return Err(Error::Usage(format!(
                "task.picture.encoder = {place}: it says {width} numbers a token and the network reads {tokens}; set \
                 network.condition.tokens = {width}"
            )));
        }
        // Beside the data, which is read on the processor.
        let (net, weights) =
            part.weights("model", |source| Ok((sizes.load(source, &Device::flex())?, fingerprint(source))))?;
        let identity = format!("{weights}-{}", marked(&beside_weights(&sizes)));
        let (shape, said) = ([sizes.tokens(config.size), width], Mutex::new(Kept::up_to(KEPT)));
        let frozen = Frozen { net, shape, identity, said };
        Ok(Self { config: config.clone(), frozen: Some(frozen) })
    }

    /// What tells its frozen encoder from others; `None` where an eye is trained in its place.
    pub fn identity(&self) -> Option<&str> {
        self.frozen.as_ref().map(|frozen| frozen.identity.as_str())
    }

    /// What its pictures are.
    pub fn config(&self) -> &PictureConfig {
        &self.config
    }

    /// What samples are conditioned on that are to look like these `pictures`, one after another.
    ///
    /// # Errors
    /// Numbers that cannot be read back.
    pub fn condition(&self, pictures: &[f32], device: &Device) -> Result<Condition, Error> {
        let (rows, [n, d]) = match &self.frozen {
            None => (patches(pictures, &self.config), [self.config.patches(), self.config.features()]),
            Some(frozen) => {
                let mut rows = Vec::new();
                for picture in pictures.chunks(self.config.numbers()) {
                    rows.extend_from_slice(&frozen.said(picture, self.config.size)?);
                }
                (rows, frozen.shape)
            }
        };
        let b = rows.len() / (n * d).max(1);
        let mask = Tensor::<2>::ones([b, n], device).greater_elem(0.5);
        let embedding = Tensor::from_data(TensorData::new(rows, [b, n, d]), device);
        Ok(Condition { tokens: Some(Tokens { embedding, mask }), ..Condition::none() })
    }
}

/// What changes an encoder's answers and stands in no weight's name or shape, one by one: a key that is added to the configuration some day
/// makes no encoder another one unless it is added here.
fn beside_weights(sizes: &Dinov2Config) -> [String; 7] {
    [
        sizes.num_hidden_layers.to_string(),
        sizes.num_attention_heads.to_string(),
        sizes.hidden_act.clone(),
        format!("{:e}", sizes.layer_norm_eps),
        sizes.image_size.to_string(),
        sizes.qkv_bias.to_string(),
        sizes.use_swiglu_ffn.to_string(),
    ]
}

/// The patches of pictures, row by row, each row by row.
fn patches(pictures: &[f32], config: &PictureConfig) -> Vec<f32> {
    let PictureConfig { size, patch, .. } = *config;
    let side = size / patch;
    let mut rows = Vec::with_capacity(pictures.len());
    for picture in pictures.chunks_exact(config.numbers()) {
        for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
            for line in 0..patch {
                rows.extend_from_slice(&picture[(y * patch + line) * size + x * patch..][..patch]);
            }
        }
    }
    rows
}

impl Frozen {
    /// What the encoder says of a grey `picture` in [-1, 1], `[n d]`.
    fn said(&self, picture: &[f32], size: usize) -> Result<Arc<Vec<f32>>, Error> {
        let mut hasher = DefaultHasher::new();
        picture.iter().for_each(|value| value.to_bits().hash(&mut hasher));
        let key = hasher.finish();
        if let Some(said) = self.said.lock().unwrap_or_else(PoisonError::into_inner).said.get(&key) {
            return Ok(said.clone());
        }
        let colour = |c: usize| picture.iter().map(move |value| ((value + 1.0) / 2.0 - MEAN[c]) / DEVIATION[c]);
        let values: Vec<f32> = (0..3).flat_map(colour).collect();
        let seen = Tensor::from_data(TensorData::new(values, [1, 3, size, size]), &Device::flex());
        let said = Arc::new(host(self.net.forward(seen))?);
        self.said.lock().unwrap_or_else(PoisonError::into_inner).keep(key, &said);
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nets::weights::Stored;
    use std::path::{Path, PathBuf};

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/triposg_tiny/image_encoder_dinov2")
    }

    fn sight() -> Sight {
        let config = PictureConfig { size: 28, encoder: Some(folder()), ..PictureConfig::default() };
        Sight::open(&config, 12, &mut |_| ()).unwrap()
    }

    fn values(condition: Condition) -> Vec<f32> {
        let embedding = condition.tokens.unwrap().embedding;
        let count: usize = embedding.dims().iter().product();
        host(embedding.reshape([count])).unwrap()
    }

    /// Tokens are those of the encoder, of grey in three colours, each picture's its own, the second time as the first.
    /// Mutants: values in [-1, 1] as they are; one colour's mean for all; what is kept told by its place in the batch.
    #[test]
    fn a_frozen_encoder_reads_pictures() {
        let sight = sight();
        let [light, dark] =
            [0.5f32, -0.25].map(|base| (0..784).map(|i| base + (i % 28) as f32 / 90.0).collect::<Vec<_>>());
        let device = Device::flex();
        let both = values(sight.condition(&[light.clone(), dark.clone()].concat(), &device).unwrap());
        assert_eq!(both.len(), 2 * 5 * 12);
        let net = {
            let sizes: Dinov2Config = Part::folder(folder(), "").config(&mut |_| ()).unwrap();
            sizes.load(&Stored::in_folder(&folder(), "model").unwrap(), &device).unwrap()
        };
        let red: Vec<f32> = dark.iter().map(|v| ((v + 1.0) / 2.0 - 0.485) / 0.229).collect();
        let green: Vec<f32> = dark.iter().map(|v| ((v + 1.0) / 2.0 - 0.456) / 0.224).collect();
        let blue: Vec<f32> = dark.iter().map(|v| ((v + 1.0) / 2.0 - 0.406) / 0.225).collect();
        let seen = Tensor::<4>::from_data(TensorData::new([red, green, blue].concat(), [1, 3, 28, 28]), &device);
        let wanted = host(net.forward(seen)).unwrap();
        assert!(both[60..].iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-5));
        assert!(both[..60].iter().zip(&wanted).any(|(a, b)| (a - b).abs() > 0.1));
        let again = values(sight.condition(&[dark, light].concat(), &device).unwrap());
        assert_eq!([&again[60..], &again[..60]].concat(), both);
    }

    /// Mutants: entries counted and not their bytes; one that is kept already counted twice; the limit passed by the last.
    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let mut kept = Kept::up_to(1000);
        let said = |numbers: usize| Arc::new(vec![0.0f32; numbers]);
        kept.keep(1, &said(100));
        kept.keep(1, &said(100));
        let one = kept.bytes;
        assert!((400..500).contains(&one), "{one}");
        kept.keep(2, &said(100));
        assert_eq!((kept.said.len(), kept.bytes), (2, 2 * one));
        kept.keep(3, &said(100));
        assert_eq!((kept.said.len(), kept.bytes), (2, 2 * one), "a third does not fit");
        kept.keep(4, &said(10));
        assert!(kept.said.contains_key(&4) && kept.bytes <= 1000);
    }

    /// Another weight, another number of heads or another epsilon is another encoder; where scales once started tells nothing of the weights that
    /// are there. Mutants: the weights alone looked at; the whole configuration.
    #[test]
    fn an_encoder_is_told_from_others() {
        let place = tempfile::tempdir().unwrap();
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(folder().join(file), place.path().join(file)).unwrap();
        }
        let identity = || {
            let config = PictureConfig { size: 28, encoder: Some(place.path().into()), ..PictureConfig::default() };
            Sight::open(&config, 12, &mut |_| ()).unwrap().identity().unwrap().to_owned()
        };
        let own = identity();
        assert_eq!(sight().identity(), Some(own.as_str()));
        let config = std::fs::read_to_string(place.path().join("config.json")).unwrap();
        for (from, to, same) in [
            ("\"num_attention_heads\": 2", "\"num_attention_heads\": 3", false),
            ("{", "{ \"layer_norm_eps\": 1e-3, ", false),
            ("{", "{ \"layerscale_value\": 0.5, ", true),
        ] {
            let key = to.split('"').nth(1).unwrap();
            let without: Vec<&str> = config.lines().filter(|line| from != "{" || !line.contains(key)).collect();
            std::fs::write(place.path().join("config.json"), without.join("\n").replacen(from, to, 1)).unwrap();
            assert_eq!(identity() == own, same, "{to}");
        }
        std::fs::write(place.path().join("config.json"), config).unwrap();
        assert_eq!(identity(), own);
        let mut weights = std::fs::read(place.path().join("model.safetensors")).unwrap();
        let last = weights.len() - 2;
        weights[last] ^= 1;
        std::fs::write(place.path().join("model.safetensors"), weights).unwrap();
        assert_ne!(identity(), own);
    }

    /// Mutants: an encoder of another width let through; a rim of pixels that no patch sees; one that is gone.
    #[test]
    fn an_encoder_that_does_not_fit_is_refused() {
        let with = |encoder: PathBuf, size: usize, tokens: usize| {
            let config = PictureConfig { size, encoder: Some(encoder), ..PictureConfig::default() };
            Sight::open(&config, tokens, &mut |_| ()).err().unwrap().to_string()
        };
        assert!(with(folder(), 28, 64).contains("network.condition.tokens = 12"));
        assert!(with(folder(), 8, 12).contains("task.picture.size"));
        assert!(with(folder(), 30, 12).contains("task.picture.size = 30"));
        assert!(with("gone".into(), 28, 12).contains("gone"));
    }
}
