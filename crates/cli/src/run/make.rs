//! Verbs that train: networks, students, pairs for them, and the demo.

use super::{layers, print, report};
use crate::args::{self, Global};
use rectiflow::{
    Context, Error, Model, Precision, Recipe,
    codec::CodecRecipe,
    data::Share,
    model::which,
    output as place,
    overrides::solver,
    pairs,
    recipe::Layers,
    release::{self, is_released},
    verbs::{
        self,
        demo::DemoRequest,
        fast::{self, FastRequest},
        inspect, plan,
        student::{Method, default_folder},
        toy,
        train::{self, Resume},
    },
};
use serde_json::json;
use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
};

pub(super) fn train(request: args::Train, global: &Global, context: &mut Context) -> Result<(), Error> {
    let mut overrides = request.overrides;
    overrides.set.extend(request.init.map(|run| format!("init={}", json!(run.display().to_string()))));
    let recipe = base(request.from.as_deref(), request.lora, request.recipe.as_deref(), &overrides, context)?;
    let folder = request.run.output_dir.unwrap_or_else(|| default_folder(&recipe));
    let resume = request.run.resume.as_deref().map(Resume::parse);
    if request.run.dry_run {
        train::rehearse(&recipe, &folder, resume, context)?;
        return dry_run(&recipe, global);
    }
    if let Some(meeting) = request.ranks.meeting()? {
        let stop = context.stop.clone();
        let met = meeting.hold(|| stop.load(Ordering::Relaxed)).map_err(|lost| Error::Failure(lost.to_string()))?;
        context.ranks = Some(Arc::new(met));
    }
    let done = train::train(&recipe, &folder, resume, context)?;
    if context.leads() { report(global, &done, || finished(&done)) } else { Ok(()) }
}

pub(super) fn plan(request: args::Plan, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Plan { recipe, teacher, lora, method, pairs, overrides, .. } = request; // the rest is of drawing from released models
    if let (Some(teacher), None) = (&teacher, method)
        && !is_released(teacher)
    {
        let teacher = teacher.display();
        return Err(Error::Usage(format!(
            "--teacher {teacher}: say by --method how a student of it is made; only a released model is trained without"
        )));
    }
    let planned = match teacher.clone().zip(method) {
        None => plan::plan(&base(teacher.as_deref(), lora, recipe.as_deref(), &overrides, context)?, context)?,
        Some((teacher, method)) => {
            let method = match method {
                args::StudentMethod::Reflow => Method::Reflow,
                args::StudentMethod::Distill => Method::Distill,
                args::StudentMethod::OneMoreStep => Method::OneMoreStep,
            };
            let teacher = Model::open(&teacher, which(None)?, &context.device)?;
            let recipe = method.recipe(&teacher, |below| layers(below, recipe.as_deref(), &overrides))?;
            let teacher = teacher.over(&recipe.data, &context.device)?;
            plan::plan_student(method, &recipe, teacher, pairs.as_deref(), context)?
        }
    };
    print(global, &planned, || format!("{planned}\n"))
}

/// The recipe of a first stage: over the house defaults, or over what a training from a released model takes over from it.
fn base(
    model: Option<&Path>,
    lora: Option<Option<usize>>,
    file: Option<&Path>,
    overrides: &args::RecipeArgs,
    context: &mut Context,
) -> Result<Recipe, Error> {
    let lay = |below| layers(below, file, overrides);
    let Some(model) = model else {
        let layers = lay(Layers::new())?;
        return match lora {
            None => layers.build(),
            Some(rank) => release::correcting(layers, rank)?.build(),
        };
    };
    let model = verbs::hub::place(model.to_path_buf())?;
    release::layered(&model, lora, lay, &mut |line| context.note(line))
}

pub(super) fn resume(run: &std::path::Path, global: &Global, context: &mut Context) -> Result<(), Error> {
    let done = verbs::resume::resume(run, context)?;
    report(global, &done, || finished(&done))
}

pub(super) fn codec(request: args::Codec, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Codec { recipe, mut set, data, run } = request;
    if let Some(data) = &data {
        let verbs_data = verbs::data::config(data);
        let named = |key: &str, value: String| format!("data.{key}={}", json!(value));
        set.extend(verbs_data.name.map(|name| named("name", name)));
        set.extend(verbs_data.path.map(|path| named("path", path.display().to_string())));
    }
    let recipe = CodecRecipe::read(recipe.as_deref(), &set)?;
    let folder = run.output_dir.unwrap_or_else(|| std::path::Path::new("runs").join(&recipe.name));
    let resume = run.resume.as_deref().map(Resume::parse);
    if run.dry_run {
        verbs::codec::rehearse(&recipe, &folder, resume.as_ref())?;
        return print(global, &json!({ "recipe": recipe }), || recipe.to_toml());
    }
    let done = verbs::codec::codec(&recipe, &folder, resume, context)?;
    print(global, &done, || done.to_string())
}

fn finished(report: &train::TrainReport) -> String {
    let how = if report.stopped { "stopped; continue with `rectiflow resume`" } else { "done" };
    let (images, seconds, file) = (report.images, report.seconds, report.checkpoint.display());
    format!("{how}: {images} images in {seconds:.1} s, {file}\n")
}

