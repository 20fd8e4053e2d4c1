//! Tokens: JSON Web Tokens signed with HMAC-SHA-256 under a secret of the lattice, good for a quarter of an hour.
//!
//! There is one kind of token, with one header, which is compared as a whole: no token says how it wants to be checked.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::Sha256;

use crate::demo::bank::people;
use crate::demo::bank::types::{Identity, Role};
use crate::http::Request;
use crate::now_seconds;
use crate::reply::Reply;
use crate::wasmcloud::secrets::reveal::reveal;
use crate::wasmcloud::secrets::store::{self, SecretValue};

/// `{"alg":"HS256","typ":"JWT"}` in base64.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
const ISSUER: &str = "trellis-bank";
const LIFE_SECONDS: u64 = 15 * 60;
/// The secret that tokens are signed with, and how long it is at least, in bytes.
const KEY: &str = "token-key";
const MIN_KEY_BYTES: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    user: String,
    password: String,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    role: String,
    iat: u64,
    exp: u64,
}

const ROLES: [(Role, &str); 3] = [(Role::Customer, "customer"), (Role::Teller, "teller"), (Role::Auditor, "auditor")];

/// Gives a token to who knows a password.
pub(crate) fn login(request: &Request) -> Result<Reply, Reply> {
    let Credentials { user, password } = serde_json::from_slice(&request.body)
        .map_err(|_| Reply::refused(400, "invalid", "the body is {\"user\": …, \"password\": …}"))?;
    let identity = people::authenticate(&user, &password)?
        .ok_or_else(|| Reply::refused(401, "wrong-password", "nobody has this name and password"))?;
    let role = ROLES.iter().find(|(role, _)| *role == identity.role).map(|(_, name)| *name).expect("a role has a name");
    let now = now_seconds();
    let claims =
        Claims { iss: ISSUER.to_owned(), sub: identity.user, role: role.to_owned(), iat: now, exp: now + LIFE_SECONDS };
    Ok(Reply::json(200, &json!({ "token": sign(&claims)?, "role": role, "expires_in": LIFE_SECONDS })))
}

/// Who calls, by the token that came along.
///
/// # Errors
/// The reply to who has none, or one that is not ours or has expired.
pub(crate) fn caller(request: &Request) -> Result<Identity, Reply> {
    let refused = || Reply::refused(401, "not-logged-in", "POST /login gives a token, to be sent as a bearer token");
    let token = request.token().ok_or_else(refused)?;
    verify(token)?.ok_or_else(refused)
}

fn sign(claims: &Claims) -> Result<String, Reply> {
    let claims = serde_json::to_vec(claims).expect("claims are JSON");
    let signed = format!("{HEADER}.{}", Base64UrlUnpadded::encode_string(&claims));
    let signature = mac()?.chain_update(&signed).finalize().into_bytes();
    Ok(format!("{signed}.{}", Base64UrlUnpadded::encode_string(&signature)))
}

/// Whose token it is; nobody's if anything about it is wrong.
fn verify(token: &str) -> Result<Option<Identity>, Reply> {
    let mac = mac()?;
    let claims = || {
        let (signed, signature) = token.rsplit_once('.')?;
        let claims = signed.strip_prefix(HEADER)?.strip_prefix('.')?;
        let signature = Base64UrlUnpadded::decode_vec(signature).ok()?;
        // In constant time, and before anything in it is read.
        mac.chain_update(signed).verify_slice(&signature).ok()?;
        serde_json::from_slice::<Claims>(&Base64UrlUnpadded::decode_vec(claims).ok()?).ok()
    };
    let is_good = |claims: &Claims| claims.iss == ISSUER && now_seconds() < claims.exp;
    Ok(claims().filter(is_good).and_then(|claims| {
        let role = ROLES.iter().find(|(_, name)| *name == claims.role)?.0;
        Some(Identity { user: claims.sub, role })
    }))
}

/// A code under the secret as it is now: once it is rotated, tokens of before are nobody's.
fn mac() -> Result<Hmac<Sha256>, Reply> {
    let away = |reason: &str| Reply::from(crate::demo::bank::types::Fault::Unavailable(reason.to_owned()));
    let secret = store::get(KEY).map_err(|error| away(&format!("the secret {KEY}: {error}")))?;
    let key = match reveal(&secret) {
        SecretValue::String(text) => text.into_bytes(),
        SecretValue::Bytes(bytes) => bytes,
    };
    if key.len() < MIN_KEY_BYTES {
        return Err(away("the secret for tokens has fewer than 32 bytes"));
    }
    Ok(Hmac::new_from_slice(&key).expect("a key has any length"))
}
