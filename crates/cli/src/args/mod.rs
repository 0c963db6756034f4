//! What a user can type: the one definition behind parsing, `--help`, completions and the man page.

mod measure;

pub use measure::{Diagnose, Eval, Likelihood, Retrieve, Score, Transfer};

use clap::{Args, Parser, Subcommand, ValueHint};
use std::path::PathBuf;

/// Train, straighten, distil and sample rectified flows.
#[derive(Debug, Parser)]
#[command(name = "rectiflow", version, max_term_width = 110, disable_help_subcommand = true)]
#[command(
    after_help = "Start with `rectiflow demo`. Exit codes: 0 done, 1 could not be done, 2 the request makes no sense."
)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
    #[command(flatten)]
    pub global: Global,
}

/// Options of every verb.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// Where to compute: cpu, cuda:0 or wgpu.
    #[arg(long, global = true, default_value = "cpu")]
    pub device: String,
    /// Numbers to compute with; f32 is the only kind so far.
    #[arg(long, global = true, default_value = "f32")]
    pub dtype: String,
    /// Processor threads; all by default.
    #[arg(long, global = true)]
    pub threads: Option<usize>,
    /// Say only errors and results.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print the result as JSON on standard output.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Base, reflow and distillation on real images in minutes, with a report.
    Demo(Demo),
    /// Train a base model from a recipe.
    Train(Train),
    /// Draw samples from a checkpoint.
    Sample(Sample),
    /// Find where the few steps of a sampler should lie, without training.
    Schedule(Schedule),
    /// Write (noise, sample) pairs of a model into a pair store.
    Pairs(Pairs),
    /// Straighten: make pairs with a teacher and train on them.
    Reflow(Student),
    /// Distil: train the few steps that will be taken (pairs, segments, consistency, MeanFlow, shortcuts).
    Distill(Student),
    /// Make a checkpoint fast: schedule, reflow and distillation within a budget, measured before and after.
    Fast(Fast),
    /// Train the step before the first, for schedules that leave signal at their noisy end.
    OneMoreStep(Student),
    /// Measure a checkpoint: Fréchet distance, KID, precision, recall, class accuracy, straightness.
    Eval(Eval),
    /// Carry held-out images of one data set to another and measure them against their true counterparts.
    Transfer(Transfer),
    /// Draw held-out captions and ask a network that had no part in training which caption each sample shows.
    Retrieve(Retrieve),
    /// Measure bits per dimension of held-out data under a checkpoint's flow.
    Likelihood(Likelihood),
    /// Measure images that something else made: a folder, an .npy or .npz file.
    Score(Score),
    /// Any path, coupling, time law and solver on points in the plane: trains in half a minute and draws.
    Toy(Toy),
    /// Where a checkpoint's flow bends and loses accuracy along time, and how its pairs cross.
    Diagnose(Diagnose),
    /// Keep of a checkpoint the weights that samplers use.
    Slim(Slim),
    /// Say what a checkpoint, run, pair store or data set is.
    Inspect(Inspect),
    /// Say what a recipe will cost before its first step.
    Plan(Plan),
    /// List, fetch and show data sets.
    Data(Data),
    /// The classifier that judges samples.
    Classifier(Classifier),
    /// Print the BibTeX of the papers behind a recipe or checkpoint.
    Cite(Cite),
    /// Print a completion script for a shell.
    Completions {
        /// bash, zsh, fish, elvish or powershell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

/// A recipe and what overrides it.
#[derive(Args, Clone, Debug, Default)]
pub struct RecipeArgs {
    /// Override a recipe key: --set train.optim.lr=1e-3 (repeatable).
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Seed of all randomness (key `seed`).
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))] // TOML's integers end there
    pub seed: Option<u64>,
    /// Images per step (key `train.batch`).
    #[arg(long)]
    pub batch_size: Option<usize>,
    /// A named data set or a file or folder (keys `data.name`, `data.path`).
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub data: Option<String>,
    /// A second data set to start from in place of noise, named or a file or folder (keys `source.name`, `source.path`).
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub source: Option<String>,
    /// Stop after so many training images (key `train.images`).
    #[arg(long)]
    pub images: Option<u64>,
    /// Stop after so many seconds of training (key `train.seconds`).
    #[arg(long)]
    pub seconds: Option<f64>,
}

