//! diffusers' `scheduler_config.json`, written and read: what another program needs to visit the times of a checkpoint here.
//!
//! A linear path with a velocity is `FlowMatchEulerDiscreteScheduler` (whose network outputs noise minus data: the negative of
//! ours), the discrete diffusion of DDPM and Stable Diffusion is `DDIMScheduler`. Where the settings alone would lead diffusers
//! to other levels, the levels stand beside them as `sigmas`: those **before** the shift, to be passed as `sigmas=` to the
//! pipeline or to `set_timesteps`, which shifts them. diffusers ignores keys it does not know. Behaviour after diffusers at
//! commit 58eb52c; DDIM's spacing "trailing" after arXiv 2305.08891, §3.3.

use flow::{
    Parameterization, Path, Schedule, ScheduleConfig,
    path::diffusion::{Discrete, Rates},
    schedule::{FlowMatch, Sigma},
};
use serde_json::{Map, Value, json};

/// The flow-matching scheduler of diffusers.
pub const FLOW_MATCH: &str = "FlowMatchEulerDiscreteScheduler";
/// The diffusion scheduler of diffusers that steps along the path's own curve.
pub const DDIM: &str = "DDIMScheduler";

/// What a `scheduler_config.json` says in this project's words.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// Linear, or the discrete diffusion.
    pub path: Path,
    /// What the network outputs. On the linear path diffusers' networks output the negative of it.
    pub output: Parameterization,
    /// Times of the visits.
    pub schedule: ScheduleConfig,
}

/// The config of a network that outputs `output` on `path` and is sampled along `schedule` in `steps` steps.
///
/// # Errors
/// A path, an output or a schedule that no scheduler of diffusers stands for, with what to do; settings out of range.
pub fn export(
    path: &Path,
    output: Parameterization,
    schedule: &ScheduleConfig,
    steps: usize,
) -> Result<Map<String, Value>, String> {
    match path {
        Path::Linear {} => {
            if output != (Parameterization::Velocity {}) {
                return Err(format!(
                    "{FLOW_MATCH} steps along a velocity and this network outputs `{}`; train `velocity`",
                    output.name()
                ));
            }
            flow_match(schedule, steps)
        }
        Path::Ddpm(discrete) => ddim(discrete, output, schedule, steps),
        other => Err(format!(
            "no scheduler of diffusers follows the path `{}`; `linear` ({FLOW_MATCH}) and `ddpm` ({DDIM}) can be written",
            other.name()
        )),
    }
}

fn flow_match(schedule: &ScheduleConfig, steps: usize) -> Result<Map<String, Value>, String> {
    let text = |error: flow::FlowError| error.to_string();
    let (settings, listed) = match schedule {
        // Alone, diffusers shifts the low end of a shifted list twice.
        ScheduleConfig::FlowMatch(settings) => {
            let alone = settings.legacy_double_shift || settings.use_dynamic_shifting || settings.shift == 1.0;
            (settings.clone(), !alone)
        }
        // Its own list ends at 1/num_train_timesteps whatever the steps; equal steps end at 1/steps.
        ScheduleConfig::Shifted { shift } => (FlowMatch { shift: *shift, ..FlowMatch::default() }, true),
        ScheduleConfig::Uniform {} | ScheduleConfig::Chebyshev {} | ScheduleConfig::Custom { .. } => {
            (FlowMatch::default(), true)
        }
    };
    let times = schedule.build(steps).map_err(text)?;
    if times.ends() != (0.0, 1.0) {
        let (from, to) = times.ends();
        return Err(format!("{FLOW_MATCH} runs from noise (0) to data (1), and this schedule from {from} to {to}"));
    }
    let Value::Object(mut config) = serde_json::to_value(&settings).map_err(|error| error.to_string())? else {
        return Err("the settings are no object".into());
    };
    config.insert("_class_name".into(), json!(FLOW_MATCH));
    if listed {
        let levels = match schedule {
            ScheduleConfig::FlowMatch(settings) => settings.levels(steps),
            _ => times.times()[..times.steps()].iter().map(|t| settings.unshifted(1.0 - t)).collect(),
        };
        config.insert("sigmas".into(), json!(levels));
    }
    Ok(config)
}

