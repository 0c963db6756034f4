//! The verb that hears sounds in mixtures.

use super::draw::overrides;
use super::print;
use crate::args::{self, Global};
use rectiflow::{
    Context, Error,
    separator::Resynthesis,
    verbs::separate::{ScoreRequest, SeparateRequest, score, separate as run},
};

pub(super) fn separate(request: args::Separate, global: &Global, context: &mut Context) -> Result<(), Error> {
    let args::Separate { model, input, query, resynth, vocoder, held_out, judge, sounds, snr, solver, output } =
        request;
    let (overrides, seed) = (overrides(&solver), solver.seed.unwrap_or(0));
    if let Some(count) = held_out {
        let request = ScoreRequest {
            checkpoint: model.checkpoint,
            ema: model.ema,
            overrides,
            seed,
            count: count as usize,
            sounds: sounds.map(|sounds| sounds as usize),
            snr,
            vocoder,
            judge,
            sheet: output.unwrap_or_else(|| "held-out.png".into()),
        };
        let report = score(&request, context)?;
        return print(global, &report, || report.to_string());
    }
    let input = input.ok_or_else(|| Error::Usage("--input is missing: give a recording or a folder of them".into()))?;
    let request = SeparateRequest {
        checkpoint: model.checkpoint,
        ema: model.ema,
        overrides,
        seed,
        input,
        queries: query,
        resynthesis: match (&vocoder, resynth.as_deref()) {
            (Some(_), _) | (None, Some("vocoder")) => Resynthesis::Vocoder,
            (None, Some("griffinlim")) => Resynthesis::GriffinLim,
            _ => Resynthesis::Mask,
        },
        vocoder,
        output: output.unwrap_or_else(|| "separated".into()),
    };
    let report = run(&request, context)?;
    print(global, &report, || report.to_string())
}
