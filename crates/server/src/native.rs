//! Jobs: given in, watched, fetched and cancelled by their id.

use crate::{
    ask::Doing,
    http::{Body, Reply, Request},
    job::{Job, Progress, State},
    refusal::Refusal,
    server::Server,
    shelf::join,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use rectiflow::serving::Medium;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// So often a watcher who hears nothing new hears something.
const BEAT: Duration = Duration::from_secs(5);

/// Where a file is.
pub fn address(id: &str, at: usize, medium: Medium) -> String {
    format!("/api/jobs/{id}/results/{at}.{}", medium.ending())
}

fn find(server: &Server, id: &str) -> Result<Arc<Job>, Refusal> {
    let gone = || Refusal::new(404, "no_such_job", "there is no such job; the oldest are forgotten");
    server.store.find(id).ok_or_else(gone)
}

/// Lets a job wait.
pub fn submit(server: &Server, request: &Request) -> Result<Reply, Refusal> {
    let (ask, ()) = server.ask(request, Doing::Said, |_| Ok(()))?;
    let job = server.submit(ask, true)?;
    Ok(Reply::json(202, &value(server, &job, &job.progress())).with("Location", format!("/api/jobs/{}", job.id)))
}

/// What has become of it.
pub fn show(server: &Server, id: &str) -> Result<Reply, Refusal> {
    let job = find(server, id)?;
    Ok(Reply::json(200, &value(server, &job, &job.progress())))
}

/// Ends it.
pub fn cancel(server: &Server, id: &str) -> Result<Reply, Refusal> {
    let job = find(server, id)?;
    server.cancel(&job);
    show(server, id)
}

/// A file of it.
pub fn result(server: &Server, id: &str, file: &str) -> Result<Reply, Refusal> {
    let parsed = file.split_once('.').and_then(|(at, ending)| Some((at.parse::<usize>().ok()?, ending)));
    let (at, ending) = parsed.ok_or_else(Refusal::nowhere)?;
    let job = find(server, id)?;
    match job.progress().files.get(at) {
        Some(Some(file)) if file.medium.ending() == ending => {
            let reply = Reply::new(200, file.medium.kind(), file.bytes.clone());
            let reply = reply.with("Cache-Control", "private, max-age=3600, immutable");
            Ok(reply.with("Content-Disposition", format!("inline; filename=\"{}-{at}.{ending}\"", job.ask.seed)))
        }
        Some(None) => Err(Refusal::new(404, "not_yet", "this is not made yet")),
        _ => Err(Refusal::nowhere()),
    }
}

/// Its changes as they come, to the last.
pub fn events(server: &Server, id: &str) -> Result<Reply, Refusal> {
    let job = find(server, id)?;
    let facts = facts(server, &job);
    let (mut seen, mut ended) = (None, false);
    let next = move || {
        if ended {
            return None;
        }
        let progress = match seen {
            None => job.progress(),
            Some(version) => job.wait(version, BEAT),
        };
        if seen == Some(progress.version) {
            return Some(": still here\n\n".to_string());
        }
        (seen, ended) = (Some(progress.version), progress.state.is_final());
        let name = if ended { progress.state.word() } else { "progress" };
        let mut value = told(&job, &progress, facts.clone());
        if job.ask.previews {
            join(&mut value, previews(&progress));
        }
        Some(format!("event: {name}\ndata: {value}\n\n"))
    };
    let headers = vec![("Content-Type", "text/event-stream".to_string())];
    Ok(Reply { status: 200, headers, body: Body::Events(Box::new(next)) })
}

/// Pictures on their way, each inside.
fn previews(progress: &Progress) -> Value {
    let inside = |png: &Vec<u8>| format!("data:image/png;base64,{}", BASE64_STANDARD.encode(png));
    let one = |(at, png): (usize, &Option<Arc<Vec<u8>>>)| Some(json!({ "index": at, "image": inside(png.as_ref()?) }));
    json!({ "previews": progress.previews.iter().enumerate().filter_map(one).collect::<Vec<_>>() })
}

/// What does not change.
fn facts(server: &Server, job: &Job) -> Value {
    let mut facts = json!({
        "id": job.id, "object": "job", "created": job.made,
        "shows": (0..job.ask.wanted.len()).map(|at| job.ask.shows(&server.shelf, at)).collect::<Vec<_>>(),
    });
    join(&mut facts, job.ask.value(&server.shelf));
    facts
}

fn value(server: &Server, job: &Job, progress: &Progress) -> Value {
    told(job, progress, facts(server, job))
}

fn told(job: &Job, progress: &Progress, mut facts: Value) -> Value {
    let there = progress.files.iter().enumerate().filter_map(|(at, file)| Some((at, file.as_ref()?.medium)));
    let result = |(at, medium): (usize, Medium)| json!({ "index": at, "url": address(&job.id, at, medium), "type": medium.kind() });
    let results: Vec<Value> = there.map(result).collect();
    let error = match &progress.state {
        State::Failed(refusal) => refusal.value(),
        _ => Value::Null,
    };
    join(
        &mut facts,
        json!({
            "status": progress.state.word(), "done": progress.done(), "step": progress.step, "of": progress.steps,
            "progress": progress.share(), "results": results, "error": error,
        }),
    );
    facts
}
