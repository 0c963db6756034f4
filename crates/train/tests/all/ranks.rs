//! Ranks that train together do what one process does, go on in another number, and end together.

use crate::testing::{TinyNet, TinySource, TinyTask};
use base::Device;
use data::Share;
use ranks::{Meeting, Place, Ranks};
use std::{
    net::TcpListener,
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex},
    thread,
};
use train::{
    Batch, Event, Outcome, Setup, Source, TrainConfig, TrainError,
    checkpoint::{CheckpointConfig, Folder},
    optim::OptimConfig,
};

const BATCH: usize = 16;
const STEPS: u64 = 200;

fn config() -> TrainConfig {
    TrainConfig {
        images: STEPS * BATCH as u64,
        batch: BATCH,
        log_every: 1,
        validate_every: 0,
        optim: OptimConfig { lr: 0.01, warmup: 80, clip: 0.5, ..OptimConfig::default() },
        checkpoint: CheckpointConfig { every: 0, keep_last: 0 },
        ..TrainConfig::default()
    }
}

/// A rank's share of a tiny stream, which breaks after so many parts.
struct Shared {
    source: TinySource,
    share: Share,
    breaks: u64,
}

impl Source for Shared {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.source.seek(self.share.first(images, self.source.batch))
    }

    fn next(&mut self) -> Result<Batch, TrainError> {
        if self.breaks == 0 {
            return Err(TrainError::Source("the disk is gone".into()));
        }
        self.breaks -= 1;
        let batch = self.source.next()?;
        self.source.next += self.share.between(self.source.batch);
        Ok(batch)
    }

    fn fingerprint(&self) -> String {
        self.source.fingerprint()
    }
}

/// How a rank departs from the others.
#[derive(Clone, Default)]
struct Odd {
    /// It wishes to stop after so many steps.
    stops: Option<usize>,
    /// Its data end after so many parts.
    breaks: Option<u64>,
    /// It takes what is everybody's.
    takes_all: bool,
    lr: Option<f64>,
}

type Ended = Result<Outcome<TinyNet>, TrainError>;

/// Trains rank by rank in a thread each; the losses that rank 0 logged, and how each ended.
fn together(size: usize, folder: Option<&Path>, odd: (usize, Odd)) -> (Vec<f64>, Vec<Ended>) {
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let losses = Mutex::new(Vec::new());
    let one = |rank: usize| -> Ended {
        let odd = if rank == odd.0 { odd.1.clone() } else { Odd::default() };
        let mut config = config();
        config.optim.lr = odd.lr.unwrap_or(config.optim.lr);
        let met: Arc<dyn Ranks> = Arc::new(Meeting::new(Place { rank, size }, &at).hold(|| false).unwrap());
        let share = if odd.takes_all { Share::default() } else { Share { part: rank, of: size } };
        let batch = config.share(size).unwrap_or(BATCH);
        let mut source = Shared { source: TinySource::new(batch), share, breaks: odd.breaks.unwrap_or(u64::MAX) };
        let task = TinyTask { seed: 3 };
        let checkpoints = folder.filter(|_| rank == 0).map(|folder| Folder::create(folder).unwrap());
        let from = checkpoints.as_ref().and_then(|folder| folder.latest().unwrap());
        let setup = Setup { seed: 3, checkpoints, ranks: Some(met), ..Setup::new(&config, &task, &mut source) };
        let mut steps = 0;
        let mut observer = |event: &Event<'_>| {
            if let Event::Log(log) = event {
                steps += 1;
                if rank == 0 {
                    losses.lock().unwrap().push(log.loss);
                }
                if odd.stops.is_some_and(|stops| steps >= stops) {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        };
        // Weights of another seed, which rank 0 replaces.
        let network = TinyNet::new(if rank == 0 { 1 } else { 40 }, 16, &Device::flex().autodiff());
        match from {
            Some(found) => train::resume(network, found.checkpoint, setup, &mut observer),
            None => train::train(network, setup, &mut observer),
        }
    };
    let ended = thread::scope(|scope| {
        let ranks: Vec<_> = (0..size).map(|rank| scope.spawn(move || one(rank))).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    });
    (losses.into_inner().unwrap(), ended)
}

/// The losses of one process that computes each batch in so many parts.
fn alone(parts: usize) -> Vec<f64> {
    let config = TrainConfig { accumulation: parts, ..config() };
    let (mut source, task) = (TinySource::new(config.micro_batch()), TinyTask { seed: 3 });
    let mut losses = Vec::new();
    let mut observer = |event: &Event<'_>| {
        if let Event::Log(log) = event {
            losses.push(log.loss);
        }
        Ok(ControlFlow::Continue(()))
    };
    let setup = Setup { seed: 3, ..Setup::new(&config, &task, &mut source) };
    train::train(TinyNet::new(1, 16, &Device::flex().autodiff()), setup, &mut observer).unwrap();
    losses
}

