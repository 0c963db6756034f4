//! A run's numbers as an offline run of Weights & Biases: `train.track.wandb`. `wandb sync` uploads the folder.
//!
//! Steps are samples seen. Numbers of one step are one row, as the service wants steps that grow; so the last row is written when
//! the next step begins or the run ends. A resumed run is a run of its own there.

mod framing;
mod records;

use super::{WandbConfig, numbers::numbers};
use crate::{
    TrainError,
    event::{Event, Observer},
};
use framing::Frames;
use prost::Message;
use records::{Config, Exit, Header, History, Item, Record, Run, Step, Summary, Timestamp, Version, What};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::File,
    hash::{BuildHasher, Hasher, RandomState},
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The oldest reader of what is written here.
const MIN_CONSUMER: &str = "0.70.0";

/// Writes an offline run of Weights & Biases.
#[derive(Debug)]
pub struct Wandb {
    path: PathBuf,
    frames: Frames<File>,
    began: Instant,
    num: i64,
    /// The row of the present step.
    row: Option<(u64, BTreeMap<String, f64>)>,
    last: BTreeMap<String, f64>,
    ended: bool,
}

impl Wandb {
    /// Begins a run in `wandb/` of `folder`, whose settings are `recipe`.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn create(config: &WandbConfig, folder: &Path, recipe: &Value) -> Result<Self, TrainError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = identity(RandomState::new().build_hasher().finish());
        let place = folder.join("wandb").join(format!("offline-run-{}-{id}", stamp(now.as_secs())));
        std::fs::create_dir_all(place.join("files")).map_err(TrainError::io("create", &place))?;
        let path = place.join(format!("run-{id}.wandb"));
        let write = TrainError::io("write", &path);
        let frames = File::create_new(&path).and_then(Frames::begin).map_err(write)?;
        let (row, last, began) = (None, BTreeMap::new(), Instant::now());
        let mut this = Self { path, frames, began, num: 0, row, last, ended: false };
        let producer = concat!("rectiflow ", env!("CARGO_PKG_VERSION")).to_string();
        let version = Version { producer, min_consumer: MIN_CONSUMER.into() };
        this.write(What::Header(Header { version: Some(version) }))?;
        let settings = recipe.as_object().into_iter().flatten();
        let setting = |(key, value): (&String, &Value)| Item {
            key: key.clone(),
            nested_key: Vec::new(),
            value_json: value.to_string(),
        };
        let name =
            std::path::absolute(folder).ok().and_then(|path| path.file_name().map(|n| n.to_string_lossy().into()));
        this.write(What::Run(Run {
            run_id: id,
            entity: config.entity.clone(),
            project: config.project.clone(),
            config: Some(Config { update: settings.map(setting).collect() }),
            display_name: name.unwrap_or_default(),
            start_time: Some(Timestamp { seconds: now.as_secs() as i64, nanos: now.subsec_nanos() as i32 }),
        }))?;
        Ok(this)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, what: What) -> Result<(), TrainError> {
        self.num += 1;
        let record = Record { num: self.num, what: Some(what) }.encode_to_vec();
        self.frames.write(&record).map_err(TrainError::io("write", &self.path))
    }

    /// Writes the row of the present step.
    fn flush(&mut self) -> Result<(), TrainError> {
        let Some((step, values)) = self.row.take() else { return Ok(()) };
        self.last.extend(values.clone());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        // A step that is written as a fraction is not seen, and rows are counted instead.
        let own = [
            ("_step", Value::from(step)),
            ("_runtime", self.began.elapsed().as_secs_f64().into()),
            ("_timestamp", now.into()),
        ];
        let own = own.map(|(name, value)| item(name.to_string(), &value));
        let item = values.into_iter().map(|(name, value)| item(name, &value.into())).chain(own).collect();
        self.write(What::History(History { item, step: Some(Step { num: step as i64 }) }))
    }

    fn end(&mut self, exit_code: i32) -> Result<(), TrainError> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        self.flush()?;
        let update =
            std::mem::take(&mut self.last).into_iter().map(|(name, value)| item(name, &value.into())).collect();
        self.write(What::Summary(Summary { update }))?;
        let runtime = self.began.elapsed().as_secs() as i32;
        self.write(What::Exit(Exit { exit_code, runtime }))
    }
}

