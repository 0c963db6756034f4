//! From arguments to verbs, from reports to lines.

use crate::{
    args::{self, Cli, Global, RecipeArgs, SolverArgs, Verb},
    bars::Bars,
};
use clap::CommandFactory;
use rectiflow::{
    Context, Error, Model, Precision, Recipe,
    device::{self, Chosen},
    judge::JudgeConfig,
    model::which,
    pairs,
    prelude::OneMoreStep,
    recipe::{EvaluateConfig, Layers},
    verbs::{
        cite, classifier, data,
        demo::{DemoRequest, demo},
        diagnose::{DiagnoseRequest, diagnose},
        eval::{EvalRequest, eval},
        export_schedule::{ExportRequest, export_schedule},
        fast::{self, FastRequest},
        inspect,
        likelihood::{Divergence, LikelihoodRequest, Probe, likelihood},
        plan,
        retrieve::{RetrieveRequest, retrieve},
        sample::{SampleOverrides, SampleRequest, sample, solver},
        schedule::{ScheduleRequest, StepsizeConfig, schedule},
        score::{ScoreRequest, score},
        slim::slim,
        student::{Method, default_folder, student},
        toy,
        train::{self, Resume},
        transfer::{TransferRequest, transfer},
    },
};
use serde_json::json;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Does what was asked.
pub fn run(cli: Cli, stop: Arc<AtomicBool>) -> Result<(), Error> {
    let Cli { verb, global } = cli;
    match &verb {
        Verb::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "rectiflow", &mut std::io::stdout());
            return Ok(());
        }
        Verb::Man => return manual(),
        Verb::Cite(request) => return print_citations(request),
        Verb::Inspect(request) => {
            let facts = inspect::inspect(&request.path)?;
            return print(&global, &facts, || inspect::text(&facts));
        }
        Verb::Slim(args::Slim { model, output }) => {
            let bytes = slim(&model.checkpoint, which(model.ema.as_deref())?, output)?;
            let facts = json!({ "output": output.display().to_string(), "bytes": bytes });
            return print(&global, &facts, || format!("{bytes} bytes: {}\n", output.display()));
        }
        _ => {}
    }
    if global.dtype != "f32" {
        return Err(Error::Usage(format!("--dtype {}: only f32 is there so far", global.dtype)));
    }
    device::start_threads(global.threads)?;
    let chosen = device::choose(&global.device)?;
    watch_ctrl_c(stop.clone());
    device::on_a_worker(move || work(verb, global, chosen, stop))
}

/// Does what takes time.
fn work(verb: Verb, global: Global, chosen: Chosen, stop: Arc<AtomicBool>) -> Result<(), Error> {
    let mut bars = Bars::new(global.quiet);
    let mut context = Context::new(chosen, stop, move |event| bars.tell(event));
    match verb {
        Verb::Train(request) => do_train(request, &global, &mut context),
        Verb::Sample(request) => do_sample(request, &global, &mut context),
        Verb::Schedule(request) => do_schedule(request, &global, &mut context),
        Verb::Pairs(request) => do_pairs(request, &global, &mut context),
        Verb::Reflow(request) => do_student(Method::Reflow, request, &global, &mut context),
        Verb::Distill(request) => do_student(Method::Distill, request, &global, &mut context),
        Verb::Fast(request) => do_fast(request, &global, &mut context),
        Verb::OneMoreStep(request) => do_student(Method::OneMoreStep, request, &global, &mut context),
        Verb::Plan(request) => {
            let recipe = layers(Layers::new(), request.recipe.as_deref(), &request.overrides)?.build()?;
            let report = plan::plan(&recipe, &mut context)?;
            print(&global, &report, || format!("{report}\n"))
        }
        Verb::Toy(request) => do_toy(request, &global, &mut context),
        Verb::Diagnose(request) => do_diagnose(request, &global, &mut context),
        Verb::Eval(request) => do_eval(request, &global, &mut context),
        Verb::Likelihood(request) => do_likelihood(request, &global, &mut context),
        Verb::Score(request) => do_score(request, &global, &mut context),
        Verb::Transfer(request) => do_transfer(request, &global, &mut context),
        Verb::Retrieve(request) => do_retrieve(request, &global, &mut context),
        Verb::Demo(request) => do_demo(request, &global, &mut context),
        Verb::Data(request) => do_data(request.action, &global, &mut context),
        Verb::Classifier(args::Classifier { action }) => do_classifier(action, &global, &mut context),
        Verb::Completions { .. } | Verb::Man | Verb::Cite(_) | Verb::Inspect(_) | Verb::Slim(_) => Ok(()), // done above
    }
}

