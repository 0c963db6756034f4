//! A released diffusion: the path, the training steps visited and the solver that its `scheduler_config.json` says, in this
//! project's words.
//!
//! Its times are whole training steps. "leading" takes every so-manieth from 0 on and adds an offset, so it starts short of the
//! noise and the last step ends at the first training step (or at the data); "trailing" counts from the noise.

use super::Release;
use crate::Error;
use flow::{
    Parameterization, Schedule, Solver,
    path::diffusion::{Discrete, Rates},
};
use serde::Deserialize;
use serde_json::{Map, Value};

const CLASSES: [&str; 2] = ["PNDMScheduler", "DDIMScheduler"];

/// A diffusion's path and how it is walked.
#[derive(Clone, Debug)]
pub struct Diffusion {
    /// Its noise levels.
    pub path: Discrete,
    /// What its network says.
    pub output: Parameterization,
    /// What it is walked with.
    pub solver: Solver,
    spacing: Spacing,
    offset: usize,
    /// Whether the last step ends at the data.
    whole: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Spacing {
    #[default]
    Leading,
    Trailing,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Prediction {
    #[default]
    Epsilon,
    Sample,
    #[serde(rename = "v_prediction")]
    V,
}

/// The file's keys with diffusers' defaults.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Settings {
    num_train_timesteps: usize,
    beta_start: f64,
    beta_end: f64,
    beta_schedule: Rates,
    prediction_type: Prediction,
    timestep_spacing: Spacing,
    set_alpha_to_one: Option<bool>,
    steps_offset: usize,
    skip_prk_steps: bool,
    clip_sample: Option<bool>,
    thresholding: bool,
    rescale_betas_zero_snr: bool,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            num_train_timesteps: 1000,
            beta_start: 1e-4,
            beta_end: 0.02,
            beta_schedule: Rates::Linear,
            prediction_type: Prediction::Epsilon,
            timestep_spacing: Spacing::Leading,
            set_alpha_to_one: None,
            steps_offset: 0,
            skip_prk_steps: false,
            clip_sample: None,
            thresholding: false,
            rescale_betas_zero_snr: false,
            others: Map::new(),
        }
    }
}

/// Keys that act together with others which are refused.
const IDLE: [&str; 4] = ["clip_sample_range", "dynamic_thresholding_ratio", "sample_max_value", "trained_betas"];

impl Diffusion {
    /// Reads the folder's scheduler.
    ///
    /// # Errors
    /// A scheduler that cannot be followed, with its file and key.
    pub fn of(model: &Release, note: &mut dyn FnMut(String)) -> Result<Self, Error> {
        let (path, mut config) = model.scheduler(&CLASSES)?;
        let refused = |why: String| Error::Failure(format!("{}: {why}", path.display()));
        config.retain(|_, value| !value.is_null());
        let class = config.get("_class_name").and_then(Value::as_str).unwrap_or_default().to_string();
        let settings: Settings =
            serde_json::from_value(Value::Object(config)).map_err(|error| refused(error.to_string()))?;
        let pndm = class == CLASSES[0];
        if !CLASSES.contains(&class.as_str()) {
            return Err(refused(format!("is of a {class}; {} are read here", CLASSES.join(" and "))));
        }
        if pndm && !settings.skip_prk_steps {
            return Err(refused(
                "`skip_prk_steps` is false; its Runge-Kutta start is not built here, set it to true".into(),
            ));
        }
        if settings.thresholding || (!pndm && settings.clip_sample.unwrap_or(true)) {
            return Err(refused(
                "it clips samples (`clip_sample`, `thresholding`), which is for pixels and not for latents; set both to false"
                    .into(),
            ));
        }
        if settings.others.contains_key("trained_betas") {
            return Err(refused("`trained_betas` are not read here".into()));
        }
        let unknown: Vec<&str> = settings.others.keys().map(String::as_str).collect();
        let unknown: Vec<&str> =
            unknown.into_iter().filter(|key| !key.starts_with('_') && !IDLE.contains(key)).collect();
        if !unknown.is_empty() {
            note(format!("{}: passed over, not known here: {}", path.display(), unknown.join(", ")));
        }
        let discrete = Discrete {
            rates: settings.beta_schedule,
            rate_start: settings.beta_start,
            rate_end: settings.beta_end,
            steps: settings.num_train_timesteps,
            zero_terminal: settings.rescale_betas_zero_snr,
        };
        discrete.check().map_err(|error| refused(error.to_string()))?;
        Ok(Self {
            path: discrete,
            output: match settings.prediction_type {
                Prediction::Epsilon => Parameterization::Noise {},
                Prediction::Sample => Parameterization::Data {},
                Prediction::V => Parameterization::VPrediction {},
            },
            solver: if pndm { Solver::Plms {} } else { Solver::Ddim { eta: 0.0 } },
            spacing: settings.timestep_spacing,
            offset: settings.steps_offset,
            whole: settings.set_alpha_to_one.unwrap_or(!pndm),
        })
    }

    /// The times of `steps` steps.
    ///
    /// # Errors
    /// [`Error::Usage`] for more steps than it was trained on.
    pub fn times(&self, steps: usize) -> Result<Schedule, Error> {
        let all = self.path.steps;
        let too_many = || Error::Usage(format!("--steps {steps}: this diffusion has {all} training steps; use fewer"));
        if steps == 0 {
            return Err(Error::Usage("--steps 0: ask for at least one step".into()));
        }
        let visited: Vec<usize> = match self.spacing {
            Spacing::Leading => (0..steps).rev().map(|i| i * (all / steps) + self.offset).collect(),
            Spacing::Trailing => {
                let from = |i: usize| (all as f64 - i as f64 * all as f64 / steps as f64).round() as usize;
                (0..steps).map(|i| from(i).saturating_sub(1)).collect()
            }
        };
        if steps > all || visited[0] >= all {
            return Err(too_many());
        }
        let mut times: Vec<f64> = visited.iter().map(|index| self.path.time(*index)).collect();
        match self.whole {
            true => times.push(1.0),
            // Who stands there already stays.
            false if visited.last() != Some(&0) => times.push(self.path.time(0)),
            false => {}
        }
        Ok(Schedule::new(times)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diffusion(spacing: Spacing, whole: bool) -> Diffusion {
        let (path, output, solver) = (Discrete::default(), Parameterization::Noise {}, Solver::Plms {});
        Diffusion { path, output, solver, spacing, offset: usize::from(spacing == Spacing::Leading), whole }
    }

    /// Mutants: an offset that moves the end too; trailing steps that begin at the last training step's neighbour.
    #[test]
    fn training_steps_are_those_of_the_reference() {
        let visited = |diffusion: &Diffusion, steps: usize| -> Vec<i64> {
            let index = |t: &f64| ((1.0 - t) * 1000.0).round() as i64 - 1;
            diffusion.times(steps).unwrap().times().iter().map(index).collect()
        };
        assert_eq!(visited(&diffusion(Spacing::Leading, false), 5), [801, 601, 401, 201, 1, 0]);
        assert_eq!(visited(&diffusion(Spacing::Leading, true), 3), [667, 334, 1, -1]);
        assert_eq!(visited(&diffusion(Spacing::Trailing, true), 4), [999, 749, 499, 249, -1]);
        let most = diffusion(Spacing::Trailing, false).times(1000).unwrap();
        assert_eq!(most.times().len(), 1000);
        for steps in [0, 1000, 5000] {
            let said = diffusion(Spacing::Leading, false).times(steps).unwrap_err();
            assert!(matches!(said, Error::Usage(_)), "{steps}: {said}");
        }
    }
}