impl Observer for Wandb {
    fn event(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>, TrainError> {
        if let Some((images, values)) = numbers(event) {
            if self.row.as_ref().is_some_and(|(step, _)| *step != images) {
                self.flush()?;
            }
            let (_, row) = self.row.get_or_insert_with(|| (images, BTreeMap::new()));
            row.extend(values.into_iter().filter(|(_, value)| value.is_finite()));
        }
        if let Event::Finished { stopped, .. } = event {
            self.end(if *stopped { 130 } else { 0 })?;
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// A run that ends with an error never says so itself.
impl Drop for Wandb {
    fn drop(&mut self) {
        let _ = self.end(1);
    }
}

fn item(name: String, value: &Value) -> Item {
    Item { key: String::new(), nested_key: vec![name], value_json: value.to_string() }
}

/// Eight letters and digits.
fn identity(mut random: u64) -> String {
    let mut letter = || {
        let letter = b"abcdefghijklmnopqrstuvwxyz0123456789"[(random % 36) as usize];
        random /= 36;
        letter as char
    };
    (0..8).map(|_| letter()).collect()
}

/// `20261201_235959`, UTC.
fn stamp(seconds: u64) -> String {
    let day = Duration::from_secs(86_400).as_secs();
    let (mut days, clock) = (seconds / day, seconds % day);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut month) = (1970, 1);
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!("{year:04}{month:02}{:02}_{hour:02}{minute:02}{second:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(path: &Path) -> Vec<What> {
        let read = framing::records(&std::fs::read(path).unwrap());
        let records: Vec<Record> = read.iter().map(|bytes| Record::decode(&bytes[..]).unwrap()).collect();
        assert!(records.iter().enumerate().all(|(at, record)| record.num == at as i64 + 1));
        records.into_iter().map(|record| record.what.unwrap()).collect()
    }

    /// Mutants: a row for each event, so that a step comes twice; the last row never written; a number that is none passed on.
    #[test]
    fn a_step_is_a_row() {
        let folder = tempfile::tempdir().unwrap();
        let config = WandbConfig { project: "mine".into(), ..WandbConfig::default() };
        let mut wandb = Wandb::create(&config, folder.path(), &json!({"seed": 7, "train": {"batch": 2}})).unwrap();
        let mut figures = |images: u64, name: &str, value: f64| {
            let values = [(name.to_string(), value)];
            let _ = wandb.event(&Event::Figures { images, values: &values }).unwrap();
        };
        figures(64, "a", 1.0);
        figures(64, "b", 0.5);
        figures(64, "c", f64::NAN);
        figures(128, "a", 2.0);
        let _ = wandb.event(&Event::Finished { images: 128, seconds: 1.0, stopped: false }).unwrap();
        let path = wandb.path().to_path_buf();
        drop(wandb);
        let found = written(&path);
        let [
            What::Header(_),
            What::Run(run),
            What::History(first),
            What::History(second),
            What::Summary(summary),
            What::Exit(exit),
        ] = &found[..]
        else {
            panic!("{found:#?}")
        };
        assert_eq!((run.project.as_str(), run.run_id.len(), exit.exit_code), ("mine", 8, 0));
        assert!(path.ends_with(format!("run-{}.wandb", run.run_id)));
        let settings: Vec<_> = run.config.iter().flat_map(|c| &c.update).map(|i| (&*i.key, &*i.value_json)).collect();
        assert_eq!(settings, [("seed", "7"), ("train", r#"{"batch":2}"#)]);
        let row = |items: &[Item]| -> Vec<(String, String)> {
            let each = items.iter().map(|item| (item.nested_key.concat(), item.value_json.clone()));
            each.filter(|(name, _)| name.starts_with("task/")).collect()
        };
        let of = |name: &str, value: &str| (name.to_string(), value.to_string());
        let step = first.item.iter().find(|item| item.nested_key == ["_step"]).unwrap();
        assert_eq!(step.value_json, "64", "no fraction");
        assert_eq!(
            (first.step.as_ref().unwrap().num, row(&first.item)),
            (64, vec![of("task/a", "1.0"), of("task/b", "0.5")])
        );
        assert_eq!((second.step.as_ref().unwrap().num, row(&second.item)), (128, vec![of("task/a", "2.0")]));
        assert_eq!(row(&summary.update), [of("task/a", "2.0"), of("task/b", "0.5")]);
    }

    /// Mutant: an error that looks like an end.
    #[test]
    fn a_run_that_dies_did_not_finish() {
        let folder = tempfile::tempdir().unwrap();
        let wandb = Wandb::create(&WandbConfig::default(), folder.path(), &json!({})).unwrap();
        let path = wandb.path().to_path_buf();
        drop(wandb);
        assert!(matches!(written(&path).last(), Some(What::Exit(Exit { exit_code: 1, .. }))));
    }

    #[test]
    fn days_are_civil() {
        // As `date -u -d @N +%Y%m%d_%H%M%S` has it. Mutant: no leap years.
        for (seconds, shown) in [
            (0, "19700101_000000"),
            (951_782_399, "20000228_235959"),
            (951_782_400, "20000229_000000"),
            (1_735_689_599, "20241231_235959"),
            (1_796_129_486, "20261201_125126"),
        ] {
            assert_eq!(stamp(seconds), shown);
        }
    }
}
