//! What is never printed: tokens, passwords, seeds. Overwritten when it is dropped.

use std::fmt;

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// A secret text. Prints as `***`; compared in constant time.
#[derive(Clone)]
pub struct Secret(Zeroizing<Box<str>>);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text, for the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `other` is the same text, in a time that tells nothing of where they differ.
    #[must_use]
    pub fn is(&self, other: &str) -> bool {
        is_same(self.0.as_bytes(), other.as_bytes())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.reveal())
    }
}

impl Eq for Secret {}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<str>::deserialize(deserializer).map(Self::new)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The value of a secret: a text, or bytes. Prints as `***`; compared in constant time.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretValue {
    /// A text.
    Text(Secret),
    /// Anything else.
    Bytes(SecretBytes),
}

impl SecretValue {
    /// A text.
    pub fn text(text: impl Into<Box<str>>) -> Self {
        Self::Text(Secret::new(text))
    }

    /// Bytes.
    pub fn bytes(bytes: impl Into<Box<[u8]>>) -> Self {
        Self::Bytes(SecretBytes(Zeroizing::new(bytes.into())))
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&Secret> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bytes(_) => None,
        }
    }

    /// Its bytes, whichever it is.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.reveal().as_bytes(),
            Self::Bytes(bytes) => bytes.reveal(),
        }
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Secret bytes.
#[derive(Clone)]
pub struct SecretBytes(Zeroizing<Box<[u8]>>);

impl SecretBytes {
    /// The bytes, for the one place that needs them.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        is_same(&self.0, &other.0)
    }
}

impl Eq for SecretBytes {}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

fn is_same(one: &[u8], other: &[u8]) -> bool {
    // Digests compare in constant time.
    blake3::hash(one) == blake3::hash(other)
}

#[cfg(test)]
mod tests {
    use super::{Secret, SecretValue};

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "***");
        assert!(secret.is("hunter2") && !secret.is("hunter3") && !secret.is(""));
        for value in [SecretValue::text("hunter2"), SecretValue::bytes(*b"hunter2")] {
            assert_eq!(format!("{value:?} {:?}", Some(&value)), "*** Some(***)");
            assert_eq!(value.reveal(), b"hunter2");
        }
        assert_ne!(SecretValue::text("a"), SecretValue::bytes(*b"a"));
    }
}
