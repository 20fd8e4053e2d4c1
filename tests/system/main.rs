//! The whole system: real `trellis` processes, a real nats-server, real guests. One binary, so that it is linked once.
//!
//! `cargo xtask test` builds what these tests start (`trellis`, the guests) and finds nats-server.

mod bad_input;
mod disturbance;
mod foreign;
mod one_box;
mod support;
mod two_hosts;