/// The first Ctrl-C asks for a checkpoint and an end, the second ends at once.
fn watch_ctrl_c(stop: Arc<AtomicBool>) {
    let handler = move || {
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this step (Ctrl-C again to stop at once)");
    };
    // Without a handler Ctrl-C still stops the program, only less gently.
    let _ = ctrlc::set_handler(handler);
}

fn manual() -> Result<(), Error> {
    let mut page = Vec::new();
    let failed = |error: std::io::Error| Error::Failure(format!("cannot print the manual page: {error}"));
    let command = Cli::command();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(failed)?;
    for verb in command.get_subcommands() {
        let name: &'static str = Box::leak(format!("rectiflow {}", verb.get_name()).into_boxed_str());
        let verb = verb.clone().name(name);
        clap_mangen::Man::new(verb).render(&mut page).map_err(failed)?;
    }
    use std::io::Write;
    std::io::stdout().write_all(&page).map_err(failed)
}

/// A result as JSON or as text.
fn print(global: &Global, value: &impl serde::Serialize, text: impl FnOnce() -> String) -> Result<(), Error> {
    if global.json {
        let json = serde_json::to_string_pretty(value);
        println!("{}", json.map_err(|error| Error::Failure(format!("cannot write JSON: {error}")))?);
    } else {
        print!("{}", text());
    }
    Ok(())
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
    for assignment in &set {
        layers = layers.set(assignment)?;
    }
    if let Some(source) = &args.source {
        layers = layers.source(source)?;
    }
    match &args.data {
        Some(data) => layers.data(data),
        None => Ok(layers),
    }
}

fn do_train(request: args::Train, global: &Global, context: &mut Context) -> Result<(), Error> {
    let recipe = layers(Layers::new(), request.recipe.as_deref(), &request.overrides)?.build()?;
    train::check(&recipe)?;
    if request.run.dry_run {
        return dry_run(&recipe, global);
    }
    let folder = request.run.output_dir.unwrap_or_else(|| default_folder(&recipe));
    let report = train::train(&recipe, &folder, request.run.resume.as_deref().map(Resume::parse), context)?;
    print(global, &report, || finished(&report))
}

fn finished(report: &train::TrainReport) -> String {
    let how = if report.stopped { "stopped; continue with --resume latest" } else { "done" };
    let (images, seconds, file) = (report.images, report.seconds, report.checkpoint.display());
    format!("{how}: {images} images in {seconds:.1} s, {file}\n")
}

/// The recipe as it would run, checked against its data.
fn dry_run(recipe: &Recipe, global: &Global) -> Result<(), Error> {
    let data = inspect::dataset(&recipe.data)?;
    let report = json!({ "recipe": recipe, "data": data });
    print(global, &report, || format!("{}\n# data\n{}", recipe.to_toml(), commented(&inspect::text(&data))))
}

fn commented(text: &str) -> String {
    text.lines().map(|line| format!("# {line}\n")).collect()
}

fn overrides(args: &SolverArgs) -> SampleOverrides {
    SampleOverrides {
        steps: args.steps,
        schedule: args.schedule.clone(),
        batch: args.batch_size,
        solver: args.solver.clone(),
        precision: args.precision.as_deref().and_then(Precision::parse),
        guidance: args.guidance_scale,
        path: None,
    }
}

