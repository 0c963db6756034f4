//! Python's pickle format, read without running anything in it: data sets and weights are published as pickles, and an ordinary
//! reader would carry out whatever they say.

mod machine;
mod program;
mod values;

pub use values::{Failure, Graph, Id, Value};