fn apart(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Mutants: the sum of gradients taken for their mean (the loss of step 2 differs); every rank given rank 0's share; a follower left with
/// its own first weights; ranks added in another order (the bits differ).
#[test]
fn ranks_train_as_one_process_does() {
    let one = alone(1);
    assert!(one.len() as u64 == STEPS && one[STEPS as usize - 1] < 0.8 * one[0], "nothing was learned");
    for size in [2, 4] {
        let (losses, ended) = together(size, None, (0, Odd::default()));
        assert!(ended.iter().all(|end| end.as_ref().is_ok_and(|end| end.state.steps == STEPS)));
        assert_eq!(losses, alone(size), "{size} ranks are one process that computes {size} parts, to the bit");
        assert!(apart(&losses, &one) < 1e-5, "{size} ranks: {}", apart(&losses, &one));
    }
}

/// Mutants: the wish of a rank that does not lead unheard; those that resume given the share of the former number.
#[test]
fn a_run_of_four_is_continued_by_two() {
    let folder = tempfile::tempdir().unwrap();
    let stops = Odd { stops: Some(80), ..Odd::default() };
    let (mut losses, ended) = together(4, Some(folder.path()), (2, stops));
    assert!(ended.iter().all(|end| end.as_ref().is_ok_and(|end| end.stopped && end.state.steps == 81)), "{ended:?}");
    let (rest, ended) = together(2, Some(folder.path()), (0, Odd::default()));
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    losses.extend(rest);
    assert!(apart(&losses, &alone(1)) < 1e-5, "{}", apart(&losses, &alone(1)));
}

/// Mutants: the step of the loss counted as taken; nothing saved; the others waiting for ever.
#[test]
fn a_lost_rank_ends_all_and_leaves_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let (_, ended) = together(3 + 1, Some(folder.path()), (1, Odd { breaks: Some(50), ..Odd::default() }));
    let said: Vec<String> = ended.iter().map(|end| end.as_ref().unwrap_err().to_string()).collect();
    assert!(said[0].contains("rank 1 is gone") && said[0].contains("--resume latest"), "{said:?}");
    assert!(said[1].contains("the disk is gone") && said[3].contains("rank 0 is gone"), "{said:?}");
    let saved = Folder::at(folder.path()).latest().unwrap().unwrap().checkpoint;
    assert_eq!((saved.meta().steps, saved.meta().images), (50, 50 * BATCH as u64));
    // And one process goes on from it to the same end.
    let (rest, ended) = together(1, Some(folder.path()), (0, Odd::default()));
    assert!(ended[0].is_ok());
    assert!(apart(&rest, &alone(1)[50..]) < 1e-5, "{}", apart(&rest, &alone(1)[50..]));
}

#[test]
fn ranks_that_do_not_agree_are_refused() {
    let said = |size, odd: (usize, Odd)| {
        let (_, ended) = together(size, None, odd.clone());
        ended[odd.0].as_ref().unwrap_err().to_string()
    };
    let other = said(2, (1, Odd { lr: Some(0.02), ..Odd::default() }));
    assert!(other.contains("another way than rank 0") && other.contains("0.02"), "{other}");
    assert!(said(2, (1, Odd { takes_all: true, ..Odd::default() })).contains("8 from 8 on are its share"));
    assert!(said(3, (0, Odd::default())).contains("cannot be shared equally by 3 ranks"));
}
