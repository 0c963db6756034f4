//! FlowSep's released checkpoint as an ear (Yuan et al., 2024, arXiv:2409.07614): its codec, its words and its network behind the same pieces,
//! solvers and ways to sound as a run of ours.
//!
//! The checkpoint is one file (`v2_100k.ckpt`, or its tensors in safetensors); FLAN-T5's `tokenizer.json` must lie beside it. Its pictures
//! are of 10.24 s, their logarithms as they are. Guidance is refused: its authors' sampler has none.

use crate::{
    Context, Error, Start,
    host::host,
    pipeline::Pipeline,
    recipe::{SampleConfig, Separate},
    sound::Analysis,
};
use base::{Condition, Device, Shape, Tensor, TensorData, Times};
use data::mixture::MixtureConfig;
use flow::{Field, Frame, Solver};
use nets::{BigVganConfig, FlowSep, Vocoder, text::WordPieces, weights::Stored};
use std::path::{Path, PathBuf};

/// Samples of its pictures: 10.24 s.
const LENGTH: usize = 163_840;
/// Tokens of a query at most.
const TOKENS: usize = 50;
/// Steps that its paper reports.
const STEPS: usize = 10;

/// A released separator.
pub struct Released {
    net: FlowSep,
    words: WordPieces,
    analysis: Analysis,
    file: PathBuf,
    device: Device,
    path: flow::Path,
}

impl Released {
    /// The checkpoint `file`; `None` where it has another layout.
    ///
    /// # Errors
    /// One of this layout that cannot be read, or that lacks its words or their vocabulary.
    pub fn open(file: &Path, context: &mut Context) -> Result<Option<Self>, Error> {
        Self::sized(file, LENGTH, context)
    }

    /// As [`Released::open`], with pieces of `length` samples.
    pub(crate) fn sized(file: &Path, length: usize, context: &mut Context) -> Result<Option<Self>, Error> {
        if !file.is_file() {
            return Ok(None);
        }
        let Ok(stored) = Stored::open(file) else { return Ok(None) }; // whoever opens it as a run says why
        if !FlowSep::is_one(&stored) {
            return Ok(None);
        }
        let device = context.device.device.clone();
        let net = FlowSep::load(&stored, &BigVganConfig::default(), &device)?;
        let vocabulary = file.with_file_name("tokenizer.json");
        let wrong = |what: String| Error::Failure(format!("{}: {what}", vocabulary.display()));
        let Some(text) = &net.text else {
            let what = "has no text encoder (`cond_stage_models.0.model.`): take the whole checkpoint";
            return Err(Error::Failure(format!("{}: {what}", file.display())));
        };
        let bytes = std::fs::read(&vocabulary)
            .map_err(|error| wrong(format!("{error}; put the tokenizer.json of FLAN-T5 beside the checkpoint")))?;
        let words = WordPieces::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
        let known = text.vocabulary();
        if let Some(id) = words.split("sound", TOKENS)?.ids.iter().find(|id| !(0..known as i64).contains(id)) {
            return Err(wrong(format!("gives word {id}, and the checkpoint knows {known}: it is another model's")));
        }
        let over = net.passed_over.len();
        if over > 0 {
            let first = net.passed_over.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
            context.note(format!("{}: {over} of its tensors are not needed: {first}", file.display()));
        }
        let mixture = MixtureConfig { length, ..MixtureConfig::default() };
        let analysis = Analysis::new(&Separate { centre: 0.0, spread: 1.0, mixture, ..Separate::default() })?;
        let path = flow::Path::Linear {};
        Ok(Some(Self { net, words, analysis, file: file.into(), device, path }))
    }

    /// How it is sampled where nobody says otherwise.
    pub fn sample_config() -> SampleConfig {
        SampleConfig { steps: STEPS, batch: 4, solver: Solver::Euler {}, ..SampleConfig::default() }
    }

    /// How it sees sound.
    pub(super) fn analysis(&self) -> &Analysis {
        &self.analysis
    }

