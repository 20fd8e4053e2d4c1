//! Claims about a provider: the token in its archive, which names the hash of the program for each target (lattice v1
//! §8). The archive itself is host's.

use std::collections::BTreeMap;

use data_encoding::{HEXLOWER, HEXUPPER};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, ErrorKind, Result};
use crate::id::IssuerId;
use crate::identity::claims::{ProviderClaims, Verified};
use crate::identity::component::{require_kind, token};
use crate::identity::jws;
use crate::identity::key::{Key, KeyKind};

/// The revision of wascap's layout.
const REVISION: u32 = 3;

/// What to claim when signing a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statement {
    /// For people.
    pub name: String,
    /// Who made it, for people.
    pub vendor: String,
    /// A number that grows with each signing.
    pub revision: Option<i32>,
    /// E.g. semver.
    pub version: Option<String>,
    /// Seconds from now until it ends.
    pub expires_in_seconds: Option<u64>,
    /// A JSON schema of the configs of its links, for tools.
    pub config_schema: Option<Value>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
    jti: String,
    iat: u64,
    iss: IssuerId,
    sub: String,
    wascap: Wascap,
    wascap_revision: u32,
}

#[derive(Serialize, Deserialize)]
struct Wascap {
    name: String,
    vendor: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rev: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ver: Option<String>,
    target_hashes: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    config_schema: Option<Value>,
}

/// The hash that claims name a program by: upper-case hex of its SHA-256.
pub fn hash(program: &[u8]) -> String {
    HEXUPPER.encode(&Sha256::digest(program))
}

/// A token that claims `statement` of the provider `provider` with these hashes: of programs by target, of other files by
/// name.
///
/// # Errors
/// `Malformed` when a key is of the wrong kind, or the claims are larger than [`verify`] takes.
pub fn sign(
    statement: &Statement,
    hashes: BTreeMap<String, String>,
    issuer: &Key,
    provider: &Key,
    now_unix_seconds: u64,
) -> Result<String> {
    require_kind(issuer, KeyKind::Account, "signs")?;
    require_kind(provider, KeyKind::Provider, "is signed for")?;
    let claims = Claims {
        exp: statement.expires_in_seconds.map(|seconds| now_unix_seconds.saturating_add(seconds)),
        jti: HEXLOWER.encode(&rand::random::<[u8; 16]>()),
        iat: now_unix_seconds,
        iss: IssuerId::parse(&issuer.public()).map_err(|error| Error::new(ErrorKind::Malformed, error.to_string()))?,
        sub: provider.public(),
        wascap: Wascap {
            name: statement.name.clone(),
            vendor: statement.vendor.clone(),
            rev: statement.revision,
            ver: statement.version.clone(),
            target_hashes: hashes,
            config_schema: statement.config_schema.clone(),
        },
        wascap_revision: REVISION,
    };
    token(&claims, issuer)
}

/// The claims of `token`, checked: signature, times (60 s of slack), subject. The programs are to be held against the
/// hashes by whoever has them.
///
/// # Errors
/// `Untrusted`, saying why, when they do not hold.
pub fn verify(token: &str, now_unix_seconds: u64) -> Result<Verified<ProviderClaims>> {
    let claims: Claims = jws::open(token, jws::COMPONENT, now_unix_seconds)?;
    let is_provider = claims.sub.starts_with('V') && nkeys::KeyPair::from_public_key(&claims.sub).is_ok();
    if !is_provider || claims.wascap_revision != REVISION {
        return Err(jws::refused("it is not about a provider (`V…`), or of an old revision; sign it again"));
    }
    Ok(Verified(ProviderClaims {
        issuer: claims.iss,
        subject: claims.sub,
        name: claims.wascap.name,
        vendor: claims.wascap.vendor,
        revision: claims.wascap.rev,
        version: claims.wascap.ver,
        issued_at: claims.iat,
        expires_at: claims.exp,
        target_hashes: claims.wascap.target_hashes,
        config_schema: claims.wascap.config_schema,
    }))
}
