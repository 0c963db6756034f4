//! One request off a connection, whole or refused. A body has its length in front: the framing by chunks, which intermediaries have
//! read in other ways than servers before, is refused.

use super::{Permit, Service};
use crate::refusal::Refusal;
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

/// A connection may be idle so long between requests.
const IDLE: Duration = Duration::from_secs(30);
/// A request's head, and then its body, must have come after so long, however many small pieces they come in.
const WHOLE: Duration = Duration::from_secs(10);
/// Bytes of a body for which there is a second more.
const PACE: usize = 256 << 10;
/// Bytes of a head at most.
const HEAD: usize = 16 << 10;
/// Lines of a head at most.
const LINES: usize = 64;

/// A request that has come whole.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// The path, without what follows a question mark.
    pub path: String,
    /// Whom it was meant for: `localhost:7860`.
    pub authority: String,
    /// What was sent with it.
    pub body: Vec<u8>,
    /// Whether another request may follow on this connection.
    pub keeps: bool,
    headers: Vec<(String, String)>,
    /// Leave to hold the body.
    pub permit: Option<Arc<Permit>>,
}

impl Request {
    /// The first value of a header; `name` in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a header that is a list has `word`.
    fn lists(&self, name: &str, word: &str) -> bool {
        self.all(name).flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(word))
    }

    /// From the head's parts.
    fn of(parsed: &httparse::Request<'_, '_>) -> Result<Self, Refusal> {
        let refused = |message: &str| Refusal::new(400, "bad_request", message);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = parsed.headers.iter().map(|line| (line.name.to_ascii_lowercase(), text(line.value))).collect();
        let (method, target) = (parsed.method.unwrap_or_default().into(), parsed.path.unwrap_or_default());
        let mut request = Self { method, headers, ..Self::default() };
        let modern = parsed.version == Some(1);
        request.keeps = modern && !request.lists("connection", "close");
        // A target may name whom it is for, and then a second name in `Host` would be one to be deceived by.
        let path = match target.strip_prefix("http://") {
            None => target,
            Some(rest) => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                request.authority = rest[..end].into();
                if rest[end..].is_empty() { "/" } else { &rest[end..] }
            }
        };
        if !path.starts_with('/') {
            return Err(refused("the request's target must be a path"));
        }
        request.path = path.split('?').next().unwrap_or_default().into();
        let hosts: Vec<&str> = request.all("host").collect();
        match hosts[..] {
            [host] if request.authority.is_empty() || request.authority == host => request.authority = host.into(),
            [] if !modern => {}
            _ => return Err(refused("a request names one host, in the header Host")),
        }
        Ok(request)
    }

    /// Bytes of the body to come.
    fn length(&self, most: usize) -> Result<usize, Refusal> {
        if self.all("transfer-encoding").next().is_some() {
            return Err(Refusal::new(411, "length_required", "send the body with Content-Length, not in chunks"));
        }
        let mut lengths = self.all("content-length");
        let Some(text) = lengths.next() else { return Ok(0) };
        let digits = !text.is_empty() && text.len() < 20 && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || lengths.any(|other| other != text) {
            return Err(Refusal::new(400, "bad_request", "Content-Length must be one whole number"));
        }
        match text.parse() {
            Ok(length) if length <= most => Ok(length),
            _ => Err(Refusal::new(413, "too_large", format!("the body may have {most} bytes"))),
        }
    }
}

/// Why no request came.
#[derive(Debug)]
pub enum Trouble {
    /// The other side has gone, or was silent too long.
    Gone,
    /// It will be told why, and the connection ends.
    Refused(Refusal),
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A connection that requests are read from.
pub struct Wire<'a> {
    stream: &'a TcpStream,
    /// What has come and is not yet read.
    buffer: Vec<u8>,
}

