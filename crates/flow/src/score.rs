//! The second waist: a field that knows its score as well as its velocity, which is all a stochastic solver needs.
//!
//! With velocity `b` and score `s` of the same marginals, the forward drift is `b + ε s` and the backward one `b - ε s` for
//! every diffusion `ε(t) >= 0` chosen after training (2303.08797, theorem 2.8 and its corollaries).

use crate::{Field, Parameterization, PathField};
use base::{Condition, Network, Tensor, Times};

/// A field with the score of its marginals.
pub trait ScoreField<const D: usize>: Field<D> {
    /// Velocity and `grad log density` of the marginal at points `x` `[b ...]` and times `t` (one per row), both of the
    /// shape of `x`. One evaluation: a network is asked once.
    fn velocity_and_score(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> (Tensor<D>, Tensor<D>);

    /// The score alone.
    fn score(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D> {
        self.velocity_and_score(x, t, condition).1
    }
}

/// A network on a path from a standard normal source: the score is read off its output (`s = -E[x0|x]/alpha`).
///
/// Times are held to where both readings are finite, `1e-3` before the data end at the latest.
impl<const D: usize, N: Network<D> + ?Sized> ScoreField<D> for PathField<'_, N> {
    fn velocity_and_score(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> (Tensor<D>, Tensor<D>) {
        let (velocity, score) = (Parameterization::Velocity {}, Parameterization::Score {});
        let t = score.clamp(self.path(), &self.parameterization().clamp(self.path(), t));
        let output = self.output(x.clone(), &t, condition);
        let read = |wanted| self.parameterization().read(wanted, self.path(), x.clone(), output.clone(), &t);
        (read(velocity), read(score))
    }
}
