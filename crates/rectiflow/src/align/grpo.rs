//! Flow-GRPO as a training task: the model in training draws groups of samples, a judge rewards them, and the steps that led to them learn.
//!
//! The mathematics is `methods::align::grpo`. The samples a gradient needs are drawn inside the task, by the weights as they are, without
//! guidance; `grpo.updates` gradients are taken on them. A run that is continued draws those of its present round anew.

use super::Judge;
use crate::sampling::{Drawn, host};
use base::{Condition, Device, Key, NULL_CLASS, Network, Purpose, Shape, Tensor, TensorData, Times};
use burn::module::Module;
use flow::{Objective, PathField};
use methods::{align::GrpoConfig, tape::place};
use std::cell::RefCell;
use train::{Live, Samples, Source, Task, TrainError};

/// What a part of a batch is to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Number of each sample: what its noise is drawn by.
    pub draws: Vec<u64>,
    /// Its class, the same throughout a group.
    pub classes: Vec<i64>,
    /// Which samples of the run these are, and which gradient on them this is.
    pub round: [u64; 2],
}

impl Samples for Asked {
    fn count(&self) -> usize {
        self.draws.len()
    }

    fn find_not_finite(&self) -> Option<String> {
        None
    }
}

/// Groups of one class each, classes in turn; every group is asked for as often as there are updates.
#[derive(Clone, Debug)]
pub struct GroupSource {
    /// Samples of a group.
    pub group: u64,
    /// Classes of the model.
    pub classes: u64,
    /// Samples of a gradient step, and of the part of it that is asked for at a time.
    pub batch: [u64; 2],
    /// Gradients on the same samples.
    pub updates: u64,
    /// The next sample's counter in the run.
    pub next: u64,
}

impl Source<Asked> for GroupSource {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.next = images;
        Ok(())
    }

    fn next(&mut self) -> Result<Asked, TrainError> {
        let [batch, part] = self.batch;
        let (step, within) = (self.next / batch, self.next % batch);
        let first = step / self.updates * batch + within;
        self.next += part;
        let draws: Vec<u64> = (first..first + part).collect();
        let class = |draw: &u64| if self.classes == 0 { NULL_CLASS } else { (draw / self.group % self.classes) as i64 };
        Ok(Asked {
            classes: draws.iter().map(class).collect(),
            draws,
            round: [step / self.updates, step % self.updates],
        })
    }

    fn fingerprint(&self) -> String {
        let Self { group, classes, batch, updates, .. } = self;
        format!("own samples in groups of {group}, {classes} classes, {batch:?} at a time, {updates} times each")
    }
}

/// Trajectories and what they were worth.
struct Rollout {
    round: u64,
    first: u64,
    points: Vec<Tensor<2>>,
    densities: Vec<Tensor<1>>,
    advantages: Vec<f32>,
}

/// What a part of a batch said of itself.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Mean reward on each axis, and how many groups were all alike; of new samples alone.
    fresh: Option<(Vec<f64>, f64)>,
    clipped: f64,
    divergence: f64,
}

/// Flow-GRPO.
pub struct GroupTask<'a, N> {
    /// Its settings.
    pub config: GrpoConfig,
    /// How the flow was trained.
    pub objective: Objective,
    /// The flow before; plain tensors.
    pub reference: N,
    /// Who rewards.
    pub judge: &'a Judge,
    /// Weights of its axes.
    pub weights: Vec<f64>,
    /// What a sample is.
    pub shape: Shape,
    /// Seed of noise.
    pub seed: u64,
    rollouts: RefCell<Vec<Rollout>>,
    seen: RefCell<Vec<Seen>>,
}

fn failed(error: impl std::fmt::Display) -> TrainError {
    TrainError::Objective(error.to_string())
}

