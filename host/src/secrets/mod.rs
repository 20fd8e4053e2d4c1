//! Secrets on this host: which of them it can open, for whom, and how they come here.
//!
//! How one is sealed is the lattice's ([`trellis_lattice::secrets`]); what guests call is `capability/secrets`.

mod files;
mod references;
mod share;
mod vault;

pub(crate) use files::follow as follow_files;
pub(crate) use references::{References, references};
pub(crate) use share::share;
pub(crate) use vault::Vault;
