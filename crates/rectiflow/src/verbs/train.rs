//! `train`: the first stage of a recipe's task.

use crate::{
    Context, Error, Recipe,
    release::{Beneath, beneath},
    released::adapter,
    stage::{
        Beginning, Job, Stream, Terms,
        task::{self, Opened, Survey},
    },
    words::{Words, captions},
};
use data::{Loader, LoaderConfig};
use nets::NetConfig;
use std::path::Path;

pub use crate::stage::{Resume, TrainReport, place};

/// Trains a base model.
///
/// ```no_run
/// use rectiflow::{Context, Recipe, verbs::train};
/// let recipe = Recipe::parse("[train]\nimages = 20000\n", "example")?;
/// let report = train::train(&recipe, "runs/example".as_ref(), None, &mut Context::silent())?;
/// println!("{} images, {}", report.images, report.checkpoint.display());
/// # Ok::<(), rectiflow::Error>(())
/// ```
///
/// # Errors
/// A recipe, data or folder that cannot be used, numbers that run away, a full disk: each says what to do.
pub fn train(
    recipe: &Recipe,
    folder: &Path,
    resume: Option<Resume>,
    context: &mut Context,
) -> Result<TrainReport, Error> {
    check(recipe)?;
    let beneath = begun(recipe, folder, resume.as_ref(), context)?;
    let report = with_job(recipe, beneath, folder, resume, context, |job, context| job.run(context))?;
    if context.leads() {
        adapter::hand_over(folder, context)?;
    }
    Ok(report)
}

/// Makes every check that [`train`] makes before its first step, and changes nothing; of a released model, without encoding anything.
///
/// # Errors
/// Those of [`train`].
pub fn rehearse(recipe: &Recipe, folder: &Path, resume: Option<Resume>, context: &mut Context) -> Result<(), Error> {
    check(recipe)?;
    match begun(recipe, folder, resume.as_ref(), context)? {
        Some(_) => Ok(()),
        None => with_job(recipe, None, folder, resume, context, |job, context| job.check(context).map(drop)),
    }
}

/// The released model that training starts from, after all that can be refused was; pictures and captions, which take hours to encode, are
/// looked at and left. `None` where it starts from none.
fn begun(
    recipe: &Recipe,
    folder: &Path,
    resume: Option<&Resume>,
    context: &mut Context,
) -> Result<Option<Beneath>, Error> {
    if recipe.from.is_none() {
        return Ok(None);
    }
    if context.leads() {
        place(folder, resume)?;
    }
    let Survey { shape, pictures, .. } = task::of(&recipe.task).survey(recipe, context)?;
    Words::of(recipe)?;
    if let Some(pictures) = &pictures {
        captions(&**pictures)?;
        let (batch, seed) = (recipe.train.micro_batch(), recipe.seed);
        Loader::new(pictures.clone(), &LoaderConfig { batch, seed, ..LoaderConfig::default() }, 0)?;
    }
    let drawn = Some(pictures.as_ref().map_or(shape, |pictures| pictures.shape()));
    let beneath = beneath(recipe, shape, &context.device.device)?;
    let (start, classes) = (None, 0); // asked in words
    let (begin, rendered) = (None, 0); // of runs
    Terms { recipe, shape, classes, drawn, start, begin, beneath: beneath.as_ref(), rendered, folder, resume }
        .check(context)?;
    Ok(beneath)
}

fn with_job<T>(
    recipe: &Recipe,
    beneath: Option<Beneath>,
    folder: &Path,
    resume: Option<Resume>,
    context: &mut Context,
    then: impl FnOnce(Job, &mut Context) -> Result<T, Error>,
) -> Result<T, Error> {
    let begin = Beginning::of(recipe, folder, resume.as_ref(), context)?;
    let opened = task::of(&recipe.task).open(recipe, folder, context)?;
    let Opened { subject, stream, premetric, gauge, rendering, words, codec, asked } = opened;
    let Stream { mut source, validation, data } = stream;
    let plain = Job::new(recipe, subject, &mut *source, folder, resume);
    let data = Some(data);
    then(Job { validation, begin, beneath, premetric, gauge, rendering, words, codec, asked, data, ..plain }, context)
}

/// Refuses recipes that `train` cannot follow.
///
/// # Errors
/// [`Error::Usage`].
pub fn check(recipe: &Recipe) -> Result<(), Error> {
    recipe.check()?;
    if recipe.needs_pairs() {
        let remedy = "use the verb `reflow` or `distill`";
        return Err(Error::Usage(format!(
            "`coupling = {{ type = \"{}\" }}` trains on a teacher's pairs: {remedy}",
            recipe.coupling.name()
        )));
    }
    if recipe.target.needs_teacher() {
        let name = recipe.target.name();
        return Err(Error::Usage(format!(
            "`target = {{ type = \"{name}\" }}` follows a teacher: use the verb `distill`"
        )));
    }
    if recipe.lora.is_some() && recipe.from.is_none() && recipe.init.is_none() {
        return Err(Error::Usage(
            "`lora` corrects weights that are there, and `train` starts from none: name a released model by --from or a run by --init, \
             or use the verb `reflow` or `distill`"
                .into(),
        ));
    }
    if matches!(recipe.network, NetConfig::Released(_)) && recipe.from.is_none() {
        return Err(Error::Usage(
            "`network = { type = \"released\" }` is trained from a released model's weights: name it by --from".into(),
        ));
    }
    Ok(())
}