fn prelude(args: args::PreludeArgs) -> Option<(std::path::PathBuf, OneMoreStep)> {
    let step = OneMoreStep { fresh: args.one_more_step_fresh, guidance: args.one_more_step_guidance };
    Some((args.one_more_step?, step))
}

fn do_sample(request: args::Sample, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Sample { model, solver, path, num, data, class, prompt, output, columns, prelude: before, dry_run } =
        request;
    let request = SampleRequest {
        checkpoint: model.checkpoint,
        ema: model.ema,
        overrides: SampleOverrides { path, ..overrides(&solver) },
        seed: solver.seed.unwrap_or(0),
        count: num as u64,
        data,
        class,
        prompts: prompt,
        output,
        columns,
        prelude: prelude(before),
    };
    if dry_run {
        let model = Model::open(&request.checkpoint, which(request.ema.as_deref())?, &context.device)?;
        let config = request.overrides.apply(&model.recipe.sample)?;
        let facts = json!({ "checkpoint": model.file.display().to_string(), "sample": config, "seed": request.seed, "count": request.count });
        return print(global, &facts, || inspect::text(&facts));
    }
    let report = sample(&request, context)?;
    print(global, &report, || {
        let (count, seconds, nfe) = (report.count, report.seconds, report.nfe);
        format!("{count} samples, {nfe} evaluations each, {seconds:.2} s: {}\n", report.output.display())
    })
}

fn do_schedule(request: args::Schedule, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Schedule { model, steps, anchors, num, batch_size, guidance_scale, seed, output, .. } = request;
    if let Some(file) = request.export {
        if steps.len() > 1 {
            return Err(Error::Usage("--export writes one schedule: give --steps one number".into()));
        }
        let (schedule, legacy_double_shift) = (request.schedule, request.legacy_double_shift);
        let (checkpoint, steps) = (model.checkpoint, steps.first().copied());
        let report = export_schedule(&ExportRequest { checkpoint, schedule, steps, legacy_double_shift, file })?;
        return print(global, &report, || format!("{report}"));
    }
    let steps = if steps.is_empty() { vec![2, 4, 8] } else { steps };
    let (samples, validation, batch) = (num, num, batch_size);
    let config = StepsizeConfig { anchors, samples, validation, batch, seed, ..StepsizeConfig::default() };
    let (checkpoint, ema) = (model.checkpoint, model.ema);
    let request = ScheduleRequest { checkpoint, ema, steps, config, guidance: guidance_scale, output };
    let report = schedule(&request, context)?;
    print(global, &report, || format!("{report}"))
}

fn do_pairs(request: args::Pairs, global: &Global, context: &mut Context) -> Result<(), Error> {
    let teacher = Model::open(&request.model.checkpoint, which(request.model.ema.as_deref())?, &context.device)?;
    let mut recipe = teacher.recipe.pairs.clone();
    recipe.count = request.num as u64;
    recipe.generate.steps = request.solver.steps.unwrap_or(recipe.generate.steps);
    recipe.generate.batch = request.solver.batch_size.unwrap_or(recipe.generate.batch);
    recipe.generate.seed = request.solver.seed.unwrap_or(recipe.generate.seed);
    recipe.guidance.scale = request.solver.guidance_scale.unwrap_or(recipe.guidance.scale);
    recipe.precision = request.solver.precision.as_deref().and_then(Precision::parse).unwrap_or(recipe.precision);
    if let Some(name) = &request.solver.solver {
        recipe.generate.solver = solver(name)?;
    }
    let report = pairs::make(&teacher, &recipe, &request.output, context)?;
    print(global, &report, || {
        let (count, made, seconds) = (report.count, report.made, report.seconds);
        format!("{count} pairs ({made} made now, {seconds:.1} s): {}\n", report.folder.display())
    })
}

