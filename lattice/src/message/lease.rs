//! Which wadm acts in a lattice: the record that wadms take turns by, and that hosts follow to know whose commands
//! still count.

use serde::{Deserialize, Serialize};

/// The key of the record in the lattice's store; a token of its own, so that hosts can follow it without the rest.
pub const LEASE_KEY: &str = "wadm.lease";

/// The lease as it is stored (JSON), written by compare-and-swap only.
///
/// Nobody compares clocks with anybody: the record is over when it has not changed for `duration_ms` by the clock of
/// whoever looks at it, which is why each renewal changes `renewal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Whose it is: one run of one wadm, so that a restarted one does not take its predecessor's for its own.
    pub holder: String,
    /// The fencing token: grows with every change of holder, never falls. Hosts refuse commands with a lower one.
    pub token: u64,
    /// How long it holds after a change of the record, in milliseconds.
    pub duration_ms: u64,
    /// Grows with every renewal by the same holder.
    pub renewal: u64,
    /// Whether its holder goes on or has laid it down.
    pub state: LeaseState,
}

/// Whether a lease is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseState {
    /// Its holder acts.
    Held,
    /// Its holder stopped in good order: anyone may take it at once.
    Released,
}

impl Lease {
    /// Parses a record; `None` when it is not one, which gives nobody the right to act.
    pub fn decode(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }

    /// As it is stored.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a lease is texts and numbers")
    }
}

#[cfg(test)]
mod tests {
    use super::{Lease, LeaseState};

    #[test]
    fn a_lease_is_read_as_it_was_written_and_nonsense_is_none() {
        let lease = Lease { holder: "a".to_owned(), token: 7, duration_ms: 2_000, renewal: 3, state: LeaseState::Held };
        let text = r#"{"holder":"a","token":7,"duration_ms":2000,"renewal":3,"state":"held"}"#;
        assert_eq!(lease.encode(), text.as_bytes());
        assert_eq!(Lease::decode(text.as_bytes()), Some(lease));
        assert_eq!(Lease::decode(b"{}"), None);
    }
}
