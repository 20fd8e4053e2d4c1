//! What the tests start and talk to. Everything started here ends with the value that holds it.

pub mod guests;
pub mod http;
pub mod lattice;
pub mod nats;
pub mod process;
pub mod wait;
