//! Names of objects in pages: in the order of their parts, so that the last name of a page is where the next begins,
//! and a page costs no more memory than its names, however many there are.

use std::collections::BinaryHeap;
use std::ops::Bound;

use super::handle::{Folder, Kind};
use super::tree::fault;
use crate::failure::Result;
use crate::name::{ObjectName, wrong_segment};
use crate::store::Page;

/// Names of one folder that are held at once.
const BATCH: usize = 1_024;

/// At most `limit` names of `container` after `cursor`.
pub(super) fn page(container: &Folder, cursor: Option<&str>, limit: usize) -> Result<Page> {
    let after: Vec<&str> = cursor.map(|cursor| cursor.split('/').collect()).unwrap_or_default();
    let mut page = Collected { names: Vec::new(), limit };
    page.walk(container, "", &after)?;
    let cursor = if page.is_full() { page.names.last().cloned() } else { None };
    Ok((page.names, cursor))
}

struct Collected {
    names: Vec<String>,
    limit: usize,
}

impl Collected {
    fn is_full(&self) -> bool {
        self.names.len() >= self.limit
    }

    /// Collects what is in `folder`, whose names begin with `path`, after the name whose parts are `after`.
    fn walk(&mut self, folder: &Folder, path: &str, after: &[&str]) -> Result<()> {
        let mut floor = after.first().map_or(Bound::Unbounded, |first| Bound::Included((*first).to_owned()));
        loop {
            let batch = smallest(folder, &floor)?;
            let is_last = batch.len() < BATCH;
            for (name, kind) in batch {
                if self.is_full() {
                    return Ok(());
                }
                let is_floor = after.first().is_some_and(|first| *first == name);
                match kind {
                    Kind::File if is_floor => {}
                    Kind::File => self.add(format!("{path}{name}")),
                    Kind::Folder => {
                        let after = if is_floor { &after[1..] } else { &[] };
                        self.descend(folder, path, &name, after)?;
                    }
                }
                floor = Bound::Excluded(name);
            }
            if is_last {
                return Ok(());
            }
        }
    }

    fn descend(&mut self, folder: &Folder, path: &str, name: &str, after: &[&str]) -> Result<()> {
        let path = format!("{path}{name}/");
        // Nothing below can be named any more.
        if ObjectName::parse(&format!("{path}x")).is_err() {
            return Ok(());
        }
        match folder.folder(name).map_err(fault)? {
            Some(folder) => self.walk(&folder, &path, after),
            None => Ok(()),
        }
    }

    /// A file that somebody else put there may have a name that no object has.
    fn add(&mut self, name: String) {
        if ObjectName::parse(&name).is_ok() {
            self.names.push(name);
        }
    }
}

/// The smallest names in `folder` from `floor` on, in order: as many as are held at once.
fn smallest(folder: &Folder, floor: &Bound<String>) -> Result<Vec<(String, Kind)>> {
    let is_wanted = |name: &String| match floor {
        Bound::Unbounded => true,
        Bound::Included(floor) => name >= floor,
        Bound::Excluded(floor) => name > floor,
    };
    let mut heap = BinaryHeap::with_capacity(BATCH + 1);
    for entry in folder.entries().map_err(fault)? {
        let (name, kind) = entry.map_err(fault)?;
        if is_wanted(&name) && wrong_segment(&name).is_none() {
            heap.push((name, kind));
        }
        if heap.len() > BATCH {
            heap.pop();
        }
    }
    Ok(heap.into_sorted_vec())
}

#[cfg(test)]
mod tests {
    use super::{BATCH, page};
    use crate::folder::handle::Folder;
    use std::collections::BTreeSet;
    use std::fs;

    /// All names of `folder`, in pages of `limit`.
    fn all(folder: &Folder, limit: usize) -> Vec<String> {
        let (mut names, mut cursor) = (Vec::new(), None);
        loop {
            let (more, next) = page(folder, cursor.as_deref(), limit).expect("lists");
            assert!(more.len() <= limit);
            names.extend(more);
            match next {
                Some(next) => cursor = Some(next),
                None => return names,
            }
        }
    }

    #[test]
    fn pages_of_every_size_have_every_name_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let names = ["a", "a.txt", "b/a", "b/a.txt", "b/c/d/e", "b/c/f", "b-", "c", "ü/x", "z/z/z"];
        for name in names {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("has one")).expect("makes it");
            fs::write(path, "").expect("writes");
        }
        fs::create_dir(dir.path().join("empty")).expect("makes it");
        std::os::unix::fs::symlink("/etc", dir.path().join("link")).expect("links");
        let folder = Folder::at(dir.path()).expect("opens");
        let expected: BTreeSet<String> = names.map(String::from).into();
        for limit in 1..12 {
            let found = all(&folder, limit);
            assert_eq!(found.len(), expected.len(), "{found:?}");
            assert_eq!(BTreeSet::from_iter(found), expected);
        }
    }

    #[test]
    fn a_folder_of_more_names_than_are_held_is_listed_to_its_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let count = BATCH * 2 + 7;
        for number in 0..count {
            fs::write(dir.path().join(format!("{number}")), "").expect("writes");
        }
        let folder = Folder::at(dir.path()).expect("opens");
        assert_eq!(BTreeSet::from_iter(all(&folder, 1_000)).len(), count);
        assert_eq!(all(&folder, 5_000).len(), count);
    }
}
