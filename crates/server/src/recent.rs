//! Weights that are open: those used last, as many as a budget holds.

use rectiflow::Error;
use std::sync::Arc;

/// Models by number, the one used last at the end.
pub struct Recent<T> {
    budget: u64,
    held: Vec<(usize, u64, Arc<T>)>,
    opened: u64,
}

impl<T> Recent<T> {
    /// Of `budget` bytes.
    pub fn new(budget: u64) -> Self {
        Self { budget, held: Vec::new(), opened: 0 }
    }

    /// Model `at` of `bytes`; where it is not there, `open` brings it, after those used least lately have made room.
    pub fn get(&mut self, at: usize, bytes: u64, open: impl FnOnce() -> Result<T, Error>) -> Result<Arc<T>, Error> {
        if let Some(place) = self.held.iter().position(|(held, ..)| *held == at) {
            let found = self.held.remove(place);
            let model = found.2.clone();
            self.held.push(found);
            return Ok(model);
        }
        let sum = |held: &[(usize, u64, Arc<T>)]| held.iter().map(|(_, bytes, _)| bytes).sum::<u64>();
        while !self.held.is_empty() && sum(&self.held).saturating_add(bytes) > self.budget {
            self.held.remove(0);
        }
        let model = Arc::new(open()?);
        self.opened += 1;
        self.held.push((at, bytes, model.clone()));
        Ok(model)
    }

    /// How many are there, and how many were opened so far.
    pub fn counts(&self) -> (usize, u64) {
        (self.held.len(), self.opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: the one opened first makes room, not the one used least lately; room made for one that is there; a failure kept.
    #[test]
    fn who_was_used_least_lately_makes_room() {
        let mut recent = Recent::new(10);
        let mut opened = Vec::new();
        for (at, bytes) in [(0, 4), (1, 4), (0, 4), (2, 4), (1, 4), (1, 4), (3, 20)] {
            let got = recent.get(at, bytes, || {
                opened.push(at);
                Ok(at)
            });
            assert_eq!(*got.unwrap(), at);
        }
        // 2 takes the place of 1, for 0 was used since; 1 that of 0; 3, too large for all, stands alone.
        assert_eq!(opened, [0, 1, 2, 1, 3]);
        assert_eq!(recent.counts(), (1, 5));
        assert!(recent.get(4, 1, || Err(Error::Interrupted)).is_err());
        assert_eq!(recent.counts().1, 5);
    }
}
