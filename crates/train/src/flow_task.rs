//! The task of every flow: pair the batch, draw times, drop conditions, take the objective's loss.

use crate::TrainError;
use crate::source::{Batch, Origin};
use crate::task::{Live, Task};
use base::{Condition, Device, Int, Key, NULL_CLASS, Network, Pass, Purpose, RandomStream, Tensor, TensorData, Times};
use flow::coupling::Draw;
use flow::exercise::{ends_through, source_of_start};
use flow::{Coupling, Ends, Objective};

/// Flow matching (Lipman et al. 2022, arXiv:2210.02747; Liu et al. 2022, arXiv:2209.03003, eq. 1) with any path, time
/// law, coupling and loss. Base training, reflow and distillation are this task with different settings.
#[derive(Clone, Debug)]
pub struct FlowTask {
    /// Path, parameterization, time law, loss and weighting.
    pub objective: Objective,
    /// Where flows start: noise drawn by counter, or what the batch brings.
    pub origin: Origin,
    /// How source and data are paired within a batch.
    pub coupling: Coupling,
    /// Probability that a sample loses its condition.
    pub condition_dropout: f64,
    /// Whether the network has classes; if not, labels are ignored.
    pub conditional: bool,
    /// Seed of noise, times and dropout.
    pub seed: u64,
}

/// A batch as it is trained on: pairs, times and conditions.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// The coupled ends.
    pub ends: Ends<2>,
    /// A time for each.
    pub times: Times,
    /// Conditions, some of them dropped.
    pub condition: Condition,
    /// The row of the batch that each data point is, where the coupling moved them.
    pub rows: Option<Vec<usize>>,
}

/// `times` in [0, 1] laid out over the pieces of trajectories that the pairs are, where they are.
fn within(batch: &Batch, times: &Times) -> Times {
    if batch.spans.is_empty() {
        return times.clone();
    }
    Times::new(times.values().iter().zip(&batch.spans).map(|(t, [a, b])| a + (b - a) * t).collect())
}

impl FlowTask {
    /// What the counters of `batch` draw, on `device`.
    ///
    /// # Errors
    /// Pairs where there should be none, none where there should be.
    pub fn draw(&self, batch: &Batch, device: &Device) -> Result<Drawn, TrainError> {
        let noise = Key::new(self.seed, Purpose::Noise);
        let (x0, x1, rows) = self.pair(batch, noise, device)?;
        let x0 = self.coupling.blend(x0, noise, &batch.indices);
        let times = within(batch, &self.objective.times(Key::new(self.seed, Purpose::Time), &batch.indices));
        let condition = self.condition(batch, rows.as_deref(), self.condition_dropout, device);
        let ends = self.ends(x0, x1, batch, Key::new(self.seed, Purpose::Latent));
        Ok(Drawn { ends, times, condition, rows })
    }

    /// The same with randomness that no training sample sees, at `times`, and every condition kept: for validation.
    ///
    /// # Errors
    /// As for [`FlowTask::draw`].
    pub fn draw_at(&self, batch: &Batch, times: &Times, device: &Device) -> Result<Drawn, TrainError> {
        // Annealed pairs are validated as they are stored, so that the curve does not mix learning with the schedule.
        let (x0, x1, rows) = self.pair(batch, Key::of(self.seed, RandomStream::ValidationNoise), device)?;
        let condition = self.condition(batch, rows.as_deref(), 0.0, device);
        let ends = self.ends(x0, x1, batch, Key::of(self.seed, RandomStream::ValidationLatent));
        Ok(Drawn { ends, times: within(batch, times), condition, rows })
    }

    /// How a training pass over `batch` draws its dropout.
    pub fn pass(&self, batch: &Batch) -> Pass {
        Pass::train(Key::new(self.seed, Purpose::Dropout), batch.indices.clone())
    }

