//! Key pairs: nkeys of a known kind.

use std::fmt;

use nkeys::{KeyPair, KeyPairType};

use crate::error::{Error, ErrorKind, Result};

/// What a key is for; the first letter of its public text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// `A`: signs claims and host tokens.
    Account,
    /// `N`: a host.
    Host,
    /// `U`: a command-line caller.
    User,
    /// `V`: a provider.
    Provider,
    /// `M`: an actor.
    Actor,
}

impl KeyKind {
    /// For people: `account`, `host`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Host => "host",
            Self::User => "user",
            Self::Provider => "provider",
            Self::Actor => "actor",
        }
    }

    fn nkey(self) -> KeyPairType {
        match self {
            Self::Account => KeyPairType::Account,
            Self::Host => KeyPairType::Server,
            Self::User => KeyPairType::User,
            Self::Provider => KeyPairType::Service,
            Self::Actor => KeyPairType::Module,
        }
    }

    fn of(nkey: &KeyPairType) -> Option<Self> {
        Some(match nkey {
            KeyPairType::Account => Self::Account,
            KeyPairType::Server => Self::Host,
            KeyPairType::User => Self::User,
            KeyPairType::Service => Self::Provider,
            KeyPairType::Module => Self::Actor,
            _ => return None,
        })
    }
}

/// A key pair with its secret half. Prints as its public half.
pub struct Key {
    kind: KeyKind,
    pair: KeyPair,
}

impl Key {
    /// A fresh one.
    pub fn generate(kind: KeyKind) -> Self {
        Self { kind, pair: KeyPair::new(kind.nkey()) }
    }

    /// The key with this seed (`S…`).
    ///
    /// # Errors
    /// `Malformed`, without repeating the seed, when it is not one or is of a kind that has no use here.
    pub fn from_seed(seed: &str) -> Result<Self> {
        let malformed = || {
            Error::new(
                ErrorKind::Malformed,
                "that is not the seed of an nkey: it begins with `S`, is 58 characters long and has a checksum",
            )
        };
        let pair = KeyPair::from_seed(seed.trim()).map_err(|_| malformed())?;
        let kind = KeyKind::of(&pair.key_pair_type()).ok_or_else(malformed)?;
        Ok(Self { kind, pair })
    }

    /// What it is for.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The public half.
    pub fn public(&self) -> String {
        self.pair.public_key()
    }

    /// The secret half; keep it secret.
    pub fn seed(&self) -> String {
        self.pair.seed().expect("a key pair made here has its seed")
    }

    /// An Ed25519 signature over `bytes`.
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.pair.sign(bytes).expect("a key pair made here has its seed")
    }
}

/// Whether `signature` over `bytes` is of the key whose public half is `public`.
///
/// # Errors
/// `Untrusted` when it is not, or when `public` is no key.
pub fn verify(public: &str, bytes: &[u8], signature: &[u8]) -> Result<()> {
    let checked = KeyPair::from_public_key(public).and_then(|key| key.verify(bytes, signature));
    checked.map_err(|_| {
        let shown: String = public.chars().take(56).collect();
        Error::new(ErrorKind::Untrusted, format!("the signature is not one of {shown}"))
    })
}

impl Clone for Key {
    fn clone(&self) -> Self {
        Self::from_seed(&self.seed()).expect("its own seed is valid")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.public())
    }
}
