//! Providers as processes of their own: the same [`Provider`](crate::Provider), a channel to the host in between.
//!
//! The host starts the process with one Unix socket as its standard input. All goes over it: links, health and drain as
//! JSON, calls both ways as frames of the lattice (PROTOCOL.md beside this crate). The process needs no credentials of
//! the lattice and has none. [`run`] is the process's end; the host's end is made of the rest.

mod body;
mod call;
mod channel;
mod control;
mod frame;
mod links;
mod outbox;
mod records;
pub(crate) mod revealed;
mod run;
mod serving;

pub use self::call::MAX_CALLS;
pub use self::channel::{Channel, Serve};
pub use self::control::{Bootstrap, Described, Order, VERSION, Word};
pub use self::records::WithHost;
pub use self::run::{RunError, run, run_builtin};