fn ddim(
    discrete: &Discrete,
    output: Parameterization,
    schedule: &ScheduleConfig,
    steps: usize,
) -> Result<Map<String, Value>, String> {
    let prediction = match output {
        Parameterization::Noise {} => "epsilon",
        Parameterization::Data {} => "sample",
        Parameterization::VPrediction {} => "v_prediction",
        other => {
            let name = other.name();
            return Err(format!("{DDIM} knows `noise`, `data` and `v_prediction`, and this network outputs `{name}`"));
        }
    };
    if *schedule != (ScheduleConfig::Uniform {}) {
        return Err(format!("{DDIM} is written for equal steps only; set sample.schedule = {{ type = \"uniform\" }}"));
    }
    // Its times are whole training steps; other numbers of steps it rounds.
    if steps == 0 || !discrete.steps.is_multiple_of(steps) {
        let levels = discrete.steps;
        return Err(format!("{DDIM} stops at whole training steps: {steps} steps do not divide its {levels}"));
    }
    let rates = match discrete.rates {
        Rates::Linear => "linear",
        Rates::ScaledLinear => "scaled_linear",
    };
    let config = json!({
        "_class_name": DDIM,
        "num_train_timesteps": discrete.steps,
        "beta_start": discrete.rate_start,
        "beta_end": discrete.rate_end,
        "beta_schedule": rates,
        "rescale_betas_zero_snr": discrete.zero_terminal,
        "prediction_type": prediction,
        // From pure noise in equal strides, and the last stride to the data themselves: the times of `uniform`.
        "timestep_spacing": "trailing",
        "set_alpha_to_one": true,
        "steps_offset": 0,
        "clip_sample": false,
        "thresholding": false,
    });
    match config {
        Value::Object(config) => Ok(config),
        _ => Err("the settings are no object".into()),
    }
}

/// What a config says; `sigmas`, where it has them, are the levels before the shift.
///
/// # Errors
/// A class or a setting that cannot be followed here, with what to do about it.
pub fn import(mut config: Map<String, Value>) -> Result<Imported, String> {
    let class = config.get("_class_name").and_then(Value::as_str).unwrap_or_default().to_string();
    config.retain(|key, value| !key.starts_with('_') && !value.is_null());
    match class.as_str() {
        FLOW_MATCH => {
            let (path, output) = (Path::Linear {}, Parameterization::Velocity {});
            Ok(Imported { path, output, schedule: read_flow_match(config)? })
        }
        DDIM => read_ddim(config),
        _ => Err(format!("it is a {class}; {FLOW_MATCH} and {DDIM} are read (others: write the list as `sigmas`)")),
    }
}

fn read_flow_match(mut config: Map<String, Value>) -> Result<ScheduleConfig, String> {
    for (key, remedy) in [
        ("use_beta_sigmas", "write its list as `sigmas`"),
        ("invert_sigmas", "its noise stands at 0; write the list as `sigmas`, noise at 1"),
        ("stochastic_sampling", "noise on the way is the solver's business: set it to false and use noise_refresh"),
    ] {
        if config.remove(key).is_some_and(|value| value != Value::Bool(false)) {
            return Err(format!("its `{key}` cannot be followed: {remedy}"));
        }
    }
    let levels = config.remove("sigmas");
    let settings: FlowMatch = serde_json::from_value(Value::Object(config)).map_err(|error| error.to_string())?;
    settings.check().map_err(|error| error.to_string())?;
    let Some(levels) = levels else { return Ok(ScheduleConfig::FlowMatch(settings)) };
    let levels: Vec<f64> = serde_json::from_value(levels).map_err(|error| format!("its `sigmas`: {error}"))?;
    let sigmas = settings.laid_out(levels).map_err(|error| error.to_string())?;
    let schedule = Schedule::new(sigmas.into_iter().map(Sigma::time).collect()).map_err(|error| error.to_string())?;
    Ok(ScheduleConfig::Custom { times: schedule.times().to_vec() })
}

