//! A reward that learns from verdicts on pairs of samples, and the file it is kept in.

use super::{Candidates, Prompts};
use crate::{
    Error, Model,
    device::Chosen,
    model::{Subject, find},
    recipe::{TextConfig, document},
    sampling::Drawn,
    words::Words,
};
use base::{Condition, Device, Key, NULL_CLASS, Pass, Purpose, Shape, Tensor, TensorData, Times};
use flow::{Ends, Path};
use methods::align::{Compared, RewardGradient, RewardLoss, Verdict};
use nets::{Reward, RewardConfig};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc};
use train::{
    Live, Samples, Source, Task, TrainConfig, TrainError,
    checkpoint::{Which, load_weights},
};

/// Name of its stage in checkpoints.
pub const STAGE: &str = "reward";

/// Everything a reward is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardRecipe {
    /// Seed of all randomness.
    pub seed: u64,
    /// Network and axes.
    pub reward: RewardConfig,
    /// Who reads the texts that its axes ask by, where they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<TextConfig>,
    /// How it learns from verdicts.
    pub loss: RewardLoss,
    /// Whether it reads noisy points, as guidance needs; otherwise it reads samples alone.
    pub noisy: bool,
    /// The path its noisy points lie on: the model's.
    pub path: Path,
    /// Length and optimiser.
    pub train: TrainConfig,
}

impl Default for RewardRecipe {
    fn default() -> Self {
        let (reward, loss) = (RewardConfig::default(), RewardLoss::default());
        Self { seed: 0, reward, text: None, loss, noisy: false, path: Path::default(), train: TrainConfig::default() }
    }
}

impl RewardRecipe {
    /// As TOML, complete: what its run keeps.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a recipe holds only strings, numbers, lists and tables")
    }
}

/// Compared pairs on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparisons {
    /// Rows `[b n]` of the first and of the second samples.
    pub rows: [Vec<f32>; 2],
    /// What a row is.
    pub shape: Shape,
    /// The class both were asked for, or the number of their text.
    pub classes: Vec<i64>,
    /// What was said of them.
    pub compared: Compared,
    /// Counter of each pair in the run.
    pub indices: Vec<u64>,
}

impl Samples for Comparisons {
    fn count(&self) -> usize {
        self.indices.len()
    }

    fn find_not_finite(&self) -> Option<String> {
        let at = self.rows.iter().find_map(|rows| rows.iter().position(|value| !value.is_finite()))?;
        Some(format!("a value of pair {} is no number", at / self.shape.numel().max(1)))
    }
}

/// Compared pairs in memory, drawn at random with a counter.
#[derive(Clone, Debug)]
pub struct ComparisonSource {
    all: Comparisons,
    axes: usize,
    batch: usize,
    seed: u64,
    next: u64,
}

impl ComparisonSource {
    /// The pairs of `candidates` numbered `range`, with what was said of each on each axis; `classes` are those of their samples, or the numbers
    /// of their texts.
    pub fn new(
        (candidates, classes): (&Candidates, &[i64]),
        range: std::ops::Range<usize>,
        verdicts: &[Verdict],
        batch: usize,
        seed: u64,
    ) -> Self {
        let axes = candidates.scores.axes.len();
        let side = |which: usize| range.clone().flat_map(|k| candidates.row(2 * k + which)).copied().collect();
        // People's pairs often have none.
        let scores = |which: usize| match candidates.scores.is_empty() {
            true => Vec::new(),
            false => {
                range.clone().flat_map(|k| candidates.scores.of(2 * k + which)).map(|score| *score as f32).collect()
            }
        };
        let compared = Compared {
            verdicts: verdicts[range.start * axes..range.end * axes].to_vec(),
            scores: [scores(0), scores(1)],
        };
        let all = Comparisons {
            rows: [side(0), side(1)],
            shape: candidates.drawn.shape,
            classes: range.clone().map(|k| classes[2 * k]).collect(),
            compared,
            indices: range.map(|k| k as u64).collect(),
        };
        Self { all, axes, batch, seed, next: 0 }
    }
}

impl Source<Comparisons> for ComparisonSource {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.next = images;
        Ok(())
    }

    fn next(&mut self) -> Result<Comparisons, TrainError> {
        let indices: Vec<u64> = (self.next..self.next + self.batch as u64).collect();
        self.next += self.batch as u64;
        let (key, numbers, axes) = (Key::new(self.seed, Purpose::Order), self.all.shape.numel(), self.axes);
        let count = self.all.count() as f64;
        let places: Vec<usize> = indices.iter().map(|i| (key.uniform(*i) * count) as usize).collect();
        fn take<T: Copy>(from: &[T], places: &[usize], width: usize) -> Vec<T> {
            places.iter().flat_map(|p| &from[p * width..][..width]).copied().collect()
        }
        let all = &self.all;
        let scores = [0, 1].map(|side| match &all.compared.scores[side][..] {
            [] => Vec::new(),
            scores => take(scores, &places, axes),
        });
        Ok(Comparisons {
            rows: [0, 1].map(|side| take(&all.rows[side], &places, numbers)),
            shape: all.shape,
            classes: take(&all.classes, &places, 1),
            compared: Compared { verdicts: take(&all.compared.verdicts, &places, axes), scores },
            indices,
        })
    }

    fn fingerprint(&self) -> String {
        let (all, compared) = (&self.all, &self.all.compared);
        let rows = all.rows.iter().flatten().map(|x| u64::from(x.to_bits()));
        let said = compared.verdicts.iter().map(|said| said.sign().map_or(3, |sign| (sign + 1) as u64));
        let scores = compared.scores.iter().flatten().map(|score| u64::from(score.to_bits()));
        let all = rows.chain(said).chain(scores).chain(all.classes.iter().map(|class| *class as u64));
        let sum = all.fold(0u64, |sum, bits| (sum.rotate_left(5) ^ bits).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        format!("comparisons {} {sum:016x}", self.all.count())
    }
}

