//! What the tests of this provider share: actors that call over their links, and real servers.

mod actor;
mod server;
mod store;

pub use actor::{Actor, bytes, eventually};
pub use server::Server;
pub use store::{Kind, Store};
