//! What a user can type: the one definition behind parsing, `--help`, completions and the man page.

mod align;
#[cfg(test)]
mod docs;
mod draw;
mod judge;
mod keep;
mod make;
mod separate;
mod serve;
mod shape;
mod use_it;

pub use align::{Align, JudgeArgs, PairArgs, Reward, RewardBench, RewardScore, RewardTrain, RewardVerb, Way, Winrate};
pub use draw::{Sample, Schedule};
pub use judge::{Diagnose, Eval, Likelihood, Retrieve, Score, Transfer};
pub use keep::{Cite, Classifier, ClassifierVerb, Convert, Data, DataVerb, Get, Inspect, Report, Resume, Slim};
pub use make::{Codec, Demo, Fast, Pairs, Plan, Student, StudentMethod, Toy, Train};
pub use separate::Separate;
pub use serve::{Label, Serve};
pub use shape::{Extract, Place, Shape, ShapeVerb};
pub use use_it::{BesideArgs, Edit, Invert, Restore, TaskArgs};

use clap::{
    ArgAction, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueHint,
    builder::{PathBufValueParser, TypedValueParser},
};
use rectiflow::verbs::hub;
use std::path::PathBuf;

/// Train, straighten, distil and sample rectified flows.
#[derive(Debug, Parser)]
#[command(name = "rectiflow", version, max_term_width = 110, disable_help_subcommand = true)]
#[command(
    after_help = "Start with `rectiflow sample demo`, then `rectiflow demo`. Exit codes: 0 done, 1 could not be done, 2 the request makes no sense."
)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
    #[command(flatten)]
    pub global: Global,
}

impl Cli {
    /// What was typed; ends the program with a message where it makes no sense.
    pub fn typed() -> Self {
        let mut command = numbers_may_be_negative(Self::command());
        let typed = Self::from_arg_matches(&command.get_matches_mut());
        typed.unwrap_or_else(|error| error.format(&mut command).exit())
    }
}

/// `-1` is a value that may be refused for what it is, not the name of an option.
pub(crate) fn numbers_may_be_negative(command: Command) -> Command {
    command
        .mut_args(|arg| match arg.get_action() {
            ArgAction::Set | ArgAction::Append => arg.allow_negative_numbers(true),
            _ => arg,
        })
        .mut_subcommands(numbers_may_be_negative)
}

/// Where a model lies, also by its name on the Hugging Face hub.
pub(crate) fn place() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| hub::place(path).map_err(|error| error.to_string()))
}

/// A seed.
pub(crate) fn seed(text: &str) -> Result<u64, String> {
    let most = i64::MAX as u64; // TOML's integers end there
    text.parse().ok().filter(|seed| *seed <= most).ok_or_else(|| format!("a seed is a whole number from 0 to {most}"))
}

