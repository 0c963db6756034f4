//! The part of MLflow's REST interface (version 2.0) that a run needs: experiments, runs, batches of numbers.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Why a call came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Nobody answered, or not now: the same call may succeed later.
    Away(String),
    /// The server's answer to this call, its code of the error and what it says.
    No {
        /// `RESOURCE_DOES_NOT_EXIST` and such.
        code: String,
        /// In its words.
        message: String,
    },
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Away(why) => f.write_str(why),
            Self::No { code, message } => write!(f, "{code}: {message}"),
        }
    }
}

/// A number of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name.
    pub key: String,
    /// Its value, finite.
    pub value: f64,
    /// Milliseconds since 1970.
    pub timestamp: u64,
    /// Samples seen.
    pub step: u64,
}

/// A server.
#[derive(Debug)]
pub struct Client {
    agent: ureq::Agent,
    address: String,
    authorization: Option<String>,
}

impl Client {
    /// The server at `address`, given `timeout` for each answer.
    pub fn new(address: &str, timeout: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .user_agent(concat!("rectiflow/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.into(), address: address.into(), authorization: None }
    }

    /// With the keys that `variable` knows under the names that MLflow's own client looks for.
    pub fn with_keys(self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let token = variable("MLFLOW_TRACKING_TOKEN").map(|token| format!("Bearer {token}"));
        let pair = variable("MLFLOW_TRACKING_USERNAME").zip(variable("MLFLOW_TRACKING_PASSWORD"));
        let basic =
            pair.map(|(user, password)| format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))));
        Self { authorization: token.or(basic), ..self }
    }

    /// The number of the experiment `name`, made where it is not there.
    ///
    /// # Errors
    /// Nobody answers; the server refuses.
    pub fn experiment(&self, name: &str) -> Result<String, Refused> {
        let find = || {
            let found = self.get("experiments/get-by-name", &[("experiment_name", name)])?;
            text(&found["experiment"]["experiment_id"])
        };
        match find() {
            Err(Refused::No { code, .. }) if code == "RESOURCE_DOES_NOT_EXIST" => {}
            found => return found,
        }
        match self.post("experiments/create", &json!({"name": name})) {
            Ok(made) => text(&made["experiment_id"]),
            // Another run made it meanwhile.
            Err(Refused::No { code, .. }) if code == "RESOURCE_ALREADY_EXISTS" => find(),
            Err(error) => Err(error),
        }
    }

    /// The number of a new run called `name`.
    ///
    /// # Errors
    /// Those of [`Client::experiment`].
    pub fn create_run(&self, experiment: &str, name: &str) -> Result<String, Refused> {
        let tags = json!([{"key": "mlflow.source.name", "value": "rectiflow"}, {"key": "mlflow.source.type", "value": "LOCAL"}]);
        let asked = json!({"experiment_id": experiment, "run_name": name, "start_time": now(), "tags": tags});
        text(&self.post("runs/create", &asked)?["run"]["info"]["run_id"])
    }

    /// Says how a run is doing: `RUNNING`, `FINISHED`, `KILLED`, `FAILED`.
    ///
    /// # Errors
    /// Those of [`Client::experiment`].
    pub fn update_run(&self, run: &str, status: &str) -> Result<(), Refused> {
        let mut asked = json!({"run_id": run, "status": status});
        if status != "RUNNING" {
            asked["end_time"] = json!(now());
        }
        self.post("runs/update", &asked).map(drop)
    }

    /// Gives a run numbers (1000 at most) and settings (100 at most).
    ///
    /// # Errors
    /// Those of [`Client::experiment`].
    pub fn log_batch(&self, run: &str, metrics: &[Metric], params: &[(String, String)]) -> Result<(), Refused> {
        let metric = |m: &Metric| json!({"key": m.key, "value": m.value, "timestamp": m.timestamp, "step": m.step});
        let param = |(key, value): &(String, String)| json!({"key": key, "value": value});
        let metrics: Vec<Value> = metrics.iter().map(metric).collect();
        let params: Vec<Value> = params.iter().map(param).collect();
        self.post("runs/log-batch", &json!({"run_id": run, "metrics": metrics, "params": params})).map(drop)
    }

    fn get(&self, what: &str, query: &[(&str, &str)]) -> Result<Value, Refused> {
        let mut request = self.agent.get(format!("{}/api/2.0/mlflow/{what}", self.address));
        for (key, value) in query {
            request = request.query(key, value);
        }
        if let Some(keys) = &self.authorization {
            request = request.header("Authorization", keys);
        }
        answer(request.call())
    }

    fn post(&self, what: &str, body: &Value) -> Result<Value, Refused> {
        let mut request = self.agent.post(format!("{}/api/2.0/mlflow/{what}", self.address));
        if let Some(keys) = &self.authorization {
            request = request.header("Authorization", keys);
        }
        answer(request.content_type("application/json").send(body.to_string()))
    }
}

fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value, Refused> {
    let away = |error: ureq::Error| match error {
        ureq::Error::Io(error) => Refused::Away(error.to_string()),
        error => Refused::Away(error.to_string()),
    };
    let mut response = response.map_err(away)?;
    let status = response.status();
    let body = response.body_mut().read_to_string().map_err(away)?;
    let said = serde_json::from_str::<Value>(&body).ok();
    if status.is_success() {
        return said.ok_or_else(|| no(status.as_str(), "an answer that is not MLflow's"));
    }
    let of = |key: &str| said.as_ref().and_then(|said| said[key].as_str()).map(str::to_string);
    if status.is_server_error() || status == 429 {
        return Err(Refused::Away(format!("it answers {status}")));
    }
    let message = of("message").unwrap_or_else(|| "it gives no reason".into());
    Err(no(&of("error_code").unwrap_or_else(|| status.to_string()), &message))
}

fn text(value: &Value) -> Result<String, Refused> {
    value
        .as_str()
        .map(str::to_string)
        .ok_or_else(|| no("unreadable", "an answer without the number that was asked for"))
}

fn no(code: &str, message: &str) -> Refused {
    let message = message.lines().next().unwrap_or_default().chars().take(300).collect();
    Refused::No { code: code.into(), message }
}

/// Milliseconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
