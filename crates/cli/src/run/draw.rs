//! Verbs that draw samples, or prepare how they are drawn.

use super::print;
use crate::args::{self, Global, SolverArgs};
use rectiflow::{
    Context, Error, Precision,
    one_more_step::OneMoreStep,
    output as place,
    overrides::{self, SampleOverrides, solver},
    released::{Generator, ReleasedRequest, is_damaged, is_released, shape},
    verbs::{
        self,
        export_schedule::{ExportRequest, export_schedule},
        hub, inspect,
        retrieve::RetrieveRequest,
        sample::{Prepared, SampleRequest, prepare},
        schedule::{ScheduleRequest, StepsizeConfig},
        transfer::TransferRequest,
    },
};
use serde_json::json;

pub(super) fn overrides(args: &SolverArgs) -> SampleOverrides {
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

pub(super) fn first_step(args: args::FirstStepArgs) -> Option<(std::path::PathBuf, OneMoreStep)> {
    let step = OneMoreStep { fresh: args.one_more_step_fresh, guidance: args.one_more_step_guidance };
    Some((args.one_more_step?, step))
}

pub(super) fn sample(request: args::Sample, global: &Global, context: &mut Context) -> Result<(), Error> {
    if shape::is_one(&request.model.checkpoint) {
        return shapes(request, global, context);
    }
    // A checkpoint of a run ends in .safetensors; what else cannot be opened was meant for a released model.
    let checkpoint = &request.model.checkpoint;
    let own = checkpoint.extension().is_some_and(|ending| ending == "safetensors");
    let damaged = || is_damaged(checkpoint) && !(own && request.released.given().is_empty());
    if request.released.parts.is_some() || is_released(checkpoint) || damaged() {
        return released(request, global, context);
    }
    if let Some(option) = request.released.given().first() {
        return Err(Error::Usage(format!(
            "{option}: {} is no released model; that is a folder with model_index.json, or a single file of its network (docs/released-models.md)",
            request.model.checkpoint.display()
        )));
    }
    let args::Sample {
        model,
        solver,
        path,
        num,
        data,
        class,
        prompt,
        image,
        noise,
        reward,
        reward_weight,
        output,
        columns,
        resolution,
        first_step: before,
        dry_run,
        ..
    } = request;
    // Of a file of points all, unless a number is given.
    let usual = match image.len() as u64 {
        0 if noise.is_some() => u64::MAX,
        0 => 64,
        images => images,
    };
    let request = SampleRequest {
        checkpoint: model.checkpoint,
        ema: model.ema,
        overrides: SampleOverrides { path, ..overrides(&solver) },
        seed: solver.seed.unwrap_or(0),
        count: num.map_or(usual, |num| num as u64),
        data,
        class,
        prompts: prompt,
        images: image,
        output,
        columns,
        resolution,
        first_step: first_step(before),
        noise,
        reward: reward.map(|file| (file, reward_weight)),
    };
    if dry_run {
        let Prepared { model, config, count, .. } = prepare(&request, context)?;
        let facts = json!({ "checkpoint": model.file.display().to_string(), "sample": config, "seed": request.seed, "count": count });
        return print(global, &facts, || inspect::text(&facts));
    }
    let report = verbs::sample::sample(&request, context)?;
    print(global, &report, || {
        let (count, seconds, nfe) = (report.count, report.seconds, report.nfe);
        format!("{count} samples, {nfe} evaluations each, {seconds:.2} s: {}\n", report.output.display())
    })
}

/// Draws from a released model; what only runs read is refused.
fn released(request: args::Sample, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Sample { model, solver, num, prompt, output, released: own, .. } = &request;
    let runs_only = [
        ("--ema", model.ema.is_some(), "its weights are one set"),
        ("--class", request.class.is_some(), "it draws from prompts; use --prompt"),
        ("--data", request.data.is_some(), "it starts from noise"),
        ("--image", !request.image.is_empty(), "it draws from prompts; --init-image is a picture to begin with"),
        ("--reward", request.reward.is_some(), "a reward learns from a run's samples"),
        ("--path", request.path.is_some(), "it is sampled along its own path"),
        ("--one-more-step", request.first_step.one_more_step.is_some(), "its levels begin at pure noise"),
        ("--tokens", own.tokens.is_some(), "it draws pictures; --height and --width say how large"),
        ("--columns", request.columns != 0, "several pictures make a square sheet, or give --output a folder"),
        ("--batch-size", solver.batch_size.is_some(), "pictures are drawn one after another"),
        ("--dry-run", request.dry_run, "drawing checks everything before it begins"),
    ];
    if let Some((option, _, why)) = runs_only.iter().find(|(_, given, _)| *given) {
        return Err(Error::Usage(format!("{option}: {} is a released model: {why}", model.checkpoint.display())));
    }
    let skip = (!own.skip_layers.is_empty()).then(|| {
        let interval = (own.skip_layer_start.unwrap_or(0.01), own.skip_layer_stop.unwrap_or(0.2));
        (own.skip_layers.clone(), own.skip_layer_scale.unwrap_or(2.8), interval)
    });
    let request = ReleasedRequest {
        folder: model.checkpoint.clone(),
        parts: own.parts.clone(),
        prompts: prompt.clone(),
        negative: own.negative_prompt.clone(),
        steps: solver.steps,
        schedule: solver.schedule.clone(),
        guidance: solver.guidance_scale,
        true_guidance: own.true_cfg_scale,
        skip_layers: skip,
        solver: solver.solver.as_deref().map(overrides::solver).transpose()?,
        precision: solver.precision.as_deref().and_then(Precision::parse).unwrap_or_default(),
        height: own.height,
        width: own.width,
        frames: own.frames,
        rate: own.fps,
        seed: solver.seed.unwrap_or(0),
        count: *num,
        generator: own.rng.as_ref().map_or(Generator::Own, |_| Generator::TorchCpu),
        noise: request.noise.clone(),
        init_image: own.init_image.clone().map(|file| (file.into(), own.strength.unwrap_or(0.6))),
        mask: own.mask.clone().map(Into::into),
        tile: own.decode_tile,
        length: own.max_sequence_length,
        clip_skip: own.clip_skip,
        double_shift: own.double_shift,
        loras: own.lora.iter().map(|text| lora(text)).collect::<Result<_, _>>()?,
        output: output.clone(),
    };
    let report = rectiflow::released::sample(&request, context)?;
    print(global, &report, || format!("{report}"))
}

/// Draws meshes from TripoSG's folder; what only runs or models of pictures read is refused.
fn shapes(request: args::Sample, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Sample { model, solver, num, image, noise, output, columns, resolution, released: own, .. } = &request;
    let refused = [
        ("--ema", model.ema.is_some(), "its weights are one set"),
        ("--class", request.class.is_some(), "it draws from pictures; use --image"),
        ("--prompt", !request.prompt.is_empty(), "it draws from pictures; use --image"),
        ("--data", request.data.is_some(), "it starts from noise"),
        ("--reward", request.reward.is_some(), "a reward learns from a run's samples"),
        ("--path", request.path.is_some(), "it is sampled along its own path"),
        ("--one-more-step", request.first_step.one_more_step.is_some(), "its levels begin at pure noise"),
        ("--batch-size", solver.batch_size.is_some(), "shapes are drawn one after another"),
        ("--dry-run", request.dry_run, "drawing checks everything before it begins; `plan` says what it needs"),
    ];
    let why = refused.iter().find(|(_, given, _)| *given).map(|(option, _, why)| (*option, *why));
    let pictures = own.given().into_iter().find(|option| *option != "--tokens");
    if let Some((option, why)) = why.or(pictures.map(|option| (option, "that is for models of pictures"))) {
        return Err(Error::Usage(format!("{option}: {} is a released TripoSG: {why}", model.checkpoint.display())));
    }
    let request = shape::ShapeRequest {
        folder: model.checkpoint.clone(),
        images: image.clone(),
        count: *num,
        tokens: own.tokens,
        steps: solver.steps,
        guidance: solver.guidance_scale,
        schedule: solver.schedule.clone(),
        solver: solver.solver.as_deref().map(overrides::solver).transpose()?,
        precision: solver.precision.as_deref().and_then(Precision::parse).unwrap_or_default(),
        seed: solver.seed.unwrap_or(0),
        noise: noise.clone(),
        resolution: *resolution,
        columns: *columns,
        output: output.clone(),
    };
    let report = shape::draw(&request, context)?;
    print(global, &report, || format!("{report}"))
}

/// Whether a released model is to be planned; its options say so as well.
pub(super) fn is_plan_of_released(request: &args::Plan) -> bool {
    let options = request.parts.is_some() || request.decode_tile.is_some();
    let options = options || request.height.is_some() || request.width.is_some() || request.frames.is_some();
    options || request.recipe.as_deref().is_some_and(|path| is_released(path) || is_damaged(path))
}

/// What drawing from a released model needs.
pub(super) fn plan(request: args::Plan, global: &Global, context: &mut Context) -> Result<(), Error> {
    let Some(model) = request.recipe else {
        return Err(Error::Usage(
            "--parts, --height, --width, --frames, --decode-tile: name the released model they are for".into(),
        ));
    };
    let given = [
        ("--set", !request.overrides.set.is_empty()),
        ("--teacher", request.teacher.is_some()),
        ("--data", request.overrides.data.is_some()),
        ("--images", request.overrides.images.is_some()),
        ("--seconds", request.overrides.seconds.is_some()),
        ("--batch-size", request.overrides.batch_size.is_some()),
        ("--seed", request.overrides.seed.is_some()),
        ("--source", request.overrides.source.is_some()),
    ];
    if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
        return Err(Error::Usage(format!("{option}: {} is a released model and has no recipe", model.display())));
    }
    if shape::is_one(&model) {
        let pictures = [
            ("--parts", request.parts.is_some()),
            ("--height", request.height.is_some()),
            ("--width", request.width.is_some()),
            ("--frames", request.frames.is_some()),
            ("--decode-tile", request.decode_tile.is_some()),
        ];
        if let Some((option, _)) = pictures.iter().find(|(_, given)| *given) {
            return Err(Error::Usage(format!(
                "{option}: {} draws shapes; that is for models of pictures",
                model.display()
            )));
        }
        let report = shape::plan(&shape::ShapeRequest::new(model), &mut |line| context.note(line))?;
        return print(global, &report, || format!("{report}\n"));
    }
    let asked = ReleasedRequest {
        parts: request.parts,
        height: request.height,
        width: request.width,
        frames: request.frames,
        tile: request.decode_tile,
        ..ReleasedRequest::new(model, "a picture")
    };
    let report = rectiflow::released::plan(&asked, &mut |line| context.note(line))?;
    print(global, &report, || format!("{report}\n"))
}

