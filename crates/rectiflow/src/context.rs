//! What a verb is given besides its request: the device, whom to tell, and whether to stop.

use crate::{Error, device::Chosen};
use ranks::Ranks;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// What a verb tells while it works.
pub enum Event<'a> {
    /// A training stage begins ("base", "reflow", "distill").
    Stage {
        /// Its name.
        name: &'a str,
    },
    /// Something of the training loop.
    Train(&'a train::Event<'a>),
    /// A countable piece of work begins.
    Begin {
        /// What: "samples", "pairs".
        what: &'a str,
        /// How many in all.
        total: u64,
    },
    /// So many are done.
    Advance {
        /// Done so far.
        done: u64,
    },
    /// The piece of work is over.
    End,
    /// A line for the reader.
    Note(&'a str),
    /// A line that repeats what was asked for: for whoever asked, and for no log.
    Quote(&'a str),
}

/// Device, listener and stop switch.
pub struct Context<'a> {
    /// Where tensors live.
    pub device: Chosen,
    /// Set from outside (Ctrl-C): training writes a checkpoint and stops, everything else stops.
    pub stop: Arc<AtomicBool>,
    /// The processes that train together, of which this is one; `None` for one alone.
    pub ranks: Option<Arc<dyn Ranks>>,
    listen: Box<dyn FnMut(Event) + 'a>,
}

impl<'a> Context<'a> {
    /// On `device`, telling `listen`.
    pub fn new(device: Chosen, stop: Arc<AtomicBool>, listen: impl FnMut(Event) + 'a) -> Self {
        Self { device, stop, ranks: None, listen: Box::new(listen) }
    }

    /// On the CPU, telling nobody.
    pub fn silent() -> Self {
        Self::new(Chosen::cpu(), Arc::default(), |_| ())
    }

    /// Whether this process is the one that writes.
    pub fn leads(&self) -> bool {
        self.ranks.as_ref().is_none_or(|ranks| ranks.leads())
    }

    /// Which part of a stream of samples is this process's.
    pub(crate) fn share(&self) -> data::Share {
        self.ranks
            .as_ref()
            .map_or_else(data::Share::default, |ranks| data::Share { part: ranks.rank(), of: ranks.size() })
    }

    /// Tells the listener.
    pub fn tell(&mut self, event: Event) {
        (self.listen)(event);
    }

    /// Tells the listener a line.
    pub fn note(&mut self, line: impl AsRef<str>) {
        self.tell(Event::Note(line.as_ref()));
    }

    /// Tells the listener a line that repeats what was asked for.
    pub fn quote(&mut self, line: impl AsRef<str>) {
        self.tell(Event::Quote(line.as_ref()));
    }

    /// [`Error::Interrupted`] once somebody asked to stop.
    ///
    /// # Errors
    /// Only that.
    pub fn go_on(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}
