//! A first stage that begins at the weights of another run: the next of a curriculum, other data, experts in the place of perceptrons.

use crate::{Error, Model, Recipe, context::Context, model::which, release::is_released};
use base::Shape;
use nets::{Net, NetConfig};

/// The network of `recipe` for samples of `shape` in `classes` classes as the run that `recipe.init` names leaves it; `None` where it
/// names none, and where weights come from elsewhere: a run that goes on has its own, ranks are given those of rank 0. Experts begin as
/// copies of the perceptrons in whose place they stand.
///
/// # Errors
/// A run that cannot be opened; one whose weights mean something else than this recipe's.
pub(crate) fn begun(
    recipe: &Recipe,
    shape: Shape,
    classes: usize,
    context: &Context,
    resumed: bool,
) -> Result<Option<Net>, Error> {
    let Some(place) = recipe.init.as_ref().filter(|_| context.leads() && !resumed) else { return Ok(None) };
    if is_released(place) {
        let place = place.display();
        return Err(Error::Usage(format!(
            "init = \"{place}\": a released model, not a run; start from it by --from {place}"
        )));
    }
    let model = Model::of_any(place, which(None)?, &context.device)?;
    let refuse = |what: String| Err(Error::Usage(format!("init: {} {what}", model.file.display())));
    let theirs = &model.recipe;
    let says = |recipe: &Recipe| (recipe.path.clone(), recipe.parameterization, recipe.native.clone());
    if says(theirs) != says(recipe) {
        return refuse("was trained on another path, or says something else of it: take over its `path`, `parameterization` and `native`".into());
    }
    let (own, known) = (recipe.rows(classes), model.subject.classes.len());
    if own != known {
        return refuse(format!(
            "knows {known} classes and these data have {own}: a row of its table would mean another class"
        ));
    }
    // A set may have another number of vectors: nothing in its network knows how many.
    let sets = matches!(recipe.network, NetConfig::SetTransformer(_));
    let there = model.subject.shape;
    if there != shape && !(sets && there.lengths().last() == shape.lengths().last()) {
        return refuse(format!("moves samples of shape {there} and this one {shape}"));
    }
    let (how, device) = ((recipe.seed, own, shape), &context.device.device);
    match recipe.network.beginning_as((&theirs.network, &model.net), how, device)? {
        Some(net) => Ok(Some(net)),
        None => refuse(format!(
            "has another network ({}): only `experts`, `condition.reach` and their settings may be added to it",
            theirs.network.name()
        )),
    }
}
