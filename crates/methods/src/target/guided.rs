//! Flow-guided distillation: beside its pairs, the student learns two Euler steps of its teacher from fresh noise.
//!
//! SlimFlow, arXiv 2407.12718, §3.2: from noise `z`, a first step `s` with velocity `v_a`, a second one to the end with
//! `v_b = v(z + s v_a, s)`; together they are one step with `w = s v_a + (1-s) v_b`, and that is what the student's velocity
//! at t = 0 is fitted to. Pairs are dear, fresh noise is free, so few pairs go further. With the student's own first step
//! (without gradient) the fixed point is a student that agrees with the teacher at every `s`; it is what the paper runs.

use super::{Lesson, Part, TargetRule};
use crate::MethodError;
use base::{Condition, Key, Tensor, Times};
use flow::{Exercise, Field, Parameterization, rows};
use serde::{Deserialize, Serialize};

/// Whose velocity the first of the two steps takes.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum FirstStep {
    /// The student's, without gradient.
    #[default]
    Student,
    /// The teacher's.
    Teacher,
}

/// Settings of the guiding term.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct GuideConfig {
    /// Whose velocity the first step takes.
    pub first: FirstStep,
    /// The least length of the first step.
    pub low: f64,
    /// The greatest length of the first step.
    pub high: f64,
    /// Weight of the guiding term against the loss on pairs.
    pub weight: f64,
}

impl Default for GuideConfig {
    fn default() -> Self {
        Self { first: FirstStep::Student, low: 0.2, high: 0.8, weight: 1.0 }
    }
}

impl GuideConfig {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`MethodError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), MethodError> {
        let Self { low, high, weight, .. } = *self;
        let refuse = |setting, value: String, remedy| Err(MethodError::Setting { setting, value, remedy });
        if !(0.0 <= low && low <= high && high <= 1.0) {
            let remedy = "they must be in [0, 1] and in order; 0.2 and 0.8 are customary";
            return refuse("guide.low, guide.high", format!("{low}, {high}"), remedy);
        }
        if !(weight.is_finite() && weight >= 0.0) {
            return refuse("guide.weight", weight.to_string(), "it must be zero or more; 1 is customary");
        }
        Ok(())
    }

    /// Lengths of the first step for samples `indices`, uniform between `low` and `high`.
    pub fn lengths(&self, key: Key, indices: &[u64]) -> Times {
        let length = |&index: &u64| self.low + (self.high - self.low) * key.uniform(index);
        Times::new(indices.iter().map(length).collect())
    }

    /// The one velocity `w` `[b ...]` that takes `x0` where the two steps go. `student` is the student's velocity at t = 0.
    pub fn target<const D: usize>(
        &self,
        teacher: &dyn Field<D>,
        student: Tensor<D>,
        x0: Tensor<D>,
        lengths: &Times,
        condition: &Condition,
    ) -> Tensor<D> {
        let first = match self.first {
            FirstStep::Student => student,
            FirstStep::Teacher => teacher.velocity(x0.clone(), &Times::all(0.0, x0.dims()[0]), condition),
        };
        let first = rows::scale(first, lengths.values().to_vec()); // s v_a
        let second = teacher.velocity(x0 + first.clone(), lengths, condition);
        first + rows::scale(second, lengths.values().iter().map(|s| 1.0 - s).collect())
    }
}

impl<const D: usize> TargetRule<D> for GuideConfig {
    fn parts(&self, lesson: &Lesson<D>) -> Result<Vec<Part<D>>, MethodError> {
        let teacher = lesson.teacher("guided")?;
        let pairs = lesson.pairs()?;
        // Streams of the rule's own: neither base training nor sampling draws this noise.
        let like = &lesson.ends.x0;
        let x0: Tensor<D> = lesson.key.fold(0).normal_tensor(lesson.indices, like.dims(), &like.device());
        let lengths = self.lengths(lesson.key.fold(1), lesson.indices);
        let start = Times::all(0.0, lesson.indices.len());
        let student = lesson.student.velocity(x0.clone(), &start, &lesson.condition);
        let wanted = self.target(teacher, student, x0.clone(), &lengths, &lesson.condition);
        let data = Some(x0.clone() + wanted.clone());
        let (condition, reading) = (lesson.condition.clone(), Parameterization::Velocity {});
        let fresh = Exercise { x: x0, times: start, condition, wanted, reading, data };
        Ok(vec![pairs.into(), Part { exercise: fresh, weight: self.weight }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Device, Purpose};
    use flow::Path;
    use flow::exact::{Gaussian, GaussianReflow};

    fn start() -> (Tensor<2>, Times) {
        let (device, indices) = (Device::flex(), [0, 1, 2, 3]);
        let x0 = Key::new(3, Purpose::Noise).normal_tensor(&indices, [0, 2], &device);
        (x0, GuideConfig::default().lengths(Key::new(3, Purpose::Time), &indices))
    }

    fn gap(a: Tensor<2>, b: Tensor<2>) -> f64 {
        rows::host((a - b).abs()).unwrap().into_iter().fold(0.0, f64::max)
    }

    #[test]
    fn lengths_lie_where_they_should() {
        let (_, lengths) = start();
        assert!(lengths.values().iter().all(|s| (0.2..=0.8).contains(s)), "{lengths:?}");
    }

    #[test]
    fn a_straight_teacher_is_its_own_target() {
        let (x0, lengths) = start();
        let straight = GaussianReflow::new(Path::Linear {}, vec![1.0, -2.0], vec![0.5, 0.3]).unwrap();
        let none = Condition::none();
        let v = straight.velocity(x0.clone(), &Times::all(0.0, 4), &none);
        for first in [FirstStep::Student, FirstStep::Teacher] {
            let guide = GuideConfig { first, ..GuideConfig::default() };
            assert!(gap(guide.target(&straight, v.clone(), x0.clone(), &lengths, &none), v.clone()) < 1e-5);
        }
    }

    #[test]
    fn on_a_curved_teacher_it_is_two_euler_steps() {
        let (x0, lengths) = start();
        let curved = Gaussian::new(Path::Linear {}, vec![1.0, -2.0], vec![0.5, 0.3]).unwrap();
        let none = Condition::none();
        let guide = GuideConfig { first: FirstStep::Teacher, ..GuideConfig::default() };
        let w = guide.target(&curved, x0.zeros_like(), x0.clone(), &lengths, &none);
        let v = curved.velocity(x0.clone(), &Times::all(0.0, 4), &none);
        let s = lengths.values().to_vec();
        let middle = x0.clone() + rows::scale(v.clone(), s.clone());
        let rest = s.iter().map(|s| 1.0 - s).collect();
        let end = middle.clone() + rows::scale(curved.velocity(middle, &lengths, &none), rest);
        assert!(gap(x0 + w.clone(), end) < 1e-5);
        assert!(gap(w, v) > 0.05, "one step differs from two on a curved flow");
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let bad = |change: fn(&mut GuideConfig)| {
            let mut guide = GuideConfig::default();
            change(&mut guide);
            guide.check().is_err()
        };
        assert!(GuideConfig::default().check().is_ok());
        assert!(bad(|g| g.low = 0.9) && bad(|g| g.high = 1.5) && bad(|g| g.weight = -1.0) && bad(|g| g.low = f64::NAN));
    }
}