    /// Pairs where the source stores them, otherwise noise by counter or the samples of a second data set, coupled within
    /// the batch: `(x0, x1)` and the row of the batch that each data point is.
    fn pair(
        &self,
        batch: &Batch,
        noise: Key,
        device: &Device,
    ) -> Result<(Tensor<2>, Tensor<2>, Option<Vec<usize>>), TrainError> {
        let x1 = batch.rows(&batch.x1, device);
        let x0 = match (&batch.x0, self.coupling.needs_pairs(), self.origin) {
            (Some(x0), true, _) => return Ok((batch.rows(x0, device), x1, None)),
            (Some(x0), false, Origin::Data) => batch.rows(x0, device),
            (None, false, Origin::Noise) => noise.normal_tensor(&batch.indices, x1.dims(), device),
            (None, false, Origin::Data) => {
                let why = "flows start from a second data set but the batch brings none of its samples";
                return Err(TrainError::Objective(why.into()));
            }
            (None, true, _) => {
                return Err(TrainError::Objective(format!(
                    "the coupling is `{}` but the samples have no stored noise; train on a pair store, or set \
                 coupling.type = \"independent\"",
                    self.coupling.name()
                )));
            }
            (Some(_), false, Origin::Noise) => return Err(TrainError::Objective(
                "the samples are stored pairs but the coupling would draw fresh noise; set coupling.type = \"stored\""
                    .to_string(),
            )),
        };
        let classes = (self.conditional && !batch.classes.is_empty()).then_some(batch.classes.as_slice());
        let draw = Draw::new(self.seed, &batch.indices).with_classes(classes);
        let pairing = self.coupling.pair(&x0, &x1, &draw).map_err(objective)?;
        let kept = pairing.data.iter().enumerate().all(|(i, &row)| i == row);
        Ok((pairing.apply(x0), pairing.apply_data(x1), (!kept).then_some(pairing.data)))
    }

    /// The coupled ends with the latent, where the path has one; it is drawn by counter after the coupling, so that it
    /// stays independent of both ends. A piece of a trajectory becomes the ends of the path's curve through it, a whole
    /// stored one those of the curve from where it started.
    fn ends(&self, x0: Tensor<2>, x1: Tensor<2>, batch: &Batch, latent: Key) -> Ends<2> {
        if !batch.spans.is_empty() {
            let [from, to] = [0, 1].map(|end| Times::new(batch.spans.iter().map(|span| span[end]).collect()));
            let (x0, x1) = ends_through(&self.objective.path, (x0, &from), (x1, &to));
            return Ends { x0, x1, z: None };
        }
        let x0 = match self.coupling.needs_pairs() {
            true => source_of_start(&self.objective.path, x0, x1.clone()),
            false => x0,
        };
        let z = self.objective.latent(latent, &batch.indices, &x1);
        Ends { x0, x1, z }
    }

    /// What the batch's rows (or `rows` of it) are conditioned on, some of them on nothing.
    fn condition(&self, batch: &Batch, rows: Option<&[usize]>, dropout: f64, device: &Device) -> Condition {
        let key = Key::new(self.seed, Purpose::ConditionDrop);
        let drop = |index: u64| dropout > 0.0 && key.uniform(index) < dropout;
        let dropped: Vec<bool> = batch.indices.iter().map(|index| drop(*index)).collect();
        let beside = batch.condition.on(device);
        let beside = match rows {
            Some(rows) => {
                let rows: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
                let count = rows.len();
                beside.select(&Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), device))
            }
            None => beside,
        };
        let beside = beside.without(&dropped);
        if !self.conditional || batch.classes.is_empty() {
            return beside;
        }
        let class = |place: usize| batch.classes[rows.map_or(place, |rows| rows[place])];
        let places = dropped.iter().enumerate();
        let classes: Vec<i64> = places.map(|(place, gone)| if *gone { NULL_CLASS } else { class(place) }).collect();
        Condition { class: Condition::classes(&classes, device).class, ..beside }
    }
}

fn objective(error: flow::FlowError) -> TrainError {
    TrainError::Objective(error.to_string())
}

impl<M: Network<2>> Task<M> for FlowTask {
    fn loss(&self, live: &Live<'_, M>, batch: &Batch, device: &Device) -> Result<Tensor<1>, TrainError> {
        let Drawn { ends, times, condition, .. } = self.draw(batch, device)?;
        self.objective.loss_of(live, ends, &condition, &times, &self.pass(batch)).map_err(objective)
    }

    fn loss_at(
        &self,
        live: &Live<'_, M>,
        batch: &Batch,
        times: &Times,
        device: &Device,
    ) -> Result<Tensor<1>, TrainError> {
        let Drawn { ends, times, condition, .. } = self.draw_at(batch, times, device)?;
        self.objective.loss_of(live, ends, &condition, &times, &Pass::Infer).map_err(objective)
    }

    fn identity(&self) -> (String, String) {
        self.names()
    }

    fn network<'m>(&self, module: &'m M) -> Option<&'m dyn Network<2>> {
        Some(module)
    }
}

