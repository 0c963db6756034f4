//! Pictures edited by one method, batch by batch.

use crate::{
    Context, Error,
    context::Event,
    overrides::SampleOverrides,
    pipeline::Boxed,
    sampling::{self, Classes},
    steerable::{Shelf, Steerable, Way},
};
use base::{Key, RandomStream, Tensor, TensorData};
use methods::edit::{Bus, Editing, Heard};
use std::{ops::Range, path::Path};

/// Pictures about to be edited.
pub(crate) struct Run<'a> {
    pub model: &'a dyn Steerable,
    /// What the model moves of them, one after another.
    pub moved: &'a [f32],
    /// What they are, and what they should be.
    pub asked: [&'a Classes; 2],
    /// Attention layers that share.
    pub blocks: Range<usize>,
    /// A folder for files of what they share, in place of memory.
    pub features: Option<&'a Path>,
    pub overrides: &'a SampleOverrides,
    pub seed: u64,
}

impl Run<'_> {
    /// Edited pictures as a screen would show them, evaluations, and bytes of features of a batch.
    pub fn edit(&self, method: &Editing, context: &mut Context) -> Result<(Vec<f32>, usize, usize), Error> {
        let config = self.overrides.apply(&self.model.usual(self.overrides.steps)?)?;
        let schedule = config.schedule.build(config.steps)?;
        let size = self.model.moved().numel();
        let total = self.moved.len() / size;
        let device = context.device.device.clone();
        self.model.hear(&self.asked, context)?;
        let parts = match method {
            Editing::RfEdit(edit) => edit.share,
            _ => Default::default(),
        };
        let (mut out, mut nfe, mut bytes) = (Vec::with_capacity(total * size), 0, 0);
        context.tell(Event::Begin { what: method.name(), total: total as u64 });
        for first in (0..total).step_by(config.batch) {
            context.go_on()?;
            let rows = first..total.min(first + config.batch);
            let indices: Vec<u64> = rows.clone().map(|i| i as u64).collect();
            let values = self.moved[rows.start * size..rows.end * size].to_vec();
            let x = Tensor::<2>::from_data(TensorData::new(values, [rows.len(), size]), &device);
            let condition = |asked: &Classes| self.model.condition(asked, &indices, &device);
            let (source, target) = (condition(self.asked[0])?, condition(self.asked[1])?);
            let bus = match self.features {
                None => Bus::new(self.blocks.clone(), parts),
                Some(place) => Bus::keeping(self.blocks.clone(), parts, Box::new(Shelf::new(place)?)),
            };
            let heard = |way| {
                let field = Boxed(self.model.field(way, config.precision, Some(bus.taps()))?);
                Ok::<_, Error>(Heard { field, bus: bus.clone() })
            };
            let (back, forth) = (heard(Way::Back)?, heard(Way::Forth(&config.guidance))?);
            let key = Key::of(self.seed, RandomStream::EditNoise);
            let edited = match method {
                Editing::RfEdit(edit) => edit.run([&back, &forth], &bus, x, [&source, &target], &schedule)?,
                Editing::FlowEdit(edit) => {
                    edit.run([&back, &forth], x, [&source, &target], &schedule, (key, &indices))?
                }
                Editing::SdEdit(edit) => {
                    let noise = key.normal_tensor(&indices, [0, size], &device);
                    edit.run(&forth, x, noise, &target, &schedule)?
                }
            };
            (nfe, bytes) = (edited.nfe, bytes.max(edited.bytes));
            out.extend(sampling::host(edited.x)?);
            context.tell(Event::Advance { done: rows.end as u64 });
        }
        context.tell(Event::End);
        let out = self.model.decode(&out, context)?;
        Ok((out.into_iter().map(|v| v.clamp(-1.0, 1.0)).collect(), nfe, bytes))
    }
}
