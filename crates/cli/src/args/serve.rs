//! Arguments of `serve` and `label`.

use clap::{Args, ValueHint};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Serve {
    /// Runs (their folders) or checkpoint files that draw pictures or shapes or separate sounds, or released models (their folders, or hf:OWNER/NAME), as PATH or NAME=PATH.
    #[arg(required = true, value_name = "MODEL", value_hint = ValueHint::AnyPath)]
    pub models: Vec<String>,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7860")]
    pub listen: String,
    /// What clients must send as a bearer token; the variable RECTIFLOW_API_KEY without, which other users of this machine do
    /// not see.
    #[arg(long, value_name = "KEY")]
    pub api_key: Option<String>,
    /// A name by which clients call this server, besides localhost and addresses (repeatable).
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// A folder of runs whose curves and sheets the page shows, also while they train.
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub runs: Option<PathBuf>,
    /// A folder of its own in which jobs and what they made outlive the server, prompts too; in memory alone without.
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub state: Option<PathBuf>,
    /// Megabytes of that folder; the oldest jobs make room.
    #[arg(long, value_name = "MB", default_value_t = 256, requires = "state")]
    pub state_size: u64,
    /// Pictures that may wait to be drawn; who comes then is asked to come again.
    #[arg(long, value_name = "PICTURES", default_value_t = 64)]
    pub queue: usize,
    /// Pictures drawn together, of one request or of several; does not change them. The recipe's by default.
    #[arg(long, value_name = "PICTURES")]
    pub batch_size: Option<usize>,
    /// Pictures that one request may ask for.
    #[arg(long, value_name = "PICTURES", default_value_t = 16)]
    pub max_images: usize,
    /// Steps that a request may ask for.
    #[arg(long, value_name = "STEPS", default_value_t = 1000)]
    pub max_steps: usize,
    /// Pixels to a side that a request may ask of a released model.
    #[arg(long, value_name = "PIXELS", default_value_t = 2048)]
    pub max_side: usize,
    /// Seconds after which a request that waits for its pictures is given up; jobs are not.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub patience: u64,
    /// Megabytes of networks' weights that are open at a time; those used least lately make room. All models stay open without.
    #[arg(long, value_name = "MB")]
    pub model_memory: Option<u64>,
    /// Megabytes of a request that brings a picture or a recording.
    #[arg(long, value_name = "MB", default_value_t = 8)]
    pub max_upload: usize,
    /// Connections open at a time.
    #[arg(long, value_name = "CONNECTIONS", default_value_t = 256)]
    pub max_connections: usize,
}

#[derive(Args, Debug)]
pub struct Label {
    /// A folder of pictures, animations or sounds; those of one prompt in a folder of their own, with a .txt beside each, or as `sample` wrote them.
    #[arg(value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,
    /// The pair file, .jsonl; one that is there is gone on with.
    #[arg(long, short, default_value = "pairs.jsonl", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
    /// What is asked of each pair.
    #[arg(long, value_name = "AXIS,...", value_delimiter = ',', default_value = "VQ,MQ,TA")]
    pub axes: Vec<String>,
    /// Pairs at most.
    #[arg(long, short, default_value_t = 200)]
    pub num: usize,
    /// Seed of which pairs are shown.
    #[arg(long, value_parser = super::seed, default_value_t = 0)]
    pub seed: u64,
    /// The innermost folders are clips, and the pictures in each are its frames.
    #[arg(long)]
    pub folders_are_clips: bool,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7861")]
    pub listen: String,
    /// A name by which browsers call this server, besides localhost and addresses (repeatable).
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
}
