//! An answer and how it is written.

use std::io::{self, Write};

/// Pieces of an answer that comes over time; `None` at its end. An empty piece only looks whether the other side is still there.
pub type Pieces = Box<dyn FnMut() -> Option<String> + Send>;

/// What an answer carries.
pub enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// Server-sent events, as they come. The connection's end is theirs.
    Events(Pieces),
}

/// An answer.
pub struct Reply {
    /// 200 and others.
    pub status: u16,
    /// Lines of the head.
    pub headers: Vec<(&'static str, String)>,
    /// What it carries.
    pub body: Body,
}

impl Reply {
    /// Bytes of a kind.
    pub fn new(status: u16, kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("Content-Type", kind.into())], body: Body::Whole(body.into()) }
    }

    /// A value as JSON.
    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }

    /// With one more line in its head. A value that would break the line is left out.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        if value.bytes().all(|byte| (32..127).contains(&byte)) {
            self.headers.push((name, value));
        }
        self
    }

    /// Bytes of its body, where all of it is there.
    pub fn size(&self) -> Option<usize> {
        match &self.body {
            Body::Whole(bytes) => Some(bytes.len()),
            Body::Events(_) => None,
        }
    }

    /// Writes it; `bare` without its body, as HEAD asks. Says whether another may follow on this connection.
    pub fn write(self, out: &mut impl Write, bare: bool, keeps: bool) -> io::Result<bool> {
        let (whole, events) = match self.body {
            Body::Whole(bytes) => (bytes, None),
            Body::Events(events) => (Vec::new(), Some(events)),
        };
        let keeps = keeps && events.is_none();
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, phrase(self.status));
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if events.is_none() {
            head += &format!("Content-Length: {}\r\n", whole.len());
        }
        head += if keeps { "\r\n" } else { "Connection: close\r\n\r\n" };
        let mut bytes = head.into_bytes();
        if !bare {
            bytes.extend(whole);
        }
        out.write_all(&bytes)?;
        if let Some(mut next) = events.filter(|_| !bare) {
            while let Some(piece) = next() {
                out.write_all(piece.as_bytes())?;
            }
        }
        out.flush()?;
        Ok(keeps)
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: Reply, bare: bool, keeps: bool) -> String {
        let mut out = Vec::new();
        reply.write(&mut out, bare, keeps).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Mutant: a value with a line break, let through, writes a head of its own.
    #[test]
    fn heads_say_how_much_follows() {
        let reply = || Reply::new(200, "text/plain", "hello").with("X-A", "1").with("X-B", "2\r\nX-C: 3");
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-A: 1\r\nContent-Length: 5\r\n";
        assert_eq!(written(reply(), false, true), format!("{head}\r\nhello"));
        assert_eq!(written(reply(), true, false), format!("{head}Connection: close\r\n\r\n"));
    }

    #[test]
    fn events_end_with_their_connection() {
        let mut left = 2;
        let next = move || {
            left -= 1;
            (left >= 0).then(|| format!("data: {left}\n\n"))
        };
        let reply = Reply { status: 200, headers: Vec::new(), body: Body::Events(Box::new(next)) };
        assert_eq!(written(reply, false, true), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ndata: 1\n\ndata: 0\n\n");
    }
}
