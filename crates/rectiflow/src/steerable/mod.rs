//! What restoring, inverting and editing ask of a model, whether it was trained here or released by others.
//!
//! A [`Steerable`] has pictures on one side and what its flow moves on the other: the pictures themselves, or latents of them. The
//! verbs see rows and a field; who trained the network, how it reads prompts and what decodes it is said once, where it is
//! implemented (`trained.rs` here, `released/pictures.rs`).

mod layers;
mod shelf;
mod trained;

pub(crate) use layers::{Layers, without};
pub(crate) use shelf::Shelf;

use crate::{Context, Error, asked::Classes, device::Chosen, recipe::SampleConfig, sound::Hearing};
use base::{Condition, Device, Shape, Taps, Tensor};
use flow::{Field, guidance::GuidanceConfig};
use kernels::Precision;
use train::checkpoint::Which;

/// Which way a field is walked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way<'a> {
    /// To the noise: nothing is exaggerated, or the way forth would start elsewhere.
    Back,
    /// To the data, under guidance.
    Forth(&'a GuidanceConfig),
}

/// From rows of latents to rows of pictures, differentiable.
pub(crate) struct Decoder {
    /// The function, its weights where there is a tape.
    pub decode: Box<dyn Fn(Tensor<2>) -> Tensor<2>>,
    /// Bytes that one latent leaves on the tape, an estimate.
    pub bytes: u64,
}

/// A model that pictures can be restored, inverted and edited with.
pub(crate) trait Steerable {
    /// Where it is, for messages.
    fn place(&self) -> String;

    /// `[c h w]` of its pictures.
    ///
    /// # Errors
    /// [`Error::Usage`] for a model of something else.
    fn picture(&self) -> Result<[usize; 3], Error>;

    /// How its pictures are heard, where they are pictures of sound.
    fn hearing(&self) -> Option<Hearing> {
        None
    }

    /// What its flow moves: pictures, or latents of them.
    fn moved(&self) -> Shape;

    /// Whether those are latents.
    fn moves_latents(&self) -> bool;

    /// The path that it moves along.
    fn path(&self) -> &flow::Path;

    /// How it is drawn from where nobody says otherwise, in `steps` where somebody does.
    ///
    /// # Errors
    /// Steps that it cannot take.
    fn usual(&self, steps: Option<usize>) -> Result<SampleConfig, Error>;

    /// Its attention layers.
    fn layers(&self) -> Layers;

    /// Its velocity, attention layers read or replaced by `taps`.
    ///
    /// # Errors
    /// Guidance out of range; a network that has no velocity; weights that cannot be read.
    fn field<'a>(
        &'a self,
        way: Way<'_>,
        precision: Precision,
        taps: Option<Taps>,
    ) -> Result<Box<dyn Field<2> + 'a>, Error>;

    /// Reads what is going to be asked for, where that is done before the network is opened.
    ///
    /// # Errors
    /// What the reader of prompts may say.
    fn hear(&self, asked: &[&Classes], context: &mut Context) -> Result<(), Error> {
        let _ = (asked, context);
        Ok(())
    }

    /// What samples of `indices` are conditioned on.
    ///
    /// # Errors
    /// What the reader of prompts may say.
    fn condition(&self, asked: &Classes, indices: &[u64], device: &Device) -> Result<Condition, Error>;

    /// Pictures, one after another, as what its flow moves.
    ///
    /// # Errors
    /// Weights that cannot be read, and [`Error::Interrupted`].
    fn encode(&self, pictures: &[f32], context: &mut Context) -> Result<Vec<f32>, Error>;

    /// What its flow moved as pictures, not clamped.
    ///
    /// # Errors
    /// Weights that cannot be read, and [`Error::Interrupted`].
    fn decode(&self, moved: &[f32], context: &mut Context) -> Result<Vec<f32>, Error>;

    /// What decodes, for costs that look at pictures; none where pictures are moved themselves.
    ///
    /// # Errors
    /// Weights that cannot be read.
    fn decoder(&self, device: &Chosen) -> Result<Option<Decoder>, Error>;

    /// Refuses a model that is not differentiated, before anything is opened.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the methods that can be had.
    fn check_taped(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The same with its weights where there is a tape, none of which wants a gradient of its own.
    ///
    /// # Errors
    /// [`Error::Usage`] for a model that is not differentiated; weights that cannot be read.
    fn taped(&self, which: Which, device: &Chosen) -> Result<(Box<dyn Steerable>, Chosen), Error>;
}

/// Where weights lie when something is differentiated.
pub(crate) fn tape(device: &Chosen) -> Chosen {
    Chosen { device: device.device.clone().autodiff(), name: device.name.clone() }
}
