//! Who may run now: so many instances at once, a bounded queue behind them, and draining.

use tokio::sync::OwnedSemaphorePermit;

/// The right to run one instance. Held until the call is over, the body of its answer included.
#[derive(Debug)]
pub(crate) struct Permit {
    _permit: OwnedSemaphorePermit,
}
