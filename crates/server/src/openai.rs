//! The interface of OpenAI's clients: `POST /v1/images/generations`, `POST /v1/images/edits` and `GET /v1/models`. Keys of our own stand beside theirs
//! (`extra_body` in the Python client). What asks for something that is not served is refused, not passed over.

use crate::{
    ask::Doing,
    fields::Fields,
    http::{Client, Reply, Request},
    job::{Job, Progress, State},
    native::address,
    refusal::Refusal,
    server::Server,
    shelf::join,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use rectiflow::serving::File;
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How often a waiting request looks whether somebody still wants it.
const LOOK: Duration = Duration::from_millis(50);

/// All models.
pub fn models(server: &Server) -> Reply {
    let all: Vec<Value> = server.shelf.all().iter().map(|model| model.value(&server.options.limits)).collect();
    Reply::json(200, &json!({ "object": "list", "data": all }))
}

/// One of them.
pub fn model(server: &Server, name: &str) -> Result<Reply, Refusal> {
    let at = server.shelf.find(Some(name))?;
    Ok(Reply::json(200, &server.shelf.at(at).value(&server.options.limits)))
}

/// The keys that this interface has beside what is drawn. Those that only name what happens anyway are taken.
fn own(fields: &mut Fields) -> Result<bool, Refusal> {
    let format = fields.word("response_format", &["url", "b64_json"])?;
    fields.word("output_format", &["png"])?;
    fields.word("quality", &["auto", "standard"])?;
    fields.word("background", &["auto", "opaque"])?;
    fields.word("moderation", &["auto", "low"])?;
    fields.word("input_fidelity", &["low", "high"])?;
    fields.text("user")?;
    match fields.flag("stream")? {
        None | Some(false) => Ok(format == "b64_json"),
        Some(true) => Err(Refusal::bad("stream", "it must be false here; progress is streamed by `POST /api/jobs`")),
    }
}

/// Draws or changes pictures, and answers when all are there.
pub fn images(server: &Server, request: &Request, client: &Client<'_>, doing: Doing) -> Result<Reply, Refusal> {
    let (ask, inside) = server.ask(request, doing, own)?;
    if !server.shelf.at(ask.model).draws() {
        return Err(Refusal::bad("model", "it makes no pictures; ask for what it makes by `POST /api/jobs`"));
    }
    let job = server.submit(ask, !inside)?;
    let progress = finished(server, &job, client)?;
    // A proxy that speaks TLS says so; it is its client alone who reads this.
    let scheme = match request.header("x-forwarded-proto") {
        Some("https") => "https",
        _ => "http",
    };
    let said = job.ask.value(&server.shelf);
    let picture = |(at, file): (usize, &Arc<File>)| {
        let place = match inside {
            true => json!({ "b64_json": BASE64_STANDARD.encode(&file.bytes) }),
            false => json!({ "url": format!("{scheme}://{}{}", request.authority, address(&job.id, at, file.medium)) }),
        };
        let mut picture = json!({ "seed": job.ask.seed, "index": at, "shows": job.ask.shows(&server.shelf, at) });
        join(&mut picture, place);
        picture
    };
    let data: Vec<Value> = progress.files.iter().flatten().enumerate().map(picture).collect();
    let mut answer = json!({ "created": job.made, "data": data, "output_format": "png" });
    join(&mut answer, said);
    Ok(Reply::json(200, &answer))
}

/// Waits for the end of `job`, which its client waits for: once that has gone, or it takes too long, nobody does.
pub fn finished(server: &Server, job: &Arc<Job>, client: &Client<'_>) -> Result<Progress, Refusal> {
    let began = Instant::now();
    let mut progress = job.progress();
    while !progress.state.is_final() {
        progress = job.wait(progress.version, LOOK);
        if progress.state.is_final() {
            break;
        }
        if client.gone() {
            server.cancel(job);
        } else if began.elapsed() > server.options.limits.patience {
            server.cancel(job);
            return Err(Refusal::new(504, "timeout", "this took too long; ask for less, or by `POST /api/jobs`"));
        }
    }
    match &progress.state {
        State::Failed(refusal) => return Err(refusal.clone()),
        State::Cancelled => return Err(Refusal::new(409, "cancelled", "this was cancelled")),
        _ => server.metrics.waited(began.elapsed()),
    }
    Ok(progress)
}