impl<'a> Wire<'a> {
    /// Requests on `stream`.
    pub fn new(stream: &'a TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// The next request, whose body is as large as `service` allows.
    pub fn request(&mut self, service: &impl Service) -> Result<Request, Trouble> {
        if self.buffer.is_empty() && !matches!(self.more(Instant::now() + IDLE), Ok(1..)) {
            return Err(Trouble::Gone);
        }
        let mut request = self.head()?;
        let length = request.length(service.most(&request))?;
        if length > 0 {
            request.permit = Some(Arc::new(service.hold(length)?));
        }
        if let Some(expected) = request.header("expect") {
            if !expected.eq_ignore_ascii_case("100-continue") {
                return Err(Refusal::new(417, "bad_request", "Expect knows 100-continue alone").into());
            }
            if self.buffer.len() < length && self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_err() {
                return Err(Trouble::Gone);
            }
        }
        self.until(WHOLE + Duration::from_secs((length / PACE) as u64), |buffer| buffer.len() >= length)?;
        request.body = self.buffer.drain(..length).collect();
        Ok(request)
    }

    fn head(&mut self) -> Result<Request, Trouble> {
        self.until(WHOLE, |buffer| ended(buffer) || buffer.len() > HEAD)?;
        let mut lines = [httparse::EMPTY_HEADER; LINES];
        let mut parsed = httparse::Request::new(&mut lines);
        let too_large = || Refusal::new(431, "too_large", format!("a head has {HEAD} bytes and {LINES} lines at most"));
        match parsed.parse(&self.buffer) {
            Ok(httparse::Status::Complete(end)) if end <= HEAD => {
                let request = Request::of(&parsed)?;
                self.buffer.drain(..end);
                Ok(request)
            }
            Ok(_) | Err(httparse::Error::TooManyHeaders) => Err(too_large().into()),
            Err(error) => Err(Refusal::new(400, "bad_request", format!("this is no HTTP request: {error}")).into()),
        }
    }

    /// Reads on until the buffer is `enough`.
    fn until(&mut self, time: Duration, enough: impl Fn(&[u8]) -> bool) -> Result<(), Trouble> {
        let deadline = Instant::now() + time;
        while !enough(&self.buffer) {
            match self.more(deadline) {
                Ok(0) => return Err(Trouble::Gone),
                Ok(_) => {}
                Err(ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(Refusal::new(408, "too_slow", "the request did not come whole in time").into());
                }
                Err(_) => return Err(Trouble::Gone),
            }
        }
        Ok(())
    }

    /// Reads what comes before `deadline`; 0 at the end.
    fn more(&mut self, deadline: Instant) -> Result<usize, ErrorKind> {
        let mut piece = [0; 8 << 10];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut);
            }
            self.stream.set_read_timeout(Some(left)).map_err(|error| error.kind())?;
            match self.stream.read(&mut piece) {
                Ok(count) => {
                    self.buffer.extend_from_slice(&piece[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.kind()),
            }
        }
    }
}

/// Whether a head ends in `buffer`, or it is none: whoever parses it will say.
fn ended(buffer: &[u8]) -> bool {
    let mut lines = [httparse::EMPTY_HEADER; LINES];
    !matches!(httparse::Request::new(&mut lines).parse(buffer), Ok(httparse::Status::Partial))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Shutdown, TcpListener};

    /// Bodies of 100 bytes.
    struct Narrow;

    impl Service for Narrow {
        fn answer(&self, _: &Request, _: &crate::http::Client<'_>) -> crate::http::Reply {
            crate::http::Reply::new(200, "text/plain", "")
        }

        fn refuse(&self, refusal: &Refusal) -> crate::http::Reply {
            refusal.reply()
        }

        fn most(&self, _: &Request) -> usize {
            100
        }

        fn hold(&self, bytes: usize) -> Result<Permit, Refusal> {
            Permit::new(&Arc::default(), bytes, 100).ok_or_else(Refusal::nowhere)
        }

        fn goes_on(&self) -> bool {
            true
        }
    }

    /// What is made of bytes that come over a real connection.
    fn read(bytes: &[u8]) -> Vec<Result<Request, Trouble>> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(bytes).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (server, _) = listener.accept().unwrap();
        let mut wire = Wire::new(&server);
        let mut all = Vec::new();
        loop {
            match wire.request(&Narrow) {
                Err(Trouble::Gone) => return all,
                Err(refused) => {
                    all.push(Err(refused));
                    return all;
                }
                Ok(request) => all.push(Ok(request)),
            }
        }
    }

    fn status(bytes: &str) -> u16 {
        match read(bytes.as_bytes()).pop() {
            Some(Err(Trouble::Refused(refusal))) => refusal.status,
            other => panic!("{bytes:?} was not refused: {other:?}"),
        }
    }

    #[test]
    fn requests_follow_one_another() {
        let both = "POST /a?q=1 HTTP/1.1\r\nHost: localhost\r\ncontent-LENGTH: 3\r\n\r\nabcGET http://localhost/b HTTP/1.1\r\n\
                    host: localhost\r\nConnection: keep-alive, Close\r\n\r\n";
        let all = read(both.as_bytes());
        let [Ok(first), Ok(second)] = &all[..] else { panic!("{all:?}") };
        assert_eq!((first.method.as_str(), first.path.as_str(), &first.body[..]), ("POST", "/a", &b"abc"[..]));
        assert_eq!((second.path.as_str(), second.authority.as_str()), ("/b", "localhost"));
        assert!(first.keeps && !second.keeps);
    }

    /// Mutant: lengths that differ pass where only the first is looked at; a body in chunks is read as the next request.
    #[test]
    fn what_two_readers_could_read_in_two_ways_is_refused() {
        let with = |lines: &str| format!("POST / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\nabc");
        assert_eq!(status(&with("Content-Length: 3\r\nContent-Length: 4")), 400);
        assert_eq!(status(&with("Content-Length: +3")), 400);
        assert_eq!(status(&with("Content-Length: 3\r\nTransfer-Encoding: chunked")), 411);
        assert_eq!(status(&with("Content-Length: 101")), 413);
        assert_eq!(status(&with("Content-Length: 99999999999999999999999999")), 400);
        assert_eq!(status(&with("Host: other\r\nContent-Length: 3")), 400);
        assert_eq!(status("GET http://other/ HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status("GET * HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400);
        assert_eq!(status("\u{1}\u{2}\r\n\r\n"), 400);
        assert_eq!(status(&with(&"X: 1\r\n".repeat(70))), 431);
        assert_eq!(status(&with(&format!("X: {}", "a".repeat(HEAD)))), 431);
    }
}
