//! The figures of a run by stage and number of function evaluations: what `summary.json` holds and the report shows.
//!
//! The keys are a promise to scripts; a change of meaning raises [`SCHEMA`].
//!
//! ```json
//! { "schema": 1, "name": "demo", "data": "...", "evaluator": "fashion-cnn, 128-d", "samples": 1000, "seconds": 540.0,
//!   "peak_memory_mb": 1200.0, "stage_order": ["base", "reflow", "distill"],
//!   "stages": { "base": {
//!       "images": 96000, "train_seconds": 200.0, "pair_seconds": 0.0, "pairs": 0, "parameters": 1450000,
//!       "straightness": { "s": 80.0, "transport_cost": 900.0, "one_step_distance": 150.0, "steps": 50 },
//!       "guided": { "scale": 1.5, "nfe": 20, "class_accuracy": 0.9 },
//!       "nfe": { "1": { "frechet": 9.1, "kid": 0.1, "precision": 0.2, "recall": 0.1, "sliced_wasserstein": 0.3,
//!                       "class_accuracy": 0.5, "seconds": 1.0, "samples": 1000 } } } },
//!   "timings": [["base", 200.0]], "machine": { "processor": "..." }, "commands": ["..."] }
//! ```

use crate::machine::Machine;
use metrics::{ClipFigures, Nearest, clip::sensitivity::ClipSensitivity, sensitivity::Sensitivity};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use std::collections::{BTreeMap, BTreeSet};

/// The version of `summary.json`'s keys.
pub const SCHEMA: u32 = 1;

/// All figures of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The run's name.
    pub name: String,
    /// What was trained on.
    pub data: String,
    /// Whose features the Fréchet distance, KID, precision and recall use.
    pub evaluator: String,
    /// Samples behind each row of figures.
    pub samples: usize,
    /// Seconds of wall clock, everything included.
    pub seconds: f64,
    /// Largest resident memory, in mebibytes.
    pub peak_memory_mb: f64,
    /// What real images get that the reference does not hold: the floor under every figure; absent without a test part.
    pub real: Option<Figures>,
    /// Which defects of real images the judges see, where it was asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sensitivity: Vec<Sensitivity>,
    /// What the figures of clips see, where it was asked and clips were judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_sensitivity: Option<ClipSensitivity>,
    /// Names of the stages in the order they were made.
    pub stage_order: Vec<String>,
    /// The stages by name.
    #[serde(serialize_with = "by_name")]
    pub stages: Vec<Stage>,
    /// Seconds of each part of the run, in order.
    pub timings: Vec<(String, f64)>,
    /// The machine it ran on.
    pub machine: Machine,
    /// The commands that make the same run.
    pub commands: Vec<String>,
}

/// One trained network and what it reaches.
#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    /// "base", "reflow" or "distill".
    #[serde(skip)]
    pub name: String,
    /// Training images (or pairs) seen.
    pub images: u64,
    /// Seconds of training.
    pub train_seconds: f64,
    /// Seconds of making the pairs it was trained on; zero for a base model.
    pub pair_seconds: f64,
    /// Pairs it was trained on; zero for a base model.
    pub pairs: u64,
    /// Numbers in the network.
    pub parameters: u64,
    /// How straight its flow is, where measured.
    pub straightness: Option<Straightness>,
    /// Conditional samples under guidance, where measured.
    pub guided: Option<Guided>,
    /// Figures by number of function evaluations.
    pub nfe: BTreeMap<u32, Figures>,
}

