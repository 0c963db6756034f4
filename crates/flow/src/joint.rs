//! Two networks on one path, read together: what a stochastic interpolant with two sides and a latent needs.
//!
//! 2303.08797, §2.2 and §4.2: any of `(b, s)`, `(b, η_z)`, `(v, s)`, `(v, η_z)` gives velocity `b = v - gamma gamma' s` and
//! score `s = -η_z/gamma`; two of the three posterior means `η_0`, `η_1`, `η_z` give the third through
//! `alpha η_0 + beta η_1 + gamma η_z = x`. The paper finds `(b, η_z)` best.

use crate::{Coefficients, Field, FlowError, Frame, Parameterization, Path, PathField, ScoreField, path::Sides, rows};
use base::{Condition, Network, Tensor, Times};

/// Two outputs at the points of one path, as one field with its score.
#[derive(Clone, Debug)]
pub struct JointField<'a, A: ?Sized, B: ?Sized> {
    first: PathField<'a, A>,
    second: PathField<'a, B>,
}

/// `source x0 + data x1 + latent z`, the latent's factor for `z` itself or, in units of the score, for `s = -z/gamma`.
type Row = [f64; 3];

fn row(output: Parameterization, c: &Coefficients, by_score: bool) -> Row {
    use Parameterization as P;
    // Times gamma where the score is the unit: the products of gamma that diverge alone are then finite.
    let latent = |z: f64, s: f64| if by_score { s } else { z };
    match output {
        P::Velocity {} => [c.d_alpha, c.d_beta, latent(c.d_gamma, -c.gamma_d_gamma)],
        P::InterpolantVelocity {} => [c.d_alpha, c.d_beta, 0.0],
        P::Noise {} => [1.0, 0.0, 0.0],
        P::Data {} => [0.0, 1.0, 0.0],
        P::Latent {} => [0.0, 0.0, latent(1.0, -c.gamma)],
        P::Score {} => [0.0, 0.0, latent(-1.0 / c.gamma, 1.0)],
        P::Drift { diffusion } => {
            [c.d_alpha, c.d_beta, latent(c.d_gamma - diffusion / c.gamma, diffusion - c.gamma_d_gamma)]
        }
        P::VPrediction {} | P::Preconditioned { .. } => [c.beta, -c.alpha, 0.0], // refused by `Parameterization::check`
    }
}

/// Factors of `(x, first output, second output)` that make `wanted`; not finite where they do not determine it.
fn combine(first: Parameterization, second: Parameterization, wanted: Parameterization, c: &Coefficients) -> [f64; 3] {
    use Parameterization as P;
    if first == wanted {
        return [0.0, 1.0, 0.0];
    }
    if second == wanted {
        return [0.0, 0.0, 1.0];
    }
    let score = P::Score {};
    let by_score = first == score || second == score;
    let (k1, k2, w) = (row(first, c, by_score), row(second, c, by_score), row(wanted, c, by_score));
    let moves = |r: Parameterization| matches!(r, P::Velocity {} | P::InterpolantVelocity {} | P::Drift { .. });
    let lies = |r: Parameterization| matches!(r, P::Latent {} | P::Score {});
    // A velocity and a latent differ from every other such pair in the latent alone: no solve, and no point needed.
    if moves(first) && lies(second) && (moves(wanted) || lies(wanted)) {
        let of_first = if moves(wanted) { 1.0 } else { 0.0 };
        return [0.0, of_first, (w[2] - of_first * k1[2]) / k2[2]];
    }
    if lies(first) && moves(second) && (moves(wanted) || lies(wanted)) {
        let of_second = if moves(wanted) { 1.0 } else { 0.0 };
        return [0.0, (w[2] - of_second * k2[2]) / k1[2], of_second];
    }
    // f with f0 X + f1 K1 + f2 K2 = W, by Cramer's rule on the rows.
    let x = [c.alpha, c.beta, if by_score { -c.gamma * c.gamma } else { c.gamma }];
    let det = determinant(x, k1, k2);
    [determinant(w, k1, k2) / det, determinant(x, w, k2) / det, determinant(x, k1, w) / det]
}

