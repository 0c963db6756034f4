//! MeanFlow: a network of mean velocities, trained by the identity that ties them to the velocity.
//!
//! Geng et al., arXiv 2505.13447, §4. With `(s - t) u(x, t, s)` the way the flow goes from `t` to `s`, its derivative along
//! the trajectory gives `u = v + (s - t) (v·∇u + ∂u/∂t)` (time runs to the data here). The total derivative is taken by a central
//! difference along `(v, 1)`: two evaluations without gradient, no forward-mode differentiation. `v` is the pair's own
//! velocity, or the teacher's where there is one.

use super::{Lesson, Part, TargetRule, require};
use crate::MethodError;
use base::{Tensor, Times};
use flow::{Exercise, Parameterization, rows};
use serde::{Deserialize, Serialize};

/// Mean Flows for One-step Generative Modeling.
pub const MEAN_FLOW: base::Paper = base::Paper::arxiv(
    "geng2025mean",
    "Geng, Zhengyang and Deng, Mingyang and Bai, Xingjian and Kolter, J. Zico and He, Kaiming",
    "Mean Flows for One-step Generative Modeling",
    (2025, "2505.13447"),
    "NeurIPS 2025",
);

/// Settings of the rule.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct MeanFlow {
    /// Share of the rows that look ahead; the others learn the velocity itself. 0.25 in the paper.
    pub share: f64,
    /// Half the width of the difference, in time.
    pub difference: f64,
}

impl Default for MeanFlow {
    fn default() -> Self {
        Self { share: 0.25, difference: 0.005 }
    }
}

impl MeanFlow {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`MethodError::Setting`].
    pub fn check(&self) -> Result<(), MethodError> {
        require(
            (0.0..=1.0).contains(&self.share),
            "target.share",
            self.share,
            "it must be in [0, 1]; 0.25 is the paper's",
        )?;
        let holds = (1e-4..=0.1).contains(&self.difference);
        require(holds, "target.difference", self.difference, "it must be in [1e-4, 0.1]; 0.005 is the default")
    }
}

/// The mean velocity that the identity asks for, where `mean(x, t)` is the present one from `t` to the fixed times `until`.
fn identity<const D: usize>(
    mean: impl Fn(Tensor<D>, &Times) -> Tensor<D>,
    (x, v): (Tensor<D>, Tensor<D>),
    (t, until): (&Times, &Times),
    difference: f64,
) -> Tensor<D> {
    let ahead = |sign: f64| Times::new(t.values().iter().map(|t| (t + sign * difference).clamp(0.0, 1.0)).collect());
    let (after, before) = (ahead(1.0), ahead(-1.0));
    let moved = |to: &Times| {
        let steps = to.values().iter().zip(t.values()).map(|(to, t)| to - t).collect();
        mean(x.clone() + rows::scale(v.clone(), steps), to)
    };
    let factors = (t.values().iter().zip(until.values()))
        .zip(after.values().iter().zip(before.values()))
        .map(|((t, until), (after, before))| (until - t) / (after - before))
        .collect();
    v.clone() + rows::scale(moved(&after) - moved(&before), factors)
}

impl<const D: usize> TargetRule<D> for MeanFlow {
    fn parts(&self, lesson: &Lesson<D>) -> Result<Vec<Part<D>>, MethodError> {
        let path = &lesson.objective.path;
        let second = lesson.objective.time.clone();
        let (looks, draws) = (lesson.uniform(0), lesson.uniform(1));
        // Two times of the same law, in order; where a row does not look ahead they are one.
        let (mut from, mut until, mut chosen) = (Vec::new(), Vec::new(), Vec::new());
        for (row, &t) in lesson.times.values().iter().enumerate() {
            let other = second.quantile(draws[row]);
            let ahead = looks[row] < self.share && other != t;
            let (low, high) = if ahead { (t.min(other), t.max(other)) } else { (t, t) };
            from.push(low);
            until.push(high);
            if ahead {
                chosen.push(row);
            }
        }
        let (from, until) = (lesson.objective.clamp(&Times::new(from)), Times::new(until));
        let point = path.point_of(lesson.ends.clone(), &from)?;
        let (x, device) = (point.xt, point.dxt.device());
        let v = match lesson.teacher {
            Some(teacher) => teacher.velocity(x.clone(), &from, &lesson.condition),
            None => point.dxt,
        };
        let mut wanted = v.clone();
        if !chosen.is_empty() {
            let condition = lesson.condition.select(&rows::index(&chosen, &x));
            let some = |times: &Times| Times::new(chosen.iter().map(|&row| times.values()[row]).collect());
            let (t, s) = (some(&from), some(&until));
            let mean = |x: Tensor<D>, t: &Times| lesson.student.average_velocity(x, t, &s, &condition);
            let at = (rows::select(x.clone(), &chosen), rows::select(v, &chosen));
            wanted = rows::replace(wanted, &chosen, identity(mean, at, (&t, &s), self.difference));
        }
        let reach = Times::new(until.values().iter().zip(from.values()).map(|(s, t)| (s - t).max(0.0)).collect());
        let condition = lesson.condition.clone().reaching(reach.tensor(&device));
        // The data that a mean velocity stands for is not known: no perceptual distance.
        let reading = Parameterization::Velocity {};
        Ok(vec![Exercise { x, times: from, condition, wanted, reading, data: None }.into()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use base::Condition;
    use flow::{Field, Objective};

    #[test]
    fn the_identity_holds_for_the_exact_mean_velocity_and_fails_for_another() {
        let exact = Exact(gaussian());
        let x = normal(64, 0);
        let t = Times::new((0..64).map(|i| i as f64 / 80.0).collect());
        let until = Times::new(t.values().iter().map(|t| t + 0.9 * (1.0 - t)).collect());
        let v = exact.velocity(x.clone(), &t, &Condition::none());
        let mean = |x: Tensor<2>, t: &Times| exact.mean(x, t, &until);
        let own = exact.mean(x.clone(), &t, &until);
        let found = identity(mean, (x.clone(), v.clone()), (&t, &until), 0.005);
        assert!(gap(found, own.clone()) < 2e-3, "the difference is of second order, and f32");
        // The velocity itself is no mean velocity.
        let off = identity(|x, t| exact.velocity(x, t, &Condition::none()), (x, v.clone()), (&t, &until), 0.005);
        assert!(gap(off, v) > 0.1);
    }

    #[test]
    fn rows_that_do_not_look_ahead_learn_the_velocity() {
        let exact = Exact(gaussian());
        let objective = Objective::default();
        let lesson = lesson(&objective, &exact, Some(&exact), &ROWS);
        let part = MeanFlow { share: 0.5, ..MeanFlow::default() }.parts(&lesson).unwrap().remove(0).exercise;
        let reach = rows::host(part.condition.reach.clone().unwrap()).unwrap();
        let still = reach.iter().filter(|r| **r == 0.0).count();
        assert!((16..48).contains(&still), "{still} rows of 64 look no further");
        // With an exact student the answer is the student's own mean velocity, whatever the reach.
        let until = Times::new(part.times.values().iter().zip(&reach).map(|(t, r)| t + r).collect());
        assert!(gap(part.wanted, exact.mean(part.x, &part.times, &until)) < 5e-3);
        let plain = MeanFlow { share: 0.0, ..MeanFlow::default() }.parts(&lesson).unwrap().remove(0).exercise;
        assert!(rows::host(plain.condition.reach.unwrap()).unwrap().iter().all(|r| *r == 0.0));
    }
}
