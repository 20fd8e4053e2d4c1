//! wasi:http 0.2 and 0.3 in both directions: requests that come to an actor, and requests that it sends.
//!
//! A request runs in an instance: a fresh one with 0.2, one that is used again with 0.3. The answer's head comes
//! first; the guest may go on writing the body while it is read.

mod answer;
mod body;
mod exchange;
mod outgoing;
mod p2;
mod p3;
mod service;
#[cfg(test)]
mod tests;

pub(crate) use outgoing::{Via, add_to_linker};
pub(crate) use service::Service;
