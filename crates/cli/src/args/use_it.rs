//! Arguments of the verbs that use a trained flow on pictures somebody has.

use super::{ModelArgs, SolverArgs};
use clap::{
    Args, ValueHint,
    builder::{PossibleValue, PossibleValuesParser},
};
use std::path::PathBuf;

/// What only released models (a folder with `model_index.json`, a single file) read; see docs/released-models.md.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Released models")]
pub struct BesideArgs {
    /// Of a single file: the folder in diffusers' layout that has what the file lacks (text encoders, tokenizers, autoencoder).
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath, value_parser = super::place())]
    pub parts: Option<PathBuf>,
    /// What the pictures should not show: guidance leads away from it.
    #[arg(long, value_name = "TEXT")]
    pub negative_prompt: Option<String>,
    /// FLUX: how far away from the negative prompt, on top of the guidance it is told.
    #[arg(long)]
    pub true_cfg_scale: Option<f64>,
    /// A file of corrections of low rank, and how much of it: FILE or FILE:SCALE (repeatable).
    #[arg(long, value_name = "FILE[:SCALE]")]
    pub lora: Vec<String>,
    /// Decode in tiles of so many pixels.
    #[arg(long, value_name = "PIXELS")]
    pub decode_tile: Option<usize>,
    /// Tokens that T5 reads; the model's own number by default.
    #[arg(long)]
    pub max_sequence_length: Option<usize>,
}

/// Names of tasks, and of one that people look for, whose refusal says why.
fn tasks() -> PossibleValuesParser {
    let known = rectiflow::restoring::TASKS.into_iter().map(PossibleValue::new);
    PossibleValuesParser::new(known.chain([PossibleValue::new("declip").hide(true)]))
}

/// What was done to pictures or recordings that `restore` undoes. Every option belongs to one task.
#[derive(Args, Debug)]
pub struct TaskArgs {
    /// What was done to them: inpaint (part is unknown), gap (a stretch of a recording is lost), super (fewer pixels), deblur, colour (none is
    /// left), sense (some numbers of a random transform are known), dequantise (few levels are left), jpeg (its rounding), phase (magnitudes of the
    /// Fourier transform are known).
    #[arg(long, value_parser = tasks())]
    pub task: String,
    /// inpaint: the hole, side of a square in the middle, or row,column,height,width.
    #[arg(long = "box", value_name = "SIDE|ROW,COLUMN,HEIGHT,WIDTH")]
    pub hole: Option<String>,
    /// inpaint: the hole as a picture of the model's size: white is unknown, black is known.
    #[arg(long, value_hint = ValueHint::FilePath)]
    pub mask: Option<PathBuf>,
    /// inpaint: this share of the pixels is unknown, chosen at random by the seed (0.7).
    #[arg(long, value_name = "SHARE")]
    pub scattered: Option<f64>,
    /// inpaint: strokes of a brush over this share of the pixels, drawn by the seed (0.3).
    #[arg(long, value_name = "SHARE")]
    pub strokes: Option<f64>,
    /// gap: seconds that are lost, somewhere in each recording by the seed, or where they begin and how many (0.5,0.1).
    #[arg(long, value_name = "SECONDS|START,SECONDS")]
    pub gap: Option<String>,
    /// super: enlarge by this factor; 2 without.
    #[arg(long)]
    pub scale: Option<usize>,
    /// super: pixels came of cubic convolution, as programs shrink pictures, and not of averages.
    #[arg(long)]
    pub bicubic: bool,
    /// deblur: size of the Gaussian in pixels, odd; 7 without.
    #[arg(long)]
    pub taps: Option<usize>,
    /// deblur: deviation of the Gaussian in pixels; 1 without.
    #[arg(long)]
    pub sigma: Option<f64>,
    /// deblur: a motion of so many pixels in place of a Gaussian.
    #[arg(long, value_name = "PIXELS")]
    pub motion: Option<f64>,
    /// deblur: direction of the motion in degrees against the clock; 0, along the row, without.
    #[arg(long, value_name = "DEGREES", allow_negative_numbers = true)]
    pub angle: Option<f64>,
    /// deblur: weights of the blur, a picture's brightness or FILE.npy [h w], odd; brought to the sum one.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub kernel: Option<PathBuf>,
    /// sense: this share of the numbers is known; 0.25 without.
    #[arg(long)]
    pub share: Option<f64>,
    /// dequantise: bits that are left of a value; 2 without.
    #[arg(long)]
    pub bits: Option<u32>,
    /// jpeg: its quality, from 1 to 100; 10 without.
    #[arg(long)]
    pub quality: Option<u32>,
}

