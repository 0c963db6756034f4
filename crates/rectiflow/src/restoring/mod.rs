//! Restoration of a folder of pictures or recordings: what was done to them, what comes in, who judges, what is written.

pub mod figures;
mod gap;
mod goal;
pub mod inputs;
mod options;
pub mod page;
pub(crate) mod recordings;
mod run;
pub(crate) mod sensed;
mod space;
pub mod task;
mod toward;
pub(crate) mod voices;
mod window;

pub use figures::{Figures, Heard, Judge};
pub use gap::Gap;
pub(crate) use goal::Goal;
pub use inputs::Inputs;
pub use options::{TASKS, TaskOptions};
pub(crate) use run::{Run, told};
pub use space::Space;
pub use task::{Blur, Hole, Task};
pub(crate) use toward::Pull;
pub use toward::{Class, Picture, Toward};
pub(crate) use window::Window;

use crate::Error;
use methods::steer::{Preset, Steering};
use serde::Deserialize;

/// The methods in `text`, separated by commas outside braces: names with their usual settings, `flowchef:PRESET` with those of a
/// published program, or spelled out: `{ type = "flowchef", inner = 3 }`. With each its own number of steps, where it has one.
///
/// # Errors
/// [`Error::Usage`] naming the methods there are, or the setting that is wrong.
pub fn methods(text: &str) -> Result<Vec<(Steering, Option<usize>)>, Error> {
    let found: Vec<_> = split(text).into_iter().map(method).collect::<Result<_, _>>()?;
    for (i, (steering, _)) in found.iter().enumerate() {
        if found[..i].iter().any(|(other, _)| other == steering) {
            return Err(Error::Usage(format!("--method {text}: {} is named twice", steering.name())));
        }
    }
    Ok(found)
}

/// The parts of `text` between commas that stand outside braces and brackets.
pub(crate) fn split(text: &str) -> Vec<&str> {
    let mut depth = 0i32;
    let outside = |c: char| {
        depth += i32::from(matches!(c, '{' | '[')) - i32::from(matches!(c, '}' | ']'));
        c == ',' && depth == 0
    };
    text.split(outside).map(str::trim).collect()
}

fn method(text: &str) -> Result<(Steering, Option<usize>), Error> {
    if text.starts_with('{') {
        #[derive(Deserialize)]
        struct Spelled {
            method: Steering,
        }
        let spelled: Result<Spelled, _> = toml::from_str(&format!("method = {text}"));
        let wrong = |error: toml::de::Error| Error::Usage(format!("--method {text}: {}", error.message()));
        return Ok((spelled.map_err(wrong)?.method, None));
    }
    if let Some(name) = text.strip_prefix("flowchef:") {
        let known = Preset::ALL.map(Preset::name).join(", ");
        let unknown = || Error::Usage(format!("--method {text}: the published settings are {known}"));
        let preset = Preset::ALL.into_iter().find(|preset| preset.name() == name).ok_or_else(unknown)?;
        let (settings, steps) = preset.settings();
        return Ok((Steering::FlowChef(settings), Some(steps)));
    }
    let (wanted, known) = (text.replace('-', "_"), Steering::all());
    let names: Vec<_> = known.iter().map(Steering::name).collect();
    let unknown = || Error::Usage(format!("--method {text} is unknown; there are {}", names.join(", ")));
    known.iter().find(|method| method.name() == wanted).cloned().map(|method| (method, None)).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use methods::steer::{FlowChef, Rule};

    #[test]
    fn methods_are_named_preset_or_spelled() {
        let found = methods("flowchef, ot-ode,{ type = \"flowchef\", inner = 3, last_step = true }").unwrap();
        assert_eq!(found.iter().map(|(m, _)| m.name()).collect::<Vec<_>>(), ["flowchef", "ot_ode", "flowchef"]);
        assert!(matches!(&found[2].0, Steering::FlowChef(FlowChef { inner: 3, last_step: true, .. })));
        let (preset, steps) = methods("flowchef:pixel").unwrap().remove(0);
        assert_eq!(steps, Some(200));
        assert!(matches!(preset, Steering::FlowChef(FlowChef { rule: Rule::Descent { kappa }, .. }) if kappa < 0.1));
        for (bad, word) in [
            ("dsp", "there are flowchef"),
            ("flowchef:gpu", "pixel"),
            ("{ type = \"dps\", kapa = 1 }", "kapa"),
            ("dps,dps", "twice"),
            ("", "there are"),
            ("{ type = ", "--method"),
        ] {
            let error = methods(bad).unwrap_err();
            assert!(error.to_string().contains(word) && error.exit_code() == 2, "{bad}: {error}");
        }
    }
}
