//! The house rules as tests: what ARCHITECTURE.md and CONTRIBUTING.md say about the shape of this code base and clippy
//! cannot check. One test for each rule; a failure names file, line and rule. Nothing outside the repository is read.

#![forbid(unsafe_code)]

#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/source.rs"]
mod source;
