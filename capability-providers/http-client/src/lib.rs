//! The built-in HTTP client: requests that actors send to the world outside, as their links allow.
//!
//! A link to this provider says which hosts may be asked ([`allow`]) and which addresses behind their names
//! ([`address`]). A name is resolved once for a connection, all its addresses are checked, and the connection is made to
//! one that was checked. See README.md.

#![forbid(unsafe_code)]

mod config;
mod provider;

mod address;
mod allow;
mod redirect;
mod target;

mod body;
mod client;
mod connect;
mod failure;
mod resolve;
mod tls;

pub use provider::{HttpClient, NAME, factory};
pub use resolve::{Resolver, system};
