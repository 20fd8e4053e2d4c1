//! The blob store by its public API, as actors call it: the same tests on a folder and on an S3 server, and what is
//! particular to each.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

mod both;
mod faults;
mod folder;
mod limits;
mod memory;
