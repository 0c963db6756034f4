//! What every kind of codec says of itself: one trait for its table in a recipe, one for its trained network, and one for those whose
//! latents have a surface. A kind is one file (or folder) that implements them; `CodecConfig::kind` alone knows which there are.

use super::{CodecRecipe, Vocoded};
use crate::{
    Context, Error,
    recipe::Separate,
    runs::{Stage, TrainReport},
};
use base::{Device, Shape, Tensor};
use data::{DataConfig, Dataset, TestPart};
use media::shape::{Extracted, Point, record::Counts};
use std::{path::Path, sync::Arc};
use train::{SampleSource, checkpoint::Checkpoint};

/// The table of a kind of codec, and what is made of it.
pub(crate) trait Kind {
    /// Refuses values out of range, with the key's name.
    fn check(&self) -> Result<(), String>;

    /// The shape of what a sample becomes; an error for samples that it does not read.
    fn latent(&self, sample: Shape) -> Result<Shape, Error>;

    /// `data` as it reads them.
    fn open(&self, data: &DataConfig, context: &mut Context) -> Result<Arc<dyn Dataset>, Error>;

    /// The part of `data` that is kept apart; `None` where there is none.
    fn open_test(&self, data: &DataConfig, context: &mut Context) -> Result<Option<TestPart>, Error>;

    /// What can be refused before anything is written, without what takes minutes.
    fn rehearse(&self, recipe: &CodecRecipe) -> Result<(), Error>;

    /// Trains fresh weights, or those that the stage continues, on samples of shape `sample`.
    fn train(
        &self,
        stage: Stage<'_>,
        sample: Shape,
        source: &mut SampleSource,
        context: &mut Context,
    ) -> Result<TrainReport, Error>;

    /// The trained network.
    fn load(&self, sample: Shape, checkpoint: &Checkpoint, device: &Device) -> Result<Box<dyn Coder>, Error>;

    /// The points that its rows are, where what is lost can be measured on surfaces alone.
    fn points(&self) -> Option<Counts> {
        None
    }

    /// Whether its fields are densities of which nobody has said where the surface lies, so that it is found when training ends.
    fn seeks_level(&self) -> bool {
        false
    }

    /// What is made of the trained network in the run's `folder` in place of latents, where it has none.
    fn hand_over(
        &self,
        recipe: &CodecRecipe,
        checkpoint: &Checkpoint,
        folder: &Path,
        context: &mut Context,
    ) -> Result<Option<Vocoded>, Error> {
        let _ = (recipe, checkpoint, folder, context);
        Ok(None)
    }

    /// How its samples are heard, where they are pictures of sound.
    fn heard(&self) -> Option<Separate> {
        None
    }
}

/// A trained network between samples and latents, both as rows; whitening is its caller's.
pub(crate) trait Coder: Send + Sync {
    /// Rows `[b n]` of samples to rows `[b m]` of latents.
    fn encode(&self, rows: Tensor<2>) -> Result<Tensor<2>, Error>;

    /// Rows `[b m]` of latents to rows of shape [`Coder::drawn`].
    fn decode(&self, latents: Tensor<2>) -> Tensor<2>;

    /// The shape of what is decoded: of a sample, or of a latent where only its surface can be seen.
    fn drawn(&self) -> Shape;

    /// Bytes that decoding one latent leaves on a tape, an estimate; 0 where nobody differentiates it.
    fn tape_bytes(&self) -> u64 {
        0
    }

    /// The surfaces of its latents, where they have any.
    fn solid(&self) -> Option<&dyn Solid> {
        None
    }

    /// What its latents look like, beside what its samples show, where they are views of something.
    fn views(&self) -> Option<&dyn Views> {
        None
    }

    /// Which numbers of latents `[b m]` belong to what is shown (1) and which to what is around it (0), where it can tell.
    fn object(&self, latents: Tensor<2>) -> Option<Result<Tensor<2>, Error>> {
        let _ = latents;
        None
    }
}

/// A square piece of one of a sample's views.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    /// Which view.
    pub view: usize,
    /// Its first row and column.
    pub corner: [usize; 2],
    /// Where in its piece of a ray each place lies, in [0, 1).
    pub shift: f64,
}

/// Latents as pictures, piece by piece, with a gradient.
pub(crate) trait Views {
    /// Views of a sample, and pixels of a view to a side.
    fn sizes(&self) -> [usize; 2];

    /// What each of the latents `[b m]` shows in its window of `side` pixels, `[b 3 side side]` in [-1, 1].
    fn rendered(&self, latents: Tensor<2>, windows: &[Window], side: usize) -> Tensor<4>;

    /// Bytes that rendering one latent in a window of `side` pixels leaves on a tape, an estimate.
    fn tape_bytes(&self, side: usize) -> u64;

    /// What a sample's `row` shows there, `[3 side side]`.
    fn shown(&self, row: &[f32], window: &Window, side: usize) -> Vec<f32>;
}

/// A field in space for each latent.
pub(crate) trait Solid {
    /// Where the field of one `latent` is `offset`, at `2^depth` cells to a side of the cube.
    fn surface(&self, latent: &[f32], offset: f64, depth: u32, device: &Device) -> Result<Extracted, Error>;

    /// Its field at `points`, negative inside.
    fn field(&self, latent: &[f32], points: &[Point], device: &Device) -> Result<Vec<f64>, Error>;
}
