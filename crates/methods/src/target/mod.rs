//! Target rules: what a network is told to say in training, beside or instead of what its pairs say.
//!
//! Every few-step method here is one rule: from a batch of pairs, the network's own present words (without gradient) and,
//! where there is one, a teacher's flow, it makes [`Exercise`]s; path, parameterization, loss and weighting of the
//! [`Objective`] judge the answers as always. So each method works with every path, network, loss and data set, and the
//! trainer knows none of them.

mod answer;
mod consistency;
mod guided;
mod mean_flow;
mod segments;
mod shortcut;

pub use consistency::Consistency;
pub use guided::{FirstStep, GuideConfig};
pub use mean_flow::{MEAN_FLOW, MeanFlow};
pub use segments::{Inside, PERFLOW, Segments};
pub use shortcut::{SHORTCUT, Shortcut};

use crate::{MethodError, reflow::RECTIFIED_DIFFUSION};
use base::{Condition, Key, Paper, Tensor, Times};
use flow::{
    Coupling, Ends, Exercise, Field, Objective, Parameterization, coupling::SLIMFLOW, parameterization::PROGRESSIVE,
    solver::CONSISTENCY,
};
use serde::{Deserialize, Serialize};

/// What a rule sees of a batch. Nothing in it carries gradients.
pub struct Lesson<'a, const D: usize> {
    /// What is trained.
    pub objective: &'a Objective,
    /// The pairs, coupled.
    pub ends: Ends<D>,
    /// A time for each, drawn from the objective's law.
    pub times: Times,
    /// Their conditions.
    pub condition: Condition,
    /// The network as it is now.
    pub student: &'a dyn Field<D>,
    /// The flow to be learned from, where there is one.
    pub teacher: Option<&'a dyn Field<D>>,
    /// Randomness of the rule's own.
    pub key: Key,
    /// Counter of each pair.
    pub indices: &'a [u64],
}

impl<const D: usize> Lesson<'_, D> {
    /// Whose flow is followed: the teacher's, or `None` where there is none.
    fn teacher(&self, rule: &'static str) -> Result<&dyn Field<D>, MethodError> {
        self.teacher.ok_or_else(|| {
            MethodError::Teacher(format!(
                "target `{rule}` follows a teacher's flow: use the verb `distill` with --teacher"
            ))
        })
    }

    /// The exercise of the pairs themselves at their times.
    fn pairs(&self) -> Result<Exercise<D>, MethodError> {
        Ok(self.objective.exercise(self.ends.clone(), &self.times, &self.condition)?)
    }

    /// A uniform number of stream `stream` for each pair.
    fn uniform(&self, stream: u64) -> Vec<f64> {
        let key = self.key.fold(stream);
        self.indices.iter().map(|&index| key.uniform(index)).collect()
    }
}

/// A share of the loss: an exercise of one row per pair, and its weight.
pub struct Part<const D: usize> {
    /// What is asked.
    pub exercise: Exercise<D>,
    /// Factor of its loss.
    pub weight: f64,
}

impl<const D: usize> From<Exercise<D>> for Part<D> {
    fn from(exercise: Exercise<D>) -> Self {
        Self { exercise, weight: 1.0 }
    }
}

/// A way to make exercises of a batch.
pub trait TargetRule<const D: usize> {
    /// The exercises, each with one row per pair.
    ///
    /// # Errors
    /// [`MethodError::Teacher`] where a teacher is needed and missing; those of the mathematics.
    fn parts(&self, lesson: &Lesson<D>) -> Result<Vec<Part<D>>, MethodError>;
}

/// The rules a recipe can name.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Target {
    /// What the path says of each pair: flow matching, reflow, distillation.
    #[default]
    Path,
    /// The pairs, and two steps of the teacher from fresh noise (SlimFlow).
    Guided(GuideConfig),
    /// Where the teacher goes over a piece of time, as one curve: progressive distillation, phased rectification.
    Segments(Segments),
    /// The network's own data estimate a little nearer to the data: consistency training and distillation.
    Consistency(Consistency),
    /// Mean velocities by the MeanFlow identity.
    MeanFlow(MeanFlow),
    /// Mean velocities by halving steps: shortcut models.
    Shortcut(Shortcut),
}

