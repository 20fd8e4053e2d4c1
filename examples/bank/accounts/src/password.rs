//! Passwords: those of customers as Argon2id hashes with a salt each, those of the staff as secrets. All are compared in
//! constant time.

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::demo::bank::types::{Fault, Role};
use crate::wasi::random::random::get_random_bytes;
use crate::wasmcloud::secrets::reveal::reveal;
use crate::wasmcloud::secrets::store::{self, SecretValue, SecretsError};

/// What OWASP recommends for Argon2id: 19 MiB, twice, on one thread.
const MEMORY_KIB: u32 = 19 * 1_024;
const PASSES: u32 = 2;
const SALT_BYTES: u64 = 16;

/// How long a password may be, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 8..=256;

/// A hash of a password that nobody has: an unknown name takes as long to be refused as a wrong password.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The role and the password of one who works here.
pub(crate) fn of_staff(user: &str) -> Result<Option<(Role, Vec<u8>)>, Fault> {
    let role = match user {
        "teller" => Role::Teller,
        "auditor" => Role::Auditor,
        _ => return Ok(None),
    };
    let secret = store::get(&format!("{user}-password")).map_err(|error| match error {
        SecretsError::NotFound => Fault::Unavailable(format!("the secret {user}-password is not there")),
        SecretsError::Upstream(reason) | SecretsError::Io(reason) => Fault::Unavailable(reason),
    })?;
    let bytes = match reveal(&secret) {
        SecretValue::String(text) => text.into_bytes(),
        SecretValue::Bytes(bytes) => bytes,
    };
    Ok(Some((role, bytes)))
}

/// Whether `password` is `secret`. Both are hashed under a key of the moment, so that nothing is told by the time it takes,
/// lengths included.
pub(crate) fn is_secret(secret: &[u8], password: &str) -> bool {
    let key = get_random_bytes(32);
    let mac = |bytes: &[u8]| {
        let mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key has any length");
        mac.chain_update(bytes)
    };
    mac(password.as_bytes()).verify(&mac(secret).finalize().into_bytes()).is_ok()
}

/// Whether `password` is the one of this hash; never if there is none.
pub(crate) fn matches(password: &str, hash: Option<&str>) -> Result<bool, Fault> {
    let parsed = PasswordHash::new(hash.unwrap_or(NOBODY))
        .map_err(|error| Fault::Invalid(format!("a stored password is damaged: {error}")))?;
    let is_right = argon2()?.verify_password(password.as_bytes(), &parsed).is_ok();
    Ok(is_right && hash.is_some())
}

/// A hash to be stored.
pub(crate) fn hash(password: &str) -> Result<String, Fault> {
    if !LENGTHS.contains(&password.len()) {
        return Err(Fault::Invalid(format!("a password has {} to {} bytes", LENGTHS.start(), LENGTHS.end())));
    }
    let salt = SaltString::encode_b64(&get_random_bytes(SALT_BYTES)).map_err(broken)?;
    Ok(argon2()?.hash_password(password.as_bytes(), &salt).map_err(broken)?.to_string())
}

fn argon2() -> Result<Argon2<'static>, Fault> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(broken)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn broken(error: impl std::fmt::Display) -> Fault {
    Fault::Invalid(format!("the password cannot be hashed: {error}"))
}
