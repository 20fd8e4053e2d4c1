//! What a link sees of the store: the names of its buckets, and its limits.

use trellis_interfaces::keyvalue::Error;

use crate::config::LinkConfig;

/// The longest key.
pub(crate) const MAX_KEY_BYTES: usize = 1 << 10;

/// The largest value, and the most that one batch reads or writes.
pub(crate) const MAX_VALUE_BYTES: usize = 8 << 20;

/// The longest name of a bucket.
const MAX_BUCKET_BYTES: usize = 256;

/// The most keys of one batch.
const MAX_BATCH: usize = 10_000;

/// The start of all records of one bucket: prefix and name, each closed by a zero byte, which neither contains. So
/// no bucket's records lie among another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bucket(Vec<u8>);

impl Bucket {
    /// The key of the record for `key`.
    pub(crate) fn record(&self, key: &str) -> Vec<u8> {
        [self.0.as_slice(), key.as_bytes()].concat()
    }

    /// The key of the record that says which key came as the `sequence`th.
    pub(crate) fn order(&self, sequence: u64) -> Vec<u8> {
        [self.0.as_slice(), &sequence.to_be_bytes()].concat()
    }
}

/// The bucket that a link gives an actor which opens `identifier`.
///
/// # Errors
/// `NoSuchStore` when the link has one bucket and it is another; `Other` for a name that cannot be one.
pub(crate) fn bucket(config: &LinkConfig, identifier: &str) -> Result<Bucket, Error> {
    let prefix = config.prefix.as_deref().unwrap_or_default();
    let name = match &config.bucket {
        None if identifier.is_empty() => "default",
        None => identifier,
        Some(bucket) if ["", "default", bucket].contains(&identifier) => bucket,
        Some(_) => return Err(Error::NoSuchStore),
    };
    if name.len() > MAX_BUCKET_BYTES || name.contains('\0') {
        return Err(Error::Other(format!("a bucket name has at most {MAX_BUCKET_BYTES} bytes and no zero byte")));
    }
    Ok(Bucket([prefix.as_bytes(), b"\0", name.as_bytes(), b"\0"].concat()))
}

/// Refuses keys that are too long or too many.
pub(crate) fn check_keys<'a>(keys: impl ExactSizeIterator<Item = &'a str>) -> Result<(), Error> {
    let count = keys.len();
    if count > MAX_BATCH {
        return Err(Error::Other(format!("a batch of {count} keys is over the limit of {MAX_BATCH}")));
    }
    match keys.map(str::len).find(|&length| length > MAX_KEY_BYTES) {
        Some(length) => Err(Error::Other(format!("a key of {length} bytes is over the limit of {MAX_KEY_BYTES}"))),
        None => Ok(()),
    }
}

/// Refuses values that are too large, one by one or together.
pub(crate) fn check_values(mut lengths: impl Iterator<Item = usize>) -> Result<(), Error> {
    let total = lengths.try_fold(0_usize, usize::checked_add).unwrap_or(usize::MAX);
    match total > MAX_VALUE_BYTES {
        true => Err(Error::Other(format!("{total} bytes are over the limit of {MAX_VALUE_BYTES} for one call"))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::bucket;
    use crate::config::LinkConfig;
    use trellis_interfaces::keyvalue::Error;
    use trellis_provider_sdk::testing::config;

    fn named(pairs: &[(&str, &str)], identifier: &str) -> Result<super::Bucket, Error> {
        bucket(&LinkConfig::parse(&config(pairs)).expect("valid"), identifier)
    }

    #[test]
    fn a_link_with_one_bucket_gives_no_other() {
        let one = named(&[("bucket", "b")], "default");
        assert!(one.is_ok());
        assert_eq!(named(&[("bucket", "b")], ""), one);
        assert_eq!(named(&[("bucket", "b")], "b"), one);
        assert_eq!(named(&[], "b"), one);
        assert_eq!(named(&[("bucket", "b")], "c"), Err(Error::NoSuchStore));
    }

    #[test]
    fn no_name_reaches_into_another_prefix() {
        let own = named(&[("prefix", "a")], "b").expect("valid");
        for (pairs, identifier) in
            [(&[][..], "a\0b"), (&[], "a/b"), (&[], "../a/b"), (&[("prefix", "a/b")], "b"), (&[], "ab"), (&[], "b")]
        {
            assert_ne!(named(pairs, identifier).ok().as_ref(), Some(&own), "{pairs:?} {identifier:?}");
        }
    }
}
