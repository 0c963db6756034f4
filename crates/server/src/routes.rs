//! Which address is what.

use crate::{
    ask::Doing,
    http::{Client, Reply, Request},
    native, openai,
    refusal::Refusal,
    server::Server,
};
use serde_json::json;

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Page,
    Health,
    Metrics,
    Models,
    Model(String),
    Generate,
    Edits,
    Submit,
    Job(String),
    Cancel(String),
    Events(String),
    /// Job, number, ending.
    Result(String, usize, String),
    /// Something is here, but not for this method; for these.
    Method(&'static str),
    Nowhere,
}

impl Route {
    /// Of a request's method and path.
    pub fn of(request: &Request) -> Self {
        let parts: Vec<&str> = request.path.split('/').skip(1).collect();
        let method = if request.method == "HEAD" { "GET" } else { &request.method };
        let get = |route: Self| if method == "GET" { route } else { Self::Method("GET, HEAD") };
        let post = |route: Self| if method == "POST" { route } else { Self::Method("POST") };
        match parts[..] {
            [""] => get(Self::Page),
            ["healthz"] => get(Self::Health),
            ["metrics"] => get(Self::Metrics),
            ["v1", "models"] => get(Self::Models),
            ["v1", "models", name] => get(Self::Model(name.into())),
            ["v1", "images", "generations"] => post(Self::Generate),
            ["v1", "images", "edits"] => post(Self::Edits),
            ["api", "jobs"] => post(Self::Submit),
            ["api", "jobs", id] => match method {
                "GET" => Self::Job(id.into()),
                "DELETE" => Self::Cancel(id.into()),
                _ => Self::Method("GET, HEAD, DELETE"),
            },
            ["api", "jobs", id, "events"] => get(Self::Events(id.into())),
            ["api", "jobs", id, "results", file] => {
                match file.split_once('.').and_then(|(at, ending)| Some((at.parse().ok()?, ending))) {
                    Some((at, ending)) => get(Self::Result(id.into(), at, ending.into())),
                    None => Self::Nowhere,
                }
            }
            _ => Self::Nowhere,
        }
    }

    /// What it is counted as.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Health => "healthz",
            Self::Metrics => "metrics",
            Self::Models | Self::Model(_) => "models",
            Self::Generate => "generations",
            Self::Edits => "edits",
            Self::Submit => "submit",
            Self::Job(_) => "job",
            Self::Cancel(_) => "cancel",
            Self::Events(_) => "events",
            Self::Result(..) => "result",
            Self::Method(_) | Self::Nowhere => "none",
        }
    }

    /// Whether it is for those without a key too: the page, which asks for the key, whether the server lives, and results, whose
    /// addresses nobody guesses and which browsers fetch without it.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Page | Self::Health | Self::Result(..))
    }
}

impl Route {
    /// Whether files may come with it.
    pub fn takes_files(&self) -> bool {
        matches!(self, Self::Edits | Self::Submit)
    }
}

/// The answer.
pub fn answer(server: &Server, route: &Route, request: &Request, client: &Client<'_>) -> Result<Reply, Refusal> {
    match route {
        Route::Page => Ok(server.page.reply()),
        Route::Health if server.queue.is_open() => Ok(Reply::json(200, &json!({ "status": "ok" }))),
        Route::Health => Err(Refusal::new(503, "closing", "the server is closing")),
        Route::Metrics => {
            Ok(Reply::new(200, "text/plain; version=0.0.4; charset=utf-8", server.metrics.text(server.queue.len())))
        }
        Route::Models => Ok(openai::models(server)),
        Route::Model(name) => openai::model(server, name),
        Route::Generate => openai::images(server, request, client, Doing::Sample),
        Route::Edits => openai::images(server, request, client, Doing::Change),
        Route::Submit => native::submit(server, request),
        Route::Job(id) => native::show(server, id),
        Route::Cancel(id) => native::cancel(server, id),
        Route::Events(id) => native::events(server, id),
        Route::Result(id, at, ending) => native::result(server, id, *at, ending),
        Route::Method(allowed) => {
            let mut refusal = Refusal::new(405, "method_not_allowed", format!("use {allowed} here"));
            refusal.allow = Some(allowed);
            Err(refusal)
        }
        Route::Nowhere => Err(Refusal::nowhere()),
    }
}
