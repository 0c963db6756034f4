//! What happens on one connection: requests come, answers go, until one side ends it.

use super::{Request, Trouble, Wire};
use crate::{http::Reply, refusal::Refusal};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Whoever does not read for so long is given up.
const SILENT: Duration = Duration::from_secs(20);
/// An answer must have been taken whole after so long, and a second more for every so many bytes.
const TAKEN: (Duration, usize) = (Duration::from_secs(30), 32 << 10);

/// Who answers requests.
pub trait Service: Sync {
    /// The answer to `request`, whose sender may go away meanwhile.
    fn answer(&self, request: &Request, client: &Client<'_>) -> Reply;

    /// The answer to what was no whole request.
    fn refuse(&self, refusal: &Refusal) -> Reply;

    /// Bytes at most of the body of the request that begins with `head`.
    fn most(&self, head: &Request) -> usize;

    /// Leave to hold a body of so many bytes.
    fn hold(&self, bytes: usize) -> Result<Permit, Refusal>;

    /// Whether another request may follow on a connection.
    fn goes_on(&self) -> bool;
}

/// Leave to hold some bytes, until it is dropped.
#[derive(Debug)]
pub struct Permit {
    held: Arc<AtomicUsize>,
    bytes: usize,
}

impl Permit {
    /// For `bytes` beside those that are `held`, `most` in all.
    pub fn new(held: &Arc<AtomicUsize>, bytes: usize, most: usize) -> Option<Self> {
        let more = |now: usize| now.checked_add(bytes).filter(|all| *all <= most);
        held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self { held: held.clone(), bytes })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The other side of a connection.
pub struct Client<'a> {
    stream: &'a TcpStream,
    closing: &'a AtomicBool,
}

impl Client<'_> {
    /// Whether it has closed the connection. While the server closes, its own doing looks the same and is not meant.
    pub fn gone(&self) -> bool {
        if self.closing.load(Ordering::Relaxed) || self.stream.set_nonblocking(true).is_err() {
            return false;
        }
        let seen = self.stream.peek(&mut [0]);
        let gone = match seen {
            Ok(count) => count == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        };
        self.stream.set_nonblocking(false).is_err() || gone
    }
}

/// Serves `stream` to its end.
pub(super) fn serve(stream: &TcpStream, service: &impl Service, closing: &AtomicBool) {
    let ready = stream.set_nonblocking(false).and(stream.set_nodelay(true));
    if ready.is_err() {
        return;
    }
    let mut wire = Wire::new(stream);
    loop {
        let (reply, bare, keeps) = match wire.request(service) {
            Ok(request) => {
                let reply = service.answer(&request, &Client { stream, closing });
                (reply, request.method == "HEAD", request.keeps && service.goes_on())
            }
            Err(Trouble::Refused(refusal)) => (service.refuse(&refusal), false, false),
            Err(Trouble::Gone) => return,
        };
        let mut out = Paced::new(stream, &reply);
        if !matches!(reply.write(&mut out, bare, keeps), Ok(true)) {
            return end(stream);
        }
    }
}

/// An answer's way out: whoever takes it a byte at a time is given up too.
struct Paced<'a> {
    stream: &'a TcpStream,
    /// Of an answer that comes over time, none.
    until: Option<Instant>,
}

impl<'a> Paced<'a> {
    fn new(stream: &'a TcpStream, reply: &Reply) -> Self {
        let until = reply.size().map(|size| Instant::now() + TAKEN.0 + Duration::from_secs((size / TAKEN.1) as u64));
        Self { stream, until }
    }
}

impl Write for Paced<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.until.map_or(SILENT, |until| until.saturating_duration_since(Instant::now()).min(SILENT));
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_write_timeout(Some(left))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Closes the connection so that the other side, which may still be sending, can read the answer first: closed over unread bytes, it
/// would be reset.
fn end(mut stream: &TcpStream) {
    let until = Instant::now() + Duration::from_secs(1);
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let mut piece = [0; 8 << 10];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        if !matches!(stream.read(&mut piece), Ok(1..)) {
            return;
        }
    }
}