fn read_ddim(config: Map<String, Value>) -> Result<Imported, String> {
    let text =
        |key: &str, default: &'static str| config.get(key).and_then(Value::as_str).unwrap_or(default).to_string();
    let number = |key: &str, default: f64| config.get(key).and_then(Value::as_f64).unwrap_or(default);
    let yes = |key: &str, default: bool| config.get(key).and_then(Value::as_bool).unwrap_or(default);
    let rates = match text("beta_schedule", "linear").as_str() {
        "linear" => Rates::Linear,
        "scaled_linear" => Rates::ScaledLinear,
        other => return Err(format!("its `beta_schedule` is `{other}`; `linear` and `scaled_linear` are read")),
    };
    let output = match text("prediction_type", "epsilon").as_str() {
        "epsilon" => Parameterization::Noise {},
        "sample" => Parameterization::Data {},
        "v_prediction" => Parameterization::VPrediction {},
        other => return Err(format!("its `prediction_type` is `{other}`; epsilon, sample and v_prediction are read")),
    };
    let spacing = text("timestep_spacing", "leading");
    if spacing != "trailing" || !yes("set_alpha_to_one", true) {
        return Err(format!(
            "its spacing is `{spacing}` and its last step need not reach the data; equal steps from noise to data are \
             `timestep_spacing` = \"trailing\" with `set_alpha_to_one` = true (others: write the list as `sigmas`)"
        ));
    }
    let discrete = Discrete {
        rates,
        rate_start: number("beta_start", 1e-4),
        rate_end: number("beta_end", 0.02),
        steps: number("num_train_timesteps", 1000.0) as usize,
        zero_terminal: yes("rescale_betas_zero_snr", false),
    };
    discrete.check().map_err(|error| error.to_string())?;
    Ok(Imported { path: Path::Ddpm(discrete), output, schedule: ScheduleConfig::Uniform {} })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VELOCITY: Parameterization = Parameterization::Velocity {};

    fn times(schedule: &ScheduleConfig, steps: usize) -> Vec<f64> {
        schedule.build(steps).unwrap().times().to_vec()
    }

    fn round_trip(schedule: &ScheduleConfig, steps: usize) -> Map<String, Value> {
        let config = export(&Path::Linear {}, VELOCITY, schedule, steps).unwrap();
        let back = import(config.clone()).unwrap();
        assert_eq!((&back.path, back.output), (&Path::Linear {}, VELOCITY));
        let (ours, theirs) = (times(schedule, steps), times(&back.schedule, steps));
        assert_eq!(ours.len(), theirs.len());
        let far = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(far < 1e-14, "{schedule:?} in {steps} steps: {far:e}");
        config
    }

    #[test]
    fn what_is_exported_is_imported_with_the_same_times() {
        let flow_match = ScheduleConfig::FlowMatch;
        let base = FlowMatch { shift: 3.0, ..FlowMatch::default() };
        for steps in [1, 2, 7, 28] {
            for schedule in [
                ScheduleConfig::Uniform {},
                ScheduleConfig::Shifted { shift: 3.0 },
                ScheduleConfig::Shifted { shift: 0.5 },
                flow_match(FlowMatch::default()),
                flow_match(base.clone()),
                flow_match(FlowMatch { legacy_double_shift: true, ..base.clone() }),
                flow_match(FlowMatch { shift_terminal: Some(0.1), ..base.clone() }),
                flow_match(FlowMatch { use_karras_sigmas: true, ..base.clone() }),
                flow_match(FlowMatch { use_dynamic_shifting: true, image_seq_len: Some(1024), ..FlowMatch::default() }),
            ] {
                round_trip(&schedule, steps);
            }
        }
        round_trip(&ScheduleConfig::Custom { times: vec![0.0, 0.11, 0.4, 1.0] }, 3);
    }

    /// The list is what `set_timesteps(sigmas=...)` shifts: numpy's `linspace(1, 1/n, n)` for equal steps, shifted or not.
    #[test]
    fn the_list_is_the_one_before_the_shift() {
        for schedule in [ScheduleConfig::Uniform {}, ScheduleConfig::Shifted { shift: 3.0 }] {
            let config = round_trip(&schedule, 4);
            let levels: Vec<f64> = serde_json::from_value(config["sigmas"].clone()).unwrap();
            let far = levels.iter().zip([1.0, 0.75, 0.5, 0.25]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(far < 1e-15 && levels.len() == 4, "{levels:?}");
        }
        assert_eq!(round_trip(&ScheduleConfig::Shifted { shift: 3.0 }, 4)["shift"], 3.0);
        // diffusers alone shifts the low end twice: with the flag the settings suffice, without it the list is needed.
        let shifted = |legacy_double_shift| {
            ScheduleConfig::FlowMatch(FlowMatch { shift: 3.0, legacy_double_shift, ..FlowMatch::default() })
        };
        assert!(!round_trip(&shifted(true), 28).contains_key("sigmas"));
        assert!(round_trip(&shifted(false), 28).contains_key("sigmas"));
    }

    /// What diffusers 0.42.1 visits (in f32) when it is given the exported settings and, where there is one, the list.
    #[test]
    fn diffusers_visits_the_levels_that_are_exported() {
        let base = || FlowMatch { shift: 3.0, ..FlowMatch::default() };
        let tokens = FlowMatch { use_dynamic_shifting: true, image_seq_len: Some(1024), ..FlowMatch::default() };
        let cases = [
            (ScheduleConfig::Shifted { shift: 3.0 }, [0.9, 0.75, 0.5]),
            (ScheduleConfig::FlowMatch(base()), [0.8573264, 0.6007194, 0.002994]),
            (
                ScheduleConfig::FlowMatch(FlowMatch { legacy_double_shift: true, ..base() }),
                [0.8576923, 0.6021506, 0.0089286],
            ),
            (ScheduleConfig::FlowMatch(tokens), [0.7899539, 0.4849674, 0.001876]),
            (
                ScheduleConfig::FlowMatch(FlowMatch { use_karras_sigmas: true, ..base() }),
                [0.2327368, 0.0368317, 0.002994],
            ),
            (
                ScheduleConfig::FlowMatch(FlowMatch { shift_terminal: Some(0.1), ..base() }),
                [0.8712082, 0.6395683, 0.1000001],
            ),
        ];
        for (schedule, known) in cases {
            round_trip(&schedule, 4);
            let sigmas: Vec<f64> = times(&schedule, 4).iter().map(|t| 1.0 - t).collect();
            let far = sigmas[1..4].iter().zip(known).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(far < 3e-7 && sigmas[0] == 1.0 && sigmas[4] == 0.0, "{schedule:?}: {sigmas:?}");
        }
    }

    #[test]
    fn a_discrete_diffusion_is_ddim_with_trailing_steps() {
        let discrete = Discrete { zero_terminal: true, ..Discrete::default() };
        let path = Path::Ddpm(discrete);
        let config = export(&path, Parameterization::VPrediction {}, &ScheduleConfig::Uniform {}, 50).unwrap();
        assert_eq!(
            (config["prediction_type"].as_str(), config["beta_end"].as_f64()),
            (Some("v_prediction"), Some(0.012))
        );
        let back = import(config.clone()).unwrap();
        assert_eq!((&back.path, back.output), (&path, Parameterization::VPrediction {}));
        // diffusers' trailing steps: round(1000 - 20 i) - 1, at our time 1 - (index + 1)/1000.
        let visited = times(&back.schedule, 50);
        for (i, t) in visited[..50].iter().enumerate() {
            let index = 1000 - 20 * i - 1;
            assert!((t - (1.0 - (index + 1) as f64 / 1000.0)).abs() < 1e-12);
        }
        let with = |key: &str, value: Value| {
            let mut config = config.clone();
            config.insert(key.into(), value);
            import(config).unwrap_err()
        };
        assert!(with("timestep_spacing", json!("leading")).contains("trailing"));
        assert!(with("beta_schedule", json!("squaredcos_cap_v2")).contains("squaredcos"));
        assert!(with("beta_start", json!(2.0)).contains("rate_start"));
    }

    #[test]
    fn what_diffusers_cannot_follow_is_refused_with_the_reason() {
        let uniform = ScheduleConfig::Uniform {};
        let refused =
            |path: &Path, output, schedule: &ScheduleConfig, steps| export(path, output, schedule, steps).unwrap_err();
        assert!(refused(&Path::Trigonometric {}, VELOCITY, &uniform, 4).contains("trigonometric"));
        assert!(refused(&Path::Linear {}, Parameterization::Noise {}, &uniform, 4).contains("`noise`"));
        assert!(refused(&Path::Linear {}, VELOCITY, &uniform, 0).contains("no steps"));
        let part = ScheduleConfig::Custom { times: vec![0.1, 1.0] };
        assert!(refused(&Path::Linear {}, VELOCITY, &part, 1).contains("from 0.1"));
        let ddpm = Path::Ddpm(Discrete::default());
        assert!(refused(&ddpm, VELOCITY, &uniform, 50).contains("v_prediction"));
        assert!(refused(&ddpm, Parameterization::Noise {}, &uniform, 28).contains("whole training steps"));
        assert!(
            refused(&ddpm, Parameterization::Noise {}, &ScheduleConfig::Shifted { shift: 2.0 }, 50).contains("equal")
        );
    }
}
