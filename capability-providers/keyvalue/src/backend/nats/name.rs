//! How keys are named: `<prefix>.<bucket>.<key>`, each part one token of a subject. Its letters are few, so that all
//! others are escaped; what is made of it is valid as a key of NATS's key-value clients too.

use std::fmt::Write as _;

use trellis_interfaces::keyvalue::Error;

use crate::scope::Bucket;

/// The longest name. A server takes 4 KiB for the line with subject and reply subject.
const MAX_NAME_BYTES: usize = 3 << 10;

/// What the names of all keys of a bucket begin with, and of no other.
pub(super) fn of_bucket(bucket: &Bucket) -> String {
    let mut name = String::new();
    escape(&mut name, &bucket.prefix);
    name.push('.');
    escape(&mut name, &bucket.name);
    name.push('.');
    name
}

/// The name of a key.
///
/// # Errors
/// When it is too long once it is escaped.
pub(super) fn of_key(bucket: &Bucket, key: &str) -> Result<String, Error> {
    let mut name = of_bucket(bucket);
    escape(&mut name, key);
    match name.len() > MAX_NAME_BYTES {
        true => Err(Error::Other(format!(
            "a key of {} bytes is too long for NATS: with bucket and prefix it may have {MAX_NAME_BYTES}, where each \
             byte that is no letter, digit, `-`, `_` or `/` counts for three",
            key.len()
        ))),
        false => Ok(name),
    }
}

/// The key that a name was made of.
pub(super) fn key(name: &str) -> Option<String> {
    if name == "=" {
        return Some(String::new());
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(name.len()), name.as_bytes());
    while let Some((&first, others)) = rest.split_first() {
        rest = others;
        if first != b'=' {
            bytes.push(first);
            continue;
        }
        let (digits, others) = others.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = others;
    }
    String::from_utf8(bytes).ok()
}

/// An empty text is a lone `=`, which no other one is.
fn escape(name: &mut String, text: &str) {
    if text.is_empty() {
        name.push('=');
    }
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'/' => name.push(char::from(byte)),
            _ => drop(write!(name, "={byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{key, of_bucket, of_key};
    use crate::scope::Bucket;

    fn bucket(prefix: &str, name: &str) -> Bucket {
        Bucket { prefix: prefix.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn every_key_comes_back_from_a_name_without_wildcards() {
        let bucket = bucket("p", "b");
        for text in
            ["", "=", "==", "a", "a.b", "*", ">", "a b", "ä\u{1F980}", "\r\nPUB x", "\0", "$SYS", ".", "=2E", "/"]
        {
            let name = of_key(&bucket, text).expect("short");
            let token = name.strip_prefix(&of_bucket(&bucket)).expect("begins with its bucket");
            assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/=".contains(&b)), "{text:?}: {token}");
            assert_eq!(key(token).as_deref(), Some(text));
        }
        assert!(of_key(&bucket, &".".repeat(1_024)).is_err());
    }

    #[test]
    fn no_two_buckets_share_a_name() {
        let names = [("", ""), ("", "a"), ("a", ""), ("a", "b"), ("", "a.b"), ("a.b", ""), ("=", ""), ("a/b", "")];
        let names: std::collections::BTreeSet<String> =
            names.iter().map(|(prefix, name)| of_bucket(&bucket(prefix, name))).collect();
        assert_eq!(names.len(), 8, "{names:?}");
        assert!(names.iter().all(|name| name.matches('.').count() == 2));
    }
}