impl<'a, N: Network<2>> GroupTask<'a, N> {
    /// The task of a flow trained by `objective`, whose samples of `shape` `judge` rewards.
    pub fn new(
        (config, objective, reference): (GrpoConfig, Objective, N),
        (judge, weights): (&'a Judge, Vec<f64>),
        (shape, seed): (Shape, u64),
    ) -> Self {
        let (rollouts, seen) = (RefCell::default(), RefCell::default());
        Self { config, objective, reference, judge, weights, shape, seed, rollouts, seen }
    }

    fn field<'f>(&self, network: &'f dyn Network<2>) -> PathField<'f, dyn Network<2> + 'f> {
        PathField::new(network, self.objective.path.clone(), self.objective.parameterization)
    }

    /// Draws what is asked for by the weights as they are, and has it rewarded.
    fn roll(&self, policy: &dyn Network<2>, asked: &Asked, device: &Device) -> Result<(Rollout, Seen), TrainError> {
        let dims = [asked.count(), self.shape.numel()];
        let start = Key::new(self.seed, Purpose::Noise).normal_tensor(&asked.draws, dims, device);
        let brownian = Key::new(self.seed, Purpose::Latent);
        let noise = |step: usize| brownian.fold(step as u64).normal_tensor(&asked.draws, dims, device);
        let field = self.field(policy);
        let condition = condition(&asked.classes, device);
        let (points, densities) = self.config.trajectory(&field, &self.objective.path, start, noise, &condition);
        let last = points.last().cloned().ok_or_else(|| failed("a trajectory has points"))?;
        let rows = host(last).map_err(failed)?;
        let drawn = Drawn::given(rows, self.shape, asked.classes.clone());
        let scores = self.judge.score(&drawn).map_err(failed)?;
        let advantages = self.config.advantages(&scores.weighted(&self.weights));
        let groups = advantages.chunks(self.config.group);
        let alike = groups.clone().filter(|group| group.iter().all(|a| *a == 0.0)).count() as f64 / groups.len() as f64;
        let rewards = scores.moments().iter().map(|[mean, _]| *mean).collect();
        let advantages = advantages.iter().map(|a| *a as f32).collect();
        let seen = Seen { fresh: Some((rewards, alike)), ..Seen::default() };
        Ok((Rollout { round: asked.round[0], first: asked.draws[0], points, densities, advantages }, seen))
    }

    /// The steps that a gradient looks at: some of each, drawn anew for every one.
    fn looked_at(&self, asked: &Asked) -> Vec<usize> {
        let key = Key::new(self.seed, Purpose::Time).fold(asked.round[1]).fold(asked.draws[0]);
        let mut steps: Vec<usize> = (0..self.config.steps).collect();
        steps.sort_by_key(|step| key.bits(*step as u64));
        steps.truncate(self.config.trained);
        steps
    }
}

fn condition(classes: &[i64], device: &Device) -> Condition {
    let asked = classes.iter().any(|class| *class != NULL_CLASS);
    if asked { Condition::classes(classes, device) } else { Condition::none() }
}

