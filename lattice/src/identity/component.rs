//! Claims in a component: the custom section `wasmcloud_jwt` at its end, readable by wascap tools (lattice v1 §8).

use bytes::Bytes;

use crate::error::Result;
use crate::identity::claims::{ActorClaims, Verified};
use crate::identity::key::Key;

/// What to claim when signing a component.
#[derive(Debug, Clone, Default)]
pub struct Statement {
    /// For people.
    pub name: Option<String>,
    /// A number that grows with each signing.
    pub revision: Option<i32>,
    /// E.g. semver.
    pub version: Option<String>,
    /// Another name to call it by.
    pub call_alias: Option<String>,
    /// For people.
    pub tags: Vec<String>,
    /// Interfaces it may import; `None` says nothing.
    pub imports: Option<Vec<String>>,
    /// Seconds from now until it ends.
    pub expires_in_seconds: Option<u64>,
}

/// Normalises `component` (shortest section headers, no claims sections at any depth), signs it as `actor` with
/// `issuer`, and appends the section.
///
/// # Errors
/// `Malformed` when the bytes are not a component.
pub fn sign(
    component: &[u8],
    statement: &Statement,
    issuer: &Key,
    actor: &Key,
    now_unix_seconds: u64,
) -> Result<Vec<u8>> {
    let _ = (component, statement, issuer, actor, now_unix_seconds);
    todo!()
}

/// The claims of a component, checked: signature, times (60 s of slack), revision 3, hash over every byte before the
/// section, nothing after it, no second one at any depth. `None` when it has no claims at all.
///
/// # Errors
/// `Malformed` when the bytes are no component; `Untrusted`, saying why, when the claims do not hold.
pub fn verify(component: &Bytes, now_unix_seconds: u64) -> Result<Option<Verified<ActorClaims>>> {
    let _ = (component, now_unix_seconds);
    todo!()
}
