//! A run's numbers on a server of MLflow: a small one of the test's own, which keeps what it is told, may be late, deaf or unwilling.

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};
use train::log::{Mlflow, MlflowConfig, mlflow::Patience};
use train::{Event, Observer, TrainError};

/// What a server was asked: method, path and body.
type Asked = Arc<Mutex<Vec<(String, String, Value)>>>;

/// Answers requests for ever, each by `answer`, and keeps them.
fn serve(listener: TcpListener, answer: impl Fn(&str, &Value) -> (u16, Value) + Send + 'static) -> Asked {
    let asked = Asked::default();
    let kept = asked.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = converse(&stream, &kept, &answer);
        }
    });
    asked
}

/// The requests of one connection.
fn converse(stream: &TcpStream, kept: &Asked, answer: &impl Fn(&str, &Value) -> (u16, Value)) -> std::io::Result<()> {
    let (mut reader, mut stream) = (BufReader::new(stream), stream);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line)?;
    let words: Vec<String> = line.split(' ').map(str::to_string).collect();
    let [method, path, ..] = &words[..] else { return Ok(()) };
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let (status, said) = answer(path, &body);
    kept.lock().unwrap().push((method.clone(), path.clone(), body));
    let said = said.to_string();
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{said}", said.len())
}

/// MLflow where no experiment is yet.
fn willing(path: &str, _: &Value) -> (u16, Value) {
    match path.rsplit_once("/mlflow/").unwrap().1.split('?').next().unwrap() {
        "experiments/get-by-name" => (404, json!({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"})),
        "experiments/create" => (200, json!({"experiment_id": "12"})),
        "runs/create" => (200, json!({"run": {"info": {"run_id": "abc"}}})),
        _ => (200, json!({})),
    }
}

fn patience() -> Patience {
    let milliseconds = Duration::from_millis;
    Patience {
        answer: milliseconds(1000),
        again: milliseconds(50),
        gather: milliseconds(10),
        farewell: milliseconds(3000),
    }
}

fn open(address: &str, folder: &Path, images: u64) -> Mlflow {
    let config = MlflowConfig { experiment: "straight paths".into(), ..MlflowConfig::default() };
    let recipe = json!({"seed": 7, "train": {"batch": 2, "validation_times": [0.5]}});
    Mlflow::open(&config, address, folder, &recipe, images, patience()).unwrap()
}

fn figures(mlflow: &mut Mlflow, images: u64, value: f64) -> Result<ControlFlow<()>, TrainError> {
    mlflow.event(&Event::Figures { images, values: &[("reward (mean)".to_string(), value)] })
}

fn finish(mlflow: &mut Mlflow) -> Result<ControlFlow<()>, TrainError> {
    mlflow.event(&Event::Finished { images: 9, seconds: 1.0, stopped: false })
}

/// Steps and values of all numbers that arrived.
fn numbers(asked: &Asked) -> Vec<(u64, f64)> {
    let asked = asked.lock().unwrap();
    let metrics = asked.iter().flat_map(|(_, _, body)| body["metrics"].as_array().cloned().unwrap_or_default());
    metrics.map(|m| (m["step"].as_u64().unwrap(), m["value"].as_f64().unwrap())).collect()
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (listener, address)
}

/// Mutants: seconds as steps; no end; a number that is none sent (no JSON); the experiment made though it is there.
#[test]
fn numbers_settings_and_the_end_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let (listener, address) = listener();
    let asked = serve(listener, willing);
    let mut mlflow = open(&address, folder.path(), 0);
    for images in 0..2500 {
        let _ = figures(&mut mlflow, images, images as f64 / 2.0).unwrap();
    }
    let _ = figures(&mut mlflow, 2500, f64::NAN).unwrap();
    let _ = finish(&mut mlflow).unwrap();
    assert_eq!(numbers(&asked), (0..2500).map(|step| (step, step as f64 / 2.0)).collect::<Vec<_>>());
    let asked = asked.lock().unwrap().clone();
    let paths: Vec<&str> = asked.iter().map(|(_, path, _)| path.split("/mlflow/").nth(1).unwrap()).collect();
    assert!(paths[0].starts_with("experiments/get-by-name?experiment_name=straight"), "{}", paths[0]);
    assert_eq!(paths[1..4], ["experiments/create", "runs/create", "runs/log-batch"]);
    assert_eq!((&asked[1].2["name"], &asked[2].2["experiment_id"]), (&json!("straight paths"), &json!("12")));
    let name = folder.path().file_name().unwrap().to_string_lossy();
    assert_eq!(asked[2].2["run_name"], *name);
    let settings = json!([{"key": "seed", "value": "7"}, {"key": "train.batch", "value": "2"}, {"key": "train.validation_times", "value": "[0.5]"}]);
    assert_eq!(asked[3].2["params"], settings);
    let batches = asked.iter().filter_map(|(_, _, body)| body["metrics"].as_array());
    assert!(batches.clone().all(|batch| batch.len() <= 1000), "MLflow takes 1000 at once");
    assert_eq!(batches.flatten().next().unwrap()["key"], "task/reward _mean_");
    let (_, path, end) = asked.last().unwrap();
    assert!(path.ends_with("runs/update") && end["end_time"].is_u64());
    assert_eq!((&end["run_id"], &end["status"]), (&json!("abc"), &json!("FINISHED")));
}

/// Mutants: what was held thrown away; the trouble told at each number.
#[test]
fn an_absent_server_is_told_of_once_and_hears_all_when_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let (first, address) = listener();
    drop(first);
    let mut mlflow = open(&address, folder.path(), 0);
    let mut troubles = Vec::new();
    for images in 0..40 {
        troubles.extend(figures(&mut mlflow, images, 1.0).err());
        thread::sleep(Duration::from_millis(10));
    }
    let told: Vec<String> = troubles.iter().map(|error| error.to_string()).collect();
    assert!(told.len() == 1 && told[0].contains(&address) && told[0].contains("stats.jsonl"), "{told:?}");
    let asked = serve(TcpListener::bind(address.strip_prefix("http://").unwrap()).unwrap(), willing);
    let _ = finish(&mut mlflow).unwrap();
    assert_eq!(numbers(&asked).len(), 40);
}

/// Mutants: training waits for answers; the end waits for ever; nothing is said of what is lost.
#[test]
fn a_deaf_server_holds_nothing_up() {
    let (_listener, address) = listener(); // takes connections and never answers
    // As many as wait for the thread, and one that it asks about in vain.
    for count in [20_000, 1] {
        let folder = tempfile::tempdir().unwrap();
        let mut mlflow = open(&address, folder.path(), 0);
        let began = Instant::now();
        for images in 0..count {
            let _ = figures(&mut mlflow, images, 1.0);
        }
        assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
        let error = finish(&mut mlflow).unwrap_err().to_string();
        assert!(error.contains("not delivered"), "{error}");
        drop(mlflow);
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    }
}

/// Mutants: what is refused is sent again and again; a refusal is silent.
#[test]
fn what_a_server_refuses_is_told_with_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let (listener, address) = listener();
    let asked = serve(listener, |path, body| match body["metrics"].as_array() {
        Some(metrics) if !metrics.is_empty() => {
            (400, json!({"error_code": "INVALID_PARAMETER_VALUE", "message": "too long a name"}))
        }
        _ => willing(path, body),
    });
    let mut mlflow = open(&address, folder.path(), 0);
    let _ = figures(&mut mlflow, 1, 1.0);
    let error = finish(&mut mlflow).unwrap_err().to_string();
    assert!(error.contains("1 numbers were not delivered") && error.contains("too long a name"), "{error}");
    assert_eq!(numbers(&asked).len(), 1);
    assert_eq!(asked.lock().unwrap().last().unwrap().2["status"], "FINISHED");
}

