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
