//! Recipes: one typed TOML file that names data, network, path, coupling, time law, loss, training and sampling.
//!
//! Every table is the configuration of the room it belongs to; this file only composes them and checks what no single
//! room can see. Layers are laid over each other (house defaults, the teacher's recipe, the file, `--set`), and the
//! result is what a run saves beside its checkpoints and inside them.

mod check;
pub mod document;
mod evaluate;
mod latents;
mod layers;
mod picture;
mod sample;
mod task;
mod text;

pub use document::DocumentError;
pub use evaluate::EvaluateConfig;
pub use latents::{LatentsConfig, Pixels, RenderConfig, Space};
pub use layers::Layers;
pub use picture::PictureConfig;
pub use sample::{PairsRecipe, SampleConfig};
pub(crate) use task::check_recordings;
pub use task::{FLOW_SEP, Generate, Joint, Separate, TaskConfig, Transfer};
pub use text::{INSTAFLOW, TextConfig};

use crate::Error;
use base::Network;
use data::DataConfig;
use flow::{Coupling, Loss, Native, Objective, Parameterization, PathField, Perceptual, TimeConfig, Weighting};
use methods::{DistillConfig, ReflowConfig, Stage, Target};
use nets::{LoraConfig, NetConfig};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use train::{FlowTask, Origin, TrainConfig};

/// All settings of a run.
///
/// ```
/// use rectiflow::Recipe;
/// let recipe = Recipe::parse("seed = 7\n[train]\nbatch = 32\n", "my.toml")?;
/// assert_eq!((recipe.seed, recipe.train.batch), (7, 32));
/// let wrong = Recipe::parse("[train]\nbacth = 32\n", "my.toml").unwrap_err();
/// assert!(wrong.to_string().starts_with("my.toml:2:1: unknown key `bacth`; did you mean `batch`?"));
/// # Ok::<(), rectiflow::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// The run's name: its folder under `runs/`.
    pub name: String,
    /// Seed of all randomness.
    pub seed: u64,
    /// The released model whose weights training starts from, and lies beside while corrections of low rank are trained: `--from`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<PathBuf>,
    /// The run whose weights training starts from: a folder or a checkpoint, `train --init`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// What is trained: to draw samples, to carry one data set to another, to hear one sound in a mixture.
    pub task: TaskConfig,
    /// The path between noise and data.
    pub path: flow::Path,
    /// What the network outputs.
    pub parameterization: Parameterization,
    /// How noise and data are paired.
    pub coupling: Coupling,
    /// Distribution of training times.
    pub time: TimeConfig,
    /// Distance between output and target.
    pub loss: Loss,
    /// Weight of the loss over time.
    pub weighting: Weighting,
    /// Looks at every pair with its latent and with the latent reflected; for paths that have one.
    pub antithetic: bool,
    /// The reading in which output and target are compared; the network's own output without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measure: Option<Parameterization>,
    /// The path and output the network was first trained with, where it is read on another now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native: Option<Native>,
    /// A perceptual distance beside the loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perceptual: Option<Perceptual>,
    /// What the network is told to say: what the path says of each pair unless a rule is named.
    pub target: Target,
    /// Trains a correction of low rank beside the teacher's weights instead of the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// What to train on.
    pub data: DataConfig,
    /// The network.
    pub network: NetConfig,
    /// How long and how to train.
    pub train: TrainConfig,
    /// The pairs that reflow and distillation make.
    pub pairs: PairsRecipe,
    /// What the verb `reflow` trains.
    pub reflow: ReflowConfig,
    /// What the verb `distill` trains.
    pub distill: DistillConfig,
    /// How samples are drawn unless asked otherwise.
    pub sample: SampleConfig,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            name: "run".into(),
            seed: 0,
            from: None,
            init: None,
            task: TaskConfig::default(),
            path: flow::Path::default(),
            parameterization: Parameterization::default(),
            coupling: Coupling::default(),
            time: TimeConfig::default(),
            loss: Loss::default(),
            weighting: Weighting::default(),
            antithetic: false,
            measure: None,
            native: None,
            perceptual: None,
            target: Target::default(),
            lora: None,
            data: DataConfig::default(),
            network: NetConfig::default(),
            train: TrainConfig::default(),
            pairs: PairsRecipe::default(),
            reflow: ReflowConfig::default(),
            distill: DistillConfig::default(),
            sample: SampleConfig::default(),
        }
    }
}

