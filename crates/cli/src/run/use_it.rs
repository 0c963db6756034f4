//! Verbs that use a trained flow on pictures somebody has.

use super::draw::{lora, overrides};
use super::print;
use crate::args::{self, Global};
use rectiflow::{
    Context, Error, editing,
    released::Beside,
    restoring::{Space, Task, TaskOptions, Toward, figures, methods},
    verbs::{
        self,
        edit::{Asked, EditRequest},
        invert::{InvertRequest, invert as invert_pictures},
        restore::RestoreRequest,
    },
};

fn beside(args: args::BesideArgs) -> Result<Beside, Error> {
    Ok(Beside {
        parts: args.parts,
        negative: args.negative_prompt,
        true_guidance: args.true_cfg_scale,
        loras: args.lora.iter().map(|text| lora(text)).collect::<Result<_, _>>()?,
        tile: args.decode_tile,
        length: args.max_sequence_length,
    })
}

fn options(args: &args::TaskArgs, seed: u64) -> TaskOptions {
    let args::TaskArgs { task: _, hole, mask, scattered, strokes, gap, scale, bicubic, taps, sigma, .. } = args;
    let &args::TaskArgs { motion, angle, share, bits, quality, .. } = args;
    TaskOptions {
        hole: hole.clone(),
        mask: mask.clone(),
        scattered: *scattered,
        strokes: *strokes,
        gap: gap.clone(),
        scale: *scale,
        bicubic: *bicubic,
        taps: *taps,
        sigma: *sigma,
        motion,
        angle,
        kernel: args.kernel.clone(),
        share,
        bits,
        quality,
        seed,
    }
}

pub(super) fn restore(request: args::Restore, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Restore { model, input, degrade, originals, num, resize, task, .. } = request;
    if request.solver.solver.is_some() {
        let remedy = "a restoration makes its own steps; freedom takes one: --method '{ type = \"freedom\", solver = { type = \"heun\" } }'";
        return Err(Error::Usage(format!("--solver: {remedy}")));
    }
    let seed = request.solver.seed.unwrap_or(0);
    let task = Task::named(&task.task, &options(&task, seed))?;
    let methods = methods(&request.method)?;
    if (request.kappa.is_some() || request.force) && !methods.iter().any(|(method, _)| method.has_kappa()) {
        let names: Vec<_> = methods.iter().map(|(method, _)| method.name()).collect();
        let names = names.join(", ");
        return Err(Error::Usage(format!(
            "--kappa or --force: {names} has none, its steps follow from something else; leave it out"
        )));
    }
    let methods = methods.into_iter().map(|(m, steps)| (m.with(request.kappa, request.force), steps)).collect();
    let command: Vec<String> = std::env::args().collect();
    let request = RestoreRequest {
        checkpoint: model.checkpoint,
        ema: model.ema,
        beside: beside(request.beside)?,
        input,
        degrade,
        originals,
        count: num,
        resize,
        task,
        noise: request.noise,
        toward: request.toward.iter().map(|text| Toward::parse(text)).collect::<Result<_, _>>()?,
        space: request.cost.as_deref().and_then(Space::parse),
        methods,
        overrides: overrides(&request.solver),
        class: request.class,
        prompts: request.prompt,
        seed,
        output: request.output,
        rows: request.rows,
        command: format!("rectiflow {}", command[1..].join(" ")),
    };
    let report = verbs::restore::restore(&request, context)?;
    print(global, &report, || {
        let distance = report.distance.as_deref().unwrap_or("no LPIPS");
        let (task, count, data) = (&report.task, report.pictures, &report.data);
        let (heard, table) = (!report.gaps.is_empty(), figures::table(&report.rows));
        let page = report.output.join(if heard { "sheet.png" } else { "index.html" });
        let of = if heard { format!("recordings of {data}") } else { format!("pictures of {data}; {distance}") };
        format!("{task}; {count} {of}\n{table}{}\n", page.display())
    })
}

pub(super) fn invert(request: args::Invert, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Invert { model, input, num, resize, class, prompt, exact, solver, beside: also, output } = request;
    if solver.seed.is_some() {
        return Err(Error::Usage("--seed: inversion draws nothing at random; leave it out".into()));
    }
    let request = InvertRequest {
        checkpoint: model.checkpoint,
        ema: model.ema,
        beside: beside(also)?,
        input,
        count: num,
        resize,
        class,
        prompt,
        exact,
        overrides: overrides(&solver),
        output,
    };
    let report = invert_pictures(&request, context)?;
    print(global, &report, || format!("{report}"))
}

pub(super) fn edit(request: args::Edit, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Edit { model, input, num, class, source_class, prompt, source_prompt, method, inject, blocks, .. } =
        request;
    if request.solver.solver.is_some() {
        let remedy =
            "every method names its own: --method '{ type = \"rf_edit\", inject = 3, solver = { type = \"heun\" } }'";
        return Err(Error::Usage(format!("--solver: {remedy}")));
    }
    let asked = match (class, prompt.is_empty()) {
        (_, false) => Asked::Prompts { source: source_prompt, target: prompt },
        (Some(target), true) => Asked::Classes { source: source_class, target },
        (None, true) => return Err(Error::Usage("give --class or --prompt".into())),
    };
    let request = EditRequest {
        checkpoint: model.checkpoint,
        ema: model.ema,
        beside: beside(request.beside)?,
        input,
        count: num,
        resize: request.resize,
        asked,
        methods: editing::methods(&method, inject)?,
        blocks,
        features: request.features,
        overrides: overrides(&request.solver),
        seed: request.solver.seed.unwrap_or(0),
        output: request.output,
        rows: request.rows,
    };
    let report = verbs::edit::edit(&request, context)?;
    print(global, &report, || format!("{}{}\n", report.table(), report.output.join("sheet.png").display()))
}
