//! The built-in HTTP server: one listener per address of a host, shared by all links of that host.
//!
//! A link from this provider to an actor is a route: host, path prefix, method and headers, the most special match wins. A
//! request becomes a call over its link; the bodies of request and response are streamed both ways. See README.md.

#![forbid(unsafe_code)]

mod config;
mod provider;

mod filter;
mod listener;
mod peers;
mod route;
mod split;
mod succession;
mod tls;

mod cors;
mod fixed;
mod front;
mod health;
mod rate;

mod answer;
mod body;
mod connection;
mod forward;
mod head;
mod pace;
mod patient;
mod stream;
mod unsent;

pub use listener::Listeners;
pub use provider::{HttpServer, NAME, factory};
