//! How records are laid out in the file.

use bytes::Bytes;

use crate::scope::Bucket;

/// The bytes of a record before its value: the key's place in the order.
pub(super) const PLACE_BYTES: usize = 8;

/// The key of the record for `key`. Prefix and bucket are each closed by a zero byte, which neither contains: so no
/// bucket's records lie among another's.
pub(super) fn of_key(bucket: &Bucket, key: &str) -> Vec<u8> {
    of(bucket, key.as_bytes())
}

/// The key of the record that says which key has a place in the order.
pub(super) fn of_place(bucket: &Bucket, place: u64) -> Vec<u8> {
    of(bucket, &place.to_be_bytes())
}

fn of(bucket: &Bucket, rest: &[u8]) -> Vec<u8> {
    [bucket.prefix.as_bytes(), b"\0", bucket.name.as_bytes(), b"\0", rest].concat()
}

/// The place that a record has in the order.
pub(super) fn place(record: &[u8]) -> u64 {
    record.first_chunk::<PLACE_BYTES>().map_or(0, |place| u64::from_be_bytes(*place))
}

/// The value in a record.
pub(super) fn value(record: &[u8]) -> &[u8] {
    record.get(PLACE_BYTES..).unwrap_or_default()
}

/// What tells whether a value is still there.
pub(super) fn version(value: &[u8]) -> Bytes {
    Bytes::copy_from_slice(blake3::hash(value).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::of_key;
    use crate::scope::Bucket;

    #[test]
    fn no_name_reaches_into_another_prefix() {
        let record = |prefix: &str, name: &str, key: &str| {
            of_key(&Bucket { prefix: prefix.to_owned(), name: name.to_owned() }, key)
        };
        let own = record("a", "b", "k");
        for (prefix, name, key) in
            [("", "a/b", "k"), ("", "../a/b", "k"), ("a/b", "b", "k"), ("", "ab", "k"), ("", "b", "k"), ("a", "", "bk")]
        {
            assert_ne!(record(prefix, name, key), own, "{prefix:?} {name:?} {key:?}");
        }
    }
}
