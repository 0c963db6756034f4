//! Schedules as files: the times of a few-step sampler, and the same as the sigma list of diffusers.
//!
//! A file says `times` (noise at 0, rising) and, for other programs, `sigmas` (`1 - t`, noise at 1, falling to 0); either
//! alone is enough to read it back.

use crate::Error;
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
    let document: Document = serde_json::from_str(&text).map_err(|error| {
        at(format!(
            "is no schedule ({error}); it should be a JSON object with `times`, as `rectiflow schedule` writes it"
        ))
    })?;
    let from_sigmas = |sigmas: Vec<f64>| sigmas.iter().map(|sigma| 1.0 - sigma).collect::<Vec<_>>();
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
