//! A model trained here, over pictures or over a codec's latents, as something to restore and edit with.

use super::{Decoder, Layers, Steerable, Way, tape};
use crate::{
    Context, Error, Model, asked::Classes, codec::Codec, device::Chosen, host::host, memory, recipe::SampleConfig,
    sound::Hearing,
};
use base::{Condition, Device, Shape, Taps, Tensor, TensorData};
use flow::{Field, guidance::GuidanceConfig};
use kernels::Precision;
use train::checkpoint::Which;

impl Model {
    /// Refuses `what` for a model that starts from pictures, or of something that is no picture.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub(crate) fn check_steerable(&self, what: &str) -> Result<(), Error> {
        self.check_pictures(what)?;
        self.drawn().image()?;
        if self.recipe.task.source().is_none() {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "{what}: {} starts from a data set, not from noise; `transfer` carries one set to another",
            self.file.display()
        )))
    }

    /// Rows of `size` numbers through `change`, as many at a time as samples are drawn and memory holds.
    fn in_batches(
        &self,
        rows: &[f32],
        size: usize,
        context: &mut Context,
        change: impl Fn(Tensor<2>) -> Result<Tensor<2>, Error>,
    ) -> Result<Vec<f32>, Error> {
        let device = context.device.device.clone();
        let bytes = self.codec.as_ref().map_or(0, |codec| codec.tape_bytes());
        let most = memory::together(self.recipe.sample.batch, bytes);
        let mut changed = Vec::new();
        for part in rows.chunks(most * size) {
            context.go_on()?;
            let part = Tensor::<2>::from_data(TensorData::new(part.to_vec(), [part.len() / size, size]), &device);
            changed.extend(host(change(part)?)?);
        }
        Ok(changed)
    }
}

impl Steerable for Model {
    fn place(&self) -> String {
        self.file.display().to_string()
    }

    fn picture(&self) -> Result<[usize; 3], Error> {
        Ok(self.drawn().image()?)
    }

    fn hearing(&self) -> Option<Hearing> {
        let recipe = &self.codec.as_ref()?.recipe;
        Some(Hearing { task: recipe.codec.heard()?, data: recipe.data.clone() })
    }

    fn moved(&self) -> Shape {
        self.subject.shape
    }

    fn moves_latents(&self) -> bool {
        self.codec.is_some()
    }

    fn path(&self) -> &flow::Path {
        &self.recipe.path
    }

    fn usual(&self, steps: Option<usize>) -> Result<SampleConfig, Error> {
        let config = self.recipe.sample.clone();
        Ok(SampleConfig { steps: steps.unwrap_or(config.steps), ..config })
    }

    fn layers(&self) -> Layers {
        Layers::numbered(self.net.attentions())
    }

    fn field<'a>(
        &'a self,
        way: Way<'_>,
        precision: Precision,
        taps: Option<Taps>,
    ) -> Result<Box<dyn Field<2> + 'a>, Error> {
        let plain = GuidanceConfig::default();
        let guidance = match way {
            Way::Back => &plain,
            Way::Forth(guidance) => guidance,
        };
        Ok(Box::new(self.tapped(guidance, precision, taps)?))
    }

    fn condition(&self, asked: &Classes, indices: &[u64], device: &Device) -> Result<Condition, Error> {
        Model::condition(self, asked, indices, device)
    }

    fn encode(&self, pictures: &[f32], context: &mut Context) -> Result<Vec<f32>, Error> {
        match &self.codec {
            None => Ok(pictures.to_vec()),
            Some(codec) => self.in_batches(pictures, codec.sample.numel(), context, |rows| codec.encode(rows)),
        }
    }

    fn decode(&self, moved: &[f32], context: &mut Context) -> Result<Vec<f32>, Error> {
        match &self.codec {
            None => Ok(moved.to_vec()),
            Some(codec) => self.in_batches(moved, codec.latent.numel(), context, |rows| Ok(codec.decode(rows))),
        }
    }

    fn decoder(&self, device: &Chosen) -> Result<Option<Decoder>, Error> {
        let Some(codec) = &self.codec else { return Ok(None) };
        let codec = Codec::open(codec.run(), &tape(device))?;
        let bytes = codec.tape_bytes();
        Ok(Some(Decoder { decode: Box::new(move |rows| codec.decode(rows)), bytes }))
    }

    fn taped(&self, which: Which, device: &Chosen) -> Result<(Box<dyn Steerable>, Chosen), Error> {
        let taped = tape(device);
        let mut model = Model::open(&self.file, which, &taped)?;
        model.net = burn::module::Module::no_grad(model.net);
        // Words of its own would write prompts to disk where this model's do not.
        model.words = self.words.clone();
        Ok((Box::new(model), taped))
    }
}
