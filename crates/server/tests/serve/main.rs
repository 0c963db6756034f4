//! The server from outside, over real connections: pictures, batches, refusals and its end.

mod beginning;
mod changing;
mod client;
mod drawing;
mod ending;
mod house;
mod moving;
mod refusing;
mod solid;
mod theirs;
mod watching;
