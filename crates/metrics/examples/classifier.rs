//! Trains the classifier of Fashion-MNIST from its four idx files (decompressed) in a directory:
//! `cargo run --release -p rectiflow-metrics --example classifier -- DIRECTORY OUT.safetensors [EPOCHS]`.

use metrics::classifier::{ClassifierConfig, Labelled, Progress, train};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

const CLASSES: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, out, rest @ ..] = &arguments[..] else {
        return Err("usage: classifier DIRECTORY OUT.safetensors [EPOCHS]".into());
    };
    let mut config = ClassifierConfig::default();
    if let Some(epochs) = rest.first() {
        config.epochs = epochs.parse()?;
    }
    let directory = PathBuf::from(directory);
    let (data, test) = (read(&directory, "train")?, read(&directory, "t10k")?);
    let mut report = |p: &Progress| {
        if p.accuracy.is_some() || (p.seen / config.batch) % 50 == 1 {
            let rate = p.seen as f64 / p.seconds;
            println!(
                "{}/{} images, loss {:.4}, {rate:.0} images/s, test accuracy {:?}",
                p.seen, p.total, p.loss, p.accuracy
            );
        }
        ControlFlow::Continue(())
    };
    let classifier = train(&config, &data, Some(&test), &base::Device::flex(), &mut report)?;
    classifier.save(Path::new(out))?;
    Ok(())
}

/// The images and labels of one split, whose headers are 16 and 8 bytes.
fn read(directory: &Path, split: &str) -> Result<Labelled, Box<dyn std::error::Error>> {
    let load = |kind: &str, header: usize| -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let path = directory.join(format!("{split}-{kind}-ubyte"));
        let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(bytes.get(header..).ok_or("truncated idx file")?.to_vec())
    };
    Ok(Labelled {
        pixels: load("images-idx3", 16)?,
        labels: load("labels-idx1", 8)?.into_iter().map(u32::from).collect(),
        input: [1, 28, 28],
        classes: CLASSES.map(String::from).to_vec(),
    })
}
