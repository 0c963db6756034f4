//! A Brownian path on [0, 1] that is a function of the seed and the sample alone, the same at any number of steps.
//!
//! The time axis is a fixed tree: 1000 equal cells, halved (to the nearest cell) down to cells and each cell halved six
//! times more. Every division takes its randomness from its own place in the sample's stream, so any grid, coarse or fine,
//! forwards or backwards, alone or in a batch, reads the same path (the "virtual Brownian tree" of Li et al. 2020, arXiv
//! 2001.01328, with space-time areas as in Jelinčič, Foster & Kidger 2024, arXiv 2405.06464). Walking a grid in order keeps
//! only the unread part of the tree: as many numbers as the tree is deep.

use super::bridge::{Arc, Division};
use super::normals;
use crate::{FlowError, Schedule};
use base::Key;

/// Cells of the time axis: step counts that divide 1000 (10, 20, 25, 50, 100, 250, ...) fall on cells.
const CELLS: u32 = 1000;
/// Smallest intervals of a cell; between their ends a path is a parabola.
const TICKS_PER_CELL: u32 = 64;
const TICKS: u32 = CELLS * TICKS_PER_CELL;
/// A step off the ticks loses 0.13/n of its variance to the parabola at `n` ticks: 2 % at the fewest.
const FEWEST_TICKS: f64 = 8.0;

/// The Brownian paths of some samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Brownian {
    streams: Vec<u64>,
}

/// Change of a path over one step, and its area.
#[derive(Clone, Debug)]
pub struct Increment {
    /// `W(to) - W(from)` per value, row-major; variance `|to - from|`.
    pub dw: Vec<f32>,
    /// `∫ (W - W(from))` along the step, time counted positive; variance `|to - from|³/3`.
    pub area: Vec<f32>,
}

impl Brownian {
    /// The paths of samples number `samples` under `key`; path `i` depends on `key` and `samples[i]` alone.
    pub fn new(key: Key, samples: &[u64]) -> Self {
        Self::each(samples.iter().map(|sample| (key, *sample)))
    }

    /// As [`Brownian::new`], with a key for each sample.
    pub fn each(samples: impl IntoIterator<Item = (Key, u64)>) -> Self {
        Self { streams: samples.into_iter().map(|(key, sample)| key.bits(sample)).collect() }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// The increments of `values` independent paths per sample over the steps of `schedule`, in its order.
    ///
    /// # Errors
    /// [`FlowError::Schedule`] where a step is too short for the path's resolution of 1/64000.
    pub fn walk(&self, schedule: &Schedule, values: usize) -> Result<Walk, FlowError> {
        let ticks: Vec<f64> = schedule.times().iter().map(|t| snap(t * f64::from(TICKS))).collect();
        for (pair, times) in ticks.windows(2).zip(schedule.times().windows(2)) {
            let short = (pair[1] - pair[0]).abs() < FEWEST_TICKS;
            if short && (pair[0].fract() != 0.0 || pair[1].fract() != 0.0 || pair[0] == pair[1]) {
                return Err(FlowError::Schedule(format!(
                    "the step from {} to {} is too short for a stochastic solver; make steps at least 1/8000 long",
                    times[0], times[1]
                )));
            }
        }
        let root = {
            let (z, n) = normals::pairs(&self.streams, values, TICKS);
            let twelfth = (1.0 / 12.0_f32).sqrt();
            Arc { w: z, h: n.into_iter().map(|n| n * twelfth).collect() }
        };
        let falling = ticks[1] < ticks[0];
        let nodes = vec![Node { from: 0.0, to: f64::from(TICKS), arc: root }];
        let mut walk = Walk { streams: self.streams.clone(), values, falling, ticks, at: 0, nodes };
        walk.leave_out();
        Ok(walk)
    }
}

/// Times within rounding of a tick are at it.
fn snap(ticks: f64) -> f64 {
    if (ticks - ticks.round()).abs() < 1e-6 { ticks.round() } else { ticks }
}

/// An unread interval of the path, in ticks.
struct Node {
    from: f64,
    to: f64,
    arc: Arc,
}

/// The increments of a grid, one after the other.
pub struct Walk {
    streams: Vec<u64>,
    values: usize,
    falling: bool,
    ticks: Vec<f64>,
    at: usize,
    /// What is left of the path, the next interval on top.
    nodes: Vec<Node>,
}

impl Walk {
    /// Leaves out what lies before the grid.
    fn leave_out(&mut self) {
        let edge = if self.falling { f64::from(TICKS) } else { 0.0 };
        if self.ticks[0] != edge {
            self.read(self.ticks[0], |_, _| {});
        }
    }