fn do_student(method: Method, request: args::Student, global: &Global, context: &mut Context) -> Result<(), Error> {
    let teacher = Model::open(&request.teacher, which(None)?, &context.device)?;
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
    if request.run.dry_run {
        return print(global, &json!({ "recipe": recipe }), || recipe.to_toml());
    }
    let folder = request.run.output_dir.unwrap_or_else(|| default_folder(&recipe));
    let resume = request.run.resume.as_deref().map(Resume::parse);
    let report = student(method, &recipe, teacher, request.pairs.as_deref(), &folder, resume, context)?;
    print(global, &report, || finished(&report.train))
}

fn do_fast(request: args::Fast, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Fast { model, nfe, budget, num, output_dir } = request;
    let (checkpoint, ema, budget) = (model.checkpoint, model.ema, fast::seconds(&budget)?);
    let beside = || {
        let name = checkpoint.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        checkpoint.with_file_name(format!("{name}-fast"))
    };
    let folder = output_dir.unwrap_or_else(beside);
    let request = FastRequest { checkpoint, ema, nfe, budget, samples: num, folder };
    let report = fast::fast(&request, context)?;
    print(global, &report, || format!("{report}"))
}

fn print_citations(request: &args::Cite) -> Result<(), Error> {
    let papers = match &request.what {
        None => cite::ALL.to_vec(),
        Some(path) => cite::papers(&recipe_of(path)?),
    };
    print!("{}", cite::bibliography(&papers));
    Ok(())
}

/// The recipe in a TOML file, or inside a run's checkpoint.
fn recipe_of(path: &Path) -> Result<Recipe, Error> {
    if path.extension().is_some_and(|e| e == "toml") {
        return Layers::new().file(path)?.build();
    }
    let checkpoint = rectiflow::model::find(path)?;
    Recipe::parse(&checkpoint.meta().recipe, &format!("recipe inside {}", checkpoint.path().display()))
}

fn do_eval(request: args::Eval, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Eval {
        model,
        steps,
        schedule,
        solver: name,
        guidance_scale,
        num,
        batch_size,
        seed,
        features,
        classifier,
        prelude: before,
        output,
    } = request;
    let config = EvaluateConfig {
        steps,
        solver: solver(&name)?,
        samples: num,
        batch: batch_size,
        seed,
        guidance: guidance_scale,
        ..EvaluateConfig::default()
    };
    let command: Vec<String> = std::env::args().collect();
    let request = EvalRequest {
        checkpoint: model.checkpoint,
        ema: model.ema,
        config,
        schedule,
        judge: JudgeConfig { features, classifier },
        prelude: prelude(before),
        output,
        command: format!("rectiflow {}", command[1..].join(" ")),
    };
    let summary = eval(&request, context)?;
    print(global, &summary, || format!("{}features: {}\n", summary.table(), summary.evaluator))
}

fn do_toy(request: args::Toy, global: &Global, context: &mut Context) -> Result<(), Error> {
    let recipe = layers(toy::layers()?, request.recipe.as_deref(), &request.overrides)?.build()?;
    let points = toy::points(&recipe)?;
    if request.run.dry_run {
        let facts = json!({ "recipe": recipe, "points": points });
        return print(global, &facts, || recipe.to_toml());
    }
    let folder = request.run.output_dir.unwrap_or_else(|| default_folder(&recipe));
    let resume = request.run.resume.as_deref().map(Resume::parse);
    let report = toy::toy(&recipe, &folder, resume, context)?;
    print(global, &report, || format!("{}\npage: {}\n", report.text(), report.page.display()))
}

fn do_diagnose(request: args::Diagnose, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Diagnose { model, steps, num, seed, guidance_scale, pairs, output } = request;
    let request = DiagnoseRequest {
        checkpoint: model.checkpoint,
        ema: model.ema,
        samples: num,
        steps,
        seed,
        guidance: guidance_scale,
        pairs,
        output,
    };
    let found = diagnose(&request, context)?;
    print(global, &found, || format!("{}\npage: {}\n", found.table(), found.page.display()))
}

