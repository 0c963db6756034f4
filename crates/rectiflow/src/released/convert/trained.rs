//! A run that was trained from a released model, as that model with other weights: corrections of low rank are added into them.

use super::Release;
use crate::{
    Context, Error, Model,
    release::{is_released, sizes},
    released::part::Weights,
    runs,
};
use nets::weights::named_tensors;
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

/// The model that the run at `place` was trained from, and the run's weights under diffusers' names; `None` where `place` is no run.
///
/// # Errors
/// A run of another network, or whose model is gone.
pub(super) fn of(place: &Path, context: &mut Context) -> Result<Option<(Release, Weights)>, Error> {
    if is_released(place) || runs::find(place).is_err() {
        return Ok(None);
    }
    let run = Model::open(place, Default::default(), &context.device)?;
    // A student of all weights starts from none, and its latents are a released model's still.
    let Some(from) = run.recipe.from.as_deref().or(run.recipe.task.codec().filter(|place| is_released(place))) else {
        return Err(Error::Usage(format!(
            "{}: this run was not trained from a released model, so there is no layout for it; those of `train --from MODEL`, and students of a released model, have one",
            place.display()
        )));
    };
    let release = Release::open(from, None)?;
    let (part, _, _) = sizes(&release, &mut |_| ())?;
    let names = part.weights("diffusion_pytorch_model", |source| {
        let named = |name: String| source.shape(&name).map(|shape| (name, shape));
        Ok(source.names().into_iter().filter_map(named).collect::<Vec<_>>())
    })?;
    let mut own: HashMap<String, Vec<f32>> =
        named_tensors(&run.net).into_iter().map(|(name, _, values)| (name, values)).collect();
    let mut values = BTreeMap::new();
    for (name, shape) in names {
        let lost = || Error::Failure(format!("{}: it lacks `{name}` of {}", run.file.display(), from.display()));
        let numbers = own.remove(&nets::released::our_name(&name)).ok_or_else(lost)?;
        if numbers.len() != shape.iter().product::<usize>() {
            return Err(lost());
        }
        values.insert(name, (shape, numbers));
    }
    context.note(format!("the network of {}, everything else of {}", run.file.display(), from.display()));
    Ok(Some((release, Weights::Trained(values, run.file))))
}
