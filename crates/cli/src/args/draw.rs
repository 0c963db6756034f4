//! Arguments of the verbs that draw samples, or prepare how they are drawn.

use super::{FirstStepArgs, ModelArgs, ReleasedArgs, SolverArgs, seed};
use clap::{Args, ValueHint};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Sample {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub solver: SolverArgs,
    /// Sample along another path than the trained one, exactly: linear, trigonometric, vp, edm, … (both without latent).
    #[arg(long)]
    pub path: Option<String>,
    /// Number of samples; 64 by default, of a released model one for each prompt, of pictures one for each.
    #[arg(long, short)]
    pub num: Option<usize>,
    /// Images to start from, for a model trained with a second data set as its source: a named set, a file or folder.
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub data: Option<String>,
    /// Class by number or name, several separated by commas (repeated in turn); all in turn by default, `none` for no class.
    #[arg(long)]
    pub class: Option<String>,
    /// What to draw, for a model trained with `task.text` or a released one (repeatable; in turn): --prompt "red heart".
    #[arg(long, value_name = "TEXT", conflicts_with = "class")]
    pub prompt: Vec<String>,
    /// A picture of what to draw, for a flow over shapes trained with `task.picture` or a released TripoSG (repeatable; in turn): cut out, or on white.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["class", "prompt"], value_hint = ValueHint::FilePath)]
    pub image: Vec<PathBuf>,
    /// Points to start from in place of seeded noise, with their classes where the file has them: FILE.npy, FILE.safetensors (as
    /// `invert` writes them) or FILE.safetensors:TENSOR, `[n c h w]`; of a released model latents.
    #[arg(long, value_name = "FILE")]
    pub noise: Option<String>,
    /// Climb a reward that `reward train --noisy` made while sampling (Flow-NRG).
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub reward: Option<PathBuf>,
    /// How strongly: one number for all axes of the reward, or AXIS=NUMBER,...
    #[arg(long, value_name = "WEIGHT", default_value = "1", requires = "reward", allow_hyphen_values = true)]
    pub reward_weight: String,
    /// FILE.png (a sheet), FILE.npy, FILE.safetensors, of shapes FILE.glb, .obj, .ply or .stl, or a folder for single samples.
    #[arg(long, short, visible_alias = "output-dir", default_value = "samples.png", value_hint = ValueHint::AnyPath)]
    pub output: PathBuf,
    /// Images per row of a sheet.
    #[arg(long, default_value_t = 0)]
    pub columns: usize,
    /// Of shapes: cells to a side of the lattice that surfaces are taken from, a power of two.
    #[arg(long, default_value_t = 128)]
    pub resolution: usize,
    #[command(flatten)]
    pub released: ReleasedArgs,
    #[command(flatten)]
    pub first_step: FirstStepArgs,
    /// Check everything and draw nothing.
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args, Debug)]
pub struct Schedule {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Numbers of Euler steps to find schedules for, separated by commas; 2,4,8 by default.
    #[arg(long, visible_alias = "num-inference-steps", value_delimiter = ',')]
    pub steps: Vec<usize>,
    /// Cells between the anchors of the fine trajectories; ten per step or more.
    #[arg(long, default_value_t = 100)]
    pub anchors: usize,
    /// Trajectories that costs are averaged over, and as many on which candidates are compared.
    #[arg(long, short, default_value_t = 100)]
    pub num: u64,
    /// Trajectories computed together.
    #[arg(long, default_value_t = 50)]
    pub batch_size: usize,
    /// Guidance the sampler will run with; the checkpoint's own by default.
    #[arg(long, visible_alias = "cfg-scale", allow_negative_numbers = true)]
    pub guidance_scale: Option<f64>,
    /// Seed of the noise.
    #[arg(long, default_value_t = 0, value_parser = seed)]
    pub seed: u64,
    /// Folder for the files schedule-STEPS.json.
    #[arg(long, short, visible_alias = "output-dir", default_value = "schedules", value_hint = ValueHint::DirPath)]
    pub output: PathBuf,
    /// Search nothing: write the checkpoint's own path and times as diffusers' scheduler_config.json, for the recipe's number
    /// of steps or the one in --steps.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub export: Option<PathBuf>,
    /// The schedule to export, a file such as schedule-STEPS.json, in place of the recipe's.
    #[arg(long, requires = "export", value_hint = ValueHint::FilePath)]
    pub schedule: Option<PathBuf>,
    /// Export levels whose low end is shifted twice, as diffusers lays them out from a number of steps.
    #[arg(long, requires = "export")]
    pub legacy_double_shift: bool,
}
