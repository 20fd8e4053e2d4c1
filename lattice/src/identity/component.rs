//! Claims in a component: the custom section `wasmcloud_jwt` at its end, readable by wascap tools (lattice v1 §8).

use bytes::Bytes;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::contract::Interface;
use crate::error::{Error, ErrorKind, Result};
use crate::id::IssuerId;
use crate::identity::claims::{ActorClaims, Verified};
use crate::identity::jws;
use crate::identity::key::{Key, KeyKind};
use crate::identity::section::{self, Found};

/// The revision of wascap's layout. Hashes of earlier ones are over other bytes, and wascap does not compare them.
const REVISION: u32 = 3;

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

#[derive(Serialize)]
struct Header {
    typ: &'static str,
    alg: &'static str,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
    jti: String,
    iat: u64,
    iss: IssuerId,
    sub: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
    wascap: Wascap,
    wascap_revision: u32,
}

/// Members that other tools add are passed over; those of `trellis` are ours and may narrow a grant.
#[derive(Serialize, Deserialize)]
struct Wascap {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rev: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ver: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call_alias: Option<String>,
    #[serde(default)]
    prov: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trellis: Option<Trellis>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trellis {
    imports: Vec<String>,
}

/// Normalises `component` (shortest section headers, no claims sections at any depth), signs it as `actor` with
/// `issuer`, and appends the section.
///
/// # Errors
/// `Malformed` when the bytes are not a component, a key is of the wrong kind, an import is not a name, or the claims
/// are larger than [`verify`] takes.
pub fn sign(
    component: &[u8],
    statement: &Statement,
    issuer: &Key,
    actor: &Key,
    now_unix_seconds: u64,
) -> Result<Vec<u8>> {
    require_kind(issuer, KeyKind::Account, "signs")?;
    require_kind(actor, KeyKind::Actor, "is signed for")?;
    for import in statement.imports.iter().flatten() {
        check_import(import)?;
    }
    let mut signed = section::normalise(component)?;
    let hash = HEXUPPER.encode(&Sha256::digest(&signed));
    let token = token(&claims(statement, (issuer, actor), hash, now_unix_seconds)?, issuer)?;
    section::append_claims(&mut signed, &token);
    Ok(signed)
}

fn malformed(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Malformed, why)
}

pub(super) fn require_kind(key: &Key, kind: KeyKind, role: &str) -> Result<()> {
    if key.kind() == kind {
        return Ok(());
    }
    let (wanted, given) = (kind.as_str(), key.kind().as_str());
    Err(malformed(format!("the key that {role} must be an {wanted} key; {} is a {given} key", key.public())))
}

/// `namespace:package/interface` without version, or `namespace:package/*`.
fn check_import(import: &str) -> Result<()> {
    let interface = import.strip_suffix('*').filter(|rest| rest.ends_with('/')).map(|rest| format!("{rest}x"));
    let parsed = Interface::parse(interface.as_deref().unwrap_or(import));
    match parsed {
        Ok(name) if name.version().is_none() => Ok(()),
        _ => {
            let shown: String = import.chars().take(200).collect();
            Err(malformed(format!(
                "import {shown:?} is not of the form `namespace:package/interface`, without version, or \
                 `namespace:package/*`"
            )))
        }
    }
}

fn claims(statement: &Statement, (issuer, actor): (&Key, &Key), hash: String, now: u64) -> Result<Claims> {
    Ok(Claims {
        exp: statement.expires_in_seconds.map(|seconds| now.saturating_add(seconds)),
        jti: HEXLOWER.encode(&rand::random::<[u8; 16]>()),
        iat: now,
        iss: IssuerId::parse(&issuer.public()).map_err(|error| malformed(error.to_string()))?,
        sub: actor.public(),
        nbf: None,
        wascap: Wascap {
            name: statement.name.clone(),
            hash,
            tags: (!statement.tags.is_empty()).then(|| statement.tags.clone()),
            rev: statement.revision,
            ver: statement.version.clone(),
            call_alias: statement.call_alias.clone(),
            prov: false,
            trellis: statement.imports.clone().map(|imports| Trellis { imports }),
        },
        wascap_revision: REVISION,
    })
}

pub(super) fn token(claims: &impl Serialize, issuer: &Key) -> Result<String> {
    let header = Header { typ: jws::COMPONENT.typ, alg: jws::COMPONENT.alg };
    let encode = |json: serde_json::Result<Vec<u8>>| json.map(|json| BASE64URL_NOPAD.encode(&json));
    let header = encode(serde_json::to_vec(&header)).expect("two strings have a JSON form");
    let claims = encode(serde_json::to_vec(claims)).expect("strings and numbers have a JSON form");
    let mut token = format!("{header}.{claims}");
    let signature = BASE64URL_NOPAD.encode(&issuer.sign(token.as_bytes()));
    token.push('.');
    token.push_str(&signature);
    if token.len() > jws::MAX_TOKEN_BYTES {
        let why = format!("the claims are {} bytes long, {} at most: say less", token.len(), jws::MAX_TOKEN_BYTES);
        return Err(malformed(why));
    }
    Ok(token)
}

/// The claims of a component, checked: signature, times (60 s of slack), revision 3, hash over every byte before the
/// section, nothing after it, no second one at any depth. `None` when it has no claims at all.
///
/// # Errors
/// `Malformed` when the bytes are no component; `Untrusted`, saying why, when the claims do not hold.
pub fn verify(component: &Bytes, now_unix_seconds: u64) -> Result<Option<Verified<ActorClaims>>> {
    let untrusted = |why: &str| Error::new(ErrorKind::Untrusted, format!("the component's claims do not hold: {why}"));
    let (signed_bytes, token) = match section::find(component)? {
        Found::Nothing => return Ok(None),
        Found::Irregular(why) => return Err(untrusted(&format!("{why}; sign it again"))),
        Found::Claims { signed_bytes, token } => (signed_bytes, token),
    };
    let token = std::str::from_utf8(&component[token]).map_err(|_| untrusted("the token is not text"))?;
    let claims: Claims = jws::open(token, jws::COMPONENT, now_unix_seconds)
        .map_err(|error| untrusted(&format!("{error}; copy the component again, or sign it again")))?;
    if claims.wascap_revision != REVISION {
        return Err(untrusted("they are of a revision that does not bind every byte; sign it again"));
    }
    if claims.wascap.hash != HEXUPPER.encode(&Sha256::digest(&component[..signed_bytes])) {
        return Err(untrusted("the component was changed after it was signed; copy it again, or sign it again"));
    }
    if !is_actor_key(&claims.sub) {
        return Err(untrusted("their subject is not the public key of an actor (`M…`)"));
    }
    Ok(Some(Verified(actor_claims(claims))))
}

fn is_actor_key(text: &str) -> bool {
    text.starts_with('M') && nkeys::KeyPair::from_public_key(text).is_ok()
}

fn actor_claims(claims: Claims) -> ActorClaims {
    let wascap = claims.wascap;
    ActorClaims {
        issuer: claims.iss,
        subject: claims.sub,
        name: wascap.name,
        revision: wascap.rev,
        version: wascap.ver,
        call_alias: wascap.call_alias,
        tags: wascap.tags.unwrap_or_default(),
        issued_at: claims.iat,
        expires_at: claims.exp,
        not_before: claims.nbf,
        imports: wascap.trellis.map(|trellis| trellis.imports),
    }
}
