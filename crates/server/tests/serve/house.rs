//! A tiny trained run, servers over it, and what the command line draws from it.

use crate::client::{Answer, get, post};
use rectiflow::{
    Context, Error,
    device::Chosen,
    overrides::SampleOverrides,
    recipe::Layers,
    verbs::{
        sample::{SampleRequest, sample},
        train,
    },
};
use rectiflow_server::{Limits, Options};
use serde_json::Value;
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const RECIPE: &str = r#"
name = "tiny"
seed = 3
[data]
limit = 96
[network]
type = "unet"
channels = 8
patch = 2
[train]
images = 64
batch = 16
condition_dropout = 0.2
validate_every = 0
[sample]
steps = 3
"#;

/// A run by classes, and one without, both of which only have to draw something.
pub fn runs() -> [PathBuf; 2] {
    static RUNS: OnceLock<TempDir> = OnceLock::new();
    let folder = RUNS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let train = |name: &str, more: &[&str]| {
            let mut layers = Layers::new().text(RECIPE, "the tests' recipe").unwrap();
            for set in more {
                layers = layers.set(set).unwrap();
            }
            let recipe = layers.build().unwrap();
            train::train(&recipe, &folder.path().join(name), None, &mut Context::silent()).unwrap();
        };
        train("tiny", &[]);
        train("guideless", &["train.condition_dropout=0", "train.images=32"]);
        folder
    });
    ["tiny", "guideless"].map(|name| folder.path().join(name))
}

/// A run at `place`, trained by `recipe`.
pub fn learn(recipe: &str, place: &std::path::Path) {
    let recipe = Layers::new().text(recipe, "the tests' recipe").unwrap().build().unwrap();
    train::train(&recipe, place, None, &mut Context::silent()).unwrap();
}

/// A server that ends with its value.
pub struct House {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl House {
    /// Over both runs, changed by `change`.
    pub fn open(change: impl FnOnce(&mut Options)) -> Self {
        let models = runs().map(|run| run.display().to_string()).to_vec();
        let (listen, limits) = ("127.0.0.1:0".to_string(), Limits { steps: 1_000_000, ..Limits::default() });
        let mut options = Options { models, listen, key: None, hosts: Vec::new(), runs: None, state: None, limits };
        change(&mut options);
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, heard) = mpsc::channel();
        let until = stop.clone();
        let thread = std::thread::spawn(move || {
            rectiflow_server::serve(options, &Chosen::cpu(), &until, |_| {}, |address| tell.send(address).unwrap())
        });
        match heard.recv() {
            Ok(address) => Self { address, stop, thread: Some(thread) },
            Err(_) => panic!("no server: {:?}", thread.join()),
        }
    }

    pub fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Stops it, and waits for its end.
    pub fn close(&mut self) -> Result<(), Error> {
        self.ask_to_stop();
        self.thread.take().map_or(Ok(()), |thread| thread.join().unwrap())
    }

    pub fn get(&self, path: &str) -> Answer {
        get(self.address, path)
    }

    pub fn post(&self, path: &str, body: Value) -> Answer {
        post(self.address, path, &body)
    }

    /// A number that `/metrics` shows.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        line.unwrap_or_else(|| panic!("{name} is not in\n{text}"))
    }

    /// What `job` says once it says `status`.
    pub fn until(&self, id: &str, status: &str) -> Value {
        let began = Instant::now();
        loop {
            let job = self.get(&format!("/api/jobs/{id}")).json();
            if job["status"] == status {
                return job;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{job}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A job that keeps the worker busy until it is cancelled.
    pub fn busy(&self) -> String {
        let long = serde_json::json!({ "model": "tiny", "steps": 100_000, "class": 0 });
        let id = self.post("/api/jobs", long).json()["id"].as_str().unwrap().to_string();
        self.until(&id, "running");
        id
    }

    pub fn cancel(&self, id: &str) -> Value {
        crate::client::ask(self.address, "DELETE", &format!("/api/jobs/{id}"), &[], "").json()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let ended = self.close();
        assert!(std::thread::panicking() || ended.is_ok(), "{ended:?}");
    }
}

/// A picture's pixels.
pub fn pixels(png: &[u8]) -> image::RgbImage {
    image::load_from_memory(png).expect("a PNG").to_rgb8()
}

/// What `rectiflow sample RUN --seed SEED -n COUNT -o FOLDER/` writes.
pub fn drawn(seed: u64, count: u64, class: Option<&str>, overrides: SampleOverrides) -> Vec<image::RgbImage> {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("drawn");
    let request = SampleRequest {
        checkpoint: runs()[0].clone(),
        ema: None,
        overrides,
        seed,
        count,
        data: None,
        class: class.map(String::from),
        prompts: Vec::new(),
        images: Vec::new(),
        output: output.clone(),
        columns: 0,
        resolution: 128,
        first_step: None,
        noise: None,
        reward: None,
    };
    sample(&request, &mut Context::silent()).unwrap();
    (0..count).map(|i| pixels(&std::fs::read(output.join(format!("{i:06}.png"))).unwrap())).collect()
}
