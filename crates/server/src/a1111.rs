//! The interface of A1111's clients (`/sdapi/v1`), as far as they need it. Their programs send every field there is, most of them at
//! its default; what is not read is named in the answer under `ignored`, where it asks for something.

use crate::{
    ask::{Ask, Doing},
    fields::Fields,
    http::{Client, Reply, Request},
    job::Job,
    openai::finished,
    refusal::Refusal,
    server::Server,
    shelf::Kind,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What these clients expect a server to remember between their requests.
#[derive(Default)]
pub struct Desk(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Number of the model that was chosen last.
    model: usize,
    /// Jobs that wait for their pictures, the oldest first.
    jobs: Vec<Arc<Job>>,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job that has waited longest.
    fn job(&self) -> Option<Arc<Job>> {
        let mut inner = self.lock();
        inner.jobs.retain(|job| !job.is_over());
        inner.jobs.first().cloned()
    }
}

/// `POST /sdapi/v1/txt2img`, or `img2img` where a picture is `given`.
pub fn draw(server: &Server, request: &Request, client: &Client<'_>, given: bool) -> Result<Reply, Refusal> {
    server.room(if given { Doing::Change } else { Doing::Sample })?;
    let mut fields = Fields::of(request)?;
    let sends = fields.flag("send_images")?.unwrap_or(true);
    let (ask, ignored) = read(server, &mut fields, given)?;
    let permit = server.permit(&ask, request)?;
    let job = server.submit(ask.holding(permit), false)?;
    {
        let mut desk = server.desk.lock();
        desk.jobs.retain(|job| !job.is_over()); // nobody may ever ask how far they are
        desk.jobs.push(job.clone());
    }
    let progress = finished(server, &job, client)?;
    let files = progress.files.iter().flatten().filter(|_| sends);
    let images: Vec<String> = files.map(|file| BASE64_STANDARD.encode(&file.bytes)).collect();
    let info = info(server, &job.ask);
    Ok(Reply::json(
        200,
        &json!({ "images": images, "parameters": job.ask.value(&server.shelf), "info": info.to_string(), "ignored": ignored }),
    ))
}

/// What is asked for, and the names of what is not read.
fn read(server: &Server, fields: &mut Fields, given: bool) -> Result<(Ask, Vec<String>), Refusal> {
    let mut own = Map::new();
    let mut ignored = Vec::new();
    let chosen = match fields.take("override_settings") {
        Some(Value::Object(mut settings)) => settings.remove("sd_model_checkpoint"),
        None => None,
        Some(_) => return Err(Refusal::bad("override_settings", "it must be an object")),
    };
    let at = match chosen {
        Some(Value::String(name)) => {
            server.shelf.find(Some(&name)).map_err(|refusal| refusal.about("model", "override_settings"))?
        }
        Some(_) => return Err(Refusal::bad("override_settings", "sd_model_checkpoint must be the name of a model")),
        None => server.desk.lock().model,
    };
    let served = server.shelf.at(at);
    own.insert("model".into(), json!(served.name));
    let (batch, rounds) =
        (fields.whole("batch_size", 1, 1 << 20)?.unwrap_or(1), fields.whole("n_iter", 1, 1 << 20)?.unwrap_or(1));
    own.insert("n".into(), json!(batch.saturating_mul(rounds)));
    // -1 is any.
    match fields.take("seed") {
        None => {}
        Some(seed) if seed.as_i64() == Some(-1) => {}
        Some(seed) => drop(own.insert("seed".into(), seed)),
    }
    for (theirs, ours) in [
        ("prompt", "prompt"),
        ("steps", "steps"),
        ("cfg_scale", "guidance_scale"),
        ("negative_prompt", "negative_prompt"),
    ] {
        if let Some(value) = fields.take(theirs) {
            own.insert(ours.into(), value);
        }
    }
    let size = (fields.whole("width", 1, 1 << 20)?, fields.whole("height", 1, 1 << 20)?);
    let mut pass_over = |own: &mut Map<String, Value>, ours: &str, theirs: &str, idle: &Value| {
        if own.remove(ours).is_some_and(|value| value != *idle) {
            ignored.push(theirs.to_string());
        }
    };
    match &served.kind {
        Kind::Run(run) => {
            // These clients always send a number, and a model may not know what guidance is.
            if !run.guided() {
                pass_over(&mut own, "guidance_scale", "cfg_scale", &json!(1));
            }
            pass_over(&mut own, "negative_prompt", "negative_prompt", &json!(""));
            let [height, width] = served.kind.size().map(|side| side as u64);
            ignored.extend(size.0.filter(|asked| *asked != width).map(|_| "width".to_string()));
            ignored.extend(size.1.filter(|asked| *asked != height).map(|_| "height".to_string()));
        }
        Kind::Released { usual, .. } => {
            let [height, width] = usual.size.map(|side| side as u64);
            own.insert("size".into(), json!(format!("{}x{}", size.0.unwrap_or(width), size.1.unwrap_or(height))));
        }
    }
    if given {
        let pictures = fields.texts("init_images")?;
        let [picture] =
            <[_; 1]>::try_from(pictures).map_err(|_| Refusal::bad("init_images", "send one picture, in base64"))?;
        own.insert("image".into(), json!(picture));
        let strength = fields.take("denoising_strength");
        match fields.take("mask") {
            Some(mask) => {
                own.insert("mask".into(), mask);
                match (&served.kind, strength) {
                    (Kind::Released { .. }, Some(strength)) => drop(own.insert("strength".into(), strength)),
                    (_, strength) => ignored.extend(strength.map(|_| "denoising_strength".to_string())),
                }
            }
            None => drop(own.insert("strength".into(), strength.unwrap_or(json!(0.75)))),
        }
    }
    ignored.extend(fields.asked());
    ignored.sort();
    let mut own = Fields::from(own);
    let doing = if given { Doing::Change } else { Doing::Sample };
    let theirs = |refusal: Refusal| {
        let names = [
            ("guidance_scale", "cfg_scale"),
            ("n", "batch_size"),
            ("size", "width"),
            ("image", "init_images"),
            ("strength", "denoising_strength"),
        ];
        names.iter().fold(refusal, |refusal, (ours, theirs)| refusal.about(ours, theirs))
    };
    let mut ask = Ask::read(&mut own, &server.shelf, &server.options.limits, doing).map_err(theirs)?;
    own.done().map_err(theirs)?;
    if !served.draws() {
        return Err(Refusal::bad(
            "override_settings",
            "this model makes no pictures; ask for what it makes by `POST /api/jobs`",
        ));
    }
    ask.each_its_seed();
    Ok((ask, ignored))
}

/// What these clients show beside a picture, as text in their answers.
fn info(server: &Server, ask: &Ask) -> Value {
    let said = ask.value(&server.shelf);
    let shows = ask.shows(&server.shelf, 0).unwrap_or_default();
    let all: Vec<u64> = ask.wanted.iter().map(|one| one.seed).collect();
    let prompts: Vec<String> = (0..all.len()).map(|at| ask.shows(&server.shelf, at).unwrap_or_default()).collect();
    let [height, width] = server.shelf.at(ask.model).kind.size();
    json!({
        "prompt": shows, "all_prompts": prompts, "negative_prompt": said["negative_prompt"].as_str().unwrap_or_default(),
        "seed": ask.seed, "all_seeds": all, "steps": said["steps"], "cfg_scale": said["guidance_scale"],
        "sampler_name": said["solver"], "width": width, "height": height, "batch_size": all.len(), "sd_model_name": said["model"],
    })
}

/// `GET /sdapi/v1/progress`: of the request that has waited longest.
pub fn progress(server: &Server) -> Reply {
    let state = |count: usize, step: usize, of: usize, job: &str| {
        json!({
            "skipped": false, "interrupted": false, "job": job, "job_count": count, "job_no": 0,
            "sampling_step": step, "sampling_steps": of,
        })
    };
    let value = match server.desk.job() {
        None => {
            json!({ "progress": 0.0, "eta_relative": 0.0, "state": state(0, 0, 0, ""), "current_image": null, "textinfo": null })
        }
        Some(job) => {
            let progress = job.progress();
            let left = progress.files.len() as f64 * (1.0 - progress.share());
            json!({
                "progress": progress.share(), "eta_relative": left * server.metrics.pace(),
                "state": state(progress.files.len(), progress.step, progress.steps, job.ask.done()),
                "current_image": null, "textinfo": progress.state.word(),
            })
        }
    };
    Reply::json(200, &value)
}

/// `POST /sdapi/v1/interrupt`: the request that has waited longest is drawn no further.
pub fn interrupt(server: &Server) -> Reply {
    if let Some(job) = server.desk.job() {
        server.cancel(&job);
    }
    Reply::json(200, &json!({}))
}

/// `GET /sdapi/v1/sd-models`.
pub fn models(server: &Server) -> Reply {
    let value = |name: &str| json!({ "title": name, "model_name": name, "hash": null, "sha256": null, "filename": name, "config": null });
    let all = server.shelf.all().iter().filter(|served| served.draws());
    Reply::json(200, &all.map(|served| value(&served.name)).collect())
}

/// `GET /sdapi/v1/samplers`: each model has its own, and nobody chooses.
pub fn samplers(server: &Server) -> Reply {
    let mut names: Vec<&str> = server.shelf.all().iter().map(|served| served.kind.solver()).collect();
    names.sort();
    names.dedup();
    let value = |name: &&str| json!({ "name": name, "aliases": [], "options": {} });
    Reply::json(200, &names.iter().map(value).collect())
}

/// `GET /sdapi/v1/options`.
pub fn options(server: &Server) -> Reply {
    let at = server.desk.lock().model;
    Reply::json(200, &json!({ "sd_model_checkpoint": server.shelf.at(at).name, "samples_format": "png" }))
}

/// `POST /sdapi/v1/options`: the model that later requests mean, of these clients alone.
pub fn choose(server: &Server, request: &Request) -> Result<Reply, Refusal> {
    let mut fields = Fields::of(request)?;
    if let Some(name) = fields.text("sd_model_checkpoint")? {
        let at = server.shelf.find(Some(&name)).map_err(|refusal| refusal.about("model", "sd_model_checkpoint"))?;
        server.desk.lock().model = at;
    }
    Ok(Reply::json(200, &json!({ "ignored": fields.asked() })))
}

/// A refusal as these clients read it, beside our own form.
pub fn refused(refusal: &Refusal) -> Reply {
    let mut reply = refusal.reply();
    reply.body = crate::http::Body::Whole(
        json!({ "error": refusal.value(), "detail": refusal.message, "errors": "" }).to_string().into_bytes(),
    );
    reply
}
