//! Corrections of low rank in a run: what learns is averaged, stored and resumed; what does not is stored once.

use crate::testing;

use base::Device;
use burn::module::Module;
use nets::{LoraConfig, MlpConfig, Net, NetConfig, lora, weights::named_tensors};
use std::path::Path;
use testing::{TinySource, TinyTask};
use train::checkpoint::{Blob, Checkpoint, CheckpointConfig, FROZEN, Folder, Which, load_weights};
use train::params::{self, Info};
use train::{Outcome, Setup, Source, TrainConfig, TrainError};

fn config() -> TrainConfig {
    let checkpoint = CheckpointConfig { every: 80, keep_last: 0 };
    TrainConfig { images: 160, batch: 8, sample_every: 0, checkpoint, ..TrainConfig::default() }
}

/// A network, and the same with corrections.
fn networks(seed: u64) -> [Net; 2] {
    let device = Device::flex();
    let config = NetConfig::Mlp(MlpConfig { width: 24, depth: 2, ..MlpConfig::default() });
    let net = config.init(seed, [1, 2, 2], 10, &device).unwrap();
    [net.clone(), LoraConfig { rank: 2, alpha: 1.0, ..LoraConfig::default() }.init(net, 5, &device).unwrap()]
}

fn run(folder: &Path, net: Net, resume: bool) -> Result<Outcome<Net>, TrainError> {
    let (config, task) = (config(), TinyTask { seed: 3 });
    let mut source = TinySource::new(config.micro_batch());
    let validation = TinySource::new(4).next()?;
    let folder = Folder::create(folder)?;
    let setup = Setup {
        validation: Some(&validation),
        checkpoints: Some(folder.clone()),
        ranks: None,
        ..Setup::new(&config, &task, &mut source)
    };
    match folder.latest()?.filter(|_| resume) {
        Some(found) => train::resume(net.train(), found.checkpoint, setup, &mut ()),
        None => train::train(net.train(), setup, &mut ()),
    }
}

#[test]
fn a_checkpoint_holds_what_learns_and_the_rest_lies_beside_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let [net, corrected] = networks(1);
    let outcome = run(folder.path(), corrected.clone(), false).unwrap();
    let factors: Vec<String> = params::infos(&corrected).into_iter().map(|info| info.name).collect();
    assert!(factors.iter().all(|name| name.ends_with(".lora.a") || name.ends_with(".lora.b")), "{factors:?}");
    let numbers = |net: &Net| named_tensors(net).iter().map(|(_, _, values)| values.len()).sum::<usize>();
    assert_eq!(outcome.state.parameters() as usize, numbers(&corrected) - numbers(&net));
    assert_eq!(outcome.state.moments.m.len(), factors.len());
    let files = Folder::at(folder.path());
    let last = Checkpoint::open(files.file(160)).unwrap();
    assert_eq!(last.infos("").len(), 4 * factors.len(), "raw, two moments, one average");
    let beneath = Checkpoint::open(folder.path().join(FROZEN)).unwrap();
    assert_eq!(beneath.infos("frozen.").len(), named_tensors(&net).len());
    // Read back into a network with other weights it is the trained one, merged or not.
    let read = load_weights(networks(7)[1].clone(), &last, Which::Best).unwrap();
    let sampler = outcome.state.sampler();
    assert_eq!(named_tensors(&read), named_tensors(&sampler));
    let (merged, before) = (named_tensors(&lora::merged(read)), named_tensors(&net));
    let moved = merged.iter().zip(&before).filter(|(a, b)| a != b).count();
    assert_eq!(moved, factors.len() / 2, "every corrected weight moves, nothing else");
}

#[test]
fn a_resumed_run_ends_with_the_same_bytes() {
    let (whole, part) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(whole.path(), networks(1)[1].clone(), false).unwrap();
    for name in ["000000000080.safetensors", FROZEN] {
        std::fs::copy(whole.path().join(name), part.path().join(name)).unwrap();
    }
    // The frozen weights come from the run's file, whatever the network was begun with.
    run(part.path(), networks(9)[1].clone(), true).unwrap();
    for name in ["000000000160.safetensors", FROZEN] {
        let bytes = |folder: &Path| std::fs::read(folder.join(name)).unwrap();
        assert!(bytes(whole.path()) == bytes(part.path()), "{name}");
    }
}

#[test]
fn corrections_without_their_weights_say_so() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(one.path(), networks(1)[1].clone(), false).unwrap();
    run(other.path(), networks(2)[1].clone(), false).unwrap();
    let last = || Checkpoint::open(Folder::at(one.path()).file(160)).unwrap();
    let said = || load_weights(networks(1)[1].clone(), &last(), Which::Best).unwrap_err().to_string();
    std::fs::copy(other.path().join(FROZEN), one.path().join(FROZEN)).unwrap();
    assert!(said().contains("has the checksum"), "{}", said());
    std::fs::remove_file(one.path().join(FROZEN)).unwrap();
    assert!(said().contains("keep the two files in one folder") && said().contains("No such file"), "{}", said());
    let error = run(one.path(), networks(1)[1].clone(), true).unwrap_err().to_string();
    assert!(error.contains("keep the two files in one folder"), "{error}");
}

/// Corrections stood beside the network once; such files are opened, and not continued.
#[test]
fn the_older_layout_opens() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = run(folder.path(), networks(1)[1].clone(), false).unwrap();
    let sampler = outcome.state.sampler();
    let files = Folder::at(folder.path());
    let meta = Checkpoint::open(files.file(160)).unwrap().meta().clone();
    let mut factor = 0;
    let older = named_tensors(&sampler).into_iter().map(|(name, shape, values)| {
        let name = match name.rsplit_once(".lora.") {
            None => format!("raw.base.{name}"),
            Some((_, which)) => {
                factor += 1;
                format!("raw.factors.{}.{which}", (factor - 1) / 2)
            }
        };
        let len = values.len();
        Blob { info: Info::new(name, shape), data: base::TensorData::new(values, [len]) }
    });
    let blobs: Vec<Blob> = older.collect();
    let meta = train::checkpoint::Meta { images: 240, ema: Vec::new(), frozen: None, ..meta };
    let path = files.save(&meta, &blobs, 0).unwrap();
    let opened = load_weights(networks(3)[1].clone(), &Checkpoint::open(&path).unwrap(), Which::Best).unwrap();
    assert_eq!(named_tensors(&opened), named_tensors(&sampler));
    let error = run(folder.path(), networks(3)[1].clone(), true).unwrap_err().to_string();
    assert!(error.contains("but not continued"), "{error}");
}
