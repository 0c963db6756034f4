//! Jobs: watched to their end, cancelled, and dropped with whoever asked for them.

use crate::{
    client::{ask, request, send},
    house::{House, runs},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Names and data of a stream of events.
fn events(text: &str) -> Vec<(String, Value)> {
    let event = |block: &str| {
        let line = |key: &str| block.lines().find_map(|line| line.strip_prefix(key)).map(str::to_string);
        Some((line("event: ")?, serde_json::from_str(&line("data: ")?).expect("JSON")))
    };
    text.split("\n\n").filter_map(event).collect()
}

#[test]
fn a_job_tells_its_steps_and_its_end() {
    let house = House::open(|_| {});
    let submitted =
        house.post("/api/jobs", json!({ "model": "tiny", "class": "Bag", "steps": 400, "n": 2, "seed": 1 }));
    let id = submitted.json()["id"].as_str().unwrap().to_string();
    assert_eq!((submitted.status, &submitted.headers["location"]), (202, &format!("/api/jobs/{id}")));
    let stream = house.get(&format!("/api/jobs/{id}/events"));
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    let events = events(&stream.text());
    let shares: Vec<f64> = events.iter().map(|(_, job)| job["progress"].as_f64().unwrap()).collect();
    assert!(shares.is_sorted() && shares.iter().filter(|share| (0.1..0.9).contains(*share)).count() > 5, "{shares:?}");
    let (name, job) = events.last().unwrap();
    assert_eq!((name.as_str(), &job["status"], &job["progress"]), ("done", &json!("done"), &json!(1.0)));
    assert_eq!((&job["shows"], &job["steps"]), (&json!(["Bag", "Bag"]), &json!(400)));
    for image in job["results"].as_array().unwrap() {
        assert_eq!(house.get(image["url"].as_str().unwrap()).status, 200);
    }
    // The settings say steps to a picture, the progress steps of what is being drawn.
    assert!(events.iter().all(|(_, job)| job["of"] == 400 && job["step"].as_u64() <= Some(400)));
    // It stays as it is, whoever cancels it now.
    assert_eq!(house.cancel(&id)["status"], "done");
}

/// Pictures on their way come nearer to what they will be. Mutants: the preview of another row; shown where nobody asked, or when all is
/// drawn. That they are the data they stand for is tested in `rectiflow::pipeline`.
#[test]
fn pictures_are_shown_on_their_way() {
    let house = House::open(|_| {});
    let watch = |previews: bool| {
        let body = json!({ "model": "tiny", "class": "Bag", "steps": 1500, "n": 2, "seed": 1, "previews": previews });
        let id = house.post("/api/jobs", body).json()["id"].as_str().unwrap().to_string();
        let events = events(&house.get(&format!("/api/jobs/{id}/events")).text());
        let end = [0, 1].map(|at| crate::house::pixels(&house.get(&format!("/api/jobs/{id}/results/{at}.png")).body));
        (events, end)
    };
    let (events, end) = watch(true);
    let far = |at: usize, image: &str| {
        let bytes = BASE64_STANDARD.decode(image.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
        let seen = crate::house::pixels(&bytes);
        let apart = seen.iter().zip(end[at].iter()).map(|(a, b)| f64::from(*a) - f64::from(*b));
        apart.map(|d| d * d).sum::<f64>().sqrt()
    };
    // By its number: once a picture is there, the other's preview stands alone.
    let shown = |job: &Value, at: usize| {
        let preview = job["previews"].as_array()?.iter().find(|preview| preview["index"] == at)?;
        Some(preview["image"].as_str()?.to_string())
    };
    for at in 0..2 {
        let seen = events.iter().filter_map(|(_, job)| shown(job, at)).map(|image| far(at, &image));
        let seen: Vec<f64> = seen.collect();
        assert!(seen.len() > 3, "{} previews", seen.len());
        let other = events.iter().rev().find_map(|(_, job)| shown(job, 1 - at)).unwrap();
        let other = other.as_str();
        assert!(seen[seen.len() - 1] <= seen[0] && 2.0 * seen[seen.len() - 1] < far(at, other), "{seen:?}");
    }
    assert_eq!(events.last().unwrap().1["previews"], json!([]));
    assert!(watch(false).0.iter().all(|(_, job)| job["previews"].is_null()));
}

/// Drawn one after another they are told as they come, and it never falls back. Mutant: all that is left counted as being drawn.
#[test]
fn progress_does_not_fall_back() {
    let house = House::open(|options| options.limits.batch = Some(1));
    let body = json!({ "model": "tiny", "class": 2, "steps": 60, "n": 3 });
    let id = house.post("/api/jobs", body).json()["id"].as_str().unwrap().to_string();
    let events = events(&house.get(&format!("/api/jobs/{id}/events")).text());
    let shares: Vec<f64> = events.iter().map(|(_, job)| job["progress"].as_f64().unwrap()).collect();
    assert!(shares.is_sorted(), "{shares:?}");
    assert!(shares.iter().any(|share| (0.05..0.3).contains(share)) && shares.last() == Some(&1.0), "{shares:?}");
}

/// Mutant: a cancelled job that runs on would keep the next one waiting for minutes.
#[test]
fn cancelling_stops_the_drawing() {
    let house = House::open(|_| {});
    let long = house.busy();
    let next = house.post("/api/jobs", json!({ "model": "tiny", "class": 1 })).json();
    let waiting = house.post("/api/jobs", json!({ "model": "tiny", "class": 1, "steps": 100_000 })).json();
    let (next, waiting) = (next["id"].as_str().unwrap(), waiting["id"].as_str().unwrap());
    assert_eq!(house.get(&format!("/api/jobs/{next}")).json()["status"], "queued");
    house.cancel(waiting);
    house.cancel(&long);
    house.until(next, "done");
    assert_eq!(house.get(&format!("/api/jobs/{long}/results/0.png")).status, 404);
    assert_eq!(house.metric("rectiflow_cancelled_total"), 2.0);
}

/// Mutant: without the look at the connection the queue stays full.
#[test]
fn who_goes_away_leaves_the_queue() {
    let house = House::open(|options| options.limits.queue = 16);
    let long = house.busy();
    let body = json!({ "model": "tiny", "class": 1, "n": 16 }).to_string();
    let stream = send(house.address, &request("POST", "/v1/images/generations", &[], &body));
    let began = Instant::now();
    let reached = |pictures: f64| {
        while house.metric("rectiflow_queued_images") != pictures {
            assert!(began.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    reached(16.0);
    let full = house.post("/v1/images/generations", json!({ "model": "tiny", "class": 1 }));
    assert_eq!((full.status, full.code().as_str()), (429, "queue_full"));
    assert!(full.headers["retry-after"].parse::<u64>().unwrap() >= 1);
    drop(stream);
    reached(0.0);
    house.cancel(&long);
    let answer = ask(house.address, "POST", "/v1/images/generations", &[], r#"{"model": "tiny", "class": 1}"#);
    assert_eq!(answer.status, 200);
}

/// Mutants: what lies beside the folder, or above it; a run that is not there; places told.
#[test]
fn runs_can_be_looked_at() {
    let folder = runs()[0].parent().unwrap().to_path_buf();
    std::fs::write(folder.join("tiny/samples/000000000064.png"), b"a sheet").unwrap();
    let house = House::open(|options| options.runs = Some(folder.clone()));
    let list = house.get("/api/runs").json();
    let mut names: Vec<&str> = list["data"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap()).collect();
    names.sort();
    assert_eq!((names, &list["shown"]), (vec!["guideless", "tiny"], &json!(true)));
    let run = house.get("/api/runs/tiny");
    let value = run.json();
    assert_eq!((&value["images"], &value["end"], &value["running"]), (&json!(64), &json!("finished"), &json!(false)));
    assert_eq!(value["training"].as_array().unwrap().last().unwrap()[0], 64.0);
    assert!(!run.text().contains(&folder.display().to_string()));
    assert_eq!(value["sheets"], json!([{ "images": 64, "file": "000000000064.png" }]));
    let picture = house.get("/api/runs/tiny/sheets/000000000064.png");
    assert_eq!(
        (picture.status, picture.headers["content-type"].as_str(), &picture.body[..]),
        (200, "image/png", &b"a sheet"[..])
    );
    for wrong in [
        "/api/runs/..",
        "/api/runs/%2e%2e",
        "/api/runs/x",
        "/api/runs/tiny/sheets/..",
        "/api/runs/tiny/sheets/recipe.toml",
    ] {
        assert_eq!(house.get(wrong).status, 404, "{wrong}");
    }
    let closed = House::open(|_| {});
    assert_eq!(closed.get("/api/runs").json()["data"], json!([]));
    assert_eq!(closed.get("/api/runs/tiny").code(), "no_such_run");
}
