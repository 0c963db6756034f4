//! Arguments of the verbs that measure.

use super::{FirstStepArgs, ModelArgs, seed};
use clap::{Args, ValueHint};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Eval {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Numbers of steps, separated by commas.
    #[arg(long, visible_alias = "num-inference-steps", value_delimiter = ',', default_value = "1,2,4,8,50")]
    pub steps: Vec<usize>,
    /// A schedule file (see `rectiflow schedule`) in place of --steps.
    #[arg(long, conflicts_with = "steps", value_hint = ValueHint::FilePath)]
    pub schedule: Option<PathBuf>,
    /// The solver of those steps, as for `sample`.
    #[arg(long, default_value = "euler")]
    pub solver: String,
    /// Classifier-free guidance; 1 is none.
    #[arg(long, visible_alias = "cfg-scale", default_value_t = 1.0, allow_negative_numbers = true)]
    pub guidance_scale: f64,
    /// Samples per row.
    #[arg(long, short, default_value_t = 2000)]
    pub num: usize,
    /// Samples per batch; does not change the samples.
    #[arg(long, default_value_t = 250)]
    pub batch_size: usize,
    /// Seed of the noise.
    #[arg(long, default_value_t = 0, value_parser = seed)]
    pub seed: u64,
    /// Features to compare in: pixels, pixels@8, pixels@16, grain, vgg16, efficientnet-lite0 or inception, the last three with :FILE unless
    /// fetched; for clips frames: and one of them (frames:pixels@8 by default);
    /// the classifier's by default.
    #[arg(long)]
    pub features: Option<String>,
    /// Classifier file for class accuracy; the shipped one where it knows the data.
    #[arg(long, value_hint = ValueHint::FilePath)]
    pub classifier: Option<PathBuf>,
    /// Further features whose Fréchet distance stands beside, as for --features; pixels@16 and grain by default, `none` for no others.
    #[arg(long, value_delimiter = ',')]
    pub also: Vec<String>,
    /// Say which defects of real images these judges see.
    #[arg(long)]
    pub explain: bool,
    #[command(flatten)]
    pub first_step: FirstStepArgs,
    /// Write the report into this folder.
    #[arg(long, short, visible_alias = "output-dir", value_hint = ValueHint::DirPath)]
    pub output: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Diagnose {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Times at which figures are taken.
    #[arg(long, visible_alias = "num-inference-steps", default_value_t = 20)]
    pub steps: usize,
    /// Samples.
    #[arg(long, short, default_value_t = 64)]
    pub num: usize,
    /// Seed of the noise.
    #[arg(long, default_value_t = 0, value_parser = seed)]
    pub seed: u64,
    /// Classifier-free guidance; 1 is none.
    #[arg(long, visible_alias = "cfg-scale", default_value_t = 1.0, allow_negative_numbers = true)]
    pub guidance_scale: f64,
    /// The pair store a student was trained on; the one beside its checkpoint by default.
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub pairs: Option<PathBuf>,
    /// Where diagnose.html and diagnose.json go; the run's folder by default.
    #[arg(long, short, visible_alias = "output-dir", value_hint = ValueHint::DirPath)]
    pub output: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Likelihood {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Held-out images.
    #[arg(long, short, default_value_t = 256)]
    pub num: usize,
    /// Images per batch; does not change the figures.
    #[arg(long, default_value_t = 32)]
    pub batch_size: usize,
    /// Steps of a fixed-step solver.
    #[arg(long, visible_alias = "num-inference-steps", default_value_t = 50)]
    pub steps: usize,
    /// euler, midpoint, heun, rk4 or dormand_prince; heun by default.
    #[arg(long)]
    pub solver: Option<String>,
    /// Random probes averaged in the divergence.
    #[arg(long, default_value_t = 1)]
    pub probes: usize,
    /// Normal probes in place of signs.
    #[arg(long)]
    pub gaussian: bool,
    /// The exact divergence: one derivative per value, for small images only.
    #[arg(long, conflicts_with_all = ["probes", "gaussian"])]
    pub exact: bool,
    /// Seed of the spread over 8-bit cells and of the probes.
    #[arg(long, default_value_t = 0, value_parser = seed)]
    pub seed: u64,
}

#[derive(Args, Debug)]
pub struct Score {
    /// A folder of images, an .npy file (labels in NAME_labels.npy) or an .npz file (images, labels).
    #[arg(value_hint = ValueHint::AnyPath)]
    pub samples: PathBuf,
    /// The images to compare with: a named data set, or a file or folder.
    #[arg(long, default_value = "fashion-mnist-mini", value_hint = ValueHint::AnyPath)]
    pub data: String,
    /// Bring samples and images to squares of this side.
    #[arg(long)]
    pub size: Option<usize>,
    /// How many of them.
    #[arg(long, default_value_t = 10000)]
    pub reference: usize,
    /// Features to compare in: pixels, pixels@8, pixels@16, grain, vgg16, efficientnet-lite0 or inception, the last three with :FILE unless
    /// fetched; for clips frames: and one of them (frames:pixels@8 by default);
    /// the classifier's by default.
    #[arg(long)]
    pub features: Option<String>,
    /// Classifier file for class accuracy; the shipped one where it knows the data.
    #[arg(long, value_hint = ValueHint::FilePath)]
    pub classifier: Option<PathBuf>,
    /// Further features whose Fréchet distance stands beside, as for --features; pixels@16 and grain by default, `none` for no others.
    #[arg(long, value_delimiter = ',')]
    pub also: Vec<String>,
    /// Say which defects of real images these judges see.
    #[arg(long)]
    pub explain: bool,
}

#[derive(Args, Debug)]
pub struct Transfer {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Numbers of steps, separated by commas.
    #[arg(long, visible_alias = "num-inference-steps", value_delimiter = ',', default_value = "1,4,50")]
    pub steps: Vec<usize>,
    /// The solver of those steps, as for `sample`.
    #[arg(long, default_value = "euler")]
    pub solver: String,
    /// Held-out images, at most.
    #[arg(long, short)]
    pub num: Option<usize>,
    /// Network of the perceptual distance: vgg16 or alexnet (`rectiflow data get lpips-vgg`), or none.
    #[arg(long, default_value = "vgg16", value_parser = ["vgg16", "alexnet", "none"])]
    pub lpips: String,
    /// Side to which images are resized before that network looks; 64 for small ones.
    #[arg(long, default_value_t = 64)]
    pub lpips_size: usize,
    /// A sheet of sources, what they become, and their counterparts.
    #[arg(long, short, value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Rows on the sheet.
    #[arg(long, default_value_t = 12)]
    pub rows: usize,
}

#[derive(Args, Debug)]
pub struct Retrieve {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Numbers of steps, separated by commas.
    #[arg(long, visible_alias = "num-inference-steps", value_delimiter = ',', default_value = "1,25")]
    pub steps: Vec<usize>,
    /// The solver of those steps, as for `sample`; the recipe's by default.
    #[arg(long)]
    pub solver: Option<String>,
    /// Classifier-free guidance; the recipe's by default.
    #[arg(long, visible_alias = "cfg-scale", allow_negative_numbers = true)]
    pub guidance_scale: Option<f64>,
    /// Held-out captions, at most.
    #[arg(long, short)]
    pub num: Option<usize>,
    /// Captions to choose among.
    #[arg(long, default_value_t = 100)]
    pub among: usize,
    /// Who looks: vgg16 (`rectiflow data get lpips-vgg`), efficientnet-lite0 or pixels.
    #[arg(long, default_value = "vgg16")]
    pub features: String,
    /// A set with pictures of the same names in another style: how often those are recognised.
    #[arg(long)]
    pub against: Option<String>,
    /// A sheet of real pictures and samples at each number of steps.
    #[arg(long, short, value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Rows on the sheet.
    #[arg(long, default_value_t = 12)]
    pub rows: usize,
}