impl Target {
    /// Name as in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Guided(_) => "guided",
            Self::Segments(_) => "segments",
            Self::Consistency(_) => "consistency",
            Self::MeanFlow(_) => "mean_flow",
            Self::Shortcut(_) => "shortcut",
        }
    }

    /// The papers it is from; what the path says has none of its own.
    pub fn papers(&self) -> Vec<Paper> {
        match self {
            Self::Path => Vec::new(),
            Self::Guided(_) => vec![SLIMFLOW],
            Self::Segments(_) => vec![PROGRESSIVE, PERFLOW, RECTIFIED_DIFFUSION],
            Self::Consistency(_) => vec![CONSISTENCY],
            Self::MeanFlow(_) => vec![MEAN_FLOW],
            Self::Shortcut(_) => vec![SHORTCUT],
        }
    }

    /// Refuses settings out of range, and objectives that the rule cannot serve.
    ///
    /// # Errors
    /// [`MethodError`] naming the setting and the remedy.
    pub fn check(&self, objective: &Objective) -> Result<(), MethodError> {
        match self {
            Self::Path => return Ok(()),
            Self::Guided(rule) => rule.check()?,
            Self::Segments(rule) => rule.check()?,
            Self::Consistency(rule) => rule.check()?,
            Self::MeanFlow(rule) => rule.check()?,
            Self::Shortcut(rule) => rule.check()?,
        }
        let refuse = |what: String| Err(MethodError::Teacher(format!("target `{}` {what}", self.name())));
        if objective.path.has_latent() {
            return refuse(format!(
                "follows a flow between two points, and path `{}` mixes in a latent",
                objective.path.name()
            ));
        }
        if !objective.parameterization.reads(Parameterization::Velocity {}, &objective.path) {
            return refuse(format!("needs a velocity, which `{}` does not give", objective.parameterization.name()));
        }
        let boundary = objective.parameterization != Parameterization::Data {};
        if matches!(self, Self::Consistency(_)) && !boundary {
            return refuse(
                "needs an output that is the point itself at the data; a `data` network is free there: use velocity"
                    .into(),
            );
        }
        if self.needs_reach() && objective.perceptual.is_some() {
            return refuse("learns mean velocities, which name no image to see: leave `perceptual` out".into());
        }
        if self.needs_reach() && objective.parameterization != (Parameterization::Velocity {}) {
            return refuse("learns mean velocities: use parameterization = { type = \"velocity\" }".into());
        }
        Ok(())
    }

    /// Whether it cannot do without a teacher.
    pub fn needs_teacher(&self) -> bool {
        matches!(self, Self::Guided(_) | Self::Segments(_))
    }

    /// Whether the network must be told how far ahead it looks (`network.condition.reach`).
    pub fn needs_reach(&self) -> bool {
        matches!(self, Self::MeanFlow(_) | Self::Shortcut(_))
    }

    /// How source and data meet in a distillation by this rule: on the teacher's pairs, or on data and fresh noise.
    pub fn coupling(&self) -> Coupling {
        match self {
            Self::Path | Self::Guided(_) => Coupling::Stored {},
            _ => Coupling::Independent {},
        }
    }

    /// The rule; `None` where the path alone speaks.
    pub fn rule<const D: usize>(&self) -> Option<&dyn TargetRule<D>> {
        match self {
            Self::Path => None,
            Self::Guided(rule) => Some(rule),
            Self::Segments(rule) => Some(rule),
            Self::Consistency(rule) => Some(rule),
            Self::MeanFlow(rule) => Some(rule),
            Self::Shortcut(rule) => Some(rule),
        }
    }
}

/// Refuses a setting that does not hold.
fn require(holds: bool, setting: &'static str, value: impl ToString, remedy: &'static str) -> Result<(), MethodError> {
    if holds { Ok(()) } else { Err(MethodError::Setting { setting, value: value.to_string(), remedy }) }
}

/// `E[x1 | x]` from points and velocities.
fn data_of<const D: usize>(objective: &Objective, x: Tensor<D>, velocity: Tensor<D>, times: &Times) -> Tensor<D> {
    Parameterization::Velocity {}.read(Parameterization::Data {}, &objective.path, x, velocity, times)
}

#[cfg(test)]
pub(crate) mod testing {
    //! A lesson on the exact flow to a Gaussian, for the tests of the rules.

    use super::*;
    use base::{Device, Purpose};
    use flow::exact::Gaussian;
    use flow::{Path, rows};

    pub fn gaussian() -> Gaussian {
        Gaussian::new(Path::Linear {}, vec![1.0, -0.5], vec![0.5, 0.3]).unwrap()
    }

    pub fn normal(n: u64, stream: u64) -> Tensor<2> {
        Key::new(11, Purpose::Noise).fold(stream).normal_tensor(&(0..n).collect::<Vec<_>>(), [0, 2], &Device::flex())
    }

    /// The exact flow, with the mean velocities a perfect MeanFlow or shortcut model would know.
    pub struct Exact(pub Gaussian);

