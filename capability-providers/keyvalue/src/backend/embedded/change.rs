//! One write, applied within a transaction.
//!
//! A key keeps the place in the order that it got when it was first written; listing goes by that order, so that
//! keys which are deleted or added while someone lists make nobody miss another key.

use bytes::Bytes;
use redb::{ReadableTable, StorageError, Table, TableDefinition, TableError, WriteTransaction};
use trellis_interfaces::keyvalue::{Error, Value};

use super::record;
use crate::backend::Delta;
use crate::scope::Bucket;

/// Bucket and key to place in the order (8 bytes, big endian) and value.
pub(crate) const DATA: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("data");

/// Bucket and place in the order to key.
pub(crate) const ORDER: TableDefinition<'_, &[u8], &str> = TableDefinition::new("order");

/// The next place in the order, of any bucket.
const NEXT: TableDefinition<'_, (), u64> = TableDefinition::new("next");

/// A write.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Writes values, all or none.
    Set(Bucket, Vec<(String, Value)>),
    /// Removes keys, all or none.
    Delete(Bucket, Vec<String>),
    /// Adds to a number.
    Increment(Bucket, String, Delta),
    /// Writes a value if what is there has that version.
    Swap(Bucket, String, Option<Bytes>, Value),
}

impl Change {
    /// About how many bytes it writes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Set(_, items) => items.iter().map(|(key, value)| key.len() + value.len()).sum(),
            Self::Delete(_, keys) => keys.iter().map(String::len).sum(),
            Self::Increment(_, key, _) => key.len() + 20,
            Self::Swap(_, key, _, value) => key.len() + value.len(),
        }
    }

    /// Whether its outcome says if it was made.
    pub(crate) fn is_swap(&self) -> bool {
        matches!(self, Self::Swap(..))
    }

    /// Which keys of which bucket it touches.
    pub(crate) fn keys(&self) -> (&Bucket, Vec<&str>) {
        match self {
            Self::Set(bucket, items) => (bucket, items.iter().map(|(key, _)| key.as_str()).collect()),
            Self::Delete(bucket, keys) => (bucket, keys.iter().map(String::as_str).collect()),
            Self::Increment(bucket, key, _) | Self::Swap(bucket, key, ..) => (bucket, vec![key]),
        }
    }
}

/// What the caller sees; for an increment, the number after it; for a swap, 0 when it was not made.
pub(crate) type Outcome = Result<i128, Error>;

/// The tables, open in a write transaction.
pub(crate) struct Tables<'txn> {
    data: Table<'txn, &'static [u8], &'static [u8]>,
    order: Table<'txn, &'static [u8], &'static str>,
    next: Table<'txn, (), u64>,
}

impl<'txn> Tables<'txn> {
    /// Opens them; makes those that are missing.
    pub(crate) fn open(transaction: &'txn WriteTransaction) -> Result<Self, TableError> {
        let data = transaction.open_table(DATA)?;
        let order = transaction.open_table(ORDER)?;
        Ok(Self { data, order, next: transaction.open_table(NEXT)? })
    }

    /// Applies a change. What the caller did wrong is in the outcome and changes nothing; an error is the store's,
    /// and nothing of the transaction may be committed.
    pub(crate) fn apply(&mut self, change: &Change) -> Result<Outcome, StorageError> {
        match change {
            Change::Set(bucket, items) => {
                items.iter().try_for_each(|(key, value)| self.set(bucket, key, value))?;
                Ok(Ok(1))
            }
            Change::Delete(bucket, keys) => {
                keys.iter().try_for_each(|key| self.delete(bucket, key))?;
                Ok(Ok(1))
            }
            Change::Increment(bucket, key, delta) => self.increment(bucket, key, *delta),
            Change::Swap(bucket, key, version, value) => self.swap(bucket, key, version.as_deref(), value),
        }
    }

    fn set(&mut self, bucket: &Bucket, key: &str, value: &[u8]) -> Result<(), StorageError> {
        let name = record::of_key(bucket, key);
        let known = self.data.get(name.as_slice())?.map(|old| record::place(old.value()));
        let place = match known {
            Some(place) => place,
            None => self.append(bucket, key)?,
        };
        self.data.insert(name.as_slice(), [&place.to_be_bytes(), value].concat().as_slice())?;
        Ok(())
    }

    fn append(&mut self, bucket: &Bucket, key: &str) -> Result<u64, StorageError> {
        let place = self.next.get(())?.map_or(0, |next| next.value());
        self.next.insert((), place + 1)?;
        self.order.insert(record::of_place(bucket, place).as_slice(), key)?;
        Ok(place)
    }

    fn delete(&mut self, bucket: &Bucket, key: &str) -> Result<(), StorageError> {
        let old = self.data.remove(record::of_key(bucket, key).as_slice())?.map(|old| record::place(old.value()));
        if let Some(place) = old {
            self.order.remove(record::of_place(bucket, place).as_slice())?;
        }
        Ok(())
    }

    fn increment(&mut self, bucket: &Bucket, key: &str, delta: Delta) -> Result<Outcome, StorageError> {
        let sum = match self.data.get(record::of_key(bucket, key).as_slice())? {
            None => delta.add_to(key, None),
            Some(old) => delta.add_to(key, Some(record::value(old.value()))),
        };
        if let Ok(sum) = &sum {
            self.set(bucket, key, sum.to_string().as_bytes())?;
        }
        Ok(sum)
    }

    fn swap(
        &mut self,
        bucket: &Bucket,
        key: &str,
        version: Option<&[u8]>,
        value: &[u8],
    ) -> Result<Outcome, StorageError> {
        let current = self.data.get(record::of_key(bucket, key).as_slice())?;
        let current = current.map(|old| record::version(record::value(old.value())));
        if current.as_deref() != version {
            return Ok(Ok(0));
        }
        self.set(bucket, key, value)?;
        Ok(Ok(1))
    }
}
