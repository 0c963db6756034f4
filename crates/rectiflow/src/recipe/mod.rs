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

use crate::{Error, prompts::TextConfig};
use base::Network;
use data::DataConfig;
use flow::{
    Coupling, JointField, Loss, Native, Objective, Parameterization, PathField, Perceptual, Solver, TimeConfig,
    TimeLaw, Weighting,
};
use methods::{DistillConfig, ReflowConfig, Stage, Target};
use nets::{LoraConfig, NetConfig};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, path::Path};
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
    /// What a second network on the same path outputs, trained beside the first and read together with it (verb `toy`): on
    /// paths with two sides and a latent no single output gives both velocity and score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second: Option<Parameterization>,
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
    /// A second data set for flows to start from in place of noise: what is learned carries its images to those of `data`,
    /// unpaired and without regard to classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<DataConfig>,
    /// Reads the names of the data's classes as prompts, by a frozen encoder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<TextConfig>,
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
            second: None,
            measure: None,
            native: None,
            perceptual: None,
            target: Target::default(),
            lora: None,
            data: DataConfig::default(),
            source: None,
            text: None,
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
    pub fn field<'a, N: Network<4> + ?Sized>(&self, network: &'a N) -> PathField<'a, N> {
        PathField::new(network, self.path.clone(), self.parameterization)
            .independent(self.pairs_are_independent())
            .native(self.native.clone())
            .reaching(self.target.needs_reach())
    }

    /// What the training loop is told, for data of `classes` classes.
    pub fn task(&self, classes: usize) -> FlowTask {
        FlowTask {
            objective: self.objective(),
            origin: if self.source.is_some() { Origin::Data } else { Origin::Noise },
            coupling: self.coupling.clone(),
            condition_dropout: self.train.condition_dropout,
            conditional: classes > 0,
            seed: self.seed,
        }
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
        self.coupling == Coupling::Independent {} && self.source.is_none()
    }

    /// Whether the trained network knows its score, as stochastic solvers need: on a path from noise where the pairs are
    /// independent, elsewhere where it can be read off the output.
    pub fn score_is_known(&self) -> bool {
        // These two leave the velocity of the marginals behind.
        if matches!(self.target, Target::Consistency(_) | Target::Segments(_)) {
            return false;
        }
        let readable = self.second.is_some() || self.parameterization.reads(Parameterization::Score {}, &self.path);
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
        if let Some(source) = &self.source {
            source.check().map_err(|error| wrong(format!("source: {error}")))?;
        }
        self.network.check().map_err(|error| wrong(error.to_string()))?;
        self.objective().check().map_err(|error| wrong(error.to_string()))?;
        if let Some(second) = self.second {
            JointField::new(self.path.clone(), (&(), self.parameterization), (&(), second))
                .map_err(|error| wrong(format!("`second`: {error}")))?;
        }
        self.coupling.check().map_err(|error| wrong(error.to_string()))?;
        self.text.as_ref().map_or(Ok(()), TextConfig::check).map_err(wrong)?;
        self.train.check().map_err(wrong)?;
        self.pairs.check().map_err(wrong)?;
        self.target.check(&self.objective()).map_err(|error| wrong(error.to_string()))?;
        if let Some(lora) = &self.lora {
            lora.check().map_err(|error| wrong(error.to_string()))?;
        }
        self.sample.check().map_err(wrong)?;
        self.transfer().map_err(|reason| wrong(reason.into()))?;
        self.combination().map_err(|reason| wrong(reason.into()))
    }

    /// Refuses a solver that has no meaning for the network this recipe trains.
    ///
    /// # Errors
    /// The reason, with what to take instead.
    pub fn check_solver(&self, solver: &Solver) -> Result<(), &'static str> {
        let consistent = matches!(self.target, Target::Consistency(_));
        if *solver == (Solver::Consistency {}) {
            return match consistent && self.pairs_are_independent() {
                true => Ok(()),
                false => Err(
                    "`consistency` jumps to the network's data estimate and draws fresh noise, which only a network with \
                     `target = { type = \"consistency\" }` on independent pairs supports; set for instance euler",
                ),
            };
        }
        if solver.needs_rectified() && !self.needs_pairs() {
            return Err(
                "`anchored` is for rectified flows, trained on a teacher's pairs: on a flow from independent pairs its \
                        error grows without bound as steps shrink; reflow first, or set euler or heun",
            );
        }
        if solver.is_stochastic() && !self.score_is_known() {
            return Err(
                "the solver is stochastic and needs the score, which one network gives on independent pairs from noise \
                        only: after reflow, distillation, optimal transport, or between two data sets set a \
                        deterministic solver, for instance `sample.solver = { type = \"heun\" }`",
            );
        }
        if solver.follows_path() && self.path.has_latent() {
            return Err("the solver follows the curve between two points, and this path has a latent between them; \
                        set one that follows the velocity alone, for instance `sample.solver = { type = \"heun\" }`");
        }
        Ok(())
    }

    /// What rests on Gaussian noise cannot start from a data set.
    fn transfer(&self) -> Result<(), &'static str> {
        if self.source.is_none() {
            return Ok(());
        }
        if self.text.is_some() {
            return Err(
                "`text` reads the names of classes, and a flow between two data sets is learned without them; leave \
                        one of the two out",
            );
        }
        let first = self.path.at(0.0);
        if (first.alpha - 1.0).abs() + first.beta.abs() > 1e-9 || matches!(self.path, flow::Path::Mirror { .. }) {
            return Err(
                "`source` is a data set, and this path does not begin at it (diffusion paths begin at noise, a mirror \
                        at the data themselves); set `path = { type = \"linear\" }`",
            );
        }
        if matches!(self.coupling, Coupling::Annealed { .. }) {
            return Err("annealing blends the source with fresh noise, and here the source is a data set; leave \
                        `reflow.annealing` out");
        }
        if matches!(self.target, Target::Guided(_)) {
            return Err(
                "`target` = guided follows its teacher from fresh noise, and here the source is a data set; leave \
                        `distill.target` out",
            );
        }
        if self.sample.path.is_some() {
            return Err(
                "`sample.path` changes the pace of a flow from Gaussian noise, and here the source is a data set; \
                        leave it out",
            );
        }
        if self.sample.guidance.scale != 1.0 || self.pairs.guidance.scale != 1.0 {
            return Err("guidance contrasts classes, and a flow between two data sets is learned without them; set \
                        `sample.guidance.scale` and `pairs.guidance.scale` to 1");
        }
        Ok(())
    }

    /// What is worth knowing before `solver` is used, where it is not a mistake.
    pub fn advice(&self, solver: &Solver) -> Option<&'static str> {
        let curved = self.needs_pairs() && self.path != (flow::Path::Linear {});
        (curved && !solver.follows_path()).then_some(
            "this flow was rectified along a curved path, where large steps are exact only for solvers that follow it: \
             --solver ddim takes few steps, this one needs many",
        )
    }

    fn combination(&self) -> Result<(), &'static str> {
        let one_time = matches!(self.time.law, TimeLaw::Constant { .. } | TimeLaw::Steps { .. });
        // At pure noise v-prediction is the data alone, which independent pairs do teach (One More Step).
        let mean_at_noise = self.parameterization == (Parameterization::VPrediction {})
            && self.time.law == (TimeLaw::Constant { t: 0.0 })
            && self.path.at(0.0).beta == 0.0;
        if one_time && !self.needs_pairs() && !mean_at_noise && !matches!(self.target, Target::Segments(_)) {
            return Err("`time.law` = constant or steps trains only those times: that is distillation, which needs \
                        `coupling = { type = \"stored\" }` and a teacher's pairs (verbs `reflow`, `distill`)");
        }
        if self.target.needs_reach() && !self.network.reaches() {
            return Err("`target` = mean_flow and shortcut need a network that is told how far ahead it looks: set \
                        network.condition.reach = true");
        }
        if matches!(self.target, Target::Guided(_)) && !self.needs_pairs() {
            return Err("`target` = guided is for distillation on a teacher's pairs: use the verb `distill`");
        }
        if self.needs_pairs() && self.data.flip && !self.reflow.flip {
            return Err(
                "`data.flip` would mirror stored pairs; set data.flip = false, or reflow.flip = true where the \
                        teacher was trained on mirrored images",
            );
        }
        if self.needs_pairs() && self.path.has_latent() {
            return Err(
                "stored pairs are two points, and this path mixes in a latent: set `path = { type = \"linear\" }` or \
                        another path between two points",
            );
        }
        if !self.pairs.generate.cuts.is_empty() && matches!(self.coupling, Coupling::Annealed { .. }) {
            return Err(
                "`reflow.annealing` blends noise, and pieces of trajectories (`pairs.generate.cuts`) start elsewhere: leave \
                        one of the two out",
            );
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
        self.check_solver(&self.sample.solver)?;
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
    pub fn data(self, name_or_path: &str) -> Result<Self, Error> {
        self.set_named("data", name_or_path)
    }

    fn set_named(mut self, table: &str, name_or_path: &str) -> Result<Self, Error> {
        self.written.insert(table.into());
        let is_path = name_or_path.contains(['/', '\\']) || Path::new(name_or_path).exists();
        let (key, other) = if is_path { ("path", "name") } else { ("name", "path") };
        let table = self.table.entry(table).or_insert_with(|| toml::Table::new().into());
        if let Some(table) = table.as_table_mut() {
            table.remove(other);
            table.insert(key.into(), name_or_path.into());
        }
        Ok(self)
    }

    /// A named data set, or a file or folder that exists, to start flows from.
    ///
    /// # Errors
    /// [`Error::Recipe`].
    pub fn source(self, name_or_path: &str) -> Result<Self, Error> {
        self.set_named("source", name_or_path)
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
        for key in ["target", "measure", "perceptual"] {
            if self.written.contains(key) {
                return refuse(key, format!("set `{stage}.{key}`, where this verb has it"));
            }
        }
        for key in ["path", "parameterization", "coupling", "weighting", "antithetic", "native", "source", "text"] {
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

    /// Whether somebody wrote the top-level key.
    pub fn wrote(&self, key: &str) -> bool {
        self.written.contains(key)
    }

    /// The recipe as far as single keys go; whoever changes it further checks it then.
    pub(crate) fn unchecked(self) -> Result<Recipe, Error> {
        Ok(document::build(self.table, "recipe")?)
    }

    /// The finished recipe, checked.
    ///
    /// # Errors
    /// [`Error::Recipe`] or [`Error::Usage`].
    pub fn build(self) -> Result<Recipe, Error> {
        let recipe = self.unchecked()?;
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
        assert!(
            refused(&["coupling.type=stored", "path={type='interpolant'}", "train.sample_every=0"]).contains("latent")
        );
        assert!(
            Layers::new().set("coupling.type=stored").unwrap().set("path.type=trigonometric").unwrap().build().is_ok()
        );
        assert!(refused(&["target={type='mean_flow'}"]).contains("reach = true"));
        assert!(refused(&["target={type='consistency'}", "parameterization={type='data'}"]).contains("free there"));
        assert!(refused(&["sample.solver={type='anchored'}"]).contains("rectified flows"));
        assert!(refused(&["sample.solver={type='consistency'}"]).contains("data estimate"));
        let consistent = Layers::new().set("target={type='consistency'}").unwrap();
        assert!(consistent.set("sample.solver={type='consistency'}").unwrap().build().is_ok());
        assert!(refused(&["train.condition_dropout=0.0", "sample.guidance.scale=2"]).contains("condition_dropout"));
        let stochastic = "sample.solver={type='euler_maruyama'}";
        assert!(refused(&["coupling={type='optimal_transport'}", stochastic]).contains("independent pairs"));
        assert!(Layers::new().set(stochastic).unwrap().build().is_ok());
        let source = "source.name=emoji-noto";
        assert!(refused(&[source, "path.type=vp"]).contains("begin at noise"));
        assert!(refused(&[source, "sample.guidance.scale=2"]).contains("guidance"));
        assert!(refused(&[source, stochastic]).contains("two data sets"));
        let stored = "coupling={type='stored'}";
        assert!(refused(&[source, stored, "target={type='guided'}"]).contains("fresh noise"));
        assert!(refused(&[source, "source.size=0"]).contains("size"));
        assert!(Layers::new().set(source).unwrap().set("coupling={type='optimal_transport'}").unwrap().build().is_ok());
        assert!(refused(&["train.batch=0"]).contains("train.batch"));
        assert!(refused(&["sample.steps=0"]).contains("sample.steps"));
        assert!(refused(&["name=a/b"]).contains("folder"));
        assert!(refused(&["train.optim.ls=1"]).contains("--set train.optim.ls=1: unknown key `ls`"));
    }
}