/// Where a run goes.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// The run's folder; runs/NAME by default.
    #[arg(long, visible_alias = "output", short, value_hint = ValueHint::DirPath)]
    pub output_dir: Option<PathBuf>,
    /// Continue: `latest`, or a checkpoint file of this run.
    #[arg(long, value_name = "latest|FILE")]
    pub resume: Option<String>,
    /// Check everything and print the resolved recipe; train nothing.
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args, Debug)]
pub struct Train {
    /// The recipe (TOML); the house default without one.
    #[arg(value_hint = ValueHint::FilePath)]
    pub recipe: Option<PathBuf>,
    #[command(flatten)]
    pub overrides: RecipeArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

/// Which weights of which checkpoint.
#[derive(Args, Clone, Debug)]
pub struct ModelArgs {
    /// A run's folder (its newest checkpoint) or a checkpoint file.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub checkpoint: PathBuf,
    /// Weights to use: a decay such as 0.999, or `raw`; the recipe's first average by default.
    #[arg(long)]
    pub ema: Option<String>,
}

/// One more step before the first.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "One more step")]
pub struct PreludeArgs {
    /// A step made by `rectiflow one-more-step`: its run's folder or checkpoint file.
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub one_more_step: Option<PathBuf>,
    /// Share of the noise that the step replaces by fresh noise, in [0, 1]; 0 keeps all of it.
    #[arg(long, requires = "one_more_step", default_value_t = 0.0)]
    pub one_more_step_fresh: f64,
    /// Guidance of the step; 1 is none.
    #[arg(long, requires = "one_more_step", default_value_t = 1.0)]
    pub one_more_step_guidance: f64,
}

/// How samples are drawn; what is not given comes from the checkpoint's recipe.
#[derive(Args, Clone, Debug, Default)]
pub struct SolverArgs {
    /// Steps of the solver.
    #[arg(long, visible_alias = "num-inference-steps")]
    pub steps: Option<usize>,
    /// A schedule file (see `rectiflow schedule`) in place of --steps.
    #[arg(long, value_hint = ValueHint::FilePath)]
    pub schedule: Option<PathBuf>,
    /// Classifier-free guidance; 1 is none.
    #[arg(long, visible_alias = "cfg-scale", allow_negative_numbers = true)]
    pub guidance_scale: Option<f64>,
    /// euler, midpoint, heun, rk4, dormand_prince and others (docs/choose-a-solver.md), or spelled out as in a recipe:
    /// '{ type = "adams_bashforth", order = 4 }'.
    #[arg(long)]
    pub solver: Option<String>,
    /// Operands of the network's products, f32 or bf16: faster on processors with AVX512-BF16, samples differ slightly.
    #[arg(long, value_parser = ["f32", "bf16"])]
    pub precision: Option<String>,
    /// Samples per batch; does not change the samples.
    #[arg(long)]
    pub batch_size: Option<usize>,
    /// Seed of the noise; sample i depends on the seed and i alone.
    #[arg(long)]
    pub seed: Option<u64>,
}

#[derive(Args, Debug)]
pub struct Sample {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub solver: SolverArgs,
    /// Sample along another path than the trained one, exactly: linear, trigonometric, vp, edm, … (both without latent).
    #[arg(long)]
    pub path: Option<String>,
    /// Number of samples.
    #[arg(long, short, default_value_t = 64)]
    pub num: usize,
    /// Images to start from, for a model trained with a second data set as its source: a named set, a file or folder.
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub data: Option<String>,
    /// Class by number or name, several separated by commas (repeated in turn); all in turn by default, `none` for no class.
    #[arg(long)]
    pub class: Option<String>,
    /// What to draw, for a model trained with `[text]` (repeatable; in turn): --prompt "red heart".
    #[arg(long, value_name = "TEXT", conflicts_with = "class")]
    pub prompt: Vec<String>,
    /// FILE.png (a sheet), FILE.npy, FILE.safetensors, or a folder for single images.
    #[arg(long, short, visible_alias = "output-dir", default_value = "samples.png", value_hint = ValueHint::AnyPath)]
    pub output: PathBuf,
    /// Images per row of a sheet.
    #[arg(long, default_value_t = 0)]
    pub columns: usize,
    #[command(flatten)]
    pub prelude: PreludeArgs,
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
    #[arg(long, default_value_t = 0)]
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

#[derive(Args, Debug)]
pub struct Pairs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub solver: SolverArgs,
    /// Number of pairs in the finished store; a store with fewer is continued.
    #[arg(long, short, default_value_t = 20000)]
    pub num: usize,
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
    /// Samples behind every figure.
    #[arg(long, short, default_value_t = 1000)]
    pub num: usize,
    /// Where students, figures and the plan go; a run stopped there continues. CHECKPOINT-fast by default.
    #[arg(long, visible_alias = "output", short, value_hint = ValueHint::DirPath)]
    pub output_dir: Option<PathBuf>,
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
pub struct Inspect {
    /// A checkpoint file, a run's folder, a pair store, or data.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
}

#[derive(Args, Debug)]
pub struct Slim {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The file to write.
    #[arg(long, short, value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
}

#[derive(Args, Debug)]
pub struct Plan {
    /// The recipe (TOML); the house default without one.
    #[arg(value_hint = ValueHint::FilePath)]
    pub recipe: Option<PathBuf>,
    #[command(flatten)]
    pub overrides: RecipeArgs,
}

#[derive(Args, Debug)]
pub struct Data {
    #[command(subcommand)]
    pub action: DataVerb,
}

#[derive(Debug, Subcommand)]
pub enum DataVerb {
    /// List the named data sets and whether they are here.
    List,
    /// Fetch a named data set, or continue fetching it.
    Get {
        /// Its name in the list, or hf:OWNER/NAME for a data set of the Hugging Face hub.
        name: String,
        /// A package file or a folder with its files that is already on this machine.
        #[arg(long, value_hint = ValueHint::AnyPath)]
        from: Option<PathBuf>,
    },
    /// Describe a data set and draw a sheet of its first images.
    Show {
        /// A name in the list, or a file or folder.
        what: String,
        /// Where the sheet goes.
        #[arg(long, short, default_value = "data.png", value_hint = ValueHint::FilePath)]
        output: PathBuf,
        /// Number of images on the sheet.
        #[arg(long, short, default_value_t = 64)]
        num: usize,
    },
}

#[derive(Args, Debug)]
pub struct Classifier {
    #[command(subcommand)]
    pub action: ClassifierVerb,
}

#[derive(Debug, Subcommand)]
pub enum ClassifierVerb {
    /// Train it on a labelled data set.
    Train {
        /// A named data set or a file or folder.
        #[arg(long, value_hint = ValueHint::AnyPath)]
        data: Option<String>,
        /// Passes over the data.
        #[arg(long)]
        epochs: Option<usize>,
        /// Seed of all randomness.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Where the weights go.
        #[arg(long, short, default_value = "classifier.safetensors", value_hint = ValueHint::FilePath)]
        output: PathBuf,
    },
}

#[derive(Args, Debug)]
pub struct Cite {
    /// A recipe, a run's folder or a checkpoint file; everything this program implements without one.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub what: Option<PathBuf>,
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
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The run's folder.
    #[arg(long, visible_alias = "output", short, default_value = "runs/demo", value_hint = ValueHint::DirPath)]
    pub output_dir: PathBuf,
    /// Show what it would do and stop.
    #[arg(long)]
    pub dry_run: bool,
}
