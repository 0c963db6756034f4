//! Whatever is wrong is refused with the right status, in OpenAI's form, and tells nothing of this machine.

use crate::{
    client::{ask, read, request, send},
    house::{House, runs},
};
use rectiflow_server::Options;
use serde_json::{Value, json};

#[test]
fn requests_that_make_no_sense() {
    let house = House::open(|_| {});
    let with = |key: &str, value: Value| {
        let mut body = json!({ "model": "tiny", "prompt": "Bag" });
        body[key] = value;
        body
    };
    let wrong = [
        (with("n", json!(1_000_000_000)), 400, "n"),
        (with("n", json!(0)), 400, "n"),
        (with("n", json!("2")), 400, "n"),
        (with("n", json!(1.5)), 400, "n"),
        (with("steps", json!(0)), 400, "steps"),
        (with("steps", json!(1_000_001)), 400, "steps"),
        (with("seed", json!(-1)), 400, "seed"),
        (with("seed", json!(1e300)), 400, "seed"),
        (with("guidance_scale", json!(-2)), 400, "guidance_scale"),
        (with("guidance_scale", json!("high")), 400, "guidance_scale"),
        (with("size", json!("100000x100000")), 400, "size"),
        (with("size", json!(28)), 400, "size"),
        (with("prompt", json!("a cat")), 400, "prompt"),
        (with("prompt", json!(["Bag"])), 400, "prompt"),
        (with("prompt", json!("x".repeat(5000))), 400, "prompt"),
        (with("class", json!("Coat")), 400, "class"),
        (with("response_format", json!("gif")), 400, "response_format"),
        (with("stream", json!(true)), 400, "stream"),
        (with("negative_prompt", json!("blur")), 400, "negative_prompt"),
        (with("model", json!("../../etc/passwd")), 404, "model"),
        (with("model", json!(null)), 400, "model"),
        (with("checkpoint", json!("/etc/passwd")), 400, "checkpoint"),
        (json!({ "model": "tiny", "class": 10 }), 400, "class"),
        (json!({ "model": "tiny", "class": true }), 400, "class"),
        (json!({ "model": "guideless", "class": 1, "guidance_scale": 2 }), 400, "guidance_scale"),
    ];
    let folder = runs()[0].parent().unwrap().display().to_string();
    for (body, status, param) in wrong {
        for path in ["/v1/images/generations", "/api/jobs"] {
            let answer = house.post(path, body.clone());
            let error = &answer.json()["error"];
            assert_eq!((answer.status, error["param"].as_str()), (status, Some(param)), "{path} {body}: {error}");
            let message = error["message"].as_str().unwrap();
            assert!(message.len() > 10 && !message.contains(&folder) && !message.contains("--"), "{message}");
            assert_eq!(error["type"], "invalid_request_error");
        }
    }
    assert_eq!(house.metric("rectiflow_queued_images"), 0.0);
}

#[test]
fn requests_that_are_none() {
    let house = House::open(|_| {});
    let post = |lines: &[&str], body: &str| ask(house.address, "POST", "/v1/images/generations", lines, body);
    let deep = "[".repeat(20_000);
    let huge = format!("{{\"prompt\": \"{}\"}}", "x".repeat(70_000));
    assert_eq!(post(&[], "{").status, 400);
    assert_eq!(post(&[], "[]").status, 400);
    assert_eq!(post(&[], &deep).status, 400);
    assert_eq!((post(&[], &huge).status, post(&[], &huge).code()), (413, "too_large".into()));
    assert_eq!(post(&["Content-Type: text/plain"], "{}").status, 415);
    assert_eq!(post(&["Transfer-Encoding: chunked"], "").status, 411);
    for path in [
        "/../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/api/jobs/../..",
        "/static/x",
        "//",
        "/api/jobs/x/results/-1.png",
    ] {
        let answer = house.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.json()["error"]["message"].is_string());
    }
    let methods = ask(house.address, "PUT", "/v1/models", &[], "");
    assert_eq!((methods.status, methods.headers["allow"].as_str()), (405, "GET, HEAD"));
    // A body that never comes whole ends with its connection.
    let short = send(house.address, b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n{}");
    short.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut &short, &mut answer).unwrap();
    assert_eq!(answer, b"", "it is no request");
    // One that lies about its length serves no second request.
    let lying = b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}   GET / HTTP/1.1";
    assert_eq!(read(&send(house.address, lying)).status, 400);
    assert_eq!(house.get("/healthz").status, 200);
}

