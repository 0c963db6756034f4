//! Every picture is the command line's of that seed, whoever draws beside it.

use crate::{
    client::{ask, get, read, request, send},
    house::{House, drawn, pixels, runs},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use rectiflow::{
    Context,
    device::Chosen,
    overrides::SampleOverrides,
    released::{self, ReleasedRequest},
    serving::{Asked, Opened, Wanted},
};
use serde_json::json;
use std::path::Path;

/// Mutants: number 0 for every picture of a request; the usual steps or guidance in place of those asked for.
#[test]
fn pictures_are_those_of_the_command_line() {
    let house = House::open(|_| {});
    let body = json!({
        "model": "tiny", "prompt": "ankle BOOT", "n": 3, "seed": 9, "steps": 4, "guidance_scale": 1.5,
        "response_format": "b64_json", "size": "28x28", "user": "somebody", "quality": "auto",
    });
    let answer = house.post("/v1/images/generations", body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let overrides = SampleOverrides { steps: Some(4), guidance: Some(1.5), ..Default::default() };
    let own = drawn(9, 3, Some("Ankle boot"), overrides);
    for (at, own) in own.iter().enumerate() {
        let data = &answer["data"][at];
        let png = BASE64_STANDARD.decode(data["b64_json"].as_str().unwrap()).unwrap();
        assert_eq!(&pixels(&png), own, "picture {at}");
        let said = String::from_utf8_lossy(&png).into_owned();
        let told = ["Steps: 4, Sampler: euler, CFG scale: 1.5, Seed: 9", "Model: tiny", &format!("\"first\":{at}")];
        assert!(told.iter().all(|part| said.contains(part)), "the file says how it was made: {said}");
        assert_eq!((&data["seed"], &data["index"], &data["shows"]), (&json!(9), &json!(at), &json!("Ankle boot")));
    }
    assert_ne!(own[0], own[1]);
    assert!(answer["created"].as_u64().unwrap() > 1_700_000_000);
}

/// Without a class they are drawn in turn, as by the command line; an address is the default, as OpenAI's is.
#[test]
fn addresses_lead_to_the_pictures() {
    let house = House::open(|options| options.models.truncate(1));
    let answer = house.post("/v1/images/generations", json!({ "prompt": "", "n": 2, "seed": 4 })).json();
    let own = drawn(4, 2, None, SampleOverrides::default());
    for (at, own) in own.iter().enumerate() {
        let url = answer["data"][at]["url"].as_str().unwrap();
        let path = url.strip_prefix("http://localhost").unwrap();
        let picture = house.get(path);
        assert_eq!((picture.status, picture.headers["content-type"].as_str()), (200, "image/png"));
        assert_eq!(&pixels(&picture.body), own);
        let head = ask(house.address, "HEAD", path, &[], "");
        assert_eq!((head.status, &head.headers), (200, &picture.headers));
    }
    let lines = ["X-Forwarded-Proto: https"];
    let proxied = ask(house.address, "POST", "/v1/images/generations", &lines, r#"{"class": "1"}"#).json();
    assert!(proxied["data"][0]["url"].as_str().unwrap().starts_with("https://localhost/"), "{proxied}");
    assert_eq!(proxied["data"][0]["shows"], "Trouser", "a class by its number, as text");
    // Another seed each time where none is given, and it is told.
    let seed = || house.post("/v1/images/generations", json!({ "class": 0 })).json()["seed"].as_u64().unwrap();
    assert_ne!(seed(), seed());
}

/// Mutants: noise of the first job's seed for all of a batch; classes of the first; one batch over both settings.
#[test]
fn those_who_are_drawn_together_do_not_notice() {
    let house = House::open(|_| {});
    let long = house.busy();
    let submit = |seed: u64, class: &str, steps: usize, n: usize| {
        let body = json!({ "model": "tiny", "seed": seed, "class": class, "steps": steps, "n": n });
        house.post("/api/jobs", body).json()["id"].as_str().unwrap().to_string()
    };
    let asked = [(1, "Bag", 2, 1), (2, "Sneaker", 2, 3), (3, "Bag", 5, 2), (1, "Coat", 2, 2)];
    let ids = asked.map(|(seed, class, steps, n)| submit(seed, class, steps, n));
    assert_eq!(house.metric("rectiflow_queued_images"), 8.0);
    let before = house.metric("rectiflow_batches_total");
    assert_eq!(house.cancel(&long)["status"], "cancelled");
    for ((seed, class, steps, n), id) in asked.into_iter().zip(&ids) {
        house.until(id, "done");
        let own = drawn(seed, n as u64, Some(class), SampleOverrides { steps: Some(steps), ..Default::default() });
        for (at, own) in own.iter().enumerate() {
            let picture = house.get(&format!("/api/jobs/{id}/results/{at}.png"));
            assert_eq!(&pixels(&picture.body), own, "seed {seed}, picture {at}");
        }
    }
    assert_eq!(house.metric("rectiflow_batches_total") - before, 2.0, "one batch for each number of steps");
    assert_eq!(house.metric("rectiflow_images_total{model=\"tiny\"}"), 8.0);
}

/// The same for a solver that stirs: each seed has its own Brownian path. Mutant: the paths of the first seed for all.
#[test]
fn stirred_samples_do_not_notice_either() {
    let opened = Opened::open(&runs()[0], &Chosen::cpu()).unwrap();
    let solver = Some("euler_maruyama".to_string());
    let config = opened.config(&SampleOverrides { solver, steps: Some(4), ..Default::default() }).unwrap();
    let wanted = [(1, 0), (1, 7), (2, 0), (1, 3)].map(|(seed, index)| Wanted { seed, index, asked: Asked::Class(2) });
    let draw = |wanted: &[Wanted]| opened.draw(&config, wanted, None).unwrap().rows;
    let together = draw(&wanted);
    let alone: Vec<f32> = wanted.iter().flat_map(|one| draw(std::slice::from_ref(one))).collect();
    assert!(together == alone);
    assert_ne!(together[..784], together[2 * 784..3 * 784]);
}

/// Released models too, one request after another. Mutants: another size or seed; the negative prompt left out.
#[test]
fn released_models_draw_as_the_command_line_does() {
    let folder = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name);
    let models = ["sd3_tiny", "flux_schnell_tiny"].map(|name| folder(name).display().to_string()).to_vec();
    let house = House::open(|options| options.models = models);
    let body = json!({
        "model": "sd3_tiny", "prompt": "a red fox", "negative_prompt": "blue", "size": "48x32", "steps": 3, "n": 2, "seed": 5,
    });
    let id = house.post("/api/jobs", body).json()["id"].as_str().unwrap().to_string();
    let other =
        house.post("/api/jobs", json!({ "model": "flux_schnell_tiny", "prompt": "a red fox", "size": "32x32" }));
    let other = other.json()["id"].as_str().unwrap().to_string();
    let output = tempfile::tempdir().unwrap();
    let request = ReleasedRequest {
        negative: Some("blue".into()),
        steps: Some(3),
        height: Some(32),
        width: Some(48),
        seed: 5,
        count: Some(2),
        output: output.path().join("drawn"),
        ..ReleasedRequest::new(folder("sd3_tiny"), "a red fox")
    };
    released::sample(&request, &mut Context::silent()).unwrap();
    let job = house.until(&id, "done");
    assert_eq!((&job["size"], &job["negative_prompt"]), (&json!("48x32"), &json!("blue")));
    for i in 0..2 {
        let picture = house.get(&format!("/api/jobs/{id}/results/{i}.png"));
        let own = std::fs::read(output.path().join(format!("drawn/{i:06}.png"))).unwrap();
        assert_eq!(pixels(&picture.body), pixels(&own), "picture {i}");
        let said = String::from_utf8_lossy(&picture.body).into_owned();
        assert!(said.contains("Model: sd3_tiny") && !said.contains("fixtures"), "a place is nobody's business");
    }
    house.until(&other, "done");
    for (key, value, param) in [
        ("size", json!("33x32"), "size"),
        ("size", json!("100000x8"), "size"),
        ("guidance_scale", json!(-1), "guidance_scale"),
        ("class", json!(1), "class"),
        ("prompt", json!(" "), "prompt"),
        ("guidance_scale", json!(1), "negative_prompt"),
    ] {
        let mut body = json!({ "model": "sd3_tiny", "prompt": "a fox", "negative_prompt": "blue" });
        body[key] = value;
        let error = &house.post("/api/jobs", body).json()["error"];
        assert_eq!(error["param"], param, "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(!message.contains("fixtures") && !message.contains("--"), "{message}");
    }
}

/// Under a budget for one of two models each makes room for the other, and draws what it drew. Mutants: weights kept that do not fit;
/// a model without its weights asked to draw; opened anew for each request.
#[test]
fn models_make_room_for_each_other() {
    let open = Opened::open(&runs()[0], &Chosen::cpu()).unwrap();
    let house = House::open(|options| options.limits.weights = Some(open.weight() * 3 / 2));
    let ask = |model: &str| {
        let body = json!({ "model": model, "class": "Bag", "n": 1, "seed": 9, "response_format": "b64_json" });
        let answer = house.post("/v1/images/generations", body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        pixels(&BASE64_STANDARD.decode(answer.json()["data"][0]["b64_json"].as_str().unwrap()).unwrap())
    };
    let own = &drawn(9, 1, Some("Bag"), SampleOverrides::default())[0];
    assert_eq!(&ask("tiny"), own);
    assert_eq!(&ask("tiny"), own);
    assert_ne!(&ask("guideless"), own);
    assert_eq!(&ask("tiny"), own);
    // Counted after each batch, and asked for once more so that the last is counted.
    assert_eq!(&ask("tiny"), own);
    assert_eq!(house.metric("rectiflow_models_opened_total"), 3.0);
    assert_eq!(house.metric("rectiflow_open_models"), 1.0);
}

#[test]
fn a_connection_serves_many_and_models_say_what_they_are() {
    let house = House::open(|_| {});
    let two = [request("GET", "/v1/models", &[], ""), request("GET", "/v1/models/tiny", &[], "")];
    let stream = send(house.address, &two[0]);
    let all = read(&stream).json();
    std::io::Write::write_all(&mut &stream, &two[1]).unwrap();
    let one = read(&stream).json();
    assert_eq!(all["data"].as_array().unwrap().len(), 2);
    assert_eq!(all["data"][0], one);
    let known = [("id", json!("tiny")), ("object", json!("model")), ("size", json!("28x28")), ("guided", json!(true))];
    known.iter().for_each(|(key, value)| assert_eq!(&one[*key], value));
    assert_eq!(one["classes"].as_array().unwrap().len(), 10);
    assert_eq!(all["data"][1]["guided"], false);
    assert_eq!(get(house.address, "/healthz").text(), r#"{"status":"ok"}"#);
    let page = house.get("/");
    assert_eq!((page.status, page.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    assert!(page.headers["content-security-policy"].contains("script-src 'sha256-"));
    assert_eq!(house.metric("rectiflow_requests_total{route=\"models\",code=\"200\"}"), 2.0);
}