fn do_likelihood(request: args::Likelihood, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Likelihood { model, num, batch_size, steps, solver, probes, gaussian, exact, seed } = request;
    let probe = if gaussian { Probe::Gaussian } else { Probe::Rademacher };
    let request = LikelihoodRequest {
        checkpoint: model.checkpoint,
        ema: model.ema,
        count: num,
        batch: batch_size,
        steps,
        solver,
        divergence: if exact { Divergence::Exact {} } else { Divergence::Hutchinson { probe, probes } },
        seed,
    };
    let report = likelihood(&request, context)?;
    print(global, &report, || {
        let (bits, error, samples) = (report.bits_per_dimension, report.standard_error, report.samples);
        format!(
            "{bits:.4} ± {error:.4} bits per dimension: {samples} images of {}, {:.1} s\n",
            report.data, report.seconds
        )
    })
}

fn do_score(request: args::Score, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Score { samples, data, reference, features, classifier } = request;
    let request =
        ScoreRequest { samples, data: data::config(&data), reference, judge: JudgeConfig { features, classifier } };
    let (figures, judge) = score(&request, context)?;
    print(global, &figures, || {
        let line = |name: &str, value: Option<f64>| value.map(|v| format!("{name:<16}{v:.4}\n")).unwrap_or_default();
        [
            line("Fréchet", figures.frechet),
            line("KID", figures.kid),
            line("precision", figures.precision),
            line("recall", figures.recall),
            line("sliced W2", figures.sliced_wasserstein),
            line("class accuracy", figures.class_accuracy),
            format!("features        {judge}\nsamples         {}\n", figures.samples),
        ]
        .concat()
    })
}

fn do_transfer(request: args::Transfer, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Transfer { model, steps, solver: name, num, lpips, lpips_size, output, rows } = request;
    let request = TransferRequest {
        checkpoint: model.checkpoint,
        ema: model.ema,
        steps,
        solver: solver(&name)?,
        count: num,
        lpips: (lpips != "none").then_some((lpips, lpips_size)),
        sheet: output.map(|path| (path, rows)),
    };
    let report = transfer(&request, context)?;
    print(global, &report, || report.table())
}

fn do_retrieve(request: args::Retrieve, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Retrieve { model, steps, solver: name, guidance_scale, num, among, features, against, output, rows } =
        request;
    let request = RetrieveRequest {
        checkpoint: model.checkpoint,
        ema: model.ema,
        steps,
        solver: name.as_deref().map(solver).transpose()?,
        guidance: guidance_scale,
        count: num,
        among,
        features,
        against,
        sheet: output.map(|path| (path, rows)),
    };
    let report = retrieve(&request, context)?;
    print(global, &report, || report.table())
}

fn do_demo(request: args::Demo, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Demo { minutes, smoke, seed, output_dir, dry_run: dry } = request;
    let request = DemoRequest { minutes, smoke, seed, folder: output_dir };
    if dry {
        return dry_run(&request.base()?, global);
    }
    let report = demo(&request, context)?;
    print(global, &report, || {
        let (summary, page) = (&report.summary, report.report.display());
        format!("\n{}\n{}\n\nreport: {page}\n", summary.table(), summary.verdict())
    })
}

fn do_data(action: args::DataVerb, global: &Global, context: &mut Context) -> Result<(), Error> {
    match action {
        args::DataVerb::Show { what, output, num } => {
            let facts = data::show(&data::config(&what), &output, num)?;
            print(global, &facts, || format!("{}sheet              {}\n", inspect::text(&facts), output.display()))
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

fn do_classifier(action: args::ClassifierVerb, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::ClassifierVerb::Train { data: set, epochs, seed, output } = action;
    let set = set.map_or_else(Default::default, |set| data::config(&set));
    let report = classifier::train(epochs, seed, &set, &output, context)?;
    print(global, &report, || {
        let accuracy = report.accuracy.map_or("no test images".into(), |a| format!("test accuracy {:.2} %", a * 100.0));
        format!("{accuracy}, {:.1} s: {}\n", report.seconds, report.file.display())
    })
}