/// `FILE` or `FILE:SCALE`.
pub(super) fn lora(text: &str) -> Result<(std::path::PathBuf, f64), Error> {
    let scaled = text.rsplit_once(':').and_then(|(file, scale)| Some((file, scale.parse().ok()?)));
    let (file, scale) = scaled.unwrap_or((text, 1.0));
    Ok((hub::place(file.into())?, scale))
}

pub(super) fn schedule(request: args::Schedule, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Schedule { model, steps, anchors, num, batch_size, guidance_scale, seed, output: folder, .. } = request;
    match &request.export {
        Some(file) => place::file(file, &[])?,
        None => place::folder(&folder)?,
    }
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
    let request = ScheduleRequest { checkpoint, ema, steps, config, guidance: guidance_scale, output: folder };
    let report = verbs::schedule::schedule(&request, context)?;
    print(global, &report, || format!("{report}"))
}

pub(super) fn transfer(request: args::Transfer, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Transfer { model, steps, solver: name, num, lpips, lpips_size, output, rows } = request;
    output.as_deref().map_or(Ok(()), |sheet| place::file(sheet, &["png"]))?;
    let request = TransferRequest {
        checkpoint: model.checkpoint,
        ema: model.ema,
        steps,
        solver: solver(&name)?,
        count: num,
        lpips: (lpips != "none").then_some((lpips, lpips_size)),
        sheet: output.map(|path| (path, rows)),
    };
    let report = verbs::transfer::transfer(&request, context)?;
    print(global, &report, || report.table())
}

pub(super) fn retrieve(request: args::Retrieve, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Retrieve { model, steps, solver: name, guidance_scale, num, among, features, against, output, rows } =
        request;
    output.as_deref().map_or(Ok(()), |sheet| place::file(sheet, &["png"]))?;
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
    let report = verbs::retrieve::retrieve(&request, context)?;
    print(global, &report, || report.table())
}
