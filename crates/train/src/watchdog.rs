//! A watchdog over step times: says when a step takes far longer than the running median.
//!
//! A slow step has a cause worth knowing (another program on the cores, swapping, a data set on a slow disk), and a
//! median forgives the occasional slow step that a mean would not.

use std::collections::VecDeque;

/// A step that took too long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStep {
    /// Seconds the step took.
    pub seconds: f64,
    /// Running median in seconds.
    pub median: f64,
}

/// Watches step times against the median of the last ones.
#[derive(Clone, Debug)]
pub struct Watchdog {
    factor: f64,
    window: usize,
    recent: VecDeque<f64>,
}

impl Watchdog {
    /// Steps before the median counts for anything.
    pub const WARMUP: usize = 10;

    /// A step slower than `factor` times the median of the last `window` steps is reported.
    pub fn new(factor: f64, window: usize) -> Self {
        Self { factor, window: window.max(Self::WARMUP), recent: VecDeque::new() }
    }

    /// Records a step; returns it when it was slow.
    pub fn step(&mut self, seconds: f64) -> Option<SlowStep> {
        let slow = (self.recent.len() >= Self::WARMUP)
            .then(|| SlowStep { seconds, median: self.median() })
            .filter(|s| s.seconds > self.factor * s.median);
        if self.recent.len() == self.window {
            self.recent.pop_front();
        }
        self.recent.push_back(seconds);
        slow
    }

    /// Median of the recorded steps; 0 before the first.
    pub fn median(&self) -> f64 {
        let mut sorted: Vec<f64> = self.recent.iter().copied().collect();
        if sorted.is_empty() {
            return 0.0;
        }
        let middle = sorted.len() / 2;
        *sorted.select_nth_unstable_by(middle, f64::total_cmp).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_step_far_above_the_median_is_reported() {
        let mut watchdog = Watchdog::new(5.0, 50);
        for i in 0..40 {
            assert_eq!(watchdog.step(0.1 + 0.001 * f64::from(i % 3)), None);
        }
        assert_eq!(watchdog.step(0.4), None);
        let slow = watchdog.step(2.0).expect("2 s against 0.1 s");
        assert_eq!(slow.seconds, 2.0);
        assert!((slow.median - 0.101).abs() < 0.0011, "{slow:?}");
        // One slow step does not move the median: the next normal step is normal.
        assert_eq!(watchdog.step(0.1), None);
    }

    #[test]
    fn the_first_steps_are_never_slow() {
        // The first step compiles and fills caches; without a median there is nothing to compare with.
        let mut watchdog = Watchdog::new(2.0, 50);
        assert_eq!(watchdog.step(100.0), None);
        assert_eq!(watchdog.step(0.1), None);
    }

    #[test]
    fn the_median_follows_a_lasting_change() {
        let mut watchdog = Watchdog::new(3.0, 20);
        for _ in 0..20 {
            watchdog.step(0.1);
        }
        let reported = (0..20).filter(|_| watchdog.step(1.0).is_some()).count();
        assert_eq!(reported, 10, "half a window later the new pace is the norm");
    }
}
