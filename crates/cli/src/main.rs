//! Command-line face.
fn main() {}