    /// Its vocoder, which then is no longer its own.
    ///
    /// # Errors
    /// A checkpoint without one.
    pub fn take_vocoder(&mut self) -> Result<Vocoder, Error> {
        let net = self.net.vocoder.take().ok_or_else(|| {
            Error::Usage(format!("{}: it holds no vocoder; give one with --vocoder FOLDER", self.file.display()))
        })?;
        Ok(Vocoder::BigVgan(Box::new(net), BigVganConfig::default()))
    }

    /// Refuses what it cannot be sampled with.
    pub(super) fn check(&self, config: &SampleConfig) -> Result<(), Error> {
        if (config.guidance.scale - 1.0).abs() > 1e-9 {
            return Err(Error::Usage("--guidance: FlowSep's checkpoint is sampled without; leave it out".into()));
        }
        match config.path {
            Some(_) => Err(Error::Usage("--path: FlowSep's checkpoint runs along straight lines; leave it out".into())),
            None => Ok(()),
        }
    }

    /// Pictures as latents, one after another.
    pub(super) fn encode(&self, rows: Vec<f32>) -> Tensor<4> {
        let (frames, bands) = (self.analysis.frames(), self.analysis.mel().config().bins);
        let count = rows.len() / (frames * bands);
        self.net.encode(Tensor::from_data(TensorData::new(rows, [count, 1, frames, bands]), &self.device))
    }

    /// The pictures of what `query` names in mixtures with these latents.
    ///
    /// # Errors
    /// What sampling may say, and [`Error::Interrupted`].
    pub(super) fn draw(
        &self,
        mixtures: &Tensor<4>,
        query: &str,
        config: &SampleConfig,
        seed: u64,
        context: &mut Context,
    ) -> Result<Vec<f32>, Error> {
        let text = self.tokens(query, context)?;
        let [count, c, h, w] = mixtures.dims();
        let shape: Shape = [c, h, w].into();
        let start = Start::Noise { shape };
        let mut rows = Vec::new();
        for first in (0..count).step_by(config.batch) {
            context.go_on()?;
            let many = config.batch.min(count - first);
            let heard = Heard { of: self, mixtures: mixtures.clone().narrow(0, first, many), text: text.clone() };
            let pipeline = Pipeline::new(Box::new(heard), &self.path, config, &start, shape, &self.device)?;
            let indices: Vec<u64> = (first as u64..(first + many) as u64).collect();
            let latents = pipeline.draw(seed, &indices, &Condition::none())?.rows;
            let latents = Tensor::from_data(TensorData::new(latents, [many, c, h, w]), &self.device);
            rows.extend(host(self.net.decode(latents))?);
        }
        Ok(rows)
    }

    /// The tokens of `query` `[1 m e]`. Its authors pad to fifty and hide the padding, which is the same.
    fn tokens(&self, query: &str, context: &mut Context) -> Result<Tensor<3>, Error> {
        let pieces = self.words.split(query, TOKENS)?;
        if let Some(cut) = pieces.cut {
            context.quote(format!("a query has {TOKENS} tokens; what is not read of this one: {cut}"));
        }
        let text = self.net.text.as_ref().ok_or_else(|| Error::Failure("the text encoder is gone".into()))?;
        let (ids, known) = (&pieces.ids[..pieces.real], text.vocabulary());
        match ids.iter().find(|id| !(0..known as i64).contains(id)) {
            Some(id) => Err(Error::Failure(format!(
                "tokenizer.json gives word {id}, and {} knows {known}: it is another model's",
                self.file.display()
            ))),
            None => Ok(text.read(ids, [1, ids.len()], &self.device)),
        }
    }
}

/// The velocity of targets in given mixtures.
struct Heard<'a> {
    of: &'a Released,
    mixtures: Tensor<4>,
    text: Tensor<3>,
}

impl Field<2> for Heard<'_> {
    fn velocity(&self, x: Tensor<2>, t: &Times, _: &Condition) -> Tensor<2> {
        let (b, size) = (x.dims()[0], x.dims()[1]);
        let x = x.reshape(self.mixtures.dims());
        let times = t.tensor(&self.of.device);
        let text = self.text.clone().repeat_dim(0, b);
        self.of.net.velocity(x, self.mixtures.clone(), times, text).reshape([b, size])
    }

    fn frame(&self) -> Option<Frame<'_>> {
        Some(Frame { path: &self.of.path, independent: true })
    }
}
