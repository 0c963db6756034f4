//! Processes that work on one thing together, called ranks: what they must be able to do for each other, and how over TCP.
//!
//! [`Ranks`] is the whole of it: sums in a fixed order, so that every rank has the same bits and every run gives the same; words of
//! rank 0 to all. [`Tcp`] needs nothing but a network between the ranks.

mod meet;
mod tcp;
mod wire;

pub use meet::{Meeting, Place};
pub use tcp::Tcp;

/// What ranks do together. All of them make the same calls in the same order, and each waits for the others.
pub trait Ranks: Send + Sync {
    /// Which one this is, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Replaces `values` by their sum over the ranks, added in the order of ranks: on every rank the same bits.
    ///
    /// # Errors
    /// A rank that is gone, or that does something else.
    fn sum(&self, values: &mut [f32]) -> Result<(), Lost>;

    /// Gives every rank the `bytes` of rank 0; what the others held is forgotten.
    ///
    /// # Errors
    /// A rank that is gone, or that does something else.
    fn share(&self, bytes: &mut Vec<u8>) -> Result<(), Lost>;

    /// Bytes that this rank has sent and received so far.
    fn moved(&self) -> [u64; 2];

    /// Whether this is the one that writes.
    fn leads(&self) -> bool {
        self.rank() == 0
    }
}

/// Why ranks cannot go on together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Nothing comes from it any more.
    #[error("rank {rank} is gone ({why}); its own output says more, if it had time to say it")]
    Gone {
        /// Which.
        rank: usize,
        /// What the system says.
        why: String,
    },
    /// It says nothing that makes sense here.
    #[error("rank {rank} does something else than rank {own} ({what}); all ranks must run one program on one recipe")]
    Astray {
        /// Which.
        rank: usize,
        /// Who says so.
        own: usize,
        /// What came.
        what: String,
    },
    /// They did not come together.
    #[error("{0}")]
    Meeting(String),
}
