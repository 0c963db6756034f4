//! The engine trains what is no network on what is no batch of samples, and two parts against each other.

use base::{Device, Tensor, Times};
use burn::module::{Module, Param};
use std::cell::Cell;
use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    time::{Duration, Instant},
};
use train::{
    Ahead, Event, Live, Samples, Setup, Source, Task, TrainConfig, TrainError, Turn, Work,
    checkpoint::{Checkpoint, Folder},
};

/// Two numbers: `maker` wants the product small, `critic` wants it large.
#[derive(Module, Debug)]
struct Game {
    maker: Param<Tensor<1>>,
    critic: Param<Tensor<1>>,
}

impl Game {
    fn new(maker: f32, critic: f32) -> Self {
        let device = Device::flex();
        let param = |value: f32| Param::from_tensor(Tensor::<1>::from_floats([value], &device));
        Self { maker: param(maker), critic: param(critic) }.train()
    }

    fn numbers(&self) -> [f32; 2] {
        [&self.maker, &self.critic].map(|p| p.val().inner().into_scalar())
    }
}

/// Words, as far as the engine knows.
struct Words(Vec<&'static str>);

impl Samples for Words {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn find_not_finite(&self) -> Option<String> {
        self.0.iter().position(|word| *word == "nan").map(|at| format!("word {at} is none"))
    }
}

struct Book(&'static str);

impl Source<Words> for Book {
    fn seek(&mut self, _: u64) -> Result<(), TrainError> {
        Ok(())
    }

    fn next(&mut self) -> Result<Words, TrainError> {
        Ok(Words(vec!["a", self.0, "c"]))
    }

    fn fingerprint(&self) -> String {
        "book".into()
    }
}

struct Play {
    turns: Vec<Turn>,
    asked: Cell<u32>,
    stop_after: u32,
}

impl Play {
    fn new(prefixes: &[(&str, f64)]) -> Self {
        let turn = |(prefix, rate): &(&str, f64)| Turn { prefix: prefix.to_string(), rate: *rate };
        Self { turns: prefixes.iter().map(turn).collect(), asked: Cell::new(0), stop_after: u32::MAX }
    }
}

impl Task<Game, Words> for Play {
    fn loss(&self, live: &Live<'_, Game>, batch: &Words, _: &Device) -> Result<Tensor<1>, TrainError> {
        self.asked.set(self.asked.get() + 1);
        let game = live.module();
        let product = game.maker.val() * game.critic.val();
        let product = if batch.find_not_finite().is_some() { product * f32::NAN } else { product };
        let loss = if live.turn() == 0 { product } else { product.neg() };
        Ok(loss.repeat(&[batch.count()]))
    }

    fn loss_at(&self, live: &Live<'_, Game>, _: &Words, _: &Times, _: &Device) -> Result<Tensor<1>, TrainError> {
        Ok(live.within(|game| game.maker.val()))
    }

    fn identity(&self) -> (String, String) {
        ("a game".into(), "two numbers".into())
    }

    fn turns(&self) -> Vec<Turn> {
        self.turns.clone()
    }

    fn figures(&self) -> Vec<(String, f64)> {
        vec![("asked".into(), f64::from(self.asked.get()))]
    }

    fn enough(&self) -> Option<String> {
        (self.asked.get() >= self.stop_after).then(|| "the game is over".into())
    }
}

fn config() -> TrainConfig {
    let mut config = TrainConfig { images: 30, batch: 3, sample_every: 1, log_every: 1, ..TrainConfig::default() };
    config.optim.lr = 0.01;
    config.optim.schedule = train::schedule::Decay::Constant {};
    config
}

#[test]
fn each_turn_moves_its_own_parameters_at_its_own_rate() {
    let (config, play) = (config(), Play::new(&[("maker", 1.0), ("critic", 0.5)]));
    let mut source = Book("b");
    let mut seen = Vec::new();
    let mut listen = |event: &Event<'_>| {
        match event {
            Event::Figures { values, .. } => seen.push(values.to_vec()),
            Event::Samples { .. } => panic!("a game draws no samples"),
            _ => {}
        }
        Ok(std::ops::ControlFlow::Continue(()))
    };
    let outcome = train::train(Game::new(1.0, 2.0), Setup::new(&config, &play, &mut source), &mut listen).unwrap();
    assert_eq!((outcome.state.steps, outcome.state.images), (10, 30));
    // Both signs are constant, so Adam moves each by its rate every step: the maker down, the critic up at half the rate.
    let [maker, critic] = outcome.state.network.numbers();
    assert!((maker - 0.9).abs() < 1e-3 && (critic - 2.05).abs() < 1e-3, "{maker} {critic}");
    assert_eq!(play.asked.get(), 20);
    assert_eq!(seen.len(), 10);
    assert_eq!(seen[9], [("asked".to_string(), 20.0)]);
    // The average follows both.
    let [average, _] = outcome.state.sampler().numbers();
    assert!(average > maker && average < 1.0, "{average}");
}

#[test]
fn every_parameter_has_exactly_one_turn() {
    let config = config();
    for (prefixes, owners) in [(&[("maker", 1.0)][..], "0 turns"), (&[("", 1.0), ("critic", 1.0)], "2 turns")] {
        let play = Play::new(prefixes);
        let mut source = Book("b");
        let outcome = train::train(Game::new(1.0, 2.0), Setup::new(&config, &play, &mut source), &mut ());
        let said = outcome.unwrap_err().to_string();
        assert!(said.contains(owners) && said.contains("`critic`"), "{said}");
    }
}

#[test]
fn a_task_can_end_its_run_and_bad_words_are_found() {
    let config = config();
    let play = Play { stop_after: 4, ..Play::new(&[("", 1.0)]) };
    let mut source = Book("b");
    let outcome = train::train(Game::new(1.0, 2.0), Setup::new(&config, &play, &mut source), &mut ()).unwrap();
    assert_eq!(outcome.state.steps, 4);
    let (play, mut source) = (Play::new(&[("", 1.0)]), Book("nan"));
    let outcome = train::train(Game::new(1.0, 2.0), Setup::new(&config, &play, &mut source), &mut ());
    let said = outcome.unwrap_err().to_string();
    assert!(said.contains("word 1 is none"), "{said}");
}

/// A game with something to do before every step.
struct Prepared(Play, fn(u64) -> Ahead);

impl Task<Game, Words> for Prepared {
    fn loss(&self, live: &Live<'_, Game>, batch: &Words, device: &Device) -> Result<Tensor<1>, TrainError> {
        self.0.loss(live, batch, device)
    }

    fn loss_at(&self, live: &Live<'_, Game>, b: &Words, t: &Times, device: &Device) -> Result<Tensor<1>, TrainError> {
        self.0.loss_at(live, b, t, device)
    }

    fn identity(&self) -> (String, String) {
        Task::<Game, Words>::identity(&self.0)
    }

    fn before(&self, _: &Game, images: u64, tell: &mut dyn FnMut(Work<'_>)) -> Result<Ahead, TrainError> {
        tell(Work::Begin { what: "cards", total: 1 });
        std::thread::sleep(Duration::from_millis(30));
        tell(Work::Advance { done: 1 });
        tell(Work::End);
        Ok((self.1)(images))
    }

    fn extra(&self) -> BTreeMap<String, String> {
        [("cards".to_string(), "dealt".to_string())].into()
    }
}

/// What is done before a step counts as no time of training, is told when it is done, and can end the run with what was learned until then.
/// Mutants: the clock begun before it; its numbers told at the next log; a step taken after all; checkpoints without what the task keeps.
#[test]
fn what_comes_before_a_step_takes_no_time_of_training_and_can_end_the_run() {
    let config = TrainConfig { log_every: 10, ..config() };
    let run = |ahead: fn(u64) -> Ahead| {
        let folder = tempfile::tempdir().unwrap();
        let (task, mut source) = (Prepared(Play::new(&[("", 1.0)]), ahead), Book("b"));
        let (mut figures, mut warnings, mut work, mut speed) = (Vec::new(), Vec::new(), 0, 0.0);
        let mut listen = |event: &Event<'_>| {
            match event {
                Event::Figures { images, values } => figures.push((*images, values[0].clone())),
                Event::Warning { images, message, .. } => warnings.push((*images, message.clone())),
                Event::Work(_) => work += 1,
                Event::Log(log) => speed = log.images_per_second,
                _ => {}
            }
            Ok(ControlFlow::Continue(()))
        };
        let checkpoints = Some(Folder::create(folder.path()).unwrap());
        let setup = Setup { checkpoints, ..Setup::new(&config, &task, &mut source) };
        let began = Instant::now();
        let outcome = train::train(Game::new(1.0, 2.0), setup, &mut listen).unwrap();
        let wall = began.elapsed().as_secs_f64();
        let kept = Checkpoint::open(outcome.checkpoint.as_ref().unwrap()).unwrap().meta().clone();
        assert_eq!((kept.images, &kept.extra["cards"][..]), (outcome.state.images, "dealt"));
        (outcome, figures, warnings, work, (wall, speed))
    };
    let (outcome, figures, _, work, (wall, speed)) = run(|images| Ahead::Step(vec![("dealt".into(), images as f64)]));
    assert_eq!((outcome.state.images, work), (30, 30));
    assert!(outcome.state.seconds <= wall - 0.3, "{} of {wall}", outcome.state.seconds);
    assert!((30.0 / speed - outcome.state.seconds).abs() < 1e-6, "{speed}");
    let dealt: Vec<(u64, f64)> = figures.iter().filter(|f| f.1.0 == "dealt").map(|(at, f)| (*at, f.1)).collect();
    assert_eq!(dealt, (0..10).map(|step| (3 * step, 3.0 * step as f64)).collect::<Vec<_>>());
    let (outcome, _, warnings, ..) = run(|images| if images == 12 { Ahead::Stop } else { Ahead::default() });
    assert_eq!((outcome.state.images, outcome.stopped, warnings.len()), (12, true, 0));
    let over = |images: u64| if images == 12 { Ahead::Over("no cards".into()) } else { Ahead::default() };
    let (outcome, _, warnings, ..) = run(over);
    assert_eq!((outcome.state.images, outcome.stopped), (12, false));
    assert_eq!(warnings, [(12, "no cards".to_string())]);
}