    /// Reads on to `stop`, showing each whole interval and its length in time.
    fn read(&mut self, stop: f64, mut show: impl FnMut(&Arc, f64)) {
        while let Some(mut node) = self.nodes.pop() {
            let beyond = if self.falling { node.from < stop } else { node.to > stop };
            if beyond {
                let at_stop = if self.falling { node.to <= stop } else { node.from >= stop };
                if at_stop {
                    self.nodes.push(node);
                    return;
                }
                self.divide(node, stop);
                continue;
            }
            let length = (node.to - node.from) / f64::from(TICKS);
            if self.falling {
                // Read backwards a path changes by -W, and its area about the new start is the same H.
                node.arc.w.iter_mut().for_each(|w| *w = -*w);
            }
            show(&node.arc, length);
        }
    }

    /// Puts the two parts of `node` back, the next on top.
    fn divide(&mut self, mut node: Node, stop: f64) {
        let (from, to) = (node.from, node.to);
        let cell = f64::from(TICKS_PER_CELL);
        // Below one tick the division is where it is needed, on the parabola; above, where the tree has it.
        let tick = to - from <= 1.0;
        let middle = if tick {
            stop
        } else if to - from > cell {
            ((from / cell + to / cell) / 2.0).floor() * cell
        } else {
            ((from + to) / 2.0).floor()
        };
        let (a, b) = ((middle - from) / f64::from(TICKS), (to - middle) / f64::from(TICKS));
        let (division, z, n) = if tick {
            let zeros = || vec![0.0; node.arc.w.len()];
            (Division::smooth(a, b), zeros(), zeros())
        } else {
            let (z, n) = normals::pairs(&self.streams, self.values, middle as u32);
            (Division::new(a, b), z, n)
        };
        let first = Node { from, to: middle, arc: division.apply(&mut node.arc, z, n) };
        let second = Node { from: middle, to, arc: node.arc };
        let (next, later) = if self.falling { (second, first) } else { (first, second) };
        self.nodes.push(later);
        self.nodes.push(next);
    }
}

impl Iterator for Walk {
    type Item = Increment;

