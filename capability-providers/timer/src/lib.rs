//! The built-in timer: calls actors when their time has come, once in the lattice for each time.
//!
//! What is to be done is decided from the schedule, the record that all instances share, and the time, without any of
//! them at hand ([`schedule`], [`firing`]); [`runner`] carries it out. See README.md.

#![forbid(unsafe_code)]

mod config;
mod provider;

mod clock;
mod firing;
mod runner;
mod schedule;

pub use clock::Clock;
pub use provider::{NAME, Timer, factory, factory_with};
