//! A hub on this machine: one model's files under the two addresses that a client asks.

use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
};

/// Names and bytes.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A hub with one model, `someone/tiny`.
pub struct Hub {
    pub endpoint: String,
    /// What was asked for, in order.
    pub asked: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    /// Serves `files`; what it says of `damaged` is another file's digest.
    pub fn open(files: Files, damaged: Option<&'static str>) -> Self {
        Self::at("c0ffee", files, damaged)
    }

    /// The same at another revision.
    pub fn at(revision: &'static str, files: Files, damaged: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (files, heard) = (Arc::new(files), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, heard) = (files.clone(), heard.clone());
                std::thread::spawn(move || answer(&stream, revision, &files, damaged, &heard));
            }
        });
        Self { endpoint, asked }
    }
}

/// The files below `folder`.
pub fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    for entry in walkdir(folder) {
        let name = entry.strip_prefix(folder).unwrap().to_str().unwrap().to_string();
        found.insert(name, fs::read(entry).unwrap());
    }
    found
}

fn walkdir(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walkdir(&path) } else { vec![path] }).collect()
}

fn answer(stream: &TcpStream, revision: &str, files: &Files, damaged: Option<&str>, heard: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let path = first.split(' ').nth(1).unwrap_or_default().to_string();
    heard.lock().unwrap().push(path.clone());
    let range = head.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_string));
    let mut out = stream;
    let mut send = |status: &str, headers: &str, body: &[u8]| {
        let _ =
            write!(out, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len());
        let _ = out.write_all(body);
    };
    if path.starts_with("/api/models/someone/tiny") {
        let siblings = files.iter().map(|(name, bytes)| serde_json::json!({ "rfilename": name, "size": bytes.len() }));
        let list = serde_json::json!({ "sha": revision, "siblings": siblings.collect::<Vec<_>>() });
        return send("200 OK", "", list.to_string().as_bytes());
    }
    let here = format!("/someone/tiny/resolve/{revision}/");
    let name = path.strip_prefix(here.as_str()).unwrap_or_default();
    let Some(bytes) = files.get(name) else { return send("404 Not Found", "", b"") };
    // Large files are known by their sha256, small ones by git's own digest.
    let digest = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let etag = match name {
        _ if damaged == Some(name) => digest(b"another"),
        _ if name.ends_with(".safetensors") => digest(bytes),
        _ => digest(bytes)[..40].to_string(),
    };
    let (from, to) = range.as_deref().and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
    let (from, all) = (from.parse::<usize>().unwrap(), bytes.len());
    let to = to.parse::<usize>().map_or(all, |to| (to + 1).min(all));
    let headers = format!(
        "etag: \"{etag}\"\r\nx-repo-commit: {revision}\r\ncontent-range: bytes {from}-{}/{all}\r\n",
        to.saturating_sub(1)
    );
    send("206 Partial Content", &headers, &bytes[from.min(to)..to]);
}