    impl Exact {
        pub fn mean(&self, x: Tensor<2>, t: &Times, until: &Times) -> Tensor<2> {
            let points = rows::host(x.clone()).unwrap();
            let mut values = Vec::new();
            for ((x, &t), &s) in points.chunks(2).zip(t.values()).zip(until.values()) {
                let there = if s > t { self.0.transport(x, t, s) } else { vec![] };
                match s > t {
                    true => values.extend(there.iter().zip(x).map(|(b, a)| (b - a) / (s - t))),
                    false => values.extend(self.0.velocity_at(x, t)),
                }
            }
            Tensor::from_data(base::TensorData::new(values, x.dims()), (&x.device(), x.dtype()))
        }
    }

    impl Field<2> for Exact {
        fn velocity(&self, x: Tensor<2>, t: &Times, condition: &Condition) -> Tensor<2> {
            self.0.velocity(x, t, condition)
        }
        fn average_velocity(&self, x: Tensor<2>, t: &Times, until: &Times, _: &Condition) -> Tensor<2> {
            self.mean(x, t, until)
        }
    }

    /// A lesson of 64 pairs with data of the Gaussian.
    pub fn lesson<'a>(
        objective: &'a Objective,
        student: &'a dyn Field<2>,
        teacher: Option<&'a dyn Field<2>>,
        indices: &'a [u64],
    ) -> Lesson<'a, 2> {
        let n = indices.len() as u64;
        let device = Device::flex();
        let data =
            normal(n, 1) * Tensor::from_floats([[0.5, 0.3]], &device) + Tensor::from_floats([[1.0, -0.5]], &device);
        let key = Key::new(5, Purpose::Time);
        let times = objective.times(key, indices);
        let ends = Ends { x0: normal(n, 0), x1: data, z: None };
        Lesson { objective, ends, times, condition: Condition::none(), student, teacher, key, indices }
    }

    pub fn gap(a: Tensor<2>, b: Tensor<2>) -> f64 {
        rows::host((a - b).abs()).unwrap().into_iter().fold(0.0, f64::max)
    }

    pub const ROWS: [u64; 64] = {
        let mut rows = [0; 64];
        let mut i = 0;
        while i < 64 {
            rows[i] = i as u64;
            i += 1;
        }
        rows
    };
}

#[cfg(test)]
mod tests {
    use super::testing::*;
    use super::*;
    use flow::Path;

    #[test]
    fn rules_survive_a_recipe_and_refuse_what_they_cannot_serve() {
        for (text, needs_teacher) in [
            ("type = \"path\"", false),
            ("type = \"guided\"\nlow = 0.3", true),
            ("type = \"segments\"\nsubsteps = 4", true),
            ("type = \"consistency\"\ncells = 8", false),
            ("type = \"mean_flow\"", false),
            ("type = \"shortcut\"\nhalvings = 3", false),
        ] {
            let target: Target = toml::from_str(text).unwrap();
            assert_eq!(target.needs_teacher(), needs_teacher, "{text}");
            assert_eq!(toml::from_str::<Target>(&toml::to_string(&target).unwrap()).unwrap(), target);
            target.check(&Objective::default()).unwrap();
            assert!(
                toml::from_str::<Target>(&format!("{text}\nwidth = 1")).is_err() || text.contains("path"),
                "{text}"
            );
            let latent = Objective { path: Path::brownian(1.0), ..Objective::default() };
            assert_eq!(target.check(&latent).is_ok(), target == Target::Path, "{text}");
        }
        let refused = |target: Target| target.check(&Objective::default()).unwrap_err().to_string();
        assert!(refused(Target::Consistency(Consistency { cells: 1 })).contains("target.cells"));
        assert!(refused(Target::MeanFlow(MeanFlow { share: 2.0, ..MeanFlow::default() })).contains("target.share"));
        assert!(refused(Target::Segments(Segments { times: vec![0.0, 0.5], ..Segments::default() })).contains("cover"));
        let data = Objective { parameterization: Parameterization::Data {}, ..Objective::default() };
        assert!(
            Target::Consistency(Consistency::default()).check(&data).unwrap_err().to_string().contains("free there")
        );
    }

    #[test]
    fn a_rule_that_follows_a_teacher_says_so_without_one() {
        let (objective, exact) = (Objective::default(), Exact(gaussian()));
        for target in [Target::Segments(Segments::default()), Target::Guided(GuideConfig::default())] {
            let error = target.rule::<2>().unwrap().parts(&lesson(&objective, &exact, None, &ROWS)).err().unwrap();
            assert!(error.to_string().contains("--teacher"), "{error}");
        }
    }
}
