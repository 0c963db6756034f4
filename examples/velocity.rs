//! The velocity of a trained model at points of your own: `cargo run --release --example velocity -- RUN`.
//!
//! Without arguments it trains a tiny network on Fashion-MNIST first.

use rectiflow::{
    Context, Error, Model, Recipe,
    base::{Condition, Tensor, Times},
    flow::Field,
    verbs,
};
use std::{env, path::PathBuf};

fn main() -> Result<(), Error> {
    let mut context = Context::silent();
    let run = match env::args().nth(1) {
        Some(run) => PathBuf::from(run),
        None => tiny(&mut context)?,
    };
    let model = Model::open(&run, Default::default(), &context.device)?;
    // No guidance, products in f32. A field is a function of points, times and conditions, and knows nothing of steps.
    let field = model.field(&Default::default(), Default::default())?;

    let n = model.subject.shape.numel();
    let x = Tensor::<2>::ones([3, n], &context.device.device);
    for t in [0.0, 0.5, 0.9] {
        let v = field.velocity(x.clone(), &Times::all(t, 3), &Condition::none());
        let size: f32 = v.clone().powf_scalar(2.0).sum_dim(1).sqrt().mean().into_scalar();
        println!("t = {t}: |v| = {size:.3} at a white image");
        // Where the straight line from here would end: the data point that the network expects.
        let end = x.clone() + v * (1.0 - t);
        let brightness: f32 = end.mean().into_scalar();
        println!("          the line from there ends at a mean brightness of {brightness:.2}");
    }
    Ok(())
}

/// A network of a few thousand numbers that has seen a few hundred images.
fn tiny(context: &mut Context) -> Result<PathBuf, Error> {
    let recipe = Recipe::parse(
        "network = { type = \"unet\", channels = 8, patch = 2 }
         train = { images = 320, batch = 16, validate_every = 0, sample_every = 0 }",
        "the example's recipe",
    )?;
    let run = env::temp_dir().join(format!("rectiflow-velocity-{}", std::process::id()));
    verbs::train::train(&recipe, &run, None, context)?;
    Ok(run)
}
