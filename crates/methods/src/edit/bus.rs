//! The feature bus: attention features of one walk, stored by step, evaluation and layer, and put into another walk.
//!
//! Keys are numbers, never times: a float that differs in its last bit between two walks must not lose a feature. What is
//! asked for and not there stops the walk ([`Bus::missed`]) rather than passing unnoticed.

use base::{Condition, Features, Tap, Taps, Tensor, Times};
use flow::{Field, Frame};
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Which features travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Queries.
    pub query: bool,
    /// Keys.
    pub key: bool,
    /// Values; RF-Edit's choice, alone.
    pub value: bool,
}

impl Default for Parts {
    fn default() -> Self {
        Self { query: false, key: false, value: true }
    }
}

/// What the bus does with features that come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Pass,
    Store,
    Replace,
}

struct State {
    mode: Mode,
    step: usize,
    /// Number of the evaluation within the step, from 0; none before the first.
    evaluation: Option<usize>,
    /// Samples of the evaluation; a guided one has twice as many rows.
    samples: usize,
    stored: BTreeMap<(usize, usize, usize), Features>,
    replaced: usize,
    missed: Option<(usize, usize, usize)>,
}

/// Features on their way from one walk to another.
pub struct Bus {
    blocks: Range<usize>,
    parts: Parts,
    state: Mutex<State>,
}

impl Bus {
    /// For the attention layers `blocks`.
    pub fn new(blocks: Range<usize>, parts: Parts) -> Arc<Self> {
        let state = State {
            mode: Mode::Pass,
            step: 0,
            evaluation: None,
            samples: 0,
            stored: BTreeMap::new(),
            replaced: 0,
            missed: None,
        };
        Arc::new(Self { blocks, parts, state: Mutex::new(state) })
    }

    /// As a pass's tap.
    pub fn taps(self: &Arc<Self>) -> Taps {
        Taps(self.clone())
    }

    // Nothing of the state is half done when a panic passes through.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, mode: Mode, step: usize) {
        let mut state = self.state();
        (state.mode, state.step, state.evaluation) = (mode, step, None);
    }

    /// Stores the features of the evaluations to come as those of `step`.
    pub fn store(&self, step: usize) {
        self.turn(Mode::Store, step);
    }

    /// Puts the features stored for `step` into the evaluations to come.
    pub fn replace(&self, step: usize) {
        self.turn(Mode::Replace, step);
    }

    /// Lets features by.
    pub fn pass(&self) {
        self.turn(Mode::Pass, 0);
    }

    /// How many layers' features are stored, and how many were put into a walk.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.stored.len(), state.replaced)
    }

    /// The first step, evaluation and layer whose features were asked for and are not there, or of another shape.
    pub fn missed(&self) -> Option<(usize, usize, usize)> {
        self.state().missed
    }

    /// Bytes that the stored features hold, at four a number.
    pub fn bytes(&self) -> usize {
        let size = |x: &Tensor<3>| x.dims().iter().product::<usize>() * 4;
        let Parts { query, key, value } = self.parts;
        let one = |f: &Features| -> usize {
            let parts = [(query, &f.query), (key, &f.key), (value, &f.value)];
            parts.iter().filter(|(travels, _)| *travels).map(|(_, x)| size(x)).sum()
        };
        self.state().stored.values().map(one).sum::<usize>()
    }
}

/// `stored`, a row for each of `samples`, for as many rows as `asked` has: a guided evaluation asks for every sample twice.
fn spread(stored: &Tensor<3>, asked: &Tensor<3>, samples: usize) -> Option<Tensor<3>> {
    let ([rows, n, d], [wanted, m, e]) = (stored.dims(), asked.dims());
    let fits = (n, d) == (m, e) && rows == samples && rows > 0 && wanted.is_multiple_of(rows);
    fits.then(|| if rows == wanted { stored.clone() } else { stored.clone().repeat_dim(0, wanted / rows) })
}

impl Tap for Bus {
    fn wants(&self, block: usize) -> bool {
        self.blocks.contains(&block) && self.state().mode != Mode::Pass
    }

    fn attend(&self, block: usize, features: Features) -> Features {
        let mut state = self.state();
        let place = (state.step, state.evaluation.unwrap_or(0), block);
        let samples = state.samples;
        let Parts { query, key, value } = self.parts;
        if state.mode == Mode::Store {
            // What does not travel is not kept: a view of nothing in its place.
            let keep =
                |wanted: bool, x: &Tensor<3>| if wanted { x.clone() } else { x.clone().narrow(0, 0, 1).zeros_like() };
            let kept = Features {
                query: keep(query, &features.query),
                key: keep(key, &features.key),
                value: keep(value, &features.value),
            };
            state.stored.insert(place, kept);
            return features;
        }
        let Some(stored) = state.stored.get(&place) else {
            state.missed.get_or_insert(place);
            return features;
        };
        let pick = |wanted: bool, own: Tensor<3>, stored: &Tensor<3>| {
            if wanted { spread(stored, &own, samples) } else { Some(own) }
        };
        let Features { query: q, key: k, value: v } = features.clone();
        match (pick(query, q, &stored.query), pick(key, k, &stored.key), pick(value, v, &stored.value)) {
            (Some(query), Some(key), Some(value)) => {
                state.replaced += 1;
                Features { query, key, value }
            }
            _ => {
                state.missed.get_or_insert(place);
                features
            }
        }
    }
}

/// A field whose evaluations the bus counts; around guidance, so that a guided evaluation is one.
pub struct Heard<F> {
    /// The field.
    pub field: F,
    /// Who counts.
    pub bus: Arc<Bus>,
}

impl<F> Heard<F> {
    fn count(&self, samples: usize) {
        let mut state = self.bus.state();
        state.samples = samples;
        state.evaluation = Some(state.evaluation.map_or(0, |n| n + 1));
    }
}

impl<const D: usize, F: Field<D>> Field<D> for Heard<F> {
    fn velocity(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D> {
        self.count(x.dims()[0]);
        self.field.velocity(x, t, condition)
    }

    fn average_velocity(&self, x: Tensor<D>, t: &Times, until: &Times, condition: &Condition) -> Tensor<D> {
        self.count(x.dims()[0]);
        self.field.average_velocity(x, t, until, condition)
    }

    fn frame(&self) -> Option<Frame<'_>> {
        self.field.frame()
    }
}
