//! When a released model is asked: the noise levels of its `scheduler_config.json`, laid out as its own library does.

use super::{Diffusion, Family, Release};
use crate::{Error, scheduler_config};
use flow::{
    Schedule, ScheduleConfig, Solver,
    schedule::{FlowMatch, Sigma},
};
use serde_json::{Map, Value, json};

/// The multistep scheduler of diffusers that Wan comes with.
const UNIPC: &str = "UniPCMultistepScheduler";
/// The scheduler of flows that are consistency models: levels of the usual one, and every step ends at the data and begins anew from noise.
const LCM: &str = "FlowMatchLCMScheduler";

/// The times of `steps` steps of `solver` for an image of `tokens` tokens.
///
/// Wan's UniPC has levels of its own ([`multistep`]). SD3's levels are shifted once; `double` shifts their low end twice, as diffusers does
/// when it is asked for a number of steps (its issue 13243). FLUX's pipeline gives equal levels down to `1/steps` itself, and they are shifted
/// once.
///
/// # Errors
/// A scheduler that cannot be followed, with its file; no steps.
pub fn schedule(
    model: &Release,
    steps: usize,
    tokens: usize,
    solver: &Solver,
    double: bool,
) -> Result<Schedule, Error> {
    if steps == 0 {
        return Err(Error::Usage("--steps 0: ask for at least one step".into()));
    }
    let family = model.family();
    if multistep(family, solver) {
        if double {
            return Err(Error::Usage(
                "--double-shift: UniPC's levels are shifted once; it is for --solver euler".into(),
            ));
        }
        return of_unipc(model, steps);
    }
    if family == Family::StableDiffusion {
        return Diffusion::of(model, &mut |_| ())?.times(steps, solver); // what it does not know was told with the network
    }
    if family == Family::InstaFlow {
        // Its scheduler's file is Stable Diffusion's, left there; the model is a flow in equal steps.
        return Ok(ScheduleConfig::Uniform {}.build(steps)?);
    }
    let mut settings = match family {
        Family::Wan => wan(model)?.1,
        _ => levels(model, tokens)?,
    };
    if matches!(family, Family::Flux2 { .. }) {
        let mu = empirical(tokens, steps);
        (settings.base_shift, settings.max_shift) = (mu, mu); // at any number of tokens
    }
    let sigmas = match family {
        Family::Sd3 | Family::Wan => {
            settings.legacy_double_shift = double;
            settings.sigmas(steps)?
        }
        _ => settings.laid_out((0..steps).map(|i| 1.0 - i as f64 / steps as f64).collect())?,
    };
    Ok(Schedule::new(sigmas.into_iter().map(Sigma::time).collect())?)
}

/// The logarithm of FLUX.2's shift, which its authors fitted to what looked best: a line in the number of tokens for 10 steps and one for 200,
/// and on from one to the other with the steps; above 4300 tokens that of 200 alone (its pipeline in diffusers).
fn empirical(tokens: usize, steps: usize) -> f64 {
    let tokens_of = tokens as f64;
    let (few, many) = (8.738_095_24e-5 * tokens_of + 1.898_333_33, 0.000_169_27 * tokens_of + 0.456_666_66);
    if tokens > 4300 { many } else { many + (many - few) / 190.0 * (steps as f64 - 200.0) }
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
    let (path, mut config) = model.scheduler(&[scheduler_config::FLOW_MATCH, LCM])?;
    let refused = |why: String| Error::Failure(format!("{}: {why}", path.display()));
    if config.get("_class_name").and_then(Value::as_str) == Some(LCM) {
        let sizes = config.remove("scale_factors").filter(|sizes| !sizes.is_null() && *sizes != json!([]));
        if let Some(sizes) = sizes {
            return Err(refused(format!(
                "scale_factors is {sizes}; pictures that grow from step to step are not drawn here"
            )));
        }
        config.remove("upscale_mode"); // acts together with those
        config.insert("_class_name".into(), scheduler_config::FLOW_MATCH.into());
    }
    // Before the settings are checked: dynamic shifting asks for the number of tokens, which no file knows.
    config.insert("image_seq_len".into(), Value::from(tokens));
    match scheduler_config::import(config).map_err(refused)?.schedule {
        ScheduleConfig::FlowMatch(settings) => Ok(settings),
        _ => Err(refused("lists its levels itself; leave `sigmas` out".into())),
    }
}

