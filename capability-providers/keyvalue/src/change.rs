//! One write, applied within a transaction.
//!
//! A key keeps the place in the order that it got when it was first written; listing goes by that order, so that
//! keys which are deleted or added while someone lists make nobody miss another key.

use redb::{ReadableTable, StorageError, Table, TableDefinition, TableError, WriteTransaction};
use trellis_interfaces::keyvalue::{Error, Value};

use crate::scope::Bucket;

/// Bucket and key to place in the order (8 bytes, big endian) and value.
pub(crate) const DATA: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("data");

/// Bucket and place in the order to key.
pub(crate) const ORDER: TableDefinition<'_, &[u8], &str> = TableDefinition::new("order");

/// The next place in the order, of any bucket.
const NEXT: TableDefinition<'_, (), u64> = TableDefinition::new("next");

/// The bytes of a record before its value.
pub(crate) const PLACE_BYTES: usize = 8;

/// A write.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Writes values, all or none.
    Set(Bucket, Vec<(String, Value)>),
    /// Removes keys, all or none.
    Delete(Bucket, Vec<String>),
    /// Adds to a number.
    Increment(Bucket, String, u64),
}

impl Change {
    /// About how many bytes it writes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Set(_, items) => items.iter().map(|(key, value)| key.len() + value.len()).sum(),
            Self::Delete(_, keys) => keys.iter().map(String::len).sum(),
            Self::Increment(_, key, _) => key.len() + 20,
        }
    }
}

/// What the caller sees; for an increment, the number after it.
pub(crate) type Outcome = Result<u64, Error>;

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
                Ok(Ok(0))
            }
            Change::Delete(bucket, keys) => {
                keys.iter().try_for_each(|key| self.delete(bucket, key))?;
                Ok(Ok(0))
            }
            Change::Increment(bucket, key, delta) => self.increment(bucket, key, *delta),
        }
    }

    fn set(&mut self, bucket: &Bucket, key: &str, value: &[u8]) -> Result<(), StorageError> {
        let record = bucket.record(key);
        let known = self.data.get(record.as_slice())?.map(|old| place(old.value()));
        let place = match known {
            Some(place) => place,
            None => self.append(bucket, key)?,
        };
        self.data.insert(record.as_slice(), [&place.to_be_bytes(), value].concat().as_slice())?;
        Ok(())
    }

    fn append(&mut self, bucket: &Bucket, key: &str) -> Result<u64, StorageError> {
        let place = self.next.get(())?.map_or(0, |next| next.value());
        self.next.insert((), place + 1)?;
        self.order.insert(bucket.order(place).as_slice(), key)?;
        Ok(place)
    }

    fn delete(&mut self, bucket: &Bucket, key: &str) -> Result<(), StorageError> {
        let old = self.data.remove(bucket.record(key).as_slice())?.map(|old| place(old.value()));
        if let Some(place) = old {
            self.order.remove(bucket.order(place).as_slice())?;
        }
        Ok(())
    }

    /// Numbers are decimal text, so that `get` shows what `increment` made.
    fn increment(&mut self, bucket: &Bucket, key: &str, delta: u64) -> Result<Outcome, StorageError> {
        let current = match self.data.get(bucket.record(key).as_slice())? {
            None => Some(0),
            Some(old) => old.value().get(PLACE_BYTES..).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()),
        };
        let Some(current) = current else {
            return Ok(Err(Error::Other(format!("the value of {key:?} is no number: increment needs decimal text"))));
        };
        let Some(sum) = u64::checked_add(current, delta) else {
            return Ok(Err(Error::Other(format!("{key:?} has no room for an increment by {delta}"))));
        };
        self.set(bucket, key, sum.to_string().as_bytes())?;
        Ok(Ok(sum))
    }
}

fn place(record: &[u8]) -> u64 {
    record.first_chunk::<PLACE_BYTES>().map_or(0, |place| u64::from_be_bytes(*place))
}
