//! Draws samples from a checkpoint: `cargo run --release --example sample -- RUN [STEPS]`.
//!
//! Without arguments it trains a tiny network first, so that there is something to draw.

use rectiflow::media;
use rectiflow::{
    Context, Error, Model, Recipe,
    sampling::{Classes, draw},
    verbs,
};
use std::{env, path::PathBuf};

fn main() -> Result<(), Error> {
    let mut arguments = env::args().skip(1);
    let mut context = Context::silent();
    let run = match arguments.next() {
        Some(run) => PathBuf::from(run),
        None => tiny(&mut context)?,
    };
    let steps = arguments.next().and_then(|steps| steps.parse().ok()).unwrap_or(8);

    let model = Model::open(&run, Default::default(), &context.device)?;
    println!("{}: {} parameters, {} images seen", model.subject.stage, model.parameters, model.images);

    // Sample i is a function of the seed and i alone: ask for any range, in batches of any size.
    let config = rectiflow::recipe::SampleConfig { steps, ..model.recipe.sample.clone() };
    let drawn = draw(&model, &config, &Classes::all(&model)?, 42, 0..64, &mut context)?;
    println!("{} samples of {} evaluations each in {:.2} s", drawn.len(), drawn.nfe, drawn.seconds);

    let sheet = media::Grid { columns: 8, ..Default::default() }.draw(&drawn.images()?);
    let path = env::temp_dir().join("rectiflow-samples.png");
    media::png::save(&path, &sheet, &[("parameters", &format!("Steps: {steps}, Seed: 42"))])?;
    println!("{}", path.display());
    Ok(())
}

/// A network of a few thousand numbers that has seen a few hundred images.
fn tiny(context: &mut Context) -> Result<PathBuf, Error> {
    let recipe = "[network]
        type = \"unet\"
        channels = 8
        patch = 2
        [train]
        images = 320
        batch = 16
        validate_every = 0";
    let recipe = Recipe::parse(recipe, "the example's recipe")?;
    let run = env::temp_dir().join(format!("rectiflow-tiny-{}", std::process::id()));
    verbs::train::train(&recipe, &run, None, context)?;
    Ok(run)
}