impl FlowTask {
    /// Path and parameterization, each its configuration as JSON: what a checkpoint says of a flow.
    pub fn names(&self) -> (String, String) {
        let json = |value: Result<String, serde_json::Error>| value.unwrap_or_else(|e| format!("unknown ({e})"));
        (
            json(serde_json::to_string(&self.objective.path)),
            json(serde_json::to_string(&self.objective.parameterization)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;
    use crate::testing::{TinyNet, TinySource, TinyTask};
    use flow::{TimeConfig, TimeLaw};

    fn task() -> FlowTask {
        let time = TimeConfig::new(TimeLaw::Uniform {});
        FlowTask {
            objective: Objective { time, ..Objective::default() },
            origin: Origin::Noise,
            coupling: Coupling::Independent {},
            condition_dropout: 0.2,
            conditional: true,
            seed: 3,
        }
    }

    fn values(losses: Tensor<1>) -> Vec<f32> {
        losses.into_data().try_to_vec().unwrap()
    }

    #[test]
    fn it_is_the_straight_line_written_out() {
        let device = Device::flex();
        let net = TinyNet::new(1, 8, &device);
        let batch = TinySource::new(16).next().unwrap();
        let ours = values(task().loss(&Live::plain(&net), &batch, &device).unwrap());
        let written = values(TinyTask { seed: 3 }.loss(&Live::plain(&net), &batch, &device).unwrap());
        for (ours, written) in ours.iter().zip(&written) {
            // The same sums of four squares of order 1, in f32.
            assert!((ours - written).abs() < 1e-5 * (1.0 + written), "{ours} {written}");
        }
    }

    #[test]
    fn a_sample_has_the_same_loss_whatever_its_batch() {
        let device = Device::flex();
        let net = TinyNet::new(1, 8, &device);
        let (mut whole, mut half) = (TinySource::new(8), TinySource::new(4));
        let whole = values(task().loss(&Live::plain(&net), &whole.next().unwrap(), &device).unwrap());
        let halves: Vec<f32> = (0..2)
            .flat_map(|_| values(task().loss(&Live::plain(&net), &half.next().unwrap(), &device).unwrap()))
            .collect();
        for (a, b) in whole.iter().zip(&halves) {
            assert!((a - b).abs() < 1e-5 * (1.0 + a), "{a} {b}");
        }
    }

    #[test]
    fn a_latent_is_drawn_by_counter_and_changes_the_loss() {
        let device = Device::flex();
        let net = TinyNet::new(1, 8, &device);
        let on = |path: flow::Path, antithetic: bool| {
            let objective = Objective { path, antithetic, ..task().objective };
            FlowTask { objective, ..task() }
        };
        let (mut whole, mut half) = (TinySource::new(8), TinySource::new(4));
        let batch = whole.next().unwrap();
        let with = values(on(flow::Path::brownian(1.0), false).loss(&Live::plain(&net), &batch, &device).unwrap());
        let without = values(on(flow::Path::Linear {}, false).loss(&Live::plain(&net), &batch, &device).unwrap());
        assert!(with.iter().zip(&without).all(|(a, b)| a != b));
        let both = values(on(flow::Path::brownian(1.0), true).loss(&Live::plain(&net), &batch, &device).unwrap());
        assert!(both.len() == 8 && both.iter().zip(&with).all(|(a, b)| a != b));
        // Whatever the batch: the counters decide.
        let task = on(flow::Path::brownian(1.0), true);
        let halves: Vec<f32> = (0..2)
            .flat_map(|_| values(task.loss(&Live::plain(&net), &half.next().unwrap(), &device).unwrap()))
            .collect();
        for (a, b) in both.iter().zip(&halves) {
            assert!((a - b).abs() < 1e-5 * (1.0 + a), "{a} {b}");
        }
        // Validation has latents of its own.
        let times = Times::all(0.5, 8);
        let seen = on(flow::Path::brownian(1.0), false).loss_at(&Live::plain(&net), &batch, &times, &device).unwrap();
        assert!(values(seen).iter().all(|v| v.is_finite()));
    }

    #[test]
    fn stored_pairs_and_fresh_noise_are_never_mixed_up() {
        let device = Device::flex();
        let net = TinyNet::new(1, 8, &device);
        let fresh = TinySource::new(4).next().unwrap();
        let stored = Batch { x0: Some(fresh.x1.clone()), ..fresh.clone() };
        let with = |coupling: Coupling, batch: &Batch| {
            FlowTask { coupling, ..task() }.loss(&Live::plain(&net), batch, &device)
        };
        assert!(with(Coupling::Stored {}, &stored).is_ok());
        assert!(with(Coupling::Independent {}, &fresh).is_ok());
        assert!(with(Coupling::Stored {}, &fresh).unwrap_err().to_string().contains("no stored noise"));
        assert!(with(Coupling::Independent {}, &stored).unwrap_err().to_string().contains("stored pairs"));
        // A second data set is coupled like noise, and must be there.
        let two = |batch: &Batch| FlowTask { origin: Origin::Data, ..task() }.loss(&Live::plain(&net), batch, &device);
        let unmoved = FlowTask { coupling: Coupling::Stored {}, ..task() };
        assert_eq!(values(two(&stored).unwrap()), values(unmoved.loss(&Live::plain(&net), &stored, &device).unwrap()));
        assert!(two(&fresh).unwrap_err().to_string().contains("second data set"));
        // Equal sets in another order: optimal transport finds every point's twin, so that there is nothing to cross.
        let size = fresh.x1.len() / 4;
        let turned = [&fresh.x1[size..], &fresh.x1[..size]].concat();
        let shifted = Batch { x0: Some(turned), ..fresh.clone() };
        let exact = Coupling::OptimalTransport { within_class: false, condition_weight: 0.0 };
        let coupled = FlowTask { origin: Origin::Data, coupling: exact, ..task() };
        assert_eq!(
            values(coupled.loss(&Live::plain(&net), &shifted, &device).unwrap()),
            values(unmoved.loss(&Live::plain(&net), &stored, &device).unwrap())
        );
        // With x0 = x1 the velocity to learn is zero: the loss is that of the network's output alone.
        let zero = with(Coupling::Stored {}, &stored).unwrap();
        let other = with(Coupling::Independent {}, &fresh).unwrap();
        assert_ne!(values(zero), values(other));
    }

    /// Mutants: what stands beside the class not dropped with it, or left behind when the coupling moves the data.
    #[test]
    fn what_comes_with_the_data_is_moved_and_dropped_with_its_class() {
        let device = Device::flex();
        let batch = TinySource::new(32).next().unwrap();
        // A vector that repeats the class, so that the two can be compared row by row.
        let vector: Vec<f32> = batch.classes.iter().map(|class| *class as f32).collect();
        let vector = Some(Tensor::from_data(TensorData::new(vector, [32, 1]), &device));
        let empty = Condition { vector: Some(Tensor::from_floats([[-1.0]], &device)), ..Condition::none() };
        let condition = Condition { vector, ..Condition::none() }.contrasted(empty).unwrap();
        let batch = Batch { condition, ..batch };
        // Exact transport moves the noise; this one draws both ends of a pair.
        let drawn = Coupling::Unbalanced {
            epsilon: 0.05,
            relaxation: 1.0,
            iterations: 200,
            within_class: false,
            condition_weight: 0.0,
        };
        let task = FlowTask { coupling: drawn, condition_dropout: 0.4, ..task() };
        let drawn = task.draw(&batch, &device).unwrap();
        let classes: Vec<f32> = drawn.condition.class.clone().unwrap().into_data().iter::<f32>().collect();
        let beside: Vec<f32> = drawn.condition.vector.clone().unwrap().into_data().iter::<f32>().collect();
        assert_eq!(classes, beside);
        assert!(classes.contains(&-1.0) && classes.iter().any(|class| *class >= 0.0));
        // Each data point is a constant of its class: the coupling took both along.
        let x1: Vec<f32> = drawn.ends.x1.into_data().iter::<f32>().collect();
        for (x1, class) in x1.chunks(4).zip(&classes).filter(|(_, class)| **class >= 0.0) {
            assert!((x1[0] - (class / 5.0 - 0.9)).abs() < 1e-6);
        }
        assert!(batch.classes.iter().zip(&classes).any(|(a, b)| *b >= 0.0 && *a as f32 != *b), "nothing was moved");
    }

    #[test]
    fn stored_pairs_start_where_samples_do() {
        let device = Device::flex();
        let fresh = TinySource::new(4).next().unwrap();
        let noise = vec![0.25; fresh.x1.len()];
        let stored = Batch { x0: Some(noise.clone()), ..fresh.clone() };
        let path = flow::Path::Ddpm(Default::default()); // Stable Diffusion's: a trace of the data at t = 0
        let objective = Objective { path: path.clone(), ..task().objective };
        let task = FlowTask { objective, coupling: Coupling::Stored {}, ..task() };
        let ends = task.draw(&stored, &device).unwrap().ends;
        let first = path.point_of(ends, &Times::all(0.0, 4)).unwrap().xt;
        for (x, z) in first.into_data().iter::<f32>().zip(noise) {
            assert!((x - z).abs() < 1e-6, "{x} {z}");
        }
    }
}
