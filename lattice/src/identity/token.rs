//! Tokens of peers: JWTs (`EdDSA`) that the lattice's authority signs for hosts, provider processes and callers.

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXLOWER};
use jwt_simple::prelude::{Claims, Duration, Ed25519KeyPair, EdDSAKeyPairLike as _, UnixTimeStamp};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::id::{EntityId, IssuerId, LatticeName, PeerId};
use crate::identity::claims::{PeerClaims, Verified};
use crate::identity::jws;
use crate::identity::key::{Key, KeyKind};

/// The clock difference that is forgiven between two machines, in seconds.
pub const CLOCK_SLACK_SECONDS: u64 = jws::CLOCK_SLACK_SECONDS;

/// What is said beside the registered claims. A member that is not known here is refused: it may narrow a grant.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grants {
    lattice: LatticeName,
    /// X25519 public key, base64.
    exchange: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entity: Option<EntityId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    call: Vec<String>,
}

#[derive(Serialize)]
struct Ours {
    trellis: Grants,
}

#[derive(Deserialize)]
struct Given {
    iss: IssuerId,
    sub: PeerId,
    exp: u64,
    trellis: Grants,
}

/// Signs `claims` with the authority's key; `claims.issuer` must be its public half.
///
/// # Errors
/// `Malformed` when the key is not that issuer's, or the token would be over the size that [`verify_peer`] takes.
pub fn issue_peer(claims: &PeerClaims, authority: &Key, now_unix_seconds: u64) -> Result<String> {
    let malformed = |why: String| Error::new(ErrorKind::Malformed, why);
    if authority.kind() != KeyKind::Account || authority.public() != claims.issuer.as_str() {
        let why = format!("{} cannot sign a token as {}: it is another key", authority.public(), claims.issuer);
        return Err(malformed(why));
    }
    let grants = Grants {
        lattice: claims.lattice.clone(),
        exchange: BASE64.encode(&claims.exchange),
        labels: claims.labels.clone(),
        entity: claims.entity.clone(),
        call: claims.call.clone(),
    };
    let lifetime = Duration::from_secs(claims.expires_at.saturating_sub(now_unix_seconds));
    let mut jwt = Claims::with_custom_claims(Ours { trellis: grants }, lifetime)
        .with_issuer(claims.issuer.as_str())
        .with_subject(claims.peer.as_str())
        .with_jwt_id(HEXLOWER.encode(&rand::random::<[u8; 16]>()));
    jwt.issued_at = Some(UnixTimeStamp::from_secs(now_unix_seconds));
    jwt.expires_at = Some(UnixTimeStamp::from_secs(claims.expires_at));
    jwt.invalid_before = None;
    let token = authority_key(authority)
        .sign(jwt)
        .map_err(|error| malformed(format!("the token cannot be written: {error}")))?;
    if token.len() > jws::MAX_TOKEN_BYTES {
        let why = format!("the token is {} bytes long, {} at most: grant less", token.len(), jws::MAX_TOKEN_BYTES);
        return Err(malformed(why));
    }
    Ok(token)
}

/// The Ed25519 key pair of an nkey, which is its seed.
fn authority_key(key: &Key) -> Ed25519KeyPair {
    let (_, secret) = nkeys::decode_seed(&key.seed()).expect("its own seed is valid");
    let (_, public) = nkeys::from_public_key(&key.public()).expect("its own public key is valid");
    Ed25519KeyPair::from_bytes(&[secret, public].concat()).expect("both halves are of one key")
}

/// Checks a peer's token: one algorithm, signature by the issuer it names, times, prefixes.
///
/// # Errors
/// `Untrusted`, saying why.
pub fn verify_peer(token: &str, now_unix_seconds: u64) -> Result<Verified<PeerClaims>> {
    let given: Given = jws::open(token, jws::PEER, now_unix_seconds)?;
    let exchange = BASE64
        .decode(given.trellis.exchange.as_bytes())
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .ok_or_else(|| jws::refused("its exchange key is not 32 bytes of base64"))?;
    Ok(Verified(PeerClaims {
        issuer: given.iss,
        peer: given.sub,
        exchange,
        lattice: given.trellis.lattice,
        labels: given.trellis.labels,
        entity: given.trellis.entity,
        call: given.trellis.call,
        expires_at: given.exp,
    }))
}

#[cfg(test)]
mod tests {
    use super::{issue_peer, verify_peer};
    use crate::error::ErrorKind;
    use crate::identity::claims::PeerClaims;
    use crate::identity::key::{Key, KeyKind};
    use crate::identity::{jws, peer};

    const NOW: u64 = 1_790_000_000;

    fn claims(authority: &Key, peer: &Key) -> PeerClaims {
        PeerClaims {
            issuer: authority.public().parse().expect("an account"),
            peer: peer.public().parse().expect("a peer"),
            exchange: peer::exchange_public(peer),
            lattice: "default".parse().expect("valid"),
            labels: [("site".to_owned(), "edge".to_owned())].into(),
            entity: Some("ada".parse().expect("valid")),
            call: vec!["greeter/demo:greet/*".to_owned()],
            expires_at: NOW + 3_600,
        }
    }

    fn issued() -> (Key, PeerClaims, String) {
        let authority = Key::generate(KeyKind::Account);
        let claims = claims(&authority, &Key::generate(KeyKind::User));
        let token = issue_peer(&claims, &authority, NOW).expect("issued");
        (authority, claims, token)
    }

    #[test]
    fn what_was_issued_is_read_back() {
        let (_, claims, token) = issued();
        assert_eq!(*verify_peer(&token, NOW).expect("holds"), claims);
    }

    #[test]
    fn a_token_holds_within_its_times_and_a_minute_around() {
        let (_, _, token) = issued();
        let holds = |now: u64| verify_peer(&token, now).is_ok();
        assert!(holds(NOW - 60) && holds(NOW + 3_660));
        assert!(!holds(NOW - 61) && !holds(NOW + 3_661));
    }

    #[test]
    fn only_its_own_account_key_signs_for_an_issuer() {
        let authority = Key::generate(KeyKind::Account);
        let claims = claims(&authority, &Key::generate(KeyKind::Host));
        for key in [Key::generate(KeyKind::Account), Key::generate(KeyKind::Host)] {
            assert_eq!(issue_peer(&claims, &key, NOW).expect_err("refused").kind(), ErrorKind::Malformed);
        }
    }

    #[test]
    fn a_grant_that_no_peer_could_read_is_not_signed() {
        let authority = Key::generate(KeyKind::Account);
        let mut claims = claims(&authority, &Key::generate(KeyKind::User));
        claims.call = vec!["x".repeat(jws::MAX_TOKEN_BYTES)];
        assert!(issue_peer(&claims, &authority, NOW).is_err());
    }

    #[test]
    fn every_flipped_byte_is_refused() {
        let (_, _, token) = issued();
        for at in 0..token.len() {
            for flip in [1, 2, 0x20] {
                let mut bytes = token.clone().into_bytes();
                bytes[at] ^= flip;
                let Ok(text) = String::from_utf8(bytes) else { continue };
                assert!(verify_peer(&text, NOW).is_err(), "byte {at} flipped by {flip}");
            }
        }
    }
}
