//! The end: what is being drawn is answered, what waits is turned away, and the port is free.

use crate::{
    client::{read, request, send},
    house::House,
};
use serde_json::json;
use std::time::{Duration, Instant};

/// Mutants: connections closed before their answers; what waits drawn before the end, which would take minutes.
#[test]
fn what_is_being_drawn_is_finished_and_the_rest_turned_away() {
    let mut house = House::open(|options| options.limits.batch = Some(1));
    let post = |steps: usize| {
        let body = json!({ "model": "tiny", "class": 1, "steps": steps, "response_format": "b64_json" }).to_string();
        send(house.address, &request("POST", "/v1/images/generations", &[], &body))
    };
    let reached = |name: &str, value: f64| {
        let began = Instant::now();
        while house.metric(name) != value {
            assert!(began.elapsed() < Duration::from_secs(20), "{name} is not {value}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let running = post(2500);
    // Nothing is drawn yet and nothing waits: it is being drawn.
    std::thread::sleep(Duration::from_millis(100));
    reached("rectiflow_queued_images", 0.0);
    let waiting = post(100_000);
    reached("rectiflow_queued_images", 1.0);
    let idle = send(house.address, &request("GET", "/healthz", &[], ""));
    assert_eq!(read(&idle).status, 200);
    let began = Instant::now();
    house.ask_to_stop();
    let (turned, finished) = (read(&waiting), read(&running));
    assert_eq!((turned.status, turned.code().as_str()), (503, "closing"));
    assert_eq!(finished.status, 200, "{}", finished.text());
    assert_eq!(finished.headers["connection"], "close");
    let address = house.address;
    house.close().unwrap();
    assert!(began.elapsed() < Duration::from_secs(25), "idle connections do not keep it: {:?}", began.elapsed());
    std::net::TcpListener::bind(address).expect("the port is free");
}

/// Mutant: what waits of a job that was begun turned away with the rest.
#[test]
fn a_request_partly_drawn_is_drawn_to_its_end() {
    let mut house = House::open(|options| options.limits.batch = Some(1));
    let body = json!({ "model": "tiny", "class": 1, "steps": 400, "n": 3, "response_format": "b64_json" }).to_string();
    let begun = send(house.address, &request("POST", "/v1/images/generations", &[], &body));
    let began = Instant::now();
    while house.metric("rectiflow_queued_images") != 2.0 {
        assert!(began.elapsed() < Duration::from_secs(20), "one of three is being drawn");
        std::thread::sleep(Duration::from_millis(2));
    }
    house.ask_to_stop();
    let answer = read(&begun);
    assert_eq!((answer.status, answer.json()["data"].as_array().map(Vec::len)), (200, Some(3)), "{}", answer.text());
    house.close().unwrap();
}

/// Mutant: without the cut, a write to whoever does not read keeps the program open for twenty seconds.
#[test]
fn who_does_not_read_does_not_keep_it_open() {
    let mut house = House::open(|_| {});
    let page = request("GET", "/", &[], "");
    let deaf = send(house.address, &page);
    deaf.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    // Until nothing more goes in: its answers fill what lies between.
    while std::io::Write::write_all(&mut &deaf, &page.repeat(100)).is_ok() {}
    let began = Instant::now();
    house.close().unwrap();
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
}
