//! Verbs that measure: samples, models, and the fields between.

use super::{draw::first_step, print};
use crate::args::{self, Global};
use rectiflow::{
    Context, Error,
    judge::{ClipSensitivity, JudgeConfig, Sensitivity},
    output as place,
    overrides::solver,
    recipe::EvaluateConfig,
    report::{Figures, summary::with_error},
    verbs::{
        self, data,
        diagnose::DiagnoseRequest,
        eval::EvalRequest,
        likelihood::{Divergence, LikelihoodRequest, Probe},
        score::ScoreRequest,
    },
};

/// A figure and its error, where there is one.
type Reading<'a> = dyn Fn(&Figures) -> Option<(f64, Option<f64>)> + 'a;

pub(super) fn eval(request: args::Eval, global: &Global, context: &mut Context) -> Result<(), Error> {
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
        also,
        explain,
        first_step: before,
        output,
    } = request;
    output.as_deref().map_or(Ok(()), place::folder)?;
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
        judge: JudgeConfig { features, classifier, also },
        explain,
        first_step: first_step(before),
        output,
        command: format!("rectiflow {}", command[1..].join(" ")),
    };
    let summary = verbs::eval::eval(&request, context)?;
    print(global, &summary, || {
        let explained = explained(&summary.sensitivity, summary.clip_sensitivity.as_ref());
        format!("{}features: {}\n{explained}", summary.table(), summary.evaluator)
    })
}

/// The tables of sensitivities, if there are any.
fn explained(tables: &[Sensitivity], clips: Option<&ClipSensitivity>) -> String {
    let tables = tables.iter().map(|table| table.table()).chain(clips.map(|clips| clips.table()));
    tables.map(|table| format!("\n{table}")).collect()
}

pub(super) fn diagnose(request: args::Diagnose, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Diagnose { model, steps, num, seed, guidance_scale, pairs, output } = request;
    output.as_deref().map_or(Ok(()), place::folder)?;
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
    let found = verbs::diagnose::diagnose(&request, context)?;
    print(global, &found, || format!("{}\npage: {}\n", found.table(), found.page.display()))
}

pub(super) fn likelihood(request: args::Likelihood, global: &Global, context: &mut Context) -> Result<(), Error> {
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
    let report = verbs::likelihood::likelihood(&request, context)?;
    print(global, &report, || {
        let (bits, error, samples) = (report.bits_per_dimension, report.standard_error, report.samples);
        format!(
            "{bits:.4} ± {error:.4} bits per dimension: {samples} images of {}, {:.1} s\n",
            report.data, report.seconds
        )
    })
}

pub(super) fn score(request: args::Score, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Score { samples, data, size, reference, features, classifier, also, explain } = request;
    let mut data = data::config(&data);
    data.size = size;
    let judge = JudgeConfig { features, classifier, also };
    let request = ScoreRequest { samples, data, reference, judge, explain };
    let report = verbs::score::score(&request, context)?;
    print(global, &report, || {
        let (figures, real) = (&report.figures, report.real.as_ref());
        let mut out = format!("{:<28}{:>18}{:>18}\n", "", "samples", "real images");
        let mut line = |name: &str, of: &Reading| {
            let shown = |f: Option<&Figures>| {
                f.and_then(of).map_or("–".into(), |(value, error)| with_error(Some(value), error, 4))
            };
            if of(figures).is_some() {
                out += &format!("{name:<28}{:>18}{:>18}\n", shown(Some(figures)), shown(real));
            }
        };
        line("Fréchet ± 2 errors", &|f| Some((f.frechet?, f.frechet_error)));
        for other in figures.also.keys() {
            let found = |f: &Figures| f.also.get(other).map(|d| (d.frechet, Some(d.error)));
            line(&format!("  in {other}"), &found);
        }
        line("KID ± deviation", &|f| Some((f.kid?, f.kid_error)));
        line("precision", &|f| Some((f.precision?, None)));
        line("  by class, mean", &|f| Some((f.precision_by_class()?, None)));
        line("recall", &|f| Some((f.recall?, None)));
        line("density", &|f| Some((f.density?, None)));
        line("coverage", &|f| Some((f.coverage?, None)));
        line("nearest training image", &|f| Some((f.nearest?.distance, None)));
        line("copies of training images", &|f| Some((f.nearest?.copies, None)));
        line("sliced W2", &|f| Some((f.sliced_wasserstein?, None)));
        line("class accuracy", &|f| Some((f.class_accuracy?, None)));
        line("motion smoothness", &|f| Some((f.clips?.smoothness, None)));
        line("flicker, levels", &|f| Some((f.clips?.flicker, None)));
        line("subject consistency", &|f| Some((f.clips?.consistency, None)));
        line("dynamics, levels", &|f| Some((f.clips?.dynamics, None)));
        out += &format!("features  {}\n", report.evaluator);
        out += &match real {
            Some(real) => format!("samples   {} and {} real ones\n", figures.samples, real.samples),
            None => format!("samples   {}; the data hold out no two real ones to lay beside them\n", figures.samples),
        };
        out + &explained(&report.sensitivity, report.clip_sensitivity.as_ref())
    })
}
