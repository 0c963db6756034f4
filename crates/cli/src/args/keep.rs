//! Arguments of the verbs around the models.

use super::{ModelArgs, seed};
use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Inspect {
    /// A checkpoint file, a run's folder, a pair store, or data.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// Bring the images of a data set to squares of this side.
    #[arg(long)]
    pub size: Option<usize>,
}

#[derive(Args, Debug)]
pub struct Resume {
    /// The folder of a run that was stopped or killed.
    #[arg(value_hint = ValueHint::DirPath)]
    pub run: PathBuf,
}

#[derive(Args, Debug)]
pub struct Report {
    /// Folders of runs.
    #[arg(required = true, value_hint = ValueHint::DirPath)]
    pub runs: Vec<PathBuf>,
    /// The page to write; report.html in the folder of a single run.
    #[arg(long, short, value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Slim {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Draw with this from now on where nobody says otherwise: --set sample.steps=2 (repeatable).
    #[arg(long, value_name = "sample.KEY=VALUE")]
    pub set: Vec<String>,
    /// The file to write.
    #[arg(long, short, value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
}

#[derive(Args, Debug)]
pub struct Get {
    /// hf:OWNER/NAME, hf:OWNER/NAME@REVISION, or hf:OWNER/NAME/FILE for one file of many.
    pub name: String,
}

#[derive(Args, Debug)]
pub struct Convert {
    /// A released model: a folder in diffusers' layout, a single file, or hf:OWNER/NAME; or a run of `train --from`.
    #[arg(value_hint = ValueHint::AnyPath, value_parser = super::place())]
    pub from: PathBuf,
    /// The folder or file to write; it must not be there yet.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub to: PathBuf,
    /// diffusers: a folder; single: a file under the authors' names.
    #[arg(long, value_parser = ["diffusers", "single"])]
    pub layout: String,
    /// Of a single file: the folder that has what the file lacks.
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath, value_parser = super::place())]
    pub parts: Option<PathBuf>,
    /// Write a single file of the network alone, its names bare.
    #[arg(long)]
    pub network_only: bool,
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
    /// Describe a data set and draw a sheet of its first images, of the spectrograms of its recordings or of the views of its shapes.
    Show {
        /// A name in the list, or a file or folder.
        what: String,
        /// Where the sheet goes.
        #[arg(long, short, default_value = "data.png", value_hint = ValueHint::FilePath)]
        output: PathBuf,
        /// Number of images, recordings or shapes on the sheet.
        #[arg(long, short, default_value_t = 64)]
        num: usize,
        /// Bring the images to squares of this side; of shapes, pixels of a view to a side.
        #[arg(long)]
        size: Option<usize>,
        /// Pass over (and count) images that cannot be read.
        #[arg(long)]
        skip_unreadable: bool,
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
        #[arg(long, default_value_t = 0, value_parser = seed)]
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
