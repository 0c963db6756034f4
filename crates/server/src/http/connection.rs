//! What happens on one connection: requests come, answers go, until one side ends it.

use super::{Request, Trouble, Wire};
use crate::{http::Reply, refusal::Refusal};
use std::{
    io::Read,
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Whoever does not read for so long is given up.
const SILENT: Duration = Duration::from_secs(20);

/// Who answers requests.
pub trait Service: Sync {
    /// The answer to `request`, whose sender may go away meanwhile.
    fn answer(&self, request: &Request, client: &Client<'_>) -> Reply;

    /// The answer to what was no whole request.
    fn refuse(&self, refusal: &Refusal) -> Reply;

    /// Bytes of a request's body at most.
    fn most(&self) -> usize;

    /// Whether another request may follow on a connection.
    fn goes_on(&self) -> bool;
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
    let ready = stream.set_nonblocking(false).and(stream.set_nodelay(true)).and(stream.set_write_timeout(Some(SILENT)));
    if ready.is_err() {
        return;
    }
    let mut wire = Wire::new(stream, service.most());
    loop {
        let (reply, bare, keeps) = match wire.request() {
            Ok(request) => {
                let reply = service.answer(&request, &Client { stream, closing });
                (reply, request.method == "HEAD", request.keeps && service.goes_on())
            }
            Err(Trouble::Refused(refusal)) => (service.refuse(&refusal), false, false),
            Err(Trouble::Gone) => return,
        };
        if !matches!(reply.write(&mut &*stream, bare, keeps), Ok(true)) {
            return end(stream);
        }
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
