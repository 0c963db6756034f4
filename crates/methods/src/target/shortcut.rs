//! Shortcut models: a network of mean velocities over steps of 1, 1/2, 1/4, …, each taught by two of half its length.
//!
//! Frans et al., arXiv 2410.12557, §4: most rows learn the velocity itself (reach 0); the others learn, for a step of length
//! `2d` on the grid of such steps, the mean of the network's own two steps of length `d`, without gradient. Steps of the
//! shortest length count as reach 0, as in the paper's code.

use super::{Lesson, Part, TargetRule, require};
use crate::MethodError;
use base::{Tensor, Times};
use flow::{Exercise, Parameterization, rows};
use serde::{Deserialize, Serialize};

/// One Step Diffusion via Shortcut Models.
pub const SHORTCUT: base::Paper = base::Paper::arxiv(
    "frans2024one",
    "Frans, Kevin and Hafner, Danijar and Levine, Sergey and Abbeel, Pieter",
    "One Step Diffusion via Shortcut Models",
    (2024, "2410.12557"),
    "ICLR 2025",
);

/// Settings of the rule.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Shortcut {
    /// Share of the rows that learn steps; 0.25 in the paper.
    pub share: f64,
    /// The shortest step is `2^-halvings`, in 1..=16; 7 in the paper (128 steps).
    pub halvings: u32,
}

impl Default for Shortcut {
    fn default() -> Self {
        Self { share: 0.25, halvings: 7 }
    }
}

impl Shortcut {
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
        require(
            (1..=16).contains(&self.halvings),
            "target.halvings",
            self.halvings,
            "it must be in 1..=16; 7 is the paper's",
        )
    }

    /// The step that number `u` in [0, 1) chooses for a row at time `t`: `(from, length)` on its own grid.
    fn step(&self, u: f64, t: f64) -> (f64, f64) {
        let halved = (u * f64::from(self.halvings)).floor().min(f64::from(self.halvings) - 1.0);
        let length = 0.5f64.powf(halved);
        (((t / length).floor() * length).min(1.0 - length), length)
    }
}

/// Mean velocity over two steps from `t`, each half of `length`.
fn two_halves<const D: usize>(
    mean: impl Fn(Tensor<D>, &Times, &Times) -> Tensor<D>,
    x: Tensor<D>,
    t: &Times,
    length: &[f64],
) -> Tensor<D> {
    let at = |share: f64| Times::new(t.values().iter().zip(length).map(|(t, l)| t + share * l).collect());
    let (middle, end) = (at(0.5), at(1.0));
    let first = mean(x.clone(), t, &middle);
    let x = x + rows::scale(first.clone(), length.iter().map(|l| 0.5 * l).collect());
    (first + mean(x, &middle, &end)) * 0.5
}

impl<const D: usize> TargetRule<D> for Shortcut {
    fn parts(&self, lesson: &Lesson<D>) -> Result<Vec<Part<D>>, MethodError> {
        let (looks, draws) = (lesson.uniform(0), lesson.uniform(1));
        let (mut from, mut lengths, mut chosen) = (Vec::new(), Vec::new(), Vec::new());
        for (row, &t) in lesson.times.values().iter().enumerate() {
            let (at, length) = if looks[row] < self.share { self.step(draws[row], t) } else { (t, 0.0) };
            if length > 0.0 {
                chosen.push(row);
            }
            from.push(at);
            lengths.push(length);
        }
        let from = lesson.objective.clamp(&Times::new(from));
        let point = lesson.objective.path.point_of(lesson.ends.clone(), &from)?;
        let (x, device) = (point.xt, point.dxt.device());
        let mut wanted = match lesson.teacher {
            Some(teacher) => teacher.velocity(x.clone(), &from, &lesson.condition),
            None => point.dxt,
        };
        if !chosen.is_empty() {
            let condition = lesson.condition.select(&rows::index(&chosen, &x));
            let length: Vec<f64> = chosen.iter().map(|&row| lengths[row]).collect();
            let t = Times::new(chosen.iter().map(|&row| from.values()[row]).collect());
            let shortest = 0.5f64.powi(self.halvings as i32);
            let mean = |x: Tensor<D>, t: &Times, until: &Times| {
                let told = t.values().iter().zip(until.values());
                let told = Times::new(told.map(|(t, s)| if s - t > 1.5 * shortest { *s } else { *t }).collect());
                lesson.student.average_velocity(x, t, &told, &condition)
            };
            wanted = rows::replace(wanted, &chosen, two_halves(mean, rows::select(x.clone(), &chosen), &t, &length));
        }
        let condition = lesson.condition.clone().reaching(Times::new(lengths).tensor(&device));
        let reading = Parameterization::Velocity {};
        Ok(vec![Exercise { x, times: from, condition, wanted, reading, data: None }.into()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use flow::{Field, Objective};

    #[test]
    fn steps_lie_on_their_grid_and_every_length_is_drawn() {
        let rule = Shortcut { halvings: 3, ..Shortcut::default() };
        let mut seen = std::collections::BTreeSet::new();
        for i in 0..300 {
            let (from, length) = rule.step((i as f64 * 0.618).fract(), (i as f64 * 0.381).fract());
            assert!((from / length).fract() == 0.0 && from + length <= 1.0, "{from} {length}");
            seen.insert((length * 8.0) as u32);
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [2, 4, 8], "lengths 1/4, 1/2 and 1");
        assert!(Shortcut { halvings: 0, ..rule }.check().is_err());
    }

    #[test]
    fn two_exact_halves_are_the_exact_whole() {
        let exact = Exact(gaussian());
        let (x, t) = (normal(64, 0), Times::all(0.25, 64));
        let found = two_halves(|x, t, s| exact.mean(x, t, s), x.clone(), &t, &[0.5; 64]);
        assert!(gap(found, exact.mean(x.clone(), &t, &Times::all(0.75, 64))) < 1e-5);
        // Two Euler steps are not.
        let euler = two_halves(|x, t, _| exact.velocity(x, t, &base::Condition::none()), x.clone(), &t, &[0.5; 64]);
        assert!(gap(euler, exact.mean(x, &t, &Times::all(0.75, 64))) > 0.01);
    }

    #[test]
    fn the_shortest_half_steps_count_as_none() {
        // Knows no mean velocity but over nothing: any other reach is answered with zero.
        struct Near;
        impl Field<2> for Near {
            fn velocity(&self, x: Tensor<2>, _: &Times, _: &base::Condition) -> Tensor<2> {
                x.ones_like()
            }
            fn average_velocity(&self, x: Tensor<2>, t: &Times, until: &Times, _: &base::Condition) -> Tensor<2> {
                let known = t.values().iter().zip(until.values()).map(|(t, s)| f64::from(u8::from(s == t))).collect();
                rows::scale(x.ones_like(), known)
            }
        }
        let objective = Objective::default();
        let rule = Shortcut { share: 1.0, halvings: 2 };
        let part = rule.parts(&lesson(&objective, &Near, None, &ROWS)).unwrap().remove(0).exercise;
        let (reach, wanted) = (rows::host(part.condition.reach.unwrap()).unwrap(), rows::host(part.wanted).unwrap());
        for (reach, wanted) in reach.iter().zip(wanted.chunks(2)) {
            assert_eq!(wanted[0], if *reach == 0.5 { 1.0 } else { 0.0 }, "reach {reach}");
        }
    }
}
