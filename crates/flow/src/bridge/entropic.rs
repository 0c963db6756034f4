//! The bridge by entropic optimal transport: a Sinkhorn plan and Brownian bridges between its pairs.
//!
//! Of the pairs' law the reference `√(2ε) dW` wants `min <|x0 - x1|², π> + 4ε KL(π | ρ0⊗ρ1)`; given its ends, the process is
//! a Brownian bridge. Drift and score regress on simple targets: SF2M, arXiv 2307.03672, eq. 9. In a recipe this is the
//! coupling `sinkhorn` with `relative = false, epsilon = 4ε` on a linear path with a Brownian γ of scale 2ε.

use crate::coupling::{Plan, Sinkhorn};
use crate::{FlowError, error::require, rows};
use base::{Key, Tensor, Times};

/// The entropic bridge with diffusion ε, estimated from batches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entropic {
    epsilon: f64,
}

/// A batch of points on bridges, with regression targets.
#[derive(Clone, Debug)]
pub struct BridgePoint<const D: usize> {
    /// Points `[b ...]`.
    pub xt: Tensor<D>,
    /// Target of the velocity `b` of the probability flow.
    pub velocity: Tensor<D>,
    /// Target of the score.
    pub score: Tensor<D>,
    /// Target of the forward drift `b + ε s`, `(x1 - x_t)/(1 - t)`.
    pub drift: Tensor<D>,
}

impl Entropic {
    /// The bridge with noise `√(2 epsilon) dW`.
    ///
    /// # Errors
    /// [`FlowError::Setting`] unless `epsilon` is positive.
    pub fn new(epsilon: f64) -> Result<Self, FlowError> {
        require(epsilon.is_finite() && epsilon > 0.0, "epsilon", epsilon, "it must be positive")?;
        Ok(Self { epsilon })
    }

    /// The plan between two batches `[n ...]` and `[m ...]`: rows are sources, columns data.
    ///
    /// # Errors
    /// [`FlowError`] if a point is not finite or the sizes of a point differ.
    pub fn plan<const D: usize>(&self, x0: &Tensor<D>, x1: &Tensor<D>) -> Result<Plan, FlowError> {
        let (a, b) = (rows::flatten(x0.clone()), rows::flatten(x1.clone()));
        let ([n, d], [m, e]) = (a.dims(), b.dims());
        if d != e {
            return Err(FlowError::Shape { left: "x0", left_shape: vec![n, d], right: "x1", right_shape: vec![m, e] });
        }
        let (a, b) = (rows::host(a)?, rows::host(b)?);
        let distance = |i: usize, j: usize| {
            let pairs = a[i * d..(i + 1) * d].iter().zip(&b[j * d..(j + 1) * d]);
            pairs.map(|(x, y)| (x - y) * (x - y)).sum::<f64>()
        };
        let costs: Vec<f64> = (0..n * m).map(|at| distance(at / m, at % m)).collect();
        let settings = Sinkhorn { iterations: 5000, tolerance: 1e-6, ..Sinkhorn::new(4.0 * self.epsilon) };
        settings.solve(n, m, &costs)
    }

    /// Pairs drawn from the plan: each source row with one data row, by the counters `indices`.
    ///
    /// # Errors
    /// Those of [`Entropic::plan`].
    pub fn pair<const D: usize>(
        &self,
        x0: &Tensor<D>,
        x1: &Tensor<D>,
        key: Key,
        indices: &[u64],
    ) -> Result<Tensor<D>, FlowError> {
        let plan = self.plan(x0, x1)?;
        let counter = |row: usize| indices.get(row).copied().unwrap_or(row as u64);
        let chosen: Vec<usize> = (0..plan.rows).map(|row| plan.draw_column(row, key.uniform(counter(row)))).collect();
        Ok(rows::select(x1.clone(), &chosen))
    }

    /// Points on the bridges between pairs at times inside (0, 1), with latent `z` `[b ...]` from N(0, I).
    ///
    /// # Errors
    /// [`FlowError`] if shapes differ or a time is an end, where the targets diverge.
    pub fn point<const D: usize>(
        &self,
        x0: Tensor<D>,
        x1: Tensor<D>,
        z: Tensor<D>,
        times: &Times,
    ) -> Result<BridgePoint<D>, FlowError> {
        rows::same_shape("x0", &x0, "x1", &x1)?;
        rows::same_shape("x0", &x0, "z", &z)?;
        let outside = times.values().iter().find(|t| !(**t > 0.0 && **t < 1.0));
        require(outside.is_none(), "t", outside.copied().unwrap_or(0.5), "bridges have targets inside (0, 1) only")?;
        let of = |f: &dyn Fn(f64) -> f64| times.values().iter().map(|t| f(*t)).collect::<Vec<_>>();
        let spread = |t: f64| (2.0 * self.epsilon * t * (1.0 - t)).sqrt();
        let away = rows::scale(z.clone(), of(&spread));
        let xt = rows::scale(x0.clone(), of(&|t| 1.0 - t)) + rows::scale(x1.clone(), of(&|t| t)) + away.clone();
        let bend = rows::scale(away, of(&|t| (1.0 - 2.0 * t) / (2.0 * t * (1.0 - t))));
        let velocity = x1.clone() - x0 + bend;
        let score = rows::scale(z, of(&|t| -1.0 / spread(t)));
        let drift = rows::scale(x1 - xt.clone(), of(&|t| 1.0 / (1.0 - t)));
        Ok(BridgePoint { xt, velocity, score, drift })
    }
}
