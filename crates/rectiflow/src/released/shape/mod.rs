//! TripoSG's released folder (Li et al., 2025, arXiv:2502.06608), drawn from: a picture to tokens by a frozen DINOv2, tokens to latent vectors
//! along the flow, latent vectors to a field, its surface to a mesh. Parts are opened one after another and dropped when they have spoken.
//!
//! The networks are `nets::triposg`, written from the paper and from facts about the layout. Tested on random weights in that layout; no released
//! weight was loaded.

mod draw;
mod open;
mod picture;
mod plan;
#[cfg(test)]
mod tests;

pub use draw::{ShapesDrawn, draw};
pub use open::{describe, is_one};
pub use plan::{ShapePlan, plan};

use crate::Error;
use flow::Solver;
use kernels::Precision;
use std::path::PathBuf;

/// What to draw from a released model of shapes; what is not given is the model's own habit.
#[derive(Clone, Debug)]
pub struct ShapeRequest {
    /// The model's folder.
    pub folder: PathBuf,
    /// Pictures of what to draw, in turn.
    pub images: Vec<PathBuf>,
    /// Samples; one of each picture where absent.
    pub count: Option<usize>,
    /// Latent vectors of a shape; 2048.
    pub tokens: Option<usize>,
    /// Steps of the solver; 50.
    pub steps: Option<usize>,
    /// How far away from tokens that say nothing; 7, and up to 1 none.
    pub guidance: Option<f64>,
    /// A schedule file in place of the model's own levels.
    pub schedule: Option<PathBuf>,
    /// The solver; Euler.
    pub solver: Option<Solver>,
    /// Operands of the networks' products.
    pub precision: Precision,
    /// Seed of the noise.
    pub seed: u64,
    /// Latent vectors to start from, `[n tokens channels]`, in place of seeded noise: `FILE.npy`, `FILE.safetensors:TENSOR`.
    pub noise: Option<String>,
    /// Cells to a side of the lattice that surfaces are taken from, a power of two.
    pub resolution: usize,
    /// Pictures per row of a sheet; 0 chooses.
    pub columns: usize,
    /// `.glb`, `.obj`, `.ply`, `.stl`, a `.png` of pictures, a folder, or `.npy` and `.safetensors` of latent vectors.
    pub output: PathBuf,
}

/// Latent vectors of a shape by habit.
const TOKENS: usize = 2048;
/// Steps by habit.
const STEPS: usize = 50;
/// Guidance by habit.
const GUIDANCE: f64 = 7.0;

impl ShapeRequest {
    /// Of the model in `folder`, everything else its habit.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            images: Vec::new(),
            count: None,
            tokens: None,
            steps: None,
            guidance: None,
            schedule: None,
            solver: None,
            precision: Precision::default(),
            seed: 0,
            noise: None,
            resolution: 128,
            columns: 0,
            output: PathBuf::new(),
        }
    }

    /// Latent vectors of a shape.
    ///
    /// # Errors
    /// None, or more than attention can hold.
    fn tokens(&self) -> Result<usize, Error> {
        let tokens = self.tokens.unwrap_or(TOKENS);
        crate::error::within("--tokens", tokens, 1..=1 << 14)?;
        Ok(tokens)
    }

    /// How far guidance goes; 1 is none.
    ///
    /// # Errors
    /// A scale that is no number from 0.
    fn scale(&self) -> Result<f64, Error> {
        match self.guidance.unwrap_or(GUIDANCE) {
            scale if scale.is_finite() && scale >= 0.0 => Ok(scale.max(1.0)),
            scale => {
                Err(Error::Usage(format!("--guidance-scale {scale}: it must be zero or more; up to 1 means none")))
            }
        }
    }
}
