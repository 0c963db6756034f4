//! The whole chain on real images: embedded data, loader, optimal-transport coupling, U-Net with dropout, averages,
//! logs and checkpoints; interrupted and resumed to the same bytes.

use base::Device;
use data::{DataConfig, Dataset, LoaderConfig, gather, open};
use flow::{Coupling, Objective};
use nets::{NetConfig, UnetConfig};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use train::checkpoint::{CheckpointConfig, Folder};
use train::log::{EventFile, Stats, stats};
use train::{Batch, Event, FlowTask, Observer, RunDir, SampleSource, Setup, TrainConfig};

fn config() -> TrainConfig {
    TrainConfig {
        images: 96,
        batch: 16,
        accumulation: 2,
        log_every: 1,
        validate_every: 48,
        validation_times: vec![0.5],
        checkpoint: CheckpointConfig { every: 0, keep_last: 0 },
        ..TrainConfig::default()
    }
}

/// Trains in `run`, from its newest checkpoint if it has one, stopping once `stop_at` images are seen.
fn train(run: &RunDir, dataset: &Arc<dyn Dataset>, stop_at: u64) -> bool {
    let config = config();
    let folder = Folder::create(run.checkpoints()).unwrap();
    let found = folder.latest().unwrap();
    let images = found.as_ref().map_or(0, |f| f.checkpoint.meta().images);
    let loader = LoaderConfig { batch: config.micro_batch(), seed: 5, flip: true, ..LoaderConfig::default() };
    let mut source = SampleSource::new(dataset.clone(), loader);
    let validation = Batch::from(gather(&**dataset, &(0..16).collect::<Vec<_>>()).unwrap());
    let task = FlowTask {
        origin: train::Origin::Noise,
        objective: Objective::default(),
        coupling: Coupling::optimal_transport(),
        condition_dropout: 0.1,
        conditional: true,
        seed: 5,
    };
    let setup = Setup {
        config: &config,
        task: &task,
        source: &mut source,
        validation: Some(&validation),
        seed: 5,
        recipe: String::new(),
        extra: BTreeMap::new(),
        checkpoints: Some(folder),
        ranks: None,
        stop: Arc::new(AtomicBool::new(false)),
    };
    let net = UnetConfig { channels: 8, dropout: 0.1, ..UnetConfig::default() };
    let device = Device::flex().autodiff();
    let net = NetConfig::Unet(net).init(5, dataset.shape(), dataset.classes(), &device).unwrap();
    let stop = move |event: &Event<'_>| {
        let stop = matches!(event, Event::Log(log) if log.images >= stop_at);
        Ok(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    let mut observers: Vec<Box<dyn Observer>> = vec![
        Box::new(Stats::open(run.stats(), images).unwrap()),
        Box::new(EventFile::create(run.path()).unwrap()),
        Box::new(stop),
    ];
    let outcome = match found {
        Some(found) => train::resume(net, found.checkpoint, setup, &mut observers),
        None => train::train(net, setup, &mut observers),
    };
    outcome.unwrap().stopped
}

#[test]
fn images_train_a_network_and_an_interruption_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let dataset = open(&DataConfig { limit: Some(64), ..DataConfig::default() }).unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| RunDir::create(home.path().join(name)).unwrap());
    assert!(!train(&whole, &dataset, u64::MAX));
    // The second part begins in the middle of an epoch of 64 images, the third in the second epoch.
    assert!(train(&parts, &dataset, 48));
    assert!(train(&parts, &dataset, 80));
    assert!(!train(&parts, &dataset, u64::MAX));
    let read = |run: &RunDir| std::fs::read(Folder::at(run.checkpoints()).file(96)).unwrap();
    assert!(read(&whole) == read(&parts));
    let losses = |run: &RunDir| -> Vec<(u64, String)> {
        let lines = stats::read(&run.stats()).unwrap();
        let of = |l: &serde_json::Value| (l["images"].as_u64().unwrap(), l["loss"].to_string());
        lines.iter().filter(|l| l["kind"] == "log" || l["kind"] == "validation").map(of).collect()
    };
    assert_eq!(losses(&whole).len(), 6 + 2);
    assert_eq!(losses(&whole), losses(&parts));
}
