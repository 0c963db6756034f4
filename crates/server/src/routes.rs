//! Which address is what: one table, which requests are looked up in and `/openapi.json` is written from.

use crate::{
    a1111,
    ask::Doing,
    http::{Client, Reply, Request},
    native, openai, openapi,
    refusal::Refusal,
    runs,
    server::Server,
};
use serde_json::json;

/// What is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Page,
    Health,
    Metrics,
    Document,
    Models,
    Model,
    Generate,
    Edits,
    Submit,
    Jobs,
    Job,
    Cancel,
    Events,
    Result,
    Runs,
    Run,
    Sheet,
    Text2Image,
    Image2Image,
    Progress,
    Interrupt,
    Checkpoints,
    Samplers,
    Options,
    Choose,
}

/// An address, and what is known of it.
#[derive(Debug)]
pub struct Entry {
    pub method: &'static str,
    /// With names in braces for what varies.
    pub path: &'static str,
    pub what: What,
    /// What it is counted as.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// The keys of its body, by the name of their schema.
    pub body: Option<&'static str>,
    /// Whether files may come with it.
    pub files: bool,
    /// Whether it is for those without a key too: the page, which asks for the key, whether the server lives, and results, whose
    /// addresses nobody guesses and which browsers fetch without it.
    pub open: bool,
    /// What it answers.
    pub kind: &'static str,
}

const fn get(path: &'static str, what: What, name: &'static str, about: &'static str) -> Entry {
    Entry { method: "GET", path, what, name, about, body: None, files: false, open: false, kind: "application/json" }
}

const fn post(path: &'static str, what: What, name: &'static str, body: &'static str, about: &'static str) -> Entry {
    Entry { method: "POST", body: Some(body), ..get(path, what, name, about) }
}

const fn files(entry: Entry) -> Entry {
    Entry { files: true, ..entry }
}

const fn open(entry: Entry, kind: &'static str) -> Entry {
    Entry { open: true, kind, ..entry }
}

/// Every address there is.
pub const TABLE: &[Entry] = &[
    open(get("/", What::Page, "page", "The page."), "text/html"),
    open(get("/healthz", What::Health, "healthz", "Whether requests are taken."), "application/json"),
    Entry { kind: "text/plain", ..get("/metrics", What::Metrics, "metrics", "Counters for Prometheus.") },
    get("/openapi.json", What::Document, "openapi", "This document."),
    get("/v1/models", What::Models, "models", "All models, and what each can be asked."),
    get("/v1/models/{model}", What::Model, "models", "One model."),
    post("/v1/images/generations", What::Generate, "generations", "Generation", "Draws pictures; answers with them."),
    files(post(
        "/v1/images/edits",
        What::Edits,
        "edits",
        "Change",
        "Restores or edits a picture; answers with the results.",
    )),
    files(post("/api/jobs", What::Submit, "submit", "Job", "Lets a job wait; answers with its id.")),
    get("/api/jobs", What::Jobs, "jobs", "All jobs that are known, where a key is asked for."),
    get("/api/jobs/{id}", What::Job, "job", "How far a job is."),
    Entry { method: "DELETE", ..get("/api/jobs/{id}", What::Cancel, "cancel", "Cancels a job.") },
    Entry {
        kind: "text/event-stream",
        ..get("/api/jobs/{id}/events", What::Events, "events", "A job's changes as they come.")
    },
    open(get("/api/jobs/{id}/results/{file}", What::Result, "result", "What was made."), "application/octet-stream"),
    get("/api/runs", What::Runs, "runs", "The runs in the folder of --runs."),
    get("/api/runs/{run}", What::Run, "run", "A run's curves and sheets, as it is now."),
    Entry { kind: "image/png", ..get("/api/runs/{run}/sheets/{file}", What::Sheet, "sheet", "A sheet of samples.") },
    post("/sdapi/v1/txt2img", What::Text2Image, "txt2img", "Text2Image", "A1111: draws pictures."),
    files(post(
        "/sdapi/v1/img2img",
        What::Image2Image,
        "img2img",
        "Image2Image",
        "A1111: restores or edits a picture.",
    )),
    get("/sdapi/v1/progress", What::Progress, "progress", "A1111: how far the oldest of its requests is."),
    Entry {
        method: "POST",
        ..get("/sdapi/v1/interrupt", What::Interrupt, "interrupt", "A1111: cancels the oldest of its requests.")
    },
    get("/sdapi/v1/sd-models", What::Checkpoints, "sd-models", "A1111: all models that draw pictures."),
    get("/sdapi/v1/samplers", What::Samplers, "samplers", "A1111: the solvers of the models."),
    get("/sdapi/v1/options", What::Options, "options", "A1111: the model that was chosen."),
    post("/sdapi/v1/options", What::Choose, "options", "Options", "A1111: chooses the model of later requests."),
];

