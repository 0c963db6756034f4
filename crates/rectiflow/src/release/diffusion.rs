//! A released diffusion: the path, the training steps visited and the solver that its `scheduler_config.json` says, in this
//! project's words.
//!
//! Its times are whole training steps. "leading" takes every so-manieth from 0 on and adds an offset, so it starts short of the
//! noise and the last step ends at the first training step (or at the data); "trailing" counts from the noise. A latent consistency
//! model (Luo et al. 2023, arXiv 2310.04378), or one made so by corrections, is asked at some of the times that its teacher was, from the noise
//! on, and every step of its solver ends at the data.

use super::Release;
use crate::Error;
use flow::{
    Parameterization, Schedule, Solver,
    path::diffusion::{Discrete, Rates},
};
use serde::Deserialize;
use serde_json::{Map, Value};

const CLASSES: [&str; 3] = ["PNDMScheduler", "DDIMScheduler", LCM];
const LCM: &str = "LCMScheduler";
/// Times at which latent consistency models are taught by habit.
const TAUGHT: usize = 50;

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
    /// At how many times a consistency model of it is taught.
    taught: usize,
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
    original_inference_steps: Option<usize>,
    timestep_scaling: Option<f64>,
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
            original_inference_steps: None,
            timestep_scaling: None,
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
        let (pndm, lcm) = (class == CLASSES[0], class == LCM);
        if !CLASSES.contains(&class.as_str()) {
            return Err(refused(format!("is of a {class}; {} are read here", CLASSES.join(", "))));
        }
        if pndm && !settings.skip_prk_steps {
            return Err(refused(
                "`skip_prk_steps` is false; its Runge-Kutta start is not built here, set it to true".into(),
            ));
        }
        if settings.thresholding || (!pndm && settings.clip_sample.unwrap_or(!lcm)) {
            return Err(refused(
                "it clips samples (`clip_sample`, `thresholding`), which is for pixels and not for latents; set both to false"
                    .into(),
            ));
        }
        if settings.others.contains_key("trained_betas") {
            return Err(refused("`trained_betas` are not read here".into()));
        }
        // The reference mixes a little of the point into each estimate: at its 10, less than 7e-6 of it at any time that is visited.
        if settings.timestep_scaling.is_some_and(|scaling| scaling < 10.0) {
            return Err(refused("`timestep_scaling` below 10 is not built here; 10 is usual".into()));
        }
        let taught = settings.original_inference_steps.unwrap_or(TAUGHT);
        if taught == 0 || taught > settings.num_train_timesteps {
            return Err(refused(format!("`original_inference_steps` is {taught}; it must be 1 to the training steps")));
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
            solver: match lcm {
                true => Solver::Consistency {},
                false if pndm => Solver::Plms {},
                false => Solver::Ddim { eta: 0.0 },
            },
            spacing: settings.timestep_spacing,
            offset: settings.steps_offset,
            whole: settings.set_alpha_to_one.unwrap_or(!pndm),
            taught,
        })
    }

    /// The times of `steps` steps of `solver`.
    ///
    /// # Errors
    /// [`Error::Usage`] for more steps than it was trained on, or taught consistency at.
    pub fn times(&self, steps: usize, solver: &Solver) -> Result<Schedule, Error> {
        let all = self.path.steps;
        let too_many = || Error::Usage(format!("--steps {steps}: this diffusion has {all} training steps; use fewer"));
        if steps == 0 {
            return Err(Error::Usage("--steps 0: ask for at least one step".into()));
        }
        if *solver == (Solver::Consistency {}) {
            return self.consistent(steps);
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

    /// The times of a consistency model: of those it was taught at, `steps` from the noise on, evenly spread, and the data.
    fn consistent(&self, steps: usize) -> Result<Schedule, Error> {
        let (all, taught) = (self.path.steps, self.taught);
        if steps > taught {
            let what =
                format!("--steps {steps}: a consistency model is taught at {taught} times; use so many or fewer");
            return Err(Error::Usage(what));
        }
        let index = |i: usize| (taught - i * taught / steps) * (all / taught) - 1;
        let times = (0..steps).map(|i| self.path.time(index(i))).chain([1.0]).collect();
        Ok(Schedule::new(times)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diffusion(spacing: Spacing, whole: bool) -> Diffusion {
        let (path, output, solver) = (Discrete::default(), Parameterization::Noise {}, Solver::Plms {});
        let offset = usize::from(spacing == Spacing::Leading);
        Diffusion { path, output, solver, spacing, offset, whole, taught: TAUGHT }
    }

    /// Mutants: an offset that moves the end too; trailing steps that begin at the last training step's neighbour.
    #[test]
    fn training_steps_are_those_of_the_reference() {
        let visited = |diffusion: &Diffusion, steps: usize| -> Vec<i64> {
            let index = |t: &f64| ((1.0 - t) * 1000.0).round() as i64 - 1;
            diffusion.times(steps, &Solver::Plms {}).unwrap().times().iter().map(index).collect()
        };
        assert_eq!(visited(&diffusion(Spacing::Leading, false), 5), [801, 601, 401, 201, 1, 0]);
        assert_eq!(visited(&diffusion(Spacing::Leading, true), 3), [667, 334, 1, -1]);
        assert_eq!(visited(&diffusion(Spacing::Trailing, true), 4), [999, 749, 499, 249, -1]);
        let most = diffusion(Spacing::Trailing, false).times(1000, &Solver::Plms {}).unwrap();
        assert_eq!(most.times().len(), 1000);
        for steps in [0, 1000, 5000] {
            let said = diffusion(Spacing::Leading, false).times(steps, &Solver::Plms {}).unwrap_err();
            assert!(matches!(said, Error::Usage(_)), "{steps}: {said}");
        }
    }

    /// diffusers' `LCMScheduler.set_timesteps`. Mutants: times counted from the data; steps rounded to the nearest.
    #[test]
    fn times_of_consistency_are_those_of_the_reference() {
        let own = diffusion(Spacing::Leading, false);
        let visited = |steps: usize| -> Vec<i64> {
            let index = |t: &f64| ((1.0 - t) * 1000.0).round() as i64 - 1;
            own.times(steps, &Solver::Consistency {}).unwrap().times().iter().map(index).collect()
        };
        assert_eq!(visited(1), [999, -1]);
        assert_eq!(visited(3), [999, 679, 339, -1]);
        assert_eq!(visited(4), [999, 759, 499, 259, -1]);
        assert_eq!(visited(6), [999, 839, 679, 499, 339, 179, -1]);
        assert_eq!((visited(50)[1], visited(50)[49]), (979, 19));
        let said = own.times(51, &Solver::Consistency {}).unwrap_err();
        assert!(matches!(said, Error::Usage(_)) && said.to_string().contains("50 times"), "{said}");
    }
}
