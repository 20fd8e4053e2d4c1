//! Tokens as somebody makes them who is not the bank: of any header and claims, signed with any key.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The header of the bank's own tokens.
pub(super) const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// How long a block of SHA-256 is, in bytes.
const BLOCK_BYTES: usize = 64;

/// The claims in a token.
pub(super) fn claims(token: &str) -> Result<Value> {
    let claims = token.split('.').nth(1).context("the token has no claims")?;
    let claims = URL_SAFE_NO_PAD.decode(claims).context("the claims are not in base64")?;
    serde_json::from_slice(&claims).context("the claims are no JSON")
}

/// A token of this header and these claims, signed with `key`.
pub(super) fn signed(header: &str, claims: &Value, key: &str) -> String {
    let signed = unsigned(header, claims);
    let signature = URL_SAFE_NO_PAD.encode(hmac(key.as_bytes(), signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Header and claims, to which a signature belongs.
pub(super) fn unsigned(header: &str, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// HMAC-SHA-256 (RFC 2104). By hand: a crate for it is not worth it where nothing secret is kept.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK_BYTES];
    if key.len() > BLOCK_BYTES {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let padded = |pad: u8| Sha256::new().chain_update(block.map(|byte| byte ^ pad));
    let inner = padded(0x36).chain_update(message).finalize();
    padded(0x5c).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::{HS256, claims, hmac, signed};

    #[test]
    fn codes_are_those_of_rfc_4231() {
        let hex = |code: [u8; 32]| code.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let code = hex(hmac(b"Jefe", b"what do ya want for nothing?"));
        assert_eq!(code, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let text = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let code = hex(hmac(&[0xaa; 131], text));
        assert_eq!(code, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn claims_are_what_was_signed() {
        let said = serde_json::json!({ "sub": "ada" });
        assert_eq!(claims(&signed(HS256, &said, "key")).expect("whole"), said);
    }
}
