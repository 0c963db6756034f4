//! Verbs around the models: data, classifiers, citations, the manual.

use super::print;
use crate::{
    args::{self, Cli, Global},
    say,
};
use clap::CommandFactory;
use rectiflow::{
    Context, Error, Recipe,
    model::which,
    output as place,
    recipe::Layers,
    released::convert::{self, ConvertRequest, Layout, Numbers},
    verbs::{
        cite, classifier, data, hub, inspect, shape,
        slim::{self, SlimRequest},
        sounds,
    },
};
use serde_json::json;
use std::path::Path;

/// The manual: all pages one after another on standard output, or each a file in a folder.
pub(super) fn manual(folder: Option<&Path>) -> Result<(), Error> {
    let failed = |error: std::io::Error| match folder {
        None => Error::Failure(format!("cannot print the manual page: {error}")),
        Some(folder) => Error::Failure(format!("cannot write the manual into {}: {error}", folder.display())),
    };
    let command = Cli::command();
    if let Some(folder) = folder {
        place::folder(folder)?;
        std::fs::create_dir_all(folder).map_err(failed)?;
        return clap_mangen::generate_to(command, folder).map_err(failed);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(failed)?;
    for verb in command.get_subcommands() {
        let name: &'static str = Box::leak(format!("rectiflow {}", verb.get_name()).into_boxed_str());
        let verb = verb.clone().name(name);
        clap_mangen::Man::new(verb).render(&mut page).map_err(failed)?;
    }
    say::result(&page)
}

/// The numbers that are written, by their name.
fn numbers(global: &Global) -> Result<Option<Numbers>, Error> {
    let parse = |name: &String| {
        Numbers::parse(name).ok_or_else(|| Error::Usage(format!("--dtype {name}: f32, bf16 and f16 are written")))
    };
    global.dtype.as_ref().map(parse).transpose()
}

pub(super) fn slim(request: &args::Slim, global: &Global) -> Result<(), Error> {
    let args::Slim { model, set, output } = request;
    let (from, which) = (model.checkpoint.clone(), which(model.ema.as_deref())?);
    let request = SlimRequest { from, which, numbers: numbers(global)?, set: set.clone(), to: output.clone() };
    let bytes = slim::slim(&request)?;
    let facts = json!({ "output": output.display().to_string(), "bytes": bytes });
    print(global, &facts, || format!("{bytes} bytes: {}\n", output.display()))
}

pub(super) fn convert(request: args::Convert, global: &Global, context: &mut Context) -> Result<(), Error> {
    let request = ConvertRequest {
        from: request.from,
        parts: request.parts,
        to: request.to,
        layout: if request.layout == "single" { Layout::Single } else { Layout::Diffusers },
        numbers: numbers(global)?,
        network_only: request.network_only,
    };
    let report = convert::convert(&request, context)?;
    print(global, &report, || format!("{report}"))
}

pub(super) fn get(name: &str, global: &Global, context: &mut Context) -> Result<(), Error> {
    let fetched = hub::get(name, context)?;
    let place = fetched.place.display().to_string();
    let facts = json!({ "place": place, "files": fetched.files, "bytes": fetched.bytes });
    print(global, &facts, || format!("{place}\n"))
}

pub(super) fn print_citations(request: &args::Cite) -> Result<(), Error> {
    let papers = match &request.what {
        None => cite::all(),
        Some(path) => papers_of(path)?,
    };
    say::result(cite::bibliography(&papers).as_bytes())
}

/// The papers behind the recipe in a TOML file, or behind a checkpoint: its recipe's and its stage's.
fn papers_of(path: &Path) -> Result<Vec<cite::Paper>, Error> {
    if path.extension().is_some_and(|e| e == "toml") {
        return Ok(cite::papers(&Layers::new().file(path)?.build()?));
    }
    let checkpoint = rectiflow::model::find(path)?;
    let stage = checkpoint.meta().extra.get("stage").map_or("", String::as_str);
    let mut papers = cite::of_stage(stage).to_vec();
    if stage != rectiflow::align::reward::STAGE {
        let name = format!("recipe inside {}", checkpoint.path().display());
        papers.extend(cite::papers(&Recipe::parse(&checkpoint.meta().recipe, &name)?));
    }
    Ok(papers)
}

pub(super) fn data(action: args::DataVerb, global: &Global, context: &mut Context) -> Result<(), Error> {
    match action {
        args::DataVerb::Show { what, output, num, size, skip_unreadable } => {
            let facts = if sounds::are_at(&what) {
                sounds::show(&what, &output, num)?
            } else if shape::are_at(&what) {
                shape::views(&data::config(&what), &output, num, size, context)?
            } else {
                let mut config = data::config(&what);
                (config.size, config.skip_unreadable) = (size, skip_unreadable);
                data::show(&config, &output, num)?
            };
            print(global, &facts, || inspect::text(&facts))
        }
        args::DataVerb::List => {
            let sets = data::list();
            print(global, &sets, || {
                let line = |set: &data::Listed| {
                    let here = if set.here { "here".into() } else { format!("{:.0} MB", set.bytes as f64 / 1e6) };
                    format!("{:<20} {here:>7}  {} ({})\n", set.name, set.about, set.licence)
                };
                sets.iter().map(line).collect()
            })
        }
        args::DataVerb::Get { name, from } => {
            let folder = data::get(&name, from.as_deref(), context)?;
            print(global, &json!({ "folder": folder.display().to_string() }), || format!("{}\n", folder.display()))
        }
    }
}

pub(super) fn classifier(action: args::ClassifierVerb, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::ClassifierVerb::Train { data: set, epochs, seed, output } = action;
    place::file(&output, &[])?;
    let set = set.map_or_else(Default::default, |set| data::config(&set));
    let report = classifier::train(epochs, seed, &set, &output, context)?;
    print(global, &report, || {
        let accuracy = report.accuracy.map_or("no test images".into(), |a| format!("test accuracy {:.2} %", a * 100.0));
        format!("{accuracy}, {:.1} s: {}\n", report.seconds, report.file.display())
    })
}
