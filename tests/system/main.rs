//! The whole system: real `trellis` processes, a real nats-server, real guests. One binary, so that it is linked once.
//!
//! `cargo xtask test` builds what these tests start (`trellis`, the guests) and finds nats-server.

mod access;
mod apps;
mod attacks;
mod bad_input;
mod bank;
mod blobs;
mod cloud_edge;
mod disturbance;
mod ending;
mod foreign;
mod gateway;
mod http2;
mod messaging;
mod one_box;
mod operations;
mod outage;
mod outside;
mod plans;
mod policies;
mod providers;
mod ready;
mod relay;
mod resume;
mod rollout;
mod secrets;
mod sql;
mod support;
mod takeover;
mod timer;
mod tools;
mod two_hosts;
mod upgrade;
