//! Arguments of the verbs that learn what a judge prefers.

use super::{RecipeArgs, RunArgs, SolverArgs};
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Reward {
    #[command(subcommand)]
    pub action: RewardVerb,
}

#[derive(Subcommand, Debug)]
pub enum RewardVerb {
    /// Train a reward on pairs of samples that people or oracles labelled.
    Train(RewardTrain),
    /// What every sample of a folder is worth on each axis, as a table.
    Score(RewardScore),
    /// How often a reward says what people said, with ties and without.
    Bench(RewardBench),
}

/// Who judges samples that lie somewhere.
#[derive(Args, Debug)]
pub struct JudgeArgs {
    /// A trained reward (its run's folder or file), or oracle:contrast,motion,match.
    #[arg(value_name = "REWARD")]
    pub judge: String,
    /// The model whose samples they are, or would be; a reward knows without, an oracle needs it.
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub model: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct RewardScore {
    #[command(flatten)]
    pub judge: JudgeArgs,
    /// The folder of samples: pictures, clips, sounds, and below it folders of them. What each was asked to show is its folder, the .txt
    /// beside it, or what `sample` wrote into it.
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub input: PathBuf,
    /// The innermost folders are clips, and their pictures frames.
    #[arg(long)]
    pub folders_are_clips: bool,
    /// Weights of the axes in their mean.
    #[arg(long)]
    pub weights: Option<String>,
    /// Leave samples out that cannot be read or whose prompt is no class, and say how many.
    #[arg(long)]
    pub skip_unreadable: bool,
    /// FILE.csv or FILE.jsonl.
    #[arg(long, short, default_value = "scores.csv", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
}

#[derive(Args, Debug)]
pub struct RewardBench {
    #[command(flatten)]
    pub judge: JudgeArgs,
    /// A pair file (.csv, .tsv, .jsonl): path_A, path_B, prompt and on each axis A, B, same or invalid.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub pairs: PathBuf,
    /// The axes of that file that count; all of them by default.
    #[arg(long, value_name = "AXIS,...", value_delimiter = ',')]
    pub axes: Option<Vec<String>>,
    /// Which axis of the reward an axis of the file is held to, VQ=contrast,...; the one of its name by default, all together for Overall.
    #[arg(long, value_name = "AXIS=AXIS,...")]
    pub by: Option<String>,
    /// Leave pairs out whose samples cannot be read or whose prompt is no class, and say how many.
    #[arg(long)]
    pub skip_unreadable: bool,
}

/// Pairs that people judged.
#[derive(Args, Clone, Debug, Default)]
pub struct PairArgs {
    /// A pair file (.jsonl, .csv): path_A, path_B, prompt and on each axis A, B, same or invalid; `rectiflow label` writes one.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub pairs: Option<PathBuf>,
    /// The axes of that file that count; all of them by default.
    #[arg(long, value_name = "AXIS,...", value_delimiter = ',', requires = "pairs")]
    pub axes: Option<Vec<String>>,
    /// Leave pairs out whose samples cannot be read or whose prompt is no class, and say how many.
    #[arg(long, requires = "pairs")]
    pub skip_unreadable: bool,
}

#[derive(Args, Debug)]
pub struct RewardTrain {
    /// The model whose samples are compared: a run's folder or a checkpoint file.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub model: PathBuf,
    /// Oracles that label the model's own samples, an axis each: contrast, motion (of clips), match (of Fashion-MNIST's classes).
    #[arg(long, required_unless_present = "pairs", conflicts_with = "pairs")]
    pub oracles: Option<String>,
    #[command(flatten)]
    pub people: PairArgs,
    /// Of --pairs: the axes that ask whether a sample shows its class; those called TA or match by default.
    #[arg(long, value_name = "AXIS,...", value_delimiter = ',', requires = "pairs")]
    pub asks: Option<Vec<String>>,
    /// Of --oracles: pairs to learn from, 4000 by default.
    #[arg(long, short, conflicts_with = "pairs")]
    pub num: Option<usize>,
    /// Pairs that accuracy is measured on: of --oracles further ones, 1000 by default; of --pairs a tenth of them.
    #[arg(long)]
    pub held_out: Option<usize>,
    /// Of --oracles: share of pairs that are ties on each axis, 0.35 by default.
    #[arg(long, conflicts_with = "pairs")]
    pub ties: Option<f64>,
    /// Of --oracles: share of labels turned round, as people would, 0.1 by default.
    #[arg(long, conflicts_with = "pairs")]
    pub turned: Option<f64>,
    /// Read noisy points, as guidance while sampling needs; samples alone without.
    #[arg(long)]
    pub noisy: bool,
    /// Override a key of the reward's recipe: --set loss.type=bradley_terry, --set reward.features=32 (repeatable).
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub run: RunArgs,
}

/// How a model is aligned.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Way {
    /// Directly from preferences (Flow-DPO).
    Dpo,
    /// Flow matching weighted by the reward (Flow-RWR).
    Rwr,
    /// Flow matching on the preferred samples.
    Sft,
    /// From the rewards of samples drawn meanwhile, compared in groups (Flow-GRPO).
    Grpo,
}

#[derive(Args, Debug)]
pub struct Align {
    /// How.
    pub way: Way,
    /// The model: a run's folder or a checkpoint file.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub model: PathBuf,
    /// Who prefers: a trained reward (its run's folder or file) or oracle:contrast,motion,match.
    #[arg(long, required_unless_present = "pairs", conflicts_with = "pairs")]
    pub reward: Option<String>,
    #[command(flatten)]
    pub people: PairArgs,
    /// Weights of the axes, contrast=1,match=0.5; all one without. Axes of a reward count in their own standard deviations, what people
    /// said on an axis counts one.
    #[arg(long)]
    pub weights: Option<String>,
    /// Of --reward: pairs of candidates that the model draws, 2000 by default; grpo draws train.images samples as it learns.
    #[arg(long, short, conflicts_with = "pairs")]
    pub num: Option<usize>,
    /// Of --reward: training steps after which the model as it then is draws new candidates, which take the place of the old ones; never by
    /// default.
    #[arg(long, value_name = "STEPS")]
    pub online_every: Option<u64>,
    /// A key of the way's own settings: dpo.beta, dpo.beta_schedule (constant, derived), dpo.reduction (mean, sum), dpo.stop_ratio,
    /// rwr.temperature, rwr.cap, grpo.group, grpo.steps, grpo.noise, grpo.clip, grpo.kl, grpo.updates, grpo.trained (repeatable).
    #[arg(long, value_name = "KEY=VALUE")]
    pub way_set: Vec<String>,
    #[command(flatten)]
    pub overrides: RecipeArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(Args, Debug)]
pub struct Winrate {
    /// The model that may win: a run's folder or a checkpoint file.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub first: PathBuf,
    /// The model it is compared with.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub second: PathBuf,
    /// Who judges: a trained reward or oracle:contrast,motion,match.
    #[arg(long)]
    pub reward: String,
    /// Weights of the axes in their mean.
    #[arg(long)]
    pub weights: Option<String>,
    /// A reward, made by `reward train --noisy`, that the first model's samples climb (Flow-NRG).
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub first_reward: Option<PathBuf>,
    /// How strongly: one number for all axes of that reward, or AXIS=NUMBER,...
    #[arg(long, value_name = "WEIGHT", default_value = "1", requires = "first_reward", allow_hyphen_values = true)]
    pub first_reward_weight: String,
    /// Pairs, same noise and class in both.
    #[arg(long, short, default_value_t = 400)]
    pub num: usize,
    #[command(flatten)]
    pub solver: SolverArgs,
}
