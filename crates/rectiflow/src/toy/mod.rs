//! Flows in the plane, where they can be seen: what trajectories, marginals and densities a trained network makes.

pub mod density;
pub mod pictures;

use crate::{Error, Recipe, sampling::host};
use base::{Condition, Device, Key, RandomStream, Tensor, TensorData};
use data::Points;
use flow::{Diffusion, Field, FlowError, Schedule, Solver, coupling::Draw, solve, solve_with, solver::Sde};

/// Points `[n]` in the plane.
pub type Cloud = Vec<[f32; 2]>;

/// Where particles are at a row of times.
#[derive(Clone, Debug, Default)]
pub struct Tracks {
    /// Times, rising.
    pub times: Vec<f64>,
    /// The particles at each time, always in the same order.
    pub clouds: Vec<Cloud>,
}

impl Tracks {
    /// The particles at time `t`, on straight lines between the times that are known.
    pub fn at(&self, t: f64) -> Cloud {
        let after = self.times.partition_point(|known| *known < t).min(self.times.len() - 1);
        let before = after.saturating_sub(1);
        let (low, high) = (self.times[before], self.times[after]);
        let share = if high > low { ((t - low) / (high - low)).clamp(0.0, 1.0) as f32 } else { 1.0 };
        let between = |(a, b): (&[f32; 2], &[f32; 2])| [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share];
        self.clouds[before].iter().zip(&self.clouds[after]).map(between).collect()
    }

    /// Where particle `i` goes.
    pub fn track(&self, i: usize) -> Vec<[f32; 2]> {
        self.clouds.iter().map(|cloud| cloud[i]).collect()
    }

    /// Where all end.
    pub fn end(&self) -> &Cloud {
        &self.clouds[self.clouds.len() - 1]
    }
}

/// `count` draws of standard normal noise under `seed`, none of which training saw.
pub fn noise(seed: u64, count: usize) -> Cloud {
    let key = crate::sampling::noise(seed);
    let point = |index| {
        let mut values = key.normals(index, 2);
        [values.next().unwrap_or(0.0), values.next().unwrap_or(0.0)]
    };
    (0..count as u64).map(point).collect()
}

/// `count` points of a set that training did not see.
pub fn held_out(points: Points, seed: u64, count: usize) -> Cloud {
    (0..count as u64).map(|index| points.point(seed ^ 0x5eed, index)).collect()
}

/// A cloud as a batch `[n 2]`.
pub fn tensor(cloud: &Cloud, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(cloud.as_flattened().to_vec(), [cloud.len(), 2]), device)
}

/// A batch `[n 2]` as a cloud.
///
/// # Errors
/// Where the device cannot be read.
pub fn cloud(tensor: Tensor<2>) -> Result<Cloud, Error> {
    Ok(host(tensor)?.as_chunks::<2>().0.to_vec())
}

/// Follows particles from `start` as the recipe draws samples; an adaptive solver is asked for `stops` stops on the way.
///
/// # Errors
/// What the solver may say.
pub fn follow(
    field: &dyn Field<2>,
    recipe: &Recipe,
    start: &Cloud,
    stops: usize,
    device: &Device,
) -> Result<Tracks, Error> {
    let sample = &recipe.sample;
    let schedule = sample.schedule.build(sample.steps)?;
    // Some paths (VE, EDM) start wider than the noise.
    let x = crate::start::widened(&recipe.path, tensor(start, device));
    let mut tracks = Tracks { times: vec![schedule.ends().0], clouds: vec![cloud(x.clone())?] };
    if !sample.solver.is_adaptive() {
        let paths = crate::sampling::paths(recipe.seed, &(0..start.len() as u64).collect::<Vec<_>>());
        let mut failed = None;
        let mut observe = |seen: flow::Observation<2>| match cloud(seen.next) {
            Ok(cloud) => {
                tracks.times.push(seen.t.values()[0] + seen.dt[0]);
                tracks.clouds.push(cloud);
            }
            Err(error) => failed = Some(error),
        };
        solve_with(field, x, &Condition::none(), &sample.solver, &schedule, &paths, Some(&mut observe))?;
        return failed.map_or(Ok(tracks), Err);
    }
    let (from, to) = schedule.ends();
    let mut x = x;
    for stop in 1..=stops {
        let at = |stop: usize| from + (to - from) * stop as f64 / stops as f64;
        let part = Schedule::new(vec![at(stop - 1), at(stop)])?;
        x = solve(field, x, &Condition::none(), &sample.solver, &part, None)?.x;
        tracks.times.push(at(stop));
        tracks.clouds.push(cloud(x.clone())?);
    }
    Ok(tracks)
}

