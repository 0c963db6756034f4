//! Likelihoods: how probable a flow, or its SDE, finds a point.
//!
//! ODE: `log rho1(x) = log rho0(X_0) - ∫ div b(t, X_t) dt` along the path that ends in `x` (2303.08797, §2.5; 2011.13456,
//! appendix D.2). SDE with constant diffusion: `rho1(x) = E[exp(-∫ div b_F(t, Y_t) dt) rho0(Y_0)]`, where `Y` leaves `x`
//! backwards in time, driven by the **forward** drift `b_F = b + ε s` (2303.08797, theorem 2.23: the roles of the two
//! drifts are the reverse of sampling). Its logarithm's mean alone would be a bound only (Jensen).

mod divergence;

pub use divergence::{ByAutodiff, ByDifferences, Divergence, Divergent, ForwardDrift, Probe};

use crate::{Field, FlowError, Schedule, Solver, error::require, rows, solve, time::normal_cdf};
use base::{Condition, Key, Tensor, TensorData, Times};
use std::f64::consts::{LN_2, PI};

/// Log density of the source at points `[b ...]`, one number per row.
pub type LogPrior<'a, const D: usize> = dyn Fn(&Tensor<D>) -> Result<Vec<f64>, FlowError> + 'a;

/// Log densities and what they cost.
#[derive(Clone, Debug)]
pub struct Likelihood<const D: usize> {
    /// Log density of each sample, in nats.
    pub log_density: Vec<f64>,
    /// Where the flow started, `[b ...]`.
    pub x0: Tensor<D>,
    /// Batched evaluations of the field; each costs a derivative per probe (or per value) besides.
    pub nfe: usize,
}

/// Log density of a normal source of standard deviation `scale` ([`crate::Path::start_scale`]) with independent values.
///
/// # Errors
/// [`FlowError::Device`] if the points cannot be read.
pub fn normal_log_density<const D: usize>(x: &Tensor<D>, scale: f64) -> Result<Vec<f64>, FlowError> {
    let n = x.dims()[1..].iter().product::<usize>() as f64;
    let constant = n * (scale.ln() + 0.5 * (2.0 * PI).ln());
    let squares = rows::host(rows::sum((x.clone() / scale).square()))?;
    Ok(squares.into_iter().map(|s| -0.5 * s - constant).collect())
}

/// The state of a likelihood solve, flattened to `[b n + 1 + probes n]`: point, integral of the divergence, and the probes,
/// which stand still. So every solver serves, an adaptive one too, and each row keeps its own probe whatever rows are left.
struct Augmented<'a, const D: usize> {
    field: &'a dyn Divergent<D>,
    shape: [usize; D],
    probes: usize,
}

impl<const D: usize> Augmented<'_, D> {
    fn values(&self) -> usize {
        self.shape[1..].iter().product()
    }

    fn point(&self, flat: Tensor<2>) -> Tensor<D> {
        let mut shape = self.shape;
        shape[0] = flat.dims()[0];
        flat.reshape(shape)
    }
}

impl<const D: usize> Field<2> for Augmented<'_, D> {
    fn velocity(&self, state: Tensor<2>, t: &Times, condition: &Condition) -> Tensor<2> {
        let n = self.values();
        let x = self.point(state.clone().narrow(1, 0, n));
        if self.probes == 0 {
            let (velocity, divergence) = self.field.velocity_and_divergence(x, t, condition);
            return Tensor::cat(vec![rows::flatten(velocity), divergence.unsqueeze_dim(1)], 1);
        }
        let mut parts: Option<(Tensor<D>, Tensor<1>)> = None;
        for i in 0..self.probes {
            let probe = self.point(state.clone().narrow(1, n + 1 + i * n, n));
            let (velocity, quadratic) = self.field.velocity_and_quadratic(x.clone(), t, condition, probe);
            parts = Some(match parts {
                None => (velocity, quadratic),
                Some((velocity, sum)) => (velocity, sum + quadratic),
            });
        }
        let (velocity, sum) = parts.expect("there is at least one probe");
        let still = state.narrow(1, n + 1, self.probes * n).zeros_like();
        let divergence = (sum / self.probes as f64).unsqueeze_dim(1);
        Tensor::cat(vec![rows::flatten(velocity), divergence, still], 1)
    }
}

/// Log density of each of `x` `[b ...]` under the flow of `field`, its source's log density being `prior`.
///
/// `schedule` is walked from the data to the source, whichever way round it is given. Probes of sample `i` come from `key`
/// at `indices[i]`.
///
/// # Errors
/// Those of [`solve`], and [`FlowError::Setting`] if the divergence's settings are out of range or `indices` are not one
/// per sample.
#[allow(clippy::too_many_arguments)] // a solve with its divergence and its source; each is needed and none has a default
pub fn ode<const D: usize>(
    field: &dyn Divergent<D>,
    x: Tensor<D>,
    condition: &Condition,
    (solver, schedule): (&Solver, &Schedule),
    divergence: &Divergence,
    prior: &LogPrior<'_, D>,
    key: Key,
    indices: &[u64],
) -> Result<Likelihood<D>, FlowError> {
    divergence.check()?;
    let dims = x.dims();
    require(indices.len() == dims[0], "indices", indices.len(), "there must be one per sample")?;
    let schedule = falling(schedule);
    let augmented = Augmented { field, shape: dims, probes: divergence.probes() };
    let n = augmented.values();
    let flat = rows::flatten(x);
    let nothing = flat.clone().narrow(1, 0, 1).zeros_like();
    let probes = divergence.draw(key, indices, &flat);
    let state = Tensor::cat([vec![flat, nothing], probes].concat(), 1);
    let solution = solve(&augmented, state, condition, solver, &schedule, None)?;
    let x0 = augmented.point(solution.x.clone().narrow(1, 0, n));
    // Walked backwards, the integral comes out as -∫ div dt already.
    let gained = rows::host(rows::sum(solution.x.narrow(1, n, 1)))?;
    let log_density = prior(&x0)?.into_iter().zip(gained).map(|(p, g)| p + g).collect();
    Ok(Likelihood { log_density, x0, nfe: solution.nfe })
}

