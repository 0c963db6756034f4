//! A batch of pairs: whole trajectories in either direction, or pieces of them.

use super::{Labels, PairsConfig, Supply};
use crate::{MethodError, error::Failure};
use base::{Device, Key, Purpose, Tensor};
use flow::{Brownian, Field, Schedule, rows, solve, solve_with};

/// What one batch of pairs came to.
pub(super) struct Made<const D: usize> {
    pub x0: Tensor<D>,
    pub x1: Tensor<D>,
    pub labels: Vec<i64>,
    pub nfe: usize,
}

/// How a batch of pairs is made.
pub(super) struct Maker<'a, const D: usize> {
    pub field: &'a dyn Field<D>,
    pub labels: &'a Labels,
    pub config: &'a PairsConfig,
    pub device: &'a Device,
    /// How much wider than its source points the path starts; pairs keep the narrow ones.
    pub scale: f64,
}

impl<const D: usize> Maker<'_, D> {
    fn classes(&self, supply: &mut dyn Supply<D>, trajectories: &[u64]) -> Result<Vec<i64>, Failure> {
        let drawn = || trajectories.iter().map(|&i| self.labels.label(self.config.seed, i)).collect();
        Ok(supply.labels(trajectories)?.unwrap_or_else(drawn))
    }

    fn scaled(&self, x: Tensor<D>, scale: f64) -> Tensor<D> {
        if scale == 1.0 { x } else { x * scale }
    }

    /// Whole trajectories: forwards from source points, and the inverted ones backwards from data.
    pub fn whole(&self, supply: &mut dyn Supply<D>, indices: &[u64], steps: &Schedule) -> Result<Made<D>, MethodError> {
        let (config, lost) = (self.config, lost(indices));
        let (backward, forward): (Vec<u64>, Vec<u64>) = indices.iter().partition(|&&i| config.is_inverted(i));
        let (mut ends, mut nfe) = (Vec::new(), 0);
        if !forward.is_empty() {
            let numbers: Vec<u64> = forward.iter().map(|&i| i - config.inverted_of(i)).collect();
            let x0 = supply.source(&numbers).map_err(&lost)?;
            let classes = self.classes(supply, &forward).map_err(&lost)?;
            let condition = supply.condition(&classes, &forward, self.device).map_err(&lost)?;
            let paths = Brownian::new(Key::new(config.seed, Purpose::Latent), &forward);
            let from = self.scaled(x0.clone(), self.scale);
            let end = solve_with(self.field, from, &condition, &config.solver, steps, &paths, None)?;
            nfe += end.nfe;
            ends.push((x0, end.x, classes));
        }
        if !backward.is_empty() {
            let numbers: Vec<u64> = backward.iter().map(|&i| config.inverted_of(i)).collect();
            let (x1, classes) = supply.data(&numbers).map_err(&lost)?;
            let condition = supply.condition(&classes, &backward, self.device).map_err(&lost)?;
            let start = solve(self.field, x1.clone(), &condition, &config.solver, &steps.reversed(), None)?;
            nfe += start.nfe;
            ends.push((self.scaled(start.x, 1.0 / self.scale), x1, classes));
        }
        // Back in the order of their indices.
        let made = [forward, backward].concat();
        let places: Vec<usize> = indices.iter().filter_map(|i| made.iter().position(|m| m == i)).collect();
        let whole = ends.len() == 1;
        let (mut x0, mut x1, mut classes) = (Vec::new(), Vec::new(), Vec::new());
        for (start, end, class) in ends {
            x0.push(start);
            x1.push(end);
            classes.extend(class);
        }
        let joined = |parts: Vec<Tensor<D>>| {
            let all = Tensor::cat(parts, 0);
            if whole { all } else { rows::select(all, &places) }
        };
        let (x0, x1) = (joined(x0), joined(x1));
        Ok(Made { x0, x1, labels: places.iter().map(|&place| classes[place]).collect(), nfe })
    }

    /// Pieces of trajectories, each from where the one before it ended.
    pub fn pieces(
        &self,
        supply: &mut dyn Supply<D>,
        indices: &[u64],
        grid: &[Schedule],
    ) -> Result<Made<D>, MethodError> {
        let (config, pieces) = (self.config, grid.len() as u64);
        // The trajectories that these pairs are pieces of.
        let first = indices.first().map_or(0, |i| i / pieces);
        let end = indices.last().map_or(0, |i| i / pieces + 1);
        let trajectories: Vec<u64> = (first..end).collect();
        let classes = self.classes(supply, &trajectories).map_err(lost(indices))?;
        let condition = supply.condition(&classes, &trajectories, self.device).map_err(lost(indices))?;
        let source = supply.source(&trajectories).map_err(lost(indices))?;
        let (mut ends, mut nfe) = (vec![self.scaled(source, self.scale)], 0);
        for (piece, steps) in grid.iter().enumerate() {
            let key = Key::new(config.seed, Purpose::Latent);
            let key = if piece == 0 { key } else { key.fold(piece as u64) };
            let paths = Brownian::new(key, &trajectories);
            let solution =
                solve_with(self.field, ends[piece].clone(), &condition, &config.solver, steps, &paths, None)?;
            nfe += solution.nfe;
            ends.push(solution.x);
        }
        // Row `piece * trajectories + trajectory` of all states one after another.
        let count = trajectories.len();
        let row = |i: &u64, later: u64| ((i % pieces + later) as usize) * count + (i / pieces - first) as usize;
        let all = Tensor::cat(ends, 0);
        let of = |later| rows::select(all.clone(), &indices.iter().map(|i| row(i, later)).collect::<Vec<_>>());
        let labels = indices.iter().map(|i| classes[(i / pieces - first) as usize]).collect();
        Ok(Made { x0: of(0), x1: of(1), labels, nfe })
    }
}

/// The error for points that were not to be had for these pairs.
fn lost(indices: &[u64]) -> impl Fn(Failure) -> MethodError + use<> {
    let index = indices.first().copied().unwrap_or(0);
    move |source| MethodError::Supply { index, source }
}
