//! A data set seen through a codec: every sample encoded once and kept as numbers, in memory and in a file beside the fetched sets,
//! so that the next run on the same data and codec begins at once.

use super::Codec;
use crate::{
    Error,
    context::{Context, Event},
    host::host,
    machine::Machine,
};
use base::{Shape, Tensor, TensorData};
use data::{DataConfig, Dataset, LeftOut, Sample, Values, fetch};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Samples encoded together: so many small ones, and large pictures one by one.
const BATCH: usize = 64;
const SMALL: usize = 3 * 128 * 128;

/// The latents of a data set.
struct Latents {
    samples: Arc<dyn Dataset>,
    rows: Vec<f32>,
    shape: Shape,
    name: String,
    fingerprint: String,
}

/// The data of a recipe, before any codec: as `codec` reads them, or pictures.
///
/// # Errors
/// Data that cannot be read.
pub fn raw(config: &DataConfig, codec: Option<&Codec>, context: &mut Context) -> Result<Arc<dyn Dataset>, Error> {
    match codec {
        Some(codec) => codec.recipe.codec.open(config, context),
        None => Ok(data::open(config)?),
    }
}

/// `dataset` as a flow sees it: its latents under `codec`, or itself where there is none.
///
/// # Errors
/// Those of [`latents`].
pub fn through(
    dataset: Arc<dyn Dataset>,
    codec: Option<&Codec>,
    context: &mut Context,
) -> Result<Arc<dyn Dataset>, Error> {
    match codec {
        None => Ok(dataset),
        Some(codec) => latents(dataset, codec, context),
    }
}

/// Refuses samples of another shape than `codec` was trained on.
///
/// # Errors
/// [`Error::Usage`], with the remedy.
pub fn readable(dataset: &dyn Dataset, codec: &Codec) -> Result<(), Error> {
    if dataset.shape() == codec.sample {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{} has samples of shape {}, and the codec {} was trained on {}; set data.size and data.channels to those of the \
         codec's recipe",
        dataset.name(),
        dataset.shape(),
        codec.file.display(),
        codec.sample
    )))
}

/// The latents of `dataset` under `codec`, with its labels, captions and names.
///
/// # Errors
/// Samples of another shape than the codec's, or that cannot be read; latents that do not fit the memory.
pub fn latents(dataset: Arc<dyn Dataset>, codec: &Codec, context: &mut Context) -> Result<Arc<dyn Dataset>, Error> {
    readable(&*dataset, codec)?;
    let (size, bytes) = (codec.latent.numel(), 4.0 * (dataset.len() * codec.latent.numel()) as f64);
    let memory = Machine::here("cpu").memory_gb * (1u64 << 30) as f64;
    if memory > 0.0 && bytes > memory / 2.0 {
        return Err(Error::Failure(format!(
            "the latents of {} take {:.1} GB, more than half of this machine's memory; set data.limit",
            dataset.name(),
            bytes / (1u64 << 30) as f64
        )));
    }
    let (fingerprint, kept) = place(&*dataset, codec);
    let found = kept.as_deref().and_then(|file| read(file, dataset.len() * size));
    let rows = match found {
        Some(rows) => rows,
        None => {
            let rows = encoded(&*dataset, codec, usize::MAX, context)?;
            if let Some(file) = kept {
                keep(&file, &rows, dataset.len(), size);
            }
            rows
        }
    };
    let name = format!("{} as latents", dataset.name());
    Ok(Arc::new(Latents { samples: dataset, rows, shape: codec.latent, name, fingerprint }))
}

/// What tells the latents of `dataset` under `codec` apart, and the file that they are kept in.
fn place(dataset: &dyn Dataset, codec: &Codec) -> (String, Option<PathBuf>) {
    // Their own numbers would differ between devices by roundings; what they are made from does not.
    let fingerprint = format!("{:.8}{:.8}", dataset.fingerprint(), codec.identity);
    let file = format!("{fingerprint}{}.safetensors", codec.moments.mark());
    let kept = fetch::cache_dir().ok().map(|cache| cache.join("latents").join(file));
    (fingerprint, kept)
}