/// The schedule from the data to the source.
fn falling(schedule: &Schedule) -> Schedule {
    let (first, last) = schedule.ends();
    if first < last { schedule.reversed() } else { schedule.clone() }
}

/// Log density of each of `x` `[b ...]` under the forward SDE with constant `diffusion` and drift `drift` (see
/// [`ForwardDrift`]): the logarithm of the mean over `trajectories`.
///
/// Euler–Maruyama steps, the divergence by the trapezoidal rule: biased by the step's length, and by half the relative
/// variance of the mean over trajectories, which only more of them mend. The walk of trajectory `k` of sample `i` comes from
/// `key.fold(k)` and `indices[i]`.
///
/// # Errors
/// [`FlowError::Setting`] for no trajectories or a diffusion that is not positive, [`FlowError::NotFinite`] if one runs away.
#[allow(clippy::too_many_arguments)] // as `ode`
pub fn sde<const D: usize>(
    drift: &dyn Divergent<D>,
    diffusion: f64,
    x: Tensor<D>,
    condition: &Condition,
    schedule: &Schedule,
    trajectories: usize,
    prior: &LogPrior<'_, D>,
    (key, indices): (Key, &[u64]),
) -> Result<Vec<f64>, FlowError> {
    require(diffusion.is_finite() && diffusion > 0.0, "diffusion", diffusion, "it must be positive")?;
    require(trajectories > 0, "trajectories", trajectories, "the mean needs at least one")?;
    let (dims, batch) = (x.dims(), x.dims()[0]);
    require(indices.len() == batch, "indices", indices.len(), "there must be one per sample")?;
    let times = falling(schedule);
    let mut terms = vec![Vec::with_capacity(trajectories); batch];
    for trajectory in 0..trajectories {
        let walk = key.fold(trajectory as u64);
        let mut y = x.clone();
        let mut lost = vec![0.0; batch];
        let mut add = |divergence: Tensor<1>, width: f64| -> Result<(), FlowError> {
            lost.iter_mut().zip(rows::host(divergence)?).for_each(|(sum, div)| *sum += width * div);
            Ok(())
        };
        let steps: Vec<(f64, f64)> = times.times().windows(2).map(|w| (w[0], w[0] - w[1])).collect();
        for (i, &(t, h)) in steps.iter().enumerate() {
            let (velocity, divergence) = drift.velocity_and_divergence(y.clone(), &Times::all(t, batch), condition);
            let before = if i == 0 { 0.0 } else { steps[i - 1].1 };
            add(divergence, 0.5 * (before + h))?;
            let noise = walk.fold(i as u64).normal_tensor(indices, dims, &y.device()).cast(y.dtype());
            y = y - velocity * h + noise * (2.0 * diffusion * h).sqrt();
        }
        let (end, last) = (times.ends().1, steps.last().map_or(0.0, |s| s.1));
        rows::check_finite(&y, &Times::all(end, batch), "the state")?;
        let (_, divergence) = drift.velocity_and_divergence(y.clone(), &Times::all(end, batch), condition);
        add(divergence, 0.5 * last)?;
        for ((terms, prior), lost) in terms.iter_mut().zip(prior(&y)?).zip(lost) {
            terms.push(prior - lost);
        }
    }
    Ok(terms.iter().map(|terms| log_mean_exp(terms)).collect())
}

/// `log mean exp` without overflow.
fn log_mean_exp(terms: &[f64]) -> f64 {
    let top = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !top.is_finite() {
        return top;
    }
    top + (terms.iter().map(|t| (t - top).exp()).sum::<f64>() / terms.len() as f64).ln()
}

/// Bits per value of a discrete sample of `values` values, from the log density (nats) of its dequantised self, whose
/// values fill cells of width `cell` (2/255 for bytes scaled to [-1, 1]).
pub fn bits_per_dimension(log_density: f64, values: usize, cell: f64) -> f64 {
    -log_density / (values as f64 * LN_2) - cell.log2()
}

/// Values spread evenly over their cells of width `cell` (uniform dequantisation): the mean of the log density then bounds
/// the log probability of the discrete sample from below (1511.01844, §3.1). Row `i` depends on `key` and `indices[i]` alone.
pub fn dequantise<const D: usize>(x: Tensor<D>, cell: f64, key: Key, indices: &[u64]) -> Tensor<D> {
    let dims = x.dims();
    let n: usize = dims[1..].iter().product();
    let spread =
        |index: &u64| key.normals(*index, n).map(|z| cell * (normal_cdf(f64::from(z)) - 0.5)).collect::<Vec<_>>();
    let values: Vec<f64> = indices.iter().flat_map(spread).collect();
    let noise = Tensor::from_data(TensorData::new(values, dims), (&x.device(), x.dtype()));
    x + noise
}