/// Learning a reward from verdicts.
pub struct RewardTask {
    /// How it learns.
    pub loss: RewardLoss,
    /// The path of its noisy points; none for a reward of clean samples.
    pub noisy: Option<Path>,
    /// The texts that classes stand for, where axes ask by texts.
    pub prompts: Option<Prompts>,
    /// Seed of times, noise and dropout.
    pub seed: u64,
}

fn failed(error: impl std::fmt::Display) -> TrainError {
    TrainError::Objective(error.to_string())
}

impl RewardTask {
    /// Both samples of every pair at one time, with one noise.
    fn judged(
        &self,
        live: &Live<'_, Reward>,
        batch: &Comparisons,
        times: &Times,
        (pass, device): (&Pass, &Device),
    ) -> Result<Tensor<1>, TrainError> {
        let (pairs, numbers) = (batch.count(), batch.shape.numel());
        let both = [batch.rows[0].as_slice(), &batch.rows[1]].concat();
        let x1 = Tensor::<2>::from_data(TensorData::new(both, [2 * pairs, numbers]), device);
        let (x, times) = match &self.noisy {
            None => (x1, Times::all(1.0, 2 * pairs)),
            Some(path) => {
                let key = Key::new(self.seed, Purpose::Noise);
                let noise = key.normal_tensor(&batch.indices, [pairs, numbers], device);
                let ends = Ends { x0: Tensor::cat(vec![noise.clone(), noise], 0), x1, z: None };
                let times = times.cat(times);
                (path.point_of(ends, &times).map_err(failed)?.xt, times)
            }
        };
        let classes = [batch.classes.as_slice(), &batch.classes].concat();
        let condition = match &self.prompts {
            Some(prompts) => prompts.condition(&classes, device).map_err(failed)?,
            None => Condition::classes(&classes, device),
        };
        let rewards =
            live.within(|reward| reward.rewards(x, times.tensor(device), &condition, pass)).map_err(failed)?;
        let side = |which: usize| rewards.clone().narrow(0, which * pairs, pairs);
        self.loss.loss(side(0), side(1), &batch.compared).map_err(failed)
    }
}

impl Task<Reward, Comparisons> for RewardTask {
    fn loss(&self, live: &Live<'_, Reward>, batch: &Comparisons, device: &Device) -> Result<Tensor<1>, TrainError> {
        let key = Key::new(self.seed, Purpose::Time);
        let times = Times::new(batch.indices.iter().map(|i| key.uniform(*i)).collect());
        let samples = [batch.indices.as_slice(), &batch.indices].concat();
        let pass = Pass::train(Key::new(self.seed, Purpose::Dropout), samples);
        self.judged(live, batch, &times, (&live.pass(&pass), device))
    }

    fn loss_at(
        &self,
        live: &Live<'_, Reward>,
        batch: &Comparisons,
        times: &Times,
        device: &Device,
    ) -> Result<Tensor<1>, TrainError> {
        self.judged(live, batch, times, (&Pass::Infer, device))
    }

    fn identity(&self) -> (String, String) {
        ("\"reward\"".into(), format!("{{\"noisy\":{}}}", self.noisy.is_some()))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::align::Scores;

    /// Mutants: the first sides alone, as once; verdicts, scores or classes left out.
    #[test]
    fn other_answers_are_other_data() {
        use Verdict::{First, Second};
        let of = |change: &dyn Fn(&mut Candidates, &mut Vec<Verdict>)| {
            let drawn = Drawn::given(vec![0.1, 0.2, 0.3, 0.4], [1], vec![0; 4]);
            let scores = Scores { axes: vec!["VQ".into()], values: vec![1.0, 2.0, 3.0, 4.0] };
            let (mut candidates, mut verdicts) = (Candidates { drawn, scores }, vec![First, Second]);
            change(&mut candidates, &mut verdicts);
            ComparisonSource::new((&candidates, &candidates.drawn.classes), 0..2, &verdicts, 1, 0).fingerprint()
        };
        let same = of(&|_, _| ());
        assert_eq!(same, of(&|_, _| ()));
        assert_ne!(same, of(&|_, verdicts| verdicts[1] = First));
        assert_ne!(same, of(&|_, verdicts| verdicts.swap(0, 1)));
        assert_ne!(same, of(&|candidates, _| candidates.drawn.rows[1] = 0.5));
        assert_ne!(same, of(&|candidates, _| candidates.scores.values[3] = 5.0));
        assert_ne!(same, of(&|candidates, _| candidates.drawn.classes[2] = 1));
    }
}
