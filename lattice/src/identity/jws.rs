//! The envelope of every token here: three segments, canonical base64url, Ed25519, times. What the claims mean is
//! `token`'s and `component`'s.
//!
//! The algorithm is the caller's choice, never the token's: a header that names another one is refused.

use data_encoding::BASE64URL_NOPAD;
use jwt_simple::prelude::{
    Duration, Ed25519PublicKey, EdDSAPublicKeyLike as _, NoCustomClaims, UnixTimeStamp, VerificationOptions,
};
use nkeys::KeyPair;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::id::IssuerId;
use crate::identity::strict;

/// The longest token, in bytes.
pub(super) const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The clock difference that is forgiven between two machines, in seconds.
pub(super) const CLOCK_SLACK_SECONDS: u64 = 60;

/// Times from here on (the year 2106) are refused: jwt-simple counts seconds in 32 bits.
const TIME_END: u64 = 1 << 32;

/// The header that a kind of token has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    /// Compared without regard to case, as RFC 7519 recommends.
    pub(super) typ: &'static str,
    /// Compared exactly.
    pub(super) alg: &'static str,
}

/// Peers' tokens, as the registered name has it.
pub(super) const PEER: Header = Header { typ: "JWT", alg: "EdDSA" };

/// Components' tokens, as wascap has it.
pub(super) const COMPONENT: Header = Header { typ: "jwt", alg: "Ed25519" };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenHeader {
    typ: String,
    alg: String,
}

#[derive(Deserialize)]
struct Standard {
    iss: IssuerId,
    iat: u64,
    #[serde(default)]
    exp: Option<u64>,
    #[serde(default)]
    nbf: Option<u64>,
}

/// An error that says why a token does not hold. Never repeats what the token says.
pub(super) fn refused(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Untrusted, format!("the token is refused: {why}"))
}

/// Checks `token` against `header`: form, signature by the issuer it names, times; then parses its claims.
pub(super) fn open<C: DeserializeOwned>(token: &str, header: Header, now_unix_seconds: u64) -> Result<C> {
    let claims = segments(token, header)?;
    let standard: Standard = strict::from_slice(&claims).map_err(|error| refused(format!("its claims: {error}")))?;
    check_times(&standard, now_unix_seconds)?;
    check_signature(token, &standard.iss, now_unix_seconds)?;
    strict::from_slice(&claims).map_err(|error| refused(format!("its claims: {error}")))
}

/// The claims' bytes, after the form of all three segments and the header are checked.
fn segments(token: &str, header: Header) -> Result<Vec<u8>> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(refused(format!("it is {} bytes long; at most {MAX_TOKEN_BYTES} are allowed", token.len())));
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [head, claims, signature] = parts[..] else {
        return Err(refused(format!("it has {} segments instead of 3", parts.len())));
    };
    // Decodes the canonical form only: without padding, trailing bits zero.
    let decode = |what: &str, text: &str| {
        BASE64URL_NOPAD
            .decode(text.as_bytes())
            .map_err(|_| refused(format!("its {what} is not canonical base64url without padding")))
    };
    if decode("signature", signature)?.len() != 64 {
        return Err(refused("its signature is not 64 bytes long"));
    }
    let given: GivenHeader = strict::from_slice(&decode("header", head)?)
        .map_err(|_| refused("its header is not of the form {\"typ\":…,\"alg\":…}"))?;
    if given.alg != header.alg {
        return Err(refused(format!("its algorithm is not {}", header.alg)));
    }
    if !given.typ.eq_ignore_ascii_case(header.typ) {
        return Err(refused(format!("its type is not {}", header.typ)));
    }
    decode("claims", claims)
}

fn check_times(standard: &Standard, now: u64) -> Result<()> {
    let all = [Some(standard.iat), standard.exp, standard.nbf];
    if now >= TIME_END || all.into_iter().flatten().any(|time| time >= TIME_END) {
        return Err(refused("one of its times is after the year 2106"));
    }
    let latest_start = now + CLOCK_SLACK_SECONDS;
    if standard.iat > latest_start {
        return Err(refused("it was issued in the future; check the clocks of both machines"));
    }
    if standard.nbf.is_some_and(|not_before| not_before > latest_start) {
        return Err(refused("it is not valid yet; check the clocks of both machines"));
    }
    if let Some(expires) = standard.exp.filter(|expires| now > expires + CLOCK_SLACK_SECONDS) {
        return Err(refused(format!("it expired {} s ago; ask its issuer for a new one", now - expires)));
    }
    Ok(())
}

/// Two implementations must agree, each stricter than the other in one respect: ed25519-compact refuses weak keys and
/// points of small order, ed25519-dalek (in nkeys) a signature that holds only up to the cofactor.
fn check_signature(token: &str, issuer: &IssuerId, now: u64) -> Result<()> {
    let wrong = || refused(format!("its signature is not that of {issuer}"));
    let (_, public) = nkeys::from_public_key(issuer.as_str()).map_err(|_| wrong())?;
    let options = VerificationOptions {
        time_tolerance: Some(Duration::from_secs(CLOCK_SLACK_SECONDS)),
        artificial_time: Some(UnixTimeStamp::from_secs(now)),
        max_token_length: Some(MAX_TOKEN_BYTES),
        ..VerificationOptions::default()
    };
    Ed25519PublicKey::from_bytes(&public)
        .and_then(|key| key.verify_token::<NoCustomClaims>(token, Some(options)))
        .map_err(|_| wrong())?;
    let (signed, signature) = token.rsplit_once('.').ok_or_else(wrong)?;
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).map_err(|_| wrong())?;
    KeyPair::from_public_key(issuer.as_str())
        .and_then(|key| key.verify(signed.as_bytes(), &signature))
        .map_err(|_| wrong())
}