/// What a flow is drawn with where nobody says: Euler's steps, or those of a consistency model where its scheduler is that of one.
pub(crate) fn solver(model: &Release) -> Solver {
    // What is wrong with a scheduler is said where its levels are laid out.
    match model.scheduler(&[scheduler_config::FLOW_MATCH, LCM]) {
        Ok((_, config)) if config.get("_class_name").and_then(Value::as_str) == Some(LCM) => Solver::Consistency {},
        _ => Solver::Euler {},
    }
}

/// How Wan's scheduler steps, and its levels: UniPC on a flow, or Euler.
///
/// # Errors
/// A scheduler with settings that are not followed here, with its file and the key.
pub(crate) fn wan(model: &Release) -> Result<(Solver, FlowMatch), Error> {
    let (path, settings) = model.scheduler(&[UNIPC, scheduler_config::FLOW_MATCH])?;
    if settings.get("_class_name").and_then(Value::as_str) != Some(UNIPC) {
        if settings.get("use_dynamic_shifting") == Some(&json!(true)) {
            let why =
                "use_dynamic_shifting is true, and Wan's pipeline does not say how long a clip is; set it to false";
            return Err(Error::Failure(format!("{}: {why}", path.display())));
        }
        return Ok((Solver::Euler {}, levels(model, 1)?));
    }
    let refused = |why: String| Error::Failure(format!("{}: {why}", path.display()));
    check_unipc(&settings).map_err(refused)?;
    let shift = match settings.get("flow_shift") {
        None => 1.0,
        Some(said) => said.as_f64().ok_or_else(|| refused(format!("flow_shift is {said}, which is no number")))?,
    };
    let levels = FlowMatch { shift, ..FlowMatch::default() };
    levels.check().map_err(|error| refused(error.to_string()))?;
    Ok((Solver::Unipc { order: 2 }, levels))
}

/// Refuses what UniPC can be set to and is not here.
fn check_unipc(settings: &Map<String, Value>) -> Result<(), String> {
    let given = |key: &str| settings.get(key).filter(|value| !value.is_null());
    // What its library does where the file is silent, and what is followed.
    let followed = [
        ("prediction_type", json!("epsilon"), json!("flow_prediction")),
        ("use_flow_sigmas", json!(false), json!(true)),
        ("solver_order", json!(2), json!(2)),
        ("solver_type", json!("bh2"), json!("bh2")),
        ("predict_x0", json!(true), json!(true)),
        ("final_sigmas_type", json!("zero"), json!("zero")),
        ("lower_order_final", json!(true), json!(true)),
        // The network is told 1000 times the level.
        ("num_train_timesteps", json!(1000), json!(1000)),
    ];
    for (key, usual, wanted) in &followed {
        let value = given(key).unwrap_or(usual);
        if value != wanted {
            return Err(format!("{key} is {value}; {wanted} alone is followed here"));
        }
    }
    let none = |value: &Value| *value == json!(false) || value.as_array().is_some_and(Vec::is_empty);
    let absent = [
        "disable_corrector",
        "rescale_betas_zero_snr",
        "shift_terminal",
        "sigma_max",
        "sigma_min",
        "solver_p",
        "thresholding",
        "use_beta_sigmas",
        "use_dynamic_shifting",
        "use_exponential_sigmas",
        "use_karras_sigmas",
    ];
    match absent.iter().find_map(|key| Some((key, given(key).filter(|value| !none(value))?))) {
        Some((key, value)) => Err(format!("{key} is {value}, which is not followed here")),
        None => Ok(()),
    }
}

/// Whether a model of `family` under `solver` is asked by a scheduler of several steps: one that lays out its own levels, and tells the
/// network whole training steps.
pub fn multistep(family: Family, solver: &Solver) -> bool {
    family == Family::Wan && matches!(solver, Solver::Unipc { .. })
}

/// The times of `steps` steps of UniPC, which begins a millionth after the noise (its steps are measured in the logarithm of the
/// signal-to-noise ratio) and lays out one level more than it visits.
fn of_unipc(model: &Release, steps: usize) -> Result<Schedule, Error> {
    let mut sigmas = wan(model)?.1.sigmas(steps + 1)?;
    sigmas.remove(steps);
    sigmas[0] = Sigma(sigmas[0].0.min(1.0 - 1e-6));
    Ok(Schedule::new(sigmas.into_iter().map(Sigma::time).collect())?)
}
