//! How calls over a link behave when its target does not: timeout, retries, breaker, concurrency.
//!
//! What configs may say of it, and what that comes to. Pure; who carries it out is the host that calls. A link says it
//! in a config of its source's side, or names a policy there: a config whose name begins with [`NAME_PREFIX`], which
//! any number of links may share.

mod classes;
mod parse;

use std::time::Duration;

pub use self::classes::Classes;
pub use self::parse::{KEYS, Problem, Problems, says_something};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ConfigName, PolicyName};

/// What the name of a config begins with that is a policy.
pub const NAME_PREFIX: &str = "POLICY_";

/// The longest wait for a place when nothing else is said.
pub const WAIT: Duration = Duration::from_millis(100);

/// How calls over a link behave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// The longest that a call may take, retries included; as long as it has anyway when absent.
    pub timeout: Option<Duration>,
    /// When a call is tried again.
    pub retries: Retries,
    /// When calls are refused at once; never when absent.
    pub breaker: Option<Breaker>,
    /// How many calls may be in flight; any number when absent.
    pub concurrency: Option<Concurrency>,
}

/// When a call is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// So often at most, 0 to 10.
    pub most: u8,
    /// After errors of these classes. Those that may have had an effect only if the call may be repeated.
    pub on: Classes,
}

impl Default for Retries {
    fn default() -> Self {
        Self { most: 0, on: Classes::RETRIED }
    }
}

/// When calls are refused at once, because the target keeps failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// After so many failures in a row, at least 1.
    pub failures: u32,
    /// For so long, before one call tries again.
    pub pause: Duration,
    /// Errors of these classes are failures.
    pub on: Classes,
}

/// How many calls may be in flight over a link, for each host that calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    /// So many, at least 1; as many more may wait.
    pub limit: u32,
    /// For so long at most.
    pub wait: Duration,
}

/// Whether the config of that name is a policy.
pub fn is_policy(config: &ConfigName) -> bool {
    config.as_str().starts_with(NAME_PREFIX)
}

/// The name of the policy that a config is, if it is one.
pub fn name_of(config: &ConfigName) -> Option<&str> {
    config.as_str().strip_prefix(NAME_PREFIX)
}

/// The name of the config that `policy` is kept in.
///
/// # Errors
/// `Malformed` when the policy's name is so long that nothing fits before it.
pub fn config_name(policy: &PolicyName) -> Result<ConfigName> {
    ConfigName::parse(&format!("{NAME_PREFIX}{policy}"))
        .map_err(|error| Error::new(ErrorKind::Malformed, format!("{error}; choose a shorter name")))
}

#[cfg(test)]
mod tests;
