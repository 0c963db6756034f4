//! Which address is what.

use crate::{
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
    Submit,
    Job(String),
    Cancel(String),
    Events(String),
    Picture(String, usize),
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
            ["api", "jobs"] => post(Self::Submit),
            ["api", "jobs", id] => match method {
                "GET" => Self::Job(id.into()),
                "DELETE" => Self::Cancel(id.into()),
                _ => Self::Method("GET, HEAD, DELETE"),
            },
            ["api", "jobs", id, "events"] => get(Self::Events(id.into())),
            ["api", "jobs", id, "images", file] => match file.strip_suffix(".png").and_then(|at| at.parse().ok()) {
                Some(at) => get(Self::Picture(id.into(), at)),
                None => Self::Nowhere,
            },
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
            Self::Submit => "submit",
            Self::Job(_) => "job",
            Self::Cancel(_) => "cancel",
            Self::Events(_) => "events",
            Self::Picture(..) => "picture",
            Self::Method(_) | Self::Nowhere => "none",
        }
    }

    /// Whether it is for those without a key too: the page, which asks for the key, whether the server lives, and pictures, whose
    /// addresses nobody guesses and which browsers fetch without it.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Page | Self::Health | Self::Picture(..))
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
        Route::Generate => openai::generate(server, request, client),
        Route::Submit => native::submit(server, request),
        Route::Job(id) => native::show(server, id),
        Route::Cancel(id) => native::cancel(server, id),
        Route::Events(id) => native::events(server, id),
        Route::Picture(id, at) => native::picture(server, id, *at),
        Route::Method(allowed) => {
            let mut refusal = Refusal::new(405, "method_not_allowed", format!("use {allowed} here"));
            refusal.allow = Some(allowed);
            Err(refusal)
        }
        Route::Nowhere => Err(Refusal::nowhere()),
    }
}