/// Where particles from `start` end when noise of strength `epsilon` is mixed in on the way, `ε(t) = epsilon · alpha(t)`, or
/// `ε(t) = epsilon` on paths with a latent, as 2303.08797 does: SDE-Heun, or Heun for none. `None` for a field whose score is
/// not known.
///
/// # Errors
/// What the solver may say.
pub fn diffused(
    field: &dyn Field<2>,
    recipe: &Recipe,
    start: &Cloud,
    epsilon: f64,
    steps: usize,
    device: &Device,
) -> Result<Option<Cloud>, Error> {
    let solver = match epsilon {
        0.0 => Solver::Heun {},
        value if recipe.path.has_latent() => {
            Solver::SdeHeun(Sde { diffusion: Diffusion::Constant { value }, ..Sde::default() })
        }
        scale => Solver::SdeHeun(Sde { diffusion: Diffusion::Sigma { scale }, ..Sde::default() }),
    };
    // The score grows as 1/gamma where the latent fades: steps in proportion to gamma keep every one of them stable.
    let schedule = match recipe.path.has_latent() {
        true => flow::ScheduleConfig::Chebyshev {},
        false => flow::ScheduleConfig::Uniform {},
    };
    let schedule = schedule.build(steps)?;
    let indices: Vec<u64> = (0..start.len() as u64).collect();
    let paths = crate::sampling::paths(recipe.seed, &indices);
    let x = crate::start::widened(&recipe.path, tensor(start, device));
    match solve_with(field, x, &Condition::none(), &solver, &schedule, &paths, None) {
        Ok(solution) => cloud(solution.x).map(Some),
        Err(FlowError::Needs { .. } | FlowError::StepTooLong { .. } | FlowError::Diffusion { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The training pairs that the recipe's coupling makes of noise and data, batch by batch.
///
/// # Errors
/// What the coupling may say.
pub fn pairs(recipe: &Recipe, x0: &Cloud, x1: &Cloud, device: &Device) -> Result<(Cloud, Cloud), Error> {
    let batch = recipe.train.micro_batch().clamp(1, x0.len().max(1));
    let (mut left, mut right) = (Cloud::new(), Cloud::new());
    for (number, (a, b)) in x0.chunks(batch).zip(x1.chunks(batch)).enumerate() {
        let indices: Vec<u64> = (0..a.len() as u64).map(|i| (number * batch) as u64 + i).collect();
        let (a, b) = (tensor(&a.to_vec(), device), tensor(&b.to_vec(), device));
        let pairing = recipe.coupling.pair(&a, &b, &Draw::new(recipe.seed, &indices))?;
        left.extend(cloud(pairing.apply(a))?);
        right.extend(cloud(pairing.apply_data(b))?);
    }
    Ok((left, right))
}

/// The points of pairs on the recipe's path at time `t`: the law that the flow should have there.
pub fn on_path(recipe: &Recipe, (x0, x1): (&Cloud, &Cloud), t: f64) -> Cloud {
    let c = recipe.path.at(t);
    let latent = Key::of(recipe.seed, RandomStream::ToyLatent);
    let point = |(i, (x0, x1)): (usize, (&[f32; 2], &[f32; 2]))| {
        let mut z = latent.normals(i as u64, 2);
        let mix = |k: usize, z: f32| {
            c.alpha as f32 * x0[k] + c.beta as f32 * x1[k] + if c.gamma == 0.0 { 0.0 } else { c.gamma as f32 * z }
        };
        let (zx, zy) = (z.next().unwrap_or(0.0), z.next().unwrap_or(0.0));
        [mix(0, zx), mix(1, zy)]
    };
    x0.iter().zip(x1).enumerate().map(point).collect()
}
