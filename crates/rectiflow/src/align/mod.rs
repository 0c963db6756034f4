//! Aligning a model with what a judge prefers: who judges, the candidates that are judged, and the tasks that learn from it.
//!
//! The mathematics is `methods::align`; this room brings models, samples and the trainer together. It works for any landed model:
//! nothing here knows what the numbers of a sample mean, but for the oracles, which say so.

pub mod candidates;
pub mod climb;
pub mod comparisons;
pub mod drawing;
pub mod duel;
mod file;
pub mod found;
pub mod grpo;
pub mod judge;
pub mod online;
mod pair_samples;
pub mod people;
pub mod prompts;
pub mod reward;
mod reward_model;
mod scored;
pub mod weighted;

pub use candidates::Candidates;
pub use climb::Climb;
pub use drawing::{Drawing, Judged};
pub use judge::{Judge, Scores};
pub use people::{People, PeopleRequest};
pub use prompts::Prompts;
pub use reward::RewardRecipe;
pub use reward_model::RewardModel;
pub use scored::{Scored, judge_of};
