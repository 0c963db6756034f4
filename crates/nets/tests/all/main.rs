//! Networks against golden tensors and each other. One program, since each more repeats a build of what stands below it.

mod configuration;
mod experts;
mod gguf;
mod networks;
mod overfit;
mod parity;
mod released;
mod taps;
mod tuning;
mod weights;
