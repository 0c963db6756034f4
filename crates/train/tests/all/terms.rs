//! What a network adds to the loss reaches the gradient and the log: alone, in parts, on ranks, and where blocks run again.

use crate::testing::{TinySource, TinyTask};
use base::{Condition, Device, Network, Pass, Tensor};
use burn::module::{Module, Param};
use data::Share;
use ranks::{Meeting, Place, Ranks};
use std::{net::TcpListener, ops::ControlFlow, sync::Arc, thread};
use train::{Event, Setup, TrainConfig, optim::OptimConfig};

/// It says nothing about its input, and wants its one weight to be 3.
#[derive(Module, Debug)]
struct Shy {
    weight: Param<Tensor<1>>,
    leaves: bool,
}

impl Network<2> for Shy {
    fn predict(&self, x: Tensor<2>, _: Tensor<1>, _: &Condition, pass: &Pass) -> Tensor<2> {
        let weight = self.weight.val();
        if let Some(terms) = pass.terms().filter(|_| self.leaves) {
            terms.add((weight.clone() - 3.0).square());
        }
        x.zeros_like() + weight.reshape([1, 1]) * 0.0
    }
}

const BATCH: usize = 8;

fn config() -> TrainConfig {
    TrainConfig {
        images: 60 * BATCH as u64,
        batch: BATCH,
        log_every: 1,
        validate_every: 0,
        optim: OptimConfig { lr: 0.2, warmup: 0, ..OptimConfig::default() },
        ..TrainConfig::default()
    }
}

/// The first logged loss and the weight at the end; `at` is where ranks meet.
fn trained(config: &TrainConfig, leaves: bool, rank: Option<(Place, &str)>) -> (f64, f32) {
    let ranks: Option<Arc<dyn Ranks>> =
        rank.map(|(place, at)| Arc::new(Meeting::new(place, at).hold(|| false).unwrap()) as Arc<dyn Ranks>);
    let share = rank.map_or(Share::default(), |(place, _)| Share { part: place.rank, of: place.size });
    let mut source = Shared { source: TinySource::new(config.share(share.of).unwrap()), share };
    let task = TinyTask { seed: 3 };
    let mut first = None;
    let mut observer = |event: &Event<'_>| {
        if let Event::Log(log) = event {
            first.get_or_insert(log.loss);
        }
        Ok(ControlFlow::Continue(()))
    };
    let device = Device::flex();
    let net = Shy { weight: Param::from_tensor(Tensor::<1>::from_floats([0.5], &device)), leaves }.train();
    let setup = Setup { seed: 3, ranks, ..Setup::new(config, &task, &mut source) };
    let ended = train::train(net, setup, &mut observer).unwrap();
    (first.unwrap(), ended.state.network.weight.val().inner().into_scalar())
}

/// A rank's share of the stream.
struct Shared {
    source: TinySource,
    share: Share,
}

impl train::Source for Shared {
    fn seek(&mut self, images: u64) -> Result<(), train::TrainError> {
        self.source.seek(self.share.first(images, self.source.batch))
    }

    fn next(&mut self) -> Result<train::Batch, train::TrainError> {
        let batch = self.source.next()?;
        self.source.next += self.share.between(self.source.batch);
        Ok(batch)
    }

    fn fingerprint(&self) -> String {
        self.source.fingerprint()
    }
}

/// Mutants: terms left and not taken (the weight stays); taken after the gradient (the loss is right, the weight stays); added once for
/// every part and not averaged over them (the first loss of two parts is 6.25 too large); no place where blocks run again.
#[test]
fn a_term_is_learned_and_logged() {
    let plain = config();
    let (without, still) = trained(&plain, false, None);
    assert_eq!(still, 0.5);
    let parts = TrainConfig { accumulation: 2, ..config() };
    for config in [&plain, &parts, &TrainConfig { gradient_checkpointing: true, ..config() }] {
        let (with, weight) = trained(config, true, None);
        assert!((with - without - 6.25).abs() < 1e-4, "{with} {without}");
        assert!((weight - 3.0).abs() < 0.1, "{weight}");
    }
    // Two ranks are one process that computes two parts, to the bit.
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (at, plain) = (&at, &plain);
    let both = thread::scope(|scope| {
        let ranks = [0, 1].map(|rank| scope.spawn(move || trained(plain, true, Some((Place { rank, size: 2 }, at)))));
        ranks.map(|rank| rank.join().unwrap())
    });
    let alone = trained(&parts, true, None);
    assert_eq!(both[0], alone);
    assert_eq!(both[1].1, alone.1);
}