/// Mutants: any host; an origin compared without its port.
#[test]
fn other_sites_may_not_ask() {
    let house = House::open(|options| options.hosts = vec!["Draw.Example".into()]);
    let get = |lines: &[&str]| ask(house.address, "GET", "/v1/models", lines, "");
    for host in ["Host: localhost:7860", "Host: 127.0.0.1", "Host: [::1]:80", "Host: draw.example:443"] {
        assert_eq!(get(&[host]).status, 200, "{host}");
    }
    for host in ["Host: evil.example", "Host: localhost.evil.example", "Host: draw.example.evil"] {
        assert_eq!((get(&[host]).status, get(&[host]).code()), (403, "host_not_allowed".into()), "{host}");
    }
    assert_eq!(get(&["Host: a b"]).status, 400);
    assert_eq!(get(&["Host: localhost:1", "Origin: http://localhost:1"]).status, 200);
    for origin in ["http://localhost:2", "http://evil.example", "null", "file://localhost:1"] {
        let line = format!("Origin: {origin}");
        let lines = ["Host: localhost:1", line.as_str()];
        let answers = [get(&lines), ask(house.address, "POST", "/v1/images/generations", &lines, "{}")];
        answers.iter().for_each(|answer| assert_eq!((answer.status, answer.code()), (403, "cross_origin".into())));
    }
    let answer = ask(house.address, "OPTIONS", "/api/jobs", &["Origin: http://evil.example"], "");
    assert_eq!(answer.status, 403);
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

#[test]
fn a_key_is_asked_for() {
    let house = House::open(|options| options.key = Some("open sesame".into()));
    let get = |line: &str| ask(house.address, "GET", "/v1/models", &[line], "");
    assert_eq!(get("Authorization: Bearer open sesame").status, 200);
    for wrong in [
        "X: 1",
        "Authorization: Bearer open",
        "Authorization: Bearer ",
        "Authorization: open sesame",
        "Authorization: Basic open sesame",
    ] {
        let answer = get(wrong);
        assert_eq!((answer.status, answer.code()), (401, "invalid_api_key".into()), "{wrong}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    for (path, status) in [("/", 200), ("/healthz", 200), ("/metrics", 401), ("/api/jobs/0", 401), ("/x", 401)] {
        assert_eq!(house.get(path).status, status, "{path}");
    }
    // Browsers fetch pictures without a key; nobody guesses their addresses.
    let bytes = request(
        "POST",
        "/v1/images/generations",
        &["Authorization: Bearer open sesame"],
        r#"{"model": "tiny", "class": 1}"#,
    );
    let answer = read(&send(house.address, &bytes)).json();
    let url = answer["data"][0]["url"].as_str().unwrap().strip_prefix("http://localhost").unwrap();
    assert_eq!(house.get(url).status, 200);
    assert_eq!(house.get("/api/jobs/00000000000000000000000000000000/results/0.png").status, 404);
}

#[test]
fn servers_that_make_no_sense() {
    let refused = |change: &dyn Fn(&mut Options)| {
        let mut options = Options {
            models: vec![runs()[0].display().to_string()],
            listen: "127.0.0.1:0".into(),
            key: None,
            hosts: Vec::new(),
            runs: None,
            state: None,
            limits: rectiflow_server::Limits::default(),
        };
        change(&mut options);
        let never = std::sync::atomic::AtomicBool::new(true);
        let cpu = rectiflow::device::Chosen::cpu();
        let error = rectiflow_server::serve(options, &cpu, &never, |_| {}, |_| {}).expect_err("it must be refused");
        (error.exit_code(), error.to_string())
    };
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    type Change<'a> = &'a dyn Fn(&mut Options);
    let cases: [(Change<'_>, u8, &str); 11] = [
        (&|options| options.models.clear(), 2, "at least one"),
        (&|options| options.models.push(options.models[0].clone()), 2, "already"),
        (&|options| options.models = vec!["/nowhere/at/all".into()], 1, "no such file"),
        (&|options| options.models = vec![format!("sl/ash={}", options.models[0])], 2, "letters, digits"),
        (&|options| options.limits.images = 65, 2, "raise --queue"),
        (&|options| options.limits.queue = 0, 2, "--queue 0"),
        (&|options| options.limits.weights = Some(1000), 2, "--model-memory"),
        (&|options| options.limits.steps = 2, 2, "--max-steps 2"),
        (&|options| options.limits.patience = std::time::Duration::ZERO, 2, "--patience 0"),
        (&|options| options.key = Some(" ".into()), 2, "--api-key"),
        (&|options| options.listen = "nonsense".into(), 1, "--listen nonsense"),
    ];
    for (change, code, part) in cases {
        let (got, text) = refused(change);
        assert!(got == code && text.contains(part), "{got} {text}");
    }
    let (code, text) = refused(&|options| options.listen = taken.clone());
    assert!(code == 1 && text.contains("in use"), "{text}");
    drop(held);
}
