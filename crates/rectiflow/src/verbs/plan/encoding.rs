//! What a run encodes once: its samples through a codec, before the first step; its captions, then or as they are met. A few of each are encoded
//! to know what one takes; the memory of that is in what the process reached.

use crate::{
    Context, Error, Recipe,
    codec::{Codec, encoded, together, unencoded},
    words::{Words, captions},
};
use data::Dataset;
use serde::Serialize;
use std::time::Instant;

/// Seconds after which one measurement is enough.
const LONG: f64 = 5.0;

/// What has to be encoded once, and is kept for later runs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct EncodingPlan {
    /// Samples whose latents are not kept yet.
    pub samples: usize,
    /// Captions that were not read yet, the empty one among them where it is read.
    pub captions: usize,
    /// Seconds of both.
    pub seconds: f64,
}

/// Of the samples of `recipe`; nothing where all is kept, or nothing is encoded.
///
/// # Errors
/// What encoding says.
pub(super) fn of(recipe: &Recipe, dataset: &dyn Dataset, context: &mut Context) -> Result<Option<EncodingPlan>, Error> {
    let mut plan = EncodingPlan { samples: 0, captions: 0, seconds: 0.0 };
    if let Some(codec) = Codec::of(recipe, None, &context.device)? {
        plan.samples = unencoded(dataset, &codec);
        if plan.samples > 0 {
            let each = per_piece(|| encoded(dataset, &codec, together(&codec), context).map(|rows| rows.len()))?;
            plan.seconds += each * (plan.samples * codec.latent.numel()) as f64;
        }
    }
    if let Some(words) = Words::of(recipe)? {
        let texts = captions(dataset)?;
        let missing = words.unread(&texts);
        plan.captions = missing.len();
        // Those that are measured are kept, so that others are measured the second time.
        let mut left = missing.iter().map(|text| (*text).to_owned());
        let mut count = 1;
        if plan.captions > 0 {
            let each = per_piece(|| {
                let some: Vec<String> = left.by_ref().take(count).collect();
                count = words.together();
                let new = words.unread(&some).len();
                words.meet(&some, context).map(|()| new)
            })?;
            plan.seconds += each * plan.captions as f64;
        }
    }
    Ok((plan.samples + plan.captions > 0).then_some(plan))
}

/// Seconds of one of the pieces that `work` says it has done: the second time it is asked, when all is allocated; the first where that takes
/// long or the second does nothing.
fn per_piece(mut work: impl FnMut() -> Result<usize, Error>) -> Result<f64, Error> {
    let mut timed = || -> Result<(f64, usize), Error> {
        let began = Instant::now();
        let done = work()?;
        Ok((began.elapsed().as_secs_f64(), done))
    };
    let (seconds, done) = timed()?;
    let first = seconds / done.max(1) as f64;
    if seconds > LONG {
        return Ok(first);
    }
    match timed()? {
        (_, 0) => Ok(first),
        (seconds, done) => Ok(seconds / done as f64),
    }
}
