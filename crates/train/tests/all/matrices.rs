//! Muon in a run: it keeps one moment of what it moves, continues to the bit, and its checkpoints are not AdamW's.

use crate::testing;

use base::Device;
use burn::module::Module;
use nets::{MlpConfig, Net, NetConfig};
use std::path::Path;
use testing::{TinySource, TinyTask};
use train::checkpoint::{Checkpoint, CheckpointConfig, Folder};
use train::optim::{MatrixRule, OptimConfig};
use train::{Outcome, Setup, Source, TrainConfig, TrainError};

fn config(matrices: MatrixRule) -> TrainConfig {
    let checkpoint = CheckpointConfig { every: 80, keep_last: 0 };
    let optim = OptimConfig { matrices, ..OptimConfig::default() };
    TrainConfig { images: 160, batch: 8, sample_every: 0, checkpoint, optim, ..TrainConfig::default() }
}

fn run(folder: &Path, config: &TrainConfig, width: usize, resume: bool) -> Result<Outcome<Net>, TrainError> {
    let task = TinyTask { seed: 3 };
    let mut source = TinySource::new(config.micro_batch());
    let validation = TinySource::new(4).next()?;
    let folder = Folder::create(folder)?;
    let setup = Setup {
        validation: Some(&validation),
        checkpoints: Some(folder.clone()),
        ranks: None,
        ..Setup::new(config, &task, &mut source)
    };
    let net = NetConfig::Mlp(MlpConfig { width, depth: 2, ..MlpConfig::default() });
    let net = net.init(if resume { 9 } else { 1 }, [1, 2, 2], 10, &Device::flex()).unwrap();
    match folder.latest()?.filter(|_| resume) {
        Some(found) => train::resume(net.train(), found.checkpoint, setup, &mut ()),
        None => train::train(net.train(), setup, &mut ()),
    }
}

/// Mutants: the momentum not restored; second moments kept for what Muon moves; the other rule's checkpoint taken.
#[test]
fn a_run_with_muon_continues_to_the_bit_and_not_with_another_rule() {
    let (whole, part) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let [adamw, muon] = [MatrixRule::default(), MatrixRule::muon()].map(config);
    let outcome = run(whole.path(), &muon, 24, false).unwrap();
    let last = Checkpoint::open(Folder::at(whole.path()).file(160)).unwrap();
    let moved = outcome.state.infos().iter().filter(|info| info.is_map && info.shape.iter().all(|side| *side >= 16));
    let (first, second) = (last.infos("adam.m.").len(), last.infos("adam.v.").len());
    let moved = moved.count();
    assert!(moved > 0 && second + moved == first, "{first} {second} {moved}");

    let name = "000000000080.safetensors";
    std::fs::copy(whole.path().join(name), part.path().join(name)).unwrap();
    let refused = run(part.path(), &adamw, 24, true).unwrap_err().to_string();
    assert!(refused.contains("optim.matrices.type muon, but adamw is asked for"), "{refused}");
    run(part.path(), &muon, 24, true).unwrap();
    let bytes = |folder: &Path| std::fs::read(Folder::at(folder).file(160)).unwrap();
    assert!(bytes(whole.path()) == bytes(part.path()));

    let narrow = tempfile::tempdir().unwrap();
    let refused = run(narrow.path(), &muon, 8, false).unwrap_err().to_string();
    assert!(refused.contains("this run trains none"), "{refused}");
}
