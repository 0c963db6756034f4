//! Who may ask: a page of another site in somebody's browser may not, nor one that had its own name pointed here (DNS rebinding), nor
//! whoever lacks the key.

use crate::{http::Request, refusal::Refusal};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use subtle::ConstantTimeEq;

/// What is compared with every request.
pub struct Guard {
    key: Option<[u8; 32]>,
    hosts: Vec<String>,
}

impl Guard {
    /// Of a server with this key, which is called by these names.
    pub fn new(key: Option<&str>, hosts: &[String]) -> Self {
        let key = key.map(|key| Sha256::digest(key.trim().as_bytes()).into()); // a file's last newline
        Self { key, hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect() }
    }

    /// Refuses who came by another name, or from another site.
    pub fn place(&self, request: &Request) -> Result<(), Refusal> {
        let host = host(&request.authority).ok_or_else(|| Refusal::new(400, "bad_request", "Host is no host"))?;
        // An address cannot be pointed elsewhere; a name can, and then a page under it is of the same origin as this server.
        let known = host == "localhost" || address(&host) || self.hosts.contains(&host);
        if !known {
            let message = "this server is not called so; start it with `--allow-host NAME` if it is";
            return Err(Refusal::new(403, "host_not_allowed", message));
        }
        let Some(origin) = request.header("origin") else { return Ok(()) };
        let from = origin.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
        match from {
            Some((_, from)) if from.eq_ignore_ascii_case(&request.authority) => Ok(()),
            _ => Err(Refusal::new(403, "cross_origin", "pages of other sites may not use this server")),
        }
    }

    /// Refuses who does not have the key.
    pub fn key(&self, request: &Request) -> Result<(), Refusal> {
        let Some(key) = &self.key else { return Ok(()) };
        let sent = request.header("authorization").unwrap_or_default();
        let (scheme, sent) = sent.split_once(' ').unwrap_or_default();
        // A1111's clients know names with passwords alone; the key is the password of any name.
        let basic = || String::from_utf8(BASE64_STANDARD.decode(sent.trim()).ok()?).ok();
        let basic = scheme.eq_ignore_ascii_case("basic").then(basic).flatten();
        let password = basic.as_deref().and_then(|pair| pair.split_once(':')).map(|(_, password)| password);
        let known = password.is_some() || scheme.eq_ignore_ascii_case("bearer");
        let sent = password.unwrap_or(sent);
        let wrong = || Refusal::new(401, "invalid_api_key", "send the server's key as `Authorization: Bearer KEY`");
        // Digests are compared, whole: how long that takes says nothing of the key, nor of its length.
        let same: bool = Sha256::digest(sent.trim().as_bytes()).ct_eq(key).into();
        if same && known { Ok(()) } else { Err(wrong()) }
    }

    /// Whether a key is asked for.
    pub fn locked(&self) -> bool {
        self.key.is_some()
    }
}

/// The host of `host:port`, in small letters.
fn host(authority: &str) -> Option<String> {
    let host = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (port.is_empty() || is_port(port.strip_prefix(':')?)).then_some(host)?
        }
        None => match authority.split_once(':') {
            None => authority,
            Some((host, port)) => is_port(port).then_some(host)?,
        },
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
    (!host.is_empty() && host.bytes().all(plain)).then(|| host.to_ascii_lowercase())
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_ports() {
        let read = |text: &str| host(text);
        assert_eq!(read("LocalHost:7860").as_deref(), Some("localhost"));
        assert_eq!(read("[::1]:7860").as_deref(), Some("::1"));
        assert_eq!(read("127.0.0.1").as_deref(), Some("127.0.0.1"));
        for wrong in ["", ":80", "a:b", "a:+1", "a b", "a/b", "[::1", "[::1]x", "a@b", "a:80:80"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
