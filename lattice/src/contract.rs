//! Names of WIT interfaces and packages, and the signature of an interface's type.
//!
//! Lattice only compares them: what an interface means, and how its signature is computed, is host's business.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text does not name an interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} does not name a WIT interface: write `namespace:package/interface` or `namespace:package/interface@version`"
)]
pub struct InvalidInterface(String);

/// The name of a WIT interface, e.g. `wasi:keyvalue/store@0.2.0-draft`; the version may be absent.
///
/// Each part is 1 to 64 characters of `[a-z0-9A-Z-]`, the version at most 32 of `[0-9A-Za-z.+-]`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Interface {
    text: Arc<str>,
    colon: u16,
    slash: u16,
    end: u16,
}

impl Interface {
    /// Parses `namespace:package/interface[@version]`.
    pub fn parse(text: &str) -> Result<Self, InvalidInterface> {
        let refuse = || InvalidInterface(text.chars().take(200).collect());
        let (path, version) = match text.split_once('@') {
            Some((path, version)) => (path, Some(version)),
            None => (text, None),
        };
        let (namespace, rest) = path.split_once(':').ok_or_else(refuse)?;
        let (package, name) = rest.split_once('/').ok_or_else(refuse)?;
        let version_is_valid = version.is_none_or(is_version);
        if ![namespace, package, name].into_iter().all(is_part) || !version_is_valid {
            return Err(refuse());
        }
        let colon = namespace.len();
        let slash = colon + 1 + package.len();
        let offset = |n: usize| u16::try_from(n).expect("parts are at most 64 bytes");
        Ok(Self { text: text.into(), colon: offset(colon), slash: offset(slash), end: offset(path.len()) })
    }

    /// The whole name, with its version if it has one.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `wasi` of `wasi:keyvalue/store@0.2.0-draft`.
    pub fn namespace(&self) -> &str {
        &self.text[..self.colon.into()]
    }

    /// `keyvalue` of `wasi:keyvalue/store@0.2.0-draft`.
    pub fn package(&self) -> &str {
        &self.text[usize::from(self.colon) + 1..self.slash.into()]
    }

    /// `store` of `wasi:keyvalue/store@0.2.0-draft`.
    pub fn name(&self) -> &str {
        &self.text[usize::from(self.slash) + 1..self.end.into()]
    }

    /// `wasi:keyvalue/store` of `wasi:keyvalue/store@0.2.0-draft`: what grants and links compare.
    pub fn without_version(&self) -> &str {
        &self.text[..self.end.into()]
    }

    /// `0.2.0-draft` of `wasi:keyvalue/store@0.2.0-draft`.
    pub fn version(&self) -> Option<&str> {
        self.text.get(usize::from(self.end) + 1..).filter(|version| !version.is_empty())
    }
}

fn is_part(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn is_version(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+'))
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Interface {
    type Err = InvalidInterface;
    fn from_str(text: &str) -> Result<Self, InvalidInterface> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Interface {
    type Error = InvalidInterface;
    fn try_from(text: String) -> Result<Self, InvalidInterface> {
        Self::parse(&text)
    }
}

impl From<Interface> for String {
    fn from(interface: Interface) -> Self {
        interface.text.as_ref().to_owned()
    }
}

/// 8 bytes of BLAKE3 over the canonical text of an interface's or function's type (host's `runtime/value` writes
/// that text): names and order, not asyncness. Two ends whose signatures differ do not speak the same contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Signature(#[serde(with = "serde_bytes")] pub [u8; 8]);

impl Signature {
    /// The signature of the type whose canonical text is `text`.
    pub fn of(text: &str) -> Self {
        let hash = blake3::hash(text.as_bytes());
        Self(std::array::from_fn(|i| hash.as_bytes()[i]))
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::Interface;

    #[test]
    fn a_name_has_parts() {
        let name = Interface::parse("wasi:keyvalue/store@0.2.0-draft").expect("valid");
        let parts = (name.namespace(), name.package(), name.name(), name.version());
        assert_eq!(parts, ("wasi", "keyvalue", "store", Some("0.2.0-draft")));
        assert_eq!(name.without_version(), "wasi:keyvalue/store");
        assert_eq!(Interface::parse("demo:greet/greeter").expect("valid").version(), None);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in
            ["", "wasi", "wasi:http", "a:b/", ":b/c", "a:b/c@", "a:b/c d", "a:b/c.d", "a:b/c/d", &"a".repeat(10_240)]
        {
            assert!(Interface::parse(bad).is_err(), "{bad}");
        }
    }
}
