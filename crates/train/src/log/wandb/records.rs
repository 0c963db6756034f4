//! The messages of a Weights & Biases run, as far as this project writes them; field numbers are those of `wandb_internal.proto`.

use prost::Message;

/// One record of a `.wandb` file.
#[derive(Clone, PartialEq, Message)]
pub struct Record {
    /// Counted from 1.
    #[prost(int64, tag = "1")]
    pub num: i64,
    /// Content.
    #[prost(oneof = "What", tags = "2, 3, 17, 18, 21")]
    pub what: Option<What>,
}

/// Content of a record.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum What {
    /// Numbers of a step.
    #[prost(message, tag = "2")]
    History(History),
    /// The last numbers.
    #[prost(message, tag = "3")]
    Summary(Summary),
    /// The run.
    #[prost(message, tag = "17")]
    Run(Run),
    /// The end.
    #[prost(message, tag = "18")]
    Exit(Exit),
    /// First record of every file.
    #[prost(message, tag = "21")]
    Header(Header),
}

/// Who wrote the file, and for whom.
#[derive(Clone, PartialEq, Message)]
pub struct Header {
    /// Versions.
    #[prost(message, tag = "1")]
    pub version: Option<Version>,
}

/// Versions of the writer and of the oldest reader.
#[derive(Clone, PartialEq, Message)]
pub struct Version {
    /// Writer.
    #[prost(string, tag = "1")]
    pub producer: String,
    /// Oldest reader.
    #[prost(string, tag = "2")]
    pub min_consumer: String,
}

/// A run.
#[derive(Clone, PartialEq, Message)]
pub struct Run {
    /// Its identity: eight letters and digits.
    #[prost(string, tag = "1")]
    pub run_id: String,
    /// Owner; the account's own where empty.
    #[prost(string, tag = "2")]
    pub entity: String,
    /// Project.
    #[prost(string, tag = "3")]
    pub project: String,
    /// Settings.
    #[prost(message, tag = "4")]
    pub config: Option<Config>,
    /// The name shown.
    #[prost(string, tag = "8")]
    pub display_name: String,
    /// When it began.
    #[prost(message, tag = "17")]
    pub start_time: Option<Timestamp>,
}

/// A moment.
#[derive(Clone, PartialEq, Message)]
pub struct Timestamp {
    /// Seconds since 1970.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// And so many billionths.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// Settings.
#[derive(Clone, PartialEq, Message)]
pub struct Config {
    /// Each.
    #[prost(message, repeated, tag = "1")]
    pub update: Vec<Item>,
}

/// A name and a value.
#[derive(Clone, PartialEq, Message)]
pub struct Item {
    /// Name, of a setting; empty where `nested_key` names it.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Name, of a number: one part, so that dots in it part nothing.
    #[prost(string, repeated, tag = "2")]
    pub nested_key: Vec<String>,
    /// Value.
    #[prost(string, tag = "16")]
    pub value_json: String,
}

/// Numbers of a step.
#[derive(Clone, PartialEq, Message)]
pub struct History {
    /// Each.
    #[prost(message, repeated, tag = "1")]
    pub item: Vec<Item>,
    /// The step.
    #[prost(message, tag = "2")]
    pub step: Option<Step>,
}

/// A step.
#[derive(Clone, PartialEq, Message)]
pub struct Step {
    /// Samples seen.
    #[prost(int64, tag = "1")]
    pub num: i64,
}

/// The last numbers.
#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    /// Each.
    #[prost(message, repeated, tag = "1")]
    pub update: Vec<Item>,
}

/// The end of a run.
#[derive(Clone, PartialEq, Message)]
pub struct Exit {
    /// 0 where it finished.
    #[prost(int32, tag = "1")]
    pub exit_code: i32,
    /// Seconds.
    #[prost(int32, tag = "2")]
    pub runtime: i32,
}