/// Options of every verb.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// Where to compute: cpu, cuda:0 or wgpu.
    #[arg(long, global = true, default_value = "cpu")]
    pub device: String,
    /// Numbers to compute with, f32 so far; of `convert` and `slim` those to write: f32, bf16 or f16, by default as they are.
    #[arg(long, global = true)]
    pub dtype: Option<String>,
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
    /// Train an autoencoder whose latents flows learn on (key `task.codec` of a flow's recipe).
    Codec(Codec),
    /// Draw samples from a checkpoint.
    Sample(Box<Sample>),
    /// Fill holes, enlarge, deblur or colour a folder of pictures with a flow that was not trained for it.
    Restore(Box<Restore>),
    /// Ask given pictures for another class or prompt, and keep what can be kept.
    Edit(Edit),
    /// Walk given pictures back to the noise that leads to them, and say how near walking forth again comes.
    Invert(Invert),
    /// Hear in a recording what a query names: "violin", "a flute".
    Separate(Separate),
    /// Answer requests for samples over HTTP: OpenAI's clients, jobs, and a page to draw with.
    Serve(Serve),
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
    /// Train a reward with several axes on a model's own samples.
    Reward(Reward),
    /// Ask somebody which of two samples is better, on a page of this machine; writes a pair file.
    Label(Label),
    /// Move a model towards what a reward prefers: Flow-DPO, Flow-RWR or supervised fine-tuning.
    Align(Align),
    /// How often a reward prefers one model's samples to another's, same noise and class, with intervals.
    Winrate(Winrate),
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
    /// Write a released model in another layout, or with other numbers (--dtype).
    Convert(Convert),
    /// Fetch a released model from the Hugging Face hub.
    Get(Get),
    /// Continue a run from its folder: recipe, teacher and pairs are its own.
    Resume(Resume),
    /// Write a page of a run, or of several side by side: curves, samples over time, what sets them apart.
    Report(Report),
    /// Say what a checkpoint, run, pair store or data set is.
    Inspect(Inspect),
    /// Say what a recipe will cost before its first step.
    Plan(Plan),
    /// List, fetch and show data sets.
    Data(Data),
    /// Look at meshes, sample, measure and extract them.
    Shape(Shape),
    /// The classifier that judges samples.
    Classifier(Classifier),
    /// Print the BibTeX of the papers behind a recipe or checkpoint.
    Cite(Cite),
    /// Print a completion script for a shell.
    Completions {
        /// bash, zsh, fish, elvish or powershell.
        shell: clap_complete::Shell,
    },
    /// Print the manual, or write its pages.
    Man {
        /// A folder for a page of each verb, rectiflow-VERB.1.
        #[arg(long, short, visible_alias = "output-dir", value_hint = ValueHint::DirPath)]
        output: Option<PathBuf>,
    },
}

