//! Embedded Runge–Kutta pairs with a step size for every sample, so that a sample's path does not depend on its batch mates.
//!
//! Step control and first step after Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I*, II.4. All
//! unfinished rows step together, each with its own time and step; finished rows are dropped from the batch. The pairs
//! themselves ([`Embedded`]) are data in `tableau.rs`.

use super::method::Method;
use super::stepper::{Plan, Run};
use super::{Embedded, Observation, Observer, Solution, tableau};
use crate::{Field, FlowError, error::require, rows};
use base::{Condition, Paper, Tensor, Times};

const DORMAND_PRINCE: Paper = Paper::printed(
    "dormand1980family",
    "Dormand, J. R. and Prince, P. J.",
    "A family of embedded Runge-Kutta formulae",
    1980,
    "Journal of Computational and Applied Mathematics 6(1)",
);
const BOGACKI_SHAMPINE: Paper = Paper::printed(
    "bogacki1989pair",
    "Bogacki, P. and Shampine, L. F.",
    "A 3(2) pair of Runge-Kutta formulas",
    1989,
    "Applied Mathematics Letters 2(4)",
);

/// Fraction of the step that the error estimate allows.
const SAFETY: f64 = 0.9;
/// A step shrinks and grows by at most these factors.
const SHRINK: f64 = 0.2;
const GROW: f64 = 10.0;

/// One unfinished sample.
struct Row {
    sample: usize,
    t: f64,
    /// Size of the next step, positive.
    h: f64,
    steps: usize,
    rejected: bool,
}

/// What the steps of an adaptive solver are held to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Control {
    pub rtol: f64,
    pub atol: f64,
    pub max_steps: usize,
}

/// An embedded pair.
pub(super) struct Adaptive {
    name: &'static str,
    pair: &'static Embedded,
    control: Control,
    paper: Paper,
}

/// Dormand–Prince 5(4).
pub(super) fn dormand_prince(rtol: f64, atol: f64, max_steps: usize) -> Adaptive {
    let control = Control { rtol, atol, max_steps };
    Adaptive { name: "dormand_prince", pair: &tableau::DORMAND_PRINCE, control, paper: DORMAND_PRINCE }
}

/// Bogacki–Shampine 3(2).
pub(super) fn bogacki_shampine(rtol: f64, atol: f64, max_steps: usize) -> Adaptive {
    let control = Control { rtol, atol, max_steps };
    Adaptive { name: "bogacki_shampine", pair: &tableau::BOGACKI_SHAMPINE, control, paper: BOGACKI_SHAMPINE }
}

impl Method for Adaptive {
    fn name(&self) -> &'static str {
        self.name
    }

    fn order(&self) -> Option<f64> {
        Some(f64::from(self.pair.method.order))
    }

    fn papers(&self) -> Vec<Paper> {
        vec![self.paper]
    }

    fn evaluations(&self, _: usize) -> Option<usize> {
        None
    }

    fn check(&self) -> Result<(), FlowError> {
        let Control { rtol, atol, max_steps } = self.control;
        let fine = |v: f64| v.is_finite() && v > 0.0;
        require(fine(rtol), "solver.rtol", rtol, "it must be positive; 1e-5 is customary")?;
        require(fine(atol), "solver.atol", atol, "it must be positive; 1e-5 is customary")?;
        require(max_steps > 0, "solver.max_steps", max_steps, "it must be at least 1; 1000 is customary")
    }

    fn adaptive(&self) -> Option<(&'static Embedded, Control)> {
        Some((self.pair, self.control))
    }

    fn plan<'a, const D: usize>(&self, _: Run<'a, '_, D>) -> Result<Plan<'a, D>, FlowError> {
        let what = "steps that all samples share";
        let remedy = "an adaptive solver chooses them for every sample by itself; use a method of fixed steps here, for \
                      instance midpoint";
        Err(FlowError::Needs { solver: self.name, what, remedy })
    }
}

