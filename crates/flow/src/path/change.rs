//! Sampling on another path than the one trained on: equal signal-to-noise ratio is the same state up to scale.
//!
//! Between one-sided paths `x = alpha x0 + beta x1` with a Gaussian source, `x_from = scale · x_to` has the same posterior
//! of both ends wherever `beta/alpha` agrees (EDM, arXiv 2206.00364, §2–3; the converter of rectified-flow libraries). The
//! posterior means are the same, so the velocity of the other path is `alpha' E[x0|x] + beta' E[x1|x]` with that path's
//! derivatives: no retraining, no approximation.

use super::{END, Path, Sides};
use crate::{Field, FlowError, Frame, ScoreField, error::require, rows};
use base::{Condition, Tensor, Times};

/// Where a state of one path lies on another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// Time on the other path.
    pub t: f64,
    /// The state there is this times the state here.
    pub scale: f64,
}

/// Where the state of `to` at time `t` lies on `from`: the time of equal `beta/alpha`, and the factor of the state.
///
/// A ratio that `from` never reaches (VP keeps a trace of data at t = 0) is held to its nearest end.
pub fn matched(from: &Path, to: &Path, t: f64) -> Match {
    let wanted = to.at(t);
    let (low, high) = inside(from);
    // Cross-multiplied, so that no ratio is ever infinite; rises with t on every path.
    let excess = |t: f64| {
        let c = from.at(t);
        c.beta * wanted.alpha - c.alpha * wanted.beta
    };
    let t = match from {
        Path::Linear {} => wanted.beta / (wanted.alpha + wanted.beta),
        Path::Trigonometric {} => wanted.beta.atan2(wanted.alpha) / std::f64::consts::FRAC_PI_2,
        Path::ConstantSpeedVp {} => wanted.beta / wanted.alpha.hypot(wanted.beta),
        Path::Edm { sigma_max, rho } => 1.0 - (wanted.alpha / (wanted.beta * sigma_max)).min(1.0).powf(1.0 / rho),
        _ => root(excess, low, high),
    };
    let t = t.clamp(low, high);
    let c = from.at(t);
    let scale = (c.alpha * wanted.alpha + c.beta * wanted.beta) / (wanted.alpha.powi(2) + wanted.beta.powi(2));
    Match { t, scale }
}

/// Where an increasing function changes sign, to the last bit of its argument; the nearer end if it does not.
fn root(f: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    if f(low) >= 0.0 {
        return low;
    }
    if f(high) <= 0.0 {
        return high;
    }
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return middle;
        }
        if f(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
}

/// Times at which a velocity on `path` tells both ends apart: an end where source and data stand still is left out.
fn inside(path: &Path) -> (f64, f64) {
    let blind = |t: f64| path.at(t).determinant() == 0.0;
    (if blind(0.0) { END } else { 0.0 }, if blind(1.0) { 1.0 - END } else { 1.0 })
}

/// A field of one path, read as the field of another.
#[derive(Clone, Debug)]
pub struct Changed<F> {
    field: F,
    from: Path,
    to: Path,
}

impl<F> Changed<F> {
    /// `field` is a velocity on `from`; the result is the velocity on `to`.
    ///
    /// ```
    /// use flow::{Path, exact, path::{Changed, change::matched}};
    ///
    /// let trained = exact::Gaussian::new(Path::vp(), vec![1.0], vec![0.5])?;
    /// let field = Changed::new(trained, Path::vp(), Path::Linear {})?; // an ordinary field of the straight path
    /// assert!((matched(&Path::Trigonometric {}, &Path::Linear {}, 0.5).t - 0.5).abs() < 1e-15);
    /// # Ok::<(), flow::FlowError>(())
    /// ```
    ///
    /// # Errors
    /// [`FlowError::Setting`] for paths with a latent of their own, or on which `beta/alpha` does not rise throughout.
    pub fn new(field: F, from: Path, to: Path) -> Result<Self, FlowError> {
        for path in [&from, &to] {
            path.check()?;
            let remedy = "only one-sided paths (a Gaussian source and no latent) are the same flow at another pace";
            require(path.sides() == Sides::One, "path", path.name(), remedy)?;
            let remedy = "its data must gain on its noise at every time";
            let ratio = |i: usize| path.at((i as f64 + 0.5) / 64.0);
            let rises = (1..64).all(|i| {
                let (before, after) = (ratio(i - 1), ratio(i));
                after.beta * before.alpha > before.beta * after.alpha
            });
            require(rises, "path", path.name(), remedy)?;
        }
        Ok(Self { field, from, to })
    }

    /// Matches of a batch; neighbours with the same time share the work.
    fn matches(&self, times: &Times) -> Vec<Match> {
        let mut last: Option<(f64, Match)> = None;
        let mut one = |t: f64| match last {
            Some((same, found)) if same == t => found,
            _ => {
                let found = matched(&self.from, &self.to, t);
                last = Some((t, found));
                found
            }
        };
        times.values().iter().map(|&t| one(t)).collect()
    }

    /// `wanted = of_x · x_to + of_velocity · u_from` at each row.
    fn factors(&self, times: &Times, matches: &[Match]) -> (Vec<f64>, Vec<f64>) {
        let one = |(&t, m): (&f64, &Match)| {
            let (p, q) = (self.from.at(m.t), self.to.at(t));
            let det = p.determinant();
            let of_x = m.scale * (q.d_alpha * p.d_beta - q.d_beta * p.d_alpha) / det;
            (of_x, (q.d_beta * p.alpha - q.d_alpha * p.beta) / det)
        };
        times.values().iter().zip(matches).map(one).unzip()
    }
}

/// Times and scaled points at which the trained field is asked.
fn there<const D: usize>(x: &Tensor<D>, matches: &[Match]) -> (Tensor<D>, Times) {
    let scaled = rows::scale(x.clone(), matches.iter().map(|m| m.scale).collect());
    (scaled, Times::new(matches.iter().map(|m| m.t).collect()))
}

impl<const D: usize, F: Field<D>> Field<D> for Changed<F> {
    fn velocity(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D> {
        let matches = self.matches(t);
        let (scaled, times) = there(&x, &matches);
        let (of_x, of_velocity) = self.factors(t, &matches);
        rows::scale(x, of_x) + rows::scale(self.field.velocity(scaled, &times, condition), of_velocity)
    }

    fn frame(&self) -> Option<Frame<'_>> {
        self.field.frame().map(|frame| Frame { path: &self.to, ..frame })
    }
}

impl<const D: usize, F: ScoreField<D>> ScoreField<D> for Changed<F> {
    fn velocity_and_score(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> (Tensor<D>, Tensor<D>) {
        let matches = self.matches(t);
        let (scaled, times) = there(&x, &matches);
        let (of_x, of_velocity) = self.factors(t, &matches);
        let (velocity, score) = self.field.velocity_and_score(scaled, &times, condition);
        let velocity = rows::scale(x, of_x) + rows::scale(velocity, of_velocity);
        (velocity, rows::scale(score, matches.iter().map(|m| m.scale).collect()))
    }
}
