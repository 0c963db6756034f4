//! What a network is asked in training: points, times, and what it should say there.
//!
//! The path gives one exercise per pair ([`Objective::exercise`](crate::Objective::exercise)); few-step methods give others,
//! with a teacher's or the network's own words as the answer.

use crate::{Parameterization, Path, rows};
use base::{Condition, Tensor, Times};

/// A batch of questions with their answers.
#[derive(Clone, Debug)]
pub struct Exercise<const D: usize> {
    /// Points `[b ...]`.
    pub x: Tensor<D>,
    /// Their times.
    pub times: Times,
    /// Conditions, with the reach where the network is told one.
    pub condition: Condition,
    /// What should be said `[b ...]`, without gradient.
    pub wanted: Tensor<D>,
    /// What kind of answer `wanted` is.
    pub reading: Parameterization,
    /// The data points `[b ...]` that the answers stand for, where a distance between data is wanted too.
    pub data: Option<Tensor<D>>,
}

/// A distance between data and what a network takes for data, beside the loss on its output: the seam for perceptual losses
/// (arXiv 2405.20320, §4.2), whose networks live elsewhere.
pub trait Premetric<const D: usize> {
    /// One distance per sample, `[b]`, differentiable in `estimate`. `data` and `estimate` are `[b ...]`.
    fn distance(&self, data: Tensor<D>, estimate: Tensor<D>) -> Tensor<1>;
}

/// How a loss looks at what it compares: a linear map of both sides, which may depend on the data point they speak of. The seam for
/// metrics of features and weights by place (TriFlow, arXiv:2501.00651), whose codecs live elsewhere.
pub trait Gauge<const D: usize> {
    /// The network's reading and the one wanted, `[b ...]`, as the loss compares them; `data` are the data points where they are known.
    fn seen(&self, read: Tensor<D>, wanted: Tensor<D>, data: Option<&Tensor<D>>) -> (Tensor<D>, Tensor<D>);
}

/// A loss on what a network takes for the data, added to the objective's own by weights of its own: the seam for losses that look at what a
/// latent stands for (TriFlow, arXiv:2501.00651, renders it), whose codecs live elsewhere.
pub trait Onlooker<const D: usize> {
    /// One loss per sample, `[b]`, weighted already, differentiable in `estimate` `[b ...]`. A batch that is looked at twice comes twice, one copy
    /// after the other.
    fn losses(&self, estimate: Tensor<D>, times: &Times) -> Tensor<1>;
}

/// What a trainer supplies to an objective, as far as it asks for any.
#[derive(Clone, Copy)]
pub struct Beside<'a, const D: usize> {
    /// The distance that [`Objective::perceptual`](crate::Objective::perceptual) weighs; without it the loss stands alone.
    pub premetric: Option<&'a dyn Premetric<D>>,
    /// What the loss looks through.
    pub gauge: Option<&'a dyn Gauge<D>>,
    /// What is added to it.
    pub onlooker: Option<&'a dyn Onlooker<D>>,
}

// Not derived: that would name a `Default` of the trait objects.
impl<const D: usize> Default for Beside<'_, D> {
    fn default() -> Self {
        Self { premetric: None, gauge: None, onlooker: None }
    }
}

/// The curved Euler step of every row from its own time to another: source and data estimates of point and velocity held,
/// coefficients moved (DDIM, arXiv 2010.02502, eq. 12). Euler's step on the linear path.
pub fn glide<const D: usize>(path: &Path, x: Tensor<D>, velocity: Tensor<D>, from: &Times, to: &Times) -> Tensor<D> {
    let (mut of_x, mut of_velocity) = (Vec::new(), Vec::new());
    for (&t, &s) in from.values().iter().zip(to.values()) {
        let (c, next) = (path.at(t), path.at(s));
        let det = c.determinant();
        of_x.push((next.alpha * c.d_beta - next.beta * c.d_alpha) / det);
        of_velocity.push((next.beta * c.alpha - next.alpha * c.beta) / det);
    }
    rows::scale(x, of_x) + rows::scale(velocity, of_velocity)
}

/// Source and data points of the curve of `path` through `a` at `from` and `b` at `to`, row by row: the ends that make a
/// piece of a trajectory an ordinary pair.
///
/// On the linear path the velocity of that pair is the chord `(b - a)/(to - from)` (BOSS, arXiv 2312.16414, §3.2); on a
/// variance-preserving one its source is the effective noise of Rectified Diffusion's phases (arXiv 2410.07303, §3.4).
pub fn ends_through<const D: usize>(
    path: &Path,
    (a, from): (Tensor<D>, &Times),
    (b, to): (Tensor<D>, &Times),
) -> (Tensor<D>, Tensor<D>) {
    let mut factors: [Vec<f64>; 4] = Default::default();
    for (&t, &s) in from.values().iter().zip(to.values()) {
        let (p, q) = (path.at(t), path.at(s));
        let det = p.alpha * q.beta - p.beta * q.alpha;
        // Cramer's rule on alpha_a x0 + beta_a x1 = a, alpha_b x0 + beta_b x1 = b.
        for (list, value) in factors.iter_mut().zip([q.beta, -p.beta, -q.alpha, p.alpha]) {
            list.push(value / det);
        }
    }
    let [a0, b0, a1, b1] = factors;
    let x0 = rows::scale(a.clone(), a0) + rows::scale(b.clone(), b0);
    (x0, rows::scale(a, a1) + rows::scale(b, b1))
}

/// The source of the curve of `path` from the very point where a sample of source `z` starts to the data `x1`, all `[b ...]`.
///
/// It is `z` itself unless the path has signal left at t = 0 (a diffusion's schedule, and EDM's): there the point of the pair
/// (`z`, `x1`) is `alpha z + beta x1`, which no sampler starts from, and a network trained there reads its answer off what it
/// will not be given. One More Step, arXiv 2311.15744, §3, is about the same gap in training from data. This is [`ends_through`] for a
/// piece that is the whole trajectory, where the data end is known and most paths have nothing to do.
pub fn source_of_start<const D: usize>(path: &Path, z: Tensor<D>, x1: Tensor<D>) -> Tensor<D> {
    let start = path.at(0.0);
    if start.beta == 0.0 {
        return z;
    }
    z * (path.start_scale() / start.alpha) - x1 * (start.beta / start.alpha)
}