/// What a request is for.
#[derive(Clone, Debug)]
pub enum Route {
    /// An address of the table, and what stands in the place of its braces.
    At(&'static Entry, Vec<String>),
    /// Something is here, but not for this method; for these.
    Method(String),
    Nowhere,
}

impl Route {
    /// Of a request's method and path.
    pub fn of(request: &Request) -> Self {
        let method = if request.method == "HEAD" { "GET" } else { &request.method };
        let mut allowed: Vec<&str> = Vec::new();
        for entry in TABLE {
            let Some(parts) = fitting(entry.path, &request.path) else { continue };
            if entry.method == method {
                return Self::At(entry, parts);
            }
            allowed.extend(if entry.method == "GET" {
                &["GET", "HEAD"][..]
            } else {
                std::slice::from_ref(&entry.method)
            });
        }
        if allowed.is_empty() { Self::Nowhere } else { Self::Method(allowed.join(", ")) }
    }

    fn entry(&self) -> Option<&'static Entry> {
        match self {
            Self::At(entry, _) => Some(entry),
            Self::Method(_) | Self::Nowhere => None,
        }
    }

    /// What it is counted as.
    pub fn name(&self) -> &'static str {
        self.entry().map_or("none", |entry| entry.name)
    }

    /// Whether it is for those without a key too.
    pub fn is_open(&self) -> bool {
        self.entry().is_some_and(|entry| entry.open)
    }

    /// Whether files may come with it.
    pub fn takes_files(&self) -> bool {
        self.entry().is_some_and(|entry| entry.files)
    }

    /// Whether its client is one of A1111's, who reads refusals in another form.
    pub fn is_theirs(&self) -> bool {
        self.entry().is_some_and(|entry| entry.path.starts_with("/sdapi/"))
    }
}

/// What stands in `path` in the place of the braces of `pattern`.
fn fitting(pattern: &str, path: &str) -> Option<Vec<String>> {
    let (pattern, path) = (pattern.split('/'), path.split('/'));
    let (all, given): (Vec<&str>, Vec<&str>) = (pattern.collect(), path.collect());
    let fits = |(wanted, found): (&&str, &&str)| wanted == found || (wanted.starts_with('{') && !found.is_empty());
    (all.len() == given.len() && all.iter().zip(&given).all(fits)).then_some(())?;
    Some(
        all.iter()
            .zip(&given)
            .filter(|(wanted, _)| wanted.starts_with('{'))
            .map(|(_, found)| found.to_string())
            .collect(),
    )
}

/// The answer.
pub fn answer(server: &Server, route: &Route, request: &Request, client: &Client<'_>) -> Result<Reply, Refusal> {
    let (entry, parts) = match route {
        Route::At(entry, parts) => (entry, parts),
        Route::Method(allowed) => {
            let mut refusal = Refusal::new(405, "method_not_allowed", format!("use {allowed} here"));
            refusal.allow = Some(allowed.clone());
            return Err(refusal);
        }
        Route::Nowhere => return Err(Refusal::nowhere()),
    };
    let part = |at: usize| parts.get(at).map(String::as_str).unwrap_or_default();
    match entry.what {
        What::Page => Ok(server.page.reply()),
        What::Health if server.queue.is_open() => Ok(Reply::json(200, &json!({ "status": "ok" }))),
        What::Health => Err(Refusal::new(503, "closing", "the server is closing")),
        What::Metrics => {
            Ok(Reply::new(200, "text/plain; version=0.0.4; charset=utf-8", server.metrics.text(server.queue.len())))
        }
        What::Document => Ok(Reply::json(200, &openapi::document(&server.options.limits))),
        What::Models => Ok(openai::models(server)),
        What::Model => openai::model(server, part(0)),
        What::Generate => openai::images(server, request, client, Doing::Sample),
        What::Edits => openai::images(server, request, client, Doing::Change),
        What::Submit => native::submit(server, request),
        What::Jobs => native::all(server),
        What::Job => native::show(server, part(0)),
        What::Cancel => native::cancel(server, part(0)),
        What::Events => native::events(server, part(0)),
        What::Result => native::result(server, part(0), part(1)),
        What::Runs => Ok(runs::all(server)),
        What::Run => runs::one(server, part(0)),
        What::Sheet => runs::sheet(server, part(0), part(1)),
        What::Text2Image => a1111::draw(server, request, client, false),
        What::Image2Image => a1111::draw(server, request, client, true),
        What::Progress => Ok(a1111::progress(server)),
        What::Interrupt => Ok(a1111::interrupt(server)),
        What::Checkpoints => Ok(a1111::models(server)),
        What::Samplers => Ok(a1111::samplers(server)),
        What::Options => Ok(a1111::options(server)),
        What::Choose => a1111::choose(server, request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: a name in braces that takes nothing, or a slash; the first address of two that fit.
    #[test]
    fn addresses_are_told_apart() {
        assert_eq!(fitting("/api/jobs/{id}/results/{file}", "/api/jobs/a/results/0.png").unwrap(), ["a", "0.png"]);
        for other in
            ["/api/jobs/a", "/api/jobs//results/0.png", "/api/jobs/a/results/0.png/", "api/jobs/a/results/0.png"]
        {
            assert_eq!(fitting("/api/jobs/{id}/results/{file}", other), None, "{other}");
        }
        assert_eq!(fitting("/", "/").unwrap(), Vec::<String>::new());
        for (at, entry) in TABLE.iter().enumerate() {
            assert!(
                TABLE[..at].iter().all(|other| (other.method, other.path) != (entry.method, entry.path)),
                "{}",
                entry.path
            );
        }
    }
}
