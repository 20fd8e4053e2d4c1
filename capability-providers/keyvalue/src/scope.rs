//! What a link sees of a store: the names of its buckets, and its limits.

use trellis_interfaces::keyvalue::Error;

/// The longest key.
pub(crate) const MAX_KEY_BYTES: usize = 1 << 10;

/// The largest value, and the most that one batch reads or writes.
pub(crate) const MAX_VALUE_BYTES: usize = 8 << 20;

/// The longest name of a bucket.
const MAX_BUCKET_BYTES: usize = 256;

/// The most keys of one batch.
const MAX_BATCH: usize = 10_000;

/// The most keys of one page, and about the most bytes of them, so that a page fits a frame.
pub(crate) const PAGE_KEYS: usize = 1_000;
pub(crate) const PAGE_BYTES: usize = 256 << 10;

/// What the links of a store are told apart by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Sets the buckets of this link apart from those of links with another prefix, or none.
    pub(crate) prefix: Option<String>,
    /// The only bucket of this link.
    pub(crate) bucket: Option<String>,
}

/// A bucket of a store. Each backend makes names of its own of it and a key: no two buckets may share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Of the link; empty for links without. Letters, digits, `-`, `_`, `.` and `/`.
    pub(crate) prefix: String,
    /// Any text without a zero byte.
    pub(crate) name: String,
}

impl Scope {
    /// The bucket that a link gives an actor which opens `identifier`.
    ///
    /// # Errors
    /// `NoSuchStore` when the link has one bucket and it is another; `Other` for a name that cannot be one.
    pub(crate) fn bucket(&self, identifier: &str) -> Result<Bucket, Error> {
        let name = match &self.bucket {
            None if identifier.is_empty() => "default",
            None => identifier,
            Some(bucket) if ["", "default", bucket].contains(&identifier) => bucket,
            Some(_) => return Err(Error::NoSuchStore),
        };
        if name.len() > MAX_BUCKET_BYTES || name.contains('\0') {
            return Err(Error::Other(format!("a bucket name has at most {MAX_BUCKET_BYTES} bytes and no zero byte")));
        }
        Ok(Bucket { prefix: self.prefix.clone().unwrap_or_default(), name: name.to_owned() })
    }
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
    use super::{Bucket, Scope};
    use trellis_interfaces::keyvalue::Error;

    #[test]
    fn a_link_with_one_bucket_gives_no_other() {
        let open = |bucket: Option<&str>, identifier: &str| {
            Scope { prefix: None, bucket: bucket.map(str::to_owned) }.bucket(identifier).map(|Bucket { name, .. }| name)
        };
        for identifier in ["default", "", "b"] {
            assert_eq!(open(Some("b"), identifier), Ok("b".to_owned()));
        }
        assert_eq!(open(None, "b"), Ok("b".to_owned()));
        assert_eq!(open(None, ""), Ok("default".to_owned()));
        assert_eq!(open(Some("b"), "c"), Err(Error::NoSuchStore));
        assert!(matches!(open(None, "a\0b"), Err(Error::Other(_))));
    }
}