/// A recipe and what overrides it.
#[derive(Args, Clone, Debug, Default)]
pub struct RecipeArgs {
    /// Override a recipe key: --set train.optim.lr=1e-3 (repeatable).
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Seed of all randomness (key `seed`).
    #[arg(long, value_parser = seed)]
    pub seed: Option<u64>,
    /// Images per step (key `train.batch`).
    #[arg(long)]
    pub batch_size: Option<usize>,
    /// A named data set or a file or folder (keys `data.name`, `data.path`).
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub data: Option<String>,
    /// A second data set to start from in place of noise, named or a file or folder (task `transfer`, keys `task.source.name`, `task.source.path`).
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

/// Which weights of which checkpoint.
#[derive(Args, Clone, Debug)]
pub struct ModelArgs {
    /// A run's folder (its newest checkpoint), a checkpoint file, or `demo`, the model in this program; `sample` reads a released model's folder or
    /// file, or its name on the hub (hf:OWNER/NAME), as well.
    #[arg(value_hint = ValueHint::AnyPath, value_parser = place())]
    pub checkpoint: PathBuf,
    /// Weights to use: a decay such as 0.999, or `raw`; the recipe's first average by default.
    #[arg(long)]
    pub ema: Option<String>,
}

/// One more step before the first.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "One more step")]
pub struct FirstStepArgs {
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

/// What only released models (a folder with `model_index.json`, a single file) read; see docs/released-models.md.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Released models")]
pub struct ReleasedArgs {
    /// Of a single file: the folder in diffusers' layout that has what the file lacks (text encoders, tokenizers, autoencoder).
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath, value_parser = place())]
    pub parts: Option<PathBuf>,
    /// A picture to change, of the size to draw: FILE.png, or numbers in [-1, 1] as FILE.npy or FILE.safetensors:TENSOR.
    #[arg(long, value_name = "FILE")]
    pub init_image: Option<String>,
    /// How far from that picture: above 0, 1 is all the way from noise; 0.6 by default.
    #[arg(long, requires = "init_image")]
    pub strength: Option<f64>,
    /// White where that picture may change; the rest keeps its pixels.
    #[arg(long, value_name = "FILE", requires = "init_image")]
    pub mask: Option<String>,
    /// Decode in tiles of so many pixels that overlap by a quarter, for large pictures in little memory.
    #[arg(long, value_name = "PIXELS")]
    pub decode_tile: Option<usize>,
    /// What not to draw: guidance leads away from it.
    #[arg(long, value_name = "TEXT")]
    pub negative_prompt: Option<String>,
    /// Pixels; the model's own size by default.
    #[arg(long)]
    pub height: Option<usize>,
    /// Pixels; the model's own size by default.
    #[arg(long)]
    pub width: Option<usize>,
    /// Of clips: frames, one more than a multiple of four; 81 by default.
    #[arg(long, visible_alias = "num-frames")]
    pub frames: Option<usize>,
    /// Of clips: frames a second, written into the file; 16 by default.
    #[arg(long)]
    pub fps: Option<f64>,
    /// FLUX: guidance away from the negative prompt, beside the --guidance-scale that the network is told.
    #[arg(long)]
    pub true_cfg_scale: Option<f64>,
    /// Tokens that T5 reads: 256 by default, 512 for FLUX dev and Wan.
    #[arg(long)]
    pub max_sequence_length: Option<usize>,
    /// Stable Diffusion 3: layers of CLIP passed over besides the last.
    #[arg(long)]
    pub clip_skip: Option<usize>,
    /// Stable Diffusion 3, Wan with --solver euler: shift the lowest noise levels twice, as diffusers does.
    #[arg(long)]
    pub double_shift: bool,
    /// Make the noise of the seed as PyTorch's generator for processors does, in single precision: the pictures that diffusers and ComfyUI
    /// draw of that seed.
    #[arg(long, value_name = "GENERATOR", value_parser = ["torch-cpu"], conflicts_with = "noise")]
    pub rng: Option<String>,
    /// A file of corrections of low rank (LoRA) for a released model, as FILE or FILE:SCALE; may be repeated.
    #[arg(long)]
    pub lora: Vec<String>,
    /// TripoSG: latent vectors of a shape; 2048 by default, fewer are faster and coarser.
    #[arg(long)]
    pub tokens: Option<usize>,
    /// Stable Diffusion 3.5 medium: blocks passed over by skip-layer guidance, such as 7,8,9.
    #[arg(long, value_delimiter = ',')]
    pub skip_layers: Vec<usize>,
    /// How far skip-layer guidance goes: 2.8 by default.
    #[arg(long, requires = "skip_layers")]
    pub skip_layer_scale: Option<f64>,
    /// Share of the steps after which skip-layer guidance begins: 0.01 by default.
    #[arg(long, requires = "skip_layers")]
    pub skip_layer_start: Option<f64>,
    /// Share of the steps before which it ends: 0.2 by default.
    #[arg(long, requires = "skip_layers")]
    pub skip_layer_stop: Option<f64>,
}

impl ReleasedArgs {
    /// The options that were given.
    pub fn given(&self) -> Vec<&'static str> {
        let options = [
            ("--parts", self.parts.is_some()),
            ("--init-image", self.init_image.is_some()),
            ("--decode-tile", self.decode_tile.is_some()),
            ("--negative-prompt", self.negative_prompt.is_some()),
            ("--height", self.height.is_some()),
            ("--width", self.width.is_some()),
            ("--frames", self.frames.is_some()),
            ("--fps", self.fps.is_some()),
            ("--true-cfg-scale", self.true_cfg_scale.is_some()),
            ("--max-sequence-length", self.max_sequence_length.is_some()),
            ("--clip-skip", self.clip_skip.is_some()),
            ("--skip-layers", !self.skip_layers.is_empty()),
            ("--lora", !self.lora.is_empty()),
            ("--double-shift", self.double_shift),
            ("--rng", self.rng.is_some()),
            ("--tokens", self.tokens.is_some()),
        ];
        options.into_iter().filter(|(_, given)| *given).map(|(option, _)| option).collect()
    }
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
    #[arg(long, value_parser = seed)]
    pub seed: Option<u64>,
}
