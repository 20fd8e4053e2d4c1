//! Text that is never printed: tokens, passwords, seeds.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// A secret text. Prints as `***`; compared in constant time.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `other` is the same text, in a time that tells nothing of where they differ.
    #[must_use]
    pub fn is(&self, other: &str) -> bool {
        // Digests compare in constant time.
        blake3::hash(self.0.as_bytes()) == blake3::hash(other.as_bytes())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<str>::deserialize(deserializer).map(Self)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "***");
        assert!(secret.is("hunter2") && !secret.is("hunter3") && !secret.is(""));
    }
}
