//! A first stage that begins at the weights of another run: other data, experts in the place of perceptrons.

use crate::{
    Error, Model, Recipe,
    context::Context,
    model::{Subject, which},
    release::is_released,
    runs::{Resume, starting_point},
};
use base::Device;
use nets::Net;
use std::path::{Path, PathBuf};

/// The run whose weights a stage begins at, opened and compared with what a recipe says before anything is read or encoded.
pub(crate) struct Beginning(Model);

impl Beginning {
    /// What `recipe.init` names; `None` where it names nothing, and where weights come from elsewhere: a run in `folder` that goes on has its own,
    /// ranks are given those of rank 0.
    ///
    /// # Errors
    /// A run that cannot be opened; one whose weights mean something else than this recipe's.
    pub fn of(
        recipe: &Recipe,
        folder: &Path,
        resume: Option<&Resume>,
        context: &Context,
    ) -> Result<Option<Self>, Error> {
        let Some(place) = recipe.init.as_ref().filter(|_| context.leads()) else { return Ok(None) };
        if starting_point(folder, resume)?.is_some() {
            return Ok(None);
        }
        if is_released(place) {
            let place = place.display();
            return Err(Error::Usage(format!(
                "init = \"{place}\": a released model, not a run; start from it by --from {place}"
            )));
        }
        let begin = Self(Model::of_any(place, which(None)?, &context.device)?);
        begin.check(recipe).map(|()| Some(begin))
    }

    fn refuse<T>(&self, what: &str) -> Result<T, Error> {
        Err(Error::Usage(format!("init: {} {what}", self.0.file.display())))
    }

    /// What is known of both without data.
    fn check(&self, recipe: &Recipe) -> Result<(), Error> {
        let theirs = &self.0.recipe;
        let says = |recipe: &Recipe| (recipe.path.clone(), recipe.parameterization, recipe.native.clone());
        if says(theirs) != says(recipe) {
            return self.refuse(
                "was trained on another path, or says something else of it: take over its `path`, `parameterization` and `native`",
            );
        }
        if !recipe.network.begins_at(&theirs.network) {
            return self.refuse(&format!(
                "has another network ({}): only `experts`, `condition.reach` and their settings may be added to it",
                theirs.network.name()
            ));
        }
        let [own, known] = [recipe, theirs].map(reader);
        if own != known {
            return self.refuse(&format!(
                "has prompts read by {} and this recipe by {}: tokens would mean something else; take over its `task.text`",
                told(known),
                told(own)
            ));
        }
        Ok(())
    }

    /// The network of `recipe` as that run leaves it. Experts begin as copies of the perceptrons in whose place they stand.
    ///
    /// # Errors
    /// A run whose weights mean other latents, classes or pictures than those of `subject`.
    pub fn net(&self, recipe: &Recipe, subject: &Subject, device: &Device) -> Result<Net, Error> {
        let theirs = &self.0.subject;
        let codec = |recipe: &Recipe, identity: &Option<String>| match (recipe.task.codec(), identity) {
            (Some(place), Some(identity)) => format!("latents of {} ({identity})", place.display()),
            (None, Some(identity)) => format!("latents of a codec ({identity})"),
            (_, None) => "samples as they are".into(),
        };
        if theirs.codec != subject.codec {
            return self.refuse(&format!(
                "moves {} and this recipe {}: its weights mean nothing there; name the codec it was trained under by `task.codec`",
                codec(&self.0.recipe, &theirs.codec),
                codec(recipe, &subject.codec)
            ));
        }
        if theirs.shape != subject.shape {
            return self.refuse(&format!("moves samples of shape {} and this one {}", theirs.shape, subject.shape));
        }
        let (own, known) = (&subject.classes, &theirs.classes);
        if own.len() != known.len() {
            return self.refuse(&format!(
                "knows {} classes and these data have {}: a row of its table would mean another class",
                known.len(),
                own.len()
            ));
        }
        if let Some((own, known)) = own.iter().zip(known).find(|(own, known)| own != known) {
            return self.refuse(&format!(
                "knows a class `{known}` where these data have `{own}`: a row of its table would mean another class; give the same in its order"
            ));
        }
        theirs.check_encoder(subject.encoder.as_deref(), &self.0.file)?;
        let how = (recipe.seed, recipe.rows(own.len()), subject.shape);
        let begun = recipe.network.beginning_as((&self.0.recipe.network, &self.0.net), how, device)?;
        begun.map_or_else(|| self.refuse("has another network"), Ok)
    }
}

/// Who reads prompts, where somebody does; the same folder by whatever way it is named.
fn reader(recipe: &Recipe) -> Option<(String, Option<PathBuf>)> {
    let text = recipe.task.text()?;
    let place = |place: &PathBuf| place.canonicalize().unwrap_or_else(|_| place.clone());
    Some((text.encoder.clone(), text.model.as_ref().map(place)))
}

fn told(reader: Option<(String, Option<PathBuf>)>) -> String {
    match reader {
        None => "nobody".into(),
        Some((encoder, None)) => format!("`{encoder}`"),
        Some((encoder, Some(place))) => format!("`{encoder}` ({})", place.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Generate, TaskConfig, TextConfig};

    /// One reader is another by its encoder or its folder, not by the way that folder is named. Mutants: the name compared as it stands; the
    /// folder left out; a recipe without text like one with.
    #[test]
    fn readers_of_prompts_are_told_apart() {
        let place = tempfile::tempdir().unwrap();
        let of = |text: Option<TextConfig>| {
            let task = TaskConfig::Generate(Generate { text, ..Generate::default() });
            reader(&Recipe { task, ..Recipe::default() })
        };
        let released = |model: PathBuf| {
            of(Some(TextConfig { encoder: TextConfig::RELEASED.into(), model: Some(model), ..TextConfig::default() }))
        };
        let own = released(place.path().into());
        assert_eq!(released(place.path().join(".")), own);
        std::fs::create_dir(place.path().join("other")).unwrap();
        for other in [released(place.path().join("other")), of(Some(TextConfig::default())), of(None)] {
            assert!(other != own && told(other.clone()) != told(own.clone()), "{other:?}");
        }
        assert_eq!(of(Some(TextConfig { length: 9, ..TextConfig::default() })), of(Some(TextConfig::default())));
    }
}
