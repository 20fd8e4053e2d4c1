//! What a token claims of an actor, a host or a caller.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::id::{EntityId, IssuerId, LatticeName, PeerId};

/// Claims about an actor, from the section in its component (lattice v1 §8, with a `trellis` member of ours).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorClaims {
    /// The account that signed.
    pub issuer: IssuerId,
    /// The actor's public key, `M…`.
    pub subject: String,
    /// For people.
    pub name: Option<String>,
    /// A number that grows with each signing.
    pub revision: Option<i32>,
    /// For people, e.g. semver.
    pub version: Option<String>,
    /// Another name to call it by.
    pub call_alias: Option<String>,
    /// For people.
    pub tags: Vec<String>,
    /// Seconds since 1970 when it was signed.
    pub issued_at: u64,
    /// Seconds since 1970 when it ends.
    pub expires_at: Option<u64>,
    /// Seconds since 1970 before which it does not hold.
    pub not_before: Option<u64>,
    /// Interfaces that the actor may import: names without version, `*` as package tail (`wasi:keyvalue/*`).
    /// `None`: the claims say nothing, and trust decides by issuer.
    pub imports: Option<Vec<String>>,
}

/// Claims about a provider, from the token in its archive (lattice v1 §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderClaims {
    /// The account that signed.
    pub issuer: IssuerId,
    /// The provider's public key, `V…`.
    pub subject: String,
    /// For people.
    pub name: String,
    /// Who made it, for people.
    pub vendor: String,
    /// A number that grows with each signing.
    pub revision: Option<i32>,
    /// For people, e.g. semver.
    pub version: Option<String>,
    /// Seconds since 1970 when it was signed.
    pub issued_at: u64,
    /// Seconds since 1970 when it ends.
    pub expires_at: Option<u64>,
    /// By target (`x86_64-linux`), upper-case hex of the SHA-256 of its program; other files by their names.
    pub target_hashes: BTreeMap<String, String>,
    /// A JSON schema of the configs of its links, for tools.
    pub config_schema: Option<Value>,
}

/// Claims about a peer: a host, a provider process or a command-line caller, signed by the lattice's authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerClaims {
    /// The authority.
    pub issuer: IssuerId,
    /// The peer's public key.
    pub peer: PeerId,
    /// Its X25519 public key.
    pub exchange: [u8; 32],
    /// The one lattice this holds in.
    pub lattice: LatticeName,
    /// Labels granted to a host.
    pub labels: BTreeMap<String, String>,
    /// The id under which a caller or a provider process calls; a host speaks for what it runs.
    pub entity: Option<EntityId>,
    /// What a caller may call without a link: `target/interface`, wildcards `*` at the end of either part.
    pub call: Vec<String>,
    /// Seconds since 1970 when it ends.
    pub expires_at: u64,
}

/// Claims whose token was checked: signature, times, prefixes. Only `token`, `component` and `archive` make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T>(pub(in crate::identity) T);

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}
