//! Two networks on one path: only `toy` trains both and reads them together.

use super::{Opened, Survey, Trains, generate};
use crate::{Context, Error, Recipe, facts, recipe::Joint};
use serde_json::Value;
use std::path::Path;

impl Trains for Joint {
    fn open(&self, _: &Recipe, _: &Path, _: &mut Context) -> Result<Opened, Error> {
        let why = "task `joint` trains two networks to be read together, which only the verb `toy` does";
        Err(Error::Usage(why.into()))
    }

    fn survey(&self, recipe: &Recipe, context: &mut Context) -> Result<Survey, Error> {
        generate::survey(recipe, context)
    }

    fn facts(&self, recipe: &Recipe) -> Result<Value, Error> {
        facts::dataset(&recipe.data)
    }
}