fn determinant(a: Row, b: Row, c: Row) -> f64 {
    a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0])
}

impl<'a, A: ?Sized, B: ?Sized> JointField<'a, A, B> {
    /// Two networks trained on `path`, each with what it outputs.
    ///
    /// # Errors
    /// [`FlowError::Setting`] if the path has not two sides and a latent (elsewhere one network suffices: `PathField`);
    /// [`FlowError::Unreadable`] if the two outputs together do not determine velocity and score.
    pub fn new(
        path: Path,
        (first, first_output): (&'a A, Parameterization),
        (second, second_output): (&'a B, Parameterization),
    ) -> Result<Self, FlowError> {
        path.check()?;
        let remedy = "two networks are for paths with two sides and a latent; elsewhere one says everything";
        crate::error::require(path.sides() == Sides::Two, "path", path.name(), remedy)?;
        first_output.check(&path)?;
        second_output.check(&path)?;
        for wanted in [Parameterization::Velocity {}, Parameterization::Score {}] {
            let known =
                |t: f64| combine(first_output, second_output, wanted, &path.at(t)).iter().all(|f| f.is_finite());
            if !(known(0.3) && known(0.7)) {
                let remedy = "train velocity and latent, the pair that 2303.08797 finds best";
                let (output, path) = (first_output.name(), path.name());
                return Err(FlowError::Unreadable { output, path, wanted: wanted.name(), remedy });
            }
        }
        let first = PathField::new(first, path.clone(), first_output);
        Ok(Self { first, second: PathField::new(second, path, second_output) })
    }

    /// `t` held to where both outputs are finite.
    fn held(&self, t: &Times) -> Times {
        let t = self.first.parameterization().clamp(self.first.path(), t);
        self.second.parameterization().clamp(self.first.path(), &t)
    }

    fn read<const D: usize>(&self, wanted: Parameterization, at: &[Tensor<D>; 3], t: &Times) -> Tensor<D> {
        let (first, second) = (*self.first.parameterization(), *self.second.parameterization());
        let factors: Vec<[f64; 3]> =
            t.values().iter().map(|&t| combine(first, second, wanted, &self.first.path().at(t))).collect();
        let mut sum: Option<Tensor<D>> = None;
        for (i, part) in at.iter().enumerate() {
            // What is not needed is not added: zero times an infinity would spoil the sum.
            if factors.iter().all(|f| f[i] == 0.0) {
                continue;
            }
            let scaled = rows::scale(part.clone(), factors.iter().map(|f| f[i]).collect());
            sum = Some(match sum {
                None => scaled,
                Some(sum) => sum + scaled,
            });
        }
        sum.unwrap_or_else(|| at[0].zeros_like())
    }
}

impl<const D: usize, A: Network<D> + ?Sized, B: Network<D> + ?Sized> Field<D> for JointField<'_, A, B> {
    fn velocity(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D> {
        let t = self.held(t);
        // The velocity itself needs no second opinion.
        for (own, field) in [(self.first.parameterization(), true), (self.second.parameterization(), false)] {
            if *own == (Parameterization::Velocity {}) {
                return if field { self.first.output(x, &t, condition) } else { self.second.output(x, &t, condition) };
            }
        }
        let outputs = [x.clone(), self.first.output(x.clone(), &t, condition), self.second.output(x, &t, condition)];
        self.read(Parameterization::Velocity {}, &outputs, &t)
    }

    fn frame(&self) -> Option<Frame<'_>> {
        Some(Frame { path: self.first.path(), independent: false })
    }

    fn score_field(&self) -> Option<&dyn ScoreField<D>> {
        Some(self)
    }
}

impl<const D: usize, A: Network<D> + ?Sized, B: Network<D> + ?Sized> ScoreField<D> for JointField<'_, A, B> {
    fn velocity_and_score(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> (Tensor<D>, Tensor<D>) {
        let score = Parameterization::Score {};
        let t = score.clamp(self.first.path(), &self.held(t));
        let outputs = [x.clone(), self.first.output(x.clone(), &t, condition), self.second.output(x, &t, condition)];
        (self.read(Parameterization::Velocity {}, &outputs, &t), self.read(score, &outputs, &t))
    }
}
