//! Sealing: a value under a data key (XChaCha20-Poly1305), and a data key to an X25519 key.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key as CipherKey, XChaCha20Poly1305, XNonce};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::identity::key::Key;
use crate::identity::peer;

/// Keeps keys of this use apart from any other that is derived from the same secret.
const KEY_CONTEXT: &str = "trellis 2026-11 data key of a secret sealed to an exchange key";

const NONCE_BYTES: usize = 24;
const POINT_BYTES: usize = 32;

/// What a holder of an nkey opens with.
pub struct Opener {
    public: String,
    secret: StaticSecret,
}

impl Opener {
    /// With `key`.
    pub fn of(key: &Key) -> Self {
        Self { public: key.public(), secret: peer::exchange_secret(key) }
    }

    /// The public nkey.
    pub fn public(&self) -> &str {
        &self.public
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opener({})", self.public)
    }
}

/// The key that one value is sealed under. Drawn for each sealing.
pub(super) struct DataKey(Zeroizing<[u8; 32]>);

impl DataKey {
    pub(super) fn random() -> Self {
        Self(Zeroizing::new(rand::random()))
    }

    /// The value, sealed in `context`: nonce, then ciphertext with its tag.
    pub(super) fn seal(&self, value: &[u8], context: &[u8]) -> Vec<u8> {
        seal(&self.0, value, context)
    }

    /// What was sealed, if it was under this key and in this context.
    pub(super) fn open(&self, sealed: &[u8], context: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        open(&self.0, sealed, context)
    }

    /// This key, sealed to the holder of `exchange` in `context`: the public half of a key pair that is then
    /// forgotten, nonce, ciphertext with its tag. `None` when `exchange` is a point of small order.
    pub(super) fn wrap(&self, exchange: [u8; 32], context: &[u8]) -> Option<Vec<u8>> {
        let ephemeral = StaticSecret::from(rand::random::<[u8; 32]>());
        let public = PublicKey::from(&ephemeral).to_bytes();
        let key = shared_key(&ephemeral, exchange, public, exchange)?;
        Some([&public[..], &seal(&key, &*self.0, context)].concat())
    }

    /// The key that was wrapped for `opener`.
    pub(super) fn unwrap(wrapped: &[u8], opener: &Opener, context: &[u8]) -> Option<Self> {
        let (public, sealed) = wrapped.split_first_chunk::<POINT_BYTES>()?;
        let own = PublicKey::from(&opener.secret).to_bytes();
        let key = shared_key(&opener.secret, *public, *public, own)?;
        let opened = open(&key, sealed, context)?;
        Some(Self(Zeroizing::new(<[u8; 32]>::try_from(&opened[..]).ok()?)))
    }
}

/// Both public keys are part of it, so that a wrapped key is for one receiver only.
fn shared_key(
    secret: &StaticSecret,
    other: [u8; 32],
    ephemeral: [u8; 32],
    receiver: [u8; 32],
) -> Option<Zeroizing<[u8; 32]>> {
    let shared = secret.diffie_hellman(&PublicKey::from(other));
    if !shared.was_contributory() {
        return None;
    }
    let mut hasher = blake3::Hasher::new_derive_key(KEY_CONTEXT);
    hasher.update(shared.as_bytes()).update(&ephemeral).update(&receiver);
    Some(Zeroizing::new(*hasher.finalize().as_bytes()))
}

fn seal(key: &[u8; 32], message: &[u8], context: &[u8]) -> Vec<u8> {
    let nonce: [u8; NONCE_BYTES] = rand::random();
    let cipher = XChaCha20Poly1305::new(&CipherKey::from(*key));
    let sealed = cipher.encrypt(&XNonce::from(nonce), Payload { msg: message, aad: context });
    [&nonce[..], &sealed.expect("what is sealed is far smaller than the cipher allows")].concat()
}

fn open(key: &[u8; 32], sealed: &[u8], context: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let cipher = XChaCha20Poly1305::new(&CipherKey::from(*key));
    cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: context }).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::{DataKey, Opener};
    use crate::identity::key::{Key, KeyKind};
    use crate::identity::peer::exchange_public;

    #[test]
    fn only_the_receiver_opens_a_wrapped_key_and_only_in_its_context() {
        let (receiver, other) = (Key::generate(KeyKind::Host), Key::generate(KeyKind::Host));
        let key = DataKey::random();
        let wrapped = key.wrap(exchange_public(&receiver), b"a").expect("a point");
        let opens = |wrapped: &[u8], who: &Key, context: &[u8]| DataKey::unwrap(wrapped, &Opener::of(who), context);
        assert_eq!(*opens(&wrapped, &receiver, b"a").expect("opens").0, *key.0);
        assert!(opens(&wrapped, &other, b"a").is_none());
        assert!(opens(&wrapped, &receiver, b"b").is_none());
        for at in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[at] ^= 1;
            assert!(opens(&changed, &receiver, b"a").is_none(), "byte {at}");
            assert!(opens(&wrapped[..at], &receiver, b"a").is_none(), "cut to {at}");
        }
        assert!(key.wrap([0; 32], b"a").is_none(), "a point of small order");
    }

    #[test]
    fn a_value_is_sealed_anew_each_time_and_every_change_is_noticed() {
        let key = DataKey::random();
        let sealed = key.seal(b"hunter2", b"a");
        assert_ne!(sealed, key.seal(b"hunter2", b"a"));
        assert_eq!(key.open(&sealed, b"a").expect("opens").as_slice(), b"hunter2");
        assert!(key.open(&sealed, b"b").is_none() && DataKey::random().open(&sealed, b"a").is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(&changed, b"a").is_none(), "byte {at}");
        }
    }
}