    fn next(&mut self) -> Option<Increment> {
        let stop = *self.ticks.get(self.at + 1)?;
        self.at += 1;
        let mut sum: Option<Increment> = None;
        self.read(stop, |arc, length| {
            let length = length as f32;
            let area = |w: f32, h: f32| length * (0.5 * w + h);
            match &mut sum {
                None => {
                    let area = arc.w.iter().zip(&arc.h).map(|(w, h)| area(*w, *h)).collect();
                    sum = Some(Increment { dw: arc.w.clone(), area });
                }
                Some(sum) => {
                    for (((total, known), w), h) in sum.area.iter_mut().zip(&sum.dw).zip(&arc.w).zip(&arc.h) {
                        *total += length * known + area(*w, *h);
                    }
                    sum.dw.iter_mut().zip(&arc.w).for_each(|(total, w)| *total += w);
                }
            }
        });
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScheduleConfig;
    use base::Purpose;

    fn brownian(samples: &[u64]) -> Brownian {
        Brownian::new(Key::new(5, Purpose::Latent), samples)
    }

    fn uniform(from: f64, to: f64, steps: usize) -> Schedule {
        ScheduleConfig::Uniform {}.between(from, to, steps).unwrap()
    }

    fn add(parts: &[Increment], h: f32) -> Increment {
        let mut sum = Increment { dw: vec![0.0; parts[0].dw.len()], area: vec![0.0; parts[0].dw.len()] };
        for part in parts {
            for i in 0..part.dw.len() {
                sum.area[i] += h * sum.dw[i] + part.area[i];
                sum.dw[i] += part.dw[i];
            }
        }
        sum
    }

    /// Steps of 1000, of 7 (off the ticks) and of one read the same path: increments and areas add up.
    #[test]
    fn fine_steps_add_up_to_coarse_ones_in_both_directions() {
        let paths = brownian(&[3, 8]);
        for (from, to) in [(0.0, 1.0), (1.0, 0.0), (0.2, 0.9)] {
            let whole = paths.walk(&uniform(from, to, 1), 3).unwrap().next().unwrap();
            for steps in [2, 7, 10, 33, 640, 1000] {
                let parts: Vec<_> = paths.walk(&uniform(from, to, steps), 3).unwrap().collect();
                assert_eq!(parts.len(), steps);
                let sum = add(&parts, ((to - from).abs() / steps as f64) as f32);
                for i in 0..6 {
                    assert!((sum.dw[i] - whole.dw[i]).abs() < 1e-5, "{from} {to} {steps}");
                    assert!((sum.area[i] - whole.area[i]).abs() < 1e-5, "{from} {to} {steps}");
                }
            }
        }
    }

    #[test]
    fn backwards_is_the_same_path_turned() {
        let paths = brownian(&[1]);
        let ahead: Vec<_> = paths.walk(&uniform(0.0, 1.0, 20), 1).unwrap().collect();
        let back: Vec<_> = paths.walk(&uniform(1.0, 0.0, 20), 1).unwrap().collect();
        for (a, b) in ahead.iter().zip(back.iter().rev()) {
            assert!((a.dw[0] + b.dw[0]).abs() < 1e-6);
        }
    }

    #[test]
    fn a_path_does_not_see_its_batch_mates() {
        let grid = uniform(0.0, 1.0, 17);
        let all: Vec<_> = brownian(&[4, 9, 2]).walk(&grid, 2).unwrap().collect();
        let alone: Vec<_> = brownian(&[9]).walk(&grid, 2).unwrap().collect();
        for (all, alone) in all.iter().zip(&alone) {
            assert_eq!(all.dw[2..4], alone.dw[..]);
            assert_eq!(all.area[2..4], alone.area[..]);
            assert_ne!(all.dw[0..2], alone.dw[..]);
        }
    }

    /// Variances h and h³/3, covariance h²/2, independent steps: on cells, on ticks and off them.
    #[test]
    fn increments_have_the_moments_of_brownian_motion() {
        let samples: Vec<u64> = (0..500).collect();
        for steps in [10, 64, 37] {
            let walk: Vec<_> = brownian(&samples).walk(&uniform(0.0, 1.0, steps), 10).unwrap().collect();
            let h = 1.0 / steps as f64;
            let (mut s, mut n) = ([0.0; 4], 0.0);
            for (step, next) in walk.iter().zip(&walk[1..]) {
                for i in 0..step.dw.len() {
                    let (w, a, other) = (f64::from(step.dw[i]), f64::from(step.area[i]), f64::from(next.dw[i]));
                    s[0] += w * w / h;
                    s[1] += a * a / (h * h * h / 3.0);
                    s[2] += w * a / (h * h / 2.0);
                    s[3] += w * other / h;
                    n += 1.0;
                }
            }
            // At least 45 000 draws: five standard errors of a square are 0.033.
            let mean = s.map(|s| s / n);
            for (mean, known) in mean.iter().zip([1.0, 1.0, 1.0, 0.0]) {
                assert!((mean - known).abs() < 0.035, "{steps} steps: {mean:?} is not {known}");
            }
        }
    }

    #[test]
    fn steps_below_the_resolution_are_refused() {
        let short = Schedule::new(vec![0.0, 1e-5, 1.0]).unwrap();
        assert!(matches!(brownian(&[0]).walk(&short, 1), Err(FlowError::Schedule(_))));
    }
}