impl<M: Module + Network<2>, N: Network<2>> Task<M, Asked> for GroupTask<'_, N> {
    fn loss(&self, live: &Live<'_, M>, batch: &Asked, device: &Device) -> Result<Tensor<1>, TrainError> {
        let plain = device.clone().without_autodiff();
        let mut seen = Seen::default();
        let known = self.rollouts.borrow().iter().any(|rollout| rollout.first == batch.draws[0]);
        if !known {
            let (rollout, fresh) = self.roll(&live.still(), batch, &plain)?;
            let mut all = self.rollouts.borrow_mut();
            all.retain(|old| old.round == rollout.round); // earlier ones are not asked for again
            all.push(rollout);
            seen = fresh;
        }
        let all = self.rollouts.borrow();
        let rollout = all.iter().find(|rollout| rollout.first == batch.draws[0]).ok_or_else(|| failed("no samples"))?;
        let times = self.config.times();
        let advantages = Tensor::<1>::from_data(TensorData::new(rollout.advantages.clone(), [batch.count()]), device);
        let (policy, reference) = (self.field(live), self.field(&self.reference));
        let (asked, still) = (condition(&batch.classes, device), condition(&batch.classes, &plain));
        let steps = self.looked_at(batch);
        let share = 1.0 / steps.len() as f64;
        let mut total: Option<Tensor<1>> = None;
        for step in steps {
            let span = (times[step], times[step + 1]);
            let path = &self.objective.path;
            let here = rollout.points[step].clone();
            let now = self.config.moments(&policy, path, place(here.clone(), device), span, &asked);
            let held = self.config.moments(&reference, path, here, span, &still);
            let density = now.log_density(place(rollout.points[step + 1].clone(), device));
            let then = place(rollout.densities[step].clone(), device);
            let divergence = now.divergence(place(held.mean, device));
            let apart = host_of((density.clone() - then.clone()).exp() - 1.0)?;
            seen.clipped += share * mean(apart.iter().map(|ratio| f64::from(u8::from(ratio.abs() > self.config.clip))));
            seen.divergence += share * mean(host_of(divergence.clone())?.into_iter());
            let loss = self.config.loss([density, then], advantages.clone(), divergence) * share;
            total = Some(total.map_or(loss.clone(), |sum| sum + loss));
        }
        self.seen.borrow_mut().push(seen);
        total.ok_or_else(|| failed("a gradient looks at one step at least"))
    }

    fn loss_at(&self, _: &Live<'_, M>, _: &Asked, _: &Times, _: &Device) -> Result<Tensor<1>, TrainError> {
        Err(failed("there is nothing held out from a model's own samples; set train.validate_every = 0"))
    }

    fn identity(&self) -> (String, String) {
        let json = |value: Result<String, serde_json::Error>| value.unwrap_or_else(|e| format!("unknown ({e})"));
        (
            json(serde_json::to_string(&self.objective.path)),
            json(serde_json::to_string(&self.objective.parameterization)),
        )
    }

    fn remembers(&self) -> bool {
        true
    }

    fn figures(&self) -> Vec<(String, f64)> {
        let seen = self.seen.take();
        let mut figures = vec![
            ("clipped".to_string(), mean(seen.iter().map(|seen| seen.clipped))),
            ("divergence".to_string(), mean(seen.iter().map(|seen| seen.divergence))),
        ];
        let fresh: Vec<&(Vec<f64>, f64)> = seen.iter().filter_map(|seen| seen.fresh.as_ref()).collect();
        if !fresh.is_empty() {
            for (axis, name) in self.judge.axes().into_iter().enumerate() {
                figures.push((format!("reward_{name}"), mean(fresh.iter().map(|(rewards, _)| rewards[axis]))));
            }
            figures.push(("alike".to_string(), mean(fresh.iter().map(|(_, alike)| *alike))));
        }
        figures
    }
}

fn host_of(x: Tensor<1>) -> Result<Vec<f64>, TrainError> {
    flow::rows::host(x.inner()).map_err(failed)
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: a group of two classes; new samples for the second update; a continued run that begins with other ones.
    #[test]
    fn groups_are_of_one_class_and_come_as_often_as_there_are_updates() {
        let mut source = GroupSource { group: 4, classes: 3, batch: [16, 8], updates: 2, next: 0 };
        let all: Vec<Asked> = (0..8).map(|_| source.next().unwrap()).collect();
        assert_eq!(all[0].draws, (0..8).collect::<Vec<_>>());
        assert_eq!(all[0].classes, [0, 0, 0, 0, 1, 1, 1, 1]);
        assert_eq!((&all[1].draws[0], &all[1].classes[..4]), (&8, &[2; 4][..]));
        assert_eq!((&all[2].draws, all[2].round), (&all[0].draws, [0, 1]));
        assert_eq!((all[3].draws[0], all[4].draws[0], all[4].round), (8, 16, [1, 0]));
        let mut again = GroupSource { next: 0, ..source.clone() };
        again.seek(24).unwrap();
        assert_eq!(again.next().unwrap(), all[3]);
        let mut plain = GroupSource { classes: 0, next: 0, ..source };
        assert_eq!(plain.next().unwrap().classes, [NULL_CLASS; 8]);
    }
}
