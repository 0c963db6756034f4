//! What pairs begin at, by number: the teacher's noise or its source, its data, and what each is drawn under.

use crate::{
    Error, Model, Start,
    codec::{Mixtures, raw, through},
    context::Context,
    recipe::PairsRecipe,
    sight::Views,
    sound::Part,
};
use base::{Condition, Dense, Device, Key, NULL_CLASS, Purpose, Tensor};
use data::{Dataset, Split};
use methods::{Failure, Labels, Supply};
use std::sync::Arc;

/// What a teacher's pairs begin at: its noise or its source's images, and its data for inverted ones.
pub(super) struct Ends<'a> {
    pub teacher: &'a Model,
    pub start: Start,
    data: Option<Arc<dyn Dataset>>,
    /// What labels stand for where the teacher is asked in words, in alphabetical order.
    pub prompts: Vec<String>,
    /// What each trajectory is heard in, where the teacher separates sounds.
    pub mixtures: Option<Mixtures>,
    /// The pictures each trajectory is drawn from, where the teacher is shown some.
    pub views: Option<Views>,
    seed: u64,
    pub device: Device,
}

impl<'a> Ends<'a> {
    /// The part `split` of the teacher's data sets.
    pub fn of(teacher: &'a Model, recipe: &PairsRecipe, split: Split, context: &mut Context) -> Result<Self, Error> {
        let shape = teacher.subject.shape;
        let start = match split {
            Split::Train => Start::of(&teacher.recipe, shape, split)?,
            Split::Test => Start::held_out(&teacher.recipe, shape)?,
        };
        let device = context.device.device.clone();
        let part = if split == Split::Train { Part::Train } else { Part::Test };
        let mixtures = Mixtures::of(&teacher.recipe, teacher.codec.clone(), part, recipe.generate.seed, &device)?;
        let data = match recipe.generate.inverted > 0.0 {
            true if mixtures.is_some() => {
                return Err(Error::Usage(
                    "pairs.generate.inverted: inverted pairs begin at a data set, and a separator has mixtures without end; set it to 0"
                        .into(),
                ));
            }
            true => {
                let codec = teacher.codec.as_deref();
                let data = raw(&teacher.recipe.data.with_split(split), codec, context)?;
                Some(through(data, codec, context)?)
            }
            false => None,
        };
        let prompts = if teacher.words.is_some() { teacher.captions()? } else { Vec::new() };
        let views = views(teacher, split, recipe.generate.seed, context)?;
        Ok(Self { teacher, start, data, prompts, mixtures, views, seed: recipe.generate.seed, device })
    }

    /// Refuses more pairs than there are different ones.
    pub fn check(&self, recipe: &PairsRecipe) -> Result<(), Error> {
        let inverted = recipe.generate.inverted_of(recipe.count);
        let forward = recipe.count - inverted;
        let few = |what: &str, need: u64, have: u64| {
            Err(Error::Usage(format!(
                "{} pairs need {need} different samples of the {what}, and there are {have}: the same sample makes the same \
                 pair; ask for fewer (--num, `pairs.count`)",
                recipe.count
            )))
        };
        if let Some(have) = self.start.count().filter(|have| *have < forward) {
            return few("source", forward, have);
        }
        match &self.data {
            Some(data) if (data.len() as u64) < inverted => few("data", inverted, data.len() as u64),
            _ => Ok(()),
        }
    }
}

/// The prompt that a label stands for.
pub(super) fn prompt(prompts: &[String], label: i64) -> Option<&str> {
    Some(prompts.get(usize::try_from(label).ok()?)?.as_str())
}

impl Supply<2> for Ends<'_> {
    fn source(&mut self, numbers: &[u64]) -> Result<Tensor<2>, Failure> {
        let key = Key::new(self.seed, Purpose::Noise);
        // Unwidened: pairs keep noise of variance one, whatever the path.
        Ok(self.start.points(key, numbers, &flow::Path::Linear {}, &self.device)?)
    }

    fn data(&mut self, numbers: &[u64]) -> Result<(Tensor<2>, Vec<i64>), Failure> {
        let data = self.data.as_ref().ok_or("the teacher's data were not opened")?;
        let class = |&number: &u64| {
            if self.teacher.words.is_some() {
                let caption = data.caption((number % data.len() as u64) as usize);
                let place = caption.and_then(|caption| self.prompts.binary_search_by(|p| p.as_str().cmp(caption)).ok());
                return place.map_or(NULL_CLASS, |place| place as i64);
            }
            let label = data.label((number % data.len() as u64) as usize).filter(|_| self.teacher.classes() > 0);
            label.map_or(NULL_CLASS, i64::from)
        };
        let points = crate::start::rows(data, false, numbers, &self.device)?;
        Ok((points, numbers.iter().map(class).collect()))
    }

    fn labels(&mut self, trajectories: &[u64]) -> Result<Option<Vec<i64>>, Failure> {
        Ok(self.mixtures.as_ref().map(|mixtures| mixtures.at(trajectories)).transpose()?.map(|batch| batch.classes))
    }

    fn condition(&mut self, labels: &[i64], trajectories: &[u64], device: &Device) -> Result<Condition, Failure> {
        if let Some(mixtures) = &self.mixtures {
            let map = mixtures.at(trajectories)?.condition.dense;
            let dense = map.map(|map| Dense { rows: map.rows.to_device(device), shape: map.shape });
            return Ok(Condition { dense, ..Labels::condition(labels, device) });
        }
        if let Some(views) = &self.views {
            return Ok(views.at(trajectories)?.on(device));
        }
        let Some(words) = &self.teacher.words else { return Ok(Labels::condition(labels, device)) };
        let texts: Vec<Option<&str>> = labels.iter().map(|label| prompt(&self.prompts, *label)).collect();
        Ok(words.condition(&texts, device)?)
    }
}

/// Whether a model whose training data are called `trained` learned the latents of the samples of this fingerprint.
fn is_of(trained: &str, fingerprint: &str) -> bool {
    let mark = format!("latents {fingerprint:.8}");
    trained.contains(&mark)
}

/// The pictures that `teacher` draws trajectories from, of the shapes of `split`; those of its training where none is held out.
pub(crate) fn views(teacher: &Model, split: Split, seed: u64, context: &mut Context) -> Result<Option<Views>, Error> {
    let recipe = &teacher.recipe;
    let (Some(_), Some(codec)) = (recipe.task.picture(), &teacher.codec) else { return Ok(None) };
    let test = match split {
        Split::Test => codec.recipe.codec.open_test(&recipe.data, context)?,
        Split::Train => None,
    };
    let (data, shapes) = match test {
        Some(test) => (recipe.data.with_split(Split::Test), test.set),
        None => (recipe.data.clone(), raw(&recipe.data, Some(codec), context)?),
    };
    if split == Split::Train && !is_of(&teacher.data, shapes.fingerprint()) {
        return Err(Error::Failure(format!(
            "{}: its shapes are others than {} was trained on, and the pictures beside its pairs are looked up in them; give those back, or \
             train anew",
            shapes.name(),
            teacher.file.display()
        )));
    }
    let Some(sight) = teacher.sight(context)? else { return Ok(None) };
    Views::of((&data, &*shapes), &sight, seed, context).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `codec::latents` calls them. Mutant: any data let through.
    #[test]
    fn latents_know_what_they_were_made_of() {
        let trained = "solids as latents c249feb07aea0997, shuffled by seed 1 seen in f819fdf703aca397";
        assert!(is_of(trained, "c249feb0c1beb93b"));
        assert!(!is_of(trained, "c249feb1c1beb93b") && !is_of(trained, "f819fdf703aca397"));
    }
}