#[derive(Args, Debug)]
pub struct Restore {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The pictures, or for --task gap the recordings: one file, a folder, a file of arrays, or a named set (its held-out part).
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub input: String,
    /// These are originals: degrade them first, and measure against them.
    #[arg(long)]
    pub degrade: bool,
    /// Originals of the same names, to measure against where the pictures are degraded already.
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub originals: Option<String>,
    /// Pictures, at most.
    #[arg(long, short)]
    pub num: Option<usize>,
    /// Bring pictures of another size to the model's.
    #[arg(long)]
    pub resize: bool,
    #[command(flatten)]
    pub task: TaskArgs,
    /// Deviation of the noise in what is known, in units of [-1, 1] (of --task phase, of the magnitudes): added with --degrade, allowed
    /// for by flowchef and ot-ode.
    #[arg(long, default_value_t = 0.0)]
    pub noise: f64,
    /// Of a flow of latents: hold it to what is known on the latents (holes alone, as cheap as on pictures) or through the decoder,
    /// differentiated; by default latents for holes and the decoder else.
    #[arg(long, value_parser = ["latent", "decoder"])]
    pub cost: Option<String>,
    /// Pull the pictures towards something beside what is known (repeatable), weighed beside half the squared misfit:
    /// '{ type = "class", class = "Sneaker", weight = 4 }' by a classifier (`classifier = "FILE"`; the shipped one without), or
    /// '{ type = "picture", file = "x.png", mask = "white-counts.png", weight = 0.5 }'.
    #[arg(long, value_name = "TABLE")]
    pub toward: Vec<String>,
    /// Ways of restoring, separated by commas: flowchef, mpgd, dps, freedom, ot-ode, pnp-flow, flow-dps, d-flow, the published settings
    /// (flowchef:pixel), or spelled out: '{ type = "flowchef", inner = 3 }'.
    #[arg(long, default_value = "flowchef")]
    pub method: String,
    /// Share of the misfit that a step removes, in (0, 2); every method has its own otherwise.
    #[arg(long, allow_negative_numbers = true)]
    pub kappa: Option<f64>,
    /// Allow kappa of 2 and more, which destroys the pictures.
    #[arg(long)]
    pub force: bool,
    /// Class by number or name, several separated by commas (in turn); none by default.
    #[arg(long)]
    pub class: Option<String>,
    /// What the pictures show, for a model trained with `task.text` (repeatable, in turn); nothing by default.
    #[arg(long, conflicts_with = "class")]
    pub prompt: Vec<String>,
    #[command(flatten)]
    pub solver: SolverArgs,
    #[command(flatten)]
    pub beside: BesideArgs,
    /// Folder for the pictures or recordings of each method, sheet.png, metrics.json, and of pictures index.html.
    #[arg(long, short, visible_alias = "output-dir", default_value = "restored", value_hint = ValueHint::DirPath)]
    pub output: PathBuf,
    /// Rows on the sheet.
    #[arg(long, default_value_t = 12)]
    pub rows: usize,
}

#[derive(Args, Debug)]
pub struct Invert {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The pictures: one file, a folder, a file of arrays, or a named set (its held-out part).
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub input: String,
    /// Pictures, at most.
    #[arg(long, short)]
    pub num: Option<usize>,
    /// Bring pictures of another size to the model's.
    #[arg(long)]
    pub resize: bool,
    /// The class of the pictures by number or name, several separated by commas (in turn), or none; their own labels without.
    #[arg(long)]
    pub class: Option<String>,
    /// What they show, for a model trained with `task.text`.
    #[arg(long, conflicts_with = "class")]
    pub prompt: Option<String>,
    /// Undo every step of the solver exactly, by iteration, in place of walking the schedule backwards.
    #[arg(long)]
    pub exact: bool,
    #[command(flatten)]
    pub solver: SolverArgs,
    #[command(flatten)]
    pub beside: BesideArgs,
    /// FILE.npy, or FILE.safetensors, which keeps the classes as well.
    #[arg(long, short, default_value = "noise.safetensors", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
}

#[derive(Args, Debug)]
pub struct Edit {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The pictures: one file, a folder, a file of arrays, or a named set (its held-out part).
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub input: String,
    /// Pictures, at most.
    #[arg(long, short)]
    pub num: Option<usize>,
    /// Bring pictures of another size to the model's.
    #[arg(long)]
    pub resize: bool,
    /// The class asked for, by number or name, several separated by commas (in turn).
    #[arg(long, required_unless_present = "prompt")]
    pub class: Option<String>,
    /// The class of the pictures; their own labels without.
    #[arg(long, conflicts_with = "prompt")]
    pub source_class: Option<String>,
    /// What the pictures should show, for a model trained with `task.text` (repeatable, in turn).
    #[arg(long, conflicts_with = "class")]
    pub prompt: Vec<String>,
    /// What they show now (repeatable, in turn); their own captions without, and nothing where they have none.
    #[arg(long, requires = "prompt")]
    pub source_prompt: Vec<String>,
    /// Ways of editing, separated by commas: rf-edit, inversion, euler-inversion, flow-edit, sd-edit, or spelled out:
    /// '{ type = "flow_edit", start = 0.5 }'.
    #[arg(long, default_value = "rf-edit")]
    pub method: String,
    /// Steps from the noise on that share the pictures' own attention values; more keeps more. For rf-edit.
    #[arg(long)]
    pub inject: Option<usize>,
    /// Attention layers that share them, first..end by number (2..6) or by kind (single.20..38); the second half without, of FLUX those
    /// of the paper.
    #[arg(long)]
    pub blocks: Option<String>,
    /// Keep what rf-edit shares in files there while it works, in place of memory.
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub features: Option<PathBuf>,
    #[command(flatten)]
    pub solver: SolverArgs,
    #[command(flatten)]
    pub beside: BesideArgs,
    /// Folder for the pictures of each method, sheet.png and metrics.json.
    #[arg(long, short, visible_alias = "output-dir", default_value = "edited", value_hint = ValueHint::DirPath)]
    pub output: PathBuf,
    /// Rows on the sheet.
    #[arg(long, default_value_t = 12)]
    pub rows: usize,
}
