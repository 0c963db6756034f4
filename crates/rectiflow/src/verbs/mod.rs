//! The verbs: what a user asks for, each a function from a typed request to a typed report.

pub mod align;
pub mod cite;
pub mod classifier;
pub mod data;
pub mod demo;
pub mod diagnose;
pub mod edit;
pub mod eval;
pub mod export_schedule;
pub mod fast;
pub mod inspect;
pub mod likelihood;
pub mod plan;
pub mod restore;
pub mod retrieve;
pub mod reward;
pub mod sample;
pub mod schedule;
pub mod score;
pub mod shape;
pub mod slim;
pub mod student;
pub mod toy;
pub mod train;
pub mod transfer;
pub mod winrate;
