//! The order in which samples are visited: a pure function of seed, epoch and position, so a counter is the whole cursor.

use base::{Key, Purpose};
use rand::Rng;

/// An endless stream over `len` samples: epoch after epoch, each in its own order, without a seam between them.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    len: u64,
    key: Option<Key>,
    epoch: Option<u64>,
    permutation: Vec<u64>,
}

impl Order {
    /// Shuffled under `seed` if it is given, else in order. `len` is at least 1.
    pub(crate) fn new(len: usize, seed: Option<u64>) -> Self {
        let key = seed.map(|seed| Key::new(seed, Purpose::Order));
        Self { len: len as u64, key, epoch: None, permutation: Vec::new() }
    }

    /// Which sample stands at `position` of the stream.
    pub(crate) fn at(&mut self, position: u64) -> usize {
        let (epoch, within) = (position / self.len, position % self.len);
        let Some(key) = self.key else { return within as usize };
        if self.epoch != Some(epoch) {
            self.shuffle(key, epoch);
        }
        self.permutation[within as usize] as usize
    }

    // Fisher-Yates. Written out because the order is part of a run's identity: it must not change with a library's version.
    fn shuffle(&mut self, key: Key, epoch: u64) {
        self.permutation.clear();
        self.permutation.extend(0..self.len);
        let mut rng = key.at(epoch);
        for last in (1..self.permutation.len()).rev() {
            // The high half of a 64 x 64 product is uniform below the bound up to bound / 2^64, far below what any data set can show.
            let chosen = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
            self.permutation.swap(last, chosen as usize);
        }
        self.epoch = Some(epoch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_epoch_is_a_permutation_and_random_access_agrees(len in 1usize..40, seed: u64, jump in 0u64..200) {
            let mut order = Order::new(len, Some(seed));
            let stream: Vec<usize> = (0..5 * len as u64).map(|i| order.at(i)).collect();
            for epoch in stream.chunks(len) {
                let mut sorted = epoch.to_vec();
                sorted.sort();
                prop_assert_eq!(sorted, (0..len).collect::<Vec<_>>());
            }
            let jump = jump % (5 * len as u64);
            prop_assert_eq!(Order::new(len, Some(seed)).at(jump), stream[jump as usize]);
        }
    }

    #[test]
    fn epochs_and_seeds_differ_and_the_order_is_pinned() {
        let take = |seed, from: u64| {
            let mut order = Order::new(8, Some(seed));
            (from..from + 8).map(|i| order.at(i)).collect::<Vec<_>>()
        };
        assert_ne!(take(1, 0), take(1, 8));
        assert_ne!(take(1, 0), take(2, 0));
        // Pinned: a checkpoint's cursor means nothing if this changes.
        assert_eq!(take(1, 0), PINNED);
    }

    const PINNED: [usize; 8] = [1, 6, 2, 3, 5, 7, 0, 4];

    #[test]
    fn every_place_is_equally_likely() {
        // 4000 shuffles of 5: each (sample, place) is expected 800 times with standard deviation sqrt(4000 * .2 * .8) = 25; 6 deviations.
        let mut counts = [[0i32; 5]; 5];
        let mut order = Order::new(5, Some(3));
        for position in 0..20_000u64 {
            counts[order.at(position)][(position % 5) as usize] += 1;
        }
        for count in counts.iter().flatten() {
            assert!((count - 800).abs() < 152, "{counts:?}");
        }
    }
}