impl Recipe {
    /// Reads a recipe from text called `name` in messages; what it does not say is the house default.
    ///
    /// # Errors
    /// [`Error::Recipe`] with line, key and suggestion, or with the combination that makes no sense.
    pub fn parse(text: &str, name: &str) -> Result<Self, Error> {
        Layers::new().text(text, name)?.build()
    }

    /// The recipe as TOML, complete: what a run keeps.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a recipe holds only strings, numbers, lists and tables")
    }

    /// What training minimises.
    pub fn objective(&self) -> Objective {
        Objective {
            path: self.path.clone(),
            parameterization: self.parameterization,
            time: self.time.clone(),
            loss: self.loss.clone(),
            weighting: self.weighting.clone(),
            antithetic: self.antithetic,
            measure: self.measure,
            native: self.native.clone(),
            perceptual: self.perceptual,
        }
    }

    /// `network` as the field that this recipe trains.
    pub fn field<'a, N: Network<2> + ?Sized>(&self, network: &'a N) -> PathField<'a, N> {
        PathField::new(network, self.path.clone(), self.parameterization)
            .independent(self.pairs_are_independent())
            .native(self.native.clone())
            .reaching(self.target.needs_reach())
    }

    /// What the training loop is told, for data of `classes` classes.
    pub fn flow_task(&self, classes: usize) -> FlowTask {
        FlowTask {
            objective: self.objective(),
            origin: self.origin(),
            coupling: self.coupling.clone(),
            condition_dropout: self.train.condition_dropout,
            conditional: self.rows(classes) > 0,
            seed: self.seed,
        }
    }

    /// What flows start from.
    pub fn origin(&self) -> Origin {
        if self.task.source().is_some() { Origin::Data } else { Origin::Noise }
    }

    /// Of `classes` classes, those that the network is told: none where it reads captions.
    pub fn rows(&self, classes: usize) -> usize {
        if self.task.text().is_some() || self.task.picture().is_some() { 0 } else { classes }
    }

    /// Takes over what a stage trains.
    pub fn with_stage(mut self, stage: &Stage) -> Self {
        let Objective { path, parameterization, time, loss, weighting, antithetic, measure, native, perceptual } =
            stage.objective.clone();
        (self.path, self.parameterization, self.time, self.loss, self.weighting, self.antithetic) =
            (path, parameterization, time, loss, weighting, antithetic);
        (self.measure, self.native, self.perceptual) = (measure, native, perceptual);
        (self.coupling, self.target) = (stage.coupling.clone(), stage.target.clone());
        if self.target.needs_reach() {
            self.network = self.network.reaching(true);
        }
        self
    }

    /// Whether training needs stored pairs.
    pub fn needs_pairs(&self) -> bool {
        self.coupling.needs_pairs()
    }

    /// Whether source points are noise drawn independently of the data.
    pub fn pairs_are_independent(&self) -> bool {
        self.coupling == Coupling::Independent {} && self.origin() == Origin::Noise
    }

    /// Whether the trained network knows its score, as stochastic solvers need: on a path from noise where the pairs are
    /// independent, elsewhere where it can be read off the output.
    pub fn score_is_known(&self) -> bool {
        // These two leave the velocity of the marginals behind.
        if matches!(self.target, Target::Consistency(_) | Target::Segments(_)) {
            return false;
        }
        let readable =
            self.task.second().is_some() || self.parameterization.reads(Parameterization::Score {}, &self.path);
        readable && (self.path.has_latent() || self.pairs_are_independent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_survives_its_own_toml() {
        let recipe = Recipe::default();
        assert_eq!(Recipe::parse(&recipe.to_toml(), "x").unwrap(), recipe);
        assert_eq!(Layers::new().recipe(&recipe).build().unwrap(), recipe);
    }
}