pub(super) fn solve<const D: usize>(
    field: &dyn Field<D>,
    mut x: Tensor<D>,
    condition: &Condition,
    pair: &Embedded,
    Control { rtol, atol, max_steps }: Control,
    (start, end): (f64, f64),
    mut observe: Observer<'_, D>,
) -> Result<Solution<D>, FlowError> {
    let Embedded { method, error } = pair;
    let exponent = 1.0 / f64::from(method.order);
    let batch = x.dims()[0];
    let (direction, span) = ((end - start).signum(), (end - start).abs());
    let tolerance = Tolerance { rtol, atol };
    let mut condition = condition.clone();
    let mut k1 = field.velocity(x.clone(), &Times::all(start, batch), &condition);
    let first = first_steps(field, &x, &k1, &condition, &tolerance, exponent, start, direction, span)?;
    let mut live: Vec<Row> =
        (first.iter().enumerate()).map(|(sample, &h)| Row { sample, t: start, h, steps: 0, rejected: false }).collect();
    let (mut nfe, mut nfe_per_sample) = (2, vec![2; batch]);
    let mut finished: Vec<(Vec<usize>, Tensor<D>)> = Vec::new();
    let mut step = 0;

    while !live.is_empty() {
        // The step of each row, cut to land on the end exactly.
        let lands: Vec<bool> = live.iter().map(|r| r.h >= (end - r.t).abs() * (1.0 - 1e-12)).collect();
        let dt: Vec<f64> =
            (live.iter().zip(&lands)).map(|(r, &lands)| if lands { end - r.t } else { direction * r.h }).collect();
        let times = |c: f64| {
            let at = |((r, dt), lands): ((&Row, &f64), &bool)| if c == 1.0 && *lands { end } else { r.t + c * dt };
            Times::new(live.iter().zip(&dt).zip(&lands).map(at).collect())
        };
        let mut stages = vec![k1.clone()];
        let mut next = x.clone();
        for i in 1..method.c.len() {
            next = x.clone() + combine(&stages, method.a[i], &dt);
            stages.push(field.velocity(next.clone(), &times(method.c[i]), &condition));
        }
        nfe += method.c.len() - 1;

        // The last stage's point is the solution of higher order itself.
        let errors = tolerance.norm(combine(&stages, error, &dt), &x, &next)?;
        let mut accepted = vec![false; live.len()];
        for (i, row) in live.iter_mut().enumerate() {
            nfe_per_sample[row.sample] += method.c.len() - 1;
            row.steps += 1;
            let size = errors[i];
            if !size.is_finite() {
                return Err(FlowError::NotFinite { what: "the velocity", t: row.t, sample: row.sample });
            }
            accepted[i] = size <= 1.0;
            let factor = if size == 0.0 { GROW } else { (SAFETY * size.powf(-exponent)).clamp(SHRINK, GROW) };
            // Straight after a rejection the step may not grow (Hairer et al., II.4).
            let factor = if row.rejected || !accepted[i] { factor.min(1.0) } else { factor };
            row.rejected = !accepted[i];
            row.h = dt[i].abs() * factor;
        }
        if let Some(observe) = observe.as_deref_mut() {
            let kept: Vec<usize> = (0..live.len()).filter(|&i| accepted[i]).collect();
            if !kept.is_empty() {
                observe(Observation {
                    step,
                    rows: kept.iter().map(|&i| live[i].sample).collect(),
                    t: Times::new(kept.iter().map(|&i| live[i].t).collect()),
                    dt: kept.iter().map(|&i| dt[i]).collect(),
                    x: rows::select(x.clone(), &kept),
                    velocity: rows::select(k1.clone(), &kept),
                    next: rows::select(next.clone(), &kept),
                });
            }
        }
        step += 1;
        for (i, row) in live.iter_mut().enumerate().filter(|(i, _)| accepted[*i]) {
            row.t = if lands[i] { end } else { row.t + dt[i] };
        }
        x = rows::choose(&accepted, next, x);
        k1 = rows::choose(&accepted, stages.pop().expect("a pair has stages"), k1);

        let is_done = |r: &Row| r.t == end;
        if let Some(late) = live.iter().find(|r| !is_done(r) && (r.steps >= max_steps || r.t + direction * r.h == r.t))
        {
            return Err(FlowError::TooManySteps { t: late.t, end, sample: late.sample, max_steps });
        }
        if live.iter().any(is_done) {
            let (done, rest): (Vec<usize>, Vec<usize>) = (0..live.len()).partition(|&i| is_done(&live[i]));
            finished.push((done.iter().map(|&i| live[i].sample).collect(), rows::select(x.clone(), &done)));
            if !rest.is_empty() {
                let index = rows::index(&rest, &x);
                condition = condition.select(&index);
                x = x.select(0, index.clone());
                k1 = k1.select(0, index);
            }
            live.retain(|r| !is_done(r));
        }
    }

    Ok(Solution { x: gather(finished, batch), nfe, nfe_per_sample })
}