/// How many samples of `dataset` a run on their latents would have to encode: all, unless all are kept.
pub(crate) fn unencoded(dataset: &dyn Dataset, codec: &Codec) -> usize {
    let (_, kept) = place(dataset, codec);
    match kept.and_then(|file| read(&file, dataset.len() * codec.latent.numel())) {
        Some(_) => 0,
        None => dataset.len(),
    }
}

/// The latents of all samples, or of the first `most`, one row after another.
pub(crate) fn encoded(
    dataset: &dyn Dataset,
    codec: &Codec,
    most: usize,
    context: &mut Context,
) -> Result<Vec<f32>, Error> {
    let (count, n) = (dataset.len().min(most), codec.sample.numel());
    let mut rows = Vec::with_capacity(count * codec.latent.numel());
    context.tell(Event::Begin { what: "latents", total: count as u64 });
    let places: Vec<usize> = (0..count).collect();
    for chunk in places.chunks(together(codec)) {
        context.go_on()?;
        let batch = data::gather(dataset, chunk)?;
        let samples = Tensor::<2>::from_data(TensorData::new(batch.rows, [chunk.len(), n]), &context.device.device);
        rows.extend(host(codec.encode(samples)?)?);
        context.tell(Event::Advance { done: (chunk[0] + chunk.len()) as u64 });
    }
    context.tell(Event::End);
    match rows.iter().position(|value| !value.is_finite()) {
        None => Ok(rows),
        Some(at) => Err(Error::Failure(format!(
            "sample {} of {} has a latent that is no number: the codec {} is broken; train it anew",
            at / codec.latent.numel(),
            dataset.name(),
            codec.file.display()
        ))),
    }
}

/// How many samples go through `codec` at once.
pub(crate) fn together(codec: &Codec) -> usize {
    if codec.sample.numel() > SMALL { 1 } else { BATCH }
}

/// Rows kept in `file`, if it is whole.
fn read(file: &Path, numbers: usize) -> Option<Vec<f32>> {
    let bytes = std::fs::read(file).ok()?;
    let tensors = safetensors::SafeTensors::deserialize(&bytes).ok()?;
    let rows = tensors.tensor("rows").ok()?;
    let (values, rest) = rows.data().as_chunks::<4>();
    let fits = rows.dtype() == safetensors::Dtype::F32 && values.len() == numbers && rest.is_empty();
    fits.then(|| values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

/// Keeps rows in `file`; a cache that cannot be written is no reason not to train.
fn keep(file: &PathBuf, rows: &[f32], count: usize, size: usize) {
    let write = || -> Option<()> {
        let folder = file.parent()?;
        std::fs::create_dir_all(folder).ok()?;
        let bytes: Vec<u8> = rows.iter().flat_map(|value| value.to_le_bytes()).collect();
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![count, size], &bytes).ok()?;
        let whole = safetensors::serialize(HashMap::from([("rows", view)]), None).ok()?;
        let mut temporary = tempfile::NamedTempFile::new_in(folder).ok()?;
        std::io::Write::write_all(&mut temporary, &whole).ok()?;
        temporary.persist(file).ok().map(drop)
    };
    let _ = write();
}

impl Dataset for Latents {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn get(&self, index: usize) -> data::Result<Sample> {
        let size = self.shape.numel();
        Ok(Sample {
            values: Values::Numbers(self.rows[index * size..(index + 1) * size].to_vec()),
            shape: self.shape,
            label: self.label(index),
            caption: self.caption(index).map(String::from),
        })
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.samples.label(index)
    }

    fn caption(&self, index: usize) -> Option<&str> {
        self.samples.caption(index)
    }

    fn key(&self, index: usize) -> Option<&str> {
        self.samples.key(index)
    }

    fn class_names(&self) -> &[String] {
        self.samples.class_names()
    }

    fn shape(&self) -> Shape {
        self.shape
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn in_memory(&self) -> bool {
        true
    }

    fn left_out(&self) -> &[LeftOut] {
        self.samples.left_out()
    }
}
