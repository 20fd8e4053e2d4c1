//! Names and ids, each a type of its own: parsed once, valid from then on.
//!
//! A *name* (lattice, entity, link, config) is 1 to 64 characters of `[A-Za-z0-9_-]`, so that it is one NATS
//! subject token and can hold no `.`, `*`, `>` or white space. A *key id* (host, peer, issuer) is a public nkey.

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// Why a text is not a valid name or id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {shown:?} {reason}")]
pub struct InvalidId {
    kind: &'static str,
    shown: String,
    reason: &'static str,
}

impl InvalidId {
    fn new(kind: &'static str, text: &str, reason: &'static str) -> Self {
        let shown = text.chars().take(MAX_NAME_BYTES).collect();
        Self { kind, shown, reason }
    }
}

fn check_name(kind: &'static str, text: &str) -> Result<(), InvalidId> {
    let refuse = |reason| Err(InvalidId::new(kind, text, reason));
    if text.is_empty() {
        return refuse("is empty: use 1 to 64 letters, digits, `-` or `_`");
    }
    if text.len() > MAX_NAME_BYTES {
        return refuse("is too long: use at most 64 letters, digits, `-` or `_`");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return refuse("has a character that is not allowed: use letters, digits, `-` and `_` only");
    }
    Ok(())
}

fn check_public_key(kind: &'static str, text: &str, prefixes: &[char]) -> Result<(), InvalidId> {
    let refuse = |reason| Err(InvalidId::new(kind, text, reason));
    if text.len() != 56 || !text.starts_with(prefixes) {
        return refuse("is not a public nkey of the expected kind: 56 characters, e.g. `N…` for a host");
    }
    if nkeys::KeyPair::from_public_key(text).is_err() {
        return refuse("is not a valid public nkey: its checksum does not match");
    }
    Ok(())
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses `text`; the error names the kind, the text and what is allowed.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let check: fn(&'static str, &str) -> Result<(), InvalidId> = $check;
                check($kind, text)?;
                Ok(Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(&text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

id_type!(
    /// The name of a lattice: the set of hosts that see each other.
    LatticeName, "lattice name", check_name
);
id_type!(
    /// What can stand at either end of a link: the id of an actor or of a provider.
    ///
    /// Ids of actors and providers share one namespace in a lattice, as lattice v1 has it.
    EntityId, "id", check_name
);
id_type!(
    /// The name of a link; one actor may have several links to the same contract, each with a name.
    LinkName, "link name", check_name
);
id_type!(
    /// The name of a config: a flat map of strings.
    ConfigName, "config name", check_name
);
id_type!(
    /// The name of a secret in its lattice.
    SecretName, "secret name", check_name
);
id_type!(
    /// The name of a policy: how calls over the links behave that name it.
    PolicyName, "policy name", check_name
);
id_type!(
    /// The public nkey of a host, `N…`.
    HostId, "host id", |kind, text| check_public_key(kind, text, &['N'])
);
id_type!(
    /// The public nkey of whatever sends and receives frames: a host (`N…`), a provider process (`V…`) or a
    /// command-line caller (`U…`).
    PeerId, "peer id", |kind, text| check_public_key(kind, text, &['N', 'U', 'V'])
);
id_type!(
    /// The public nkey of an issuer of claims: an account, `A…`.
    IssuerId, "issuer", |kind, text| check_public_key(kind, text, &['A'])
);

impl Default for LinkName {
    /// `default`, as in lattice v1.
    fn default() -> Self {
        static DEFAULT: LazyLock<LinkName> =
            LazyLock::new(|| LinkName::parse("default").expect("`default` is a valid name"));
        DEFAULT.clone()
    }
}

impl From<HostId> for PeerId {
    fn from(host: HostId) -> Self {
        Self(host.0)
    }
}

impl PeerId {
    /// The same key as a host id, if this peer is a host.
    pub fn as_host(&self) -> Option<HostId> {
        self.0.starts_with('N').then(|| HostId(self.0.clone()))
    }
}

/// Drawn at random when a process starts, so that keys and sequence numbers of an earlier run are worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BootId(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl BootId {
    /// A fresh one.
    pub fn random() -> Self {
        Self(rand::random())
    }
}

#[cfg(test)]
mod tests {
    use super::{EntityId, HostId, LatticeName};

    #[test]
    fn a_name_is_one_subject_token() {
        for good in ["a", "A-b_9", &"x".repeat(64)] {
            assert_eq!(EntityId::parse(good).map(|id| id.to_string()), Ok(good.to_string()));
        }
        let long = "x".repeat(10_240);
        for bad in ["", "a.b", "*", ">", "a b", "a\tb", "a\r\nPUB x", "a\0", ".a", "$SYS", "ä", "а", long.as_str()] {
            let error = LatticeName::parse(bad).expect_err(bad).to_string();
            assert!(error.starts_with("lattice name "), "{error}");
            assert!(error.len() < 400, "the error must not repeat 10 KB");
        }
    }

    #[test]
    fn a_host_id_is_a_public_key_with_its_checksum() {
        let key = nkeys::KeyPair::new_server().public_key();
        assert!(HostId::parse(&key).is_ok());
        let mut flipped = key.into_bytes();
        flipped[20] = if flipped[20] == b'A' { b'B' } else { b'A' };
        assert!(HostId::parse(std::str::from_utf8(&flipped).expect("ascii")).is_err());
        assert!(HostId::parse(&nkeys::KeyPair::new_account().public_key()).is_err());
    }
}
