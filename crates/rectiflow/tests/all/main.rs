//! The library from outside: one test program, so that its tests share both cores to the end.

mod architecture;
mod examples;
mod instaflow;
mod judge;
mod old_files;
mod online;
mod recipes;
mod released;
