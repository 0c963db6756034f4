//! Consistency training and distillation in discrete time: the data estimate must not change along a trajectory.
//!
//! Consistency models, arXiv 2303.01469, §§3–5: `f(x_t, t)` is where the flow ends. On a grid of cells the estimate at the
//! noisier end of a cell is fitted to the network's own estimate at the other end: one step of the teacher further
//! (distillation) or at the same pair's next point (training). At the data the estimate is the point itself by the
//! parameterization. The other estimate carries no gradient and comes from the present weights, not from an average (Song &
//! Dhariwal, arXiv 2310.14189, §3.2, drop the average).

use super::{Lesson, Part, TargetRule, data_of, require, segments};
use crate::MethodError;
use base::Times;
use flow::{Exercise, Parameterization};
use serde::{Deserialize, Serialize};

/// Settings of the rule.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Consistency {
    /// Cells of equal length between noise and data, at least 2: few converge faster, many are more accurate.
    pub cells: usize,
}

impl Default for Consistency {
    fn default() -> Self {
        Self { cells: 16 }
    }
}

impl Consistency {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`MethodError::Setting`].
    pub fn check(&self) -> Result<(), MethodError> {
        require(
            (2..=10_000).contains(&self.cells),
            "target.cells",
            self.cells,
            "it must be in 2..=10000; 16 is a start",
        )
    }
}

impl<const D: usize> TargetRule<D> for Consistency {
    fn parts(&self, lesson: &Lesson<D>) -> Result<Vec<Part<D>>, MethodError> {
        let path = &lesson.objective.path;
        let n = self.cells as f64;
        let cell = |t: &f64| (t * n).floor().min(n - 1.0);
        let from = lesson.objective.clamp(&Times::new(lesson.times.values().iter().map(|t| cell(t) / n).collect()));
        let to = Times::new(lesson.times.values().iter().map(|t| (cell(t) + 1.0) / n).collect());
        let x = path.point_of(lesson.ends.clone(), &from)?.xt;
        let next = match lesson.teacher {
            Some(teacher) => segments::carry(teacher, lesson, x.clone(), (&from, &to), 1),
            None => path.point_of(lesson.ends.clone(), &to)?.xt,
        };
        let velocity = lesson.student.velocity(next.clone(), &to, &lesson.condition);
        let wanted = data_of(lesson.objective, next, velocity, &to);
        let (condition, data) = (lesson.condition.clone(), Some(wanted.clone()));
        Ok(vec![Exercise { x, times: from, condition, wanted, reading: Parameterization::Data {}, data }.into()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use base::{Condition, Tensor};
    use flow::{Field, Objective, rows};

    /// Knows where the flow ends from everywhere.
    struct Consistent(Exact);

    impl Field<2> for Consistent {
        fn velocity(&self, x: Tensor<2>, t: &Times, _: &Condition) -> Tensor<2> {
            self.0.mean(x, t, &Times::all(1.0, t.len()))
        }
    }

    #[test]
    fn a_consistent_network_is_its_own_answer_under_an_exact_teacher() {
        let (student, teacher) = (Consistent(Exact(gaussian())), Exact(gaussian()));
        let objective = Objective { measure: Some(Parameterization::Data {}), ..Objective::default() };
        let rule = Consistency { cells: 8 };
        let part = rule.parts(&lesson(&objective, &student, Some(&teacher), &ROWS)).unwrap().remove(0).exercise;
        assert!(part.times.values().iter().all(|t| (t * 8.0).fract() == 0.0 && *t < 1.0));
        let velocity = student.velocity(part.x.clone(), &part.times, &Condition::none());
        let own = data_of(&objective, part.x.clone(), velocity, &part.times);
        assert!(gap(part.wanted, own) < 1e-4);
    }

    #[test]
    fn without_a_teacher_the_last_cell_is_told_the_data() {
        let student = Exact(gaussian());
        let objective = Objective::default();
        let lesson = lesson(&objective, &student, None, &ROWS);
        let part = Consistency { cells: 2 }.parts(&lesson).unwrap().remove(0).exercise;
        let last: Vec<usize> = (0..64).filter(|&row| part.times.values()[row] == 0.5).collect();
        assert!(last.len() > 16 && last.len() < 48);
        let at = |x: Tensor<2>| rows::select(x, &last);
        assert!(gap(at(part.wanted.clone()), at(lesson.ends.x1.clone())) < 1e-5);
        let all: Vec<usize> = (0..64).collect();
        let first: Vec<usize> = all.into_iter().filter(|row| !last.contains(row)).collect();
        let at = |x: Tensor<2>| rows::select(x, &first);
        assert!(gap(at(part.wanted), at(lesson.ends.x1.clone())) > 0.05);
    }
}
