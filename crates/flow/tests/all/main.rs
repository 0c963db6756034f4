//! The mathematics of flows against closed forms. One program, since each more repeats a build of what stands below it.

mod bridges;
mod common;
mod conversions;
mod couplings;
mod curves;
mod guidance;
mod interpolants;
mod ledger;
mod likelihood;
mod objective;
mod oracles;
mod paths;
mod rectification;
mod solvers;
mod stepper;
mod stochastic;
mod times;
