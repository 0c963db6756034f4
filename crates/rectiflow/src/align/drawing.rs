//! Candidates round after round: a model draws pairs, a judge scores them, and which sample of each is preferred.

use super::{Candidates, Judge, Prompts, candidates::in_pairs, judge::weights};
use crate::{
    Context, Error, Model,
    model::find,
    sampling::{Classes, Drawn},
};
use methods::align::Verdict;

/// Candidates with what is learned from them.
pub struct Judged {
    /// The samples; their classes are numbers of prompts where the model reads those.
    pub candidates: Candidates,
    /// Of each sample; none where people compared them.
    pub rewards: Vec<f64>,
    /// Of each pair.
    pub verdicts: Vec<Verdict>,
}

impl Judged {
    /// Pairs of which one sample is preferred.
    pub fn decided(&self) -> usize {
        self.verdicts.iter().filter(|said| matches!(said, Verdict::First | Verdict::Second)).count()
    }

    /// Why nothing can be learned here.
    pub fn nothing(&self, by: &str) -> Error {
        let pairs = self.candidates.pairs();
        Error::Failure(format!(
            "of {pairs} pairs none is preferred by {by}: there is nothing to learn; bring more, or weigh other axes"
        ))
    }
}

/// Who draws, what is asked for, and who judges.
pub struct Drawing {
    judge: Judge,
    weights: Vec<f64>,
    classes: Classes,
    /// What classes stand for, and the number of each caption in turn, of a model that reads prompts.
    words: Option<(Prompts, Vec<i64>)>,
    pairs: u64,
    seed: u64,
    /// Of a reward that learned; none of formulas.
    checksum: Option<String>,
}

impl Drawing {
    /// `pairs` pairs a round of samples of `model`, drawn under `seed`, judged by `judge` whose axes count as `counted` says.
    ///
    /// # Errors
    /// No pair; weights of axes that are not there; captions of data that are not here.
    pub fn new(model: &Model, judge: Judge, counted: Option<&str>, (pairs, seed): (usize, u64)) -> Result<Self, Error> {
        if pairs == 0 {
            return Err(Error::Usage("--num 0: give at least one pair of candidates".into()));
        }
        let weights = weights(counted, &judge.axes())?;
        let checksum = match &judge {
            Judge::Learned(reward) => Some(find(&reward.file)?.checksum()),
            Judge::Oracles(..) => None,
        };
        let words = match &model.words {
            Some(words) => {
                let captions = model.captions()?;
                judge.check_texts(&captions)?;
                Some(Prompts::of(words, &captions))
            }
            None => None,
        };
        Ok(Self { weights, classes: in_pairs(model)?, words, judge, pairs: pairs as u64, seed, checksum })
    }

    /// Who judges.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// What tells its rounds from any other's drawn by the same model: how many pairs, and how they are judged.
    pub fn identity(&self) -> String {
        let axes = self.judge.axes();
        let axes: Vec<String> =
            axes.iter().zip(&self.weights).map(|(axis, weight)| format!("{axis}={weight}")).collect();
        let by = self.checksum.as_deref().unwrap_or("oracles");
        format!("{} pairs by {by} for {}", self.pairs, axes.join(" "))
    }

    /// What classes stand for, of a model that reads prompts.
    pub fn prompts(&self) -> Option<&Prompts> {
        self.words.as_ref().map(|(prompts, _)| prompts)
    }

    /// Samples of a round.
    pub fn samples(&self) -> usize {
        2 * self.pairs as usize
    }

    /// The candidates of `round`, drawn by `model` and judged; other rounds have other noise, and classes go on in turn.
    ///
    /// # Errors
    /// Those of drawing and judging.
    pub fn draw(&self, model: &Model, round: u64, context: &mut Context) -> Result<Judged, Error> {
        let pairs = round * self.pairs..(round + 1) * self.pairs;
        let (of, config) = ((model, &self.classes), &model.recipe.sample);
        let candidates = Candidates::of(of, config, &self.judge, pairs, self.seed, context)?;
        Ok(self.preferred(candidates, round))
    }

    /// The same of samples that were drawn before, rows of `shape`.
    ///
    /// # Errors
    /// Those of judging.
    pub fn again(&self, rows: Vec<f32>, shape: base::Shape, round: u64) -> Result<Judged, Error> {
        let first = round * self.samples() as u64;
        let classes = (first..first + self.samples() as u64).map(|i| self.classes.of(i)).collect();
        let mut drawn = Drawn::given(rows, shape, classes);
        let texts = (first..first + self.samples() as u64).filter_map(|i| self.classes.prompt(i).map(String::from));
        drawn.prompts = texts.collect();
        let scores = self.judge.score(&drawn)?;
        Ok(self.preferred(Candidates { drawn, scores }, round))
    }

    fn preferred(&self, mut candidates: Candidates, round: u64) -> Judged {
        let rewards = candidates.scores.weighted(&self.weights);
        let verdicts = candidates.preferred(&rewards);
        if let Some((_, numbers)) = &self.words {
            let first = round * self.pairs;
            let number = |i: u64| numbers.get(((first + i / 2) % numbers.len().max(1) as u64) as usize).copied();
            candidates.drawn.classes =
                (0..self.samples() as u64).map(|i| number(i).unwrap_or(base::NULL_CLASS)).collect();
        }
        Judged { candidates, rewards, verdicts }
    }
}
