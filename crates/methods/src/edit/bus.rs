//! The feature bus: attention features of one walk, stored by step, evaluation and layer, and put into another walk.
//!
//! Keys are numbers, never times: a float that differs in its last bit between two walks must not lose a feature. What is
//! asked for and not there stops the walk ([`Bus::missed`]) rather than passing unnoticed.

use crate::Failure;
use base::{Condition, Device, Features, Tap, Taps, Tensor, Times};
use flow::{Field, Frame};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Which features travel.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
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

/// Step, evaluation within it, and attention layer.
pub type Place = (usize, usize, usize);

/// Queries, keys and values `[b n d]`, those that travel.
pub type Parcel = [Option<Tensor<3>>; 3];

/// Where features wait between two walks.
pub trait Keep: Send {
    /// Keeps those of `place`.
    ///
    /// # Errors
    /// Whatever a store may say.
    fn put(&mut self, place: Place, parcel: Parcel) -> Result<(), Failure>;

    /// Those of `place`, on `device`; none where there are none.
    ///
    /// # Errors
    /// Whatever a store may say.
    fn get(&self, place: Place, device: &Device) -> Result<Option<Parcel>, Failure>;

    /// How many places have some.
    fn count(&self) -> usize;
}

/// In memory.
impl Keep for BTreeMap<Place, Parcel> {
    fn put(&mut self, place: Place, parcel: Parcel) -> Result<(), Failure> {
        self.insert(place, parcel);
        Ok(())
    }

    fn get(&self, place: Place, _: &Device) -> Result<Option<Parcel>, Failure> {
        Ok(BTreeMap::get(self, &place).cloned())
    }

    fn count(&self) -> usize {
        self.len()
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
    stored: Box<dyn Keep>,
    bytes: usize,
    replaced: usize,
    missed: Option<Place>,
    failed: Option<Failure>,
}

/// Features on their way from one walk to another.
pub struct Bus {
    blocks: Range<usize>,
    parts: Parts,
    state: Mutex<State>,
}

impl Bus {
    /// For the attention layers `blocks`, features in memory.
    pub fn new(blocks: Range<usize>, parts: Parts) -> Arc<Self> {
        Self::keeping(blocks, parts, Box::new(BTreeMap::new()))
    }

    /// For the attention layers `blocks`, features in `stored`.
    pub fn keeping(blocks: Range<usize>, parts: Parts, stored: Box<dyn Keep>) -> Arc<Self> {
        let state = State {
            mode: Mode::Pass,
            step: 0,
            evaluation: None,
            samples: 0,
            stored,
            bytes: 0,
            replaced: 0,
            missed: None,
            failed: None,
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
        (state.stored.count(), state.replaced)
    }

    /// The first step, evaluation and layer whose features were asked for and are not there, or of another shape.
    pub fn missed(&self) -> Option<Place> {
        self.state().missed
    }

    /// What the store said when it could not keep or give back, once.
    pub fn failed(&self) -> Option<Failure> {
        self.state().failed.take()
    }

    /// Bytes of the features that were stored, at four a number.
    pub fn bytes(&self) -> usize {
        self.state().bytes
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
        let travels = [query, key, value];
        if state.mode == Mode::Store {
            let all = [&features.query, &features.key, &features.value];
            let parcel: Parcel = std::array::from_fn(|i| travels[i].then(|| all[i].clone()));
            let numbers = |x: &Tensor<3>| x.dims().iter().product::<usize>();
            state.bytes += 4 * parcel.iter().flatten().map(numbers).sum::<usize>();
            if let Err(error) = state.stored.put(place, parcel) {
                state.failed.get_or_insert(error);
            }
            return features;
        }
        let parcel = match state.stored.get(place, &features.value.device()) {
            Ok(parcel) => parcel,
            Err(error) => {
                state.failed.get_or_insert(error);
                return features;
            }
        };
        let Some(stored) = parcel else {
            state.missed.get_or_insert(place);
            return features;
        };
        let Features { query: q, key: k, value: v } = features.clone();
        let own = [q, k, v];
        let pick = |i: usize| match &stored[i] {
            Some(stored) => spread(stored, &own[i], samples),
            None => (!travels[i]).then(|| own[i].clone()),
        };
        match (pick(0), pick(1), pick(2)) {
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
