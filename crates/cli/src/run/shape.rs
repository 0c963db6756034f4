//! `shape`: from arguments to requests, from facts to lines.

use super::print;
use crate::args::{Extract, Global, Place, ShapeVerb};
use rectiflow::{
    Context, Error,
    verbs::{
        inspect,
        shape::{self, ExtractRequest, MeasureRequest, Method, SampleRequest, SdfRequest, ShowRequest, Where},
    },
};
use serde_json::Value;

pub(super) fn shape(action: ShapeVerb, global: &Global, context: &mut Context) -> Result<(), Error> {
    let facts = match action {
        ShapeVerb::Show { what, output, num, find, size } => {
            shape::show(&ShowRequest { what, sheet: output, num, find, size }, context)?
        }
        ShapeVerb::Sample { path, place, points, farthest, spread, seed, fit, output } => {
            let place = match place {
                Place::Surface => Where::Surface,
                Place::Near => Where::Near,
                Place::Volume => Where::Volume,
            };
            shape::sample(&SampleRequest { path, place, points, farthest, spread, seed, fit, output })?
        }
        ShapeVerb::Sdf { path, points, resolution, output } => {
            shape::sdf(&SdfRequest { path, points, resolution, output })?
        }
        ShapeVerb::Extract { path, resolution, extract, output } => {
            let method = match extract {
                Extract::Dense => Method::Dense,
                Extract::Octree => Method::Octree,
            };
            shape::extract(&ExtractRequest { path, resolution, method, output })?
        }
        ShapeVerb::Measure { model, solver, num } => {
            let request = MeasureRequest {
                checkpoint: model.checkpoint,
                ema: model.ema,
                overrides: super::draw::overrides(&solver),
                seed: solver.seed.unwrap_or(0),
                num,
            };
            let found = shape::measure(&request, context)?;
            return print(global, &found, || found.to_string());
        }
        ShapeVerb::Compare { first, second, points, seed, fit } => {
            let compared = shape::compare(&first, &second, points, seed, fit)?;
            serde_json::to_value(compared).map_err(|error| Error::Failure(error.to_string()))?
        }
    };
    print(global, &facts, || inspect::text(&listed(&facts)))
}

/// The facts with every list of notes or of shapes as lines.
fn listed(facts: &Value) -> Value {
    let mut facts = facts.clone();
    let line = |item: &Value| match item {
        Value::String(text) => Some(text.clone()),
        Value::Object(shape) => Some(shape.get("caption")?.as_str()?.to_string()),
        _ => None,
    };
    for value in facts.as_object_mut().into_iter().flat_map(|map| map.values_mut()) {
        let Some(lines) = value.as_array().and_then(|items| items.iter().map(line).collect::<Option<Vec<_>>>()) else {
            continue;
        };
        // A list of one line still stands below its name; an empty one is left out.
        *value = if lines.is_empty() { Value::Null } else { Value::String(lines.join("\n") + "\n") };
    }
    facts
}
