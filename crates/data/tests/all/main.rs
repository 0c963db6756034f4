//! Readers, doors and stores by whole files. One program, since each more repeats a build of what stands below it.

mod bad_input;
mod common;
mod damage;
mod doors;
mod loading;
mod pair_store;
mod parquet;
mod readers;
