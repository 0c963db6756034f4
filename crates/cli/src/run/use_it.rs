//! Verbs that use a trained flow on pictures somebody has.

use super::draw::overrides;
use super::print;
use crate::args::{self, Global};
use rectiflow::{
    Context, Error,
    restoring::{figures, methods},
    verbs::{
        self,
        restore::{RestoreRequest, task},
    },
};

pub(super) fn restore(request: args::Restore, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Restore { model, input, degrade, originals, num, resize, hole, mask, scale, taps, sigma, .. } = request;
    if request.solver.solver.is_some() {
        let remedy = "a restoration makes its own steps; freedom takes one: --method '{ type = \"freedom\", solver = { type = \"heun\" } }'";
        return Err(Error::Usage(format!("--solver: {remedy}")));
    }
    let task = task(&request.task, hole.as_deref(), mask.as_deref(), scale, (taps, sigma))?;
    let methods = methods(&request.method)?;
    let methods = methods.into_iter().map(|(m, steps)| (m.with(request.kappa, request.force), steps)).collect();
    let command: Vec<String> = std::env::args().collect();
    let request = RestoreRequest {
        checkpoint: model.checkpoint,
        ema: model.ema,
        input,
        degrade,
        originals,
        count: num,
        resize,
        task,
        noise: request.noise,
        methods,
        overrides: overrides(&request.solver),
        class: request.class,
        seed: request.solver.seed.unwrap_or(0),
        output: request.output,
        rows: request.rows,
        command: format!("rectiflow {}", command[1..].join(" ")),
    };
    let report = verbs::restore::restore(&request, context)?;
    print(global, &report, || {
        let distance = report.distance.as_deref().unwrap_or("no LPIPS");
        let (task, count, data) = (&report.task, report.pictures, &report.data);
        let page = report.output.join("index.html");
        format!("{task}; {count} pictures of {data}; {distance}\n{}{}\n", figures::table(&report.rows), page.display())
    })
}
