//! Ranks over TCP as a star: every rank is connected to rank 0, which adds what comes in the order of ranks and sends the sum back.
//!
//! A sum of `n` numbers costs each rank but 0 `4 n` bytes there and `4 n` back, and rank 0 as much with each of them. A ring would spread
//! that more evenly; a star adds in the order of ranks, as one process does that computes the same parts one after another, and so gives
//! that process's bits.

use crate::{
    Lost, Ranks,
    wire::{Kind, Wire},
};
use std::sync::atomic::Ordering;

/// Longest word of rank 0: the state of a run is one.
const WORD: usize = 64 << 30;

/// Ranks that met over TCP.
pub struct Tcp {
    rank: usize,
    size: usize,
    /// Of rank 0 to the others in their order, of the others to rank 0.
    wires: Vec<Wire>,
}

impl Tcp {
    pub(crate) fn new(rank: usize, size: usize, wires: Vec<Wire>) -> Self {
        Self { rank, size, wires }
    }
}

impl Ranks for Tcp {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn sum(&self, values: &mut [f32]) -> Result<(), Lost> {
        if self.leads() {
            for wire in &self.wires {
                wire.receive_numbers(Kind::Part, values, |sum, part| *sum += part)?;
            }
            self.wires.iter().try_for_each(|wire| wire.send_numbers(Kind::Sum, values))
        } else {
            let wire = &self.wires[0];
            wire.send_numbers(Kind::Part, values)?;
            wire.receive_numbers(Kind::Sum, values, |value, sum| *value = sum)
        }
    }

    fn share(&self, bytes: &mut Vec<u8>) -> Result<(), Lost> {
        if self.leads() {
            self.wires.iter().try_for_each(|wire| wire.send(Kind::Word, bytes))
        } else {
            *bytes = self.wires[0].receive(Kind::Word, WORD)?;
            Ok(())
        }
    }

    fn moved(&self) -> [u64; 2] {
        let all = |count: fn(&Wire) -> u64| self.wires.iter().map(count).sum();
        [all(|wire| wire.sent.load(Ordering::Relaxed)), all(|wire| wire.received.load(Ordering::Relaxed))]
    }
}
