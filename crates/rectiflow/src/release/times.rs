//! When a released model is asked: the noise levels of its `scheduler_config.json`, laid out as its own library does.

use super::{Diffusion, Family, Release};
use crate::{Error, scheduler_config};
use flow::{
    Schedule, ScheduleConfig,
    schedule::{FlowMatch, Sigma},
};
use serde_json::Value;

/// The times of `steps` steps for an image of `tokens` tokens.
///
/// SD3's levels are shifted once; `double` shifts their low end twice, as diffusers does when it is asked for a number of steps (its
/// issue 13243). FLUX's pipeline gives equal levels down to `1/steps` itself, and they are shifted once.
///
/// # Errors
/// A scheduler that cannot be followed, with its file; no steps.
pub fn schedule(model: &Release, steps: usize, tokens: usize, double: bool) -> Result<Schedule, Error> {
    if steps == 0 {
        return Err(Error::Usage("--steps 0: ask for at least one step".into()));
    }
    let family = model.family();
    if family == Family::StableDiffusion {
        return Diffusion::of(model, &mut |_| ())?.times(steps); // what it does not know was told with the network
    }
    if family == Family::InstaFlow {
        // Its scheduler's file is Stable Diffusion's, left there; the model is a flow in equal steps.
        return Ok(ScheduleConfig::Uniform {}.build(steps)?);
    }
    let mut settings = levels(model, tokens)?;
    let sigmas = match family {
        Family::Sd3 => {
            settings.legacy_double_shift = double;
            settings.sigmas(steps)?
        }
        _ => settings.laid_out((0..steps).map(|i| 1.0 - i as f64 / steps as f64).collect())?,
    };
    Ok(Schedule::new(sigmas.into_iter().map(Sigma::time).collect())?)
}

/// How many times the noise outweighs what is left of the data half of the way, by the scheduler's shift for so many tokens: SD3's 3 at
/// every size, FLUX's more for larger pictures.
///
/// # Errors
/// A scheduler that cannot be followed, with its file.
pub(crate) fn shift(model: &Release, tokens: usize) -> Result<f64, Error> {
    let middle = levels(model, tokens)?.shifted(0.5);
    Ok(middle / (1.0 - middle))
}

/// The settings of a flow's scheduler for an image of `tokens` tokens.
fn levels(model: &Release, tokens: usize) -> Result<FlowMatch, Error> {
    let (path, mut config) = model.scheduler(&[scheduler_config::FLOW_MATCH])?;
    let refused = |why: String| Error::Failure(format!("{}: {why}", path.display()));
    // Before the settings are checked: dynamic shifting asks for the number of tokens, which no file knows.
    config.insert("image_seq_len".into(), Value::from(tokens));
    match scheduler_config::import(config).map_err(refused)?.schedule {
        ScheduleConfig::FlowMatch(settings) => Ok(settings),
        _ => Err(refused("lists its levels itself; leave `sigmas` out".into())),
    }
}