/// The quality of samples at one number of function evaluations. Absent where the evaluator cannot say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Fréchet distance between sample and reference features; 0 is best.
    pub frechet: Option<f64>,
    /// Two standard errors of it, by bootstrap over the samples.
    pub frechet_error: Option<f64>,
    /// Kernel distance (KID, unbiased; may be slightly negative).
    pub kid: Option<f64>,
    /// Its standard deviation over random subsets.
    pub kid_error: Option<f64>,
    /// Share of samples within the reference manifold, 0 to 1.
    pub precision: Option<f64>,
    /// Share of the reference within the sample manifold, 0 to 1.
    pub recall: Option<f64>,
    /// How densely samples lie within the reference manifold; about 1 for real images.
    pub density: Option<f64>,
    /// Share of the reference with a sample nearby, 0 to 1.
    pub coverage: Option<f64>,
    /// Precision of each class by itself; empty without classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_precision: Vec<Option<f64>>,
    /// How near samples are to their nearest reference image, and how many are copies.
    pub nearest: Option<Nearest>,
    /// Sliced Wasserstein distance between sample and reference features; 0 is best.
    pub sliced_wasserstein: Option<f64>,
    /// Share of conditional samples that the classifier gives the class they were asked for, 0 to 1.
    pub class_accuracy: Option<f64>,
    /// Fréchet distances in other features, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub also: BTreeMap<String, Distance>,
    /// What only clips have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clips: Option<ClipFigures>,
    /// Seconds to draw all samples.
    pub seconds: f64,
    /// Number of samples drawn.
    pub samples: usize,
}

/// A Fréchet distance and two standard errors of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distance {
    /// The distance; 0 is best.
    pub frechet: f64,
    /// Two standard errors, by bootstrap over the samples.
    pub error: f64,
}

impl Figures {
    /// Mean over the classes of [`class_precision`](Self::class_precision).
    pub fn precision_by_class(&self) -> Option<f64> {
        let known: Vec<f64> = self.class_precision.iter().copied().flatten().collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    }
}

/// Straightness and its companions: sums over the numbers of an image, means over samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Straightness {
    /// `S = ∫ E|(Z1 - Z0) - dZt/dt|² dt`; 0 is perfectly straight.
    pub s: f64,
    /// `E|Z1 - Z0|²`.
    pub transport_cost: f64,
    /// `E|one step - full solution|²`.
    pub one_step_distance: f64,
    /// Euler steps it was measured with.
    pub steps: u32,
}

/// Conditional samples under classifier-free guidance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guided {
    /// Guidance scale; 1 is none.
    pub scale: f64,
    /// Function evaluations per sample.
    pub nfe: u32,
    /// Share with the class asked for, 0 to 1.
    pub class_accuracy: f64,
}

fn by_name<S: Serializer>(stages: &[Stage], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(stages.len()))?;
    for stage in stages {
        map.serialize_entry(&stage.name, stage)?;
    }
    map.end()
}

impl Summary {
    /// The stage called `name`.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// The figures of real images and of every stage.
    fn figures(&self) -> impl Iterator<Item = &Figures> {
        self.real.iter().chain(self.stages.iter().flat_map(|stage| stage.nfe.values()))
    }

    /// How many times smaller `after`'s straightness is than `before`'s.
    pub fn straightness_ratio(&self, before: &str, after: &str) -> Option<f64> {
        let s = |name| Some(self.stage(name)?.straightness.as_ref()?.s);
        Some(s(before)? / s(after)?)
    }

    /// How many times smaller `after`'s Fréchet distance is than `before`'s at `nfe` evaluations.
    pub fn frechet_ratio(&self, before: &str, after: &str, nfe: u32) -> Option<f64> {
        let distance = |name| self.stage(name)?.nfe.get(&nfe)?.frechet;
        Some(distance(before)? / distance(after)?)
    }

    /// The figures in one sentence or two.
    pub fn verdict(&self) -> String {
        let mut said = Vec::new();
        if let Some(ratio) = self.straightness_ratio("base", "reflow") {
            said.push(format!("One reflow made the flow {ratio:.1} times straighter."));
        }
        let one_step = |name| Some((name, self.frechet_ratio("base", name, 1)?));
        let ratios: Vec<_> = ["reflow", "distill"].into_iter().filter_map(one_step).collect();
        let steps = |(name, ratio): &(&str, f64)| {
            format!("{ratio:.1} times smaller after {}", if *name == "reflow" { "reflow" } else { "distillation" })
        };
        if !ratios.is_empty() {
            let list: Vec<String> = ratios.iter().map(steps).collect();
            said.push(format!("At one step the Fréchet distance is {}.", list.join(" and ")));
        }
        if let Some((stage, guided)) = self.stages.iter().find_map(|stage| Some((stage, stage.guided.as_ref()?))) {
            let (percent, scale) = (guided.class_accuracy * 100.0, guided.scale);
            said.push(format!(
                "{percent:.0} % of the {} model's samples at guidance {scale} are of the class asked for.",
                stage.name
            ));
        }
        said.join(" ")
    }

