//! Waiting for a condition with a deadline, never for a time.

use std::time::{Duration, Instant};

/// The deadline of everything that should happen soon: generous, because the machines are slow and shared.
pub(crate) const SOON: Duration = Duration::from_secs(240);

/// Asks `probe` until it says `Ok`, and fails with what it said last when [`SOON`] is over.
pub(crate) fn until<T>(what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + SOON;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(last) if Instant::now() > end => panic!("{what} did not happen in {SOON:?}; last seen: {last}"),
            Err(_) => std::thread::park_timeout(Duration::from_millis(20)),
        }
    }
}
