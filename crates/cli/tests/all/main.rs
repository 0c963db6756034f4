//! What the program does, from outside: one test program, so that all of it shares one tiny run and both cores to the end.

mod common;

mod align;
mod bad_input;
mod codec;
mod doors;
mod few_steps;
mod invert_and_edit;
mod judging;
mod online;
mod released;
mod restore;
mod restore_sound;
mod scheduler_config;
mod shape;
mod text;
mod transfer;
mod two_networks;
mod verbs;
