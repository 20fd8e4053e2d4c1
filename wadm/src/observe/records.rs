//! What the lattice's store says, followed by a watch: what is known stays known until a complete view lacks it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use trellis_lattice::store::{Change, Key};

/// The records under one prefix, parsed.
#[derive(Debug)]
pub(super) struct Records<T> {
    known: BTreeMap<Key, Entry<T>>,
    /// From a (re)start of the watch to `Ready`: what has been told again.
    retold: Option<BTreeMap<Key, Entry<T>>>,
    is_complete: bool,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    value: Bytes,
    /// Absent when the record cannot be read.
    parsed: Option<T>,
}

impl<T> Default for Records<T> {
    fn default() -> Self {
        Self { known: BTreeMap::new(), retold: None, is_complete: false }
    }
}

impl<T: DeserializeOwned + Clone> Records<T> {
    /// Takes in a change; whether anything is different now.
    pub(super) fn take(&mut self, change: Change) -> bool {
        match change {
            Change::Restart => {
                self.retold = Some(BTreeMap::new());
                false
            }
            Change::Put(record) => self.put(record.key, record.value),
            Change::Delete(key) => {
                if let Some(retold) = &mut self.retold {
                    retold.remove(&key);
                }
                self.known.remove(&key).is_some()
            }
            Change::Ready => self.settle(),
        }
    }

    fn put(&mut self, key: Key, value: Bytes) -> bool {
        let entry = Entry { parsed: serde_json::from_slice(&value).ok(), value };
        if let Some(retold) = &mut self.retold {
            retold.insert(key.clone(), entry.clone());
        }
        let value = entry.value.clone();
        self.known.insert(key, entry).is_none_or(|before| before.value != value)
    }

    fn settle(&mut self) -> bool {
        let was_complete = std::mem::replace(&mut self.is_complete, true);
        let Some(retold) = self.retold.take() else { return !was_complete };
        let texts = |records: &BTreeMap<Key, Entry<T>>| {
            records.iter().map(|(key, entry)| (key.clone(), entry.value.clone())).collect::<Vec<_>>()
        };
        let is_same = texts(&retold) == texts(&self.known);
        self.known = retold;
        !(was_complete && is_same)
    }

    /// Whether everything that is there was told, once.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The records that can be read, with what follows `prefix` in their keys; `None` before all were told.
    pub(super) fn all<'a>(&'a self, prefix: &'a str) -> Option<impl Iterator<Item = (&'a str, &'a T)>> {
        let entries = self.known.iter().filter_map(move |(key, entry)| {
            let rest = key.as_str().strip_prefix(prefix)?;
            Some((rest, entry.parsed.as_ref()?))
        });
        self.is_complete.then_some(entries)
    }
}

#[cfg(test)]
mod tests {
    use trellis_lattice::store::{Change, Key, Record, Revision};

    use super::Records;

    fn put(key: &str, value: &'static str) -> Change {
        let key = Key::parse(key).expect("valid");
        Change::Put(Record { key, value: value.into(), revision: Revision(1) })
    }

    fn check(changes: impl IntoIterator<Item = Change>, expected: &[(&str, u32)]) {
        let mut records = Records::<u32>::default();
        for change in changes {
            records.take(change);
        }
        let known = records.all("n.").expect("complete").map(|(key, value)| (key, *value));
        assert_eq!(known.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_known_stays_known_until_a_complete_view_lacks_it() {
        let known = [put("n.a", "1"), put("n.b", "2"), Change::Ready];
        let after = |more: &[Change]| known.iter().chain(more).cloned().collect::<Vec<_>>();
        check(after(&[]), &[("a", 1), ("b", 2)]);
        check(after(&[Change::Restart, put("n.b", "3")]), &[("a", 1), ("b", 3)]);
        check(after(&[Change::Restart, put("n.b", "3"), Change::Ready]), &[("b", 3)]);
        check(after(&[Change::Delete(Key::parse("n.a").unwrap())]), &[("b", 2)]);
    }

    #[test]
    fn only_what_is_different_is_news() {
        let mut records = Records::<u32>::default();
        assert!(records.take(put("n.a", "1")));
        assert!(records.take(Change::Ready), "the first complete view is");
        assert!(!records.take(put("n.a", "1")));
        assert!(!records.take(Change::Restart));
        assert!(!records.take(put("n.a", "1")));
        assert!(!records.take(Change::Ready));
        assert!(records.take(put("n.a", "2")));
    }
}
