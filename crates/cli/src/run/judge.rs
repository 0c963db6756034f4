//! Verbs that measure: samples, models, and the fields between.

use super::{draw::prelude, print};
use crate::args::{self, Global};
use rectiflow::{
    Context, Error,
    judge::JudgeConfig,
    output as place,
    recipe::EvaluateConfig,
    verbs::{
        self, data,
        diagnose::DiagnoseRequest,
        eval::EvalRequest,
        likelihood::{Divergence, LikelihoodRequest, Probe},
        sample::solver,
        score::ScoreRequest,
    },
};

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
        prelude: before,
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
        judge: JudgeConfig { features, classifier },
        prelude: prelude(before),
        output,
        command: format!("rectiflow {}", command[1..].join(" ")),
    };
    let summary = verbs::eval::eval(&request, context)?;
    print(global, &summary, || format!("{}features: {}\n", summary.table(), summary.evaluator))
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
    let args::Score { samples, data, size, reference, features, classifier } = request;
    let mut data = data::config(&data);
    data.size = size;
    let request = ScoreRequest { samples, data, reference, judge: JudgeConfig { features, classifier } };
    let (figures, judge) = verbs::score::score(&request, context)?;
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
