//! Trains on a folder of your own images: `cargo run --release --example train_folder -- FOLDER [SIZE] [IMAGES]`.
//!
//! Folders inside FOLDER become classes. Without arguments it trains for a moment on the embedded Fashion-MNIST.

use rectiflow::{Context, Error, Event, TrainEvent, recipe::Layers, verbs};
use std::{env, path::Path};

fn main() -> Result<(), Error> {
    let mut arguments = env::args().skip(1);
    let (folder, size, images) = (arguments.next(), arguments.next(), arguments.next());

    // A recipe says everything; what it does not say is the house default.
    let mut recipe = Layers::new().text(
        "name = \"own-images\"
         seed = 3
         [network]
         type = \"unet\"
         channels = 32
         patch = 2
         [train]
         batch = 16
         validate_every = 0
         optim = { lr = 2e-3 }",
        "the example's recipe",
    )?;
    if let Some(folder) = folder {
        recipe = recipe.data(&folder)?.set(&format!("data.size={}", size.as_deref().unwrap_or("32")))?;
    }
    recipe = recipe.set(&format!("train.images={}", images.as_deref().unwrap_or("640")))?;
    let recipe = recipe.build()?;

    let mut context = Context::new(rectiflow::device::choose("cpu")?, Default::default(), |event| {
        if let Event::Train(TrainEvent::Log(log)) = event {
            println!("{:>8} images  loss {:.4}  {:.0} images/s", log.images, log.loss, log.images_per_second);
        }
    });
    let run = env::temp_dir().join("rectiflow-own-images");
    if run.exists() {
        std::fs::remove_dir_all(&run).map_err(|error| Error::Failure(format!("{}: {error}", run.display())))?;
    }
    let report = verbs::train::train(&recipe, Path::new(&run), None, &mut context)?;
    println!("checkpoint: {}", report.checkpoint.display());
    println!("next: rectiflow sample {} -o samples.png", run.display());
    Ok(())
}