/// Rows in the order they finished, put back in the order of the batch.
fn gather<const D: usize>(finished: Vec<(Vec<usize>, Tensor<D>)>, batch: usize) -> Tensor<D> {
    let mut place = vec![0; batch];
    let mut parts = Vec::with_capacity(finished.len());
    for (position, sample) in finished.iter().flat_map(|(samples, _)| samples).enumerate() {
        place[*sample] = position;
    }
    parts.extend(finished.into_iter().map(|(_, x)| x));
    rows::select(Tensor::cat(parts, 0), &place)
}

/// `Σ_j weights_j dt_row stages_j`, skipping zeros.
fn combine<const D: usize>(stages: &[Tensor<D>], weights: &[f64], dt: &[f64]) -> Tensor<D> {
    let sum = (stages.iter().zip(weights))
        .filter(|(_, w)| **w != 0.0)
        .map(|(k, w)| k.clone() * *w)
        .reduce(|a, b| a + b)
        .expect("a tableau's rows have at least one weight");
    // Always a column, never a shared scalar: rounding must not depend on whether batch mates happen to agree.
    let dt = rows::column(dt.to_vec(), &sum);
    sum * dt
}

/// The mixed tolerance `atol + rtol |x|`.
struct Tolerance {
    rtol: f64,
    atol: f64,
}

impl Tolerance {
    /// Root mean square of `value / (atol + rtol max(|a|, |b|))` of each row.
    fn norm<const D: usize>(&self, value: Tensor<D>, a: &Tensor<D>, b: &Tensor<D>) -> Result<Vec<f64>, FlowError> {
        let size = a.clone().abs().max_pair(b.clone().abs());
        let scaled = value / (size * self.rtol + self.atol);
        Ok(rows::host(rows::mean(scaled.square()))?.into_iter().map(f64::sqrt).collect())
    }
}

/// The first step of each row (Hairer et al., II.4, algorithm 4.14): one more evaluation.
#[allow(clippy::too_many_arguments)]
fn first_steps<const D: usize>(
    field: &dyn Field<D>,
    x: &Tensor<D>,
    k1: &Tensor<D>,
    condition: &Condition,
    tolerance: &Tolerance,
    exponent: f64,
    start: f64,
    direction: f64,
    span: f64,
) -> Result<Vec<f64>, FlowError> {
    let size = tolerance.norm(x.clone(), x, x)?;
    let speed = tolerance.norm(k1.clone(), x, x)?;
    let small: Vec<f64> = (size.iter().zip(&speed))
        .map(|(d0, d1)| if *d0 < 1e-5 || *d1 < 1e-5 { 1e-6 } else { 0.01 * d0 / d1 })
        .map(|h: f64| h.min(span))
        .collect();
    let dt = small.iter().map(|h| direction * h).collect();
    let probe = x.clone() + k1.clone() * rows::column(dt, x);
    let times = Times::new(small.iter().map(|h| start + direction * h).collect());
    let k2 = field.velocity(probe, &times, condition);
    let bend = tolerance.norm(k2 - k1.clone(), x, x)?;
    for (sample, d) in speed.iter().zip(&bend).enumerate().map(|(i, (a, b))| (i, a + b)) {
        if !d.is_finite() {
            return Err(FlowError::NotFinite { what: "the velocity", t: start, sample });
        }
    }
    Ok((0..small.len())
        .map(|i| {
            let steepest = speed[i].max(bend[i] / small[i]);
            let h = if steepest <= 1e-15 { (small[i] * 1e-3).max(1e-6) } else { (0.01 / steepest).powf(exponent) };
            h.min(100.0 * small[i]).min(span)
        })
        .collect())
}
