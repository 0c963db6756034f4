//! A client that sends exactly the bytes it is told, and reads one answer.

use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The word for what was refused.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().into()
    }
}

/// A connection with `bytes` sent.
pub fn send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let _ = stream.write_all(bytes); // a server that refuses may close before it has read all
    stream
}

/// The next answer on a connection.
pub fn read(stream: &TcpStream) -> Answer {
    answer(stream, false)
}

/// The next answer, `bare` where it has no body whatever its head says.
fn answer(stream: &TcpStream, bare: bool) -> Answer {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).expect("an answer");
    let status = line.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{line:?}"));
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a head");
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_string());
    }
    let mut body = Vec::new();
    match headers.get("content-length").and_then(|length| length.parse().ok()) {
        _ if bare => {}
        Some(length) => {
            body.resize(length, 0);
            reader.read_exact(&mut body).expect("as many bytes as promised");
        }
        None => drop(reader.read_to_end(&mut body).expect("an end")),
    }
    Answer { status, headers, body }
}

/// The bytes of a request; `lines` stand in its head.
pub fn request(method: &str, path: &str, lines: &[&str], body: &str) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !lines.iter().any(|line| line.to_ascii_lowercase().starts_with("host:")) {
        head += "Host: localhost\r\n";
    }
    if !body.is_empty() && !lines.iter().any(|line| line.starts_with("Content-Type")) {
        head += "Content-Type: application/json\r\n";
    }
    for line in lines {
        head += &format!("{line}\r\n");
    }
    if !body.is_empty() {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    format!("{head}\r\n{body}").into_bytes()
}

/// One request and its answer.
pub fn ask(address: SocketAddr, method: &str, path: &str, lines: &[&str], body: &str) -> Answer {
    answer(&send(address, &request(method, path, lines, body)), method == "HEAD")
}

pub fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, &[], "")
}

pub fn post(address: SocketAddr, path: &str, body: &Value) -> Answer {
    ask(address, "POST", path, &[], &body.to_string())
}

/// A form with texts and files, as browsers and OpenAI's client send it.
pub fn form(address: SocketAddr, path: &str, texts: &[(&str, &str)], files: &[(&str, Vec<u8>)]) -> Answer {
    let line = "dd8f0c5a61c3b2e7";
    let mut body = Vec::new();
    for (name, text) in texts {
        body.extend(format!("--{line}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n").bytes());
    }
    for (name, content) in files {
        let head = format!(
            "Content-Disposition: form-data; name=\"{name}\"; filename=\"picture.png\"\r\nContent-Type: image/png"
        );
        body.extend(format!("--{line}\r\n{head}\r\n\r\n").bytes());
        body.extend(content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{line}--\r\n").bytes());
    let kind = format!("Content-Type: multipart/form-data; boundary={line}");
    let length = format!("Content-Length: {}", body.len());
    let mut bytes = request("POST", path, &[&kind, &length], "");
    bytes.extend(body);
    answer(&send(address, &bytes), false)
}
