//! Schedules as files: the times of a few-step sampler, and the same as the sigma list of diffusers.
//!
//! A file says `times` (noise at 0, rising) and, for other programs, `sigmas` (`1 - t`, noise at 1, falling to 0); either
//! alone is enough to read it back; `sigmas` that stop above 0, as pipelines of diffusers take them, go on to it. A `scheduler_config.json` of diffusers' flow-matching scheduler is read as its settings.

use crate::{
    Error,
    scheduler_config::{self, Imported},
};
use flow::{Schedule, ScheduleConfig};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// What a schedule file must say; anything else in it is for people.
#[derive(Debug, Deserialize, Serialize)]
struct Document {
    /// Times of the visits, 0 noise and 1 data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<Vec<f64>>,
    /// `1 - t`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sigmas: Option<Vec<f64>>,
}

/// The schedule in `file`.
///
/// # Errors
/// [`Error::Failure`] naming the file for one that cannot be read, is not JSON, says neither `times` nor `sigmas`, or says
/// both and they differ; times out of order or range.
pub fn read(file: &Path) -> Result<ScheduleConfig, Error> {
    let at = |why: String| Error::Failure(format!("schedule {}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| at(format!("cannot be read: {error}")))?;
    let text = text.trim_start_matches('\u{feff}'); // a byte-order mark
    if let Ok(Value::Object(config)) = serde_json::from_str(text)
        && config.contains_key("_class_name")
    {
        return diffusers(config).map_err(at);
    }
    let document: Document = serde_json::from_str(text).map_err(|error| {
        at(format!(
            "is no schedule ({error}); it should be a JSON object with `times`, as `rectiflow schedule` writes it"
        ))
    })?;
    // Pipelines take the list without its end: the last step goes to sigma 0. With `times` beside it the list is whole.
    let open = document.times.is_none();
    let from_sigmas = |mut sigmas: Vec<f64>| {
        if open && sigmas.last().is_some_and(|&last| last > 0.0) && sigmas.is_sorted_by(|a, b| a > b) {
            sigmas.push(0.0);
        }
        sigmas.iter().map(|sigma| 1.0 - sigma).collect::<Vec<_>>()
    };
    let times = match (document.times, document.sigmas.map(from_sigmas)) {
        (Some(times), Some(other)) => {
            let far = |(a, b): (&f64, &f64)| (a - b).abs() > 1e-6;
            if times.len() != other.len() || times.iter().zip(&other).any(far) {
                return Err(at("its `times` and `sigmas` disagree (sigma = 1 - t); remove one of them".into()));
            }
            times
        }
        (Some(times), None) | (None, Some(times)) => times,
        (None, None) => return Err(at("it has neither `times` nor `sigmas`".into())),
    };
    let schedule = Schedule::new(times).map_err(|error| at(error.to_string()))?;
    if schedule.ends().0 > schedule.ends().1 {
        return Err(at("its times fall; a sampler goes from noise (0) up to data (1)".into()));
    }
    Ok(ScheduleConfig::Custom { times: schedule.times().to_vec() })
}

/// The override of a recipe that cuts trajectories where the schedule in `file` stops: `pairs.generate.cuts=[...]`.
///
/// # Errors
/// Those of [`read`]; a schedule that does not go from 0 to 1, or whose times depend on a number of steps.
pub fn cuts(file: &Path) -> Result<String, Error> {
    let at = |why: &str| Error::Usage(format!("schedule {}: {why}", file.display()));
    let ScheduleConfig::Custom { times } = read(file)? else {
        return Err(at("it has no times of its own; write the list as `times` or `sigmas`"));
    };
    match times.as_slice() {
        [0.0, cuts @ .., 1.0] => Ok(format!("pairs.generate.cuts={cuts:?}")),
        _ => Err(at("trajectories are cut between noise (0) and data (1), and its times do not run from 0 to 1")),
    }
}

/// The schedule of a `scheduler_config.json`.
fn diffusers(config: serde_json::Map<String, Value>) -> Result<ScheduleConfig, String> {
    let Imported { path, schedule, .. } = scheduler_config::import(config)?;
    match path {
        flow::Path::Linear {} => Ok(schedule),
        // The same steps on another path would be other noise levels, and a file does not know where it will be used.
        other => Err(format!(
            "its times are equal steps on the path `{}`: leave --schedule away and say --solver ddim --steps N",
            other.name()
        )),
    }
}

/// Writes `times` with `facts` about where they come from.
///
/// # Errors
/// A file that cannot be written.
pub fn write(file: &Path, times: &[f64], facts: Value) -> Result<(), Error> {
    let sigmas = times.iter().map(|t| 1.0 - t).collect();
    let document = Document { times: Some(times.to_vec()), sigmas: Some(sigmas) };
    let failed =
        |error: &dyn std::fmt::Display| Error::Failure(format!("{}: cannot be written: {error}", file.display()));
    let mut value = serde_json::to_value(document).map_err(|error| failed(&error))?;
    if let (Value::Object(value), Value::Object(facts)) = (&mut value, facts) {
        value.extend(facts);
    }
    let text = serde_json::to_string_pretty(&value).map_err(|error| failed(&error))?;
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    }
    std::fs::write(file, text + "\n").map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::schedule::FlowMatch;

    fn refused(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.json");
        std::fs::write(&file, text).unwrap();
        let error = read(&file).unwrap_err().to_string();
        assert!(error.contains("s.json"), "{error}");
        error
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/s.json");
        let times = [0.0, 0.125, 0.7, 1.0];
        write(&file, &times, serde_json::json!({ "origin": "bellman" })).unwrap();
        assert_eq!(read(&file).unwrap(), ScheduleConfig::Custom { times: times.to_vec() });
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("\"origin\": \"bellman\"") && text.contains("0.875"), "{text}");
    }

    #[test]
    fn a_sigma_list_alone_is_a_schedule() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.json");
        std::fs::write(&file, r#"{"sigmas": [1.0, 0.75, 0.0]}"#).unwrap();
        assert_eq!(read(&file).unwrap(), ScheduleConfig::Custom { times: vec![0.0, 0.25, 1.0] });
        // As diffusers' pipelines take it, without its end; and with a byte-order mark.
        std::fs::write(&file, "\u{feff}{\"sigmas\": [1.0, 0.75, 0.5, 0.25]}").unwrap();
        assert_eq!(read(&file).unwrap(), ScheduleConfig::Custom { times: vec![0.0, 0.25, 0.5, 0.75, 1.0] });
    }

    #[test]
    fn a_scheduler_config_is_read_as_its_settings() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("scheduler_config.json");
        let text = r#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "_diffusers_version": "0.29.0",
            "num_train_timesteps": 1000, "shift": 3.0, "invert_sigmas": false, "shift_terminal": null}"#;
        std::fs::write(&file, text).unwrap();
        let schedule = read(&file).unwrap();
        assert_eq!(schedule, ScheduleConfig::FlowMatch(FlowMatch { shift: 3.0, ..FlowMatch::default() }));
        // 28 steps of SD3: the second level is 3 s/(1 + 2 s) at s = 1 - 0.999/27.
        let s = 1.0 - 0.999 / 27.0;
        assert!((schedule.build(28).unwrap().times()[1] - (1.0 - 3.0 * s / (1.0 + 2.0 * s))).abs() < 1e-12);
        let class = r#""_class_name": "FlowMatchEulerDiscreteScheduler""#;
        assert!(refused(&format!("{{{class}, \"stochastic_sampling\": true}}")).contains("noise_refresh"));
        assert!(refused(&format!("{{{class}, \"use_dynamic_shifting\": true}}")).contains("image_seq_len"));
        assert!(refused(&format!("{{{class}, \"shfit\": 2}}")).contains("shfit"));
        assert!(refused(r#"{"_class_name": "PNDMScheduler"}"#).contains("PNDM"));
        let ddim = r#"{"_class_name": "DDIMScheduler", "timestep_spacing": "trailing"}"#;
        assert!(refused(ddim).contains("--solver ddim"));
    }

    #[test]
    fn bad_files_are_refused_with_the_reason() {
        assert!(refused("[0, 1]").contains("JSON object"));
        assert!(refused("{}").contains("neither"));
        assert!(refused(r#"{"times": [0, 0.5, 0.5, 1]}"#).contains("followed by"));
        assert!(refused(r#"{"times": [1, 0.5, 0]}"#).contains("fall"));
        assert!(refused(r#"{"times": [0, 2]}"#).contains("outside"));
        assert!(refused(r#"{"times": [0, 0.5, 1], "sigmas": [1, 0.6, 0]}"#).contains("disagree"));
    }
}
