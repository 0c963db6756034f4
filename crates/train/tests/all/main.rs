//! The engine by whole runs. One program, since each more repeats a build of what stands below it.

#[path = "../../src/testing.rs"]
#[allow(dead_code)] // each test file uses its own part
mod testing;

mod adapters;
mod any_module;
mod damage;
#[cfg(unix)]
mod kill;
mod matrices;
mod mlflow;
mod ranks;
mod real;
mod resume;
mod terms;
