//! Segments: where the teacher carries a point over a piece of time, learned as one curve.
//!
//! The piece from `a` to `b` starts on the path between data and fresh noise; the teacher solves it in a few steps; the
//! curve of the path through both ends is an ordinary pair. Trained at the start of each piece only, with pieces as long as
//! the student's steps, this is progressive distillation (Salimans & Ho, arXiv 2202.00512, algorithm 2); trained at every
//! time within, phased rectification (PeRFlow; Rectified Diffusion, arXiv 2410.07303, §3.4), which needs no stored pairs.
//!
//! Where one segment ends and the next begins the wanted velocity jumps, and a network, smooth in time, answers the mean of both
//! sides: the velocity of the teacher there, from which nothing is gained. A sampler asks at just these times, so the end of a
//! segment is better left out.

use super::{Lesson, Part, TargetRule, require};
use crate::MethodError;
use base::{Tensor, Times};
use flow::exercise::{ends_through, glide};
use flow::{Ends, Field, Objective, ScheduleConfig, TimeConfig, TimeLaw};
use serde::{Deserialize, Serialize};

/// PeRFlow: Piecewise Rectified Flow as Universal Plug-and-Play Accelerator.
pub const PERFLOW: base::Paper = base::Paper::arxiv(
    "yan2024perflow",
    "Yan, Hanshu and Liu, Xingchao and Pan, Jiachun and Liew, Jun Hao and Liu, Qiang and Feng, Jiashi",
    "PeRFlow: Piecewise Rectified Flow as Universal Plug-and-Play Accelerator",
    (2024, "2405.07510"),
    "NeurIPS 2024",
);

/// Which times of a segment are trained.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Inside {
    /// Its start alone: what a sampler that takes exactly these steps will ask.
    #[default]
    Start,
    /// All of it, as published, so that any step within serves.
    Uniform,
    /// This share of it from its start on, above 0 and up to 1: any step that begins there.
    Until(f64),
}

impl Inside {
    /// The share of a segment, from its start on, whose times are trained.
    fn share(self) -> f64 {
        match self {
            Self::Start => 0.0,
            Self::Uniform => 1.0,
            Self::Until(share) => share,
        }
    }
}

/// Settings of the rule.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Segments {
    /// Ends of the segments, from noise (0) to data (1), rising; equal ones for the stage's number of steps if empty.
    pub times: Vec<f64>,
    /// Curved Euler steps of the teacher per segment, at least 1; 2 halves a teacher's steps.
    pub substeps: usize,
    /// Which times are trained.
    pub inside: Inside,
}

impl Default for Segments {
    fn default() -> Self {
        Self { times: Vec::new(), substeps: 2, inside: Inside::Start }
    }
}

impl Segments {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`MethodError`] naming the setting.
    pub fn check(&self) -> Result<(), MethodError> {
        require(self.substeps > 0, "target.substeps", self.substeps, "it must be at least 1; 2 is customary")?;
        if let Inside::Until(share) = self.inside {
            require(share > 0.0 && share <= 1.0, "target.inside", share, "it must be above 0 and up to 1")?;
        }
        if !self.times.is_empty() {
            ScheduleConfig::Custom { times: self.times.clone() }.check()?;
            let whole = self.times[0] == 0.0 && self.times[self.times.len() - 1] == 1.0;
            require(
                whole,
                "target.times",
                format!("{:?}", self.times),
                "segments must cover all of [0, 1], noise first",
            )?;
        }
        Ok(())
    }

    /// The rule with segments of `schedule`, where it names none.
    ///
    /// # Errors
    /// Those of the schedule.
    pub(crate) fn over(&self, schedule: &ScheduleConfig, steps: usize) -> Result<Self, MethodError> {
        let times = match self.times.is_empty() {
            true => schedule.build(steps)?.times().to_vec(),
            false => self.times.clone(),
        };
        Ok(Self { times, ..self.clone() })
    }

    /// The law of the positions within a segment.
    pub(crate) fn time(&self) -> TimeConfig {
        TimeConfig::new(match self.inside {
            Inside::Start => TimeLaw::Constant { t: 0.0 },
            Inside::Uniform | Inside::Until(_) => TimeLaw::Uniform {},
        })
    }

    /// Segment of each row, by a uniform number: `(from, to)`.
    fn choose(&self, uniform: &[f64], objective: &Objective) -> (Times, Times) {
        let count = self.times.len().saturating_sub(1).max(1);
        let at = |j: usize| self.times.get(j).copied().unwrap_or(j as f64);
        let pieces = uniform.iter().map(|u| ((u * count as f64) as usize).min(count - 1));
        let (from, to): (Vec<f64>, Vec<f64>) = pieces.map(|j| (at(j), at(j + 1))).unzip();
        // Held to where the teacher's output says both ends.
        (objective.clamp(&Times::new(from)), Times::new(to))
    }
}

/// `t` of each row, a share `u` of the way from `from` to `to`.
pub(super) fn between(from: &Times, to: &Times, u: impl Fn(usize) -> f64) -> Times {
    let pairs = from.values().iter().zip(to.values()).enumerate();
    Times::new(pairs.map(|(i, (a, b))| a + (b - a) * u(i)).collect())
}

