//! A trained reward, and the file it is kept in: what it judges, and the gradient that samples climb.

use super::reward::{RewardRecipe, STAGE};
use crate::{
    Error, Model,
    device::Chosen,
    model::{Subject, find},
    recipe::document,
    sampling::Drawn,
    words::Words,
};
use base::{Condition, Device, NULL_CLASS, Pass, Shape, Tensor, TensorData, Times};
use methods::align::RewardGradient;
use nets::Reward;
use std::{path::PathBuf, sync::Arc};
use train::checkpoint::{Which, load_weights};

/// A trained reward.
pub struct RewardModel {
    net: Reward,
    /// How it was made.
    pub recipe: RewardRecipe,
    /// Its file.
    pub file: PathBuf,
    shape: Shape,
    classes: Vec<String>,
    /// Who reads texts, where axes ask by them.
    words: Option<Arc<Words>>,
    device: Device,
}

/// Samples per pass.
const BATCH: usize = 250;

impl RewardModel {
    /// From its parts, in memory.
    pub fn new(
        net: Reward,
        recipe: RewardRecipe,
        file: PathBuf,
        (shape, classes): (Shape, Vec<String>),
        words: Option<Arc<Words>>,
        device: &Device,
    ) -> Self {
        Self { net, recipe, file, shape, classes, words, device: device.clone() }
    }

    /// Opens a checkpoint that `rectiflow reward train` wrote, or the newest of its run's folder.
    ///
    /// # Errors
    /// A path that is no checkpoint, or one of something else.
    pub fn open(path: &std::path::Path, device: &Chosen) -> Result<Self, Error> {
        let checkpoint = find(path)?;
        let (meta, file) = (checkpoint.meta(), checkpoint.path().to_path_buf());
        let subject = Subject::from_extra(&meta.extra, &file)?;
        if subject.stage != STAGE {
            let (file, stage) = (file.display(), &subject.stage);
            return Err(Error::Usage(format!(
                "{file} is a `{stage}` checkpoint, not a reward; make one with `rectiflow reward train`, or name oracles: \
                 oracle:contrast,match"
            )));
        }
        let name = format!("recipe inside {}", file.display());
        let recipe: RewardRecipe = document::build(document::parse::<RewardRecipe>(&meta.recipe, &name)?, &name)?;
        let net = recipe.reward.init(recipe.seed, subject.shape, subject.classes.len(), &device.device)?;
        let net = load_weights(net, &checkpoint, Which::Best)?;
        let shape = (subject.shape, subject.classes);
        let words = match &recipe.text {
            Some(config) => Some(Words::vectors(config)?.0),
            None => None,
        };
        Ok(Self::new(net, recipe, file, shape, words, &device.device))
    }

    /// Refuses models whose samples it does not know.
    ///
    /// # Errors
    /// [`Error::Usage`] with both shapes.
    pub fn check_for(&self, model: &Model) -> Result<(), Error> {
        let theirs = &model.subject;
        if self.words.is_some() && model.words.is_none() {
            return Err(Error::Usage(format!(
                "the reward {} asks by texts, and {} reads none",
                self.file.display(),
                model.file.display()
            )));
        }
        if (theirs.shape, theirs.classes.len()) == (self.shape, self.classes.len()) {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "the reward {} is for samples of {} in {} classes, and {} makes {} in {}",
            self.file.display(),
            self.shape,
            self.classes.len(),
            model.file.display(),
            theirs.shape,
            theirs.classes.len()
        )))
    }

    /// What it judges.
    pub fn subject(&self) -> Subject {
        let (stage, data) = (STAGE.to_string(), String::new());
        Subject { stage, shape: self.shape, classes: self.classes.clone(), data, codec: None, encoder: None }
    }

    /// Names of the axes.
    pub fn axes(&self) -> Vec<String> {
        self.recipe.reward.axes.iter().map(|axis| axis.name.clone()).collect()
    }

    /// Rewards `[n axes]` of samples at time `t`, row after row.
    ///
    /// # Errors
    /// A device that cannot give its numbers.
    pub fn rewards(&self, drawn: &Drawn, t: f64) -> Result<Vec<f64>, Error> {
        let numbers = drawn.shape.numel();
        let mut values = Vec::new();
        let mut first = 0;
        for (rows, classes) in drawn.rows.chunks(BATCH * numbers).zip(drawn.classes.chunks(BATCH)) {
            let x = TensorData::new(rows.to_vec(), [classes.len(), numbers]);
            let x = Tensor::<2>::from_data(x, &self.device);
            let times = Times::all(t, classes.len()).tensor(&self.device);
            let condition = match &self.words {
                Some(words) => {
                    let text = |i: usize| drawn.prompts.get(i).map(String::as_str).filter(|text| !text.is_empty());
                    words.condition(&(first..first + classes.len()).map(text).collect::<Vec<_>>(), &self.device)?
                }
                None => Condition::classes(classes, &self.device),
            };
            first += classes.len();
            let rewards = self.net.rewards(x, times, &condition, &Pass::Infer)?;
            values.extend(crate::sampling::host(rewards)?.into_iter().map(f64::from));
        }
        Ok(values)
    }

    /// Whether its axes ask by texts.
    pub fn reads(&self) -> bool {
        self.words.is_some()
    }

    /// The gradient of its weighted axes with respect to the point, for guidance.
    ///
    /// # Errors
    /// [`Error::Usage`] where its axes ask by texts: a field is told classes.
    pub fn gradient_of(&self, weights: Vec<f64>) -> Result<impl RewardGradient<2> + '_, Error> {
        if self.reads() {
            return Err(Error::Usage(format!(
                "the reward {} asks by texts, which it would have to read at every step of a sample: samples climb rewards that ask by class, or \
                 do not ask",
                self.file.display()
            )));
        }
        let net = burn::module::Module::train(self.net.clone());
        Ok(move |x: Tensor<2>, t: &Times, condition: &Condition| {
            let tape = x.device().autodiff();
            let leaf = methods::tape::place(x.clone(), &tape).require_grad();
            let asked = match &condition.class {
                Some(_) => condition.on(&tape),
                None => Condition::classes(&vec![NULL_CLASS; t.len()], &tape),
            };
            let rewards = net.rewards(leaf.clone(), t.tensor(&tape), &asked, &Pass::Infer); // [b axes]
            let rewards = rewards.expect("it is told a class, and asks by no text");
            let row: Vec<f32> = weights.iter().map(|weight| *weight as f32).collect();
            let row = Tensor::<2>::from_data(TensorData::new(row, [1, weights.len()]), &tape);
            let gradients = (rewards * row).sum().backward();
            leaf.grad(&gradients).unwrap_or_else(|| x.zeros_like())
        })
    }
}
