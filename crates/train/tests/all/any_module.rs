//! The engine trains what is no network on what is no batch of samples, and two parts against each other.

use base::{Device, Tensor, Times};
use burn::module::{Module, Param};
use std::cell::Cell;
use train::{Event, Live, Samples, Setup, Source, Task, TrainConfig, TrainError, Turn};

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
