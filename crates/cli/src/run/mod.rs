//! From arguments to verbs, from reports to lines.

mod align;
mod draw;
mod judge;
mod keep;
mod make;
mod separate;
mod serve;
mod shape;
mod use_it;

use crate::{
    args::{self, Cli, Global, RecipeArgs, Verb},
    bars::Bars,
    say, signals,
};
use clap::CommandFactory;
use rectiflow::{
    Context, Error,
    device::{self, Chosen},
    recipe::Layers,
    verbs::{inspect, report, student::Method},
};
use serde_json::json;
use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

/// Does what was asked.
pub fn run(cli: Cli, stop: Arc<AtomicBool>) -> Result<(), Error> {
    let Cli { verb, global } = cli;
    match &verb {
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "rectiflow", &mut script);
            return say::result(&script);
        }
        Verb::Man { output } => return keep::manual(output.as_deref()),
        Verb::Cite(request) => return keep::print_citations(request),
        Verb::Inspect(request) => {
            let facts = inspect::inspect(&request.path, request.size)?;
            return print(&global, &facts, || inspect::text(&facts));
        }
        Verb::Report(args::Report { runs, output }) => {
            let page = report::report(runs, output.as_deref())?.display().to_string();
            return print(&global, &json!({ "output": page }), || format!("{page}\n"));
        }
        Verb::Slim(request) => return keep::slim(request, &global),
        _ => {}
    }
    let turns = matches!(verb, Verb::Convert(_));
    if let Some(other) = global.dtype.as_ref().filter(|dtype| *dtype != "f32" && !turns) {
        return Err(Error::Usage(format!("--dtype {other}: only f32 is there so far")));
    }
    device::start_threads(global.threads)?;
    let chosen = device::choose(&global.device)?;
    signals::watch(stop.clone());
    match verb {
        // It waits for most of its life, which a thread of the pool should not.
        Verb::Serve(request) => serve::serve(request, &global, &chosen, &stop),
        Verb::Label(request) => serve::label(request, &global, &stop),
        verb => device::on_a_worker(move || work(verb, global, chosen, stop)),
    }
}

/// Does what takes time.
fn work(verb: Verb, global: Global, chosen: Chosen, stop: Arc<AtomicBool>) -> Result<(), Error> {
    // Of processes that train together one speaks.
    let follows = match &verb {
        Verb::Train(request) => request.ranks.meeting()?.is_some_and(|meeting| meeting.place.rank > 0),
        _ => false,
    };
    let mut bars = Bars::new(global.quiet || follows);
    let mut context = Context::new(chosen, stop, move |event| bars.tell(event));
    match verb {
        Verb::Train(request) => make::train(request, &global, &mut context),
        Verb::Resume(args::Resume { run }) => make::resume(&run, &global, &mut context),
        Verb::Codec(request) => make::codec(request, &global, &mut context),
        Verb::Sample(request) => draw::sample(*request, &global, &mut context),
        Verb::Edit(request) => use_it::edit(request, &global, &mut context),
        Verb::Invert(request) => use_it::invert(request, &global, &mut context),
        Verb::Restore(request) => use_it::restore(*request, &global, &mut context),
        Verb::Get(request) => keep::get(&request.name, &global, &mut context),
        Verb::Convert(request) => keep::convert(request, &global, &mut context),
        Verb::Separate(request) => separate::separate(request, &global, &mut context),
        Verb::Schedule(request) => draw::schedule(request, &global, &mut context),
        Verb::Pairs(request) => make::pairs(request, &global, &mut context),
        Verb::Reflow(request) => make::student(Method::Reflow, request, &global, &mut context),
        Verb::Distill(request) => make::student(Method::Distill, request, &global, &mut context),
        Verb::Fast(request) => make::fast(request, &global, &mut context),
        Verb::OneMoreStep(request) => make::student(Method::OneMoreStep, request, &global, &mut context),
        Verb::Reward(args::Reward { action }) => align::reward(action, &global, &mut context),
        Verb::Align(request) => align::align(request, &global, &mut context),
        Verb::Winrate(request) => align::winrate(request, &global, &mut context),
        Verb::Plan(request) if draw::is_plan_of_released(&request) => draw::plan(request, &global, &mut context),
        Verb::Plan(request) => make::plan(request, &global, &mut context),
        Verb::Toy(request) => make::toy(request, &global, &mut context),
        Verb::Diagnose(request) => judge::diagnose(request, &global, &mut context),
        Verb::Eval(request) => judge::eval(request, &global, &mut context),
        Verb::Likelihood(request) => judge::likelihood(request, &global, &mut context),
        Verb::Score(request) => judge::score(request, &global, &mut context),
        Verb::Transfer(request) => draw::transfer(request, &global, &mut context),
        Verb::Retrieve(request) => draw::retrieve(request, &global, &mut context),
        Verb::Demo(request) => make::demo(request, &global, &mut context),
        Verb::Data(request) => keep::data(request.action, &global, &mut context),
        Verb::Shape(args::Shape { action }) => shape::shape(action, &global, &mut context),
        Verb::Classifier(args::Classifier { action }) => keep::classifier(action, &global, &mut context),
        // Done above.
        Verb::Completions { .. }
        | Verb::Man { .. }
        | Verb::Cite(_)
        | Verb::Inspect(_)
        | Verb::Report(_)
        | Verb::Slim(_)
        | Verb::Serve(_)
        | Verb::Label(_) => Ok(()),
    }
}

/// A result as JSON or as text.
fn print(global: &Global, value: &impl serde::Serialize, text: impl FnOnce() -> String) -> Result<(), Error> {
    if global.json {
        let json = serde_json::to_string_pretty(value);
        let json = json.map_err(|error| Error::Failure(format!("cannot write JSON: {error}")))?;
        say::result(format!("{json}\n").as_bytes())
    } else {
        say::result(text().as_bytes())
    }
}

/// What became of a run, whose result is its folder: as text it is a line of the log, and a log may be lost.
fn report(global: &Global, value: &impl serde::Serialize, text: impl FnOnce() -> String) -> Result<(), Error> {
    let written = print(global, value, text);
    if global.json { written } else { Ok(()) }
}

/// The file and every override, in the order of their authority.
fn layers(below: Layers, file: Option<&Path>, args: &RecipeArgs) -> Result<Layers, Error> {
    let mut layers = below;
    if let Some(file) = file {
        layers = layers.file(file)?;
    }
    let mut set = args.set.clone();
    set.extend(args.seed.map(|seed| format!("seed={seed}")));
    set.extend(args.batch_size.map(|batch| format!("train.batch={batch}")));
    set.extend(args.images.map(|images| format!("train.images={images}")));
    set.extend(args.seconds.map(|seconds| format!("train.seconds={seconds:?}")));
    // Before the keys: a source makes another task, whose keys may be set.
    if let Some(source) = &args.source {
        layers = layers.source(source)?;
    }
    for assignment in &set {
        layers = layers.set(assignment)?;
    }
    match &args.data {
        Some(data) => layers.data(data),
        None => Ok(layers),
    }
}
