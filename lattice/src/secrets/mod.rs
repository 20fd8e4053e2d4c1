//! Secrets of a lattice as they are kept: the value sealed under a key of its own, that key sealed to each host that
//! may open it, and what is said of both signed.
//!
//! Bytes in, bytes out; where records are kept and who is asked for them is the host's.

mod envelope;
mod grant;
mod record;
mod reference;

pub use envelope::Opener;
pub use grant::HostGrant;
pub use record::{MAX_SECRET_BYTES, Recipient, SealedSecret, SecretRecord, Statement, Terms};
pub use reference::{Backend, REFERENCE_PREFIX, Reference, is_reference};
