//! What the tests of this provider share: actors that call over their links, and real servers.

mod actor;
mod server;
mod store;

pub(crate) use actor::{Actor, bytes, eventually};
pub(crate) use server::Server;
pub(crate) use store::{Kind, Store};
