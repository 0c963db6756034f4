//! The server from outside, over real connections: pictures, batches, refusals and its end.

mod changing;
mod client;
mod drawing;
mod ending;
mod house;
mod refusing;
mod theirs;
mod watching;
