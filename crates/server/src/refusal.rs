//! Why a request is not served, in the form that OpenAI's clients read: `{"error": {"message", "type", "param", "code"}}`.

use crate::http::Reply;
use serde_json::json;

/// A refusal with its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Of the answer.
    pub status: u16,
    /// A word that programs can tell reasons apart by.
    pub code: &'static str,
    /// What is wrong, and what would be right.
    pub message: String,
    /// The key of the request that is wrong.
    pub param: Option<String>,
    /// Seconds after which to try again.
    pub retry: Option<u64>,
    /// Methods that would be answered.
    pub allow: Option<String>,
}

impl Refusal {
    /// With this status.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), param: None, retry: None, allow: None }
    }

    /// The key `param` of a request has a value that cannot be served.
    pub fn bad(param: &str, message: impl Into<String>) -> Self {
        let message = format!("{param}: {}", message.into());
        Self { param: Some(param.into()), ..Self::new(400, "invalid_value", message) }
    }

    /// Said of `key`, where it was said of `param`.
    pub fn about(mut self, param: &str, key: &str) -> Self {
        if self.param.as_deref() == Some(param) {
            self.message = self.message.replacen(param, key, 1);
            self.param = Some(key.into());
        }
        self
    }

    /// Nothing is at this address.
    pub fn nowhere() -> Self {
        Self::new(404, "not_found", "nothing is here; docs/serve.md lists the addresses")
    }

    /// To be tried again in `seconds`.
    pub fn after(self, seconds: u64) -> Self {
        Self { retry: Some(seconds), ..self }
    }

    /// OpenAI's word for the kind of refusal.
    fn kind(&self) -> &'static str {
        match self.status {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The object that describes it.
    pub fn value(&self) -> serde_json::Value {
        json!({ "message": self.message, "type": self.kind(), "param": self.param, "code": self.code })
    }

    /// As an answer.
    pub fn reply(&self) -> Reply {
        let reply = Reply::json(self.status, &json!({ "error": self.value() }));
        let reply = match self.status {
            401 => reply.with("WWW-Authenticate", "Bearer"),
            _ => reply,
        };
        let reply = match &self.allow {
            Some(methods) => reply.with("Allow", methods),
            None => reply,
        };
        match self.retry {
            Some(seconds) => reply.with("Retry-After", seconds.to_string()),
            None => reply,
        }
    }
}