/// The recipe as it would run, checked against its data.
fn dry_run(recipe: &Recipe, global: &Global) -> Result<(), Error> {
    let data = inspect::trained_on(recipe)?;
    let report = json!({ "recipe": recipe, "data": data });
    print(global, &report, || format!("{}\n# data\n{}", recipe.to_toml(), commented(&inspect::text(&data))))
}

fn commented(text: &str) -> String {
    text.lines().map(|line| format!("# {line}\n")).collect()
}

pub(super) fn pairs(request: args::Pairs, global: &Global, context: &mut Context) -> Result<(), Error> {
    place::folder(&request.output)?;
    let teacher = Model::teacher(&request.model.checkpoint, which(request.model.ema.as_deref())?, &context.device)?;
    let mut recipe = pairs::usual(&teacher);
    recipe.count = request.num as u64;
    recipe.generate.steps = request.solver.steps.unwrap_or(recipe.generate.steps);
    recipe.generate.batch = request.solver.batch_size.unwrap_or(recipe.generate.batch);
    recipe.generate.seed = request.solver.seed.unwrap_or(recipe.generate.seed);
    recipe.guidance.scale = request.solver.guidance_scale.unwrap_or(recipe.guidance.scale);
    recipe.precision = request.solver.precision.as_deref().and_then(Precision::parse).unwrap_or(recipe.precision);
    if let Some(name) = &request.solver.solver {
        recipe.generate.solver = solver(name)?;
    }
    let share = request.shard.map_or_else(Share::default, |place| Share { part: place.rank, of: place.size });
    let report = pairs::make_share(&teacher, &recipe, share, &request.output, context)?;
    print(global, &report, || {
        let (count, made, seconds) = (report.count, report.made, report.seconds);
        format!("{count} pairs ({made} made now, {seconds:.1} s): {}\n", report.folder.display())
    })
}

pub(super) fn student(
    method: Method,
    request: args::Student,
    global: &Global,
    context: &mut Context,
) -> Result<(), Error> {
    let teacher = Model::teacher(&request.teacher, which(None)?, &context.device)?;
    let recipe = method.recipe(&teacher, |below| {
        let mut layers = layers(below, request.recipe.as_deref(), &request.overrides)?;
        if let Some(file) = &request.schedule {
            layers = layers.set(&rectiflow::schedules::cuts(file)?)?;
        }
        if let Some(count) = request.num {
            layers = layers.set(&format!("pairs.count={count}"))?;
        }
        Ok(layers)
    })?;
    let folder = request.run.output_dir.unwrap_or_else(|| default_folder(&recipe));
    let resume = request.run.resume.as_deref().map(Resume::parse);
    let pairs = request.pairs.as_deref();
    let teacher = teacher.over(&recipe.data, &context.device)?;
    if request.run.dry_run {
        verbs::student::rehearse(method, &recipe, &teacher, pairs, &folder, resume.as_ref(), context)?;
        return print(global, &json!({ "recipe": recipe }), || recipe.to_toml());
    }
    let done = verbs::student::student(method, &recipe, teacher, pairs, &folder, resume, context)?;
    report(global, &done, || finished(&done.train))
}

pub(super) fn fast(request: args::Fast, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Fast { model, nfe, budget, num, output_dir, dry_run } = request;
    let (checkpoint, ema, budget) = (model.checkpoint, model.ema, fast::seconds(&budget)?);
    let beside = || {
        let name = checkpoint.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        checkpoint.with_file_name(format!("{name}-fast"))
    };
    let folder = output_dir.unwrap_or_else(beside);
    place::folder(&folder)?;
    let request = FastRequest { checkpoint, ema, nfe, budget, samples: num, folder };
    if dry_run {
        let plan = fast::plan(&request, context)?;
        return print(global, &plan, || format!("{plan}\n"));
    }
    let report = fast::fast(&request, context)?;
    print(global, &report, || format!("{report}"))
}

pub(super) fn toy(request: args::Toy, global: &Global, context: &mut Context) -> Result<(), Error> {
    let recipe = layers(toy::layers()?, request.recipe.as_deref(), &request.overrides)?.build()?;
    let points = toy::points(&recipe)?;
    let folder = request.run.output_dir.unwrap_or_else(|| default_folder(&recipe));
    let resume = request.run.resume.as_deref().map(Resume::parse);
    train::place(&folder, resume.as_ref())?;
    if request.run.dry_run {
        let facts = json!({ "recipe": recipe, "points": points });
        return print(global, &facts, || recipe.to_toml());
    }
    let report = toy::toy(&recipe, &folder, resume, context)?;
    print(global, &report, || format!("{}\npage: {}\n", report.text(), report.page.display()))
}

pub(super) fn demo(request: args::Demo, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Demo { minutes, smoke, seed, output_dir, dry_run: dry } = request;
    place::folder(&output_dir)?;
    let request = DemoRequest { minutes, smoke, seed, folder: output_dir };
    if dry {
        return dry_run(&request.base()?, global);
    }
    let report = verbs::demo::demo(&request, context)?;
    print(global, &report, || {
        let (summary, page) = (&report.summary, report.report.display());
        format!("\n{}\n{}\n\nreport: {page}\n", summary.table(), summary.verdict())
    })
}
