//! Arguments of the verbs that train.

use super::{ModelArgs, RecipeArgs, RunArgs, SolverArgs, seed};
use clap::{Args, ValueEnum, ValueHint};
use rectiflow::{
    Error,
    ranks::{Meeting, Place},
};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Train {
    /// The recipe (TOML); the house default without one.
    #[arg(value_hint = ValueHint::FilePath)]
    pub recipe: Option<PathBuf>,
    /// A released model's folder or name on the hub to start from, with its autoencoder and its readers of prompts (key `from`).
    #[arg(long, value_name = "MODEL", value_hint = ValueHint::DirPath, value_parser = super::place())]
    pub from: Option<PathBuf>,
    /// With --from or --init: train corrections beside its layers (of a released model those of attention) and leave its weights alone (table
    /// `lora`), of this rank; of the recipe's, or 16, without.
    #[arg(long, value_name = "RANK", num_args = 0..=1)]
    pub lora: Option<Option<usize>>,
    /// A run's folder or checkpoint to start from (key `init`): the same network, or one that has experts where that has perceptrons.
    #[arg(long, value_name = "RUN", value_hint = ValueHint::AnyPath, conflicts_with = "from")]
    pub init: Option<PathBuf>,
    #[command(flatten)]
    pub overrides: RecipeArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub ranks: RanksArgs,
}

/// Processes that train together, on one machine or on several; see docs/scale.md.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Several processes")]
pub struct RanksArgs {
    /// Which process this is of how many, from 0: 0/4. Without it what mpirun, mpiexec or srun say.
    #[arg(long, value_name = "I/N", requires = "meet", value_parser = Place::parse)]
    pub rank: Option<Place>,
    /// Where rank 0 listens and the others find it. It writes the run; each computes its share of every batch.
    #[arg(long, value_name = "HOST:PORT")]
    pub meet: Option<String>,
}

impl RanksArgs {
    /// Where to meet the others, if there are any.
    pub fn meeting(&self) -> Result<Option<Meeting>, Error> {
        let Some(at) = &self.meet else { return Ok(None) };
        let launched = || Place::of_launcher(|name| std::env::var(name).ok()).map_err(Error::Usage);
        let place = match self.rank {
            Some(place) => Some(place),
            None => launched()?,
        };
        let unsaid = "--meet: say which process this is with --rank I/N, or start it with mpirun, mpiexec or srun";
        Ok(Some(Meeting::new(place.ok_or_else(|| Error::Usage(unsaid.into()))?, at)))
    }
}

#[derive(Args, Debug)]
pub struct Codec {
    /// The recipe (TOML): data, `[codec]` and training; the house default without one.
    #[arg(value_hint = ValueHint::FilePath)]
    pub recipe: Option<PathBuf>,
    /// Override a recipe key: --set codec.latent_channels=8 (repeatable).
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// A named data set or a file or folder (keys `data.name`, `data.path`).
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub data: Option<String>,
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(Args, Debug)]
pub struct Pairs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub solver: SolverArgs,
    /// Number of pairs in the finished store; a store with fewer is continued.
    #[arg(long, short, default_value_t = 20000)]
    pub num: usize,
    /// Make one of N equal shares of them, from 0: 0/4. Several may fill one folder, or each its own, whose files are then put into one.
    #[arg(long, value_name = "I/N", value_parser = Place::parse)]
    pub shard: Option<Place>,
    /// The pair store's folder.
    #[arg(long, short, visible_alias = "output-dir", value_hint = ValueHint::DirPath)]
    pub output: PathBuf,
}

#[derive(Args, Debug)]
pub struct Student {
    /// The recipe (TOML) of what differs from the teacher's.
    #[arg(value_hint = ValueHint::FilePath)]
    pub recipe: Option<PathBuf>,
    /// The model to start from and to make pairs with: a run's folder or a checkpoint file.
    #[arg(long, visible_alias = "from", value_hint = ValueHint::AnyPath)]
    pub teacher: PathBuf,
    /// An existing pair store to train on instead of making one.
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub pairs: Option<PathBuf>,
    /// Number of pairs to make (key `pairs.count`).
    #[arg(long, short)]
    pub num: Option<u64>,
    /// A schedule file (see `rectiflow schedule`): the pairs are the pieces of the teacher's trajectories between its times
    /// (key `pairs.generate.cuts`).
    #[arg(long, value_hint = ValueHint::FilePath)]
    pub schedule: Option<PathBuf>,
    #[command(flatten)]
    pub overrides: RecipeArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(Args, Debug)]
