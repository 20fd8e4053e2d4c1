//! The limits, from the config of the actor.

use crate::demo::bank::types::Fault;
use crate::wasi::config::store as config;

/// What a payer may do.
pub(crate) struct Limits {
    /// The most that one payment moves.
    pub(crate) single: u64,
    /// The most that all payments of a window move.
    pub(crate) sum: u64,
    /// How many payments a window has.
    pub(crate) payments: u64,
    window_seconds: u64,
}

impl Limits {
    /// The limits as they are configured now.
    pub(crate) fn read() -> Result<Self, Fault> {
        Ok(Self {
            single: number("single", 1_000_000)?,
            sum: number("sum", 5_000_000)?,
            payments: number("payments", 100)?,
            window_seconds: number("window_seconds", 60)?.max(1),
        })
    }

    /// The number of the window that this moment, in seconds since 1970, is in.
    pub(crate) fn window(&self, now_seconds: u64) -> u64 {
        now_seconds / self.window_seconds
    }
}

fn number(key: &str, default: u64) -> Result<u64, Fault> {
    match config::get(key) {
        Ok(None) => Ok(default),
        Ok(Some(text)) => text.parse().map_err(|_| Fault::Invalid(format!("config {key} is {text:?} and no number"))),
        Err(config::Error::Upstream(reason) | config::Error::Io(reason)) => Err(Fault::Unavailable(reason)),
    }
}
