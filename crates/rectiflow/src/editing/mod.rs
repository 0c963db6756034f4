//! Pictures as they would be in another class or under another prompt: which methods, what a model must know, which layers share.

mod run;

pub(crate) use run::Run;

use crate::{
    Error, Model,
    overrides::{SampleOverrides, solver},
    sampling::Classes,
    steerable::{Steerable, without},
};
use methods::edit::{Editing, FlowEdit, RfEdit, SdEdit};
use serde::Deserialize;
use std::ops::Range;

/// The ways of editing in `text`, separated by commas outside braces: `rf-edit`, `inversion` (RF-Edit without features),
/// `euler-inversion`, `flow-edit`, `sd-edit`, or spelled out; `inject` intervals are shared by the first where it is given.
///
/// # Errors
/// [`Error::Usage`] naming the methods there are, or the setting that is wrong.
pub fn methods(text: &str, inject: Option<usize>) -> Result<Vec<Editing>, Error> {
    let one = |text: &str| match text.replace('_', "-").as_str() {
        "rf-edit" => {
            let usual = RfEdit::default();
            Ok(Editing::RfEdit(RfEdit { inject: inject.unwrap_or(usual.inject), ..usual }))
        }
        "inversion" => Ok(Editing::RfEdit(RfEdit { inject: 0, ..RfEdit::default() })),
        "euler-inversion" => Ok(Editing::RfEdit(RfEdit { inject: 0, solver: solver("euler")?, ..RfEdit::default() })),
        "flow-edit" => Ok(Editing::FlowEdit(FlowEdit::default())),
        "sd-edit" => Ok(Editing::SdEdit(SdEdit::default())),
        _ if text.starts_with('{') => {
            #[derive(Deserialize)]
            struct Spelled {
                method: Editing,
            }
            let spelled: Result<Spelled, _> = toml::from_str(&format!("method = {text}"));
            spelled
                .map(|spelled| spelled.method)
                .map_err(|error| Error::Usage(format!("--method {text}: {}", error.message())))
        }
        _ => Err(Error::Usage(format!(
            "--method {text} is unknown; there are rf-edit, inversion, euler-inversion, flow-edit and sd-edit"
        ))),
    };
    let parts = crate::restoring::split(text);
    if inject.is_some() && !parts.iter().any(|part| part.replace('_', "-") == "rf-edit") {
        return Err(Error::Usage(format!(
            "--inject: --method {text} does not read it; it is rf-edit's, and spelled out one says '{{ type = \"rf_edit\", inject = 3 }}'"
        )));
    }
    parts.into_iter().map(one).collect()
}

/// What each of `count` pictures is: the classes in `text` in turn, else their own `labels`; `option` is what says it.
///
/// # Errors
/// [`Error::Usage`] for a class the model does not have, or pictures without classes of this model.
pub(crate) fn source_classes(
    option: &str,
    text: Option<&str>,
    model: &Model,
    labels: Option<&[i64]>,
    count: usize,
) -> Result<Vec<i64>, Error> {
    match (text, labels) {
        (Some(text), _) => {
            let source = Classes::parse(text, model)?;
            Ok((0..count as u64).map(|i| source.of(i)).collect())
        }
        (None, Some(labels)) => Ok(labels.to_vec()),
        (None, None) => Err(Error::Usage(format!(
            "the pictures have no classes of this model: say theirs with {option}, or {option} none"
        ))),
    }
}

/// Refuses a model of something else than pictures, or one that is told nothing.
///
/// # Errors
/// [`Error::Usage`].
pub(crate) fn check_model(model: &Model) -> Result<(), Error> {
    model.check_steerable("edit")?;
    if model.classes() == 0 && model.words.is_none() {
        return Err(Error::Usage(format!(
            "{} knows no classes: there is nothing to ask another of; train on data with classes or captions",
            model.file.display()
        )));
    }
    Ok(())
}

/// Whether a method shares features of attention layers.
pub(crate) fn shares(method: &Editing) -> bool {
    matches!(method, Editing::RfEdit(edit) if edit.inject > 0)
}

/// The attention layers whose features are shared: those that `asked` names, else the network's habit.
///
/// # Errors
/// [`Error::Usage`] for layers that there are not, or more shared steps than there are.
pub(crate) fn shared(
    model: &dyn Steerable,
    methods: &[Editing],
    asked: Option<&str>,
    overrides: &SampleOverrides,
) -> Result<Range<usize>, Error> {
    let layers = model.layers();
    let range = asked.map_or(Ok(layers.usual.clone()), |text| layers.chosen(text))?;
    if methods.iter().any(shares) && range.is_empty() {
        let count = layers.names.len();
        return Err(Error::Usage(format!("--blocks: this network has {count} attention layers{}", without(count))));
    }
    let config = overrides.apply(&model.usual(overrides.steps)?)?;
    let steps = config.schedule.build(config.steps)?.steps();
    let inject = methods.iter().filter_map(|method| match method {
        Editing::RfEdit(edit) => Some(edit.inject),
        _ => None,
    });
    if let Some(inject) = inject.max().filter(|inject| *inject > steps) {
        return Err(Error::Usage(format!(
            "inject {inject}: there are {steps} steps; 2 to 8 of 15 to 30 are customary"
        )));
    }
    Ok(range)
}
