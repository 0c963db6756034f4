//! From one data set to another: both streams side by side. The network is told no class: a sample keeps what it shows.

use super::{Opened, Survey, Trains, generate};
use crate::{Context, Error, Recipe, facts, recipe::Transfer};
use serde_json::Value;
use std::path::Path;

impl Trains for Transfer {
    fn open(&self, recipe: &Recipe, folder: &Path, context: &mut Context) -> Result<Opened, Error> {
        generate::open(recipe, Some(folder), context)
    }

    fn survey(&self, recipe: &Recipe, context: &mut Context) -> Result<Survey, Error> {
        Ok(Survey { classes: 0, ..generate::survey(recipe, context)? })
    }

    fn facts(&self, recipe: &Recipe) -> Result<Value, Error> {
        facts::dataset(&recipe.data)
    }
}