/// Where `field` carries `x` from `from` to `to` in `steps` curved Euler steps, every row over its own times.
pub(super) fn carry<const D: usize>(
    field: &dyn Field<D>,
    lesson: &Lesson<D>,
    mut x: Tensor<D>,
    (from, to): (&Times, &Times),
    steps: usize,
) -> Tensor<D> {
    for step in 0..steps {
        let at = |k: usize| if k == steps { to.clone() } else { between(from, to, |_| k as f64 / steps as f64) };
        let (t, next) = (at(step), at(step + 1));
        let velocity = field.average_velocity(x.clone(), &t, &next, &lesson.condition);
        x = glide(&lesson.objective.path, x, velocity, &t, &next);
    }
    x
}

impl<const D: usize> TargetRule<D> for Segments {
    fn parts(&self, lesson: &Lesson<D>) -> Result<Vec<Part<D>>, MethodError> {
        let teacher = lesson.teacher("segments")?;
        let path = &lesson.objective.path;
        let (from, to) = self.choose(&lesson.uniform(0), lesson.objective);
        let a = path.point_of(lesson.ends.clone(), &from)?.xt;
        let b = carry(teacher, lesson, a.clone(), (&from, &to), self.substeps);
        let (x0, x1) = ends_through(path, (a, &from), (b, &to));
        let position = lesson.times.values();
        let share = self.inside.share();
        let times = between(&from, &to, |i| share * position[i]);
        Ok(vec![lesson.objective.exercise(Ends { x0, x1, z: None }, &times, &lesson.condition)?.into()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use flow::Parameterization;

    /// The velocity asked for leads, from the time asked at, to where the exact flow goes by the end of the segment.
    #[test]
    fn the_answer_leads_where_the_teacher_goes() {
        let exact = Exact(gaussian());
        for inside in [Inside::Start, Inside::Uniform, Inside::Until(0.5)] {
            let rule = Segments { times: vec![0.0, 0.3, 0.7, 1.0], substeps: 1, inside };
            let objective = Objective { time: rule.time(), ..Objective::default() };
            // A teacher of mean velocities takes each piece in one exact step.
            let lesson = lesson(&objective, &exact, Some(&exact), &ROWS);
            let part = rule.parts(&lesson).unwrap().remove(0);
            let (from, to) = rule.choose(&lesson.uniform(0), &objective);
            assert_eq!(part.exercise.reading, Parameterization::Velocity {});
            if inside == Inside::Start {
                assert_eq!(part.exercise.times, from);
                let end = exact.mean(part.exercise.x.clone(), &from, &to);
                assert!(gap(part.exercise.wanted, end) < 1e-4);
            } else {
                let inner = part.exercise.times.values().iter().zip(from.values()).zip(to.values());
                let last = |a: &f64, b: &f64| a + inside.share() * (b - a) + 1e-12;
                assert!(inner.clone().all(|((t, a), b)| a <= t && *t <= last(a, b)));
                assert!(inner.filter(|((t, a), _)| **t > **a + 0.01).count() > 48, "all of that share is trained");
            }
        }
        let rule = Segments::default().over(&ScheduleConfig::Uniform {}, 4).unwrap();
        assert_eq!(rule.times, [0.0, 0.25, 0.5, 0.75, 1.0]);
    }

    /// Slope and intercept of the line nearest to `points`.
    fn line(points: &[(f64, f64)]) -> (f64, f64) {
        let n = points.len() as f64;
        let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
        let (xy, xx) =
            points.iter().fold((0.0, 0.0), |(xy, xx), p| (xy + (p.0 - x) * (p.1 - y), xx + (p.0 - x) * (p.0 - x)));
        (xy / xx, y - xy / xx * x)
    }

    /// How far four steps end from the exact flow, when what is wanted near the time asked at is answered with its mean.
    fn end_of_four_steps(inside: Inside) -> f64 {
        let exact = Exact(gaussian());
        let rule = Segments { times: vec![0.0, 0.25, 0.5, 0.75, 1.0], substeps: 1, inside };
        let objective = Objective { time: rule.time(), ..Objective::default() };
        let indices: Vec<u64> = (0..20_000).collect();
        let part = rule.parts(&lesson(&objective, &exact, Some(&exact), &indices)).unwrap().remove(0);
        let [points, wanted] = [part.exercise.x, part.exercise.wanted].map(|x| flow::rows::host(x).unwrap());
        let start = [1.2, -0.9];
        let mut x = start;
        for step in 0..4 {
            let near = |t: &f64| (t - 0.25 * f64::from(step)).abs() < 0.02;
            for (d, x) in x.iter_mut().enumerate() {
                let rows = points.chunks(2).zip(wanted.chunks(2)).zip(part.exercise.times.values());
                let rows: Vec<_> = rows.filter(|(_, t)| near(t)).map(|((x, y), _)| (x[d], y[d])).collect();
                let (slope, intercept) = line(&rows);
                *x += 0.25 * (slope * *x + intercept);
            }
        }
        let there = exact.0.transport(&start, 0.0, 1.0);
        x.iter().zip(&there).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    /// Where two segments meet, the mean of both sides is no better than the teacher's own velocity.
    #[test]
    fn the_end_of_a_segment_spoils_the_start_of_the_next() {
        let (whole, most) = (end_of_four_steps(Inside::Uniform), end_of_four_steps(Inside::Until(0.8)));
        assert!(whole > 5.0 * most, "{whole} and {most}");
        assert!(most < 0.01, "{most}");
    }
}
