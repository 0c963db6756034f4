//! Sampling options that replace a recipe's, and solvers by name.

use crate::{Error, recipe::SampleConfig, schedules};
use flow::{ScheduleConfig, Solver};
use kernels::Precision;
use serde::Deserialize;
use std::path::PathBuf;

/// Sampling options that replace a recipe's.
#[derive(Clone, Debug, Default)]
pub struct SampleOverrides {
    /// Steps of the solver.
    pub steps: Option<usize>,
    /// A schedule file, which says the steps as well.
    pub schedule: Option<PathBuf>,
    /// Samples computed together.
    pub batch: Option<usize>,
    /// Operands of products in the network.
    pub precision: Option<Precision>,
    /// The solver's name.
    pub solver: Option<String>,
    /// Classifier-free guidance.
    pub guidance: Option<f64>,
    /// The name of another path to sample along, with its usual settings.
    pub path: Option<String>,
}

impl SampleOverrides {
    /// `config` with these options, checked.
    ///
    /// # Errors
    /// [`Error::Usage`] for a solver or number that cannot be.
    pub fn apply(&self, config: &SampleConfig) -> Result<SampleConfig, Error> {
        let mut config = config.clone();
        config.steps = self.steps.unwrap_or(config.steps);
        if let Some(file) = &self.schedule {
            config.schedule = schedules::read(file)?;
            if let (ScheduleConfig::Custom { times }, Some(steps)) = (&config.schedule, self.steps)
                && steps + 1 != times.len()
            {
                let (file, has) = (file.display(), times.len() - 1);
                return Err(Error::Usage(format!("--steps {steps}: schedule {file} has {has}; leave --steps out")));
            }
        }
        config.batch = self.batch.unwrap_or(config.batch);
        config.precision = self.precision.unwrap_or(config.precision);
        config.guidance.scale = self.guidance.unwrap_or(config.guidance.scale);
        if let Some(name) = &self.solver {
            config.solver = solver(name)?;
        }
        if let Some(name) = &self.path {
            let named = toml::Table::from_iter([("type".to_string(), toml::Value::from(name.as_str()))]);
            let unknown = |error: toml::de::Error| Error::Usage(format!("--path {name}: {}", error.message()));
            config.path = Some(flow::Path::deserialize(named).map_err(unknown)?);
        }
        config.check().map_err(Error::Usage)?;
        Ok(config)
    }
}

/// The solver called `name`, with its usual settings, or spelled out as in a recipe: `{ type = "adams_bashforth", order = 4 }`.
///
/// # Errors
/// [`Error::Usage`] naming the solvers there are, or the setting that is wrong.
pub fn solver(name: &str) -> Result<Solver, Error> {
    if name.trim_start().starts_with('{') {
        #[derive(serde::Deserialize)]
        struct Spelled {
            solver: Solver,
        }
        let spelled: Result<Spelled, _> = toml::from_str(&format!("solver = {name}"));
        return spelled
            .map(|spelled| spelled.solver)
            .map_err(|error| Error::Usage(format!("--solver {name}: {}", error.message())));
    }
    let wanted = name.replace('-', "_");
    let wanted = match wanted.as_str() {
        "dopri5" | "rk45" => "dormand_prince",
        "bosh3" | "rk23" => "bogacki_shampine",
        "curved_euler" | "denoising" => "ddim",
        "dpmpp_2m" => "dpm_solver",
        "dpmpp_2m_sde" => "dpm_solver_sde",
        "uni_pc" => "unipc",
        other => other,
    };
    let known = Solver::all();
    let names: Vec<&str> = known.iter().map(Solver::name).collect();
    let unknown = || Error::Usage(format!("--solver {name} is unknown; there are {}", names.join(", ")));
    known.iter().find(|solver| solver.name() == wanted).cloned().ok_or_else(unknown)
}
