//! Which trackers a run tells its numbers beside its own folder: the `[train.track]` table of a recipe.

use serde::{Deserialize, Serialize};

/// Trackers besides `stats.jsonl` and TensorBoard; none unless named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrackConfig {
    /// A server of MLflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mlflow: Option<MlflowConfig>,
    /// A folder for `wandb sync`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wandb: Option<WandbConfig>,
}

/// A server of MLflow, spoken to over its REST interface. Keys to it come from the environment, where MLflow's own client looks:
/// `MLFLOW_TRACKING_TOKEN`, or `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MlflowConfig {
    /// Its address, `http://…` or `https://…`; that of `MLFLOW_TRACKING_URI` where empty.
    pub uri: String,
    /// The experiment, made where it is not there.
    pub experiment: String,
}

impl Default for MlflowConfig {
    fn default() -> Self {
        Self { uri: String::new(), experiment: "rectiflow".into() }
    }
}

/// Weights & Biases without a connection: a run in `wandb/` of the run's folder, for `wandb sync`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WandbConfig {
    /// The project that the run is to appear in.
    pub project: String,
    /// Its owner; the account's own where empty.
    pub entity: String,
}

impl Default for WandbConfig {
    fn default() -> Self {
        Self { project: "rectiflow".into(), entity: String::new() }
    }
}

impl TrackConfig {
    /// Whether nobody is told.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses values out of range, naming the key.
    ///
    /// # Errors
    /// An address that is none or carries a password, a name that is empty.
    pub fn check(&self) -> Result<(), String> {
        if let Some(mlflow) = &self.mlflow {
            if !mlflow.uri.is_empty() {
                check_address(&mlflow.uri, "train.track.mlflow.uri")?;
            }
            if mlflow.experiment.trim().is_empty() {
                return Err("train.track.mlflow.experiment is empty; name one, such as \"rectiflow\"".into());
            }
        }
        match &self.wandb {
            Some(wandb) if wandb.project.trim().is_empty() || wandb.project.contains(['/', '\\']) => Err(format!(
                "train.track.wandb.project = {:?} must be a name without slashes; who owns it is train.track.wandb.entity",
                wandb.project
            )),
            _ => Ok(()),
        }
    }
}

impl MlflowConfig {
    /// The server's address, out of the recipe or else what `MLFLOW_TRACKING_URI` says.
    ///
    /// # Errors
    /// Neither says one, or one that is no address of a server.
    pub fn address(&self, environment: Option<&str>) -> Result<String, String> {
        let named = (!self.uri.is_empty()).then_some((self.uri.as_str(), "train.track.mlflow.uri"));
        let environment = environment.filter(|uri| !uri.is_empty()).map(|uri| (uri, "MLFLOW_TRACKING_URI"));
        let (uri, source) = named.or(environment).ok_or(
            "train.track.mlflow names no server; set train.track.mlflow.uri=http://… or the variable MLFLOW_TRACKING_URI",
        )?;
        check_address(uri, source)?;
        Ok(uri.trim_end_matches('/').to_string())
    }
}

fn check_address(uri: &str, source: &str) -> Result<(), String> {
    let rest = uri.strip_prefix("http://").or_else(|| uri.strip_prefix("https://"));
    let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if host.is_empty() || uri.contains(char::is_whitespace) {
        return Err(format!(
            "{source} = {uri:?} is no address of a server: write http://host:port, and start one with `mlflow server`"
        ));
    }
    if host.contains('@') {
        return Err(format!(
            "{source} holds a password, which would be kept in every checkpoint: use MLFLOW_TRACKING_USERNAME and \
             MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: the environment before the recipe; a password let through.
    #[test]
    fn an_address_is_the_recipes_or_the_environments() {
        let asked = |uri: &str| MlflowConfig { uri: uri.into(), ..MlflowConfig::default() };
        assert_eq!(asked("http://a:1/").address(Some("http://b")).unwrap(), "http://a:1");
        assert_eq!(asked("").address(Some("https://b")).unwrap(), "https://b");
        assert!(asked("").address(None).unwrap_err().contains("MLFLOW_TRACKING_URI"));
        assert!(asked("").address(Some("file:///x/mlruns")).unwrap_err().starts_with("MLFLOW_TRACKING_URI = "));
        for (uri, said) in
            [("mlruns", "no address"), ("http://", "no address"), ("http://me:secret@host", "MLFLOW_TRACKING_USERNAME")]
        {
            let track = TrackConfig { mlflow: Some(asked(uri)), wandb: None };
            let error = track.check().unwrap_err();
            assert!(error.contains(said) && !error.contains("secret"), "{error}");
        }
        let wandb = WandbConfig { project: "a/b".into(), ..WandbConfig::default() };
        let track = TrackConfig { mlflow: None, wandb: Some(wandb) };
        assert!(track.check().unwrap_err().contains("train.track.wandb.entity"));
        assert!(TrackConfig::default().check().is_ok());
    }
}
