//! The identity of a peer in one run: key pair, exchange key, token, boot id.

use x25519_dalek::StaticSecret;

use crate::error::{Error, ErrorKind, Result};
use crate::id::{BootId, PeerId};
use crate::identity::claims::{PeerClaims, Verified};
use crate::identity::key::Key;
use crate::identity::token;

/// What a peer needs to speak in a lattice.
pub struct Identity {
    /// Its token as text, for presence and for the head of a conversation.
    pub token: String,
    /// The token's claims.
    pub claims: Verified<PeerClaims>,
    /// This run.
    pub boot: BootId,
    key: Key,
    exchange: StaticSecret,
}

impl Identity {
    /// The identity of the peer with `key`, whose token is `token`.
    ///
    /// # Errors
    /// `Untrusted` when the token does not hold or is for another key.
    pub fn new(key: &Key, token: String, now_unix_seconds: u64) -> Result<Self> {
        let claims = token::verify_peer(&token, now_unix_seconds)?;
        let exchange = exchange_secret(key);
        let fits = claims.peer.as_str() == key.public()
            && claims.exchange == x25519_dalek::PublicKey::from(&exchange).to_bytes();
        if !fits {
            let message = format!("the token is for {}, not for this key {}", claims.peer, key.public());
            return Err(Error::new(ErrorKind::Untrusted, message));
        }
        Ok(Self { token, claims, boot: BootId::random(), key: key.clone(), exchange })
    }

    /// This peer's id.
    pub fn peer(&self) -> &PeerId {
        &self.claims.peer
    }

    /// An Ed25519 signature over `bytes` by this peer's nkey.
    pub(crate) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.key.sign(bytes)
    }

    /// The X25519 secret.
    pub(crate) fn exchange(&self) -> &StaticSecret {
        &self.exchange
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.claims.peer)
    }
}

/// The X25519 secret that belongs to an nkey: derived from its seed, so that one seed is all a host keeps.
pub(crate) fn exchange_secret(key: &Key) -> StaticSecret {
    StaticSecret::from(blake3::derive_key("trellis 2026-11 x25519 secret of an nkey seed", key.seed().as_bytes()))
}

/// The X25519 public key that belongs to `key`, for its token.
pub fn exchange_public(key: &Key) -> [u8; 32] {
    x25519_dalek::PublicKey::from(&exchange_secret(key)).to_bytes()
}
