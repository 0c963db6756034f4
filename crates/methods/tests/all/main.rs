//! Methods against exact worlds. One program, since each more repeats a build of what stands below it.

mod alignment;
mod common;
mod curved;
mod editing;
mod pairs;
mod steer;
mod stepsize;
mod straightening;