/// Mutants: a new run at every resume; the old one named though it is gone; settings said twice.
#[test]
fn a_resumed_run_goes_on_with_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (first, address) = listener();
    let asked = serve(first, |path, body| match &body["run_id"] {
        id if *id == "gone" => (404, json!({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no run"})),
        _ => willing(path, body),
    });
    let made = || asked.lock().unwrap().iter().filter(|(_, path, _)| path.ends_with("runs/create")).count();
    let run = |images: u64| {
        let mut mlflow = open(&address, folder.path(), images);
        let _ = figures(&mut mlflow, images, 1.0).unwrap();
        drop(mlflow); // as an error leaves it
        asked.lock().unwrap().last().unwrap().2["status"].clone()
    };
    assert_eq!((run(0), made()), (json!("FAILED"), 1));
    assert_eq!((run(64), made()), (json!("FAILED"), 1));
    let settings = asked.lock().unwrap().iter().filter(|(_, _, body)| body["params"][0]["key"] == "seed").count();
    assert_eq!(settings, 1);
    let memory = folder.path().join("mlflow.json");
    let kept = std::fs::read_to_string(&memory).unwrap().replace("abc", "gone");
    std::fs::write(&memory, kept).unwrap();
    assert_eq!((run(128), made()), (json!("FAILED"), 2));
    assert_eq!((run(0), made()), (json!("FAILED"), 3), "a new run in the same place is new there");
}