    /// The same of the figures of clips; empty where nothing has any.
    fn clips(&self) -> String {
        let line = |name: &str, nfe: String, f: &Figures| {
            f.clips.map(|ClipFigures { smoothness, flicker, consistency, dynamics }| {
                format!("{name:<8} {nfe:>3} {smoothness:>11.3} {flicker:>9.2} {consistency:>12.3} {dynamics:>9.2}\n")
            })
        };
        let real = self.real.iter().filter_map(|f| line("real", "–".into(), f));
        let of = |stage: &Stage| {
            let rows = stage.nfe.iter().filter_map(|(nfe, f)| line(&stage.name, nfe.to_string(), f));
            rows.collect::<String>()
        };
        let rows: String = real.chain(self.stages.iter().map(of)).collect();
        match rows.is_empty() {
            true => rows,
            false => format!("stage    NFE  smoothness   flicker  consistency  dynamics\n{rows}"),
        }
    }

    /// The table of figures as plain text, one row per stage and number of evaluations, under the row of real images.
    pub fn table(&self) -> String {
        let others: Vec<&String> =
            self.figures().flat_map(|f| f.also.keys()).collect::<BTreeSet<_>>().into_iter().collect();
        let mut text = String::from(
            "stage    NFE        Fréchet          KID  precision  recall  coverage  copies  class acc.   ms/image",
        );
        others.iter().for_each(|name| text += &format!("  FD in {name:>18}"));
        let mut line = |name: &str, nfe: String, f: &Figures| {
            let ms = 1e3 * f.seconds / f.samples.max(1) as f64;
            text += &format!(
                "\n{name:<8} {nfe:>3} {:>14} {:>12} {:>10} {:>7} {:>9} {:>7} {:>11} {:>10}",
                with_error(f.frechet, f.frechet_error, 2),
                number(f.kid, 4),
                number(f.precision, 3),
                number(f.recall, 3),
                number(f.coverage, 3),
                percent(f.nearest.map(|n| n.copies), 0),
                percent(f.class_accuracy, 1),
                if ms > 0.0 { format!("{ms:.2}") } else { "–".into() },
            );
            for name in &others {
                let found = f.also.get(*name);
                text += &format!("{:>26}", with_error(found.map(|d| d.frechet), found.map(|d| d.error), 2));
            }
        };
        if let Some(real) = &self.real {
            line("real", "–".into(), real);
        }
        for stage in &self.stages {
            for (nfe, f) in &stage.nfe {
                line(&stage.name, nfe.to_string(), f);
            }
        }
        text += "\n";
        text += &self.clips();
        for stage in &self.stages {
            if let Some(s) = &stage.straightness {
                let (s, cost, distance) = (s.s, s.transport_cost, s.one_step_distance);
                text += &format!(
                    "{:<8} straightness S {s:.4}, transport cost {cost:.3}, one step to full solution {distance:.4}\n",
                    stage.name
                );
            }
        }
        text
    }
}

/// `value ± error` with `digits` decimals, or a dash.
pub fn with_error(value: Option<f64>, error: Option<f64>, digits: usize) -> String {
    match error {
        Some(error) if value.is_some() => format!("{} ± {error:.digits$}", number(value, digits)),
        _ => number(value, digits),
    }
}

/// `value` in hundredths with `digits` decimals, or a dash.
pub fn percent(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".into(), |v| format!("{:.digits$} %", v * 100.0))
}

/// `value` with `digits` decimals, or a dash.
pub fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".into(), |v| format!("{v:.digits$}"))
}
