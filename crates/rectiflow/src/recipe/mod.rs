//! Recipes: one typed TOML file that names data, network, path, coupling, time law, loss, training and sampling.
//!
//! Every table is the configuration of the room it belongs to; this file only composes them and checks what no single
//! room can see. Layers are laid over each other (house defaults, the teacher's recipe, the file, `--set`), and the
//! result is what a run saves beside its checkpoints and inside them.

pub mod document;
mod evaluate;
mod sample;

pub use document::DocumentError;
pub use evaluate::EvaluateConfig;
pub use sample::{PairsRecipe, SampleConfig};

use crate::Error;
use data::DataConfig;
use flow::{Coupling, Loss, Objective, Parameterization, TimeConfig, TimeLaw, Weighting};
use methods::{DistillConfig, ReflowConfig, Stage};
use nets::NetConfig;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, path::Path};
use train::{FlowTask, TrainConfig};

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
            path: flow::Path::default(),
            parameterization: Parameterization::default(),
            coupling: Coupling::default(),
            time: TimeConfig::default(),
            loss: Loss::default(),
            weighting: Weighting::default(),
            antithetic: false,
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
        }
    }

    /// What the training loop is told, for data of `classes` classes.
    pub fn task(&self, classes: usize) -> FlowTask {
        FlowTask {
            objective: self.objective(),
            coupling: self.coupling.clone(),
            condition_dropout: self.train.condition_dropout,
            conditional: classes > 0,
            seed: self.seed,
        }
    }

    /// Takes over what a stage trains.
    pub fn with_stage(mut self, stage: &Stage) -> Self {
        let Objective { path, parameterization, time, loss, weighting, antithetic } = stage.objective.clone();
        (self.path, self.parameterization, self.time, self.loss, self.weighting, self.antithetic) =
            (path, parameterization, time, loss, weighting, antithetic);
        self.coupling = stage.coupling.clone();
        self
    }

    /// Whether training needs stored pairs.
    pub fn needs_pairs(&self) -> bool {
        self.coupling.needs_pairs()
    }

    /// Whether source points are drawn independently of the data.
    pub fn pairs_are_independent(&self) -> bool {
        self.coupling == Coupling::Independent {}
    }

    /// Whether the trained network knows its score, as stochastic solvers need: on a path from noise where the pairs are
    /// independent, elsewhere where it can be read off the output.
    pub fn score_is_known(&self) -> bool {
        let readable = self.parameterization.reads(Parameterization::Score {}, &self.path);
        readable && (self.path.has_latent() || self.pairs_are_independent())
    }

    /// Refuses values out of range and combinations that make no sense, each with the reason.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |reason: String| Error::Usage(format!("recipe `{}`: {reason}", self.name));
        if self.name.is_empty() || self.name.contains(['/', '\\', '\0']) || self.name.starts_with('.') {
            return Err(wrong("`name` becomes a folder: use letters, digits, `-` and `_`".into()));
        }
        self.data.check().map_err(|error| wrong(error.to_string()))?;
        self.network.check().map_err(|error| wrong(error.to_string()))?;
        self.objective().check().map_err(|error| wrong(error.to_string()))?;
        self.coupling.check().map_err(|error| wrong(error.to_string()))?;
        self.train.check().map_err(wrong)?;
        self.pairs.check().map_err(wrong)?;
        self.sample.check().map_err(wrong)?;
        self.combination().map_err(|reason| wrong(reason.into()))
    }

    fn combination(&self) -> Result<(), &'static str> {
        let one_time = matches!(self.time.law, TimeLaw::Constant { .. } | TimeLaw::Steps { .. });
        if one_time && !self.needs_pairs() {
            return Err("`time.law` = constant or steps trains only those times: that is distillation, which needs \
                        `coupling = { type = \"stored\" }` and a teacher's pairs (verbs `reflow`, `distill`)");
        }
        if self.needs_pairs() && self.data.flip && !self.reflow.flip {
            return Err(
                "`data.flip` would mirror stored pairs; set data.flip = false, or reflow.flip = true where the \
                        teacher was trained on mirrored images",
            );
        }
        if self.needs_pairs() && self.path != (flow::Path::Linear {}) {
            return Err("stored pairs are straightened along the linear path only; set `path = { type = \"linear\" }`");
        }
        let readable = self.parameterization.reads(Parameterization::Velocity {}, &self.path);
        if !readable && self.train.sample_every > 0 {
            return Err(
                "sample sheets need a velocity, which this parameterization alone does not give on this path; set \
                        train.sample_every = 0 and read it together with a second network, or train \
                        `parameterization = { type = \"velocity\" }`",
            );
        }
        if matches!(self.path, flow::Path::Mirror { .. }) && self.train.sample_every > 0 {
            return Err("a mirror starts from data, not from noise: there are no sample sheets of it; set \
                        train.sample_every = 0");
        }
        if self.sample.path.as_ref().is_some_and(|path| path.has_latent() || self.path.has_latent()) {
            return Err(
                "`sample.path` changes the pace of a flow from Gaussian noise; a path with a latent is another flow: \
                        leave `sample.path` out, or train on a path without latent",
            );
        }
        if self.sample.solver.is_stochastic() && !self.score_is_known() {
            return Err(
                "`sample.solver` is stochastic and needs the score, which one network gives on independent pairs from noise \
                        only: after reflow, distillation, optimal transport, or between two data sets set a \
                        deterministic solver, for instance `sample.solver = { type = \"heun\" }`",
            );
        }
        if self.sample.solver.follows_path() && self.path.has_latent() {
            return Err(
                "`sample.solver` follows the curve between two points, and this path has a latent between them; \
                        set one that follows the velocity alone, for instance `sample.solver = { type = \"heun\" }`",
            );
        }
        if self.train.condition_dropout == 0.0 && self.sample.guidance.scale != 1.0 {
            return Err("`sample.guidance.scale` other than 1 contrasts with the unconditional network, which is \
                        trained only where `train.condition_dropout` is above 0");
        }
        Ok(())
    }
}

