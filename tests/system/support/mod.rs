//! What the tests start and talk to. Everything started here ends with the value that holds it.

pub(crate) mod app;
pub(crate) mod folder;
pub(crate) mod guests;
pub(crate) mod http;
pub(crate) mod lattice;
pub(crate) mod load;
pub(crate) mod nats;
pub(crate) mod pattern;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod redis;
pub(crate) mod registry;
pub(crate) mod s3;
pub(crate) mod starts;
pub(crate) mod wait;
pub(crate) mod wire;
