//! The kit that capability providers are made with: the [`Provider`] trait and what it speaks with.
//!
//! A provider is built into a host or runs as a process of its own ([`run`]), without change. It knows its links and the
//! contracts it serves; it knows neither hosts nor other providers. README.md beside this crate is where to begin.

#![forbid(unsafe_code)]

pub mod config;
pub mod headers;
pub mod heads;
pub mod process;
pub mod testing;
pub mod wire;

mod args;
mod link;
mod provider;
mod records;

pub use async_trait::async_trait;
pub use trellis_lattice::body::Body;
pub use trellis_lattice::contract::{Interface, Signature};
pub use trellis_lattice::damper::Damper;
pub use trellis_lattice::deadline;
pub use trellis_lattice::error::{CallError, CallErrorKind};
pub use trellis_lattice::id::{EntityId, LinkName};
pub use trellis_lattice::message::command::StringMap;
pub use trellis_lattice::message::invocation::{Answer, Call, Context, Encoding, Head, Invocation, Trace};
pub use trellis_lattice::message::link::Link;
pub use trellis_lattice::secret::{Secret, SecretValue};
pub use trellis_lattice::store::file as store_file;

pub use crate::args::Args;
pub use crate::link::{ActiveLink, LinkError, Role, SecretMap};
pub use crate::process::run;
pub use crate::provider::{Backing, Caller, Description, Environment, Factory, Health, Provider};
pub use crate::records::{Record, RecordError, Records};

/// Compiles what the README shows.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
