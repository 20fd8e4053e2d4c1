//! How keys are named on the server: `prefix:bucket:key`, so that people and other programs can read them.

use std::fmt::Write as _;

use crate::scope::Bucket;

/// What the names of all keys of a bucket begin with, and of no other. A prefix has no colon, a bucket none that is
/// not escaped.
pub(super) fn of_bucket(bucket: &Bucket) -> String {
    let mut name = format!("{}:", bucket.prefix);
    for c in bucket.name.chars() {
        match c {
            ':' | '%' => drop(write!(name, "%{:02X}", u32::from(c))),
            c => name.push(c),
        }
    }
    name.push(':');
    name
}

/// The name of a key.
pub(super) fn of_key(bucket: &Bucket, key: &str) -> String {
    let mut name = of_bucket(bucket);
    name.push_str(key);
    name
}

/// The pattern that names match which begin with `start`.
pub(super) fn pattern(start: &str) -> String {
    let mut pattern = String::with_capacity(start.len() + 1);
    for c in start.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '^' | '-' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::{of_bucket, of_key, pattern};
    use crate::scope::Bucket;

    fn bucket(prefix: &str, name: &str) -> Bucket {
        Bucket { prefix: prefix.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn no_two_buckets_share_a_name() {
        let own = of_key(&bucket("a", "b"), "c:d");
        assert_eq!(own, "a:b:c:d");
        for (prefix, name, key) in
            [("", "a", "b:c:d"), ("", "a:b", "c:d"), ("a", "b:c", "d"), ("a", "b%3Ac", "d"), ("a", "", "b:c:d")]
        {
            assert_ne!(of_key(&bucket(prefix, name), key), own, "{prefix:?} {name:?} {key:?}");
        }
        assert_ne!(of_bucket(&bucket("", "a%3Ab")), of_bucket(&bucket("", "a:b")));
    }

    #[test]
    fn a_pattern_means_what_it_says() {
        assert_eq!(pattern(&of_bucket(&bucket("p-1", "a*[b]\\?"))), "p\\-1:a\\*\\[b\\]\\\\\\?:*");
    }
}