/// Documents laid over each other, the later over the earlier.
#[derive(Clone, Debug)]
pub struct Layers {
    table: toml::Table,
    /// Top-level keys that somebody wrote, as opposed to inherited from a recipe.
    written: BTreeSet<String>,
}

impl Default for Layers {
    fn default() -> Self {
        Self::new()
    }
}

impl Layers {
    /// The house defaults, so that `network.channels` can be set without naming the network.
    pub fn new() -> Self {
        let table = toml::Table::try_from(Recipe::default()).expect("a recipe holds only strings, numbers and tables");
        Self { table, written: BTreeSet::new() }
    }

    /// A complete recipe below what follows (a teacher's).
    pub fn recipe(mut self, recipe: &Recipe) -> Self {
        let table = toml::Table::try_from(recipe).expect("a recipe holds only strings, numbers, lists and tables");
        document::overlay(&mut self.table, table);
        self
    }

    /// A recipe's text, called `name` in messages.
    ///
    /// # Errors
    /// [`Error::Recipe`].
    pub fn text(mut self, text: &str, name: &str) -> Result<Self, Error> {
        let table = document::parse::<Recipe>(text, name)?;
        self.written.extend(table.keys().cloned());
        document::overlay(&mut self.table, table);
        Ok(self)
    }

    /// A recipe file.
    ///
    /// # Errors
    /// [`Error::Usage`] where it cannot be read, [`Error::Recipe`] where it cannot be understood.
    pub fn file(self, path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| Error::Usage(format!("cannot read the recipe {}: {error}", path.display())))?;
        self.text(&text, &path.display().to_string())
    }

    /// A named data set, or a file or folder that exists.
    ///
    /// # Errors
    /// [`Error::Recipe`].
    pub fn data(mut self, name_or_path: &str) -> Result<Self, Error> {
        let is_path = name_or_path.contains(['/', '\\']) || Path::new(name_or_path).exists();
        let (key, other) = if is_path { ("path", "name") } else { ("name", "path") };
        let table = self.table.entry("data").or_insert_with(|| toml::Table::new().into());
        if let Some(table) = table.as_table_mut() {
            table.remove(other);
            table.insert(key.into(), name_or_path.into());
        }
        Ok(self)
    }

    /// An override `a.b=c`.
    ///
    /// # Errors
    /// [`Error::Recipe`].
    pub fn set(mut self, assignment: &str) -> Result<Self, Error> {
        document::set(&mut self.table, assignment)?;
        self.written.extend(assignment.split(['.', '=']).next().map(|key| key.trim().to_string()));
        document::build::<Recipe>(self.table.clone(), &format!("--set {assignment}"))?;
        Ok(self)
    }

    /// Refuses keys that a student takes from its teacher or from the table `stage` ("reflow", "distill").
    ///
    /// # Errors
    /// [`Error::Usage`] naming the key.
    pub fn student_of(self, stage: &str) -> Result<Self, Error> {
        let refuse = |key: &str, why: String| Err(Error::Usage(format!("`{key}` cannot be set for `{stage}`: {why}")));
        for key in ["time", "loss"] {
            if self.written.contains(key) {
                let there =
                    if (stage, key) == ("distill", "time") { "distill.steps".into() } else { format!("{stage}.{key}") };
                return refuse(key, format!("set `{there}`"));
            }
        }
        for key in ["path", "parameterization", "coupling", "weighting", "antithetic"] {
            if self.written.contains(key) {
                return refuse(key, "the student keeps what its teacher's weights mean".into());
            }
        }
        let mut layers = self;
        if !layers.written.contains("name") {
            let teacher = layers.table.get("name").and_then(|name| name.as_str()).unwrap_or("run").to_string();
            layers.table.insert("name".into(), format!("{teacher}-{stage}").into());
        }
        Ok(layers)
    }

    /// The finished recipe, checked.
    ///
    /// # Errors
    /// [`Error::Recipe`] or [`Error::Usage`].
    pub fn build(self) -> Result<Recipe, Error> {
        let recipe: Recipe = document::build(self.table, "recipe")?;
        recipe.check()?;
        Ok(recipe)
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

    #[test]
    fn each_senseless_combination_is_refused_with_its_reason() {
        let refused = |set: &[&str]| {
            let layers = set.iter().try_fold(Layers::new(), |layers, set| layers.set(set));
            layers.and_then(Layers::build).unwrap_err().to_string()
        };
        assert!(refused(&["time.law.type=constant", "time.law.t=0.0"]).contains("missing field"), "one key at a time");
        assert!(refused(&["time.law={type='constant',t=0.0}"]).contains("needs `coupling"));
        assert!(refused(&["coupling.type=stored", "data.flip=true"]).contains("mirror"));
        assert!(refused(&["coupling.type=stored", "path.type=trigonometric"]).contains("linear path only"));
        assert!(refused(&["train.condition_dropout=0.0", "sample.guidance.scale=2"]).contains("condition_dropout"));
        let stochastic = "sample.solver={type='euler_maruyama'}";
        assert!(refused(&["coupling={type='optimal_transport'}", stochastic]).contains("independent pairs"));
        assert!(Layers::new().set(stochastic).unwrap().build().is_ok());
        assert!(refused(&["train.batch=0"]).contains("train.batch"));
        assert!(refused(&["sample.steps=0"]).contains("sample.steps"));
        assert!(refused(&["name=a/b"]).contains("folder"));
        assert!(refused(&["train.optim.ls=1"]).contains("--set train.optim.ls=1: unknown key `ls`"));
    }
}
