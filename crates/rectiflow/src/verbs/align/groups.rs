//! Flow-GRPO: the model draws groups of samples as it learns.

use super::{AlignReport, AlignRequest, Preference, corrected, stage};
use crate::{
    Context, Error, Model, Recipe,
    align::{
        Judge,
        grpo::{GroupSource, GroupTask},
        judge::weights,
    },
    stage::Lineage,
};
use methods::align::GrpoConfig;

/// Aligns by it.
///
/// # Errors
/// What it does not go with: pairs, people, prompts, paths without a score; those of training.
pub(super) fn by_groups(
    config: &GrpoConfig,
    request: &AlignRequest<'_>,
    recipe: &Recipe,
    model: Model,
    context: &mut Context,
) -> Result<AlignReport, Error> {
    let refuse = |why: String| Err(Error::Usage(why));
    let judge = match &request.asked.preference {
        Preference::Judge { online_every: Some(_), .. } => {
            return refuse(
                "--online-every: align grpo draws new samples for every gradient as it is; leave it out".into(),
            );
        }
        Preference::Judge { judge, pairs: None, .. } => Judge::parse(judge, &model, &context.device)?,
        Preference::Judge { .. } => {
            return refuse(
                "--num: align grpo draws samples as it learns, train.images of them; leave --num out".into(),
            );
        }
        Preference::People(_) => {
            return refuse(
                "align grpo draws new samples, which nobody compared: train a reward on the pair file first (rectiflow reward train \
                 --pairs)"
                    .into(),
            );
        }
    };
    if model.words.is_some() {
        return refuse(format!(
            "align grpo: {} reads prompts, and groups are of one class so far; align it by dpo, rwr or sft",
            model.file.display()
        ));
    }
    if !recipe.pairs_are_independent() || model.recipe.path.has_latent() {
        return refuse(format!(
            "align grpo: {} does not start from noise of its own on a one-sided path, so that its score, which noise on the way \
             needs, is not known",
            model.file.display()
        ));
    }
    let weights = weights(request.asked.weights.as_deref(), &judge.axes())?;
    let (batch, part) = (recipe.train.batch as u64, recipe.train.micro_batch() as u64);
    let group = config.group as u64;
    if !part.is_multiple_of(group) {
        return refuse(format!("--batch-size: {part} samples at a time are no whole groups of grpo.group = {group}"));
    }
    let net = corrected(recipe, &model, context)?;
    let lineage = Lineage::here(Some(&model.file), None)?.asked(&request.asked);
    let stage = stage(request, recipe, &model);
    let (shape, by) = (model.subject.shape, judge.label());
    let mut source = GroupSource {
        group,
        classes: model.classes() as u64,
        batch: [batch, part],
        updates: config.updates as u64,
        next: 0,
    };
    let task = GroupTask::new((config.clone(), recipe.objective(), model.net), (&judge, weights), (shape, recipe.seed));
    let train = stage.run_after(Some(&lineage), net, &task, &mut source, context)?;
    Ok(AlignReport { judge: by, pairs: [0, 0], rounds: 0, train })
}
