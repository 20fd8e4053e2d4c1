//! The built-in SQL provider: trellis:sql on SQLite files of its own, or on PostgreSQL.
//!
//! A link is a [`database::Database`] of one of both kinds. What they share is here: what a statement may be, limits,
//! migrations, and the transactions that stay open between calls. See README.md.

#![forbid(unsafe_code)]

mod config;
mod provider;

mod call;
mod database;
mod deadline;
mod migration;
mod open;
mod result;
mod statement;
mod value;

mod postgres;
mod sqlite;

pub use provider::{NAME, Sql, factory};