pub struct Fast {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Evaluations of the network per sample.
    #[arg(long, visible_alias = "steps")]
    pub nfe: usize,
    /// Time for all of it, figures included: 90s, 10m, 1h30m.
    #[arg(long, default_value = "10m")]
    pub budget: String,
    /// Samples behind every figure; by default 1000, 500 or 250, so that figures take at most a quarter of the budget where they can.
    #[arg(long, short)]
    pub num: Option<usize>,
    /// Where students, figures and the plan go; a run stopped there continues. CHECKPOINT-fast by default.
    #[arg(long, visible_alias = "output", short, value_hint = ValueHint::DirPath)]
    pub output_dir: Option<PathBuf>,
    /// Make every check, measure the machine's speed, say how the budget would be spent, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args, Debug)]
pub struct Toy {
    /// The recipe (TOML) of what differs from recipes/toy/base.toml.
    #[arg(value_hint = ValueHint::FilePath)]
    pub recipe: Option<PathBuf>,
    #[command(flatten)]
    pub overrides: RecipeArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(Args, Debug)]
pub struct Plan {
    /// The recipe (TOML), the house default without one; or a released model's folder, file or name on the hub.
    #[arg(value_hint = ValueHint::AnyPath, value_parser = super::place())]
    pub recipe: Option<PathBuf>,
    /// Plan a student of this model, a run's folder or a checkpoint file, with --method; or a training from a released model.
    #[arg(long, visible_alias = "from", value_hint = ValueHint::AnyPath, value_parser = super::place())]
    pub teacher: Option<PathBuf>,
    /// With a released model and no --method: as for `train`; a student's corrections are its recipe's table `lora`.
    #[arg(long, value_name = "RANK", requires = "teacher", conflicts_with = "method", num_args = 0..=1)]
    pub lora: Option<Option<usize>>,
    /// How the student is made.
    #[arg(long, requires = "teacher")]
    pub method: Option<StudentMethod>,
    /// An existing pair store that it would train on.
    #[arg(long, requires = "teacher", value_hint = ValueHint::DirPath)]
    pub pairs: Option<PathBuf>,
    /// Of a released model: as for `sample`.
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath, value_parser = super::place())]
    pub parts: Option<PathBuf>,
    /// Of a released model: pixels, its own size by default.
    #[arg(long)]
    pub height: Option<usize>,
    /// Of a released model: pixels, its own size by default.
    #[arg(long)]
    pub width: Option<usize>,
    /// Of a released model of clips: frames of a clip.
    #[arg(long)]
    pub frames: Option<usize>,
    /// Of a released model: decoded in tiles of so many pixels.
    #[arg(long, value_name = "PIXELS")]
    pub decode_tile: Option<usize>,
    #[command(flatten)]
    pub overrides: RecipeArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum StudentMethod {
    Reflow,
    Distill,
    OneMoreStep,
}

#[derive(Args, Debug)]
pub struct Demo {
    /// Minutes to spend, about; quality grows with them.
    #[arg(long, default_value_t = 9.0)]
    pub minutes: f64,
    /// The same path in seconds with a tiny network: shows that everything works, not how well.
    #[arg(long)]
    pub smoke: bool,
    /// Seed of all randomness.
    #[arg(long, default_value_t = 1, value_parser = seed)]
    pub seed: u64,
    /// The run's folder.
    #[arg(long, visible_alias = "output", short, default_value = "runs/demo", value_hint = ValueHint::DirPath)]
    pub output_dir: PathBuf,
    /// Show what it would do and stop.
    #[arg(long)]
    pub dry_run: bool,
}
