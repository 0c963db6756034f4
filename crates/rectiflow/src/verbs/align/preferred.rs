//! Pairs of samples, which of each is preferred, and who draws further ones.

use super::{AlignRequest, Preference, Way};
use crate::{
    Context, Error, Model,
    align::{Drawing, Judge, Judged, People, Prompts, judge::weights},
};

/// Pairs of candidates that a model draws.
const PAIRS: usize = 2000;

/// Candidates are drawn under another seed than the one samples are usually asked for with.
const SEED: u64 = 0x616c_6967;

/// Pairs with what is preferred of them.
pub(super) struct Preferred {
    /// Who preferred.
    pub by: String,
    /// The pairs; none where those of a later round are asked for.
    pub judged: Option<Judged>,
    /// What classes stand for, of a model that reads prompts.
    pub prompts: Option<Prompts>,
    /// Who draws further ones; nobody where people compared them.
    pub drawing: Option<Drawing>,
}

impl Preferred {
    /// Those that were asked for; where a run continues in a `later` round, only who draws it.
    ///
    /// # Errors
    /// Those of drawing and judging; a pair file that cannot be used, or for a way that weighs samples.
    pub fn of(
        request: &AlignRequest<'_>,
        (model, seed): (&Model, u64),
        later: bool,
        context: &mut Context,
    ) -> Result<Self, Error> {
        let counted = request.asked.weights.as_deref();
        match &request.asked.preference {
            Preference::Judge { judge, pairs, .. } => {
                let judge = Judge::parse(judge, model, &context.device)?;
                let by = judge.label();
                let drawing = Drawing::new(model, judge, counted, (pairs.unwrap_or(PAIRS), seed ^ SEED))?;
                let judged = if later { None } else { Some(drawing.draw(model, 0, context)?) };
                let prompts = drawing.prompts().cloned();
                Ok(Self { by, judged, prompts, drawing: Some(drawing) })
            }
            Preference::People(file) => {
                if let Way::Rwr(_) = request.asked.way {
                    return Err(Error::Usage(
                        "align rwr weighs each sample by a reward, and a pair file compares two: train a reward on it first \
                         (rectiflow reward train --pairs), or align by dpo"
                            .into(),
                    ));
                }
                let people = People::read(file, (&model.subject, true), seed, context)?;
                let weights = weights(counted, &people.candidates.scores.axes)?;
                let verdicts = people.preferred(&weights);
                people.note_unread((&model.subject, model.words.is_some()), context);
                let (by, mut candidates) = (people.label(), people.candidates);
                let prompts = model.words.as_ref().map(|words| {
                    let (prompts, numbers) = Prompts::of(words, &people.prompts);
                    candidates.drawn.classes = numbers;
                    prompts
                });
                let judged = Judged { candidates, rewards: Vec::new(), verdicts };
                Ok(Self { by, judged: Some(judged), prompts, drawing: None })
            }
        }
    }
}
