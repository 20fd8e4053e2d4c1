//! The built-in blob store: wasi:blobstore on a folder of this machine, or on a server that speaks the S3 protocol.
//!
//! What an object holds is never in memory as a whole: it goes piece by piece from the body of a call to the backend,
//! and from the backend to the body of an answer. See README.md.

#![forbid(unsafe_code)]

mod config;
mod name;
mod provider;
mod request;

mod failure;
mod outgoing;
mod pieces;
mod range;
mod store;

mod folder;
mod s3;

pub use provider::{BlobStore, NAME, factory};
