//! Jobs: given in, watched, fetched and cancelled by their id.

use crate::{
    ask::Doing,
    http::{Body, Reply, Request},
    job::{Job, Progress, State},
    refusal::Refusal,
    server::Server,
    shelf::join,
    state::{Disk, Past},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use rectiflow::serving::Medium;
use serde_json::{Value, json};
use std::{collections::HashSet, sync::Arc, time::Duration};

/// So often a watcher who hears nothing new hears something.
const BEAT: Duration = Duration::from_secs(5);

/// Where a file is.
pub fn address(id: &str, at: usize, medium: Medium) -> String {
    format!("/api/jobs/{id}/results/{at}.{}", medium.ending())
}

/// A job that is known.
enum Known {
    /// To this server.
    Here(Arc<Job>),
    /// From the disk.
    Past(Arc<Disk>, Arc<Past>),
}

fn find(server: &Server, id: &str) -> Result<Known, Refusal> {
    let gone = || Refusal::new(404, "no_such_job", "there is no such job; the oldest are forgotten");
    let past = || Some(Known::Past(server.disk.clone()?, server.disk.as_ref()?.find(id)?));
    server.store.find(id).map(Known::Here).or_else(past).ok_or_else(gone)
}

/// Lets a job wait.
pub fn submit(server: &Server, request: &Request) -> Result<Reply, Refusal> {
    let (ask, ()) = server.ask(request, Doing::Said, |_| Ok(()))?;
    let job = server.submit(ask, true)?;
    Ok(Reply::json(202, &value(server, &job, &job.progress())).with("Location", format!("/api/jobs/{}", job.id)))
}

/// What has become of it.
pub fn show(server: &Server, id: &str) -> Result<Reply, Refusal> {
    Ok(Reply::json(
        200,
        &match find(server, id)? {
            Known::Here(job) => value(server, &job, &job.progress()),
            Known::Past(_, past) => of_before(&past),
        },
    ))
}

/// All that are known, the oldest first. An id lets whoever knows it see the pictures, so that this is for those with the key.
pub fn all(server: &Server) -> Result<Reply, Refusal> {
    if !server.guard.locked() {
        let message =
            "jobs are listed where a key is asked for (`--api-key`): whoever knows a job's id may see its pictures";
        return Err(Refusal::new(403, "no_key", message));
    }
    let here = server.store.all();
    let known: HashSet<&str> = here.iter().map(|job| job.id.as_str()).collect();
    let past = server.disk.as_ref().map(|disk| disk.all()).unwrap_or_default();
    let of_before = past
        .iter()
        .filter(|past| past.facts["id"].as_str().is_some_and(|id| !known.contains(id)))
        .map(|past| of_before(past));
    let mut data: Vec<Value> = of_before.collect();
    data.extend(here.iter().map(|job| value(server, job, &job.progress())));
    Ok(Reply::json(200, &json!({ "object": "list", "data": data })))
}

/// Ends it.
pub fn cancel(server: &Server, id: &str) -> Result<Reply, Refusal> {
    if let Known::Here(job) = find(server, id)? {
        server.cancel(&job);
    }
    show(server, id)
}

/// A file of it.
pub fn result(server: &Server, id: &str, file: &str) -> Result<Reply, Refusal> {
    let parsed = file.split_once('.').and_then(|(at, ending)| Some((at.parse::<usize>().ok()?, ending)));
    let (at, ending) = parsed.ok_or_else(Refusal::nowhere)?;
    let (file, seed) = match find(server, id)? {
        Known::Here(job) => match job.progress().files.get(at) {
            Some(Some(file)) => (file.clone(), job.ask.seed),
            Some(None) => return Err(Refusal::new(404, "not_yet", "this is not made yet")),
            None => return Err(Refusal::nowhere()),
        },
        Known::Past(disk, past) => {
            let file = disk.read(id, &past, at).ok_or_else(Refusal::nowhere)?;
            (Arc::new(file), past.facts["seed"].as_u64().unwrap_or_default())
        }
    };
    if file.medium.ending() != ending {
        return Err(Refusal::nowhere());
    }
    let reply = Reply::new(200, file.medium.kind(), file.bytes.clone());
    let reply = reply.with("Cache-Control", "private, max-age=3600, immutable");
    Ok(reply.with("Content-Disposition", format!("inline; filename=\"{seed}-{at}.{ending}\"")))
}

/// Its changes as they come, to the last.
pub fn events(server: &Server, id: &str) -> Result<Reply, Refusal> {
    let headers = vec![("Content-Type", "text/event-stream".to_string())];
    let job = match find(server, id)? {
        Known::Here(job) => job,
        Known::Past(_, past) => {
            let mut last = Some(format!("event: {}\ndata: {}\n\n", past.status, of_before(&past)));
            return Ok(Reply { status: 200, headers, body: Body::Events(Box::new(move || last.take())) });
        }
    };
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
    Ok(Reply { status: 200, headers, body: Body::Events(Box::new(next)) })
}

/// Pictures on their way, each inside.
fn previews(progress: &Progress) -> Value {
    let inside = |png: &Vec<u8>| format!("data:image/png;base64,{}", BASE64_STANDARD.encode(png));
    let one = |(at, png): (usize, &Option<Arc<Vec<u8>>>)| Some(json!({ "index": at, "image": inside(png.as_ref()?) }));
    json!({ "previews": progress.previews.iter().enumerate().filter_map(one).collect::<Vec<_>>() })
}

/// What does not change.
pub fn facts(server: &Server, job: &Job) -> Value {
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

/// Of a job that lies on the disk.
fn of_before(past: &Past) -> Value {
    let id = past.facts["id"].as_str().unwrap_or_default();
    past.told(past.media().map(|(at, medium)| made(id, at, medium)).collect())
}

/// What was made, and where.
fn made(id: &str, at: usize, medium: Medium) -> Value {
    json!({ "index": at, "url": address(id, at, medium), "type": medium.kind() })
}

fn told(job: &Job, progress: &Progress, mut facts: Value) -> Value {
    let there = progress.files.iter().enumerate().filter_map(|(at, file)| Some((at, file.as_ref()?.medium)));
    let results: Vec<Value> = there.map(|(at, medium)| made(&job.id, at, medium)).collect();
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
